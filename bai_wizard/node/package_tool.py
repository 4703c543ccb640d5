"""Run apt-get and dpkg so that they survive the wizard, with a bundle as their only source if asked."""

from __future__ import annotations

import json
import os
import re
import select
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from io import FileIO
from pathlib import Path
from posixpath import dirname
from shlex import quote

from msgspec import Struct

from bai_wizard.core.errors import StateUnknown, StepFailed
from bai_wizard.core.event import Log
from bai_wizard.core.machine import Completed
from bai_wizard.core.parse import apt_directory, json_value
from bai_wizard.core.programs import HARDENING
from bai_wizard.node.process import KEPT_CHARACTERS, SILENCE, Lines, run
from bai_wizard.node.regular import is_locked, open_regular
from bai_wizard.node.run_as import child_environment

INDEX = "Packages"
MANIFEST = "manifest.json"
# Maximum size of a manifest in bytes: sufficient for thousands of packages, and reading it takes at most 300 MB.
LARGEST = 8 << 20
# A version that dpkg accepts; a leading dash would make it an option.
VERSION = re.compile(r"[0-9][A-Za-z0-9.+:~-]*")


def newest_bundled(directory: str, package: str) -> str | None:
    """Return the version of a package in a bundle; None if it has none. Raises StateUnknown.

    Uses the manifest beside the package directory: an index inside it could have been made by the person who
    transferred it.
    """
    manifest = f"{dirname(directory)}/{MANIFEST}"
    try:
        state = os.stat(manifest)
        versions = _versions(manifest, state.st_mtime_ns, state.st_size).get(package, ())
    except OSError as error:
        raise StateUnknown(f"{manifest}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StateUnknown(f"{manifest} is not the manifest of a bundle: {error!r:.300}") from error
    best: str | None = None
    for version in versions:
        if best is None or _is_newer(version, best):
            best = version
    return best


@lru_cache(maxsize=4)
def _versions(manifest: str, _changed: int, _size: int) -> dict[str, tuple[str, ...]]:
    """Return every package with its versions; cached until the file changes."""
    with os.fdopen(open_regular(manifest), "rb") as file:
        body = json_value(file.read(LARGEST))
    result: dict[str, tuple[str, ...]] = {}
    for item in body["files"]:
        fields = dict(line.split(":", 1) for line in item.get("control", "").split("\n") if ":" in line)
        if fields:
            name, version = fields["Package"].strip(), fields["Version"].strip()
            if not VERSION.fullmatch(version):
                raise ValueError(f"{version!r} is not a version")
            result[name] = (*result.get(name, ()), version)
    return result


def _is_newer(one: str, other: str) -> bool:
    return run(["dpkg", "--compare-versions", one, "gt", other], timeout=10.0).code == 0


@contextmanager
def only_source(directory: str, apt: Callable[[Sequence[str]], Completed]) -> Iterator[tuple[str, ...]]:
    """Yield options with which apt-get uses only this repository. `apt` runs apt-get with such options.

    The index is read into a separate state directory, so the node's sources and lists are neither used nor changed.
    The repository is trusted: the directory holds the executor's own copies of packages that were compared with the
    manifest, and an index that the executor created. Raises StepFailed, Unrepresentable.
    """
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(prefix="bai-wizard-apt-") as name:
        location = Path(name)
        (location / "lists/partial").mkdir(parents=True)
        (location / "sources.list").write_text(f"deb [trusted=yes] {apt_directory(directory)} ./\n")
        options = tuple(
            word
            for option in (
                f"Dir::Etc::SourceList={location}/sources.list",
                "Dir::Etc::SourceParts=/dev/null",
                f"Dir::State::Lists={location}/lists",
                "Dir::Cache::pkgcache=",
                "Dir::Cache::srcpkgcache=",
                # The _apt user might be unable to read a USB stick or root's directories.
                "APT::Sandbox::User=root",
            )
            for word in ("-o", option)
        )
        read = apt([*options, "update"])
        if read.code != 0:
            raise StepFailed(f"the packages in {directory} cannot be read: {(read.err or read.out).strip()[-500:]}")
        yield options


# Run package tools in their own unit (or session), so that they outlive the executor.
#
# The tool's output, progress and exit status go to files that only root can read; a later attempt attaches to them.
# One tool runs at a time: its wrapper holds a lock while it runs, even if systemd is not PID 1.

LOCATION = "var/lib/bai-wizard/packages"
# Exists if systemd is PID 1 (sd_booted(3)).
SYSTEMD = Path("/run/systemd/system")
# The file descriptor for a tool's progress (`APT::Status-Fd`).
PROGRESS_FD = 3
# How often the files are read, in seconds; the tool's exit is noticed immediately.
INTERVAL = 0.1
# Time limit in seconds for the wrapper of a newly started tool to begin.
PATIENCE = 20.0
# Characters of earlier output to show when attaching.
TAIL = 4096
# Longer than any package operation: systemd must not kill dpkg during a shutdown. Seconds.
STOP_TIMEOUT = 3600
# A shell exit status above this is a signal number plus 128.
SIGNALED = 128
# Trapped signals keep their default action in the tool. Arguments: the directory, a token, the tool's command line.
WRAPPER = """\
trap : TERM INT HUP
place=$1 token=$2
shift 2
exec >>"$place/log" 2>&1 9>>"$place/lock"
flock --timeout 5 9 || exit 75
. "$place/environment"
rm "$place/environment"
echo "$token $$" >"$place/started.new" && mv "$place/started.new" "$place/started"
"$@" </dev/null >>"$place/output" 2>&1 3>>"$place/progress" 9>&-
echo "$token $?" >"$place/ended.new" && mv "$place/ended.new" "$place/ended"
"""
UNIT = {
    **HARDENING,
    # Maintainer scripts create files as administrators expect.
    "UMask": "0022",
    "Type": "exec",
    # dpkg is never killed: neither during a shutdown nor because the wrapper or apt-get died.
    "KillMode": "process",
    "TimeoutStopSec": str(STOP_TIMEOUT),
    "WorkingDirectory": "/",
}
_FILES = ("about", "environment", "log", "output", "progress", "started", "ended")


class PackageTool(Struct, frozen=True):
    """A started tool: its name, its purpose (for display), and the PID of the wrapper (0 if unknown)."""

    name: str
    doing: str
    token: str = ""
    pid: int = 0


def running_tool(root: str) -> PackageTool | None:
    """Return the wizard's package tool that is running now."""
    directory = Path(root, LOCATION)
    return _tool(directory) if _is_locked(directory) else None


def run_package_tool(
    root: str,
    argv: Sequence[str],
    doing: str,
    log: Log,
    *,
    env: Mapping[str, str] | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> Completed:
    """Run `argv` to completion, however long it takes; standard output and error are combined in `out`.

    Raises StepFailed if it cannot be started or ends without a result.
    """
    attach_to_tool(root, log, taken=True)
    directory = Path(root, LOCATION)
    token = _start(directory, argv, doing, env)
    completed = _follow(directory, _tool(directory), log, on_progress)
    _forget(directory, token)
    if completed is None:
        raise StepFailed(f"{doing}: {argv[0]} has no exit status: it was killed, or the disk is full")
    return completed


def attach_to_tool(root: str, log: Log, *, taken: bool = False) -> bool:
    """Wait for a tool started by an earlier attempt, showing its output, and report how it ended.

    A tool that has ended in the meantime is reported as well; with `taken`, only once. Returns True if it was killed:
    a child of it may still be running.
    """
    directory = Path(root, LOCATION)
    tool = running_tool(root)
    if tool is not None:
        log(f"waiting for {tool.name} of an earlier attempt, still running (process {tool.pid}): {tool.doing}")
        completed = _follow(directory, tool, log, None, tail=TAIL)
    elif _record(directory / "started"):
        tool = _tool(directory)
        completed = _result(directory, tool, Lines(None, KEPT_CHARACTERS))
    else:
        return False
    if completed is None:
        log(f"{tool.name} of an earlier attempt was interrupted: {tool.doing}", level="warning")
    elif completed.code == 0:
        log(f"{tool.name} of an earlier attempt has completed successfully: {tool.doing}")
    else:
        log(f"{tool.name} of an earlier attempt failed ({completed.code}): {tool.doing}", level="warning")
    if taken:
        _forget(directory, tool.token)
    return completed is None or completed.code < 0


def _start(directory: Path, argv: Sequence[str], doing: str, env: Mapping[str, str] | None) -> str:
    """Start the wrapper; return the token that identifies it once it holds the lock. Raises StepFailed."""
    token = os.urandom(8).hex()
    _prepare(directory)
    exports = "".join(f"export {name}={quote(value)}\n" for name, value in child_environment(env).items())
    _write(directory / "environment", exports)
    _write(directory / "about", json.dumps({"name": argv[0], "doing": doing, "token": token}))
    for name in ("log", "output", "progress"):
        _write(directory / name, "")
    words = ["sh", "-c", WRAPPER, "package-tool", str(directory), token, *argv]
    if SYSTEMD.is_dir():
        properties = [f"--property={name}={value}" for name, value in UNIT.items()]
        head = ["systemd-run", "--quiet", "--collect", "--no-ask-password", f"--unit=bai-wizard-packages-{token}",
                f"--description=bai-wizard: {doing}", *properties, "--"]  # fmt: skip
        words = [word.replace("$", "$$") for word in words]  # systemd expands variables itself
    else:
        head = ["setsid", "--fork"]
    started = run([*head, *words], timeout=PATIENCE, on_timeout="abandon")
    if started.code != 0:
        raise StepFailed(f"{doing}: {argv[0]} cannot be started: {(started.err or started.out).strip()[-500:]}")
    deadline = time.monotonic() + PATIENCE
    while _record(directory / "started")[:1] != [token]:
        if time.monotonic() > deadline:
            reason = _read(directory / "log")[-500:].strip() or f"nothing happened for {PATIENCE:g} s"
            raise StepFailed(f"{doing}: {argv[0]} was not started: {reason}")
        time.sleep(0.002)
    return token


def _follow(
    directory: Path,
    tool: PackageTool,
    log: Log,
    on_progress: Callable[[str], None] | None,
    *,
    tail: int | None = None,
) -> Completed | None:
    """Pass on the tool's output until it ends; return None if it left no result."""
    output = Lines(lambda text: log(text, stream="stdout"), KEPT_CHARACTERS)
    progress = Lines(on_progress, 1)
    watch = _watch(tool.pid)
    poller = select.poll()
    if watch is not None:
        poller.register(watch, select.POLLIN)
    spoke = time.monotonic()
    try:
        with _opened(directory / "output") as result, _opened(directory / "progress") as status:
            if tail is not None:
                _skip_to_tail(result, tail)
            while True:
                ended = not _is_locked(directory)
                if _pass_on(result, output) + _pass_on(status, progress):
                    spoke = time.monotonic()
                    continue
                if ended:
                    return _result(directory, tool, output)
                if time.monotonic() - spoke >= SILENCE:
                    spoke = time.monotonic()
                    silent = f"{tool.name} has printed nothing for {SILENCE / 60:g} min"
                    log(f"{silent}; it will not be interrupted", level="warning")
                poller.poll(INTERVAL * 1000)
    finally:
        if watch is not None:
            os.close(watch)


def _result(directory: Path, tool: PackageTool, output: Lines) -> Completed | None:
    output.feed(b"", final=True)
    token, code = (*_record(directory / "ended"), "", "")[:2]
    if token != tool.token or not code.isdecimal():
        return None
    number = int(code)
    return Completed(SIGNALED - number if number > SIGNALED else number, output.text(), "")


def _pass_on(file: FileIO, lines: Lines) -> int:
    data = file.read(1 << 16)
    if data:
        lines.feed(data)
    return len(data)


def _opened(path: Path) -> FileIO:
    return FileIO(open_regular(str(path)))


def _skip_to_tail(file: FileIO, tail: int) -> None:
    size = os.fstat(file.fileno()).st_size
    if size > tail:
        file.seek(size - tail)
        file.seek(size - tail + file.read(tail).find(b"\n") + 1)


def _watch(pid: int) -> int | None:
    if not pid:
        return None
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def _tool(directory: Path) -> PackageTool:
    token, pid = (*_record(directory / "started"), "", "")[:2]
    try:
        about = json.loads(_read(directory / "about"))
        name, doing = str(about["name"]), str(about["doing"])
    except (ValueError, TypeError, KeyError, RecursionError):
        name, doing = "a package tool", "unknown operation"
    return PackageTool(name, doing, token, int(pid) if pid.isdecimal() else 0)


def _forget(directory: Path, token: str) -> None:
    """Mark the result as reported."""
    if _record(directory / "started")[:1] == [token]:
        (directory / "started").unlink()


def _is_locked(directory: Path) -> bool:
    """Whether a wrapper is running. Never blocks."""
    try:
        descriptor = os.open(directory / "lock", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False  # a running wrapper has this file open
    try:
        return is_locked(descriptor)
    finally:
        os.close(descriptor)


def _prepare(location: Path) -> None:
    """Create an empty directory that only root can change, because a root shell sources a file in it.

    Raises StepFailed.
    """
    try:
        location.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        location.mkdir(mode=0o700, exist_ok=True)
        for directory in (location.parent, location):
            info = os.lstat(directory)
            if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid() or info.st_mode & 0o022:
                raise StepFailed(
                    f"{directory} is not a directory that only root can write to: chown root, chmod 0700"
                )
        for name in _FILES:
            with suppress(FileNotFoundError):
                (location / name).unlink()
    except OSError as error:
        raise StepFailed(f"{location}: {(error.strerror or str(error)).lower()}") from error


def _write(path: Path, text: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
    except OSError as error:
        raise StepFailed(f"{path}: {(error.strerror or str(error)).lower()}") from error


def _record(path: Path) -> list[str]:
    return _read(path).split()


def _read(path: Path) -> str:
    try:
        with os.fdopen(open_regular(str(path)), encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""  # treated as missing: a step that needs the content fails with its own reason
