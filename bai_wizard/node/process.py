"""Run programs: the only user of subprocess.

A child has a clean environment, no terminal and no shell, its own session, and a time limit; its output arrives line
by line, redacted. The caller chooses what happens at the time limit: `kill` ends the whole process group, `finish`
keeps waiting and only reports it (dpkg), `abandon` leaves the child running (it may hang in the kernel).
"""

from __future__ import annotations

import codecs
import os
import selectors
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any

from bai_wizard.core.debug_log import debug
from bai_wizard.core.errors import PreflightError, StateUnknown, StepFailed
from bai_wizard.core.errors import ProgramMissing as ProgramMissing
from bai_wizard.core.errors import TimedOut as TimedOut
from bai_wizard.core.event import Log
from bai_wizard.core.machine import Completed
from bai_wizard.core.operation import Cancel
from bai_wizard.core.secret import Secret, redact
from bai_wizard.node.deadline import Limit, ready
from bai_wizard.node.run_as import child_environment

# Maximum characters per line; longer lines are passed on in overlapping pieces, so that no secret is split.
LONGEST_LINE = 1 << 16
OVERLAP = 1 << 12


class Lines:
    """Collects one stream. Lines end at line feeds and at carriage returns (progress bars)."""

    def __init__(self, tell: Callable[[str], None] | None, keep: int) -> None:
        self._tell = tell
        self._keep = keep
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._open = ""
        self._kept: list[str] = []
        self._size = 0

    def feed(self, data: bytes, *, final: bool = False) -> None:
        """Add the next bytes; `final` closes the last line."""
        text = self._decoder.decode(data, final)
        self._remember(text)
        if self._tell is None:
            return
        *whole, self._open = (self._open + text).replace("\r", "\n").split("\n")
        for line in whole:
            self._pass_on(line)
        if len(self._open) > LONGEST_LINE:
            line = redact(self._open)
            self._tell(line[:-OVERLAP])
            self._open = line[-OVERLAP:]
        if final:
            self._pass_on(self._open)
            self._open = ""

    def text(self) -> str:
        """Return the retained end of the stream, redacted and starting at a line boundary."""
        text = "".join(self._kept)
        if len(text) > self._keep:
            text = text[-self._keep :].partition("\n")[2]
        return redact(text)

    def raw(self) -> str:
        """Return the stream as it is; of a long one, more than twice `keep` characters at its end."""
        return "".join(self._kept)

    def _pass_on(self, line: str) -> None:
        if line.strip() and self._tell is not None:
            self._tell(redact(line.rstrip()))

    def _remember(self, text: str) -> None:
        self._kept.append(text)
        self._size += len(text)
        if self._size > 4 * self._keep:
            joined = "".join(self._kept)[-2 * self._keep :]
            self._kept, self._size = [joined], len(joined)


# Called with each line and its stream: "stdout", "stderr", or "" for the runner's own messages.
OnLine = Callable[[str, str], None]
KEPT_CHARACTERS = 1 << 20
# Seconds without output after which a child that must not be killed is reported as silent.
SILENCE = 120.0
GRACE = 2.0
# Seconds to wait for more output after the child has ended, from a daemon that still has the pipe open.
DRAIN = 0.3

_left_behind: list[subprocess.Popen[bytes]] = []


def run(
    argv: Sequence[str],
    *,
    timeout: float,
    on_timeout: Cancel = "kill",
    on_line: OnLine | None = None,
    env: Mapping[str, str] | None = None,
    account: tuple[int, int, Sequence[int]] | None = None,
    directory: str = "/",
    input: bytes | Secret | None = None,
    pass_fds: Sequence[int] = (),
    keep: int = KEPT_CHARACTERS,
    is_secret: bool = False,
) -> Completed:
    """Run a program to completion. `account` is (uid, gid, groups); `input` becomes its standard input.

    `is_secret`: standard output is a secret, and therefore not redacted; the caller must show none of it. Of long
    output, more than twice `keep` characters are returned.

    Raises ProgramMissing, and TimedOut after `timeout` seconds unless `on_timeout` is `finish`.
    """
    _left_behind[:] = [child for child in _left_behind if child.poll() is None]
    begun = monotonic()
    try:
        child = _start(argv, env, account, directory, input, pass_fds)
    except StateUnknown as error:
        debug("command %s: %s", list(argv), error)
        raise
    try:
        completed = _follow(child, argv[0], timeout, on_timeout, on_line, keep, redacted=not is_secret)
        debug("command %s: exit code %s, %.3f s", list(argv), completed.code, monotonic() - begun)
    except TimedOut as error:
        debug("command %s: %s", list(argv), error)
        raise
    except BaseException as error:
        debug("command %s: %s after %.3f s", list(argv), type(error).__name__, monotonic() - begun)
        if child.returncode is None and on_timeout == "kill":
            _kill(child)
        elif child.returncode is None:
            _left_behind.append(child)
        raise
    finally:
        for pipe in (child.stdout, child.stderr):
            if pipe is not None:
                pipe.close()
    if account is not None and directory != "/" and completed.code == 127:
        raise ProgramMissing(f"{argv[0]} is not installed, or this account cannot execute it")
    return completed


