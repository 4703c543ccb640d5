"""A plan with many kinds of operations for the tests of the engine."""

from __future__ import annotations

from bai_wizard.core.machine import NodeView
from bai_wizard.core.predicted import PredictedNode
from bai_wizard.core.state import Account, Entry, Group, Key, State, Sysctl
from bai_wizard.core.step import Plan, PlannedStep, Step, dry_run
from bai_wizard.steps.files import Directory, DropIn

STATES: dict[Key, State] = {
    Key("file", "/etc"): Entry("directory", 0, 0, 0o755),
    Key("file", "/etc/motd"): Entry("file", 0, 0, 0o600, b"before\n"),
    Key("user", "bai"): Account("bai", 1100, 1100, "", "/home/bai", "/bin/bash"),
    Key("group", "bai"): Group("bai", 1100),
    Key("sysctl", "net.core.somaxconn"): Sysctl("4096"),
}


def steps() -> tuple[Step, ...]:
    """Six steps over files and directories, two of them on one file."""
    return (
        Directory(id="storage.root", path="/vfroot"),
        Directory(id="storage.local", path="/vfroot/local", owner="bai"),
        DropIn(id="node.motd", path="/etc/motd", text="first\n", why="greeting", mode=0o644),
        DropIn(id="node.motd-again", path="/etc/motd", text="first\nsecond\n", why="greeting", mode=0o644),
        DropIn(id="tuning.drop-in", path="/etc/new.conf", text="a = 1\n", why="tuning"),
        DropIn(id="tuning.other", path="/etc/other.conf", text="b = 2\n", why="tuning", mode=0o600),
    )


def plan_of(view: NodeView, wanted: tuple[Step, ...]) -> Plan:
    """Plans like the planner does, without pages."""
    predicted = PredictedNode(view)
    return Plan("test", tuple(PlannedStep(step, dry_run(step, predicted)) for step in wanted))
