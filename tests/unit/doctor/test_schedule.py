"""All at once, but nothing before what it needs; whatever hangs, no longer than the longest deadline."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bai_wizard.core.context import Context
from bai_wizard.core.finding import Check, Finding
from bai_wizard.core.machine import Machine
from bai_wizard.doctor.run import all_checks, examine
from bai_wizard.doctor.schedule import groups
from bai_wizard.machine.local import LocalMachine
from bai_wizard.machine.simulated import SimulatedMachine

Look = Callable[[Machine, Context], Finding]


def check(id: str, look: Look, page: str = "node", **more: object) -> Check:
    return Check(id, page, id, look, **more)  # type: ignore[arg-type]


def told(id: str, result: str, after: float = 0.0) -> Look:
    def look(machine: Machine, context: Context) -> Finding:
        time.sleep(after)
        return Finding(id, result, id, "node")  # type: ignore[arg-type]

    return look


def examined(*checks: Check, machine: Machine | None = None) -> tuple[dict[str, Finding], float]:
    begun = time.monotonic()
    found = examine(checks, machine or SimulatedMachine({}), Context())
    assert len(found) == len(checks)
    return {finding.id: finding for finding in found}, time.monotonic() - begun


def never(machine: Machine, context: Context) -> Finding:
    raise AssertionError("its need has a problem: it is not to be looked at")


def test_a_need_need_be_no_root_cause_and_is_passed_on() -> None:
    found, _ = examined(
        check("c", never, page="docker", needs=("b",)),
        check("b", never, needs=("a",)),
        check("a", told("a", "problem", after=0.3)),
    )
    assert found["b"].suppressed_by == "a"
    assert found["c"].suppressed_by == "a"
    assert found["a"].result == "problem"


def test_a_need_that_is_well_or_not_asked_about_hinders_nobody() -> None:
    found, _ = examined(
        check("b", told("b", "ok"), needs=("a", "elsewhere")), check("a", told("a", "warning", after=0.2))
    )
    assert found["b"].result == "ok"


def test_a_dear_check_holds_up_nobody() -> None:
    """Were they in one child, the dear one's second would come before the others' seconds."""
    checks = [check(f"c{number}", told(f"c{number}", "ok", after=0.4)) for number in range(2)]
    _, seconds = examined(check("dear", told("dear", "ok", after=1.0), cost="dear"), *checks)
    assert seconds < 1.7


def test_shared_checks_wait_for_the_first_and_are_given_up_together() -> None:
    """Each would otherwise begin anew what the first could not finish."""
    seen = {"page": False}

    def first(machine: Machine, context: Context) -> Finding:
        time.sleep(0.8)
        seen["page"] = True
        return Finding("first", "ok", "first", "node")

    def second(machine: Machine, context: Context) -> Finding:
        return Finding("second", "ok" if seen["page"] else "problem", "second", "node")

    found, _ = examined(check("first", first, cost="shared"), check("second", second, cost="shared"))
    assert found["second"].result == "ok", "looked at by another child, which knows nothing"
    hung, seconds = examined(
        check("first", told("first", "ok", after=60), cost="shared", deadline=1.0),
        *(check(f"c{number}", told(f"c{number}", "ok"), cost="shared", deadline=1.0) for number in range(20)),
    )
    assert {finding.result for finding in hung.values()} == {"cannot-tell"}
    assert seconds < 3


def test_a_shared_check_whose_need_is_sick_is_suppressed_in_the_same_child() -> None:
    found, _ = examined(
        check("b", told("b", "problem"), cost="shared", needs=("a",)), check("a", told("a", "problem"), cost="shared")
    )
    assert found["b"].suppressed_by == "a"


def test_a_chain_that_hangs_ends_at_the_longest_deadline() -> None:
    """Each link alone would take its own second, one after the other."""
    hung = [check("c0", told("c0", "ok", after=60), deadline=1.0)]
    hung += [
        check(f"c{number}", told(f"c{number}", "ok", after=60), needs=(f"c{number - 1}",), deadline=1.0)
        for number in range(1, 6)
    ]
    found, seconds = examined(*hung)
    assert {finding.result for finding in found.values()} == {"cannot-tell"}
    assert seconds < 1.0 + 0.7


def test_what_a_silent_check_has_started_ends_with_it(tmp_path: Path) -> None:
    """A program that it asked has a session of its own, and would outlive the child's."""
    mark = tmp_path / "pid"

    def ask(machine: Machine, context: Context) -> Finding:
        machine.look(("sh", "-c", f"echo $$ > {mark}; exec sleep 300"), deadline=300)
        raise AssertionError

    found, _ = examined(check("asks", ask, deadline=1.5), machine=LocalMachine("/"))
    assert found["asks"].result == "cannot-tell"
    assert _is_gone(int(mark.read_text()))


def _is_gone(pid: int) -> bool:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.05)
    return False


def test_needs_are_checks_and_lead_nowhere_in_a_circle() -> None:
    checks = all_checks()
    known = {each.id: each for each in checks}
    assert len(known) == len(checks), "ids are unique"
    for each in checks:
        assert set(each.needs) <= set(known), each.id
        seen, open_ones = set(), list(each.needs)
        while open_ones:
            name = open_ones.pop()
            assert name != each.id, f"{each.id} needs itself"
            if name not in seen:
                seen.add(name)
                open_ones += known[name].needs


def test_few_children_do_it() -> None:
    """Each one costs a fork; a node of two processors gains nothing from a hundred."""
    made = groups(all_checks())
    assert sorted(each.id for group in made for each in group) == sorted(each.id for each in all_checks())
    assert len(made) <= 40


@pytest.mark.parametrize("id", ["dns-broken", "docker.compose"])
def test_what_asks_others_has_a_child_of_its_own(id: str) -> None:
    assert [[each.id for each in group] for group in groups(all_checks()) if id in {e.id for e in group}] == [[id]]
