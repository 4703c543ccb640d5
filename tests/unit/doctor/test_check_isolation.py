"""Checks that hang, crash, die or depend on a root cause do not affect other checks."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.machine import Machine
from bai_wizard.core.page import Check, CheckWords, Context, Finding
from bai_wizard.doctor.run import examine, exit_code
from bai_wizard.exit_codes import ExitCode
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.steps.files import Directory
from tests.waiting import PATIENCE, ends

Look = Callable[[Machine, Context], Finding]


# No check that answers reaches its deadline; one that waits for it hangs.
CHECK_DEADLINE = 2 * PATIENCE


def check(id: str, look: Look, page: str = "node", deadline: float = CHECK_DEADLINE, **more: object) -> Check:
    return Check(id, page, lambda: CheckWords(id), look, deadline=deadline, **more)  # type: ignore[arg-type]


def ok(id: str) -> Look:
    return lambda machine, context: Finding(id, "ok", id, "node")


def problem(id: str) -> Look:
    remedy = (Directory(id="fix.it", path="/vfroot"),)
    return lambda machine, context: Finding(id, "problem", id, "node", remedy=remedy)


def hang(machine: Machine, context: Context) -> Finding:
    time.sleep(3600)
    raise AssertionError


def crash(machine: Machine, context: Context) -> Finding:
    raise KeyError("oops")


def die(machine: Machine, context: Context) -> Finding:
    os._exit(9)


def cannot(machine: Machine, context: Context) -> Finding:
    raise StateUnknown("needs root")


def results(*checks: Check) -> dict[str, Finding]:
    return {finding.id: finding for finding in examine(checks, SimulatedMachine({}), Context())}


def test_each_bad_check_costs_only_itself() -> None:
    with ends("what is given up at its own deadline"):
        findings = results(
            check("hangs", hang, deadline=0.3),
            check("after-hang", ok("after-hang")),
            check("crashes", crash, page="docker"),
            check("dies", die, page="docker"),
            check("after-death", ok("after-death"), page="docker"),
            check("cannot", cannot, page="tuning"),
        )
    assert {id: finding.result for id, finding in findings.items()} == {
        "hangs": "cannot-tell",
        "after-hang": "ok",
        "crashes": "crashed",
        "dies": "crashed",
        "after-death": "ok",
        "cannot": "cannot-tell",
    }
    assert "KeyError" in findings["crashes"].cause


def test_dependents_of_a_root_cause_are_suppressed_with_the_reason() -> None:
    findings = results(
        check("docker.disk-full", problem("docker.disk-full"), root_cause=True),
        check("docker.not-running", problem("docker.not-running"), needs=("docker.disk-full",)),
        check("clock", ok("clock"), root_cause=True),
        check("apt", ok("apt"), needs=("clock",)),
    )
    assert findings["docker.not-running"].suppressed_by == "docker.disk-full"
    assert findings["docker.not-running"].result == "not-applicable"
    assert findings["apt"].result == "ok"


def test_a_remedy_crosses_from_the_child_as_steps() -> None:
    findings = results(check("x", problem("x")))
    assert findings["x"].remedy[0].describe() == "/vfroot/ owned by root, mode 0755"


def test_ignored_findings_are_demoted_with_their_reason() -> None:
    findings = examine([check("x", problem("x"))], SimulatedMachine({}), Context(), {"x": "known, ticket 7"})
    assert findings[0].ignored == "known, ticket 7"
    assert exit_code(findings) is ExitCode.OK
    assert exit_code(examine([check("x", problem("x"))], SimulatedMachine({}), Context())) is ExitCode.FAILED


def test_many_that_hang_take_as_long_as_the_slowest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a page would take 40 seconds one after the other."""
    monkeypatch.setattr("bai_wizard.doctor.run.PATIENCE", 0.05)
    deadline, number = 2.0, 20
    pages = ("node", "docker", "storage", "accelerators")
    hung = [check(f"{page}-{at}", hang, page=page, deadline=deadline) for page in pages for at in range(number)]
    fine = [check(f"{page}-fine", ok(f"{page}-fine"), page=page) for page in pages]
    with ends("what hangs at the same time", number * deadline):
        findings = results(*hung, *fine)
    assert {findings[each.id].result for each in hung} == {"cannot-tell"}
    assert {findings[each.id].result for each in fine} == {"ok"}


def test_the_whole_ends_with_the_longest_deadline() -> None:
    """One after the other, they would take two minutes."""
    needs: tuple[str, ...] = ()
    chain = []
    for at in range(120):
        chain.append(check(f"c{at}", hang, deadline=1.0, needs=needs))
        needs = (f"c{at}",)
    with ends("a chain that hangs", len(chain) * 1.0):
        findings = results(*chain)
    assert {finding.result for finding in findings.values()} == {"cannot-tell"}


def test_a_slow_check_answers_once_although_others_overtake_it() -> None:
    def slow(machine: Machine, context: Context) -> Finding:
        time.sleep(1.0)
        return Finding("slow", "ok", "slow", "node")

    checks = (check("slow", slow), *(check(f"c{number}", ok(f"c{number}")) for number in range(5)))
    findings = examine(checks, SimulatedMachine({}), Context())
    assert sorted(finding.id for finding in findings) == ["c0", "c1", "c2", "c3", "c4", "slow"]
    assert {finding.result for finding in findings} == {"ok"}
