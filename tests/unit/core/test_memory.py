"""Within one plan or examination each read of the node is made once; a write makes every read be made again."""

from __future__ import annotations

import inspect
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bai_wizard.answers.load import load
from bai_wizard.compose import desired_from_answers, plan, plan_by_page, probe_all
from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.machine import Machine, NodeView
from bai_wizard.core.memory import RememberingMachine
from bai_wizard.core.operation import Operation
from bai_wizard.core.page import Context
from bai_wizard.core.state import Entry, Key, Unit, unit_key
from bai_wizard.node.demo import demo_machine
from bai_wizard.node.simulated import Environment, SimulatedMachine
from bai_wizard.resources.files import WriteFile
from tests.waiting import PATIENCE

GOOD = Path("tests/fixtures/good").resolve()
# Asked each time: they change although nobody writes to the node.
FRESH = {"disruption", "space", "refusal"}
# Not reads, or made of another one.
OTHER = {
    "free_bytes",
    "apply",
    "sweep",
    "clear_caches",
    "wait_for_package_tool",
    "load_all",
    "package_tool",
    "helpers",
    "run_hook",
}
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "state": (Key("file", "/etc/hosts"),), "names": ("/etc",), "accounts": (), "groups": (), "candidate": ("bash",),
    "tree_without": ("/usr", ()), "changed_at": ("/etc/hosts",), "query": (("true",),), "in_container": (),
    "kernel_text": ("/proc/version",), "engine": ("/info",), "remote_size": ("http://a.example/",),
    "hardware": ("memory",),
}  # fmt: skip


class Counting(RememberingMachine):
    """Counts the reads that reach the machine behind it. It remembers nothing itself."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self.reads: Counter[Any] = Counter()

    def _once(self, read: Any, ask: Callable[[], Any]) -> Any:
        self.reads[read] += 1
        return ask()

    def units(self, names: Sequence[str]) -> dict[str, Unit | None]:
        self.reads.update(unit_key(name) for name in names)
        return self._machine.units(names)


def reads_of_a_machine() -> set[str]:
    """The methods that a machine has to provide: those of NodeView and Machine that read, and no derived ones."""
    abstract = {name for base in (NodeView, Machine) for name in base.__abstractmethods__}
    return {*abstract, "engine", "remote_size", "hardware", "refusal"} - {"apply", "is_root", "host"}


def test_every_read_of_a_machine_is_either_remembered_or_asked_each_time() -> None:
    assert reads_of_a_machine() == set(ARGUMENTS) | FRESH
    for name, value in vars(Machine).items():
        if inspect.isfunction(value) and not name.startswith("_"):
            assert name in ARGUMENTS or name in FRESH | OTHER, f"{name}: remembered or not?"


@pytest.mark.parametrize("name", sorted(ARGUMENTS))
def test_a_read_is_made_once_until_something_is_written(name: str) -> None:
    counting = Counting(SimulatedMachine({}, Environment()))
    machine = RememberingMachine(counting)
    outcomes = [outcome(machine, name) for _ in range(3)]
    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert set(counting.reads.values()) == {1}
    machine.apply(WriteFile("/new", b"", 0, 0, 0o644))
    outcome(machine, name)
    assert set(counting.reads.values()) == {2}


def outcome(machine: Machine, name: str) -> str:
    """The answer or the error of a read, as text."""
    try:
        return repr(getattr(machine, name)(*ARGUMENTS[name]))
    except StateUnknown as error:
        return f"{type(error).__name__}: {error}"


def test_what_was_written_is_read_back() -> None:
    machine = RememberingMachine(SimulatedMachine({}, Environment()))
    assert machine.text("/new") is None
    machine.apply(WriteFile("/new", b"one", 0, 0, 0o644))
    assert machine.text("/new") == "one"


def test_a_read_that_was_begun_before_a_write_is_not_remembered_after_it() -> None:
    begun, go_on = threading.Event(), threading.Event()

    class Slow(SimulatedMachine):
        def state(self, key: Key) -> Any:
            found = super().state(key)
            if not go_on.is_set():
                begun.set()
                go_on.wait(PATIENCE)
            return found

    machine = RememberingMachine(Slow({}, Environment()))
    early = threading.Thread(target=lambda: machine.entry("/new"))
    early.start()
    assert begun.wait(PATIENCE)
    threading.Timer(0.0, go_on.set).start()
    machine.apply(WriteFile("/new", b"one", 0, 0, 0o644))
    early.join()
    assert isinstance(machine.entry("/new"), Entry)


def test_an_operation_that_fails_is_followed_by_fresh_reads() -> None:
    class Failing(SimulatedMachine):
        def apply(self, operation: Operation, log: Any = None) -> None:
            super().apply(operation)
            raise StateUnknown("it was half done")

    machine = RememberingMachine(Failing({}, Environment()))
    assert machine.entry("/new") is None
    with pytest.raises(StateUnknown):
        machine.apply(WriteFile("/new", b"one", 0, 0, 0o644))
    assert machine.text("/new") == "one"


@pytest.mark.parametrize("demo", ["bare", "finished"])
@pytest.mark.parametrize("way", ["plan", "by page", "detect"])
def test_a_plan_makes_each_read_once(demo: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAI_PASSWORD", "correct horse")
    machine = Counting(demo_machine(demo, delay=0))
    desired = desired_from_answers(load(str(GOOD / "full.toml"), "gpu01", trusted_only=False), demo=True)
    if way == "plan":
        plan(machine, desired)
    elif way == "by page":
        list(plan_by_page(machine, desired))
    else:
        probe_all(machine, {}, Context(demo=True))
    repeated = {read: times for read, times in machine.reads.items() if times > 1}
    assert len(machine.reads) > 100
    assert repeated == {}


def test_several_units_are_asked_for_at_once_and_remembered_each() -> None:
    asked: list[tuple[str, ...]] = []

    class Asked(SimulatedMachine):
        def units(self, names: Sequence[str]) -> dict[str, Unit | None]:
            asked.append(tuple(names))
            return {name: Unit("enabled", name) for name in names}

        def state(self, key: Key) -> Any:
            asked.append((key.name,))
            return Unit("enabled", key.name)

    machine = RememberingMachine(Asked({}, Environment()))
    assert machine.unit("a.service") == Unit("enabled", "a.service")
    names = ["a.service", "b.service", "c.socket"]
    assert machine.units(names) == {name: Unit("enabled", name) for name in names}
    assert machine.unit("c.socket") == Unit("enabled", "c.socket")
    assert asked == [("a.service",), ("b.service", "c.socket")]


def test_another_source_of_packages_is_read_anew_and_the_same_one_is_not() -> None:
    counting = Counting(SimulatedMachine({}, Environment()))
    machine = RememberingMachine(counting)
    for directory, times in (("", 1), ("/srv/bundle/packages", 2), ("/srv/bundle/packages", 2), ("", 3)):
        machine.packages_from = directory
        assert machine.packages_from == counting.packages_from == directory
        machine.candidate("bash")
        assert counting.reads[("candidate", "bash")] == times
