"""Interrupted package operations, read from dpkg's database and updates, and the plan that completes them."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

from bai_wizard.core.machine import Machine
from bai_wizard.core.operation import Offer
from bai_wizard.core.page import Context
from bai_wizard.core.state import DPKG_KEY, Key, Unfinished, Unit, package_key
from bai_wizard.core.step import Pending, Plan, Step
from bai_wizard.engine.planner import PageWork, make_plan
from bai_wizard.node.simulated import Environment, SimulatedMachine
from bai_wizard.resources.local import LocalMachine
from bai_wizard.resources.packages import CompletePackages
from bai_wizard.steps.packages import PackageLists, Packages, PackagesCompleted
from bai_wizard.steps.services import Service

GOOD = ("install ok installed", "hold ok installed", "deinstall ok config-files", "purge ok not-installed")
BAD = ("install ok half-configured", "install ok unpacked", "install reinstreq half-installed",
       "install reinstreq unpacked", "install ok triggers-pending", "install ok triggers-awaited",
       "hold ok half-configured", "deinstall ok half-configured")  # fmt: skip
REMOVED = ("deinstall ok half-installed", "purge ok half-installed", "deinstall reinstreq half-installed")


def paragraph(name: str, status: str, architecture: str = "amd64") -> str:
    return (f"Package: {name}\nStatus: {status}\nArchitecture: {architecture}\nVersion: 1.0\n"
            "Description: x\n Status: install ok unpacked\n")  # fmt: skip


def machine(root: Path, *paragraphs: str, updates: tuple[str, ...] = ()) -> LocalMachine:
    directory = root / "var/lib/dpkg"
    (directory / "updates").mkdir(parents=True)
    (directory / "status").write_text("\n".join(paragraphs) + "\n" * bool(paragraphs))
    for number, text in enumerate(updates):
        (directory / "updates" / f"{number:04}").write_text(text)
    return LocalMachine(str(root))


def test_nothing(tmp_path: Path) -> None:
    assert LocalMachine(str(tmp_path)).unfinished() is None
    whole = [paragraph(f"p{number}", status) for number, status in enumerate(GOOD)]
    assert machine(tmp_path, *whole).unfinished() is None
    (tmp_path / "var/lib/dpkg/updates/tmp.i").touch()
    assert LocalMachine(str(tmp_path)).unfinished() is None


@pytest.mark.parametrize("status", BAD)
def test_a_package_that_has_to_be_completed(tmp_path: Path, status: str) -> None:
    result = machine(tmp_path, paragraph("a", GOOD[0]), paragraph("b", status), paragraph("c", GOOD[0])).unfinished()
    damaged = "reinstreq" in status or "half-installed" in status
    assert result == Unfinished(("b",), damaged=("b:amd64",) if damaged else ())


def test_a_package_of_all_architectures_has_none(tmp_path: Path) -> None:
    assert machine(tmp_path, paragraph("b", "install reinstreq half-installed", "all")).unfinished() == Unfinished(
        ("b",), damaged=("b",)
    )


@pytest.mark.parametrize("status", REMOVED)
def test_a_package_whose_removal_has_to_be_completed(tmp_path: Path, status: str) -> None:
    assert machine(tmp_path, paragraph("b", status, "i386")).unfinished() == Unfinished(("b",), ("b:i386",))


@pytest.mark.parametrize("content", ["", "\n", "no paragraph", "\0\xff"])
def test_updates_alone_are_an_interruption(tmp_path: Path, content: str) -> None:
    assert machine(tmp_path, paragraph("a", GOOD[0]), updates=(content,)).unfinished() == Unfinished(())


def test_updates_replace_the_database(tmp_path: Path) -> None:
    updates = (paragraph("a", BAD[0]), paragraph("b", GOOD[0]) + "\n" + paragraph("new", GOOD[0]))
    status = (paragraph("a", GOOD[0]), paragraph("b", BAD[0]), paragraph("a", GOOD[0], "i386"))
    node = machine(tmp_path, *status, updates=updates)
    assert node.unfinished() == Unfinished(("a", "b", "new"))
    assert node.package("a:i386") is not None
    assert node.package("a:amd64") is None
    assert node.package("b") is not None
    assert node.package("new") is not None


def test_while_dpkg_works_nothing_is_interrupted(tmp_path: Path) -> None:
    node = machine(tmp_path, paragraph("a", BAD[0]))
    lock = tmp_path / "var/lib/dpkg/lock"
    lock.touch()
    assert node.unfinished() is not None
    hold = (
        "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print(1, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert node.unfinished() is None
        holder.communicate(b"\n")
    assert node.unfinished() is not None
    with open(lock, "w") as ours:
        fcntl.flock(ours, fcntl.LOCK_EX)  # not the kind of lock that dpkg takes
        assert node.unfinished() is not None


class OnePage:
    """A page of steps that are given."""

    name = "docker"

    def __init__(self, *steps: Step) -> None:
        self._steps = steps

    def predict(self, facts: object, _view: object) -> object:
        return facts

    def steps(self, *_: object) -> tuple[Step, ...]:
        return self._steps

    def unset(self, *_: object) -> str:
        return ""


LISTS = PackageLists(id="docker.lists", packages=("docker.io",))
INSTALL = Packages(
    id="docker.packages", names=("docker.io", "containerd"), why="engine", brings=("unit:docker.service",)
)
SERVICE = Service(id="docker.service", unit="docker.service")


def plan(node: Machine, *steps: Step) -> Plan:
    return make_plan((PageWork(OnePage(*steps), None, None),), node, Context())  # type: ignore[arg-type]


def node(unfinished: Unfinished | None) -> SimulatedMachine:
    offers = {"docker.io": Offer("26.1", brings=((Key("unit", "docker.service"), Unit("enabled", "active")),)),
              "containerd": Offer("1.7")}  # fmt: skip
    return SimulatedMachine({DPKG_KEY: unfinished}, Environment(offers=offers))


def test_the_plan_completes_first_and_once() -> None:
    found_plan = plan(node(Unfinished(("docker.io",))), LISTS, INSTALL, SERVICE)
    assert [item.step.id for item in found_plan.steps] == [
        "docker.dpkg",
        "docker.lists",
        "docker.packages",
        "docker.service",
    ]
    first = found_plan.steps[0]
    assert isinstance(first.verdict, Pending)
    assert [change.headline() for change in first.verdict.changes] == [
        "> complete interrupted package configuration  dpkg --configure -a"
    ]
    assert first.step.optional
    assert "docker.io" in first.step.describe()
    assert "docker.io" in first.verdict.lasting[0]
    assert all(item.is_pending for item in found_plan.steps)
    assert [item for item in found_plan.steps if item.verdict.kind == "blocked"] == []


def test_only_the_engines_packages_may_interrupt_containers() -> None:
    for names, interrupts in ((("docker.io", "x"), ("docker.restart",)), (("x",), ())):
        assert plan(node(Unfinished(names)), INSTALL).steps[0].step.interrupts == interrupts


def test_without_an_interruption_the_plan_is_unchanged() -> None:
    found_plan = plan(node(None), LISTS, INSTALL, SERVICE)
    assert [item.step.id for item in found_plan.steps] == ["docker.lists", "docker.packages", "docker.service"]


def test_pages_without_packages_complete_at_the_end() -> None:
    """A package that was installed for the page may look as if it were there, and need no step any more."""
    found_plan = plan(node(Unfinished(("x",))), SERVICE)
    assert [item.step.id for item in found_plan.steps] == ["docker.service", "docker.dpkg"]
    assert not found_plan.steps[-1].step.optional


def test_completed_the_step_is_verified_and_cannot_be_undone() -> None:
    simulated = node(Unfinished(("docker.io",)))
    step = PackagesCompleted(id="docker.dpkg", names=("docker.io",))
    operation = CompletePackages(("docker.io",))
    assert step.verify(simulated)
    simulated.apply(operation)
    assert simulated.unfinished() is None
    assert step.verify(simulated) == ""
    assert operation.inverse({}) is None
    assert operation.irreversible_reason() == "interrupted package operations stay completed: docker.io"
    assert CompletePackages(()).irreversible_reason() == "interrupted package operations stay completed"
    assert package_key("docker.io") in step.scope()
