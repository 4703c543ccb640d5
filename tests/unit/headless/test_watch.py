"""Watching a run whose executor is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from bai_wizard.core.plan import Plan
from bai_wizard.engine.run import follow
from bai_wizard.engine.run.directory import create_run
from bai_wizard.engine.run.narrator import Narrator
from bai_wizard.engine.run.places import Places
from bai_wizard.engine.run.result import Result, StepResult
from bai_wizard.exits import ExitCode
from bai_wizard.headless.output import output_for
from bai_wizard.headless.watch import watch


@pytest.mark.parametrize("has_result", [True, False])
def test_cut_before_the_last_line_of_its_story(
    has_result: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its result is written first, and that is what counts; a run without one was cut."""
    monkeypatch.setattr(follow, "PATIENCE", 0.0)
    places = Places(tmp_path)
    run = create_run(places, Plan("test"), {})
    narrator = Narrator(run.events, run.id)
    narrator.tell("run", "apply begins")
    narrator.close()
    if has_result:
        run.end(Result((StepResult("tuning.first", "first", "changed"),)).to_json())
    code, result = watch(places, run, output_for(False))
    told = capsys.readouterr()
    if has_result:
        assert (code, result is not None) == (ExitCode.OK, True)
        assert "1 changed" in told.out
    else:
        assert (code, result) == (ExitCode.FAILED, None)
        assert f"bai-wizard resume {run.id}" in told.err
