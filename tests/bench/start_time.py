"""How fast the archive's wizard starts beside an installed copy: python -m tests.bench.start_time [ROUNDS].

The installed copy is the package in this interpreter's environment, compiled; the archive's has its own interpreter.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.cache import CHECKOUT
from tests.tools.stand_in import stand_in_archive

ANSWERS = CHECKOUT / "tests/fixtures/good/four-nodes.toml"


def one(argv: Sequence[str]) -> tuple[float, float]:
    """Return wall-clock and CPU seconds of one start."""
    before, begun = os.times(), time.monotonic()
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    wall, after = time.monotonic() - begun, os.times()
    return wall, after.children_user + after.children_system - before.children_user - before.children_system


def main() -> None:
    """Print a Markdown table; run the variants in turn, after one warm-up round."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    with tempfile.TemporaryDirectory() as name:
        with tarfile.open(stand_in_archive()) as archive:
            archive.extractall(name, filter="tar")
        program = next(Path(name).glob("*/tree/bin/bai-wizard"))
        ways = {
            f"{what}, {where}": [*start, *words]
            for what, words in (("--version", ["--version"]), ("check", ["check", str(ANSWERS), "--host", "bai-a01"]))
            for where, start in (
                ("archive", [str(program)]),
                ("installed", [sys.executable, "-I", "-m", "bai_wizard"]),
            )
        }
        took: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
        for turn in range(rounds + 1):
            for way, argv in ways.items():
                seen = one(argv)
                if turn:
                    took[way].append(seen)
    print("| start | wall s, median | least | CPU s, median |\n| --- | --- | --- | --- |")
    for way, samples in took.items():
        walls, cpus = [wall for wall, _ in samples], [cpu for _, cpu in samples]
        print(f"| {way} | {statistics.median(walls):.3f} | {min(walls):.3f} | {statistics.median(cpus):.3f} |")


if __name__ == "__main__":
    main()
