"""The running node, or one below another root: reads its states and applies operations."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bai_wizard.core.errors import PreflightError, StateUnknown
from bai_wizard.core.event import Log, silent
from bai_wizard.core.machine import Completed, HardwarePart, Machine, Space
from bai_wizard.core.paths import parents
from bai_wizard.core.state import WITHOUT_STATE, Account, Group, Key, State, Tree, Unit
from bai_wizard.node.accounts import AccountFiles
from bai_wizard.node.deadline import with_deadline
from bai_wizard.node.files import Files
from bai_wizard.node.mounts import mount_at, read_mountinfo
from bai_wizard.node.regular import open_foreign, read_all
from bai_wizard.node.run_as import Identity, identity_of_name
from bai_wizard.node.safe_path import Trust, components

# These register the readers that nearly every plan needs.
from bai_wizard.resources import execute, load_all, read, reads, refusal_of, sweep
from bai_wizard.resources import files as files
from bai_wizard.resources import mounts as mounts
from bai_wizard.resources import sysctl as sysctl
from bai_wizard.resources import units as units
from bai_wizard.resources import users as users
from bai_wizard.resources.packages import PackageDatabase, parse_policy

if TYPE_CHECKING:
    from bai_wizard.core.consent import Affected, Interrupt
    from bai_wizard.core.operation import Operation


# Maximum characters of a read-only command's output; the rest is cut. No command used here prints that much.
LONGEST_ANSWER = 16 << 20
# Kernel files that cannot hang when read; everything else (drivers' files) is read with a deadline.
QUICK = (
    "/proc/sys/",
    "/proc/self/",
    "/proc/net/",
    "/proc/1/limits",
    "/proc/cpuinfo",
    "/proc/cmdline",
    "/proc/version",
)


class LocalMachine(Machine):
    """Reads and changes the files below `root`, which is trusted as given; `/` is the running node itself."""

    def __init__(self, root: str = "/") -> None:
        self.root = os.path.realpath(root)
        self.prefix = self.root.rstrip("/")
        self.databases = AccountFiles(self.root)
        self.files = Files(self.root, self.databases)
        self.packages = PackageDatabase(self.root)

    @property
    def is_root(self) -> bool:
        return os.geteuid() == 0

    @property
    def host(self) -> str:
        if self.prefix:
            return (self.kernel_text("/etc/hostname") or "localhost").split(".")[0]
        return os.uname().nodename

    @property
    def has_systemd(self) -> bool:
        """Whether systemd is PID 1 on this node, tested as in sd_booted(3)."""
        return os.path.isdir(f"{self.prefix}/run/systemd/system")

    def identity(self, account: str) -> Identity | None:
        """Return the IDs of an account by name."""
        return identity_of_name(account, self.databases)

    def state(self, key: Key) -> State | None:
        return None if key.kind in WITHOUT_STATE else read(self, key)

    def units(self, names: Sequence[str]) -> dict[str, Unit | None]:
        return units.unit_states(self, names)

    def names(self, directory: str) -> tuple[str, ...]:
        return self.files.names(directory)

    def tree_without(self, path: str, parts: tuple[str, ...]) -> Tree | None:
        from bai_wizard.resources.trees_apply import tree_state

        return tree_state(self, path, parts)

    def changed_at(self, path: str) -> float:
        return self.files.changed_at(path)

    def accounts(self) -> tuple[Account, ...]:
        return self.databases.accounts()

    def groups(self) -> tuple[Group, ...]:
        return self.databases.groups()

    def candidate(self, package: str) -> str | None:
        if self.packages_from:
            from bai_wizard.node.package_tool import newest_bundled

            return newest_bundled(self.packages_from, package)
        options = ["-o", f"Dir={self.prefix}"] if self.prefix else []
        completed = self._run(["apt-cache", *options, "policy", "--", package], 20.0)
        if completed.code != 0:
            raise StateUnknown(f"apt-cache policy {package}: {completed.err.strip()[-300:]}")
        return parse_policy(completed.out)

    def query(self, argv: Sequence[str], *, deadline: float = 5.0) -> Completed:
        if self.prefix:
            raise StateUnknown(f"{argv[0]} would read the running node instead of {self.root}")
        return self._run(argv, deadline)

    def kernel_text(self, path: str, *, deadline: float = 2.0) -> str | None:
        def read() -> str | None:
            try:
                with open_foreign(self.prefix + path) as file:
                    return read_all(file, LONGEST_ANSWER).decode(errors="replace").strip()
            except (FileNotFoundError, NotADirectoryError):
                return None
            except ValueError as error:
                raise StateUnknown(f"{path!r}: {error}") from error
            except OSError as error:
                raise StateUnknown(f"{path}: {(error.strerror or str(error)).lower()}") from error

        return read() if path.startswith(QUICK) else with_deadline(deadline, path, read)

    def apply(self, operation: Operation, log: Log = silent) -> None:
        execute(self, operation, log)

    def sweep(self, operation: Operation) -> None:
        sweep(self, operation)

    def hardware(self, part: HardwarePart) -> Any:
        if self.prefix:
            raise StateUnknown(f"hardware belongs to the running node, not to {self.root}")
        from bai_wizard.node.hardware import PARTS

        return PARTS[part]()

    def package_tool(self) -> str:
        if self.prefix or not self.is_root:
            return ""
        from bai_wizard.node.package_tool import running_tool

        tool = running_tool(self.root)
        return f"{tool.name} (process {tool.pid}): {tool.doing}" if tool is not None else ""

    def wait_for_package_tool(self, log: Log = silent, *, taken: bool = False) -> None:
        if self.prefix or not self.is_root:
            return
        from bai_wizard.node.package_tool import attach_to_tool

        if attach_to_tool(self.root, log, taken=taken):
            from bai_wizard.resources.packages_apply import wait_for_dpkg

            wait_for_dpkg(self.root, log)

    def load_all(self) -> None:
        load_all()

    def clear_caches(self) -> None:
        if self.prefix:
            return  # the cache belongs to the running node
        from bai_wizard.node.cache import clear_account_caches

        clear_account_caches()

    def disruption(self, interrupt: Interrupt) -> tuple[Affected, ...]:
        if interrupt == "docker.restart":
            from bai_wizard.node.docker import running_containers

            return running_containers()
        if interrupt == "umount":
            return ()  # a mount point in use is never unmounted
        from bai_wizard.resources.mounts import users_of_gpus

        return users_of_gpus(self.prefix)

    def run_hook(self, argv: Sequence[str], log: Log = silent, *, deadline: float) -> Completed:
        if self.prefix:
            raise StateUnknown(f"{argv[0]} would run on the running node instead of {self.root}")
        from bai_wizard.node.process import ProgramMissing, log_lines, run

        # Checked before the run as well, but it may have waited for a day since then.
        if not os.path.isfile(argv[0]):
            raise ProgramMissing(f"{argv[0]} is not installed")
        try:
            Trust().judge_command(argv)
        except (PreflightError, OSError) as error:
            raise StateUnknown(str(error)) from error
        return run(argv, timeout=deadline, on_line=log_lines(log))

    def helpers(self) -> AbstractContextManager[None]:
        from bai_wizard.node.helper import helpers

        return helpers()

    def refusal(self, operation: Operation) -> str:
        if self.prefix:
            return ""
        return refusal_of(self, operation)

    def engine(self, path: str, *, deadline: float = 3.0) -> Any:
        if self.prefix:
            raise StateUnknown(f"the container engine belongs to the running node and not to {self.root}")
        from bai_wizard.node.docker import NoEngine, query_engine

        try:
            return query_engine(path, deadline)
        except NoEngine:
            return None

    def remote_size(self, url: str, proxy: str = "", *, deadline: float = 3.0) -> int:
        if self.prefix:
            raise StateUnknown(f"the running node would query it instead of {self.root}")
        from bai_wizard.node.download import size_of

        return with_deadline(deadline, "the size", lambda: size_of(url, proxy))

    def space(self, path: str) -> Space:
        if path != "/":
            components(path)

        def measure() -> Space:
            for here in (path, *parents(path), "/"):
                try:
                    room = os.statvfs(self.prefix + here)
                    return Space(room.f_bavail * room.f_frsize, room.f_blocks * room.f_frsize)
                except (FileNotFoundError, NotADirectoryError):
                    continue
                except OSError as error:
                    raise StateUnknown(f"{here}: {(error.strerror or str(error)).lower()}") from error
            raise StateUnknown(f"{self.root} does not exist")

        return with_deadline(3.0, f"free space of {path}", measure)

    def in_container(self) -> bool:
        return self._in_container

    @cached_property
    def _in_container(self) -> bool:
        marks = ("/run/systemd/container", "/.dockerenv", "/run/.containerenv")
        if any(os.path.exists(self.prefix + mark) for mark in marks):
            return True
        if self.prefix or self.has_systemd:
            return False  # systemd creates the first of these files itself
        try:
            return self._run(["systemd-detect-virt", "--container", "--quiet"], 3.0).code == 0
        except StateUnknown:
            return False

    def _run(self, argv: Sequence[str], deadline: float) -> Completed:
        from bai_wizard.node.process import run

        return run(argv, timeout=deadline, keep=LONGEST_ANSWER)

    def is_covered(self, path: str) -> bool:
        """Whether something is mounted at this path."""
        return mount_at(path, read_mountinfo(self.prefix)) is not None


@reads("dpkg")
def unfinished_state(machine: LocalMachine, _name: str) -> State | None:
    """Return dpkg's interrupted work; None while dpkg runs: what looks half-installed is being processed."""
    result = machine.packages.unfinished()
    if result is None:
        return None
    from bai_wizard.resources.packages_apply import dpkg_is_at_work

    return None if dpkg_is_at_work(machine.root) else result


@reads("library")
def library_state(machine: LocalMachine, name: str) -> State | None:
    """Return a shared library by its short name, by loading it. The wizard changes none."""
    from bai_wizard.node.hardware import library_state

    return library_state(machine.root, name)
