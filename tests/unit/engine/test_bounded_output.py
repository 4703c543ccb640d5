"""A child of the account cannot fill the disk with output, and events of any size need bounded memory."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest

from bai_wizard.engine import events as module
from bai_wizard.engine.events import TAIL, EventLog, StepLog


def test_excessive_output_of_a_step_is_truncated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_OUTPUT", 1 << 20)
    event_log = EventLog(tmp_path / "events.jsonl", "run")
    noisy = StepLog(event_log, "python.venvs", 1)
    for number in range(40_000):
        noisy(f"line {number} " + "x" * 80, stream="stdout")
        noisy("wheel", done=number, total=40_000)
    noisy.close()
    quiet = StepLog(event_log, "docker.engine", 2)
    quiet("the next step is heard")
    event_log.close()
    lines = (tmp_path / "events.jsonl").read_bytes().splitlines()
    assert (tmp_path / "events.jsonl").stat().st_size < 3 << 20
    messages = [json.loads(line) for line in lines]
    shown = len(messages) - 2
    assert messages[-2]["text"] == f"{80_000 - shown} lines of output omitted after 1 MiB"
    assert messages[-2]["level"] == "warning"
    assert messages[-1]["text"] == "the next step is heard"


@pytest.mark.parametrize("text", ["\x01" * 200, "\U0001f600" * 200, "\u20ac" * 200, '"' * 200, "\udcff" * 200, ""])
def test_the_limit_counts_written_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(module, "MAX_OUTPUT", 1 << 18)
    event_log = EventLog(tmp_path / "events.jsonl", "r" * 30)
    log = StepLog(event_log, "python.venvs", 1)
    for _ in range(3000):
        log(text, stream="stdout")
    log.close()
    event_log.close()
    assert (tmp_path / "events.jsonl").stat().st_size < (1 << 18) * (1.1 if text else 2)
    assert b"omitted" in (tmp_path / "events.jsonl").read_bytes()


@pytest.mark.parametrize("torn", [b"", b'{"v": 1, "id": 77', b"x" * (2 * TAIL)])
def test_events_are_continued_without_reading_them_all(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "events.jsonl"
    line = json.dumps({"v": 1, "id": 4711, "kind": "log", "text": "x" * 100}).encode() + b"\n"
    path.write_bytes(line * 200_000 + torn)
    tracemalloc.start()
    event_log = EventLog(path, "run")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    number = event_log.emit("log", "on it goes")
    event_log.close()
    assert peak < 12 * TAIL
    assert number == 4712 or len(torn) > TAIL
    assert json.loads(path.read_bytes().splitlines()[-1])["text"] == "on it goes"
