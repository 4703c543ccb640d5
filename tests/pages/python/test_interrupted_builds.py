"""A pyenv build that was killed at any point is restarted."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bai_wizard.core.errors import StepFailed
from bai_wizard.resources.pythons import UNFINISHED
from bai_wizard.resources.pythons_apply import _begin_build


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("checkpoint", range(7))
def test_leftovers_of_a_killed_build_are_removed(
    tmp_path: Path, checkpoint: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before each change of the file system; a killed removal has removed the mark first."""
    path, work = tmp_path / "versions" / "3.13.0", tmp_path / ".work"
    (path / "bin").mkdir(parents=True)
    (path / "bin" / "python3").write_text("half")
    (path / UNFINISHED).write_text("")
    left = [checkpoint]

    def counted(call: Any, before: Any = None) -> Any:
        def act(*args: Any, **more: Any) -> Any:
            if not left[0]:
                if before is not None:
                    before(*args)
                raise Killed
            left[0] -= 1
            return call(*args, **more)

        return act

    def without_mark(tree: str, **_: object) -> None:
        (Path(tree) / UNFINISHED).unlink(missing_ok=True)

    with monkeypatch.context() as patch:
        for name in ("mkdir", "makedirs", "rename"):
            patch.setattr(os, name, counted(getattr(os, name)))
        patch.setattr(shutil, "rmtree", counted(shutil.rmtree, without_mark))
        with suppress(Killed):
            _begin_build(str(path), str(path / UNFINISHED), str(work))
    assert left == [0], "a longer start has more instants than are tried, a shorter one fewer"
    _begin_build(str(path), str(path / UNFINISHED), str(work))
    assert [entry.name for entry in path.iterdir()] == [UNFINISHED]
    assert list(work.iterdir()) == []


def test_unmarked_directories_are_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "versions" / "3.13.0"
    (path / "bin").mkdir(parents=True)
    with pytest.raises(StepFailed, match="nor an unfinished one"):
        _begin_build(str(path), str(path / UNFINISHED), str(tmp_path / ".work"))
    assert (path / "bin").is_dir()
