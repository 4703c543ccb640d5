"""One run at a time: the lock, the paths of the state directory, and the clock of consents."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from msgspec import Struct

from bai_wizard.core.consent import Moment
from bai_wizard.core.errors import LockHeld, PreflightError
from bai_wizard.engine.durable import Damaged, read_json, recording, write_json
from bai_wizard.node.deadline import Limit
from bai_wizard.node.regular import is_locked, sync_directory

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def moment() -> Moment:
    """The current moment. Without a readable boot ID, any consent given or checked at this moment is invalid."""
    try:
        boot = BOOT_ID.read_text("ascii").strip()
    except (OSError, ValueError):
        boot = ""
    return Moment(boot, time.clock_gettime(time.CLOCK_BOOTTIME))


class StatePaths(Struct, frozen=True):
    """Paths below a root prefix; the prefix is `/` on a real node."""

    root: Path = Path("/")

    @property
    def runs(self) -> Path:
        """The directory of all run directories; 0700, owned by root."""
        return self.root / "var/lib/bai-wizard/runs"

    @property
    def counter(self) -> Path:
        """The number of the newest run, kept after that run is deleted, and of all attempts; 0600."""
        return self.root / "var/lib/bai-wizard/last-run.json"

    @property
    def drained(self) -> Path:
        """Exists from before a drain hook until a resume hook has succeeded, whichever run they belong to; 0600."""
        return self.root / "var/lib/bai-wizard/drained"

    @property
    def volatile(self) -> Path:
        """Lock, notice of the current run, secrets of a starting run; gone after a reboot; 0755, owned by root."""
        return self.root / "run/bai-wizard"

    @property
    def lock(self) -> Path:
        """The file that the executor holds a flock on while it runs; 0600."""
        return self.volatile / "lock"

    @property
    def current(self) -> Path:
        """Who holds the lock: run, pid, unit, page, since; 0644, readable by all users."""
        return self.volatile / "current.json"

    @property
    def runtime_secrets(self) -> Path:
        """The standard input of an executor that is starting; mode 0600, removed once it runs."""
        return self.volatile / "lent.json"

    def make(self) -> None:
        """Create the directories with their modes.

        Raises PreflightError if that is not possible, or if another user could have written into them.
        """
        for path, mode in ((self.runs.parent, 0o700), (self.runs, 0o700), (self.volatile, 0o755)):
            with recording(path, PreflightError, "nothing was changed"):
                if not path.exists():
                    path.mkdir(parents=True, exist_ok=True, mode=mode)
                    sync_directory(path.parent)
                info = os.stat(path)
                if refusal := _untrusted(path, info):
                    raise PreflightError(refusal)
                if info.st_mode & 0o7777 != mode:
                    os.chmod(path, mode)


def _untrusted(path: Path, info: os.stat_result) -> str:
    """Why others may have written into a directory; empty if only this user can."""
    if info.st_uid != os.geteuid():
        todo, why = f"chown {os.geteuid()} {path}", f"belongs to user {info.st_uid}"
    elif info.st_mode & 0o022:
        todo, why = f"chmod go-w {path}", f"can be changed by other users (mode {info.st_mode & 0o7777:04o})"
    else:
        return ""
    return f"{path} {why}: nothing was changed; check its contents, then run: {todo}"


# How long to wait for a lock that, according to its notice, no live run holds, and how often to retry, in seconds.
READERS = 1.0
INTERVAL = 0.002


@contextmanager
def hold_lock(paths: StatePaths, run: str, *, unit: str = "", since: str = "") -> Iterator[None]:
    """Hold the lock and record the holder. Raises LockHeld with the holder's run, PreflightError."""
    notice = {"run": run, "unit": unit, "page": "", "since": since, "pid": os.getpid()}
    paths.make()
    with recording(paths.lock, PreflightError, "nothing was changed"):
        descriptor = _open(paths, os.O_CREAT)
    try:
        try:
            _take(paths, descriptor)
        except OSError as error:
            raise _no_locks(paths.lock, error) from error
        with recording(paths.current, PreflightError, "nothing was changed"):
            write_json(paths.current, notice, mode=0o644)
        yield
        with suppress(OSError):  # without a holder, the notice has no effect
            paths.current.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _take(paths: StatePaths, descriptor: int) -> None:
    """Acquire the lock. `is_held` briefly holds a shared one; wait for that. Raises LockHeld, OSError."""
    limit = Limit(READERS)
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            notice = current(paths)
            if (notice is not None and _is_process(notice["pid"])) or limit.is_over():
                raise held(paths) from None
            time.sleep(INTERVAL)
        else:
            return


