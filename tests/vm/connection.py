"""One ssh connection to a machine, shared by all commands (a new one costs a second under emulation)."""

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from tests.vm.keys import private_key

OPTIONS = ("UserKnownHostsFile=/dev/null", "StrictHostKeyChecking=no", "LogLevel=ERROR", "ConnectTimeout=10",
           "ServerAliveInterval=5", "ServerAliveCountMax=6", "BatchMode=yes")  # fmt: skip


class Connection:
    """Connection as root to the ssh server behind a port of this machine."""

    def __init__(self, port: int, directory: Path) -> None:
        self._control = directory / "ssh"
        options = [word for option in OPTIONS for word in ("-o", option)]
        self._ssh = ["ssh", "-F", "none", *options, "-S", str(self._control), "-p", str(port)]
        self._master: subprocess.Popen[bytes] | None = None

    def open(self, timeout: float) -> None:
        """Connect, retrying until the server responds; ``timeout`` in seconds."""
        deadline = time.monotonic() + timeout
        while not self._try_to_open(deadline):
            if time.monotonic() > deadline:
                raise TimeoutError(f"no ssh server answered within {timeout} s")

    def run(self, command: str, data: bytes, timeout: float) -> subprocess.CompletedProcess[bytes]:
        """Run a shell command line as root."""
        argv = [*self._ssh, "root@127.0.0.1", command]
        return subprocess.run(argv, input=data, capture_output=True, timeout=timeout, check=False)

    def close(self) -> None:
        if self._master is not None:
            self._master.terminate()
            self._master.wait()
            self._master = None
        self._control.unlink(missing_ok=True)

    def _try_to_open(self, deadline: float) -> bool:
        self.close()
        argv: Sequence[str] = [*self._ssh, "-i", str(private_key()), "-M", "-N", "root@127.0.0.1"]
        quiet = subprocess.DEVNULL
        self._master = subprocess.Popen(argv, stdin=quiet, stdout=quiet, stderr=quiet)
        while not self._control.exists():
            if self._master.poll() is not None or time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True
