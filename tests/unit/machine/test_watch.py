"""A watch wakes up for a change that was made before or during the wait, and for nothing else."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from bai_wizard.engine.directory import RunDirectory
from bai_wizard.engine.events import EventLog, follow
from bai_wizard.node import watch as module
from bai_wizard.node.watch import DirectoryWatch
from tests.waiting import PATIENCE, ends


def test_a_change_ends_the_wait(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    watch = DirectoryWatch(str(tmp_path))
    file.write_text("one")
    with ends("a wait"):
        watch.wait(2 * PATIENCE)
        begun = time.monotonic()
        watch.wait(0.2)
        assert time.monotonic() - begun >= 0.2, "each change is told once"
        timer = threading.Timer(0.1, lambda: file.open("a").write("two"))
        timer.start()
        watch.wait(2 * PATIENCE)
        os.rename(file, tmp_path / "other")
        watch.wait(2 * PATIENCE)
    watch.close()


def test_a_watch_that_cannot_be_made_leaves_nothing_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(FileNotFoundError):
        DirectoryWatch(str(tmp_path / "missing"))
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("has_watch", [True, False])
def test_events_are_followed_without_waiting_for_the_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_watch: bool
) -> None:
    monkeypatch.setattr("bai_wizard.engine.events.INTERVAL", 2 * PATIENCE if has_watch else 0.05)
    if not has_watch:
        monkeypatch.setattr(module, "IN_MODIFY", 0)
        monkeypatch.setattr(module, "IN_MOVED_TO", 0)
        monkeypatch.setattr(module, "IN_CREATE", 0)  # the kernel refuses to watch for nothing
    log = EventLog(tmp_path / "events.jsonl", "r")
    threading.Timer(0.3, lambda: log.emit("log", "one")).start()
    threading.Timer(0.6, lambda: log.emit("summary", data={"version": 1, "code": 0})).start()
    with ends("a wait for the interval"):
        seen = [event.kind for events in follow(RunDirectory(tmp_path), lambda: True) for event in events]
    log.close()
    assert seen == ["log", "summary"]
    assert not [name for name in os.listdir("/proc/self/fd") if _target(name) == "anon_inode:inotify"]


def _target(name: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{name}")
    except FileNotFoundError:
        return ""
