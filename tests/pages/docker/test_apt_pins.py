"""A pin that keeps apt from installing a package is known when planning."""

from __future__ import annotations

import pytest

from bai_wizard.core.operation import Offer
from bai_wizard.core.state import Key, Package, package_key
from bai_wizard.core.step import Blocked, Pending
from bai_wizard.node.simulated import Environment, SimulatedMachine
from bai_wizard.steps.packages import NoPackages, PackageLists, Packages
from tests.pages.docker.nodes import file

PATH = "/etc/apt/preferences.d/site"
NEVER = "Package: docker.io\nPin: release *\nPin-Priority: -1\n"
# The wizard's own pin: other versions have the negative priority.
OURS = f"Package: docker.io\nPin: version 26.*\nPin-Priority: 1001\n\n{NEVER}"


@pytest.mark.parametrize(
    ("path", "text", "is_refused"),
    [
        (PATH, NEVER, True),
        ("/etc/apt/preferences", NEVER, True),
        (f"{PATH}.pref", f"# why\n{NEVER}", True),
        (f"{PATH}.bak", NEVER, False),
        (PATH, "Package: docker*\nPin: version *\nPin-Priority: -10\n", True),
        (PATH, "Package: podman docker.io\nPin: release a=*\nPin-Priority: -10\n", True),
        (PATH, "Package: docker.io-doc\nPin: release *\nPin-Priority: -1\n", False),
        (PATH, "Package: *\nPin: release *\nPin-Priority: -1\n", False),
        (PATH, "Package: docker.io\nPin: release o=Ubuntu\nPin-Priority: -1\n", False),
        (PATH, "Package: docker.io\nPin: release *\nPin-Priority: 100\n", False),
        (PATH, OURS, False),
        (PATH, "", False),
    ],
)
def test_a_package_that_a_pin_forbids(path: str, text: str, is_refused: bool) -> None:
    machine = SimulatedMachine({Key("file", path): file(text), Key("file", "/etc/apt/sources.list"): file("")})
    for step in (
        PackageLists(id="docker.lists", packages=("docker.io",)),
        Packages(id="docker.engine", names=("docker.io",), versions=("26.*",), why="x"),
    ):
        verdict = step.inspect(machine)
        assert isinstance(verdict, Blocked if is_refused else Pending), step.id
        if isinstance(verdict, Blocked):
            assert path in verdict.reason
            assert "docker.io" in verdict.reason


def test_a_package_that_is_here_is_not_asked_for() -> None:
    machine = SimulatedMachine({Key("file", PATH): file(NEVER), package_key("docker.io"): Package("26.1.5")})
    assert not isinstance(Packages(id="docker.engine", names=("docker.io",), why="x").inspect(machine), Blocked)


def test_nothing_is_removed_for_a_package_that_no_source_offers() -> None:
    """A suite of Docker's repository can exist before it has packages: the node would be left without an engine."""
    here = {package_key("docker.io"): Package("26.1.5")}
    step = NoPackages(
        id="docker.conflicts", names=("docker.io",), why="x", replaced_by=("docker-ce", "containerd.io")
    )
    verdict = step.inspect(SimulatedMachine(here, Environment(offers={"docker-ce": Offer("29.1")})))
    assert isinstance(verdict, Blocked)
    assert "containerd.io" in verdict.reason
    offers = {"docker-ce": Offer("29.1"), "containerd.io": Offer("2.1")}
    verdict = step.inspect(SimulatedMachine(here, Environment(offers=offers)))
    assert isinstance(verdict, Pending)
    assert [change.subject for change in verdict.changes] == ["package docker.io"]
