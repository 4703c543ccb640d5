"""A node in a dictionary and pages with one step each, as slow as a test needs."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from bai_wizard.core.consent import Affected
from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.event import Log, silent
from bai_wizard.core.machine import Completed, Machine, Space
from bai_wizard.core.operation import Operation
from bai_wizard.core.page import Context, Page
from bai_wizard.core.state import Account, Group, Key, State, Tree, Unpredictable
from bai_wizard.core.step import Effect, Interrupt, Step
from bai_wizard.pages import settings_of
from bai_wizard.pages.fields import dump
from bai_wizard.session import Session, demo_session
from bai_wizard.steps.files import DropIn

TITLES = {
    "node": "Node",
    "account": "Account",
    "docker": "Docker",
    "tuning": "Tuning",
    "python": "Python",
    "aliases": "Aliases",
    "storage": "Storage",
    "accelerators": "Accelerators",
    "images": "Images",
}


class FakeMachine(Machine):
    """States under keys; `delay` is how long performing takes, in seconds, `lines` how much it says meanwhile."""

    def __init__(self, *, root: bool = True, delay: float = 0.0, lines: int = 3) -> None:
        self.states_by_key: dict[Key, State | None] = {}
        self.delay = delay
        self.lines = lines
        self._root = root
        self.affected: dict[str, tuple[str, ...]] = {}

    @property
    def is_root(self) -> bool:
        return self._root

    @property
    def host(self) -> str:
        return "gpu01"

    def state(self, key: Key) -> State | None:
        return self.states_by_key.get(key)

    def names(self, directory: str) -> tuple[str, ...]:
        return ()

    def accounts(self) -> tuple[Account, ...]:
        return (Account("root", 0, 0, "root", "/root", "/bin/bash"),)

    def groups(self) -> tuple[Group, ...]:
        return (Group("root", 0),)

    def candidate(self, package: str) -> str | None:
        return None

    def tree_without(self, path: str, parts: tuple[str, ...]) -> Tree | None:
        return self.tree(path)

    def changed_at(self, path: str) -> float:
        return 0.0

    def query(self, argv: Sequence[str], *, deadline: float = 5.0) -> Completed:
        raise StateUnknown(f"{argv[0]} is not on this node")

    def kernel_text(self, path: str, *, deadline: float = 2.0) -> str | None:
        return None

    def apply(self, operation: Operation, log: Log = silent) -> None:
        for number in range(self.lines):
            log(f"{operation.kind} line {number + 1} of {self.lines}", stream="stdout")
            if self.delay:
                time.sleep(self.delay / self.lines)
        before = {key: self.state(key) for key in operation.keys()}
        for key, state in operation.after(before).items():
            assert not isinstance(state, Unpredictable)
            self.states_by_key[key] = state

    def disruption(self, interrupt: Interrupt) -> tuple[Affected, ...]:
        return tuple(Affected(name, name) for name in self.affected.get(interrupt, ()))

    def space(self, path: str) -> Space:
        return Space(1 << 40, 1 << 42)

    def in_container(self) -> bool:
        return False


@dataclass
class FakePages:
    """Pages whose probe takes `delay` seconds and whose one step writes the settings into a file.

    Probes end immediately when `released` is set.
    """

    delay: float = 0.0
    broken: tuple[str, ...] = ()
    interrupting: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    rebooting: tuple[str, ...] = ()
    probes: list[str] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def load(self, name: str) -> Page:
        return Page(
            name=name,
            title=TITLES[name],
            summary=f"What the page {name} is about.",
            settings=settings_of(name),
            probe=lambda machine, settings, context: self._probe(name, machine),
            steps=lambda settings, facts, context: self._steps(name, settings, context),
            checks=lambda: (),
            now=lambda facts: (("file", str(facts)),),
        )

    def _probe(self, name: str, machine: Machine) -> Any:
        self.probes.append(name)
        self.released.wait(self.delay)
        if name in self.broken:
            raise StateUnknown("the service does not answer")
        return machine.entry(f"/etc/demo/{name}.conf") is not None

    def _steps(self, name: str, settings: Any, context: Context) -> tuple[Step, ...]:
        if name in ("storage", "accelerators"):
            return ()
        text = json.dumps(dump(settings, defaults=True), indent=2) + "\n"
        path, why = f"/etc/demo/{name}.conf", f"what {name} wants"
        interrupts: tuple[Interrupt, ...] = ("docker.restart",) if name in self.interrupting else ()
        optional = name in self.optional
        effect: Effect = "reboot" if name in self.rebooting else "now"
        step = DropIn(id=f"{name}.file", path=path, text=text, why=why, effect=effect)
        return (replace(step, interrupts=interrupts, optional=optional),)


def fake_session(directory: Path, machine: Machine | None = None) -> Session:
    """A desk over a fake node, its runs in a directory of the test's."""
    return demo_session("fake", machine or FakeMachine(), directory)
