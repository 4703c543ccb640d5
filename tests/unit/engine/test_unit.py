"""Starting a run's unit while the unit of an attempt that was killed is still there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bai_wizard.core.errors import PreflightError
from bai_wizard.core.plan import Plan
from bai_wizard.engine.launch import unit
from bai_wizard.engine.run.directory import RunDirectory, create_run
from bai_wizard.engine.run.places import Places

# Stands for systemd-run: tells of its calls; a unit whose name is in the file `taken` is refused, as systemd does it.
SYSTEMD_RUN = """#!/bin/sh
for word; do case $word in --unit=*) unit=${{word#--unit=}} ;; esac; done
echo "$unit" >>{place}/asked
if grep -qx "$unit" {place}/taken; then
    [ -e {place}/{keep} ] || : >{place}/taken
    echo "Failed to start transient service unit: Unit $unit was already loaded or has a fragment file." >&2
    exit 1
fi
[ -e {place}/broken ] && echo "Failed to connect to bus: No such file" >&2 && exit 1
exit 0
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    program = tmp_path / "bin/systemd-run"
    program.parent.mkdir()
    program.write_text(SYSTEMD_RUN.format(place=tmp_path, keep="kept"))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    (tmp_path / "taken").write_text("")
    return create_run(Places(tmp_path), Plan("test"), {})


def asked(place: Path) -> list[str]:
    return (place / "asked").read_text().split()


def test_a_name_that_is_free(run: RunDirectory, tmp_path: Path) -> None:
    unit._start_unit(["true"], run)
    assert asked(tmp_path) == [unit.unit_name(run)]


def test_the_last_attempts_unit_is_waited_for(run: RunDirectory, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text(unit.unit_name(run) + "\n")
    unit._start_unit(["true"], run)
    assert asked(tmp_path) == [unit.unit_name(run)] * 2


def test_one_that_never_goes_costs_its_name_only(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unit, "PATIENCE", 0.0)
    (tmp_path / "kept").touch()
    (tmp_path / "taken").write_text(f"{unit.unit_name(run)}\n{unit.unit_name(run, 2)}\n")
    unit._start_unit(["true"], run)
    assert asked(tmp_path)[-1] == f"bai-wizard-{run.id}-3.service"


def test_another_refusal_is_told_at_once(run: RunDirectory, tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    with pytest.raises(PreflightError, match=r"does not start bai-wizard-.*: Failed to connect to bus"):
        unit._start_unit(["true"], run)
    assert len(asked(tmp_path)) == 1