def _no_locks(path: Path, error: OSError) -> PreflightError:
    why = (error.strerror or str(error)).lower()
    return PreflightError(f"{path} cannot be locked: {why}; nothing was changed")


@contextmanager
def hold_start(paths: StatePaths) -> Iterator[None]:
    """Let one front end at a time start a run: an flock on the directory of the runs, which only root can access.

    Raises LockHeld, PreflightError.
    """
    paths.make()
    with recording(paths.runs, PreflightError, "nothing was changed"):
        descriptor = os.open(paths.runs, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = "another run is being started; nothing was changed; watch it with: bai-wizard attach"
            raise LockHeld("", text) from None
        except OSError as error:
            raise _no_locks(paths.runs, error) from error
        yield
    finally:
        os.close(descriptor)


def _open(paths: StatePaths, flags: int = 0) -> int:
    """Raise FileNotFoundError, PermissionError, or PreflightError if it is not a lock file owned by this user."""
    try:
        descriptor = os.open(paths.lock, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | flags, 0o600)
    except (FileNotFoundError, PermissionError):
        raise
    except OSError as error:
        why = "it is a symbolic link" if error.errno == errno.ELOOP else (error.strerror or str(error)).lower()
        raise PreflightError(f"{paths.lock} cannot be opened: {why}; nothing was changed") from error
    info = os.fstat(descriptor)
    if not stat.S_ISREG(info.st_mode) or info.st_uid != os.geteuid():
        os.close(descriptor)
        raise PreflightError(f"{paths.lock} is not a regular file of user {os.geteuid()}; nothing was changed")
    return descriptor


def held(paths: StatePaths) -> LockHeld:
    """The error that names the holder."""
    holder = current(paths) or {}
    run = str(holder.get("run", ""))
    text = f"another run is in progress: {run or 'unknown'} (pid {holder.get('pid', '?')}, since "
    text += f"{holder.get('since', '?')}); watch it with: bai-wizard attach {run}".rstrip()
    return LockHeld(run, text)


def refuse_held(paths: StatePaths) -> None:
    """Raise LockHeld while an executor is alive."""
    if is_held(paths):
        raise held(paths)


def is_held(paths: StatePaths) -> bool:
    """Whether an executor is alive. For users other than root, the notice and whether its writer is alive decide."""
    try:
        descriptor = _open(paths)
    except FileNotFoundError:
        return False
    except PermissionError:
        notice = current(paths)
        return notice is not None and _is_process(notice["pid"])
    try:
        return is_locked(descriptor)
    finally:
        os.close(descriptor)


def is_running(paths: StatePaths, run: str) -> bool:
    """Whether the executor of this particular run is alive."""
    return (current(paths) or {}).get("run") == run and is_held(paths)


def _is_process(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True


def current(paths: StatePaths) -> dict[str, Any] | None:
    """The notice of the current run, whether or not its writer is still alive."""
    try:
        value = read_json(paths.current)
    except (FileNotFoundError, Damaged):
        return None
    pid = value.get("pid")  # it is sent signals: 0 and negative numbers would mean process groups
    return value if type(pid) is int and pid > 0 and isinstance(value.get("run"), str) else None
