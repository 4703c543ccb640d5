"""One ssh connection to a machine, shared by all commands (a new one costs a second under emulation)."""

import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.vm.keys import private_key

OPTIONS = ("UserKnownHostsFile=/dev/null", "StrictHostKeyChecking=no", "LogLevel=ERROR", "ServerAliveInterval=5",
           "ServerAliveCountMax=24", "BatchMode=yes")  # fmt: skip
# Seconds to wait for the server's first word: twice as long after each failure, as it may only be slow.
SHORTEST, LONGEST = 10, 320


class Connection:
    """Connection as root to the ssh server behind a port of this machine."""

    def __init__(self, port: int, directory: Path) -> None:
        self._control = directory / "ssh"
        options = [word for option in OPTIONS for word in ("-o", option)]
        self._ssh = ["ssh", "-F", "none", *options, "-S", str(self._control), "-p", str(port)]
        self._master: subprocess.Popen[bytes] | None = None

    def open(self, is_stalled: Callable[[], bool]) -> None:
        """Connect, retrying until the server responds or the machine no longer makes progress."""
        patience = SHORTEST
        while not self._try_to_open(patience):
            if is_stalled():
                raise TimeoutError("no ssh server responds, and the machine does not make progress")
            patience = min(2 * patience, LONGEST)
            time.sleep(0.5)

    def run(self, command: str, data: bytes, timeout: float) -> subprocess.CompletedProcess[bytes]:
        """Run a shell command line as root. Without the shared connection, it fails after a moment."""
        argv = [*self._ssh, "-o", f"ConnectTimeout={SHORTEST}", "root@127.0.0.1", command]
        return subprocess.run(argv, input=data, capture_output=True, timeout=timeout, check=False)

    def close(self) -> None:
        if self._master is not None:
            self._master.terminate()
            self._master.wait()
            self._master = None
        self._control.unlink(missing_ok=True)

    def _try_to_open(self, patience: int) -> bool:
        self.close()
        options = ("-o", f"ConnectTimeout={patience}", "-i", str(private_key()), "-M", "-N")
        argv: Sequence[str] = [*self._ssh, *options, "root@127.0.0.1"]
        quiet = subprocess.DEVNULL
        self._master = subprocess.Popen(argv, stdin=quiet, stdout=quiet, stderr=quiet)
        while not self._control.exists():
            if self._master.poll() is not None:
                return False
            time.sleep(0.05)
        return True
