"""A Docker Engine for the tests: one that runs already, or our own, stopped by whoever uses it last."""

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tests.cache import cache_directory, locked
from tests.node.docker import Docker

RUNTIME = Path("/run/bai-wizard-tests")
PID_FILE = RUNTIME / "dockerd.pid"
SOCKET = RUNTIME / "docker.sock"
OURS = Docker(f"unix://{SOCKET}")
LABEL = "bai-wizard-tests"
START_SECONDS = 60
STOP_SECONDS = 60


@contextmanager
def running_engine() -> Iterator[Docker]:
    """An engine for as long as the block lasts; several processes may share it."""
    RUNTIME.mkdir(mode=0o700, exist_ok=True)
    with locked("engine", RUNTIME):
        docker = _answering() or _start()
        _remove_orphans(docker)
        _remove_old_images(docker)
        users = (RUNTIME / "users.lock").open("w")
        fcntl.flock(users, fcntl.LOCK_SH)
    try:
        yield docker
    finally:
        with locked("engine", RUNTIME):
            if docker is OURS and _is_last_user(users):
                _stop()
            users.close()


def _is_last_user(users: IO[str]) -> bool:
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _answering() -> Docker | None:
    for candidate in (OURS, Docker()):
        if (candidate is not OURS or SOCKET.exists()) and candidate.answers():
            return candidate
    return None


def _start() -> Docker:
    """Start dockerd as a process of its own, so that it outlives the test process that needed it first."""
    PID_FILE.unlink(missing_ok=True)
    log = cache_directory() / "dockerd.log"
    argv = ["setsid", "--fork", "dockerd", "--data-root", str(cache_directory() / "docker"), "--exec-root",
            str(RUNTIME / "exec"), "--pidfile", str(PID_FILE), "--host", OURS.address]  # fmt: skip
    environment = {**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"}
    with log.open("w") as output:
        subprocess.run(
            argv, env=environment, cwd="/", stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=True
        )
    deadline = time.monotonic() + START_SECONDS
    while not OURS.answers():
        if time.monotonic() > deadline:
            raise RuntimeError(f"dockerd did not come up in {START_SECONDS} s: {log.read_text()[-2000:]}")
        time.sleep(0.2)
    return OURS


def _stop() -> None:
    """End our dockerd, by its own pid, and wait until it is gone."""
    pid = int(PID_FILE.read_text())
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while _alive(pid):
        if time.monotonic() > deadline:
            raise RuntimeError(f"dockerd ({pid}) did not end in {STOP_SECONDS} s")
        time.sleep(0.1)


def _remove_orphans(docker: Docker) -> None:
    """Remove the containers of test processes that were killed before they could."""
    listed = docker("ps", "--all", "--filter", f"label={LABEL}", "--format", f'{{{{.ID}}}} {{{{.Label "{LABEL}"}}}}')
    for line in listed.splitlines():
        identity, owner = line.split()
        if not _alive(int(owner)):
            docker("rm", "--force", "--volumes", identity)


def _remove_old_images(docker: Docker) -> None:
    """Images of the tests that are older than three days and in no use; what is needed is made anew."""
    docker("image", "prune", "--all", "--force", "--filter", f"label={LABEL}", "--filter", "until=72h")


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
