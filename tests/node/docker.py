"""The Docker command line against one engine."""

import os
import subprocess
from dataclasses import dataclass


class DockerError(RuntimeError):
    """A docker command failed; the message contains the command and the reason."""


@dataclass(frozen=True)
class Docker:
    """A Docker Engine at an address; empty means the client's default."""

    address: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment in which ``docker`` uses this engine."""
        return {**os.environ, **({"DOCKER_HOST": self.address} if self.address else {})}

    def start(
        self, *words: str, data: bytes | None = None, timeout: float = 600
    ) -> subprocess.CompletedProcess[bytes]:
        """Run ``docker words…`` and return its result, also on failure; ``timeout`` in seconds."""
        argv = ["docker", *words]
        return subprocess.run(
            argv, env=self.environment, input=data or b"", capture_output=True, timeout=timeout, check=False
        )

    def __call__(self, *words: str, data: bytes | None = None, timeout: float = 600) -> str:
        """Run ``docker words…`` and return its output without the final newline; raise an exception on failure."""
        done = self.start(*words, data=data, timeout=timeout)
        if done.returncode:
            raise DockerError(
                f"docker {' '.join(words)}: {done.returncode}: {(done.stdout + done.stderr)[-3000:].decode()}"
            )
        return done.stdout.decode().rstrip("\n")

    def answers(self) -> bool:
        """Return whether the engine responds."""
        return self.start("version", timeout=20).returncode == 0
