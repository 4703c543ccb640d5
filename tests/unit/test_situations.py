"""Sub-command × situation → exit code, and what is on which stream; with `--json`, every line is a JSON object.

In-process, on a simulated node. The codes of `--headless` are in test_exit_codes.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest

from bai_wizard.cli import COMMANDS, main
from bai_wizard.commands import doctor
from bai_wizard.core.errors import StepBlocked
from bai_wizard.core.machine import Machine, NodeView
from bai_wizard.core.operation import Operation
from bai_wizard.core.page import Check, CheckWords, Context, Finding
from bai_wizard.core.secret import Secret
from bai_wizard.core.state import Entry
from bai_wizard.core.step import Step
from bai_wizard.engine.lock import hold_lock
from bai_wizard.node.simulated import Environment, SimulatedMachine
from tests.unit.engine.plans import STATES
from tests.unit.engine.test_run_selection import FIRST, SECOND, Seat
from tests.unit.engine.test_run_selection import seat as seat

pytestmark = pytest.mark.needs_root

RUN = "20260101T000000Z-abcd"
PASSWORD = "correct-horse-battery"


class Refused(Step, frozen=True, kw_only=True):
    """A step that cannot be applied on this node."""

    kind: ClassVar[str] = "test-refused"

    def describe(self) -> str:
        return "something impossible"

    def operations(self, view: NodeView) -> Iterator[Operation]:
        raise StepBlocked("it is impossible here")
        yield


@dataclass
class Situation:
    """What a case needs: the seat, the working directory, and what is to be released at its end."""

    seat: Seat
    stack: ExitStack
    monkeypatch: pytest.MonkeyPatch
    files: dict[str, Path] = field(default_factory=dict)

    def file(self, name: str, text: str) -> None:
        self.files[name] = self.seat.paths.root / name
        self.files[name].write_text(text)


def nothing(_s: Situation) -> None:
    """No run yet."""


def done(s: Situation) -> None:
    s.seat.apply(FIRST)


def begun(s: Situation) -> None:
    """Interrupted before the first change."""
    s.seat.apply(FIRST, cut=1)


def interrupted(s: Situation) -> None:
    s.seat.apply(FIRST, cut=3)


def undone(s: Situation) -> None:
    s.seat.apply(FIRST)
    assert s.seat.main("undo") == 0


def edited(s: Situation) -> None:
    s.seat.apply(FIRST)
    s.seat.put("/etc/first.conf", Entry("file", 0, 0, 0o644, b"a = 3\n"))


def damaged(s: Situation) -> None:
    (s.seat.apply(FIRST).path / "run.json").write_text("{")


def running(s: Situation) -> None:
    s.seat.apply(FIRST, cut=3)
    s.stack.enter_context(hold_lock(s.seat.paths, RUN))


def running_another(s: Situation) -> None:
    running(s)
    s.seat.wanted = (SECOND,)


def wanting(*steps: Step) -> Callable[[Situation], None]:
    def prepare(s: Situation) -> None:
        s.seat.wanted = steps

    return prepare


def plan_file(*steps: Step) -> Callable[[Situation], None]:
    def prepare(s: Situation) -> None:
        s.seat.wanted = steps
        file = s.seat.paths.root / "plan.json"
        assert s.seat.main("--headless", str(s.seat.answers), "--plan", "-o", str(file)) == 0

    return prepare


def outdated_plan_file(s: Situation) -> None:
    plan_file(FIRST)(s)
    s.seat.wanted = (FIRST, SECOND)


def refused(s: Situation) -> None:
    s.seat.apply(FIRST, cut=3)
    s.seat.wanted = (FIRST, Refused(id="tuning.refused"))


def not_root(s: Situation) -> None:
    s.seat.apply(FIRST)
    s.seat.machine = SimulatedMachine(STATES, Environment(is_root=False))


def finding(result: str) -> Callable[[Situation], None]:
    """A doctor whose only check has this result."""

    def look(machine: Machine, context: Context) -> Finding:
        if result == "crashed":
            raise RuntimeError(f"found {Secret(PASSWORD).reveal()}")
        return Finding("node.x", result, "x", "node")  # type: ignore[arg-type]

    def prepare(s: Situation) -> None:
        s.monkeypatch.setattr(
            doctor, "all_checks", lambda _desired: [Check("node.x", "node", lambda: CheckWords("x"), look)]
        )

    return prepare


def answers(text: str) -> Callable[[Situation], None]:
    return lambda s: s.file("answers.toml", text)


def reports(*values: str) -> Callable[[Situation], None]:
    def prepare(s: Situation) -> None:
        for number, value in enumerate(values):
            report = {"version": 1, "host": f"n{number}", "same": {"engine": value}, "node": {}}
            s.file(f"r{number}.json", json.dumps(report))

    return prepare


def not_reports(s: Situation) -> None:
    s.file("r0.json", "{}")
    s.file("r1.json", "{}")


# Command line → situation → (exit code, a text on standard output, a text on standard error). An empty text: nothing
# is expected there; with `--json`, what people read on either stream is in an event or on standard error.
CASES: dict[str, list[tuple[Callable[[Situation], None], int, str, str]]] = {
    "apply plan.json": [
        (nothing, 3, "", "plan.json cannot be read"),
        (plan_file(FIRST, SECOND), 0, "2 changed", ""),
        (outdated_plan_file, 3, "", "+++ /etc/second.conf"),
        (not_root, 3, "", "sudo is not installed"),
    ],
    "--headless answers.toml --plan -o p.json": [(wanting(FIRST), 0, "p.json", "")],
    "--headless answers.toml -o p.json": [(wanting(FIRST), 2, "", "add --plan")],
    "check answers.toml": [
        (answers("version = 1\n[tuning]\n"), 0, "answers.toml is valid", ""),
        (answers("version = 1\n[tunning]\n"), 2, "", "answers.toml:2:2"),
        (answers("version = \n"), 2, "", "answers.toml:1"),
    ],
    "check none.toml": [(nothing, 2, "", "none.toml")],
    "check answers.toml --bundle none": [(answers("version = 1\n[tuning]\n"), 3, "is valid", "none")],
    "check answers.toml --like none": [(answers("version = 1\n[tuning]\n"), 3, "is valid", "--bundle DIR")],
    "schema": [(nothing, 0, '"$schema"', "")],
    "answers": [(nothing, 0, "[account]", "")],
    "answers --from-node": [(nothing, 0, "version = 1", "")],
    "detect": [(nothing, 0, "account", "")],
    "doctor": [
        (finding("ok"), 0, "1 passed", "compared with"),
        (finding("problem"), 4, "node.x", "compared with"),
        (finding("warning"), 6, "node.x", "compared with"),
        (finding("crashed"), 6, "RuntimeError: found", "compared with"),
        (finding("cannot-tell"), 0, "node.x", "compared with"),
    ],
    "doctor --only node.y": [(finding("ok"), 2, "", "node.x")],
    "doctor --fix node.y --yes": [(finding("ok"), 2, "", "node.x")],
    "doctor --fix node.x --yes": [
        (finding("ok"), 0, "", "node.x: ok"),
        (finding("problem"), 4, "", "No automatic fix"),
    ],
    "doctor --fix node.x": [(not_root, 3, "", "sudo is not installed")],
    "doctor --error nothing-known": [(finding("ok"), 0, "No known problem", "")],
    "doctor --bundle b.tar.gz": [(finding("ok"), 3, "", "repeat with --yes")],
    "doctor --from none.tar.gz": [(nothing, 2, "", "none.tar.gz")],
    "runs": [
        (nothing, 0, "no runs yet", ""),
        (done, 0, "done", ""),
        (damaged, 0, "damaged", ""),
        (not_root, 0, "done", ""),
    ],
    "attach": [(nothing, 3, "", "no runs"), (done, 0, "1 changed", ""), (interrupted, 4, "", "resume")],
    "attach nobody": [(done, 3, "", "nobody")],
    "resume": [
        (nothing, 3, "", "no runs"),
        (done, 0, "", "no run to resume"),
        (begun, 0, "1 changed", ""),
        (interrupted, 0, "1 unchanged", ""),
        (refused, 3, "it is impossible here", ""),
        (running, 3, "", RUN),
        (not_root, 3, "", "sudo is not installed"),
    ],
    "resume --plan": [
        (begun, 0, "/etc/first.conf", ""),
        (refused, 3, "it is impossible here", ""),
        (running, 3, "", RUN),
    ],
    "resume nobody": [(done, 3, "", "nobody")],
    "undo": [
        (nothing, 3, "", "no runs"),
        (done, 0, "1 change undone", "selected run"),
        (interrupted, 0, "1 change undone", "selected run"),
        (undone, 0, "", "nothing is left to undo"),
        (edited, 4, "kept", "selected run"),
        (damaged, 4, "damaged record", "selected run"),
        (running, 3, "", RUN),
        (not_root, 3, "", "sudo is not installed"),
    ],
    "undo --plan": [
        (done, 0, "/etc/first.conf", "selected run"),
        (undone, 0, "", "nothing is left to undo"),
        (edited, 4, "kept", "selected run"),
        (running, 3, "", RUN),
    ],
    "drift": [
        (nothing, 3, "", "no finished run"),
        (done, 0, "no drift", ""),
        (edited, 7, "/etc/first.conf", ""),
        (undone, 3, "", "no finished run"),
        (interrupted, 3, "", "no finished run"),
        (damaged, 3, "", "no finished run"),
        (running, 3, "", RUN),
        (not_root, 3, "", "sudo is not installed"),
    ],
    "drift --run nobody": [(done, 3, "", "nobody")],
    "drift --answers none.toml": [(done, 2, "", "none.toml")],
    "drift --demo": [(nothing, 2, "", "no run history")],
    "undo --force": [(edited, 0, "1 change undone", "")],
    "undo nobody": [(done, 3, "", "nobody")],
    "compare r0.json r1.json": [
        (reports("6.1", "6.1"), 0, "n0", ""),
        (reports("6.1", "6.8"), 4, "6.8", ""),
        (not_reports, 2, "", "r0.json"),
    ],
    "fleet report r0.json r1.json": [
        (reports("6.1", "6.1"), 0, "n", ""),
        (not_reports, 2, "", "r0.json"),
    ],
    "fleet drift r0.json": [(not_reports, 2, "", "r0.json")],
    "fleet plan r0.json": [(not_reports, 2, "", "r0.json")],
    "bundle answers.toml -o out": [
        (answers("version = 1\n[tuning]\n"), 0, "SHA-256 of its manifest", ""),
        (answers("version = 1\n[tunning]\n"), 2, "", "answers.toml:2:2"),
    ],
    "bundle answers.toml -o out --like none": [(answers("version = 1\n[docker]\n"), 3, "", "none")],
    "--headless answers.toml --plan": [
        (answers("version = 1\n[tuning]\n"), 0, "no changes needed", ""),
        (wanting(Refused(id="tuning.refused")), 3, "it is impossible here", ""),
    ],
    "--headless answers.toml": [
        (wanting(FIRST, SECOND), 0, "2 changed", ""),
        (wanting(FIRST, Refused(id="tuning.refused")), 3, "impossible", ""),
        (running_another, 3, "second.conf", RUN),
    ],
    "undo --demo": [(nothing, 2, "", "no run history")],
    "--demo none": [(nothing, 2, "", "none")],
    "": [(nothing, 2, "", "--headless")],
    "--plain": [(nothing, 2, "", "--headless")],
}
# Commands whose output is for people only.
WITHOUT_JSON = ("", "--plain", "--demo none")
ALL = [
    pytest.param(words, number, json, id=f"{words or 'wizard'}-{number}{'-json' if json else ''}")
    for words, cases in CASES.items()
    for number in range(len(cases))
    for json in ((False, True) if words not in WITHOUT_JSON else (False,))
]


@pytest.fixture
def situation(seat: Seat, monkeypatch: pytest.MonkeyPatch) -> Iterator[Situation]:
    monkeypatch.chdir(seat.paths.root)
    with ExitStack() as stack:
        yield Situation(seat, stack, monkeypatch)


def test_every_command_is_in_the_table() -> None:
    assert {words.split()[0] for words in CASES if words and not words.startswith("-")} == set(COMMANDS)


@pytest.mark.parametrize(("words", "number", "as_json"), ALL)
def test_a_command_in_a_situation(words: str, number: int, as_json: bool, situation: Situation) -> None:
    prepare, code, out, err = CASES[words][number]
    prepare(situation)
    situation.seat.capsys.readouterr()
    root = [] if "--demo" in words else ["--root", str(situation.seat.paths.root)]
    assert main([*words.split(), *root, *(["--json"] if as_json else [])]) == code
    stdout, stderr = situation.seat.capsys.readouterr()
    assert PASSWORD not in stdout + stderr
    assert "Traceback" not in stderr
    if not as_json:
        assert out in stdout
        assert bool(stdout.strip()) == bool(out), stdout
        assert err in stderr
        return
    events = [json.loads(line) for line in stdout.splitlines()]
    assert all(isinstance(event, dict) and event.get("v") == 1 for event in events if "$schema" not in event), stdout
    if code in (2, 3):  # a refusal
        assert err in stderr or any(err in json.dumps(event) for event in events)


@pytest.mark.parametrize("words", [("undo",), ("undo", "--plan"), ("resume",), ("resume", "--plan")])
def test_a_run_in_progress_refuses_a_named_run_before_it_is_examined(
    words: tuple[str, ...], situation: Situation
) -> None:
    """The run in progress changes what would be shown: nothing is planned, nothing is recovered."""
    run = situation.seat.apply(FIRST, cut=3)
    situation.stack.enter_context(hold_lock(situation.seat.paths, RUN))
    assert situation.seat.main(words[0], run.id, *words[1:]) == 3
    assert [RUN in line for line in situation.seat.messages] == [True] * len(situation.seat.messages)
