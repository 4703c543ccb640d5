"""Loops over the directories above a path end, whatever the path is: one function goes up, and nothing else does."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import bai_wizard
from bai_wizard.core.paths import holder, parents
from bai_wizard.core.state import Entry, Key
from bai_wizard.node.error_hints import file_system_of
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.offline.collect import _existing
from bai_wizard.pages.docker.probe import mount_above
from bai_wizard.pages.storage.volume_steps import refusal_of_path
from bai_wizard.resources.local import LocalMachine
from bai_wizard.steps.accounts import below
from bai_wizard.steps.files import Directory

PACKAGE = Path(bai_wizard.__file__).parent
GOES_UP = re.compile(r"\bdirname\(|\.parent\b|r(partition|split)\('/'")
ODD = (
    "",
    ".",
    "..",
    "./a",
    "../a",
    "a",
    "a/b",
    "a/",
    "/",
    "//",
    "///",
    "//a",
    "//a//b",
    "/a/",
    "/a/./..",
    "/\0",
    "a\0/b",
)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/a/b/c", ["/a/b", "/a"]),
        ("/a", []),
        ("/", []),
        ("", []),
        (".", []),
        ("//", []),
        ("//a/b", ["//a"]),
        ("/a//b/", ["/a"]),
        ("a/b/c", ["a/b", "a"]),
        ("../a", [".."]),
        ("/a\0b/c", ["/a\0b"]),
    ],
)
def test_the_directories_above_a_path(path: str, expected: list[str]) -> None:
    assert list(parents(path)) == expected


@pytest.mark.timeout(20)
@pytest.mark.parametrize("path", ODD)
def test_every_walk_ends(path: str) -> None:
    view = SimulatedMachine({Key("file", "/vfroot"): Entry("directory", 0, 0, 0o755)})
    assert file_system_of(path) == "/"
    assert _existing(path) in (path, *parents(path), "/")
    assert holder(view, path) is None
    assert refusal_of_path(view, path, ()) == ""
    assert below("/", path)[-1] == path
    assert below(path, "/a/b")[-1] == "/a/b"
    assert mount_above(view, path) is not None
    made = [operation.keys()[0].name for operation in Directory(id="d", path=path).operations(view)]
    assert made in ([*reversed(list(parents(path))), path], [])
    view.names(path)


@pytest.mark.timeout(20)
def test_a_root_that_does_not_exist_has_no_free_space(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="does not exist"):
        LocalMachine(str(tmp_path / "missing")).free_bytes("/var/lib")


def test_no_other_loop_goes_up() -> None:
    loops = [
        (str(path.relative_to(PACKAGE)), ast.unparse(node.test))
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.relative_to(PACKAGE).parts[0] != "ui"  # parents of widgets
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.While) and GOES_UP.search(ast.unparse(node))
    ]
    assert [place for place, _ in loops] == ["core/paths.py"], loops
