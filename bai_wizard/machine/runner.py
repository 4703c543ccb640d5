"""Runs programs: the only place that starts children.

A child gets no terminal and no shell, a session of its own, and a time limit; its output comes line by line,
redacted. What happens at the limit is the caller's word: `kill` ends the whole group, `finish` waits on and only
says so (dpkg), `abandon` leaves the child behind (what may hang in the kernel).
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Any

from bai_wizard.core.errors import CannotTell
from bai_wizard.core.machine import Completed
from bai_wizard.core.primitives.command import Cancel
from bai_wizard.core.secret import Secret, redact
from bai_wizard.machine.environment import child_environment
from bai_wizard.machine.lines import Lines

# Called with each line and its stream: "stdout", "stderr", or "" for the runner's own remarks.
OnLine = Callable[[str, str], None]
KEPT_CHARACTERS = 1 << 20
# Seconds without a line after which a child that must not be killed is reported as silent.
SILENCE = 120.0
GRACE = 2.0
# Seconds that output may still come after the child has ended, from a daemon that it left with the pipe open.
DRAIN = 0.3

_left_behind: list[subprocess.Popen[bytes]] = []


class ProgramMissing(CannotTell):
    """There is no such program on this node."""


class TimedOut(CannotTell):
    """The child gave no answer in time; its group was killed, or it was left behind."""


def run(
    argv: Sequence[str],
    *,
    timeout: float,
    cancel: Cancel = "kill",
    on_line: OnLine | None = None,
    env: Mapping[str, str] | None = None,
    account: tuple[int, int, Sequence[int]] | None = None,
    directory: str = "/",
    feed: bytes | Secret | None = None,
    pass_fds: Sequence[int] = (),
    keep: int = KEPT_CHARACTERS,
) -> Completed:
    """Runs a program to its end. `account` is (uid, gid, groups); `feed` becomes its standard input.

    Raises ProgramMissing, and TimedOut after `timeout` seconds unless `cancel` is `finish`.
    """
    _left_behind[:] = [child for child in _left_behind if child.poll() is None]
    child = _start(argv, env, account, directory, feed, pass_fds)
    try:
        completed = _follow(child, argv[0], timeout, cancel, on_line, keep)
    except TimedOut:
        raise
    except BaseException:
        if child.returncode is None and cancel == "kill":
            _kill(child)
        elif child.returncode is None:
            _left_behind.append(child)
        raise
    finally:
        for pipe in (child.stdout, child.stderr):
            if pipe is not None:
                pipe.close()
    if account is not None and directory != "/" and completed.code == 127:
        raise ProgramMissing(f"{argv[0]} is not installed, or not for this account")
    return completed


@contextmanager
def alongside(argv: Sequence[str], *, timeout: float) -> Iterator[None]:
    """Keeps a program at work for as long as the block lasts, and not longer than this process lives.

    The program ends in `cat`: it says back what it is told once it is at work, and ends with its standard input.
    Raises CannotTell when it is missing, ends at once, or is not at work after `timeout` seconds.
    """
    reader, writer = os.pipe()
    try:
        child = _popen(list(argv), reader, child_environment(None))
    except OSError as error:
        os.close(writer)
        raise ProgramMissing(f"{argv[0]} cannot be started: {error.strerror}") from error
    finally:
        os.close(reader)
    assert child.stdout is not None
    assert child.stderr is not None
    try:
        with suppress(BrokenPipeError):  # it ended already; its own words say why
            os.write(writer, b"\n")
        with selectors.DefaultSelector() as selector:
            selector.register(child.stdout, selectors.EVENT_READ)
            if not selector.select(timeout):
                raise TimedOut(f"{argv[0]} was not at work after {timeout:g} s")
        if not child.stdout.read(1):
            said = child.stderr.read().decode(errors="replace").strip()
            raise CannotTell(redact(f"{argv[0]}: {said or 'it ended at once'}"))
        yield
    finally:
        os.close(writer)
        try:
            child.wait(GRACE)
        except subprocess.TimeoutExpired:
            _kill(child)
        child.stdout.close()
        child.stderr.close()


def _start(
    argv: Sequence[str],
    env: Mapping[str, str] | None,
    account: tuple[int, int, Sequence[int]] | None,
    directory: str,
    feed: bytes | Secret | None,
    pass_fds: Sequence[int],
) -> subprocess.Popen[bytes]:
    command = list(argv)
    ids: dict[str, Any] = {}
    if account is not None and os.geteuid() == 0:
        uid, gid, groups = account
        ids = {"user": uid, "group": gid, "extra_groups": list(groups)}
        if directory != "/":
            # The account itself goes there: root might get where the account may not, or might not (NFS).
            command, directory = ["/usr/bin/env", f"--chdir={directory}", *command], "/"
    stdin = _stdin(feed)
    try:
        return _popen(command, stdin, child_environment(env), cwd=directory, pass_fds=tuple(pass_fds), **ids)
    except FileNotFoundError as error:
        if error.filename == directory:
            raise CannotTell(f"{directory} does not exist: {argv[0]} was not started") from error
        raise ProgramMissing(f"{argv[0]} is not installed") from error
    except PermissionError as error:
        raise CannotTell(f"{argv[0]} may not be executed: {error.strerror}") from error
    except OSError as error:
        raise CannotTell(f"{argv[0]} cannot be started: {error.strerror}") from error
    finally:
        if feed is not None:
            os.close(stdin)


def _popen(argv: list[str], stdin: int, env: Mapping[str, str], **more: Any) -> subprocess.Popen[bytes]:
    """Both streams by pipes, a session of its own, new files readable for all as administrators expect."""
    return subprocess.Popen(
        argv,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
        start_new_session=True,
        umask=0o022,
        **more,
    )


def _stdin(feed: bytes | Secret | None) -> int:
    """Nothing, or a file in memory that has no name anywhere."""
    if feed is None:
        return subprocess.DEVNULL
    descriptor = os.memfd_create("input")
    data = feed.reveal().encode() if isinstance(feed, Secret) else feed
    while data:
        data = data[os.write(descriptor, data) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _follow(
    child: subprocess.Popen[bytes], program: str, timeout: float, cancel: Cancel, on_line: OnLine | None, keep: int
) -> Completed:
    streams = {name: Lines(_telling(on_line, name), keep) for name in ("stdout", "stderr")}
    pipes: dict[str, IO[bytes] | None] = {"stdout": child.stdout, "stderr": child.stderr}
    now = time.monotonic()
    deadline, spoke = now + timeout, now
    watch = os.pidfd_open(child.pid)
    with selectors.DefaultSelector() as selector:
        try:
            selector.register(watch, selectors.EVENT_READ, "")
            for name, pipe in pipes.items():
                assert pipe is not None
                os.set_blocking(pipe.fileno(), False)
                selector.register(pipe, selectors.EVENT_READ, name)
            while selector.get_map():
                until = spoke + SILENCE if cancel == "finish" else deadline
                ended = child.returncode is not None
                ready = selector.select(DRAIN if ended else max(0.0, until - time.monotonic()))
                if not ready and ended:
                    break
                if not ready and cancel == "finish":
                    spoke = time.monotonic()
                    _remark(on_line, f"{program} has been silent for {SILENCE / 60:g} min; it is not interrupted")
                elif time.monotonic() >= deadline and cancel != "finish" and not ended:
                    raise TimedOut(_late(child, program, timeout, cancel))
                for key, _ in ready:
                    if key.data == "":
                        selector.unregister(watch)
                        child.wait()
                        continue
                    data = os.read(key.fd, 1 << 16)
                    spoke = time.monotonic()
                    streams[key.data].feed(data, final=not data)
                    if not data:
                        selector.unregister(key.fileobj)
        finally:
            os.close(watch)
    child.wait()
    for stream in streams.values():
        stream.feed(b"", final=True)
    return Completed(child.returncode, streams["stdout"].text(), streams["stderr"].text())


def _late(child: subprocess.Popen[bytes], program: str, timeout: float, cancel: Cancel) -> str:
    if cancel == "abandon":
        _left_behind.append(child)
        return f"{program} gave no answer within {timeout:g} s; it was left behind as process {child.pid}"
    return f"{program} gave no answer within {timeout:g} s{'' if _kill(child) else ' and cannot be killed'}"


def _kill(child: subprocess.Popen[bytes]) -> bool:
    """Ends the whole group, politely first. False where it hangs in the kernel and stays behind."""
    for number, patience in ((signal.SIGTERM, GRACE), (signal.SIGKILL, GRACE)):
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            child.wait()
            return True
        try:
            child.wait(patience)
        except subprocess.TimeoutExpired:
            continue
        _kill_rest(child.pid)
        return True
    _left_behind.append(child)
    return False


def _kill_rest(group: int) -> None:
    """Whoever of the group outlived its leader."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


def _telling(on_line: OnLine | None, stream: str) -> Callable[[str], None] | None:
    return None if on_line is None else lambda text: on_line(text, stream)


def _remark(on_line: OnLine | None, text: str) -> None:
    if on_line is not None:
        on_line(redact(text), "")
