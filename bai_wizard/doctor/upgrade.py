"""The upgrades of the distribution that the doctor knows, and which of them a command line and a node are about."""

from __future__ import annotations

from functools import cache
from typing import NoReturn

from msgspec import Struct, convert

from bai_wizard.core.errors import AnswersError, Problem
from bai_wizard.core.machine import NodeView
from bai_wizard.data import read_toml
from bai_wizard.pages.check import NotApplicable
from bai_wizard.pages.node.probe import Release, release

BEFORE, AFTER = "--before-upgrade", "--after-upgrade"


class Upgrade(Struct, frozen=True):
    """One upgrade; data/upgrades.toml explains the fields."""

    id: str
    name: str
    old: str
    new: str
    old_codename: str
    new_codename: str
    names: tuple[str, ...]
    python: str
    disables: bool
    sudo_rs: bool
    oldest: dict[str, int]

    @property
    def title(self) -> str:
        """`Debian 12 to 13`."""
        return f"{self.name} {self.old} to {self.new}"

    def is_old(self, text: str) -> bool:
        """Whether a suite, an address or a version names the old release."""
        return any(name in text for name in self.names)


@cache
def upgrades() -> tuple[Upgrade, ...]:
    """Return the supported upgrades."""
    return convert(read_toml("upgrades.toml")["step"], tuple[Upgrade, ...])


def upgrade_of(view: NodeView) -> tuple[Upgrade, bool]:
    """Return the upgrade that a node is about to get or has had, and whether it is done. Raises NotApplicable."""
    running = release(view)
    for each in upgrades():
        if running is not None and running.id == each.id and running.version in (each.old, each.new):
            return each, running.version == each.new
    raise NotApplicable("no upgrade of this release is supported")


def refuse_upgrade(view: NodeView, before: str | None, *, after: bool) -> None:
    """Raise AnswersError if the options are not about an upgrade of the release that this node runs.

    `before` is the release of `--before-upgrade`, by number or codename.
    """
    running = release(view) or Release("", "", "an unknown release")
    name = running.name or f"{running.id} {running.version}"
    supported = f"supported upgrades: {', '.join(each.title for each in upgrades())}"
    own = [each for each in upgrades() if each.id == running.id]
    if after:
        if not any(running.version == each.new for each in own):
            _refuse(AFTER, f"this node runs {name}, which is not the result of a supported upgrade; {supported}")
        return
    if before is None:
        return
    wanted = before.strip().lower()
    if not any(wanted in (each.new, each.new_codename) for each in upgrades()):
        _refuse(BEFORE, f"{before!r}: no upgrade to this release is supported; {supported}")
    target = next((each for each in own if wanted in (each.new, each.new_codename)), None)
    if target is not None and running.version == target.new:
        _refuse(BEFORE, f"this node already runs {name}; after the upgrade, use {AFTER}")
    if target is None or running.version != target.old:
        _refuse(BEFORE, f"{before!r}: this node runs {name}, which cannot be upgraded to it; {supported}")


def _refuse(option: str, reason: str) -> NoReturn:
    raise AnswersError([Problem("command line", 0, 0, option, reason)])
