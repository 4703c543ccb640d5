"""Runs a command line of the wizard in this process and prints what it cost, as one JSON object on standard error.

Times depend on the machine and on what else it does; these counts do not: processes forked and programs started, by
the main process and by its children, reads of the node, and modules. Standard library only, for use on a node:

    python3 -I counts.py [ARGUMENT...]
"""

import json
import os
import sys
import tempfile
from collections import Counter
from typing import Any

EVENTS = {"os.fork": "forks", "subprocess.Popen": "programs", "os.posix_spawn": "programs"}


def count(words: list[str]) -> dict[str, Any]:
    """Run the command line and return its counts."""
    main = os.getpid()
    reads: Counter[str] = Counter()
    with tempfile.TemporaryFile() as log:

        def note(event: str, arguments: tuple[Any, ...]) -> None:
            if event in EVENTS:
                who = "" if os.getpid() == main else "children's "
                what = repr(arguments[1]) if EVENTS[event] == "programs" else ""
                os.write(log.fileno(), json.dumps([who + EVENTS[event], what]).encode() + b"\n")

        sys.addaudithook(note)
        from bai_wizard.cli import main as run

        if words != ["--version"]:  # it imports nothing of the machine
            from bai_wizard.core.machine import Machine

            _count_reads(Machine, reads)
        code = run(words)
        log.seek(0)
        events = [json.loads(line) for line in log]
    totals = Counter(what for what, _ in events)
    return {
        "code": code,
        **{f"{who}{what}": totals[f"{who}{what}"] for who in ("", "children's ") for what in ("forks", "programs")},
        "reads": sum(reads.values()),
        "repeated reads": sum(times - 1 for times in reads.values()),
        "modules": sorted(sys.modules),
        "started": [what for _, what in events if what],
    }


def _count_reads(machine: Any, reads: Counter[str]) -> None:
    """Count the reads that reach a real or simulated node, not those that are answered from memory."""
    original = machine.__init_subclass__

    def count_of(kind: Any) -> None:
        for name in ("state", "names", "query", "kernel_text", "changed_at", "engine", "tree_without"):
            if name in vars(kind):
                setattr(kind, name, _counted(vars(kind)[name], name, reads))

    def prepare(kind: Any, /, **more: Any) -> None:
        original(**more)
        if kind.__name__ in ("LocalMachine", "SimulatedMachine"):
            count_of(kind)

    machine.__init_subclass__ = classmethod(prepare)


def _counted(method: Any, name: str, reads: Counter[str]) -> Any:
    def read(self: Any, *args: Any, **named: Any) -> Any:
        reads[f"{name} {args}"] += 1
        return method(self, *args, **named)

    return read


if __name__ == "__main__":
    print(json.dumps(count(sys.argv[1:])), file=sys.stderr)