@contextmanager
def background_process(argv: Sequence[str], *, timeout: float) -> Iterator[None]:
    """Keep a program running for the duration of the block, and no longer than this process lives.

    The program ends in `cat`: it echoes its input once it is running, and ends with its standard input. Raises
    StateUnknown if it is missing, ends immediately, or is not running after `timeout` seconds.
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
        with suppress(BrokenPipeError):  # already ended; its output explains why
            os.write(writer, b"\n")
        with selectors.DefaultSelector() as selector:
            selector.register(child.stdout, selectors.EVENT_READ)
            if not _within(selector, timeout):
                raise TimedOut(f"{argv[0]} was not ready after {timeout:g} s")
        if not child.stdout.read(1):
            output = child.stderr.read().decode(errors="replace").strip()
            raise StateUnknown(redact(f"{argv[0]}: {output or 'it exited immediately'}"))
        yield
    finally:
        os.close(writer)
        try:
            child.wait(GRACE)
        except subprocess.TimeoutExpired:
            _kill(child)
        child.stdout.close()
        child.stderr.close()


def on_terminal(argv: Sequence[str]) -> int:
    """Run a program on the terminal of this process and return its exit code.

    It gets the environment of every child: a variable of the caller, such as LESSOPEN, could name a program. Raises
    ProgramMissing.
    """
    try:
        return subprocess.call(list(argv), env=child_environment({"TERM": os.environ.get("TERM", "dumb")}))
    except FileNotFoundError as error:
        raise ProgramMissing(f"{argv[0]} is not installed") from error


def _within(selector: selectors.BaseSelector, seconds: float) -> bool:
    limit = Limit(seconds)
    while not (result := ready(selector, limit.wait())) and not limit.is_over():
        pass
    return bool(result)


def _start(
    argv: Sequence[str],
    env: Mapping[str, str] | None,
    account: tuple[int, int, Sequence[int]] | None,
    directory: str,
    input: bytes | Secret | None,
    pass_fds: Sequence[int],
) -> subprocess.Popen[bytes]:
    command = list(argv)
    ids: dict[str, Any] = {}
    if account is not None and os.geteuid() == 0:
        uid, gid, groups = account
        ids = {"user": uid, "group": gid, "extra_groups": list(groups)}
        if directory != "/":
            # Change directory as the target account: root may have more access, or less (NFS root_squash).
            command, directory = ["/usr/bin/env", f"--chdir={directory}", *command], "/"
    stdin = _stdin(input)
    start = _popen_without_privileges if ids else _popen
    try:
        return start(command, stdin, child_environment(env), cwd=directory, pass_fds=tuple(pass_fds), **ids)
    except FileNotFoundError as error:
        if error.filename == directory:
            raise StateUnknown(f"{directory} does not exist: {argv[0]} was not started") from error
        raise ProgramMissing(f"{argv[0]} is not installed") from error
    except PermissionError as error:
        raise StateUnknown(f"{argv[0]} cannot be executed: {error.strerror}") from error
    except OSError as error:
        raise StateUnknown(f"{argv[0]} cannot be started: {error.strerror}") from error
    finally:
        if input is not None:
            os.close(stdin)


def _popen(argv: list[str], stdin: int, env: Mapping[str, str], **more: Any) -> subprocess.Popen[bytes]:
    """Start with pipes for both streams, a new session, and new files readable by all, as administrators expect."""
    return subprocess.Popen(  # pyright: ignore[reportReturnType]: `more` may hold any option
        argv,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
        start_new_session=True,
        umask=0o022,
        **more,
    )


def _popen_without_privileges(
    argv: list[str], stdin: int, env: Mapping[str, str], **more: Any
) -> subprocess.Popen[bytes]:
    """Like `_popen`, for a child that acts as an account: nothing that it executes can gain privileges.

    The dropped privileges belong to a thread and are inherited by its children, so a separate thread starts this one.
    """
    from concurrent.futures import ThreadPoolExecutor

    from bai_wizard.node.run_as import give_up_privileges

    def start() -> subprocess.Popen[bytes]:
        give_up_privileges()
        return _popen(argv, stdin, env, **more)

    with ThreadPoolExecutor(1) as starter:
        return starter.submit(start).result()


def _stdin(input: bytes | Secret | None) -> int:
    """Return /dev/null, or an anonymous file in memory."""
    if input is None:
        return subprocess.DEVNULL
    descriptor = os.memfd_create("input")
    data = input.reveal().encode() if isinstance(input, Secret) else input
    while data:
        data = data[os.write(descriptor, data) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _follow(
    child: subprocess.Popen[bytes],
    program: str,
    timeout: float,
    on_timeout: Cancel,
    on_line: OnLine | None,
    keep: int,
    *,
    redacted: bool = True,
) -> Completed:
    """Pass on the output until the child has ended and its pipes are closed or quiet."""
    streams = {name: Lines(_telling(on_line, name), keep) for name in ("stdout", "stderr")}
    limit = Limit(SILENCE if on_timeout == "finish" else timeout)
    with _watching(child) as selector:
        while selector.get_map():
            ended = child.returncode is not None
            result = ready(selector, DRAIN if ended else limit.wait())
            is_over = limit.is_over()
            if not result and ended:
                break
            for key, _ in result:
                data = os.read(key.fd, 1 << 16) if key.data else b""
                if not data:
                    selector.unregister(key.fileobj)
                if not key.data:
                    child.wait()
                    continue
                streams[key.data].feed(data, final=not data)
                if on_timeout == "finish":
                    limit, is_over = Limit(SILENCE), False
            # First check whether it has ended: the deadline may have passed while this process was stopped.
            if not is_over or child.returncode is not None:
                continue
            if on_timeout != "finish":
                raise TimedOut(_late(child, program, timeout, on_timeout))
            limit = Limit(SILENCE)
            if on_line is not None:
                silent = f"{program} has printed nothing for {SILENCE / 60:g} min; it will not be interrupted"
                on_line(redact(silent), "")
    code = child.wait()
    for stream in streams.values():
        stream.feed(b"", final=True)
    out = streams["stdout"]
    return Completed(code, out.text() if redacted else out.raw(), streams["stderr"].text())


@contextmanager
def _watching(child: subprocess.Popen[bytes]) -> Iterator[selectors.BaseSelector]:
    """Yield a selector for the child's pipes, with their names as data, and for its exit, with an empty name."""
    watch = os.pidfd_open(child.pid)
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(watch, selectors.EVENT_READ, "")
            for name, pipe in (("stdout", child.stdout), ("stderr", child.stderr)):
                assert pipe is not None
                os.set_blocking(pipe.fileno(), False)
                selector.register(pipe, selectors.EVENT_READ, name)
            yield selector
    finally:
        os.close(watch)


