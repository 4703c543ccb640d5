"""Hooks run as root on the real node: their output is logged, and no other user can decide what they do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bai_wizard import compose
from bai_wizard.compose import DesiredState, refuse_untrusted
from bai_wizard.core.errors import PreflightError, ProgramMissing, StateUnknown
from bai_wizard.core.page import Context
from bai_wizard.pages.node.settings import MaintenanceSettings

pytestmark = pytest.mark.needs_root


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "drain"
    path.write_text("#!/bin/sh\necho drained\necho careful >&2\n")
    path.chmod(0o755)
    return path


def run_hook(*argv: str) -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []

    def log(text: str, *, stream: str = "", **_: Any) -> None:
        lines.append((stream, text))

    assert compose.local_machine().run_hook(argv, log, deadline=60).code == 0
    return lines


def test_the_output_of_a_hook_is_logged_with_its_stream(script: Path) -> None:
    assert sorted(run_hook(str(script))) == [("stderr", "careful"), ("stdout", "drained")]


@pytest.mark.parametrize("words", [(), ("/bin/sh",)], ids=["program", "script"])
@pytest.mark.parametrize(
    "spoil", [lambda path: path.chmod(0o777), lambda path: path.parent.chmod(0o777)], ids=["file", "directory"]
)
def test_a_hook_that_others_can_change_is_not_run(
    script: Path, words: tuple[str, ...], spoil: Callable[[Path], None]
) -> None:
    """Also if that has become so after the run was started, and if an interpreter runs it."""
    hook = (*words, str(script))
    desired = DesiredState({"maintenance": MaintenanceSettings(drain_hook=hook)}, (), Context("gpu01"))
    refuse_untrusted("/", desired)
    run_hook(*hook)
    spoil(script)
    with pytest.raises(PreflightError, match="can be changed by everyone"):
        refuse_untrusted("/", desired)
    with pytest.raises(StateUnknown, match="can be changed by everyone"):
        run_hook(*hook)


def test_a_program_that_does_not_exist_is_not_started(script: Path) -> None:
    """Not even if somebody creates it at that moment."""
    script.unlink()
    with pytest.raises(ProgramMissing, match="is not installed"):
        run_hook(str(script))
