"""Pin the dependencies with hashes: python -m tests.tools.pin_requirements [--upgrade].

Writes `requirements.txt` (what a run needs) and `requirements-dev.txt` (that, and the development tools), each with
the build backend. Existing pins are kept where pyproject.toml still allows them; `--upgrade` takes the newest
releases. The files name no index, so any mirror can serve them; the hashes are those of all files of each release.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tomllib

from tests.cache import CHECKOUT

FILES = {"": "requirements.txt", "dev": "requirements-dev.txt"}
HEAD = "# Made by `python -m tests.tools.pin_requirements` from pyproject.toml. Do not edit.\n# inputs: "


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
