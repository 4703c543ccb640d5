"""Who runs what when several processes share the tests: all machines in one queue, each node test for itself.

Node tests wait for services, mirrors and deadlines more than they compute. `./test --all` therefore has one process
more than this machine has cores; it begins with the node tests, the longest first, while the others compute.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController  # type: ignore[import-untyped]

MACHINES = "tests/vm"
# Files that take several minutes: started late, one of them would run alone at the end.
LONGEST = (
    MACHINES, "test_eight_pages.py", "test_ubuntu.py", "test_kills.py", "test_python_pyenv.py", "test_drifts.py",
    "test_doctor_seeded_failures.py",
)  # fmt: skip


def first_of_nodes(queues: Iterable[str]) -> str | None:
    """Return the next queue of the additional process; None if only CPU-bound tests are left."""
    nodes = [queue for queue in queues if queue == MACHINES or queue.startswith("tests/node/")]
    longest = (queue for name in LONGEST for queue in nodes if name in queue)
    return next(longest, nodes[0] if nodes else None)


class Queues(LoadScopeScheduling):  # type: ignore[misc]
    """Tests of one queue run in one process, one after the other; the longest queue is taken first."""

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(f"{MACHINES}/"):
            return MACHINES
        if nodeid.startswith("tests/node/"):
            return nodeid
        return nodeid.partition("::")[0]

    def _assign_work_unit(self, node: WorkerController) -> None:
        if _is_additional(node.gateway.id) and (queue := first_of_nodes(self.workqueue)):
            self.workqueue.move_to_end(queue, last=False)
        super()._assign_work_unit(node)

    def _reschedule(self, node: WorkerController) -> None:
        """A process needs to know one test beyond the one that it runs; more would wait while another is idle."""
        if not self.workqueue or self._pending_of(self.assigned_work[node]) <= 1:
            super()._reschedule(node)


def _is_additional(worker: Any) -> bool:
    """Whether a worker (`gw2`) is one more than there are cores."""
    return int(str(worker).removeprefix("gw")) >= (os.cpu_count() or 1)
