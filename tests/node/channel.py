"""Runs commands in a node through one process (see agent.py) that is started with the first command."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

AGENT = Path(__file__).with_name("agent.py").read_bytes()
# The source is passed on standard input, so that a search for command lines does not find names in it.
LOAD = "import sys; exec(sys.stdin.buffer.read(int(sys.stdin.buffer.readline())))"
# Exit code of a killed `docker exec`, and so of a command whose node was killed.
KILLED = 137

Answers = queue.SimpleQueue[tuple[int, bytes, bytes]]


class Channel:
    """One agent. `python` starts the node's Python with pipes of this process; threads can run commands at once."""

    def __init__(self, python: Sequence[str], env: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [*python, "-I", "-c", LOAD],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._lock = threading.Lock()
        self._waiting: dict[int, Answers] = {}
        self._number = 0
        self._closed = False
        self._send(b"%d\n%s" % (len(AGENT), AGENT))
        self._reader = threading.Thread(target=self._dispatch, daemon=True)
        self._reader.start()

    @property
    def is_open(self) -> bool:
        """Return whether the agent accepts commands; it ends with its node."""
        return not self._closed

    def run(
        self, argv: Sequence[str], data: bytes, timeout: float, user: str | None, env: Mapping[str, str], detach: bool
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command to its end, or start it. TimeoutExpired after `timeout` seconds: it continues in the node."""
        answers: Answers = queue.SimpleQueue()
        with self._lock:
            self._number += 1
            number = self._number
            self._waiting[number] = answers
            if self._closed:
                answers.put((KILLED, b"", b""))
            head = {"id": number, "argv": list(argv), "size": len(data), "user": user, "env": dict(env)}
            self._send(json.dumps({**head, "detach": detach}).encode() + b"\n" + data)
        try:
            code, out, err = answers.get(timeout=timeout)
        except queue.Empty:
            raise subprocess.TimeoutExpired(list(argv), timeout) from None
        finally:
            self._waiting.pop(number, None)
        return subprocess.CompletedProcess(list(argv), code, out, err)

    def close(self) -> None:
        """End the agent; processes that it detached continue."""
        self._process.kill()
        self._reader.join()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with suppress(BrokenPipeError):
                stream.close()

    def _send(self, message: bytes) -> None:
        """Write to the agent. If it has ended, the reader notifies the waiting threads."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(message)
            self._process.stdin.flush()

    def _dispatch(self) -> None:
        """Pass responses to the waiting threads until the agent ends; then all of them get `KILLED`."""
        stream = self._process.stdout
        assert stream is not None
        while line := stream.readline():
            head = json.loads(line)
            out, err = stream.read(head["out"]), stream.read(head["err"])
            if answers := self._waiting.get(head["id"]):
                answers.put((head["rc"], out, err))
        with self._lock:
            self._closed = True
            for answers in self._waiting.values():
                answers.put((KILLED, b"", b""))
