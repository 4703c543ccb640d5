"""Cost of a separate unit per call of a package tool: `python -m tests.bench.package_unit [ROUNDS]`.

On a container node, in turns: a program as an ordinary child, and as a package tool. Prints milliseconds.
"""

from __future__ import annotations

import sys

from tests.node.container import ContainerNode
from tests.node.engine import running_engine
from tests.node.images import node_image

PROBE = """
import statistics, sys, time
sys.path.insert(0, "/opt/bai-wizard")
from bai_wizard.core.event import silent
from bai_wizard.node.package_tool import run_package_tool
from bai_wizard.node.process import run
times = {"child": [], "package tool": []}
for _ in range(int(sys.argv[1])):
    begun = time.perf_counter()
    run(["true"], timeout=60)
    between = time.perf_counter()
    run_package_tool("/", ["true"], "nothing", silent)
    times["child"].append(between - begun)
    times["package tool"].append(time.perf_counter() - between)
for what, taken in times.items():
    print(f"{what:14}{statistics.median(taken) * 1000:8.1f} ms median{min(taken) * 1000:8.1f} ms best")
"""


def main(rounds: str = "20") -> None:
    with running_engine() as docker:
        node = ContainerNode(docker, node_image(docker, "trixie"), network="none")
        try:
            print(node.run(["/usr/bin/python3", "-", rounds], input=PROBE, check=True, timeout=300).out)
        finally:
            node.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
