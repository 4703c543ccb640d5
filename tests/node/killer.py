"""Runs in a node: kills the executor of the next run once its journal has a given number of lines."""

import json
import os
import signal
import sys
import time
from pathlib import Path

wanted = int(sys.argv[1])
runs = Path("/var/lib/bai-wizard/runs")
current = Path("/run/bai-wizard/current.json")
old = {path.name for path in runs.iterdir()} if runs.is_dir() else set()
while True:
    for run in runs.iterdir() if runs.is_dir() else ():
        journal = run / "journal.jsonl"
        if run.name not in old and journal.exists() and journal.read_bytes().count(b"\n") >= wanted:
            os.kill(json.loads(current.read_bytes())["pid"], signal.SIGKILL)
            sys.exit(0)
        if (run / "result.json").exists() and run.name not in old:
            sys.exit(1)
    # Short compared with the time between two records, long compared with a check, which leaves the CPU to the run.
    time.sleep(0.001)
