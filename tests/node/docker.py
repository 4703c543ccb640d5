"""The Docker command line against one engine."""

import os
import subprocess
from dataclasses import dataclass


class DockerError(RuntimeError):
    """A docker command ended with an error; its text says which and why."""


@dataclass(frozen=True)
class Docker:
    """A Docker Engine, known by its address; an empty one means the client's default."""

    address: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which ``docker`` talks to this engine."""
        return {**os.environ, **({"DOCKER_HOST": self.address} if self.address else {})}

    def start(
        self, *words: str, data: bytes | None = None, timeout: float = 600
    ) -> subprocess.CompletedProcess[bytes]:
        """Run ``docker words…`` to its end, whatever that is; ``timeout`` in seconds."""
        argv = ["docker", *words]
        return subprocess.run(
            argv, env=self.environment, input=data or b"", capture_output=True, timeout=timeout, check=False
        )

    def __call__(self, *words: str, data: bytes | None = None, timeout: float = 600) -> str:
        """Run ``docker words…``, return its output without the final newline; an error is raised."""
        done = self.start(*words, data=data, timeout=timeout)
        if done.returncode:
            raise DockerError(
                f"docker {' '.join(words)}: {done.returncode}: {(done.stdout + done.stderr)[-3000:].decode()}"
            )
        return done.stdout.decode().rstrip("\n")

    def answers(self) -> bool:
        """Whether an engine is there."""
        return self.start("version", timeout=20).returncode == 0
