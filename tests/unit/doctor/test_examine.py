"""Checks that hang, crash, die or depend on a root cause cost themselves and nobody else."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.finding import Check, Finding
from bai_wizard.core.machine import Machine
from bai_wizard.doctor.run import examine, exit_code
from bai_wizard.exits import ExitCode
from bai_wizard.machine.simulated import SimulatedMachine
from bai_wizard.steps.directory import Directory

Look = Callable[[Machine, Context], Finding]


def check(id: str, look: Look, page: str = "node", **more: object) -> Check:
    return Check(id, page, id, look, **more)  # type: ignore[arg-type]


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
    raise CannotTell("needs root")


def results(*checks: Check) -> dict[str, Finding]:
    return {finding.id: finding for finding in examine(checks, SimulatedMachine({}), Context())}


def test_each_bad_check_costs_only_itself() -> None:
    begun = time.monotonic()
    found = results(
        check("hangs", hang, deadline=0.3),
        check("after-hang", ok("after-hang")),
        check("crashes", crash, page="docker"),
        check("dies", die, page="docker"),
        check("after-death", ok("after-death"), page="docker"),
        check("cannot", cannot, page="tuning"),
    )
    assert {id: finding.result for id, finding in found.items()} == {
        "hangs": "cannot-tell",
        "after-hang": "ok",
        "crashes": "crashed",
        "dies": "crashed",
        "after-death": "ok",
        "cannot": "cannot-tell",
    }
    assert "KeyError" in found["crashes"].cause
    assert time.monotonic() - begun < 5


def test_dependents_of_a_root_cause_are_suppressed_with_the_reason() -> None:
    found = results(
        check("disk-full", problem("disk-full"), root_cause=True),
        check("docker-not-running", problem("docker-not-running"), needs=("disk-full",)),
        check("clock", ok("clock"), root_cause=True),
        check("apt", ok("apt"), needs=("clock",)),
    )
    assert found["docker-not-running"].suppressed_by == "disk-full"
    assert found["docker-not-running"].result == "not-applicable"
    assert found["apt"].result == "ok"


def test_a_remedy_crosses_from_the_child_as_steps() -> None:
    found = results(check("x", problem("x")))
    assert found["x"].remedy[0].describe() == "/vfroot/ owned by root, mode 0755"


def test_ignoring_demotes_and_says_why() -> None:
    findings = examine([check("x", problem("x"))], SimulatedMachine({}), Context(), {"x": "known, ticket 7"})
    assert findings[0].ignored == "known, ticket 7"
    assert exit_code(findings) is ExitCode.OK
    assert exit_code(examine([check("x", problem("x"))], SimulatedMachine({}), Context())) is ExitCode.FAILED


def test_many_that_hang_take_as_long_as_the_slowest() -> None:
    begun = time.monotonic()
    pages = ("node", "docker", "storage", "accelerators")
    hung = [check(f"{page}-{number}", hang, page=page, deadline=2.0) for page in pages for number in range(4)]
    fine = [check(f"{page}-fine", ok(f"{page}-fine"), page=page) for page in pages]
    found = results(*hung, *fine)
    assert {found[each.id].result for each in hung} == {"cannot-tell"}
    assert {found[each.id].result for each in fine} == {"ok"}
    assert time.monotonic() - begun < 2.0 + 0.5 + 2.5, "the slowest deadline, the patience, and a loaded machine"


def test_a_slow_check_answers_once_although_others_overtake_it() -> None:
    def slow(machine: Machine, context: Context) -> Finding:
        time.sleep(1.0)
        return Finding("slow", "ok", "slow", "node")

    checks = (check("slow", slow), *(check(f"c{number}", ok(f"c{number}")) for number in range(5)))
    findings = examine(checks, SimulatedMachine({}), Context())
    assert sorted(finding.id for finding in findings) == ["c0", "c1", "c2", "c3", "c4", "slow"]
    assert {finding.result for finding in findings} == {"ok"}
