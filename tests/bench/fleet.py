"""Many nodes at once: the wizard as one Ansible task, the same job as native tasks, and a loop over ssh.

nice python -m tests.bench.fleet [NODES] [ROUNDS] [FORKS]     prints a Markdown table; needs what the node tests need
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.bench.converged import FILES
from tests.integrations.ansible import OPTIONS, Fleet, ansible
from tests.node.container import ContainerNode
from tests.node.engine import running_engine
from tests.node.images import node_image
from tests.node.reference_answers import ANSWERS, prepare

SITE = Path(__file__).parent / "peers/site.yml"


def native(fleet: Fleet) -> str:
    """The peers' playbook for all nodes, with what the wizard left on the first of them."""
    files = fleet.directory / "files"
    files.mkdir()
    node = fleet.nodes[0]
    for path, name in FILES.items():
        (files / name).write_bytes(node.read(path))
    lines = [line for line in node.read("/etc/hosts").decode().splitlines() if line.startswith("10.20.30.")]
    (files / "hosts").write_text("\n".join(lines) + "\n")
    text = SITE.read_text().replace("hosts: localhost", "hosts: all").replace("  connection: local\n", "")
    # Every node has its own salt; the account's password is left as it is.
    return text.replace(
        """shell: /bin/bash,
              password: "{{ lookup('file', 'files/hash') }}" }""",
        "shell: /bin/bash }",
    )


def over_ssh(fleet: Fleet, at_once: int) -> None:
    """The README's one-liner, so many at a time; the connections are shared and already open after the first."""

    def one(node: ContainerNode) -> None:
        options = [*OPTIONS.split(), "-o", f"ControlPath={fleet.directory}/cp/%C", "-i", f"{fleet.directory}/key"]
        argv = ["ssh", *options, f"root@{node.ssh_address()[0]}", "bai-wizard", "--headless", "-"]
        done = subprocess.run(argv, input=ANSWERS.encode(), capture_output=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr.decode()

    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(one, fleet.nodes))


def timed(act: Callable[[], object]) -> float:
    """Return wall-clock seconds."""
    begun = time.monotonic()
    act()
    return time.monotonic() - begun


def play(fleet: Fleet, playbook: str, *words: str, changed: int = 0) -> None:
    """A play that must end well on every node, with so many changed tasks on each."""
    played = fleet.play(playbook, *words, timeout=1200)
    assert played.rc == 0, played.text[-3000:]
    assert set(played.changed().values()) == {changed}, played.changed()


def measure(fleet: Fleet, rounds: int, forks: int) -> list[tuple[str, list[float]]]:
    """Each way's seconds: first from bare nodes, then in turn on nodes where nothing is left to do."""
    (fleet.directory / "answers.toml").write_text(ANSWERS)
    (fleet.directory / "cp").mkdir(exist_ok=True)
    words = ("-e", f"bai_wizard_answers_file={fleet.directory}/answers.toml", "--forks", str(forks))
    first = timed(lambda: play(fleet, "bai.wizard.prepare", *words, changed=1))
    site = native(fleet)
    ways: dict[str, Callable[[], object]] = {
        "one wrapped task, nothing to do": lambda: play(fleet, "bai.wizard.prepare", *words),
        "native tasks, nothing to do": lambda: play(fleet, site, "--forks", str(forks)),
        "ssh, one node after the other": lambda: over_ssh(fleet, 1),
        f"ssh, {forks} at once": lambda: over_ssh(fleet, forks),
    }
    took: dict[str, list[float]] = {name: [] for name in ways}
    # The native tasks' first play may still correct small things that only they look at.
    fleet.play(site, "--forks", str(forks), timeout=1200)
    for _ in range(rounds):
        for name, act in ways.items():
            took[name].append(timed(act))
    return [("one wrapped task, bare nodes", [first]), *took.items()]


def main() -> None:
    number, rounds, forks = (int(word) for word in [*sys.argv[1:], *("20", "3", "4")[len(sys.argv) - 1 :]])
    nodes: list[ContainerNode] = []
    with tempfile.TemporaryDirectory(prefix="fleet-") as name, running_engine() as docker:
        try:
            image = node_image(docker, "trixie")
            for _ in range(number):
                nodes.append(ContainerNode(docker, image))
                nodes[-1].own_hosts_file()
                prepare(nodes[-1])
            print(f"{number} nodes, forks = {forks}, {rounds} rounds\n")
            print("| way | seconds, median | min..max | a node |\n| --- | --- | --- | --- |")
            for way, took in measure(Fleet(Path(name), nodes, ansible()), rounds, forks):
                middle = statistics.median(took)
                print(
                    f"| {way} | {middle:.1f} | {min(took):.1f}..{max(took):.1f} | {middle / number:.2f} |", flush=True
                )
        finally:
            for node in nodes:
                node.close()


if __name__ == "__main__":
    main()
