"""A node of states in memory, for demos and tests, and the effects of operations on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from posixpath import basename, dirname
from threading import Lock
from typing import Any, Literal

from msgspec import Struct, field

from bai_wizard.core.consent import Affected, Interrupt
from bai_wizard.core.errors import ProgramMissing, StateUnknown, StepFailed
from bai_wizard.core.event import Log, silent
from bai_wizard.core.machine import Completed, Hardware, HardwarePart, Machine, Space
from bai_wizard.core.operation import Effects, Offer, Operation, Simulation
from bai_wizard.core.paths import parents
from bai_wizard.core.state import (
    LISTS_KEY,
    WITHOUT_STATE,
    Account,
    Entry,
    Group,
    Key,
    Package,
    State,
    States,
    Tree,
    Unit,
    Unpredictable,
)
from bai_wizard.node.error_hints import explain_os_error

# The version of a Python package that no requirement pins.
SOME_VERSION = "1.0"


def simulate(operation: Operation, node: Simulation) -> States:
    """Return the states that change. Raises StepFailed if a real node would refuse."""
    before: States = {key: node.states.get(key) for key in operation.keys()}
    try:
        effects = operation.simulate(node)
    except OSError as error:
        source = "sysctl" if operation.keys()[0].kind == "sysctl" else "file"
        raise StepFailed(f"{error.filename}: {explain_os_error(source, error)}") from error
    result: States = {}
    for key, state in operation.after(before).items():
        if key.kind in WITHOUT_STATE:
            continue
        # Unpredictable states are unchanged, unless the side effects override them.
        result[key] = before[key] if isinstance(state, Unpredictable) else state
        if key.kind == "distribution" and state == Package(""):
            result[key] = Package(SOME_VERSION)
    return result | effects


Moment = Literal["before", "after"]
# Called right before and right after each operation; raises, waits or kills as the test requires.
Fault = Callable[[Operation, Moment], None]
# The directory that apt updates when it refreshes the lists.
PACKAGE_LISTS = "/var/lib/apt/lists"
# The initial clock of a simulated node, seconds since 1970; each change advances it by a second.
FIRST_MOMENT = 1_800_000_000.0


class Environment(Struct, frozen=True):
    """What a node provides in addition to its states. `narrative`: log lines by kind of operation."""

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
    refused: Mapping[Operation, str] = field(default_factory=dict)
    engine: Mapping[str, Any] = field(default_factory=dict)
    hardware: Hardware = field(default_factory=Hardware)
    narrative: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    effects: Effects = field(default_factory=dict)


class SimulatedMachine(Machine):
    """A node held in memory. Parent directories of every path are created; `delay` is seconds for each operation."""

    def __init__(
        self,
        states: Mapping[Key, State | None],
        environment: Environment | None = None,
        *,
        delay: float = 0.0,
        fault: Fault | None = None,
    ) -> None:
        self.environment = environment or Environment()
        self.delay = delay
        self.fault = fault
        self.performed: list[Operation] = []
        self.now = FIRST_MOMENT
        self._states: dict[Key, State] = {key: state for key, state in states.items() if state is not None}
        self._changed_at: dict[str, float] = {}
        self._acting = Lock()
        for key in list(self._states):
            self._make_parents(key)

    def snapshot(self) -> dict[Key, State]:
        """Return all current states; two equal snapshots are two equal nodes."""
        return dict(self._states)

    def set_state(self, key: Key, state: State | None) -> None:
        """Change the node without the wizard's knowledge."""
        self.now += 1
        self._put(key, state)
        if state is not None:
            self._make_parents(key)

    @property
    def is_root(self) -> bool:
        return self.environment.is_root

    @property
    def host(self) -> str:
        return self.environment.host

    def state(self, key: Key) -> State | None:
        if str(key) in self.environment.unknown:
            raise StateUnknown(self.environment.unknown[str(key)])
        if key.kind in WITHOUT_STATE:
            return None
        if key.kind == "unit" and not self.environment.systemd:
            raise StateUnknown(f"{key}: systemd does not run on this node")
        if key.kind == "password" and not self.is_root:
            raise StateUnknown(f"{key}: needs root")
        return self._states.get(key)

    def names(self, directory: str) -> tuple[str, ...]:
        paths = [key.name for key, state in self._states.items() if isinstance(state, Entry | Tree)]
        return tuple(sorted(_children(directory.rstrip("/") or "/", [*paths, *self.environment.kernel])))

    def tree_without(self, path: str, parts: tuple[str, ...]) -> Tree | None:
        return self.tree(path)

    def changed_at(self, path: str) -> float:
        return self._changed_at.get(path, 1.0) if Key("file", path) in self._states else 0.0

    def accounts(self) -> tuple[Account, ...]:
        return tuple(state for state in self._states.values() if isinstance(state, Account) and state.local)

    def groups(self) -> tuple[Group, ...]:
        return tuple(state for state in self._states.values() if isinstance(state, Group) and state.local)

    def candidate(self, package: str) -> str | None:
        offer = self.environment.offers.get(package)
        if offer is None or (offer.source and Key("file", offer.source) not in self._states):
            return None
        return offer.version

    def query(self, argv: Sequence[str], *, deadline: float = 5.0) -> Completed:
        # The fixture's answer for the longest matching prefix of the command.
        for length in range(len(argv), 0, -1):
            answer = self.environment.looks.get(tuple(argv[:length]))
            if answer is not None:
                return answer
        if argv[0] == "getent" and len(argv) == 3:
            return self._getent(argv[1], argv[2])
        raise ProgramMissing(f"{argv[0]} is not installed on this simulated node")

    def kernel_text(self, path: str, *, deadline: float = 2.0) -> str | None:
        known = self.environment.kernel.get(path)
        if known is not None:
            return known
        entry = self._states.get(Key("file", path))
        return (entry.text() or "").strip() if isinstance(entry, Entry) and entry.type == "file" else None

    def disruption(self, interrupt: Interrupt) -> tuple[Affected, ...]:
        return tuple(Affected(name, name) for name in self.environment.affected.get(interrupt, ()))

    def engine(self, path: str, *, deadline: float = 3.0) -> Any:
        service = self._states.get(Key("unit", "docker.service"))
        running = isinstance(service, Unit) and service.active == "active"
        return self.environment.engine.get(path) if running else None

    def run_hook(self, argv: Sequence[str], log: Log = silent, *, deadline: float) -> Completed:
        return self.query(argv) if tuple(argv) in self.environment.looks else Completed(0, "", "")

    def hardware(self, part: HardwarePart) -> Any:
        result = getattr(self.environment.hardware, part)
        if not result:
            raise StateUnknown(f"{part}: not part of this simulated node")
        return result

    def space(self, path: str) -> Space:
        free = self.environment.free
        covering = [top for top in free if path == top or path.startswith(top.rstrip("/") + "/")]
        if not covering:
            return Space(0)
        top = max(covering, key=len)
        sizes = {disk.path: disk.total for disk in self.environment.hardware.disks or ()}
        return Space(free[top], sizes.get(top, 0))

    def in_container(self) -> bool:
        return self.environment.container

    def refusal(self, operation: Operation) -> str:
        return self.environment.refused.get(operation, "")

    def apply(self, operation: Operation, log: Log = silent) -> None:
        if self.refusal(operation):
            raise StepFailed(self.refusal(operation))
        if self.fault is not None:
            self.fault(operation, "before")
        self._narrate(operation, log)
        with self._acting:
            self.now += 1
            around = self.environment
            node = Simulation(self._states, around.offers, self.now, around.effects)
            for key, state in simulate(operation, node).items():
                self._put(key, state)
            if LISTS_KEY in operation.keys():
                self._changed_at[PACKAGE_LISTS] = self.now
            self.performed.append(operation)
        if self.fault is not None:
            self.fault(operation, "after")

    def _narrate(self, operation: Operation, log: Log) -> None:
        lines = self.environment.narrative.get(operation.kind, ())
        subject = next((key.name for key in operation.keys()), "")
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
        if key.kind == "file":
            self._changed_at[key.name] = self.now

    def _make_parents(self, key: Key) -> None:
        for above in parents(key.name) if key.kind in ("file", "tree") else ():
            self._states.setdefault(Key("file", above), Entry("directory", 0, 0, 0o755))

    def _getent(self, database: str, wanted: str) -> Completed:
        for state in self._states.values():
            if isinstance(state, Account) and database == "passwd" and wanted in (state.name, str(state.uid)):
                fields = (state.name, "x", state.uid, state.gid, state.comment, state.home, state.shell)
                return Completed(0, ":".join(str(part) for part in fields) + "\n", "")
            if isinstance(state, Group) and database == "group" and wanted in (state.name, str(state.gid)):
                return Completed(0, f"{state.name}:x:{state.gid}:\n", "")
        return Completed(2, "", "")


def _children(directory: str, paths: Iterable[str]) -> set[str]:
    return {basename(each) for path in paths for each in (path, *parents(path)) if dirname(each) == directory} - {""}
