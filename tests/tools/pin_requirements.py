"""Pin the dependencies with hashes: python -m tests.tools.pin_requirements [--upgrade].

Writes `requirements.txt` (what a run needs) and `requirements-dev.txt` (that, and the development tools), each with
the build backend. Existing pins are kept where pyproject.toml still allows them; `--upgrade` takes the newest
releases. The files name no index, so any mirror can serve them; the hashes are those of all files of each release.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.cache import CHECKOUT

FILES = {"": "requirements.txt", "dev": "requirements-dev.txt"}
HEAD = "# Made by `python -m tests.tools.pin_requirements` from pyproject.toml. Do not edit.\n# inputs: "
PIN = re.compile(r"([a-z0-9][a-z0-9.-]*)==(\S+)(?: ; (.+?))?((?: --hash=sha256:[0-9a-f]{64})+)")


@dataclass(frozen=True)
class Pin:
    """A pinned release, with the SHA-256 of all its files."""

    name: str
    version: str
    marker: Marker | None
    hashes: frozenset[str]


def pins(group: str) -> list[Pin]:
    """Return what a file pins. Raise ValueError for a line that is not a pin with hashes."""
    text = (CHECKOUT / FILES[group]).read_text(encoding="utf-8")
    result = []
    for line in re.sub(r" \\\n +", " ", text).splitlines():
        if not line.startswith("#"):
            match = PIN.fullmatch(line)
            if match is None:
                raise ValueError(f"{FILES[group]}: not a pin with hashes: {line}")
            hashes = frozenset(re.findall(r"sha256:(\w+)", match[4]))
            result.append(Pin(match[1], match[2], Marker(match[3]) if match[3] else None, hashes))
    return result


def build_tools() -> set[str]:
    """Return the names of what only a build needs."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
    return {canonicalize_name(Requirement(line).name) for line in project["build-system"]["requires"]}


def inputs(group: str) -> list[str]:
    """The requirements in pyproject.toml: of the build, of a run, and of a dependency group."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
    tools = project["dependency-groups"][group] if group else []
    return sorted([*project["build-system"]["requires"], *project["project"]["dependencies"], *tools])


def head(group: str) -> str:
    """The first lines of a file: they change with its inputs."""
    return f"{HEAD}{hashlib.sha256(json.dumps(inputs(group)).encode()).hexdigest()[:16]}\n"


def pin(group: str, options: list[str]) -> None:
    """Write the file of a group."""
    from uv import find_uv_bin

    path = CHECKOUT / FILES[group]
    argv = [find_uv_bin(), "pip", "compile", "--quiet", "--universal", "--generate-hashes", "--no-header",
            "--no-annotate", "--python-version", "3.11", *options, "--output-file", str(path), "-"]  # fmt: skip
    subprocess.run(argv, input="\n".join(inputs(group)), text=True, check=True)
    path.write_text(head(group) + path.read_text(encoding="utf-8"), encoding="utf-8")


def main(options: list[str]) -> int:
    pin("", options)
    # The same versions in both files.
    pin("dev", [*options, "--constraint", str(CHECKOUT / FILES[""])])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
