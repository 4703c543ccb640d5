"""Kills at chosen moments, and an attempt of a run that is killed."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tests.node.container import ContainerNode
from tests.node.eight_pages import RUNS
from tests.sampling import is_soak, seed

KILLER = Path(__file__).with_name("kill_at.py")
# unit: the executor with everything in its unit; node: the whole node, which is started again.
Target = Literal["unit", "apt-get", "dpkg", "node"]
AIMED = (
    "node.trust", "account.user", "account.home", "docker.config", "docker.packages", "docker.users",
    "tuning.sysctl-file", "tuning.restart", "python.interpreter", "python.venvs", "aliases.hosts",
    "storage.bound.mount", "images.archives", "images.pull",
)  # fmt: skip
# Milliseconds between the condition and the kill.
DELAYS = (0, 20, 100, 300, 800, 2000)


@dataclass(frozen=True)
class Kill:
    """What to kill and when: see kill_at.py."""

    target: Target
    moment: dict[str, Any]

    def __str__(self) -> str:
        words = [str(value) for value in self.moment.values()]
        return f"{self.target}@{'+'.join(words)}"


@dataclass(frozen=True)
class Case:
    """Kills on one node: one per attempt to apply, then one per attempt to undo.

    `then`: how a killed run continues: `resume`, or the same answers in a new run.
    """

    applying: tuple[Kill, ...] = ()
    undoing: tuple[Kill, ...] = ()
    then: Literal["resume", "again"] = "resume"

    def __str__(self) -> str:
        words = [*map(str, self.applying), *(f"undo:{kill}" for kill in self.undoing)]
        return ",".join([*words, self.then])


@dataclass
class Attempt:
    """How a killed command ended. `code` is None if the node was killed too."""

    code: int | None
    out: str
    killed: str = field(default="")


def attempt(node: ContainerNode, words: Sequence[str], kill: Kill) -> Attempt:
    """Run the wizard and kill at the moment. Fail if nothing was killed."""
    node.write("/root/kill_at.py", KILLER.read_bytes())
    node.run(["rm", "-f", "/root/killed", "/root/killer", "/root/out", "/root/code"], check=True)
    watch = f"python3 -I /root/kill_at.py {kill.target} '{json.dumps(kill.moment)}' >/root/killed 2>&1"
    node.run(["sh", "-c", f"{watch}; echo $? >/root/killer"], detach=True)
    node.wait_for(lambda: b"watching" in node.read_or_empty("/root/killed"), 60, "the watcher")
    node.run(["sh", "-c", f"bai-wizard {' '.join(words)} >/root/out 2>&1; echo $? >/root/code"], detach=True)
    node.wait_for(lambda: node.read_or_empty("/root/killer") or _is_over(node), 1260, f"the moment of {kill}")
    if not node.read_or_empty("/root/killer"):
        node.wait_for(
            lambda: node.read_or_empty("/root/killer"), 30, f"{kill}, for the command has ended: {_said(node)}"
        )
    message = node.read_or_empty("/root/killed").decode()
    code = None
    if kill.target == "node":
        node.power_cut()
        own_hosts_file_again(node)
    else:
        node.wait_for(lambda: node.read_or_empty("/root/code"), 600, f"the end of {words} after {kill}")
        code = int(node.read_or_empty("/root/code"))
    out = _said(node)
    assert node.read_or_empty("/root/killer") == b"0\n", f"{kill}: {message}{out[-3000:]}"
    assert "Traceback" not in out, out[-4000:]
    node.run(["rm", "-f", "/root/kill_at.py", "/root/killed", "/root/killer", "/root/out", "/root/code"], check=True)
    print(f"{kill}: {message.split(chr(10), 1)[1].strip()}; code {code}")
    return Attempt(code, out, message)


def of_undo(node: ContainerNode, run: str, kill: Kill) -> Kill:
    """The kill with its moment as a record of the undo's journal: the fraction `undone` of the run's changes."""
    lines = node.read(f"{RUNS}/{run}/journal.jsonl").decode().splitlines()
    changes = sum(1 for line in lines if json.loads(line)["what"] == "done")
    # Each change is two records of the undo; packages are none, and restarts are repeated once only.
    records = max(1, int(kill.moment["undone"] * 1.4 * changes))
    # At least one change must be left when the delay is over: an undo of two images ends sooner than that.
    return Kill(kill.target, {"records": records, "last": 2 * changes - 1, "delay": kill.moment["delay"]})


def own_hosts_file_again(node: ContainerNode) -> None:
    """After a power cut Docker mounts its own /etc/hosts over the node's again."""
    node.run(["umount", "/etc/hosts"], check=True)


def cases() -> list[Case]:
    """Twelve kills of four nodes; in a soak run sixty kills of a node each. Drawn by the printed seed."""
    chance = random.Random(f"{seed()}:kills")

    def somewhere(target: Target) -> Kill:
        # Not in the last steps: the run must not have ended when the delay is over.
        return Kill(target, {"step": round(chance.uniform(0, 0.9), 3), "delay": chance.choice(DELAYS)})

    def aimed(target: Target, step: str) -> Kill:
        return Kill(target, {"step": step, "delay": chance.choice(DELAYS)})

    def working(target: Target, program: str) -> Kill:
        return Kill(target, {"program": program, "delay": chance.choice(DELAYS[:5])})

    def undoing(target: Target) -> Kill:
        return Kill(target, {"undone": round(chance.uniform(0, 0.9), 3), "delay": chance.choice(DELAYS[:4])})

    def how() -> Literal["resume", "again"]:
        return chance.choice(("resume", "again"))

    if not is_soak():
        return [
            Case((working("unit", "dpkg"), somewhere("node")), (undoing("unit"),)),
            Case((working("dpkg", "dpkg"), somewhere("unit")), (undoing("node"),)),
            Case(
                (working("apt-get", "apt-get"), aimed("unit", chance.choice(AIMED[8:]))), (undoing("unit"),), "again"
            ),
            Case((working("node", "dpkg"), somewhere("unit")), (undoing("unit"),)),
        ]
    return [
        *(Case((somewhere("unit"),), then=how()) for _ in range(14)),
        *(Case((aimed("unit", step),), then=how()) for step in AIMED),
        *(Case((working("unit", "dpkg"),), then=how()) for _ in range(5)),
        *(Case((working("unit", "apt-get"),), then=how()) for _ in range(2)),
        *(Case((working("dpkg", "dpkg"),), then=how()) for _ in range(5)),
        *(Case((working("apt-get", "apt-get"),), then=how()) for _ in range(3)),
        *(Case((somewhere("node"),), then=how()) for _ in range(4)),
        Case((working("node", "dpkg"),), then=how()),
        Case((working("node", "apt-get"),), then=how()),
        *(Case((), (undoing("unit"),)) for _ in range(8)),
        *(Case((), (undoing("node"),)) for _ in range(3)),
    ]


def _is_over(node: ContainerNode) -> bool:
    return bool(node.read_or_empty("/root/code"))


def _said(node: ContainerNode) -> str:
    return node.read_or_empty("/root/out").decode(errors="replace")
