"""Who runs what when several processes share the tests: all machines in one queue, each node test for itself."""

from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]


class Queues(LoadScopeScheduling):  # type: ignore[misc]
    """Tests of one queue run in one process, one after the other; the longest queue is taken first."""

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith("tests/vm/"):
            return "tests/vm"
        if nodeid.startswith("tests/node/"):
            return nodeid
        return nodeid.partition("::")[0]
