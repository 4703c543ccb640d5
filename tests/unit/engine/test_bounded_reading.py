"""Events and journals of any size are read with bounded memory; unreadable events affect only themselves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bai_wizard.core.event import Event
from bai_wizard.core.step import Plan
from bai_wizard.engine import events as following
from bai_wizard.engine.directory import RunDirectory, create_run
from bai_wizard.engine.durable import LARGEST, last_line_end, lines_of
from bai_wizard.engine.events import LONGEST_TEXT, EventLog, EventReader, follow
from bai_wizard.engine.executor import execute
from bai_wizard.engine.lock import StatePaths
from bai_wizard.node.simulated import SimulatedMachine
from tests.sampling import is_soak

# Almost the largest file that is read, or less.
SIZE = LARGEST - (2 << 20) if is_soak() else 100 << 20
# What reading may add to the memory of the process, in bytes.
MAX = 48 << 20
# Reads everything that reads events or a journal, and prints what it found and how much memory it took.
READ = """
import json, resource, sys
from pathlib import Path
from bai_wizard.doctor.bundle import _narrative
from bai_wizard.engine.directory import RunDirectory
from bai_wizard.engine.events import EventReader
from bai_wizard.engine.events import EventLog
from bai_wizard.engine.records import read_records
from bai_wizard.engine.directory import journal_of

run = RunDirectory(Path(sys.argv[1]))
begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
reader, texts, number = EventReader(run), [], 0
while events := reader.more():
    number += len(events)
    texts = [event.text[:100] for event in events][-3:]
if "journal" in sys.argv[2:]:
    damages = read_records(run.journal).damages
    journal_of(run).begin({})
else:
    damages = []
    next = EventLog(run.events, run.id).emit("log", "resumed")
    dict(_narrative(run))
used = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - begun) << 10
print(json.dumps({"used": used, "number": number, "texts": texts, "damages": damages}))
"""


def line(number: int, text: str) -> bytes:
    return Event(t="2026-01-01T00:00:00Z", run="r", id=number, kind="log", text=text).to_line().encode()


def one_long_line(path: Path) -> int:
    """A hole of `SIZE` bytes between two events."""
    path.write_bytes(line(1, "first"))
    os.truncate(path, SIZE)
    with path.open("ab") as file:
        file.write(b"\n" + line(2, "last"))
    return 3


def many_lines(path: Path) -> int:
    number = SIZE // 100_000
    with path.open("wb") as file:
        for each in range(number):
            file.write(line(each, "x" * 100_000))
        file.write(line(number, "last"))
    return number + 1


def no_end(path: Path) -> int:
    """The last line is torn, and longer than what is read at once."""
    path.write_bytes(line(1, "last"))
    os.truncate(path, SIZE)
    return 1


@pytest.mark.parametrize("fill", [one_long_line, many_lines, no_end])
def test_events_are_read_with_bounded_memory(tmp_path: Path, fill: Callable[[Path], int]) -> None:
    number = fill(tmp_path / "events.jsonl")
    result = read(tmp_path)
    assert result["used"] < MAX, f"{result['used'] >> 20} MiB for {SIZE >> 20} MiB"
    assert (result["number"], result["texts"][-1]) == (number, "last")
    if fill is one_long_line:
        assert result["texts"][-2].startswith("an event of ")


@pytest.mark.parametrize("fill", [one_long_line, no_end])
def test_a_journal_is_read_with_bounded_memory(tmp_path: Path, fill: Callable[[Path], int]) -> None:
    fill(tmp_path / "journal.jsonl")
    result = read(tmp_path, "journal")
    assert result["used"] < MAX * 2, f"{result['used'] >> 20} MiB for {SIZE >> 20} MiB"
    assert result["damages"]


def read(run: Path, *words: str) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-c", READ, str(run), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_small_records_are_read_where_memory_is_short(tmp_path: Path) -> None:
    """A read that reserves memory for the largest file fails on a small node, and no peak shows it."""
    (tmp_path / "plan.json").write_text("{}")
    script = """if True:
        import resource, sys
        from pathlib import Path
        from bai_wizard.engine.durable import read_end, read_json, LARGEST
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (64 << 20),) * 2)
        assert read_json(Path(sys.argv[1])) == {}
        assert read_end(Path(sys.argv[1]), LARGEST) == b"{}"
        """
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "plan.json")], check=True)


def test_a_text_is_truncated_so_that_its_event_stays_readable(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    event_log = EventLog(run.events, "r")
    event_log.emit("log", "\x00" * (LONGEST_TEXT + 7))
    event_log.emit("log", "next")
    event_log.close()
    first, second = EventReader(run).more()
    assert first.text.endswith("… (7 more characters)")
    assert second.text == "next"


def directory(path: Path) -> None:
    path.mkdir()


def link(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [directory, os.mkfifo, link, None])
def test_an_events_path_that_is_not_a_file_is_skipped(
    tmp_path: Path, make: Callable[[Path], None] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "PATIENCE", 0.0)
    paths, plan = StatePaths(tmp_path), Plan("test")
    run = create_run(paths, plan, {})
    execute(paths, run, plan.digest(), SimulatedMachine({}))
    run.events.unlink()
    if make is not None:
        make(run.events)
    events = [event for batch in follow(run, lambda: False) for event in batch]
    assert events[-1].kind == "summary"
    assert (make is None) or "events.jsonl" in events[0].text
    run.begin_again(plan)
    execute(paths, run, plan.digest(), SimulatedMachine({}))
    assert [event.kind for event in EventReader(run).more()] == ["run", "summary"]


@pytest.mark.parametrize("begin", [b"", b'{"n": 1}\n', b"x" * (17 << 20)])
@pytest.mark.parametrize("end", [b"", b'{"n": 2}\n', b"torn"])
def test_holes_are_not_read(tmp_path: Path, begin: bytes, end: bytes) -> None:
    """A file of a tebibyte that takes no room: what is before and behind the hole is read, and at once."""
    path = tmp_path / "journal.jsonl"
    hole = 1 << 40
    with path.open("wb") as file:
        file.write(begin)
        file.truncate(hole)
        file.seek(hole)
        file.write(b"\n" * bool(end) + end)
    lines = list(lines_of(path))
    whole = [begin] if begin.endswith(b"\n") else []
    rest = [end] if end else []
    assert lines == [*whole, None, *rest]
    with path.open("rb") as file, pytest.raises(OSError, match="too large"):
        last_line_end(file.fileno())
