"""The scope guard: every kind of step stays within its declared keys."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import pytest
from msgspec import Struct
from msgspec.structs import fields

from bai_wizard.core.errors import KnownAfterApply
from bai_wizard.core.machine import NodeView
from bai_wizard.core.operation import Below, Change, Missing, Operation, Scope, admits
from bai_wizard.core.secret import Secret
from bai_wizard.core.state import Entry, Key, State, Sysctl
from bai_wizard.core.step import Pending, Plan, PlannedStep, Step
from bai_wizard.engine.events import EventLog
from bai_wizard.engine.executor import Executor, refuse_change
from bai_wizard.engine.journal import Backups, Journal
from bai_wizard.engine.result import Result
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.resources.commands import RunCommand
from bai_wizard.resources.files import MakeDirectory, WriteFile
from bai_wizard.resources.packages import InstallPackages, RefreshPackages
from bai_wizard.resources.sysctl import SetSysctl
from bai_wizard.steps import load_all

load_all()

# These kinds only look: whatever they did would be outside.
LOOKING = {
    "client-volume",
    "directory-account",
    "left-alone",
    "left-volume",
    "refusal",
    "version-says",
    "volume-check",
}
PATHS = ("file", "tree", "immutable", "mount", "interpreter", "venv", "download")
OUTSIDE = [
    Key("file", "/etc/shadow"),
    Key("file", "/"),
    Key("file", "/etc"),
    Key("file", "/root/.ssh/authorized_keys"),
    Key("user", "root"),
    Key("password", "root"),
    Key("member", "sudo:mallory"),
    Key("package", "bash"),
    Key("sysctl", "kernel.core_pattern"),
    Key("unit", "ssh.service"),
    Key("restart", "ssh.service"),
    Key("mount", "/"),
    Key("image", "mallory/miner:latest"),
    Key("command", "sh -c id"),
    Key("command", ""),
    Key("immutable", "/"),
    Key("tree", "/"),
    Key("library", "libc"),
]
PENDING = Pending((), "docker.packages")


def sample(cls: type) -> Any:
    """An instance of a step, or of a part of one, with plain values for its required fields."""
    hints = typing.get_type_hints(cls)
    required = [f for f in fields(cls) if f.required or f.name == "home"]
    return cls(**{field.name: _value(hints[field.name], field.name) for field in required})


def _value(hint: Any, name: str) -> Any:
    if typing.get_origin(hint) is tuple:
        return tuple(_value(part, name) for part in typing.get_args(hint) if part is not Ellipsis)
    if typing.get_origin(hint) is typing.Literal:
        return typing.get_args(hint)[0]
    if hint is Secret:
        return Secret("x")
    if isinstance(hint, type) and issubclass(hint, Struct):
        return sample(hint)
    if hint is str:
        return {"id": "page.step", "wanted": "{}", "requirements": "setuptools"}.get(name, f"/srv/sample/{name}")
    return {int: 7, bool: False}[hint]


def kinds() -> list[type[Step]]:
    return [kind for name, kind in sorted(Step.kinds.items()) if kind.__module__.startswith("bai_wizard.")]


def change_of(key: Key, verb: Any = "modify") -> Change:
    """Its text says the least helpful thing: that of a change that is allowed."""
    return Change(key.name, verb, key=key)


def neighbors(item: Scope) -> Iterator[tuple[Key, bool]]:
    """Keys that are not the declared one, with whether they would be created."""
    key = item.key if isinstance(item, Below | Missing) else item
    yield key._replace(kind="other"), True
    yield key._replace(name=f"{key.name}.allow"), True
    yield key._replace(name=f"{key.name} x"), True
    yield key._replace(name=f"x{key.name}"), True
    yield key._replace(name=key.name[:-1]), True
    yield key._replace(name=""), True
    yield key._replace(name=f"{key.name}/../../../../../../etc/shadow"), True
    if key.kind in PATHS and not isinstance(item, Below):
        yield key._replace(name=f"{key.name}/below"), True
    if isinstance(item, Missing):
        yield key, False


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.kind)
def test_every_kind_changes_only_its_declared_scope(kind: type[Step]) -> None:
    step = sample(kind)
    scope = step.scope()
    assert bool(scope) == (kind.kind not in LOOKING)
    for item in scope:
        key = item.key if isinstance(item, Below | Missing) else item
        assert refuse_change(step, PENDING, Pending((change_of(key, "create"),))) == ""
        if isinstance(item, Below):
            assert refuse_change(step, PENDING, Pending((change_of(Key(key.kind, f"{key.name}/a/b")),))) == ""
        for other, creates in neighbors(item):
            change = change_of(other, "create" if creates else "modify")
            if not admits(tuple(each for each in scope if each != item), other, creates=creates):
                assert refuse_change(step, PENDING, Pending((change,))), (item, other)
    for key in OUTSIDE:
        for verb in ("create", "modify", "remove", "run"):
            if verb == "create" and admits(scope, key, creates=True) and not admits(scope, key):
                assert Missing(key) in scope, "a missing parent directory"
                continue
            assert refuse_change(step, PENDING, Pending((change_of(key, verb),))), key
        assert refuse_change(step, PENDING, Pending((Change(str(step.scope()), "run"),))), "a change without a key"


STATES: dict[Key, State] = {
    Key("file", "/etc"): Entry("directory", 0, 0, 0o755),
    Key("file", "/etc/shadow"): Entry("file", 0, 42, 0o640, b"root:*:::::::\n"),
    Key("sysctl", "kernel.core_pattern"): Sysctl("core"),
}
OPERATIONS: list[Operation] = [
    WriteFile("/etc/shadow", b"root::::::::\n"),
    WriteFile("/etc/hosts.allow", b"ALL: ALL\n"),
    MakeDirectory("/etc", mode=0o777),
    RunCommand(("sh", "-c", "id"), "rebuild the system's list of trusted certificates"),
    RunCommand(("true",), "x", touches=("/etc/shadow",)),
    SetSysctl("kernel.core_pattern", "|/bin/sh"),
    InstallPackages(("mallory",), ("1",)),
]


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.kind)
def test_every_kind_is_stopped_before_an_operation_outside_its_scope(
    kind: type[Step], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the plan said nothing, and where only `apply` goes astray."""
    step = sample(kind)
    for operation in OPERATIONS:
        for is_predicted in (True, False):
            machine = SimulatedMachine(STATES)
            seen = [operation] if is_predicted else []

            def operations(_step: Step, _view: NodeView, seen: list[Operation] = seen) -> Iterator[Operation]:
                yield from seen
                if not seen:
                    raise KnownAfterApply("docker.packages")

            def apply(_step: Step, node: Any, operation: Operation = operation) -> None:
                node.do(operation)

            monkeypatch.setattr(kind, "operations", operations)
            monkeypatch.setattr(kind, "apply", apply)
            result = _run(tmp_path, machine, PlannedStep(step, PENDING))
            assert result.steps[0].outcome == "failed", operation
            assert "scope" in result.steps[0].text
            assert machine.performed == []