def _late(child: subprocess.Popen[bytes], program: str, timeout: float, on_timeout: Cancel) -> str:
    if on_timeout == "abandon":
        _left_behind.append(child)
        return f"{program} did not finish within {timeout:g} s; it is still running as process {child.pid}"
    return f"{program} did not finish within {timeout:g} s{'' if _kill(child) else ' and cannot be killed'}"


def _kill(child: subprocess.Popen[bytes]) -> bool:
    """Terminate the whole process group, SIGTERM first. False if it hangs in the kernel and is abandoned."""
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
    """Kill surviving members of the process group."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


def _telling(on_line: OnLine | None, stream: str) -> Callable[[str], None] | None:
    return None if on_line is None else lambda text: on_line(text, stream)


@contextmanager
def no_shutdown(why: str, log: Log) -> Iterator[None]:
    """Make logind refuse a shutdown for the duration of the block, reporting `why`; root can still force one.

    If logind is missing or does not answer, the log reports it and work continues.
    """
    with ExitStack() as stack:
        if Path("/run/systemd/system").is_dir():
            try:
                # logind answers within milliseconds or not at all.
                stack.enter_context(background_process(inhibit_argv(why), timeout=5.0))
            except StateUnknown as error:
                log(f"a shutdown is not blocked in the meantime: {error}")
        yield


def inhibit_argv(why: str) -> list[str]:
    """Return the program that holds the lock for as long as its `cat` runs."""
    return ["systemd-inhibit", "--what=shutdown", "--mode=block", "--who=bai-wizard", f"--why={why}", "cat"]


def reboot() -> None:
    """Request a reboot from systemd. Raises PreflightError with its error message."""
    try:
        # The time for accepting the request; the reboot itself follows later.
        answer = run(("systemctl", "reboot"), timeout=30.0)
    except StateUnknown as error:
        raise PreflightError(str(error)) from error
    if answer.code:
        raise PreflightError(f"systemctl reboot: {answer.err.strip() or f'code {answer.code}'}")


# Number of output lines quoted in a failure.
QUOTED_LINES = 6


def log_lines(log: Log) -> OnLine:
    """Pass a child's lines to a log; the runner's own messages are warnings."""

    def tell(text: str, stream: str) -> None:
        if stream:
            log(text, stream=stream)
        else:
            log(text, level="warning")

    return tell


def succeed(
    argv: Sequence[str],
    log: Log,
    *,
    timeout: float = 60.0,
    title: str = "",
    on_timeout: Cancel = "kill",
    env: Mapping[str, str] | None = None,
    input: bytes | Secret | None = None,
) -> Completed:
    """Run a program that must succeed. Raises StepFailed with its last output, StateUnknown on a timeout."""
    completed = run(argv, timeout=timeout, on_timeout=on_timeout, on_line=log_lines(log), env=env, input=input)
    if completed.code != 0:
        raise StepFailed(f"{title or ' '.join(argv)}: {last_words(completed)}")
    return completed


def last_words(completed: Completed) -> str:
    """Return the end of a program's output, preferring errors; its exit code if it printed nothing."""
    output = completed.err.strip() or completed.out.strip()
    if completed.code < 0:
        return f"killed by signal {-completed.code}" + (f": {output[-500:]}" if output else "")
    lines = [line.strip() for line in output.split("\n") if line.strip()][-QUOTED_LINES:]
    return "; ".join(lines) or f"exit code {completed.code}"
