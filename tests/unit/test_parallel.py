"""Distribution of the tests: each exactly once, virtual machines in one process, long node tests first."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

pytest.importorskip("xdist")

from tests.parallel import MACHINES, Queues

UNITS = [f"tests/unit/test_{name}.py::test_{number}" for name in "abc" for number in range(9)]
NODES = [f"tests/node/test_{name}.py::test_it[{case}]" for name in ("account", "kills", "spine") for case in "xy"]
VMS = [f"{MACHINES}/test_{name}.py::test_{number}" for name in "de" for number in range(2)]
COLLECTED = [*VMS, *NODES, *UNITS]

CORES = 2


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.parallel.os.cpu_count", lambda: CORES)


@dataclass(eq=False)
class Worker:
    """Takes tests like a worker of xdist: it runs one as soon as it knows the next, or that it was the last."""

    gateway: SimpleNamespace
    shutting_down: bool = False
    waiting: list[int] = field(default_factory=list)
    done: list[int] = field(default_factory=list)

    def send_runtest_some(self, indices: list[int]) -> None:
        self.waiting += indices

    def shutdown(self) -> None:
        self.shutting_down = True

    def can_run(self) -> bool:
        return len(self.waiting) > (0 if self.shutting_down else 1)


def shared_out(count: int, collected: list[str]) -> list[list[str]]:
    """What each of so many workers runs, in order, where every test takes as long as the others."""
    config = SimpleNamespace(
        getvalue=lambda _: ["popen"] * count, option=SimpleNamespace(loadscopereorder=True, tx=["popen"] * count)
    )
    queues = Queues(config)
    workers = [Worker(SimpleNamespace(id=f"gw{number}")) for number in range(count)]
    for worker in workers:
        queues.add_node(worker)
    for worker in workers:
        queues.add_node_collection(worker, collected)
    queues.schedule()
    while any(worker.can_run() for worker in workers):
        for worker in (worker for worker in workers if worker.can_run()):
            index = worker.waiting.pop(0)
            worker.done.append(index)
            queues.mark_test_complete(worker, index)
            assert sum(collected[index] in NODES for index in worker.waiting) <= 2, "one that another could run"
    assert not any(worker.waiting for worker in workers), "a worker waits for a test that does not come"
    return [[collected[index] for index in worker.done] for worker in workers]


def queue_of(test: str) -> str:
    return test.partition("::")[0]


@pytest.mark.parametrize("additional", [0, 1, 2])
def test_every_test_runs_once_and_machines_in_one_process(additional: int) -> None:
    done = shared_out(CORES + additional, COLLECTED)
    assert sorted(test for tests in done for test in tests) == sorted(COLLECTED)
    assert sum(any(test in VMS for test in tests) for tests in done) == 1


def test_the_additional_process_starts_with_the_longest_tests() -> None:
    *others, additional = shared_out(CORES + 1, COLLECTED)
    assert additional[: len(VMS)] == VMS
    assert [queue_of(test) for test in additional[len(VMS) :]][:2] == ["tests/node/test_kills.py"] * 2
    assert all(tests[0] in UNITS for tests in others if tests)


def test_the_additional_process_computes_where_no_node_is_left() -> None:
    done = shared_out(CORES + 1, UNITS)
    assert sorted(test for tests in done for test in tests) == sorted(UNITS)
