"""A whole node as a dictionary: for the demo, and for tests that need a node to fail, to hang or to die."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from posixpath import basename, dirname
from threading import Lock
from typing import Any, Literal

from bai_wizard.core.errors import CannotTell
from bai_wizard.core.event import Log, silent
from bai_wizard.core.machine import Completed, Machine
from bai_wizard.core.primitives import Primitive, RefreshPackages
from bai_wizard.core.state import Account, Entry, Group, Key, State, Tree, Unit
from bai_wizard.core.step import Interrupt
from bai_wizard.machine.simulated_acts import Effects, Offer, act

Moment = Literal["before", "after"]
# Called right before and right after each primitive; raises, waits or kills as a test wishes.
Fault = Callable[[Primitive, Moment], None]
# Keys that only say that something was done; they have no lasting state.
WITHOUT_STATE = ("restart", "command", "package-lists")
# The directory that apt renews when it reads the lists.
PACKAGE_LISTS = "/var/lib/apt/lists"
# The clock of a simulated node at its start, seconds since 1970; it goes on by a second with each change.
FIRST_MOMENT = 1_800_000_000.0


@dataclass(frozen=True)
class Surroundings:
    """What a node answers beyond its states. `narrative`: log lines by kind of primitive."""

    host: str = "gpu01"
    is_root: bool = True
    container: bool = False
    systemd: bool = True
    free: Mapping[str, int] = field(default_factory=lambda: {"/": 200 << 30})
    offers: Mapping[str, Offer] = field(default_factory=dict)
    looks: Mapping[tuple[str, ...], Completed] = field(default_factory=dict)
    kernel: Mapping[str, str] = field(default_factory=dict)
    affected: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unknown: Mapping[str, str] = field(default_factory=dict)
    engine: Mapping[str, Any] = field(default_factory=dict)
    narrative: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    effects: Effects = field(default_factory=dict)


class SimulatedMachine(Machine):
    """A node that is all memory. Directories above every path are made up; `delay` is seconds for each primitive."""

    def __init__(
        self,
        states: Mapping[Key, State | None],
        surroundings: Surroundings | None = None,
        *,
        delay: float = 0.0,
        fault: Fault | None = None,
    ) -> None:
        self.surroundings = surroundings or Surroundings()
        self.delay = delay
        self.fault = fault
        self.performed: list[Primitive] = []
        self.now = FIRST_MOMENT
        self._states: dict[Key, State] = {key: state for key, state in states.items() if state is not None}
        self._changed_at: dict[str, float] = {}
        self._acting = Lock()
        for key in list(self._states):
            self._make_parents(key)

    def snapshot(self) -> dict[Key, State]:
        """Every state as it is now; two equal snapshots are two equal nodes."""
        return dict(self._states)

    def set_state(self, key: Key, state: State | None) -> None:
        """Changes the node behind the wizard's back."""
        self.now += 1
        self._put(key, state)
        if state is not None:
            self._make_parents(key)

    @property
    def is_root(self) -> bool:
        return self.surroundings.is_root

    @property
    def host(self) -> str:
        return self.surroundings.host

    def state(self, key: Key) -> State | None:
        if str(key) in self.surroundings.unknown:
            raise CannotTell(self.surroundings.unknown[str(key)])
        if key.sort in WITHOUT_STATE:
            return None
        if key.sort == "unit" and not self.surroundings.systemd:
            raise CannotTell(f"{key}: systemd does not run on this node")
        if key.sort == "password" and not self.is_root:
            raise CannotTell(f"{key}: needs root")
        return self._states.get(key)

    def names(self, directory: str) -> tuple[str, ...]:
        paths = [key.name for key, state in self._states.items() if isinstance(state, Entry | Tree)]
        return tuple(sorted(_children(directory.rstrip("/") or "/", [*paths, *self.surroundings.kernel])))

    def changed_at(self, path: str) -> float:
        return self._changed_at.get(path, 1.0) if Key("file", path) in self._states else 0.0

    def accounts(self) -> tuple[Account, ...]:
        return tuple(state for state in self._states.values() if isinstance(state, Account) and state.local)

    def groups(self) -> tuple[Group, ...]:
        return tuple(state for state in self._states.values() if isinstance(state, Group) and state.local)

    def candidate(self, package: str) -> str | None:
        offer = self.surroundings.offers.get(package)
        if offer is None or (offer.source and Key("file", offer.source) not in self._states):
            return None
        return offer.version

    def look(self, argv: Sequence[str], *, deadline: float = 5.0) -> Completed:
        # What a fixture knows of the longest beginning of the command.
        for length in range(len(argv), 0, -1):
            answer = self.surroundings.looks.get(tuple(argv[:length]))
            if answer is not None:
                return answer
        if argv[0] == "getent" and len(argv) == 3:
            return self._getent(argv[1], argv[2])
        raise CannotTell(f"{argv[0]} is not installed on this simulated node")

    def kernel_text(self, path: str, *, deadline: float = 2.0) -> str | None:
        known = self.surroundings.kernel.get(path)
        if known is not None:
            return known
        entry = self._states.get(Key("file", path))
        return (entry.text() or "").strip() if isinstance(entry, Entry) and entry.type == "file" else None

    def affected(self, interrupt: Interrupt) -> tuple[str, ...]:
        return self.surroundings.affected.get(interrupt, ())

    def engine(self, path: str, *, deadline: float = 3.0) -> Any:
        service = self._states.get(Key("unit", "docker.service"))
        running = isinstance(service, Unit) and service.active == "active"
        return self.surroundings.engine.get(path) if running else None

    def free_bytes(self, path: str) -> int:
        free = self.surroundings.free
        covering = [top for top in free if path == top or path.startswith(top.rstrip("/") + "/")]
        return free[max(covering, key=len)] if covering else 0

    def in_container(self) -> bool:
        return self.surroundings.container

    def perform(self, primitive: Primitive, log: Log = silent) -> None:
        if self.fault is not None:
            self.fault(primitive, "before")
        self._narrate(primitive, log)
        with self._acting:
            self.now += 1
            around = self.surroundings
            for key, state in act(primitive, self._states, around.offers, self.now, around.effects).items():
                self._put(key, state)
            if isinstance(primitive, RefreshPackages):
                self._changed_at[PACKAGE_LISTS] = self.now
            self.performed.append(primitive)
        if self.fault is not None:
            self.fault(primitive, "after")

    def _narrate(self, primitive: Primitive, log: Log) -> None:
        lines = self.surroundings.narrative.get(primitive.kind, ())
        subject = next((key.name for key in primitive.keys()), "")
        for number, line in enumerate(lines, 1):
            log(line.replace("{subject}", subject), stream="stdout", done=number, total=len(lines))
            time.sleep(self.delay / len(lines))
        if not lines and self.delay:
            time.sleep(self.delay)

    def _put(self, key: Key, state: State | None) -> None:
        if state is None:
            self._states.pop(key, None)
        else:
            self._states[key] = state
        if key.sort == "file":
            self._changed_at[key.name] = self.now

    def _make_parents(self, key: Key) -> None:
        above = dirname(key.name) if key.sort in ("file", "tree") else "/"
        while above != "/":
            self._states.setdefault(Key("file", above), Entry("directory", 0, 0, 0o755))
            above = dirname(above)

    def _getent(self, database: str, wanted: str) -> Completed:
        for state in self._states.values():
            if isinstance(state, Account) and database == "passwd" and wanted in (state.name, str(state.uid)):
                fields = (state.name, "x", state.uid, state.gid, state.comment, state.home, state.shell)
                return Completed(0, ":".join(str(part) for part in fields) + "\n", "")
            if isinstance(state, Group) and database == "group" and wanted in (state.name, str(state.gid)):
                return Completed(0, f"{state.name}:x:{state.gid}:\n", "")
        return Completed(2, "", "")


def _children(directory: str, paths: Iterable[str]) -> set[str]:
    found = set()
    for path in paths:
        while path != "/" and path:
            above = dirname(path)
            if above == directory:
                found.add(basename(path))
            path = above
    return found