def _run(root: Path, machine: SimulatedMachine, *planned: PlannedStep) -> Result:
    journal = Journal(root / "journal.jsonl", Backups(root))
    with closing(journal), closing(EventLog(root / "events.jsonl", "test")) as event_log:
        return Executor(machine, journal, event_log).run(Plan("test", planned))


class Listed(Step, frozen=True, kw_only=True):
    """Does what it is told to, within /srv/data."""

    kind: ClassVar[str] = "test-listed"
    listed: tuple[Any, ...] = ()

    def describe(self) -> str:
        return "/etc/shadow package lists run"

    def scope(self) -> tuple[Scope, ...]:
        return (Below(Key("file", "/srv/data/")), Missing(Key("file", "/srv")), Key("package-lists", "apt"))

    def operations(self, view: NodeView) -> Iterator[Operation]:
        yield from self.listed


@pytest.mark.parametrize(
    ("key", "creates", "inside"),
    [
        (Key("file", "/srv/data"), False, True),
        (Key("file", "/srv/data/a/b"), False, True),
        (Key("file", "//srv//data/./a"), False, True),
        (Key("file", "/srv/data/"), False, True),
        (Key("file", "/srv/database"), False, False),
        (Key("file", "/srv/data.bak"), False, False),
        (Key("file", "/srv/data/../shadow"), False, False),
        (Key("file", "srv/data/a"), False, False),
        (Key("file", "/srv/data/\0a"), False, False),
        (Key("file", "/srv"), True, True),
        (Key("file", "/srv"), False, False),
        (Key("file", "/"), True, False),
        (Key("tree", "/srv/data/a"), True, False),
        (Key("package-lists", "apt"), True, True),
        (Key("package-lists", ""), True, False),
        (Key("package", "apt"), True, False),
    ],
)
def test_containment(key: Key, *, creates: bool, inside: bool) -> None:
    assert admits(Listed(id="a.b").scope(), key, creates=creates) is inside


def test_changes_inside_the_scope_are_applied() -> None:
    inside = RefreshPackages("a package is not offered yet")
    step = Listed(id="a.b", listed=(inside,))
    assert all(admits(step.scope(), key) for key in inside.touched(dict.fromkeys(inside.keys())))


def test_a_change_that_was_shown_is_admitted_by_an_older_plan_only_as_it_was_shown() -> None:
    """Version 0.1.0 wrote changes without keys."""
    shown = Change("/etc/hosts", "modify", "a", "b")
    step = Listed(id="a.b")
    assert refuse_change(step, Pending((shown,), "x.y"), Pending((shown,))) == ""
    assert refuse_change(step, Pending((shown,)), Pending((Change("/etc/hosts", "modify", "a", "c"),)))
    assert refuse_change(step, Pending((shown,)), Pending((change_of(Key("file", "/etc/hosts")),)))
