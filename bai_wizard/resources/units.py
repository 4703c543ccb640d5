"""systemd units: their state, and how they are enabled, started, restarted and reloaded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from msgspec.structs import replace

from bai_wizard.core.errors import KnownAfterApply, StateUnknown, StepFailed
from bai_wizard.core.event import Log
from bai_wizard.core.operation import Change, Operation, Outcome
from bai_wizard.core.parse import Malformed, json_value, whole
from bai_wizard.core.state import (
    RELOAD,
    UNPREDICTABLE,
    Key,
    State,
    States,
    Unit,
    Unpredictable,
    restart_key,
    unit_key,
)
from bai_wizard.resources import performs, reads

if TYPE_CHECKING:
    from bai_wizard.core.machine import NodeView
    from bai_wizard.core.operation import Simulation
    from bai_wizard.resources.local import LocalMachine


class SetUnit(Operation, frozen=True):
    """Enable or disable, start or stop a unit; None leaves that aspect unchanged."""

    kind: ClassVar[str] = "set-unit"
    is_disruptive: ClassVar[bool] = True
    unit: str
    enabled: bool | None = None
    active: bool | None = None

    def interrupted_unit(self) -> str:
        return self.unit if self.active is False else ""

    def may_happen_later(self) -> bool:
        # The unit is made from fstab at boot, like that of a mount.
        return self.active is True and self.unit.endswith(".automount")

    def keys(self) -> tuple[Key, ...]:
        return (unit_key(self.unit),)

    def after(self, before: States) -> Outcome:
        old = before[self.keys()[0]]
        if not isinstance(old, Unit):
            return {self.keys()[0]: UNPREDICTABLE}
        new = old
        if self.enabled is not None and self.enabled != (old.enabled in ("enabled", "static", "alias")):
            new = replace(new, enabled="enabled" if self.enabled else "disabled")
        if self.active is not None and self.active != (old.active == "active"):
            new = replace(new, active="active" if self.active else "inactive")
        return {self.keys()[0]: new}

    def inverse(self, before: States) -> Operation | None:
        old = before[self.keys()[0]]
        if not isinstance(old, Unit):
            return None
        return SetUnit(
            self.unit,
            None if self.enabled is None else old.enabled == "enabled",
            None if self.active is None else old.active == "active",
        )

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        words = {
            (True, None): "enabled",
            (False, None): "disabled",
            (None, True): "started",
            (None, False): "stopped",
            (True, True): "enabled and started",
            (False, False): "disabled and stopped",
        }
        return Change(f"unit {self.unit}", "modify", attributes=words.get((self.enabled, self.active), "changed"))

    def simulate(self, node: Simulation) -> States:
        old = _unit_of(self.unit, node)
        new = self.after({unit_key(self.unit): old})[unit_key(self.unit)]
        assert isinstance(new, Unit)
        started = new.active == "active" and old.active != "active"
        return {unit_key(self.unit): replace(new, since=node.now) if started else new}


# Services that do not start with an invalid configuration file, and whose stop ends the workloads in them.
CONFIGURATIONS = {"docker.service": "/etc/docker/daemon.json"}


class RestartUnit(Operation, frozen=True):
    """Restart a unit so that it reads its new files. `reason` is shown. Undo restarts it again, last."""

    kind: ClassVar[str] = "restart-unit"
    is_disruptive: ClassVar[bool] = True
    undo_last: ClassVar[bool] = True
    unit: str
    reason: str

    def interrupted_unit(self) -> str:
        return self.unit

    def keys(self) -> tuple[Key, ...]:
        return (restart_key(self.unit),)

    def after(self, before: States) -> Outcome:
        return {self.keys()[0]: UNPREDICTABLE}

    def inverse(self, before: States) -> Operation | None:
        return RestartUnit(self.unit, "its files were restored")

    def refusal(self, view: NodeView) -> str:
        path = CONFIGURATIONS.get(self.unit, "")
        try:
            text = (view.text(path) or "").strip() if path else ""
        except (StateUnknown, KnownAfterApply):
            return ""  # reported by the restart itself
        try:
            json_value(text or "{}", path)
        except Malformed as error:
            return f"{self.unit} is not restarted, because it would not start: {error}"
        return ""

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        return Change(f"restart {self.unit}", "run", attributes=self.reason)

    def simulate(self, node: Simulation) -> States:
        return {unit_key(self.unit): replace(_unit_of(self.unit, node), active="active", since=node.now)}


class ReloadUnits(Operation, frozen=True):
    """Make systemd re-read its unit files (`daemon-reload`). Undo does the same, last."""

    kind: ClassVar[str] = "reload-units"
    is_disruptive: ClassVar[bool] = True
    undo_last: ClassVar[bool] = True
    reason: str

    def keys(self) -> tuple[Key, ...]:
        return (RELOAD,)

    def after(self, before: States) -> Outcome:
        return {self.keys()[0]: UNPREDICTABLE}

    def inverse(self, before: States) -> Operation | None:
        return ReloadUnits("its files were restored")

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        return Change("reload systemd's unit files", "run", attributes=self.reason)

    def simulate(self, node: Simulation) -> States:
        units = {key: state for key, state in node.states.items() if isinstance(state, Unit) and state.needs_reload}
        return {key: replace(unit, needs_reload=False) for key, unit in units.items()}


def _unit_of(name: str, node: Simulation) -> Unit:
    unit = node.states.get(unit_key(name))
    if not isinstance(unit, Unit):
        raise StepFailed(f"systemctl: unit {name} not found")
    return unit


PROPERTIES = "LoadState,UnitFileState,ActiveState,ExecMainStartTimestamp,ActiveEnterTimestamp,NeedDaemonReload"
DEADLINE = 5.0
_TIME = re.compile(r"(\d+)-(\d+)-(\d+) (\d+):(\d+):(\d+)(?:\.(\d{1,6}))?")


@reads("unit")
def unit_state(machine: LocalMachine, name: str) -> Unit | None:
    """Return a unit as systemd sees it; None if it does not exist."""
    return unit_states(machine, [name])[name]


def unit_states(machine: LocalMachine, names: Sequence[str]) -> dict[str, Unit | None]:
    """Return units as systemd sees them, None for those that do not exist. Raises StateUnknown."""
    if machine.prefix or not machine.has_systemd:
        raise StateUnknown(f"unit {names[0]}: systemd does not run on this node")
    # One paragraph for each, in this order; a name that is an alias has another Id in it.
    states = _show(PROPERTIES, list(names)).split("\n\n")
    if len(states) != len(names):
        raise StateUnknown(f"systemctl show {names[0]}: {len(states)} answers for {len(names)} units")
    return {name: parse_unit(text) for name, text in zip(names, states, strict=True)}


def parse_unit(text: str) -> Unit | None:
    """Parse the output of `systemctl show`."""
    fields = _fields(text)
    if fields.get("LoadState", "not-found") == "not-found":
        return None
    enabled = fields.get("UnitFileState", "")
    if fields["LoadState"] == "masked":
        enabled = "masked"
    active = fields.get("ActiveState", "")
    # A service reads its files when its process starts. It is active seconds later, and a file that is changed right
    # after that can look older: the kernel stamps files by a clock that lags up to 10 ms behind systemd's.
    started = parse_time(fields.get("ExecMainStartTimestamp", ""))
    since = started or parse_time(fields.get("ActiveEnterTimestamp", ""))
    return Unit(enabled, active, since, fields.get("NeedDaemonReload") == "yes")


def parse_time(text: str) -> float:
    """Convert `Mon 2026-11-23 18:57:16.123456 UTC` to seconds since 1970; 0 for a unit that never ran."""
    match = _TIME.search(text)
    if match is None:
        return 0.0
    year, month, day, hour, minute, second = (whole(part) for part in match.groups()[:6])
    micro = whole((match[7] or "0").ljust(6, "0"))
    return datetime(year, month, day, hour, minute, second, micro, tzinfo=UTC).timestamp()


# How a stop propagates to other units: the reverse of Requires=, BindsTo=, PartOf= and StopPropagatedFrom=.
_STOPS = "RequiredBy,BoundBy,ConsistsOf,PropagatesStopTo"
_RUNNING = ("active", "activating", "reloading", "refreshing")


def stopped_with(unit: str) -> tuple[str, ...]:
    """Return the running units, except targets, that `systemctl stop` of this unit would also stop.

    Raises StateUnknown.
    """
    seen, todo = {unit}, [unit]
    result: list[str] = []
    while todo:
        values = [line.partition("=")[2] for line in _show(_STOPS, todo).split("\n")]
        names = list(dict.fromkeys(name for value in values for name in value.split() if name not in seen))
        seen.update(names)
        states = map(_fields, _show("Id,ActiveState", names).split("\n\n")) if names else ()
        todo = [fields["Id"] for fields in states if fields.get("ActiveState") in _RUNNING and "Id" in fields]
        seen.update(todo)
        result += [name for name in todo if not name.endswith(".target")]
    return tuple(dict.fromkeys(result))


def _show(properties: str, names: list[str]) -> str:
    """Return the output of `systemctl show`: a paragraph for each unit. Raises StateUnknown."""
    from bai_wizard.node import process

    argv = ["systemctl", "show", f"--property={properties}", "--timestamp=us+utc", "--no-pager", "--", *names]
    completed = process.run(argv, timeout=DEADLINE)
    if completed.code != 0:
        raise StateUnknown(f"systemctl show {names[0]}: {completed.err.strip() or f'exit code {completed.code}'}")
    return completed.out


def _fields(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.split("\n") if "=" in line)


# Time limit in seconds for a service to start; dockerd with many containers takes more than a minute.
JOB_DEADLINE = 300.0
JOURNAL_LINES = 20


@performs(SetUnit)
def set_unit(machine: LocalMachine, operation: SetUnit, log: Log) -> None:
    """Enable or disable, then start or stop."""
    if operation.enabled is not None:
        systemctl(machine, "enable" if operation.enabled else "disable", operation.unit, log)
    if operation.active is not None:
        systemctl(machine, "start" if operation.active else "stop", operation.unit, log)


@performs(RestartUnit)
def restart_unit(machine: LocalMachine, operation: RestartUnit, log: Log) -> None:
    systemctl(machine, "restart", operation.unit, log)


@performs(ReloadUnits)
def reload_units(machine: LocalMachine, operation: ReloadUnits, log: Log) -> None:
    systemctl(machine, "daemon-reload", "", log)


def systemctl(machine: LocalMachine, verb: str, unit: str, log: Log) -> None:
    """Run one systemctl command. Raises StepFailed with the unit's last log lines."""
    from bai_wizard.node import process

    needs_manager = verb not in ("enable", "disable")
    if needs_manager and not machine.has_systemd:
        raise StepFailed(f"systemctl {verb} {unit}: systemd does not run on this node; use the node's own init")
    argv = ["systemctl", "--no-ask-password", "--no-pager", *([f"--root={machine.root}"] if machine.prefix else [])]
    try:
        if unit and verb in ("start", "restart"):
            # The start limit (StartLimitBurst) must not reject this start; a failure of this command is ignored.
            process.run([*argv, "reset-failed", "--", unit], timeout=JOB_DEADLINE)
        argv += [verb, *(["--", unit] if unit else [])]
        completed = process.run(argv, timeout=JOB_DEADLINE, on_line=process.log_lines(log))
    except StateUnknown as error:
        raise StepFailed(f"{error}; systemd continues the operation, see `systemctl status {unit}`") from error
    if completed.code != 0:
        output = process.last_words(completed)
        words = unit_words(machine, unit, log) if unit and needs_manager else ""
        raise StepFailed(f"systemctl {verb} {unit}: {output}" + (f"\n{words}" if words else ""))


def unit_words(machine: LocalMachine, unit: str, log: Log) -> str:
    """Return the last lines of a unit's journal, or a message if the journal does not answer."""
    from bai_wizard.node import process

    argv = ["journalctl", "-u", unit, "-n", str(JOURNAL_LINES), "--no-pager", "-o", "short-iso"]
    try:
        completed = process.run(argv, timeout=10.0)
    except StateUnknown as error:
        return f"(the journal cannot be read: {error})"
    text = completed.out.strip() or completed.err.strip()
    for line in text.split("\n"):
        log(line, stream="journal")
    return text
