"""What each layer may import, verified in a fresh interpreter, including imports by dependencies."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from pkgutil import walk_packages

import pytest

import bai_wizard

PACKAGE = Path(bai_wizard.__file__).parent
HEAVY = ("textual", "rich", "docker", "psutil", "cpuinfo", "pynvml", "urllib3", "tomlkit")
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


@pytest.mark.parametrize("package", ["core", "resources", "steps", "engine", "node"])
def test_below_the_front_ends_nothing_heavy_is_loaded(package: str) -> None:
    code = "; import ".join(modules(package))
    assert not loaded(code).intersection(HEAVY)


def test_the_command_line_costs_argparse_only() -> None:
    assert not loaded("bai_wizard.cli").intersection({*HEAVY, "tomllib", "subprocess", "json_schema"})


def test_reading_a_node_loads_only_the_kinds_that_are_read() -> None:
    code = """
import json, sys
from bai_wizard.core.state import Key
from bai_wizard.resources.local import LocalMachine
for kind, name in (("file", "/etc/passwd"), ("user", "root"), ("group", "root"), ("mount", "/"), ("package", "bash")):
    LocalMachine().state(Key(kind, name))
lean = set(sys.modules)
LocalMachine().state(Key("download", "/nowhere"))
print(json.dumps([sorted(lean), sorted(set(sys.modules) - lean)]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    lean, added = json.loads(done.stdout)
    apart = {f"bai_wizard.resources.{name}" for name in ("commands", "downloads", "images", "pythons", "trees")}
    assert not {*apart, "subprocess", "packaging"}.intersection(lean)
    assert apart.intersection(added) == {"bai_wizard.resources.downloads"}


def imports() -> Iterator[tuple[Path, str]]:
    """Every module that the package imports anywhere, with the file that does so."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((path.relative_to(PACKAGE), alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield path.relative_to(PACKAGE), node.module


def test_only_the_runner_starts_programs_and_only_the_screens_use_textual() -> None:
    result = {(path, name.partition(".")[0]) for path, name in imports()}
    assert {path for path, name in result if name == "subprocess"} == {Path("node/process.py")}
    assert {path.parts[:2] for path, name in result if name == "textual"} == {("ui", "tui")}


def test_no_page_imports_another_page() -> None:
    crossing = [
        (str(path), name)
        for path, name in imports()
        if path.parts[0] == "pages" and len(path.parts) > 2 and name.startswith("bai_wizard.pages.")
        if (PACKAGE / "pages" / name.split(".")[2]).is_dir() and name.split(".")[2] != path.parts[1]
    ]
    assert crossing == []


def test_no_front_end_but_the_screens_loads_textual() -> None:
    """Rich is loaded by the module that renders text on a terminal, which is imported only there."""
    names = [
        name
        for name in modules("ui.text", "ui.plain", "commands", "doctor", "compose")
        if name not in ("bai_wizard.ui.text.console", "bai_wizard.commands.wizard", "bai_wizard.ui.plain.wizard")
    ]
    assert not loaded("; import ".join(names)).intersection({"textual", "rich", "docker"})
    assert "textual" not in loaded("bai_wizard.ui.text.console")
