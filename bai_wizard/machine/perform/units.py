"""systemd units: enabled, started, restarted; a failure brings the unit's own last words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bai_wizard.core.errors import CannotTell, StepFailed
from bai_wizard.core.event import Log
from bai_wizard.core.primitives import ReloadUnits, RestartUnit, SetUnit
from bai_wizard.machine.perform.call import last_words, log_lines
from bai_wizard.machine.runner import run

if TYPE_CHECKING:
    from bai_wizard.machine.local import LocalMachine
    from bai_wizard.machine.perform import Performers

# Seconds for a service to come up; dockerd with many containers takes a minute and more.
JOB_DEADLINE = 300.0
JOURNAL_LINES = 20


def set_unit(machine: LocalMachine, primitive: SetUnit, log: Log) -> None:
    """Enables or disables, then starts or stops."""
    if primitive.enabled is not None:
        systemctl(machine, "enable" if primitive.enabled else "disable", primitive.unit, log)
    if primitive.active is not None:
        systemctl(machine, "start" if primitive.active else "stop", primitive.unit, log)


def restart_unit(machine: LocalMachine, primitive: RestartUnit, log: Log) -> None:
    """Restarts a unit."""
    systemctl(machine, "restart", primitive.unit, log)


def reload_units(machine: LocalMachine, primitive: ReloadUnits, log: Log) -> None:
    """Has systemd read its unit files anew."""
    systemctl(machine, "daemon-reload", "", log)


def systemctl(machine: LocalMachine, verb: str, unit: str, log: Log) -> None:
    """One verb of systemctl. Raises StepFailed with what the unit said last."""
    needs_manager = verb not in ("enable", "disable")
    if needs_manager and not machine.has_systemd:
        raise StepFailed(f"systemctl {verb} {unit}: systemd does not run on this node; use the node's own init")
    argv = ["systemctl", "--no-ask-password", "--no-pager", *([f"--root={machine.root}"] if machine.prefix else [])]
    try:
        if unit and verb in ("start", "restart"):
            # A count of earlier starts (StartLimitBurst) must not refuse this one; that there is none is no failure.
            run([*argv, "reset-failed", "--", unit], timeout=JOB_DEADLINE)
        argv += [verb, *(["--", unit] if unit else [])]
        completed = run(argv, timeout=JOB_DEADLINE, on_line=log_lines(log))
    except CannotTell as error:
        raise StepFailed(f"{error}; systemd goes on with it, see `systemctl status {unit}`") from error
    if completed.code != 0:
        said = last_words(completed)
        words = unit_words(machine, unit, log) if unit and needs_manager else ""
        raise StepFailed(f"systemctl {verb} {unit}: {said}" + (f"\n{words}" if words else ""))


def unit_words(machine: LocalMachine, unit: str, log: Log) -> str:
    """The last lines of a unit's journal; where the journal has no answer, that is said."""
    argv = ["journalctl", "-u", unit, "-n", str(JOURNAL_LINES), "--no-pager", "-o", "short-iso"]
    try:
        completed = run(argv, timeout=10.0)
    except CannotTell as error:
        return f"(the journal has no answer: {error})"
    text = completed.out.strip() or completed.err.strip()
    for line in text.split("\n"):
        log(line, stream="journal")
    return text


PERFORMERS: Performers = {
    SetUnit.kind: set_unit,
    RestartUnit.kind: restart_unit,
    ReloadUnits.kind: reload_units,
}
