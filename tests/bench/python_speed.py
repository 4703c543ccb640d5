"""How fast the python page is, on a container node: environments against venv and pip, hashing while streaming.

python -m tests.bench.python_speed [ROUNDS]        prints tables; needs what the node tests need.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from unittest import mock

from bai_wizard.node import download
from bai_wizard.node.download import Source, fetch
from tests.node.container import ContainerNode
from tests.node.engine import running_engine
from tests.node.images import node_image
from tests.node.pythons import HEADLESS, newest, prepare
from tests.pages.python.faulty_server import ServerBehavior, serving

SERVICES = ("manager", "agent", "storage-proxy", "webserver", "app-proxy")
BODY_SIZE = 60_000_000
AT_ONCE = "/opt/bai-wizard/bai_wizard/engine/run/node.py"
Ways = dict[str, Callable[[], float]]


def compare(title: str, ways: Ways, rounds: int, before: Callable[[], object] = lambda: None) -> None:
    """Prints medians of the rounds, ways in turn, after one round to warm up; `before` is done before each."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            before()
            seconds = way()
            if number:
                taken[name].append(seconds)
    slowest = max(statistics.median(times) for times in taken.values())
    print(f"| {title} | seconds, median | min..max | times faster |\n| --- | --- | --- | --- |")
    for name, times in taken.items():
        middle = statistics.median(times)
        print(f"| {name} | {middle:.2f} | {min(times):.2f}..{max(times):.2f} | {slowest / middle:.1f} |")


def timed(work: Callable[[], object]) -> float:
    """Return the duration."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def environments(node: ContainerNode, rounds: int) -> None:
    """Create five environments with the wizard (a whole run, planning included), and with venv and pip."""
    answers = node.read("/root/answers.toml").decode()
    assert node.wizard(*HEADLESS).rc == 0
    python = f"/home/bai/.static-python/versions/{newest().version}/bin/python3"
    listed = ", ".join(f'{{ service = "{service}" }}' for service in SERVICES)
    node.write("/root/answers.toml", answers.replace("venvs = [  ]", f"venvs = [ {listed} ]"))
    paths = " ".join(f"/home/bai/{service}" for service in SERVICES)

    def apply() -> list[dict[str, str]]:
        done = node.wizard(*HEADLESS, "--json", timeout=300)
        assert done.rc == 0, done.out + done.err
        return [json.loads(line) for line in done.out.splitlines() if line.startswith("{")]

    def step() -> float:
        moments = [datetime.fromisoformat(event["t"]) for event in apply() if event.get("step") == "python.venvs"]
        return (max(moments) - min(moments)).total_seconds()

    def one_at_a_time() -> float:
        node.run(["sed", "-i", "s/^AT_ONCE = 4/AT_ONCE = 1/", AT_ONCE], check=True)
        try:
            return step()
        finally:
            node.run(["sed", "-i", "s/^AT_ONCE = 1/AT_ONCE = 4/", AT_ONCE], check=True)

    def plain() -> float:
        script = "set -e; " + "; ".join(
            f"mkdir /home/bai/{service}; {python} -m venv /home/bai/{service}/.venv; "
            f"/home/bai/{service}/.venv/bin/pip install -q -U pip setuptools wheel"
            for service in SERVICES
        )
        return timed(lambda: node.run(["runuser", "-u", "bai", "--", "sh", "-c", script], check=True, timeout=600))

    ways: Ways = {
        "bai-wizard, the whole run": lambda: timed(apply),
        "bai-wizard, the step": step,
        "the step, one environment at a time": one_at_a_time,
        "python -m venv and pip, one after the other": plain,
    }
    compare("five environments", ways, rounds, lambda: node.run(["sh", "-c", f"rm -rf {paths}"], check=True))


class Unhashed:
    """Replaces the hash computed during the download and returns the expected one."""

    wanted = ""

    def update(self, data: object) -> None:
        """Nothing."""

    def hexdigest(self) -> str:
        """What is wanted."""
        return self.wanted


def hashing(rounds: int) -> None:
    """Download once with the hash computed on the way, and once reading the file again."""
    behavior = ServerBehavior(b"\x1f\x8b" + random.Random(1).randbytes(BODY_SIZE))
    with tempfile.TemporaryDirectory() as directory, serving(behavior) as url:
        path = Path(directory) / "a.tar.gz"
        source = Source(f"{url}/a.tar.gz", behavior.sha256)
        Unhashed.wanted = behavior.sha256

        def afterwards() -> None:
            with mock.patch.object(download, "sha256", Unhashed):
                fetch(source, str(path))
            digest = sha256()
            with path.open("rb") as file:
                while data := file.read(download.CHUNK):
                    digest.update(data)
            assert digest.hexdigest() == behavior.sha256

        ways: Ways = {
            "hash while streaming": lambda: timed(lambda: fetch(source, str(path))),
            "hash afterwards": lambda: timed(afterwards),
        }
        compare("60 MB over loopback", ways, rounds, lambda: path.unlink(missing_ok=True))


def main(rounds: int) -> None:
    """Measure and print."""
    hashing(rounds)
    print()
    with running_engine() as docker:
        node = ContainerNode(docker, node_image(docker, "trixie"))
        try:
            prepare(node, newest(), venvs="")
            environments(node, rounds)
        finally:
            node.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
