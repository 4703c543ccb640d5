"""Following a run whose executor has died."""

from __future__ import annotations

from pathlib import Path

import pytest

from bai_wizard.core.step import Plan
from bai_wizard.engine import events
from bai_wizard.engine.directory import create_run, journal_of
from bai_wizard.engine.events import EventLog
from bai_wizard.engine.lock import StatePaths
from bai_wizard.engine.result import Result, StepResult
from bai_wizard.exit_codes import ExitCode
from bai_wizard.session import local_session
from bai_wizard.ui.text.output import Output, watch


@pytest.mark.parametrize("has_result", [True, False])
def test_interrupted_before_the_last_event(
    has_result: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its result is written first, and that is what counts; a run without one was cut."""
    monkeypatch.setattr(events, "PATIENCE", 0.0)
    paths = StatePaths(tmp_path)
    run = create_run(paths, Plan("test"), {})
    event_log = EventLog(run.events, run.id)
    event_log.emit("run", "apply begins")
    event_log.close()
    if has_result:
        run.end(Result((StepResult("tuning.first", "first", "changed"),)).to_json(), journal_of(run))
    code, result = watch(local_session(str(tmp_path)), run, Output())
    captured = capsys.readouterr()
    if has_result:
        assert (code, result is not None) == (ExitCode.OK, True)
        assert "1 changed" in captured.out
    else:
        assert (code, result) == (ExitCode.FAILED, None)
        assert f"bai-wizard resume {run.id}" in captured.err
