"""The docker page: the engine, its packages and configuration, and who may use it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bai_wizard.core.facts import Fact, Known, Unknown
from bai_wizard.core.page import Page
from bai_wizard.pages import TITLES
from bai_wizard.pages.docker.facts import DockerFacts
from bai_wizard.pages.docker.plan import steps
from bai_wizard.pages.docker.probe import probe
from bai_wizard.pages.docker.settings import DockerSettings

if TYPE_CHECKING:
    from bai_wizard.core.finding import Check


def checks() -> tuple[Check, ...]:
    """The checks of this page."""
    from bai_wizard.pages.docker.checks import CHECKS

    return CHECKS


def now(facts: DockerFacts) -> tuple[tuple[str, str], ...]:
    """The engine as it is, and others that are not the system's."""
    users = ", ".join(facts.rootless)
    beside = (("Rootless Docker", f"of user {users}; Backend.AI uses the system's"),) if users else ()
    return (*_system(facts), *beside)


def _system(facts: DockerFacts) -> tuple[tuple[str, str], ...]:
    if isinstance(facts.engine, Unknown):
        told = ", ".join(f"{name} {version}" for name, version in facts.packages) or "no packages of it"
        return (("Docker", f"cannot tell: {facts.engine.reason}"), ("Packages", told))
    if not isinstance(facts.engine, Known):
        return (("Docker", "not installed" if facts.is_fresh else "installed, does not run"),)
    engine = facts.engine.value
    return (
        ("Docker", f"{engine.version} (API {engine.api})"),
        ("Images", f"{engine.images} in {engine.data_root} ({engine.driver})"),
        *((f"Free below {path}", _room(free)) for path, free in facts.free),
        ("Containers", f"{engine.containers}, {engine.running} running"),
        ("Runtimes", ", ".join(engine.runtimes)),
        ("cgroup", f"version {engine.cgroup}"),
    )


def _room(free: Fact[int]) -> str:
    if isinstance(free, Known):
        return f"{free.value / 1e9:.1f} GB"
    return f"cannot tell: {free.reason}" if isinstance(free, Unknown) else "cannot tell"


PAGE = Page(
    name="docker",
    title=TITLES["docker"],
    summary="The container engine that sessions run in, and its configuration.",
    settings=DockerSettings,
    probe=probe,
    steps=steps,
    checks=checks,
    now=now,
)
