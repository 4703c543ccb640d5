"""A long-lived process per account for operations on its files, instead of one process per file.

Inside `helpers()`, operations on files that run as an account are passed to a process of that account, together with
the open directory. It is started on demand and ends with the block. Outside of a block, and while the process is
busy with another thread's request, each operation runs in a process of its own (`run_as`) with the same effect.
"""

from __future__ import annotations

import json
import os
import pickle
import socket
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from struct import Struct
from threading import Lock
from typing import Any, NoReturn

from bai_wizard.core.errors import StateUnknown
from bai_wizard.node.deadline import Limit
from bai_wizard.node.files import operate
from bai_wizard.node.run_as import Identity, become_child, end_child, leave_no_core, outcome_of, run_as, unpack, whose

# The length of a message in bytes. The first byte of a request comes with the descriptor of the directory.
_SIZE = Struct("!Q")

Operation = Callable[..., Any]


class Helper:
    """A process with the IDs of an account. It runs operations one at a time until its socket is closed."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.busy = Lock()
        # Imported before the fork: the account may be unable to read root's code.
        self.modules = len(sys.modules)
        self._socket, other = socket.socketpair()
        with warnings.catch_warnings():
            # Like `run_as`: the child uses the kernel, json and pickle.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._child = os.fork()
        if self._child == 0:
            _serve(identity, other)
        other.close()

    def call(self, directory: int, request: bytes, deadline: float) -> dict[str, Any]:
        """Return the outcome of one operation.

        Raises StateUnknown if the process does not answer within `deadline` seconds or has ended; it cannot be
        used afterwards.
        """
        limit = Limit(deadline)
        try:
            self._send(directory, request, limit)
            data = self._receive(self._receive(_SIZE.size, limit), limit)
        except TimeoutError:
            raise StateUnknown(f"no response within {deadline:g} s{whose(self.identity)}") from None
        except OSError as error:
            raise StateUnknown(f"the child{whose(self.identity)} ended without a result ({error})") from None
        message: dict[str, Any] = json.loads(data)
        return message

    def _send(self, directory: int, request: bytes, limit: Limit) -> None:
        self._socket.settimeout(limit.wait())
        socket.send_fds(self._socket, [_SIZE.pack(len(request))], [directory])
        rest = memoryview(request)
        while rest:
            rest = rest[self._within(limit, partial(self._socket.send, rest)) :]

    def _receive(self, size: bytes | int, limit: Limit) -> bytes:
        left = size if isinstance(size, int) else _SIZE.unpack(size)[0]
        chunks = []
        while left:
            chunk = self._within(limit, partial(self._socket.recv, min(left, 1 << 20)))
            if not chunk:
                raise OSError("it closed its socket")
            chunks.append(chunk)
            left -= len(chunk)
        return b"".join(chunks)

    def _within(self, limit: Limit, step: Callable[[], Any]) -> Any:
        """Repeat `step` until it does not time out. Raises TimeoutError after the limit."""
        while True:
            self._socket.settimeout(max(limit.wait(), 0.001))
            try:
                return step()
            except TimeoutError:
                if limit.is_over():
                    raise

    def end(self) -> None:
        """Kill the process. Nothing is lost: it is idle, or its answer is no longer needed."""
        self._socket.close()
        end_child(self._child)

    def close_copy(self) -> None:
        """Close this process's copy of the socket."""
        self._socket.close()


def _serve(identity: Identity, requests: socket.socket) -> NoReturn:
    try:
        become_child(identity, (requests.fileno(),))
        leave_no_core()  # a copy of root's memory, which the account must not read
        os.chdir("/")
        while True:
            header, descriptors, _, _ = socket.recv_fds(requests, _SIZE.size, 1)
            if not header:
                break
            header += requests.recv(_SIZE.size - len(header), socket.MSG_WAITALL) if len(header) < _SIZE.size else b""
            request = requests.recv(_SIZE.unpack(header)[0], socket.MSG_WAITALL)
            message = json.dumps(outcome_of(_run, request, descriptors[0])).encode()
            os.close(descriptors[0])
            requests.sendall(_SIZE.pack(len(message)) + message)
    finally:
        os._exit(0)


def _run(request: bytes, directory: int) -> Any:
    rest, operation, args = pickle.loads(request)  # noqa: S301 - from the process that forked this one
    return operate(directory, rest, operation, args)


_lock = Lock()
_helpers: dict[Identity, Helper] = {}
_blocks = 0


def _forget_in_child() -> None:
    """The helpers belong to the parent: a child must neither use their sockets nor keep them open."""
    global _blocks, _lock
    _blocks, _lock = 0, Lock()
    for helper in _helpers.values():
        helper.close_copy()
    _helpers.clear()


os.register_at_fork(after_in_child=_forget_in_child)


@contextmanager
def helpers() -> Iterator[None]:
    """Keep one process for each account while the block runs; blocks may be nested and concurrent."""
    global _blocks
    with _lock:
        _blocks += 1
    try:
        yield
    finally:
        with _lock:
            _blocks -= 1
            left = [] if _blocks else list(_helpers.values())
            if not _blocks:
                _helpers.clear()
        for helper in left:
            helper.end()


def operate_as(
    identity: Identity,
    directory: int,
    rest: tuple[str, ...],
    operation: Operation,
    args: tuple[Any, ...],
    *,
    answer: Any,
    deadline: float,
) -> Any:
    """Return the result of `operate(directory, rest, operation, args)`, run with the IDs of `identity`.

    Raises the OSError or WizardError that it raised there, and StateUnknown without a response in `deadline` seconds.
    """
    helper = _idle_helper(identity)
    if helper is None:
        return run_as(identity, operate, directory, rest, operation, args, answer=answer, keep=(directory,),
                      deadline=deadline)  # fmt: skip
    try:
        message = helper.call(directory, pickle.dumps((rest, operation, args)), deadline)
    except BaseException:
        # Its next message would be taken for the answer to the next request.
        with _lock:
            if _helpers.get(identity) is helper:
                del _helpers[identity]
        helper.end()
        raise
    finally:
        helper.busy.release()
    return unpack(message, answer)


def _idle_helper(identity: Identity) -> Helper | None:
    """The helper of an account, reserved for the caller; None outside of `helpers()`, and while it is busy."""
    with _lock:
        if not _blocks:
            return None
        helper = _helpers.get(identity)
        if helper is not None and not helper.busy.acquire(blocking=False):
            return None
        if helper is not None and helper.modules != len(sys.modules):
            helper.busy.release()
            helper.end()
            helper = None
        if helper is None:
            helper = _helpers[identity] = Helper(identity)
            helper.busy.acquire()
        return helper
