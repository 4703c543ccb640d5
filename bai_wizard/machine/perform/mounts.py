"""Mounts what fstab says, and unmounts what nobody uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bai_wizard.core.errors import CannotTell, StepFailed
from bai_wizard.core.event import Log
from bai_wizard.core.primitives import SetMount
from bai_wizard.machine.perform.call import last_words, log_lines
from bai_wizard.machine.perform.units import unit_words
from bai_wizard.machine.readers.usage import users_of_mount
from bai_wizard.machine.runner import run

if TYPE_CHECKING:
    from bai_wizard.core.machine import Completed
    from bai_wizard.machine.local import LocalMachine
    from bai_wizard.machine.perform import Performers

# Seconds; mount.nfs gives up on a silent server after two minutes by itself.
MOUNT_DEADLINE = 150.0


def set_mount(machine: LocalMachine, primitive: SetMount, log: Log) -> None:
    """Mounts or unmounts. What may hang in the kernel is left behind after the deadline."""
    if machine.prefix:
        raise StepFailed(f"{primitive.target}: mounts of {machine.root} are not this node's")
    if primitive.mounted:
        _mount(machine, primitive.target, log)
    else:
        _unmount(machine, primitive.target, log)


def _mount(machine: LocalMachine, target: str, log: Log) -> None:
    if not machine.has_systemd:
        _succeed(_attempt(["mount", "--", target], target, log), f"mount {target}")
        return
    # The line of fstab becomes a unit only when systemd reads its files anew.
    _succeed(_attempt(["systemctl", "--no-ask-password", "daemon-reload"], target, log), "systemctl daemon-reload")
    unit = mount_unit(target)
    completed = _attempt(["systemctl", "--no-ask-password", "start", "--", unit], target, log)
    if completed.code != 0:
        words = unit_words(machine, unit, log)
        raise StepFailed(f"mount {target}: {last_words(completed)}\n{words}")


def _unmount(machine: LocalMachine, target: str, log: Log) -> None:
    users = users_of_mount(target)
    if users:
        raise StepFailed(f"{target} is in use by {', '.join(users[:10])}: left mounted; end them and run this again")
    if machine.has_systemd:
        completed = _attempt(["systemctl", "--no-ask-password", "stop", "--", mount_unit(target)], target, log)
        if completed.code == 0:
            return
    _succeed(_attempt(["umount", "--", target], target, log), f"unmount {target}")


def mount_unit(target: str) -> str:
    """The name of the unit of a mount point (`systemd-escape --path`)."""
    completed = run(["systemd-escape", "--path", "--suffix=mount", "--", target], timeout=5.0)
    _succeed(completed, f"systemd-escape {target}")
    return completed.out.strip()


def _attempt(argv: list[str], target: str, log: Log) -> Completed:
    try:
        return run(argv, timeout=MOUNT_DEADLINE, cancel="abandon", on_line=log_lines(log))
    except CannotTell as error:
        raise StepFailed(f"{target}: {error}; look whether its server answers") from error


def _succeed(completed: Completed, title: str) -> None:
    if completed.code != 0:
        raise StepFailed(f"{title}: {last_words(completed)}")


PERFORMERS: Performers = {SetMount.kind: set_mount}
