"""Makes `data/demo/finished.toml`: carries the default pages out on the bare demo node and writes down what changed.

Run it again when pages change: python -m tests.tools.finished_demo
"""

from __future__ import annotations

import tempfile
import tomllib
from pathlib import Path
from typing import Any

import tomlkit

from bai_wizard import compose
from bai_wizard.answers.load import load
from bai_wizard.core.plan import Plan
from bai_wizard.core.state import (
    Account,
    Download,
    Entry,
    Group,
    Image,
    Interpreter,
    Key,
    Library,
    Package,
    Password,
    State,
    Sysctl,
    Tree,
    Unit,
    Venv,
)
from bai_wizard.engine.run.directory import create_run
from bai_wizard.engine.run.execute import execute
from bai_wizard.engine.run.places import Places
from bai_wizard.exits import ExitCode
from bai_wizard.machine.demo import demo_machine
from bai_wizard.machine.simulated import SimulatedMachine

TARGET = Path(__file__).parents[2] / "bai_wizard/data/demo/finished.toml"
HEAD = """\
# The bare node after the wizard: made by tests/tools/finished_demo.py, not by hand.
"""
ANSWERS = """
version = 1
[node]
roles = ["compute"]
backend_ai = "26.4"
[account]
password_hash = "$y$j9T$9V0BuHKzCAYCsN0kZkZ4N/$8kEZl2oIsbT5hRtTD1Y4AuYt1gPN8WyLkCt9dWJkPq6"
[docker]
[tuning]
[python]
[aliases]
own_name = "move"
hosts = [ { ip = "10.20.30.10", names = ["bai-m1"], comment = "management node 01" } ]
[storage]
volumes = [ { name = "local", type = "local" } ]
[accelerators.nvidia]
[images]
"""
SORTS: dict[type, str] = {
    Account: "users",
    Group: "groups",
    Package: "packages",
    Unit: "units",
    Sysctl: "sysctl",
    Tree: "trees",
    Interpreter: "interpreters",
    Venv: "venvs",
    Download: "downloads",
}


def finish(machine: SimulatedMachine) -> None:
    """Carries the answers out. Raises AssertionError where a step fails or something is left to do."""
    with tempfile.TemporaryDirectory() as directory:
        answers = Path(directory, "answers.toml")
        answers.write_text(ANSWERS)
        wish = compose.wish_of(load(str(answers), machine.host))
        plan = compose.plan(machine, wish)
        assert not plan.blocked(), [getattr(item.verdict, "reason", "") for item in plan.blocked()]
        places = Places(Path(directory))
        result = execute(places, create_run(places, plan, {}), plan.digest(), machine)
        assert result.code() is ExitCode.OK, [step for step in result.steps if step.outcome == "failed"]
        again: Plan = compose.plan(machine, wish)
        assert again.is_empty(), [item.step.id for item in again.pending()]


def describe(key: Key, state: State, states: dict[Key, State]) -> tuple[str, str, Any]:
    """Table, name and value of one state, as `machine/demo.py` reads them."""
    if isinstance(state, Entry):
        owner: dict[str, Any] = {"uid": state.uid, "gid": state.gid, "mode": f"{state.mode:04o}"}
        if state.type == "link":
            return "links", key.name, state.target
        if state.type == "directory":
            return "directories", key.name, owner
        text = state.text()
        assert text is not None, f"{key} is no text"
        return "files", key.name, {"content": text, **owner}
    if isinstance(state, Account):
        password = states[Key("password", key.name)]
        assert isinstance(password, Password)
        ids = {"uid": state.uid, "gid": state.gid, "home": state.home, "shell": state.shell}
        return "users", key.name, {**ids, "comment": state.comment, "password": password.hash.reveal()}
    if isinstance(state, Group):
        members = [other.name.partition(":")[2] for other in states if other.name.startswith(f"{key.name}:")]
        return "groups", key.name, {"gid": state.gid, "members": members}
    if isinstance(state, Package):
        if key.sort == "distribution":
            return "distributions", key.name, state.version
        return "packages", key.name, {"version": state.version, "held": state.held}
    if isinstance(state, Unit):
        return "units", key.name, {"enabled": state.enabled, "active": state.active}
    if isinstance(state, Image):
        return "images", key.name, {"id": state.id, "size": state.size}
    if isinstance(state, Library):
        return "libraries", key.name, {"version": state.version, "said": state.said}
    if isinstance(state, Venv):
        return "venvs", key.name, {"version": state.version, "home": state.home}
    plain = {Sysctl: "value", Tree: "digest", Interpreter: "version", Download: "sha256"}
    return SORTS[type(state)], key.name, getattr(state, plain[type(state)])


def main() -> None:
    machine = demo_machine("bare", delay=0)
    before = machine.snapshot()
    finish(machine)
    after = machine.snapshot()
    changed = {key for key in after if before.get(key) != after[key]}
    # A member or a password is written with its group or user.
    changed |= {Key("group", key.name.partition(":")[0]) for key in changed if key.sort == "member"}
    changed |= {Key("user", key.name) for key in changed if key.sort == "password"}
    answers = {name: table for name, table in tomllib.loads(ANSWERS).items() if name != "version"}
    document: dict[str, Any] = {"extends": "bare", "node": {"host": "gpu01"}, "answers": answers}
    for key in sorted(changed):
        if key.sort not in ("member", "password"):
            table, name, value = describe(key, after[key], after)
            document.setdefault(table, {})[name] = value
    # What Docker does by itself when it starts, and with the toolkit registered.
    document["sysctl"]["net.ipv4.ip_forward"] = "1"
    document["engine"] = {"/info": {"Runtimes": {"nvidia": {}, "runc": {}}}}
    removed = [key for key in before if key not in after]
    assert not removed, f"the format cannot take away: {removed}"
    TARGET.write_text(HEAD + tomlkit.dumps(document))


if __name__ == "__main__":
    main()
