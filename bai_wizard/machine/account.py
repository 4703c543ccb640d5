"""Acting as an account: a forked child that gave root up before it touches anything.

The child executes no program, for root's interpreter may be unreadable for the account. It keeps no open file
but the ones named, so that a child that hangs holds no lock of the run.
"""

from __future__ import annotations

import json
import os
import select
import signal
import time
import warnings
from collections.abc import Callable
from typing import Any, NoReturn

from bai_wizard.core import errors
from bai_wizard.core.codec import KEPT
from bai_wizard.core.errors import CannotTell, WizardError
from bai_wizard.machine.identity import Identity

# Left behind in the kernel by a deadline; reaped when they come back.
_left_behind: list[int] = []


def as_account(
    identity: Identity | None,
    function: Callable[..., Any],
    *args: Any,
    answer: Any = None,
    keep: tuple[int, ...] = (),
    deadline: float = 10.0,
) -> Any:
    """The result of `function(*args)`, run in a child with the ids of `identity` (None: one's own).

    `answer` is the type of the result, which crosses as JSON. `keep` are descriptors that the child needs.
    Raises the OSError or WizardError that the child raised, CannotTell when it gives no answer in `deadline` seconds.
    """
    _reap()
    reader, writer = os.pipe2(os.O_CLOEXEC)
    with warnings.catch_warnings():
        # The child only calls the kernel and json; a lock held by another thread costs it the deadline at worst.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _be_child(identity, function, args, writer, keep)
    os.close(writer)
    try:
        data = _read_until(reader, time.monotonic() + deadline)
    except BaseException:
        _end(child)
        raise
    finally:
        os.close(reader)
    if data is None:
        _end(child)
        raise CannotTell(f"no answer within {deadline:g} s{_whose(identity)}")
    _, status = os.waitpid(child, 0)
    if not data:
        raise CannotTell(f"the child{_whose(identity)} ended without an answer (status {status})")
    return _unpack(json.loads(data), answer)


def _be_child(
    identity: Identity | None, function: Callable[..., Any], args: tuple[Any, ...], writer: int, keep: tuple[int, ...]
) -> NoReturn:
    code = 1
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        _close_all_but({0, 1, 2, writer, *keep})
        if identity is not None:
            _become(identity)
        try:
            message = {"result": KEPT.encode(function(*args))}
        except OSError as error:
            message = {"errno": error.errno, "text": error.strerror, "path": str(error.filename or "")}
        except WizardError as error:
            message = {"error": type(error).__name__, "text": str(error)}
        except Exception as error:  # noqa: BLE001 - told to the parent, who raises it
            message = {"error": "CannotTell", "text": f"{type(error).__name__}: {error}"}
        data = json.dumps(message).encode()
        while data:
            data = data[os.write(writer, data) :]
        code = 0
    finally:
        os._exit(code)


def _become(identity: Identity) -> None:
    os.setgroups(identity.groups)
    os.setresgid(identity.gid, identity.gid, identity.gid)
    os.setresuid(identity.uid, identity.uid, identity.uid)
    os.umask(0o022)


def _close_all_but(kept: set[int]) -> None:
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in kept:
            try:
                os.close(int(name))
            except OSError:
                continue  # the descriptor of the listing itself


def _read_until(reader: int, deadline: float) -> bytes | None:
    """Everything up to the end, None where the deadline comes first."""
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    pieces: list[bytes] = []
    while poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        piece = os.read(reader, 1 << 16)
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)
    return None


def _end(child: int) -> None:
    """Kills a child; one that hangs in the kernel is left behind."""
    os.kill(child, signal.SIGKILL)
    limit = time.monotonic() + 0.5
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > limit:
            _left_behind.append(child)
            return
        time.sleep(0.01)


def _reap() -> None:
    _left_behind[:] = [child for child in _left_behind if os.waitpid(child, os.WNOHANG) == (0, 0)]


def _unpack(message: dict[str, Any], answer: Any) -> Any:
    if "errno" in message:
        raise OSError(message["errno"], message["text"], message["path"] or None)
    if "error" in message:
        raise getattr(errors, message["error"], CannotTell)(message["text"])
    return KEPT.decode(answer, message["result"]) if answer is not None else None


def _whose(identity: Identity | None) -> str:
    return f" as uid {identity.uid}" if identity is not None else ""
