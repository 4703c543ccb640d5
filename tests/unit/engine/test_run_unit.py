"""Starting a run's unit while the unit of a killed attempt still exists."""

from __future__ import annotations

from pathlib import Path

import pytest

from bai_wizard.core.errors import PreflightError
from bai_wizard.core.programs import HARDENING
from bai_wizard.core.step import Plan
from bai_wizard.engine import launch
from bai_wizard.engine.directory import RunDirectory, create_run
from bai_wizard.engine.lock import StatePaths
from tests.programs import find_programs_in

# Stands for systemd-run: tells of its calls; a unit whose name is in the file `taken` is refused, as systemd does it.
SYSTEMD_RUN = """#!/bin/sh
for word; do case $word in --unit=*) unit=${{word#--unit=}} ;; esac; done
echo "$unit" >>{place}/asked
printf '%s\\n' "$@" >{place}/words
env >{place}/environment
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
    find_programs_in(program.parent, monkeypatch)
    (tmp_path / "taken").write_text("")
    return create_run(StatePaths(tmp_path), Plan("test"), {})


def asked(directory: Path) -> list[str]:
    return (directory / "asked").read_text().split()


def test_a_name_that_is_free(run: RunDirectory, tmp_path: Path) -> None:
    launch._start_unit(["true"], run)
    assert asked(tmp_path) == [launch.unit_name(run)]


def test_the_last_attempts_unit_is_waited_for(run: RunDirectory, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text(launch.unit_name(run) + "\n")
    launch._start_unit(["true"], run)
    assert asked(tmp_path) == [launch.unit_name(run)] * 2


def test_one_that_never_goes_costs_its_name_only(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "UNIT_TIMEOUT", 0.0)
    (tmp_path / "kept").touch()
    (tmp_path / "taken").write_text(f"{launch.unit_name(run)}\n{launch.unit_name(run, 2)}\n")
    launch._start_unit(["true"], run)
    assert asked(tmp_path)[-1] == f"bai-wizard-{run.id}-3.service"


def test_other_refusals_are_reported_immediately(run: RunDirectory, tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    with pytest.raises(PreflightError, match=r"does not start bai-wizard-.*: Failed to connect to bus"):
        launch._start_unit(["true"], run)
    assert len(asked(tmp_path)) == 1


@pytest.mark.needs_root
def test_the_unit_is_hardened_and_knows_who_called_sudo(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_UID", "1000")
    monkeypatch.setenv("BAI_PW", "correct-horse-battery")
    launch._start_unit(["true"], run)
    words = (tmp_path / "words").read_text().splitlines()
    assert "--setenv=SUDO_UID=1000" in words
    assert {f"--property={name}={value}" for name, value in HARDENING.items()} <= set(words)
    environment = (tmp_path / "environment").read_text()
    assert "correct-horse" not in environment
    monkeypatch.delenv("SUDO_UID")
    launch._start_unit(["true"], run)
    assert "SUDO_UID" not in (tmp_path / "words").read_text()


@pytest.mark.needs_root
def test_a_tree_that_was_changed_during_the_review_is_not_started(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "modules/docker.py"
    module.parent.mkdir()
    module.touch(mode=0o644)
    monkeypatch.syspath_prepend(str(module.parent))
    monkeypatch.setattr(launch, "_spawn", lambda *_: pytest.fail("was started"))
    module.chmod(0o666)
    with pytest.raises(PreflightError, match=f"{module} can be written by users other than root"):
        launch.start_executor(run, "digest", StatePaths(tmp_path))
