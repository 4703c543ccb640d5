"""Mount points, mounted through systemd, and the processes that keep a mount point, an account or a GPU busy."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, ClassVar

from bai_wizard.core.consent import Affected, names_of
from bai_wizard.core.errors import StateUnknown, StepFailed
from bai_wizard.core.event import Log
from bai_wizard.core.operation import Change, Operation, Outcome, verb_of
from bai_wizard.core.parse import container_of, is_user_manager
from bai_wizard.core.paths import family
from bai_wizard.core.state import Key, Mount, State, States, Unpredictable, is_below
from bai_wizard.node.mounts import LARGEST, MountLine, mount_at, parse_mountinfo, read_mountinfo
from bai_wizard.node.regular import open_foreign, read_all
from bai_wizard.resources import performs, reads, refuses
from bai_wizard.resources.units import stopped_with, unit_words

if TYPE_CHECKING:
    from bai_wizard.resources.local import LocalMachine


class SetMount(Operation, frozen=True):
    """Mount the fstab entry of a mount point through systemd, or unmount it if it is not in use.

    `source` and `fstype` are the values expected in mountinfo; both are empty if `mounted` is false.
    """

    kind: ClassVar[str] = "set-mount"
    is_disruptive: ClassVar[bool] = True
    target: str
    mounted: bool
    source: str = ""
    fstype: str = ""

    def keys(self) -> tuple[Key, ...]:
        return (Key("mount", self.target),)

    def after(self, before: States) -> Outcome:
        old = before[self.keys()[0]]
        if not self.mounted:
            return {self.keys()[0]: None}
        same = isinstance(old, Mount) and (old.source, old.fstype) == (self.source, self.fstype)
        return {self.keys()[0]: old if same else Mount(self.source, self.fstype)}

    def inverse(self, before: States) -> Operation | None:
        old = before[self.keys()[0]]
        if not isinstance(old, Mount) or old.fstype == "autofs":
            # An automount point that has not been triggered yet: the file system itself is unmounted.
            return SetMount(self.target, mounted=False)
        return SetMount(self.target, True, old.source, old.fstype)

    def may_happen_later(self) -> bool:
        return self.mounted

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        if not self.mounted:
            return Change(f"mount {self.target}", "remove")
        return Change(f"mount {self.target}", verb_of(before, after), attributes=f"{self.fstype} {self.source}")


@reads("mount")
def mount_state(machine: LocalMachine, target: str) -> Mount | None:
    """Return what is mounted at exactly this mount point."""
    return mount_at(target, read_mountinfo(machine.prefix))


# Seconds; mount.nfs itself gives up on a silent server after two minutes.
MOUNT_DEADLINE = 150.0


@performs(SetMount)
def set_mount(machine: LocalMachine, operation: SetMount, log: Log) -> None:
    """Mount or unmount. A process that hangs in the kernel is abandoned after the deadline."""
    if machine.prefix:
        raise StepFailed(f"{operation.target}: mounts below {machine.root} are not mounts of this node")
    if operation.mounted:
        _mount(machine, operation.target, log)
    else:
        _unmount(machine, operation.target, log)


def _mount(machine: LocalMachine, target: str, log: Log) -> None:
    if not machine.has_systemd:
        _run(["mount", "--", target], target, log, f"mount {target}")
        return
    # The fstab entry becomes a unit only when systemd reloads its files.
    _run(["systemctl", "--no-ask-password", "daemon-reload"], target, log, "systemctl daemon-reload")
    unit = mount_unit(target)
    failure = _attempt(["systemctl", "--no-ask-password", "start", "--", unit], target, log)
    if failure:
        raise StepFailed(f"mount {target}: {failure}\n{unit_words(machine, unit, log)}")


def _unmount(machine: LocalMachine, target: str, log: Log) -> None:
    if refusal := _refusal(machine, target, with_mounts=True):
        raise StepFailed(refusal)
    if machine.has_systemd:
        argv = ["systemctl", "--no-ask-password", "stop", "--", mount_unit(target)]
        if not _attempt(argv, target, log):
            return
    _run(["umount", "--", target], target, log, f"unmount {target}")


@refuses(SetMount)
def refusal_of_unmounting(machine: LocalMachine, operation: SetMount) -> str:
    """Explain why the mount point is busy or required."""
    return "" if operation.mounted else _refusal(machine, operation.target)


def _refusal(machine: LocalMachine, target: str, *, with_mounts: bool = False) -> str:
    if (refusal := refusal_of_mount(target)) or not machine.has_systemd:
        return refusal
    return refusal_of_units(target, with_mounts=with_mounts)


def refusal_of_units(target: str, *, with_mounts: bool = False) -> str:
    """Explain why systemd must not unmount: it would also stop the services that require the mount point.

    `with_mounts`: other mounts below it count too, as right before unmounting. Raises StateUnknown, StepFailed.
    """
    names = [name for name in stopped_with(mount_unit(target)) if with_mounts or not name.endswith(".mount")]
    if not names:
        return ""
    others = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return (
        f"{target} is required by {', '.join(names[:10])}{others}, which would be stopped with it: still mounted; "
        "stop these units, then retry"
    )


def mount_unit(target: str) -> str:
    """Return the unit name of a mount point (`systemd-escape --path`)."""
    from bai_wizard.node import process

    completed = process.run(["systemd-escape", "--path", "--suffix=mount", "--", target], timeout=5.0)
    if completed.code != 0:
        raise StepFailed(f"systemd-escape {target}: {process.last_words(completed)}")
    return completed.out.strip()


def _run(argv: list[str], target: str, log: Log, title: str) -> None:
    if failure := _attempt(argv, target, log):
        raise StepFailed(f"{title}: {failure}")


def _attempt(argv: list[str], target: str, log: Log) -> str:
    """Run a program; return an empty string if it succeeds, otherwise its last output."""
    from bai_wizard.node import process

    try:
        completed = process.run(argv, timeout=MOUNT_DEADLINE, on_timeout="abandon", on_line=process.log_lines(log))
    except StateUnknown as error:
        raise StepFailed(f"{target}: {error}; check whether its server responds") from error
    return process.last_words(completed) if completed.code != 0 else ""


NVIDIA_DEVICES = "/dev/nvidia"
# One file for each account with `loginctl enable-linger`.
LINGER = "/var/lib/systemd/linger"
# The kernel keeps 15 characters of a program's name.
PERSISTENCED = "nvidia-persistenced"[:15]


def _processes_using(wanted: Callable[[str], bool], root: str) -> Iterator[str]:
    """Yield the IDs of processes with an open file, directory or executable that `wanted` matches."""
    for pid in _pids(root):
        if any(wanted(path) for path in _paths(f"{root}/proc/{pid}")):
            yield pid


def users_of_mount(point: str, root: str = "") -> tuple[Affected, ...]:
    """Return the processes that keep a mount point busy, and one for each container that has its own part of it."""
    by_name = _processes_using(lambda path: is_below(path, point), root)
    return tuple(_affected(root, pid) for pid in dict.fromkeys((*by_name, *_containers_with(point, root))))


def refusal_of_mount(point: str) -> str:
    """Explain why a mount point cannot be unmounted now; empty if it is not busy."""
    users = users_of_mount(point)
    if not users:
        return ""
    return f"{point} is in use by {names_of(users, 10)}: still mounted; stop these processes, then retry"


def processes_of(uid: int, root: str = "") -> tuple[list[str], list[str]]:
    """Return the PIDs of processes with this real, effective, saved or file system UID, and of its user manager."""
    others: list[str] = []
    manager: list[str] = []
    for pid in _pids(root):
        for line in _read(f"{root}/proc/{pid}/status").splitlines():
            if line.startswith("Uid:") and str(uid) in line.split()[1:]:
                (manager if is_user_manager(_read(f"{root}/proc/{pid}/cgroup")) else others).append(pid)
    return others, manager


def refusal_of_account(name: str, uid: int, root: str = "") -> str:
    """Explain why an account should not be removed now; empty if it is not in use.

    A user manager without units is stopped by the removal, unless lingering is enabled for the account.
    """
    running, _ = processes_of(uid, root)
    if running:
        named = names_of(tuple(_affected(root, pid) for pid in running), 10)
        return f"{name} runs {named}: the account was not removed; stop these processes, then retry"
    if os.path.exists(f"{root}{LINGER}/{name}"):
        return (
            f"systemd runs the units of {name} without a login: the account was not removed; "
            f"run `loginctl disable-linger {name}`, then retry"
        )
    return ""


def _affected(root: str, pid: str) -> Affected:
    """Identify a process by ID and start time, or by its container, which outlives its processes."""
    name = f"{_name(root, pid)} ({pid})"
    container = container_of(_read(f"{root}/proc/{pid}/cgroup"))
    if container:
        return Affected(f"container:{container}", name)
    # The name may contain spaces and parentheses; the start time is the 20th field after it, in clock ticks since
    # boot.
    fields = _read(f"{root}/proc/{pid}/stat").rpartition(")")[2].split()
    return Affected(f"process:{pid}:{fields[19] if len(fields) > 19 else ''}", name)


def _read(path: str, errors: str = "replace") -> str:
    try:
        with open_foreign(path) as file:
            return read_all(file, LARGEST).decode(errors=errors)
    except OSError:
        return ""  # gone in the meantime


def _containers_with(point: str, root: str) -> Iterator[str]:
    """Yield one process for each mount namespace that would keep the mount after an unmount here.

    The paths in that namespace differ from ours.
    """
    ours = [line for line in read_mountinfo(root) if is_below(line.point, point)]
    seen = {_namespace(f"{root}/proc/self")}
    for pid in _pids(root) if ours else ():
        namespace = _namespace(f"{root}/proc/{pid}")
        if not namespace or namespace in seen:
            continue
        seen.add(namespace)
        theirs = [
            line
            for line in parse_mountinfo(_read(f"{root}/proc/{pid}/mountinfo", "surrogateescape"))
            if not line.follows
        ]
        if any(_is_part(line, whole) for line in theirs for whole in ours):
            yield pid


def _is_part(line: MountLine, whole: MountLine) -> bool:
    """NFS shows the part in its source, every other file system as the root of the mount."""
    if line.device != whole.device or not is_below(line.root, whole.root):
        return False
    return family(whole.fstype) != "nfs" or is_below(line.source, whole.source)


def _namespace(process: str) -> str:
    try:
        return os.readlink(f"{process}/ns/mnt")
    except OSError:
        return ""  # gone in the meantime, or another user's while not running as root


def users_of_gpus(root: str = "") -> tuple[Affected, ...]:
    """Return the processes that hold an NVIDIA device open, without the persistence daemon."""
    result = _processes_using(lambda path: path.startswith(NVIDIA_DEVICES), root)
    return tuple(_affected(root, pid) for pid in result if _name(root, pid) != PERSISTENCED)


def _pids(root: str) -> Iterator[str]:
    own = str(os.getpid())
    try:
        yield from (name for name in os.listdir(f"{root}/proc") if name.isdecimal() and name != own)
    except FileNotFoundError:
        return


def _paths(process: str) -> Iterator[str]:
    try:
        descriptors = [f"fd/{name}" for name in os.listdir(f"{process}/fd")]
    except OSError:
        descriptors = []  # gone in the meantime, a kernel thread, or another user's while not running as root
    for link in ("cwd", "root", "exe", *descriptors):
        try:
            path = os.readlink(f"{process}/{link}")
        except OSError:
            continue
        if path != "/":
            yield path.removesuffix(" (deleted)")


def _name(root: str, pid: str) -> str:
    return _read(f"{root}/proc/{pid}/comm").strip() or "process"
