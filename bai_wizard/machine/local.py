"""The node this process runs on, or one whose files lie below another root directory."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any

from bai_wizard.core.errors import CannotTell
from bai_wizard.core.event import Log, silent
from bai_wizard.core.machine import Completed, Hardware, Machine
from bai_wizard.core.state import Account, Flag, Group, Key, State, Unit
from bai_wizard.machine.deadline import within
from bai_wizard.machine.files import Files
from bai_wizard.machine.identity import Identity, identity_of_name
from bai_wizard.machine.readers.accounts import AccountFiles
from bai_wizard.machine.readers.kernel import read_sysctl
from bai_wizard.machine.readers.mounts import mount_at, read_mountinfo
from bai_wizard.machine.readers.packages import PackageDatabase, parse_policy

if TYPE_CHECKING:
    from bai_wizard.core.primitives import Primitive
    from bai_wizard.core.step import Interrupt

# Characters that a reading command may answer with; more is cut, and nothing that we ask says so much.
LONGEST_ANSWER = 16 << 20
# Reads of the kernel that cannot hang; everything else (drivers' files) is read with a deadline.
QUICK = (
    "/proc/sys/",
    "/proc/self/",
    "/proc/net/",
    "/proc/1/limits",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/cmdline",
    "/proc/version",
    "/proc/uptime",
)


class LocalMachine(Machine):
    """Reads and changes the files below `root`, which is trusted as given; `/` is the running node itself."""

    def __init__(self, root: str = "/") -> None:
        self.root = os.path.realpath(root)
        self.prefix = self.root.rstrip("/")
        self.databases = AccountFiles(self.root)
        self.files = Files(self.root, self.databases)
        self._packages = PackageDatabase(self.root)
        self._readers: dict[str, Callable[[str], State | None]] = {
            "file": self.files.read,
            "user": self.databases.account,
            "group": self.databases.group,
            "member": self._member,
            "password": self.databases.password,
            "package": self._packages.package,
            "unit": self._unit,
            "sysctl": lambda key: read_sysctl(key, self.prefix, in_container=self.in_container()),
            "mount": lambda point: mount_at(point, read_mountinfo(self.prefix)),
            "immutable": self._immutable,
            "tree": lambda path: self._late("perform.trees", "tree_state", path),
            "interpreter": lambda path: self._late("readers.pythons", "interpreter_state", path),
            "venv": lambda path: self._late("readers.pythons", "venv_state", path),
            "distribution": lambda name: self._late("readers.pythons", "distribution_state", name),
            "download": lambda path: self._late("perform.downloads", "download_state", path),
            "image": self._image,
            "library": lambda name: self._late("libraries", "library_state", name),
            # Nothing that lasts: these keys only say that something was done.
            "package-lists": lambda _name: None,
            "restart": lambda _name: None,
            "command": lambda _name: None,
        }

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
        """True when systemd is PID 1 of this node, as sd_booted(3) tests it."""
        return os.path.isdir(f"{self.prefix}/run/systemd/system")

    def identity(self, account: str) -> Identity | None:
        """The ids of an account by name."""
        return identity_of_name(account, self.databases)

    def state(self, key: Key) -> State | None:
        reader = self._readers.get(key.sort)
        if reader is None:
            raise CannotTell(f"{key}: nobody knows how to read this")
        return reader(key.name)

    def names(self, directory: str) -> tuple[str, ...]:
        return self.files.names(directory)

    def changed_at(self, path: str) -> float:
        return self.files.changed_at(path)

    def accounts(self) -> tuple[Account, ...]:
        return self.databases.accounts()

    def groups(self) -> tuple[Group, ...]:
        return self.databases.groups()

    def candidate(self, package: str) -> str | None:
        if self.packages_from:
            found: str | None = late("bundled", "newest")(self.packages_from, package)
            return found
        options = ["-o", f"Dir={self.prefix}"] if self.prefix else []
        completed = self._run(["apt-cache", *options, "policy", "--", package], 20.0)
        if completed.code != 0:
            raise CannotTell(f"apt-cache policy {package}: {completed.err.strip()[-300:]}")
        return parse_policy(completed.out)

    def look(self, argv: Sequence[str], *, deadline: float = 5.0) -> Completed:
        if self.prefix:
            raise CannotTell(f"{argv[0]} would look at the running node and not at {self.root}")
        return self._run(argv, deadline)

    def kernel_text(self, path: str, *, deadline: float = 2.0) -> str | None:
        def read() -> str | None:
            try:
                with open(self.prefix + path, encoding="utf-8", errors="replace") as file:
                    return file.read().strip()
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                return None
            except OSError as error:
                raise CannotTell(f"{path}: {(error.strerror or str(error)).lower()}") from error

        return read() if path.startswith(QUICK) else within(deadline, path, read)

    def perform(self, primitive: Primitive, log: Log = silent) -> None:
        from bai_wizard.machine.perform import carry_out

        carry_out(self, primitive, log)

    def sweep(self, primitive: Primitive) -> None:
        from bai_wizard.core.primitives.files import PathPrimitive

        if isinstance(primitive, PathPrimitive):
            self.files.sweep(primitive.path)
            return
        from bai_wizard.core.primitives.accounts import AccountPrimitive

        if isinstance(primitive, AccountPrimitive):
            from bai_wizard.machine.cut_tools import sweep_databases

            sweep_databases(self.prefix)

    def hardware(self) -> Hardware:
        if self.prefix:
            raise CannotTell(f"hardware belongs to the running node, not to {self.root}")
        from bai_wizard.machine.hardware import hardware

        return hardware()

    def load_all(self) -> None:
        from bai_wizard.machine.perform import load_all

        load_all()

    def affected(self, interrupt: Interrupt) -> tuple[str, ...]:
        if interrupt == "docker.restart":
            return tuple(late("docker_engine", "running_containers")())
        from bai_wizard.machine.readers.usage import users_of_gpus, users_of_mount

        return users_of_gpus(self.prefix) if interrupt == "gpu.reload" else users_of_mount("/vfroot", self.prefix)

    def engine(self, path: str, *, deadline: float = 3.0) -> Any:
        if self.prefix:
            raise CannotTell(f"the container engine belongs to the running node and not to {self.root}")
        from bai_wizard.machine.docker_engine import ask

        return ask(path, deadline)

    def remote_size(self, url: str, proxy: str = "", *, deadline: float = 3.0) -> int:
        if self.prefix:
            raise CannotTell(f"the running node would ask, and not {self.root}")
        return int(within(deadline, "the size", lambda: late("download", "size_of")(url, proxy)))

    def free_bytes(self, path: str) -> int:
        def measure() -> int:
            here = path
            while True:
                try:
                    room = os.statvfs(self.prefix + here)
                    return room.f_bavail * room.f_frsize
                except (FileNotFoundError, NotADirectoryError):
                    here = os.path.dirname(here)
                except OSError as error:
                    raise CannotTell(f"{here}: {(error.strerror or str(error)).lower()}") from error

        return within(3.0, f"free space of {path}", measure)

    def in_container(self) -> bool:
        return self._in_container

    @cached_property
    def _in_container(self) -> bool:
        marks = ("/run/systemd/container", "/.dockerenv", "/run/.containerenv")
        if any(os.path.exists(self.prefix + mark) for mark in marks):
            return True
        if self.prefix or self.has_systemd:
            return False  # systemd writes the first of these marks itself
        try:
            return self._run(["systemd-detect-virt", "--container", "--quiet"], 3.0).code == 0
        except CannotTell:
            return False

    def _run(self, argv: Sequence[str], deadline: float) -> Completed:
        from bai_wizard.machine.runner import run

        return run(argv, timeout=deadline, keep=LONGEST_ANSWER)

    def _immutable(self, path: str) -> State | None:
        if mount_at(path, read_mountinfo(self.prefix)) is not None:
            raise CannotTell(f"{path}: something is mounted over it")
        return Flag() if self.files.is_immutable(path) else None

    def _member(self, name: str) -> State | None:
        group, _, user = name.partition(":")
        return self.databases.membership(user, group)

    def _unit(self, name: str) -> Unit | None:
        if self.prefix or not self.has_systemd:
            raise CannotTell(f"unit {name}: systemd does not run on this node")
        from bai_wizard.machine.readers.units import read_unit

        return read_unit(name)

    def _late(self, module: str, function: str, name: str) -> State | None:
        state: State | None = late(module, function)(self, name)
        return state

    def _image(self, reference: str) -> State | None:
        state: State | None = late("docker_engine", "image_state")(reference)
        return state


def late(module: str, function: str) -> Callable[..., Any]:
    """A function of a module that is imported only when a read wants it. Raises CannotTell where it is missing."""
    try:
        found: Callable[..., Any] = getattr(import_module(f"bai_wizard.machine.{module}"), function)
    except ImportError as error:
        raise CannotTell(f"this build of the wizard cannot look at that: {error}") from error
    return found
