"""Operations of tests on a node, either a container or a virtual machine."""

import json
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.node.excluded import EXCLUDED
from tests.node.snapshot import DEFAULT_PATHS, SCRIPT, Entry, Snapshot
from tests.node.sshpass import ssh_with_password

WRITE = 'mkdir -p "$(dirname "$1")" && cat >"$1" && chown "$3" "$1" && chmod "$2" "$1"'


@dataclass(frozen=True)
class Completed:
    """Result of a command in a node: exit status and both streams as text."""

    rc: int
    out: str
    err: str


class CommandError(AssertionError):
    """A command that had to succeed failed; the message contains its streams."""


class Node(ABC):
    """A Linux node with systemd, controlled as root. Times are in seconds."""

    hostname: str

    @abstractmethod
    def execute(
        self, argv: Sequence[str], data: bytes, timeout: float, user: str | None, env: Mapping[str, str], detach: bool
    ) -> subprocess.CompletedProcess[bytes]:
        """Run one command; the basis of all methods below."""

    @abstractmethod
    def ssh_address(self) -> tuple[str, int]:
        """Address of the node's ssh server, as seen from the test machine."""

    @abstractmethod
    def power_cut(self) -> None:
        """Kill everything in the node at once, start it again and wait for it."""

    @abstractmethod
    def close(self) -> None:
        """Remove the node and everything that belongs to it. Can be called twice."""

    def run(
        self,
        argv: Sequence[str],
        *,
        input: str | bytes | None = None,
        timeout: float = 60,
        check: bool = False,
        user: str | None = None,
        env: Mapping[str, str] | None = None,
        detach: bool = False,
    ) -> Completed:
        """Run a command as root or ``user``, without a terminal. Detached: start it and return immediately."""
        data = input.encode() if isinstance(input, str) else input or b""
        try:
            done = self.execute(list(argv), data, timeout, user, env or {}, detach)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"{list(argv)} on {self.hostname} ran longer than {timeout} s") from error
        result = Completed(
            done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        )
        if check and result.rc:
            raise CommandError(f"{list(argv)} ended with {result.rc}\n{result.out}{result.err}")
        return result

    def wizard(
        self, *arguments: str, input: str | bytes | None = None, timeout: float = 300, user: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Completed:  # fmt: skip
        """Run ``bai-wizard`` with these arguments."""
        return self.run(["bai-wizard", *arguments], input=input, timeout=timeout, user=user, env=env)

    def write(self, path: str, content: str | bytes, mode: int = 0o644, owner: str = "root:root") -> None:
        """Write a file in place (an existing file keeps its inode), and create missing directories."""
        self.run(["sh", "-c", WRITE, "sh", path, f"{mode:o}", owner], input=content, check=True)

    def read(self, path: str) -> bytes:
        """Return the bytes of a file; FileNotFoundError if it does not exist or is not readable."""
        done = self.execute(["cat", "--", path], b"", 60, None, {}, False)
        if done.returncode:
            raise FileNotFoundError(done.stderr.decode(errors="replace").strip())
        return done.stdout

    def read_or_empty(self, path: str) -> bytes:
        """Return the bytes of a file; empty if it does not exist (a background command has not written it yet)."""
        try:
            return self.read(path)
        except FileNotFoundError:
            return b""

    def exists(self, path: str) -> bool:
        """Return whether the path exists (a dangling link does)."""
        return self.run(["sh", "-c", '[ -e "$1" ] || [ -L "$1" ]', "sh", path]).rc == 0

    def snapshot(self, paths: Sequence[str] = DEFAULT_PATHS, excluded: Sequence[str] = EXCLUDED) -> Snapshot:
        """Return kind, mode, owner and content of everything below the paths, by path, without following links."""
        argv = ["/usr/bin/python3", "-I", "-", *paths, "--", *excluded]
        result = json.loads(self.run(argv, input=SCRIPT, timeout=300, check=True).out)
        return {path: Entry(*entry) for path, entry in result.items()}

    def kill(self, pid: int, signal: str = "KILL") -> None:
        """Send a signal to a process of the node."""
        self.run(["kill", f"-{signal}", str(pid)], check=True)

    def ssh_login(self, user: str, password: str, command: str, timeout: float = 60) -> Completed:
        """Log in over ssh with a password, from the test machine, and run a command in the login shell."""
        done = ssh_with_password(self.ssh_address(), user, password, command, timeout)
        return Completed(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))

    def wait_for(self, predicate: Callable[[], object], timeout: float = 30, what: str = "a condition") -> None:
        """Poll the predicate many times a second until it is true; TimeoutError after the time limit."""
        deadline = time.monotonic() + timeout
        while not predicate():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.hostname}: {what} did not come within {timeout} s")
            time.sleep(0.05)

    def wait_until_up(self, timeout: float) -> None:
        """Wait until systemd has finished starting units."""
        self.wait_for(lambda: self.system_state() in ("running", "degraded"), timeout, "the end of the boot")

    def system_state(self) -> str:
        """Return the output of ``systemctl is-system-running``: running, degraded, starting, … or nothing."""
        return self.run(["systemctl", "is-system-running"]).out.strip()
