"""Pulls of a set of images: ours at three at once, against docker pull and docker compose pull; and our CPU.

`python -m tests.bench.images_speed [ROUNDS]` prints the tables of RESULTS.md. The network between node and registry
is shaped: RATE bytes a second over all connections, LATENCY seconds before every answer. Each round begins with an
engine without images; the ways take turns.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench.pull_cpu import cpu_share
from tests.node.container import ContainerNode
from tests.node.docker_answers import apply, done, gateway, put
from tests.node.engine import running_engine
from tests.node.images import node_image
from tests.node.registry import make_image, running_registry
from tests.node.registry_proxy import Weather, bad_network

RATE = 12_000_000
LATENCY = 0.15
IMAGES, LAYERS, LAYER_BYTES = 6, 4, 1_500_000


def main(rounds: int) -> None:
    """Measure and print."""
    with running_engine() as docker:
        node = ContainerNode(docker, node_image(docker, "trixie-docker"))
        try:
            node.run(["apt-get", "install", "-y", "-q", "docker-compose"], check=True, timeout=300)
            node.run(["systemctl", "start", "docker"], check=True)
            with (
                tempfile.TemporaryDirectory() as directory,
                running_registry(Path(directory), gateway(node)) as registry,
            ):
                for number in range(IMAGES):
                    registry.push(f"set/one{number}", "1", make_image([LAYER_BYTES] * LAYERS, seed=number))
                weather = Weather(rate=RATE, latency=LATENCY)
                with bad_network(registry.port, weather) as port:
                    _compare(node, f"{gateway(node)}:{port}", rounds)
        finally:
            node.close()
    share, events = cpu_share(images=3, layers=3, seconds=10.0)
    print(f"\nCPU while streaming {events:.0f} events a second: {share * 100:.1f} % of one core")


def _compare(node: ContainerNode, host: str, rounds: int) -> None:
    references = [f"{host}/set/one{number}:1" for number in range(IMAGES)]
    listed = ", ".join(f'"{reference}"' for reference in references)
    put(
        node,
        f'[docker]\nsource = "keep"\nhold = false\ninsecure_registries = ["{host}"]\n',
        f'[images]\nstarter = "none"\nparallel = 3\npull = [{listed}]\n',
    )
    services = "".join(f"  s{number}: {{image: '{reference}'}}\n" for number, reference in enumerate(references))
    node.write("/root/compose/compose.yml", f"services:\n{services}")
    done(apply(node))

    def ours() -> float:
        events = [json.loads(line) for line in done(apply(node, "--json")).splitlines() if line.startswith("{")]
        times = [_seconds(event["t"]) for event in events if event.get("step") == "images.pull" and "t" in event]
        return max(times) - min(times)

    ways: dict[str, Callable[[], float]] = {
        "bai-wizard, parallel = 3 (the step)": ours,
        "docker pull, one after the other": lambda: _timed(
            node, ["sh", "-c", " && ".join(f"docker pull -q {reference}" for reference in references)]
        ),
        "docker compose pull": lambda: _timed(
            node, ["docker", "compose", "-f", "/root/compose/compose.yml", "pull", "-q"]
        ),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            node.run(["sh", "-c", "docker rmi -f $(docker images -q) >/dev/null"], check=True)
            taken[name].append(way())
    print("| way | seconds, median | min..max |\n| --- | --- | --- |")
    for name, seconds in taken.items():
        print(f"| {name} | {statistics.median(seconds):.2f} | {min(seconds):.2f}..{max(seconds):.2f} |")


def _timed(node: ContainerNode, argv: list[str]) -> float:
    begun = time.monotonic()
    node.run(argv, check=True, timeout=600)
    return time.monotonic() - begun


def _seconds(stamp: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(stamp).timestamp()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
