"""Messages about an interrupted change are true for every command that prints them and name nothing twice."""

from __future__ import annotations

import pytest

from bai_wizard.engine.journal import Entry
from bai_wizard.engine.recovery import recover_entry
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.resources.commands import RunCommand


@pytest.mark.parametrize(
    ("touches", "names"),
    [
        (("/a", "/b", "/a"), "/a, /b"),
        (("/a", "/b", "/c", "/d", "/a"), "/a, /b and 2 more"),
    ],
)
@pytest.mark.parametrize(("failed", "ended"), [(False, "was interrupted"), (True, "failed")])
def test_a_change_that_cannot_be_restored(touches: tuple[str, ...], names: str, failed: bool, ended: str) -> None:
    """`undo --plan` and `resume` say the same sentence: it must not promise what only one of them does."""
    operation = RunCommand(("/usr/bin/true",), "x", touches=touches)
    machine = SimulatedMachine({})
    before = {key: machine.state(key) for key in operation.keys()}
    entry = Entry(1, "x.step", operation, before, operation.after(before), None)
    ends: list[str] = []
    message = recover_entry(entry, lambda _number, status, _after: ends.append(status), machine, failed=failed)
    first = operation.keys()[0].name
    assert message == f"x.step: {first}, {names} {ended} partway and may be incomplete"
    assert ends == ["failed"]
