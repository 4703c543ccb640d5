"""Runs in a node: waits for a moment of the next run, then kills something and prints what it killed.

Arguments: what is killed (unit, apt-get, dpkg or node), the moment as JSON. A moment is a condition, then `delay`
milliseconds, which end early once the step that was waited for has ended:
  {"step": 0.4}         the step at this fraction of those that the run has to do has begun
  {"step": "a.step"}    the first step whose id begins so has begun
  {"records": 17}       the journal has so many records; with "last": 20, the delay ends early at that record
  {"program": "dpkg"}   apt-get or dpkg is at work: it installs, unpacks or sets up
`unit` is the executor and everything in its unit. For `node` nothing is killed here: the caller cuts the power.
"""

import json
import math
import os
import signal
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

RUNS = Path("/var/lib/bai-wizard/runs")
CURRENT = Path("/run/bai-wizard/current.json")
# Maximum seconds to wait for a moment, and seconds between two checks.
PATIENCE = 1200.0
POLL = 0.005
WORKING = {"apt-get": ("install", "--configure"), "dpkg": ("--unpack", "--configure", "--install", "--recursive")}


def programs(name: str) -> list[int]:
    """Return processes of a package tool that change something, not those that only read."""
    result = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if os.path.basename(words[0]) == name and any(word in WORKING[name] for word in words):
            result.append(int(process.name))
    return result


def records(path: Path) -> list[dict[str, Any]]:
    """Return complete lines of a JSON Lines file; none while it does not exist."""
    try:
        return [json.loads(line) for line in path.read_bytes().rpartition(b"\n")[0].splitlines()]
    except FileNotFoundError:
        return []


def new_attempt(old: dict[str, int]) -> Path | None:
    """Return the run that has started since: a new directory, or new events in an existing one."""
    for run in sorted(RUNS.iterdir()) if RUNS.is_dir() else ():
        if len(records(run / "events.jsonl")) > old.get(run.name, 0):
            return run
    return None


@cache
def wanted(run: Path, fraction: float | str) -> str:
    """Return the awaited step, by its position in the plan or a prefix of its id."""
    planned = json.loads((run / "plan.json").read_bytes())["steps"]
    ids = [step["step"]["id"] for step in planned if step["verdict"]["kind"] == "pending"]
    if isinstance(fraction, str):
        return str(next(name for name in ids if name.startswith(fraction)))
    return str(ids[int(fraction * len(ids))])


def has_come(run: Path, moment: dict[str, Any], since: int) -> str:
    """Describe what has happened; empty while it has not."""
    if "program" in moment:
        return f"{moment['program']} works" if programs(moment["program"]) else ""
    if "records" in moment:
        return f"record {moment['records']}" if len(records(run / "journal.jsonl")) >= moment["records"] else ""
    step = wanted(run, moment["step"])
    events = records(run / "events.jsonl")[since:]
    return step if any(event["kind"] == "started" and event.get("step") == step for event in events) else ""


def ended(run: Path, step: str, since: int) -> bool:
    """Return whether the step, or the run, has ended."""
    if (run / "result.json").exists():
        return True
    events = records(run / "events.jsonl")[since:]
    return any(event["kind"] == "finished" and event.get("step") == step for event in events)


def current() -> dict[str, Any]:
    """Return the holder of the lock, or an empty string."""
    try:
        held: dict[str, Any] = json.loads(CURRENT.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return held


def processes_of_the_executor() -> list[int]:
    """Return every process in the unit of the current run's executor; none without a running one."""
    held = current()
    unit = unit_of(held["pid"]) if held else ""
    if not unit.endswith(".service"):
        return []
    return [pid for process in Path("/proc").glob("[0-9]*") if unit_of(pid := int(process.name)) == unit]


def unit_of(pid: int) -> str:
    """Return the control group of a process as systemd names it; empty if the process has ended."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return ""
    # The hierarchy that is systemd's own on old nodes, the only one on new ones.
    return next(line.split(":", 2)[2] for line in lines if ":name=systemd:" in line or line.startswith("0::"))


def kill(target: str) -> str:
    """Kill it and describe what was killed; empty if it had already ended."""
    if target == "node":
        return "node"
    pids = processes_of_the_executor() if target == "unit" else programs(target)
    killed = []
    for pid in pids:
        try:
            name = Path(f"/proc/{pid}/comm").read_text().strip()
            os.kill(pid, signal.SIGKILL)
        except (ProcessLookupError, FileNotFoundError):
            continue
        killed.append(name)
    return " ".join(killed)


def main() -> None:
    """Wait, kill, print."""
    target, moment = sys.argv[1], json.loads(sys.argv[2])
    old = {run.name: len(records(run / "events.jsonl")) for run in RUNS.iterdir()} if RUNS.is_dir() else {}
    print("watching", flush=True)
    limit = time.monotonic() + PATIENCE
    while not ((run := new_attempt(old)) and (seen := has_come(run, moment, old.get(run.name, 0)))):
        if time.monotonic() > limit:
            sys.exit("the moment did not come")
        if run and (run / "result.json").exists():
            sys.exit("the run ended before the moment")
        time.sleep(POLL)
    until = time.monotonic() + moment.get("delay", 0) / 1000
    last = moment.get("last", math.inf)
    while time.monotonic() < until and not ended(run, seen, old.get(run.name, 0)):
        if len(records(run / "journal.jsonl")) >= last:
            break
        time.sleep(POLL)
    killed = kill(target)
    print(f"at {seen}: {killed or 'nothing'}")
    sys.exit(0 if killed else "it had gone by itself")


if __name__ == "__main__":
    main()
