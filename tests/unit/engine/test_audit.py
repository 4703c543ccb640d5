"""The audit trail of a run: what begins and ends it, who started it, and how records are written."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from bai_wizard.core.operation import Operation
from bai_wizard.engine.audit import BEGIN_ID, END_ID, NOTICE, WARNING
from bai_wizard.engine.directory import create_run
from bai_wizard.engine.executor import execute
from bai_wizard.engine.lock import StatePaths
from bai_wizard.node import system_log
from bai_wizard.node.simulated import Fault, SimulatedMachine
from tests.faults import fail_on
from tests.unit.engine.plans import STATES, plan_of
from tests.unit.engine.test_run_selection import FIRST

pytestmark = pytest.mark.needs_root


def audited(tmp_path: Path, fault: Fault | None = None) -> list[tuple[str, Mapping[str, str], int]]:
    """The records of a run of one step."""
    machine, paths = SimulatedMachine(STATES, fault=fault), StatePaths(tmp_path)
    plan = plan_of(machine, (FIRST,))
    actor = {"uid": 0, "sudo_user": "alice", "loginuid": None}
    approval = {"plan_file": "f" * 64, "approved_by": "J. Kim", "ticket": ""}
    run = create_run(paths, plan, {"version": 1}, origin={"actor": actor, "approval": approval})
    records: list[tuple[str, Mapping[str, str], int]] = []

    def record(message: str, fields: Mapping[str, str], priority: int) -> None:
        records.append((message, fields, priority))

    try:
        execute(paths, run, plan.digest(), machine, record=record)
    except RuntimeError:
        records.append(("raised", {}, 0))
    return records


def test_a_run_is_recorded_with_its_actor_and_outcome(tmp_path: Path) -> None:
    (_, begin, one), (text, end, two) = audited(tmp_path)
    assert (begin["MESSAGE_ID"], end["MESSAGE_ID"], one, two) == (BEGIN_ID, END_ID, NOTICE, NOTICE)
    assert text.endswith("ended: exit code 0")
    assert end.items() >= {name: value for name, value in begin.items() if name != "MESSAGE_ID"}.items()
    assert {name.removeprefix("BAI_WIZARD_"): value for name, value in end.items()}.items() >= {
        ("OUTCOME", "ok"), ("EXIT_CODE", "0"), ("CHANGED", "1"), ("FAILED", "0"), ("KIND", "apply"), ("NUMBER", "1"),
        ("ACTOR_UID", "0"), ("ACTOR_SUDO_USER", "alice"), ("APPROVED_BY", "J. Kim"), ("PLAN_FILE_DIGEST", "f" * 64),
    }  # fmt: skip
    assert not {"BAI_WIZARD_TICKET", "BAI_WIZARD_ACTOR_LOGINUID", "BAI_WIZARD_UNDOES"} & end.keys()


def bug(_operation: Operation, _moment: str) -> None:
    raise RuntimeError("no")


def test_a_failure_and_a_bug_end_with_a_warning(tmp_path: Path) -> None:
    *_, (_, failed, priority) = audited(tmp_path / "a", fail_on("write-file", "no"))
    assert (failed["BAI_WIZARD_OUTCOME"], failed["BAI_WIZARD_EXIT_CODE"], priority) == ("failed", "4", WARNING)
    *_, (_, ended, priority), raised = audited(tmp_path / "b", bug)
    assert (ended["BAI_WIZARD_OUTCOME"], priority, raised[0]) == ("bug", WARNING, "raised")


@pytest.fixture
def listener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """What listens on the journal's socket and on that of syslog, which the test puts in place."""
    monkeypatch.setattr(system_log, "JOURNAL", str(tmp_path / "journal"))
    monkeypatch.setattr(system_log, "SYSLOG", str(tmp_path / "log"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as own:
        own.settimeout(10)
        yield own


def test_the_journal_gets_any_text_as_a_field(listener: socket.socket) -> None:
    listener.bind(system_log.JOURNAL)
    assert system_log.write_record("begins", {"BAI_WIZARD_TICKET": "a\nPRIORITY=0"}, priority=5) == ""
    assert listener.recv(4096) == (
        b"MESSAGE=begins\nPRIORITY=5\nSYSLOG_FACILITY=10\nSYSLOG_IDENTIFIER=bai-wizard\n"
        b"BAI_WIZARD_TICKET\n" + struct.pack("<Q", 12) + b"a\nPRIORITY=0\n"
    )


def test_syslog_gets_one_line_in_which_no_value_looks_like_another(listener: socket.socket) -> None:
    listener.bind(system_log.SYSLOG)
    assert system_log.write_record("begins", {"BAI_WIZARD_TICKET": 'a" X="\n\x1b'}, priority=4) == ""
    priority, _, line = listener.recv(4096).decode().partition(">")
    assert priority == "<84"
    assert line.startswith("bai-wizard[")
    assert line.endswith(']: begins BAI_WIZARD_TICKET="a\\" X=\\"\\x0a\\x1b"')


def test_a_missing_or_silent_log_is_reported_and_does_not_hang(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "no such file" in system_log.write_record("begins", {}, priority=5)
    monkeypatch.setattr(system_log, "DEADLINE", 0.05)
    listener.bind(system_log.SYSLOG)
    problems = {system_log.write_record("begins", {"X": "x" * 1000}, priority=5) for _ in range(1000)}
    assert any("timed out" in problem for problem in problems)


def test_the_readme_names_the_message_ids_and_every_field(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[3] / "README.md").read_text()
    assert BEGIN_ID in readme
    assert END_ID in readme
    (_, _, _), (_, end, _) = audited(tmp_path)
    for name in end:
        assert f"`{name}`" in readme or f"`{name.removeprefix('BAI_WIZARD')}`" in readme, name
