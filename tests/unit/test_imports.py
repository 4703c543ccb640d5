"""What may be loaded by whom, asked of a fresh interpreter: also what arrives through a dependency."""

from __future__ import annotations

import json
import subprocess
import sys
from pkgutil import walk_packages

import pytest

import bai_wizard

HEAVY = ("textual", "rich", "docker", "pydantic", "psutil", "cpuinfo", "pynvml", "urllib3", "tomlkit")
PROBE = "import json, sys; import {module}; print(json.dumps(sorted(name.partition('.')[0] for name in sys.modules)))"


def loaded(module: str) -> set[str]:
    """The top names in sys.modules after importing a module alone."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(module=module)], capture_output=True, text=True, check=True, timeout=60
    )
    return set(json.loads(done.stdout))


def modules(*packages: str) -> list[str]:
    names = [info.name for info in walk_packages(bai_wizard.__path__, "bai_wizard.")]
    return [name for name in names if any(name.startswith(f"bai_wizard.{package}") for package in packages)]


@pytest.mark.parametrize("package", ["core", "steps", "engine", "machine"])
def test_below_the_front_ends_nothing_heavy_is_loaded(package: str) -> None:
    code = "; import ".join(modules(package))
    assert not loaded(code).intersection(HEAVY)


def test_the_command_line_costs_argparse_only() -> None:
    assert not loaded("bai_wizard.cli").intersection({*HEAVY, "tomllib", "subprocess", "json_schema"})


def test_no_front_end_but_the_screens_loads_textual() -> None:
    wanted = [name for name in modules("headless", "commands", "doctor", "compose") if not name.endswith(".wizard")]
    assert not loaded("; import ".join(wanted)).intersection({"textual", "rich", "docker"})
