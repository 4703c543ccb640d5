"""Checks run concurrently in the order of their dependencies; hanging ones end with the longest deadline."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bai_wizard.core.machine import Machine
from bai_wizard.core.page import Check, CheckWords, Context, Finding
from bai_wizard.core.state import Key, State
from bai_wizard.doctor.run import PATIENCE as OVERTAKEN
from bai_wizard.doctor.run import all_checks, check_groups, examine, run_checks
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.resources.local import LocalMachine
from tests.waiting import PATIENCE, ends, until

Look = Callable[[Machine, Context], Finding]


# Longer than the test waits, and more seconds than it waits.
HANG, LONG = 2 * PATIENCE, int(PATIENCE)


def check(id: str, look: Look, page: str = "node", **more: object) -> Check:
    return Check(id, page, lambda: CheckWords(id), look, **more)  # type: ignore[arg-type]


def reported(id: str, result: str, after: float = 0.0) -> Look:
    def look(machine: Machine, context: Context) -> Finding:
        time.sleep(after)
        return Finding(id, result, id, "node")  # type: ignore[arg-type]

    return look


def examined(*checks: Check, machine: Machine | None = None) -> dict[str, Finding]:
    with ends("the doctor"):
        findings = examine(checks, machine or SimulatedMachine({}), Context())
    assert len(findings) == len(checks)
    return {finding.id: finding for finding in findings}


def never(machine: Machine, context: Context) -> Finding:
    raise AssertionError("its need has a problem: it is not to be looked at")


def test_a_need_need_be_no_root_cause_and_is_passed_on() -> None:
    findings = examined(
        check("c", never, page="docker", needs=("b",)),
        check("b", never, needs=("a",)),
        check("a", reported("a", "problem", after=0.3)),
    )
    assert findings["b"].suppressed_by == "a"
    assert findings["c"].suppressed_by == "a"
    assert findings["a"].result == "problem"


def test_a_slow_check_holds_up_those_that_need_it_and_no_others() -> None:
    """They were in its child; started at once beside it, they would be looked at although it finds a problem."""
    order: list[str] = []
    checks = [
        check("slow", reported("slow", "problem", after=1.5)),
        *(check(f"free{number}", reported(f"free{number}", "ok")) for number in range(4)),
        check("bound", never, needs=("slow",)),
        check("far", never, needs=("bound",)),
    ]
    for finding in run_checks(checks, SimulatedMachine({}), Context()):
        order.append(finding.id)
        assert finding.result in ("ok", "problem") or finding.suppressed_by == "slow", finding
    assert sorted(order) == sorted(each.id for each in checks)
    assert order.index("free3") < order.index("slow") < order.index("bound")


def test_a_need_that_is_well_or_not_asked_about_hinders_no_one() -> None:
    findings = examined(
        check("b", reported("b", "ok"), needs=("a", "elsewhere")), check("a", reported("a", "warning", after=0.2))
    )
    assert findings["b"].result == "ok"


def meeting(id: str, other: str, directory: Path) -> Look:
    """A check that ends only once another one has begun."""

    def look(machine: Machine, context: Context) -> Finding:
        (directory / id).touch()
        while not (directory / other).exists():
            time.sleep(0.02)
        return Finding(id, "ok", id, "node")

    return look


def test_an_expensive_check_holds_up_no_one(tmp_path: Path) -> None:
    """It runs beside the others: in one child, the first of the two would wait for the other until its deadline."""
    findings = examined(
        check("expensive", meeting("expensive", "cheap", tmp_path), cost="expensive", deadline=HANG),
        check("cheap", meeting("cheap", "expensive", tmp_path), deadline=HANG),
    )
    assert {finding.result for finding in findings.values()} == {"ok"}


def test_shared_checks_wait_for_the_first_and_are_given_up_together() -> None:
    """Otherwise each check would repeat what the first one could not finish."""
    seen = {"page": False}

    def first(machine: Machine, context: Context) -> Finding:
        time.sleep(0.8)
        seen["page"] = True
        return Finding("first", "ok", "first", "node")

    def second(machine: Machine, context: Context) -> Finding:
        return Finding("second", "ok" if seen["page"] else "problem", "second", "node")

    findings = examined(check("first", first, cost="shared"), check("second", second, cost="shared"))
    assert findings["second"].result == "ok", "looked at by another child, which knows nothing"
    hung = examined(
        check("first", reported("first", "ok", after=HANG), cost="shared", deadline=1.0),
        *(check(f"c{number}", reported(f"c{number}", "ok"), cost="shared", deadline=1.0) for number in range(LONG)),
    )
    assert {finding.result for finding in hung.values()} == {"cannot-tell"}


def test_a_check_is_overtaken_if_it_waits_but_not_if_it_computes() -> None:
    """On a busy node, each check takes longer than the patience: a child for each would make it busier."""

    def where(id: str, busy: float = 0.0, idle: float = 0.0) -> Check:
        def look(machine: Machine, context: Context) -> Finding:
            until = time.thread_time() + busy
            while time.thread_time() < until:
                pass
            time.sleep(idle)
            return Finding(id, "ok", id, "node", cause=str(os.getpid()))

        return check(id, look)

    for first, children in (where("a", busy=2 * OVERTAKEN), 1), (where("a", idle=2 * OVERTAKEN), 3):
        findings = examined(first, where("b"), where("c"))
        assert len({finding.cause for finding in findings.values()}) == children


def test_a_shared_check_whose_need_is_unhealthy_is_suppressed_in_the_same_child() -> None:
    findings = examined(
        check("b", reported("b", "problem"), cost="shared", needs=("a",)),
        check("a", reported("a", "problem"), cost="shared"),
    )
    assert findings["b"].suppressed_by == "a"


def test_a_chain_that_hangs_ends_at_the_longest_deadline() -> None:
    """Each link alone would take its own second, one after the other."""
    hung = [check("c0", reported("c0", "ok", after=HANG), deadline=1.0)]
    hung += [
        check(f"c{number}", reported(f"c{number}", "ok", after=HANG), needs=(f"c{number - 1}",), deadline=1.0)
        for number in range(1, LONG)
    ]
    findings = examined(*hung)
    assert {finding.result for finding in findings.values()} == {"cannot-tell"}


def test_children_of_a_hanging_check_end_with_it(tmp_path: Path) -> None:
    """A program that it asked has a session of its own, and would outlive the child's."""
    mark = tmp_path / "pid"

    def ask(machine: Machine, context: Context) -> Finding:
        machine.query(("sh", "-c", f"echo $$ > {mark}; exec sleep 300"), deadline=300)
        raise AssertionError

    findings = examined(check("asks", ask, deadline=3.0), machine=LocalMachine("/"))
    assert findings["asks"].result == "cannot-tell"
    until(lambda: _is_gone(int(mark.read_text())), "the end of the program")


