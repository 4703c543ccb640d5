"""One qemu process and its control socket (QMP)."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

START_SECONDS = 30


class QemuError(RuntimeError):
    """Qemu ended or refused a command; the message contains its output."""


class Qemu:
    """A running qemu. `kill` acts like a power cut."""

    def __init__(self, argv: Sequence[str], directory: Path) -> None:
        """Start it; ``directory`` contains the control socket, the serial console's log and qemu's messages."""
        control = directory / "qmp"
        control.unlink(missing_ok=True)
        self.messages = directory / "qemu.log"
        with self.messages.open("ab") as output:
            self.process = subprocess.Popen(
                [*argv, "-qmp", f"unix:{control},server=on,wait=off"],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        self._socket = self._connect(control)
        self._lines = self._socket.makefile("rb")
        self._next_message()
        self.execute("qmp_capabilities")

    def execute(self, command: str, **arguments: Any) -> Any:
        """Run a QMP command and return its response."""
        self._socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        while "event" in (message := self._next_message()):
            continue
        if "error" in message:
            raise QemuError(f"{command}: {message['error']['desc']}")
        return message["return"]

    def monitor(self, line: str) -> str:
        """Run a line of qemu's human monitor; most print nothing unless something is wrong."""
        return str(self.execute("human-monitor-command", **{"command-line": line})).strip()

    def kill(self) -> None:
        """End it immediately."""
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._lines.close()
        self._socket.close()

    def _connect(self, control: Path) -> socket.socket:
        deadline = time.monotonic() + START_SECONDS
        connection = socket.socket(socket.AF_UNIX)
        while True:
            try:
                connection.connect(str(control))
                return connection
            except (FileNotFoundError, ConnectionRefusedError) as error:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise QemuError(f"qemu does not answer: {self.messages.read_text()[-2000:]}") from error
            time.sleep(0.05)

    def _next_message(self) -> dict[str, Any]:
        line = self._lines.readline()
        if not line:
            raise QemuError(f"qemu ended: {self.messages.read_text()[-2000:]}")
        message: dict[str, Any] = json.loads(line)
        return message
