"""A separate Docker Engine for the tests, stopped by its last user; an engine of this machine is not touched."""

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
from tests.node.bridge import create_bridge, engine_flags, remove_bridge
from tests.node.docker import Docker

RUNTIME = Path("/run/bai-wizard-tests")
PID_FILE = RUNTIME / "dockerd.pid"
SOCKET = RUNTIME / "docker.sock"
OURS = Docker(f"unix://{SOCKET}")
LABEL = "bai-wizard-tests"
# With the old control groups, all nodes together have the weight of one process of this machine, and on a busy one,
# checks on a node run out of time. They get the weight of eight.
WEIGHT = Path("/sys/fs/cgroup/cpu/docker/cpu.shares")
SHARES = 8 * 1024
START_SECONDS = 60
STOP_SECONDS = 60


@contextmanager
def running_engine() -> Iterator[Docker]:
    """Run an engine during the block; several processes can share it."""
    RUNTIME.mkdir(mode=0o700, exist_ok=True)
    with locked("engine", RUNTIME):
        docker = OURS if SOCKET.exists() and OURS.answers() else _start()
        _remove_orphans(docker)
        _remove_old_images(docker)
        if WEIGHT.exists():
            WEIGHT.write_text(str(SHARES))
        users = (RUNTIME / "users.lock").open("w")
        fcntl.flock(users, fcntl.LOCK_SH)
    try:
        yield docker
    finally:
        with locked("engine", RUNTIME):
            if _is_last_user(users):
                _stop()
            users.close()


def _is_last_user(users: IO[str]) -> bool:
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _start() -> Docker:
    """Start dockerd as a detached process that outlives the test process that needed it first."""
    PID_FILE.unlink(missing_ok=True)
    create_bridge()
    log = cache_directory() / "dockerd.log"
    argv = ["setsid", "--fork", "dockerd", "--data-root", str(cache_directory() / "docker"), "--exec-root",
            str(RUNTIME / "exec"), "--pidfile", str(PID_FILE), "--host", OURS.address, *engine_flags()]  # fmt: skip
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
    """Stop our dockerd by its PID, and wait until it has ended."""
    pid = int(PID_FILE.read_text())
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while _alive(pid):
        if time.monotonic() > deadline:
            raise RuntimeError(f"dockerd ({pid}) did not end in {STOP_SECONDS} s")
        time.sleep(0.1)
    remove_bridge()


def _remove_orphans(docker: Docker) -> None:
    """Remove the containers of test processes that were killed before they could."""
    listed = docker("ps", "--all", "--filter", f"label={LABEL}", "--format", f'{{{{.ID}}}} {{{{.Label "{LABEL}"}}}}')
    for line in listed.splitlines():
        identity, owner = line.split()
        if not _alive(int(owner)):
            docker("rm", "--force", "--volumes", identity)


def _remove_old_images(docker: Docker) -> None:
    """Remove unused images of the tests that are older than three days; needed ones are built again."""
    docker("image", "prune", "--all", "--force", "--filter", f"label={LABEL}", "--filter", "until=72h")


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