def _is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (ProcessLookupError, FileNotFoundError):
        return True


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
    made = check_groups(all_checks())
    assert sorted(each.id for group in made for each in group) == sorted(each.id for each in all_checks())
    assert len(made) <= 20
    assert len([group for group in made if group[0].cost == "cheap"]) == 1, "they share what they read"


def test_checks_of_one_child_make_each_read_once() -> None:
    seen: list[Key] = []

    class Noting(SimulatedMachine):
        def state(self, key: Key) -> State | None:
            seen.append(key)
            return super().state(key)

    def look(machine: Machine, context: Context) -> Finding:
        machine.text("/etc/hosts")
        return Finding("x", "problem" if seen.count(Key("file", "/etc/hosts")) > 1 else "ok", "x", "node")

    findings = examined(*(check(f"c{number}", look, page=f"p{number}") for number in range(5)), machine=Noting({}))
    assert {finding.result for finding in findings.values()} == {"ok"}


def test_cheap_checks_that_need_an_expensive_one_do_not_hold_up_the_others() -> None:
    """The expensive one needs a cheap check itself: in one group, the two would wait for each other."""
    checks = [
        check("first", reported("first", "ok")),
        check("expensive", reported("expensive", "ok"), needs=("first",), cost="expensive"),
        check("last", reported("last", "ok"), needs=("expensive",)),
        check("after", reported("after", "ok"), needs=("last",)),
    ]
    groups = [[each.id for each in group] for group in check_groups(checks)]
    assert sorted(groups) == [["expensive"], ["first"], ["last", "after"]]
    findings = examined(*checks)
    assert {finding.result for finding in findings.values()} == {"ok"}


@pytest.mark.parametrize("id", ["node.dns-broken", "docker.compose"])
def test_checks_that_contact_other_hosts_run_in_their_own_process(id: str) -> None:
    assert [[each.id for each in group] for group in check_groups(all_checks()) if id in {e.id for e in group}] == [
        [id]
    ]
