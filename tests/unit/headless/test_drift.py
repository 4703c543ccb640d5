"""`drift`: exit codes, what is compared with what, JSON Lines and metrics, on simulated nodes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from bai_wizard.cli import main
from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.page import Unsupported
from bai_wizard.core.state import Entry, file_key
from bai_wizard.core.step import Blocked, Pending, PlannedStep, Unchanged
from bai_wizard.doctor.causes import Cause
from bai_wizard.doctor.differences import Comparison, Difference, differences_of
from bai_wizard.engine.directory import counter
from bai_wizard.exit_codes import ExitCode
from bai_wizard.steps.accounts import SetAccountPassword
from bai_wizard.steps.files import DropIn
from bai_wizard.ui.text.drift import _cause_json, _cause_line, drift_lines, metrics_text
from tests.unit.engine.test_run_selection import AGAIN, FIRST, SECOND, Seat
from tests.unit.engine.test_run_selection import seat as seat

pytestmark = pytest.mark.needs_root

OPTIONAL = DropIn(id="tuning.optional", path="/etc/o.conf", text="", why="tuning", optional=True)
EDITED = Entry("file", 0, 0, 0o644, b"a = 3\n")
METRIC = re.compile(r'[a-z_]+(\{page="[a-z]+"\})? [0-9]+')


def told(seat: Seat, *words: str, code: int) -> list[dict[str, Any]]:
    """The events of `drift --json` without messages."""
    assert main(["drift", "--json", *words, "--root", str(seat.paths.root)]) == code
    events = [json.loads(line) for line in seat.capsys.readouterr().out.splitlines()]
    return [event for event in events if event["kind"] != "log"]


def differences(*verdicts: Any, missing: tuple[str, ...] = (), accepted: tuple[str, ...] = ()) -> Comparison:
    steps = [FIRST if index == 0 else OPTIONAL for index in range(len(verdicts))]
    planned = [PlannedStep(step, verdict) for step, verdict in zip(steps, verdicts, strict=True)]
    found = [each for item in planned for each in differences_of(item, missing, accepted)]
    return Comparison("gpu01", "run x", 0.0, ("tuning",), tuple(found))


UNKNOWN, REFUSED = Blocked("busy", undetermined=True), Blocked("impossible")


@pytest.mark.parametrize(
    ("verdicts", "accepted", "code"),
    [
        ((Unchanged(),), (), 0),
        ((Pending(after_reboot=True),), (), 7),
        ((Pending(known_after="tuning.before"),), (), 0),
        ((REFUSED,), (), 7),
        ((UNKNOWN,), (), 3),
        ((Blocked("first", depends_on="tuning.first"),), (), 0),
        ((Unchanged(), REFUSED), (), 7),
        ((Unchanged(), REFUSED), (OPTIONAL.id,), 6),
        ((REFUSED,), (FIRST.id,), 7),
        ((Unchanged(), UNKNOWN), (), 6),
        ((UNKNOWN, REFUSED), (), 7),
    ],
)
def test_exit_codes(verdicts: tuple[Any, ...], accepted: tuple[str, ...], code: int) -> None:
    """Drift comes before what could not be compared; what a run could not apply either is no drift."""
    assert differences(*verdicts, accepted=accepted).code() == code


def test_a_password_whose_source_is_gone_is_no_failure() -> None:
    step = SetAccountPassword(id="account.password", account="bai")
    planned = PlannedStep(step, UNKNOWN)
    (excused,), (failed,) = (list(differences_of(planned, names, ())) for names in (["account.password"], []))
    assert (excused.is_excused, failed.is_excused) == (True, False)
    other = list(differences_of(PlannedStep(FIRST, UNKNOWN), ["account.password"], ()))
    assert [each.is_excused for each in other] == [False]


def test_an_image_archive_that_is_gone_is_no_drift() -> None:
    """The archive, perhaps on a USB stick, was needed to load its images only."""
    gone, other = (
        Unsupported(id="images.archives.1", title="load", reason="no such file", source_is_gone=is_gone)
        for is_gone in (True, False)
    )
    for step, code in ((gone, 0), (other, 7)):
        found = tuple(differences_of(PlannedStep(step, Blocked(step.reason)), (), ()))
        assert Comparison("gpu01", "run x", 0.0, ("images",), found).code() == code


def test_compared_with_the_newest_finished_run_and_any_other_by_name(seat: Seat) -> None:
    first = seat.apply(FIRST)
    assert told(seat, code=0)[-1]["data"]["compared_with"] == f"run {first.id}"
    second = seat.apply(FIRST, SECOND)
    cut = seat.apply(FIRST, SECOND, AGAIN, cut=3)
    assert told(seat, code=7)[-1]["data"]["compared_with"] == f"run {second.id}"
    assert told(seat, "--run", first.id[-4:], code=7)[-1]["data"]["compared_with"] == f"run {first.id}"
    assert seat.main("drift", "--run", cut.id) == ExitCode.PREFLIGHT
    seat.says("did not finish")


def test_a_run_that_was_undone_is_not_compared(seat: Seat) -> None:
    first, second = seat.apply(FIRST), seat.apply(FIRST, SECOND)
    assert seat.main("undo", second.id) == 0
    assert told(seat, code=7)[-1]["data"]["compared_with"] == f"run {first.id}"
    assert seat.main("drift", "--run", second.id) == ExitCode.PREFLIGHT
    seat.says("has been undone")


def test_json_lines(seat: Seat) -> None:
    run = seat.apply(FIRST)
    seat.put(FIRST.path, EDITED)
    drift, summary = told(seat, code=7)
    assert (drift["kind"], drift["page"], drift["level"]) == ("drift", "tuning", "warning")
    data = drift["data"]
    assert {key: data[key] for key in ("state", "kind", "name", "step", "optional", "accepted", "excused")} == {
        "state": "changed", "kind": "file", "name": FIRST.path, "step": FIRST.id, "optional": False,
        "accepted": False, "excused": False,
    }  # fmt: skip
    assert "-a = 3\n+a = 1\n" in data["diff"]
    assert data["possible_causes"] == []
    assert summary["kind"] == "summary"
    assert summary["data"] == {
        "version": 1, "host": "gpu01", "code": 7, "compared_with": f"run {run.id}", "drifted": {"tuning": 1},
        "not_compared": 0, "since": summary["data"]["since"],
    }  # fmt: skip
    assert summary["data"]["since"].endswith("Z")


def test_text_names_the_change_and_only_possible_causes(seat: Seat) -> None:
    seat.apply(FIRST)
    seat.put(FIRST.path, EDITED)
    assert seat.main("drift") == 7
    seat.says("~ /etc/first.conf", "possible cause: none found in file times and logs", "1 object differs")
    seat.says("the journal cannot be read: ")
    assert not any("a = 3" in line for line in seat.messages)
    assert seat.main("drift", "--diff") == 7
    seat.says("-a = 3")
    lines = "\n".join(drift_lines(differences(Unchanged(), REFUSED, accepted=(OPTIONAL.id,)), diff=False))
    assert "impossible\n    this was so when the run ended" in lines


def test_metrics(seat: Seat) -> None:
    seat.apply(FIRST)
    file = seat.paths.root / "m.prom"
    assert seat.main("drift", "--metrics", str(file)) == 0
    assert 'bai_wizard_drift_objects{page="tuning"} 0\n' in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o644
    inode = file.stat().st_ino
    seat.put(FIRST.path, EDITED)
    assert seat.main("drift", "--metrics", str(file)) == 7
    assert file.stat().st_ino != inode, "readers never see half of it"
    assert 'bai_wizard_drift_objects{page="tuning"} 1\n' in file.read_text()
    assert file.read_text().endswith("bai_wizard_drift_check_success 1\n")


@pytest.mark.parametrize(("error", "code"), [(StateUnknown("no answer"), 3), (RuntimeError("bug"), 1)])
def test_a_check_that_fails_says_so_in_the_metrics(
    seat: Seat, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    seat.apply(FIRST)

    def fail(*_arguments: object) -> None:
        raise error

    monkeypatch.setattr("bai_wizard.compose.plan", fail)
    file = seat.paths.root / "m.prom"
    assert seat.main("drift", "--metrics", str(file)) == code
    assert "bai_wizard_drift_objects" not in file.read_text()
    assert file.read_text().endswith("bai_wizard_drift_check_success 0\n")


def test_a_metrics_file_that_cannot_be_written_is_refused_first(seat: Seat) -> None:
    seat.apply(FIRST)
    assert seat.main("drift", "--metrics", str(seat.paths.root / "none/m.prom")) == ExitCode.PREFLIGHT
    seat.says("m.prom cannot be written")
    assert not any("no drift" in line for line in seat.messages)


def test_the_format_of_the_metrics() -> None:
    """Every metric has help and type before its values, as the text format asks for."""
    lines = metrics_text({"account": 2, "tuning": 0}, 1.8e9, is_complete=True).splitlines()
    names = []
    for line in lines:
        if line.startswith("# HELP "):
            names.append(line.split()[2])
        elif line.startswith("# TYPE "):
            assert line.split()[2:] == [names[-1], "gauge"]
        else:
            assert METRIC.fullmatch(line), line
            assert re.split(r"[{ ]", line)[0] == names[-1]
    assert names == [
        "bai_wizard_drift_objects", "bai_wizard_drift_last_check_timestamp_seconds", "bai_wizard_drift_check_success",
    ]  # fmt: skip


def test_answers_and_run_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["drift", "--answers", "a.toml", "--run", "x"])
    assert end.value.code == 2
    assert "not allowed with" in capsys.readouterr().err


def test_a_run_that_begins_meanwhile_outdates_the_comparison(seat: Seat, monkeypatch: pytest.MonkeyPatch) -> None:
    seat.apply(FIRST)
    seen = iter([counter(seat.paths), (99, 99)])
    monkeypatch.setattr("bai_wizard.session.counter", lambda _paths: next(seen))
    assert seat.main("drift") == ExitCode.PREFLIGHT
    seat.says("another run has started in the meantime")


def test_a_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "answers.toml").write_text("version = 1\n[tuning]\n")
    assert main(["drift", "--answers", str(tmp_path / "answers.toml"), "--demo", "bare"]) == 7
    assert "gpu01: compared with" in capsys.readouterr().out
    assert main(["drift", "--demo", "finished"]) == 2


def test_pages_without_drift_are_counted_as_well() -> None:
    change = Difference(FIRST, file_key("/x"), "changed")
    assert Comparison("h", "run x", 0.0, ("tuning", "account"), (change,)).drifted() == {"tuning": 1, "account": 0}


@pytest.mark.parametrize("seconds", [1e18, -1e18, 253402300800.0])
def test_a_time_that_no_calendar_has_is_shown_as_a_number(seconds: float) -> None:
    cause = Cause("file", 1_800_000_000.0, "/etc/x", owner="eve", modified=seconds)
    assert f"@{seconds:.0f}" in _cause_line(cause)
    assert _cause_json(cause)["modified"] == f"@{seconds:.0f}"
