"""Every durable write is on the disk when the function returns: fsync of the file, then of its directory.

The trace stands in for a power cut: what was not synced since it changed would be lost.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from bai_wizard.core.event import Log, silent
from bai_wizard.core.operation import Operation
from bai_wizard.core.step import Plan
from bai_wizard.engine.directory import create_run
from bai_wizard.engine.durable import write_durably
from bai_wizard.engine.executor import execute
from bai_wizard.engine.lock import StatePaths
from bai_wizard.node import cache, user_files
from bai_wizard.node.download import PartialDownload
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.node.user_files import write_requested_file
from bai_wizard.resources.files import MakeDirectory, MakeLink, RemovePath, WriteFile
from bai_wizard.resources.local import LocalMachine
from bai_wizard.resources.trees import RemoveTree
from tests.unit.engine.plans import STATES, plan_of, steps

# Not synced on purpose: the events are for display, the count only dates the newest record, the log is a log, and the
# reserve is deleted once the result is recorded.
NOT_DURABLE = ("events.jsonl", "journal.count", "executor.log", "reserve")


class Syncs:
    """Traces fsync and rename of this process: what of each file and directory is known to be on the disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._synced: dict[tuple[int, int], Any] = {}
        # Files that got their final name before their content was on the disk.
        self.renamed_too_early: list[str] = []
        fsync = os.fsync

        def traced_fsync(descriptor: int) -> None:
            fsync(descriptor)
            status = os.fstat(descriptor)
            self._synced[status.st_dev, status.st_ino] = _content(f"/proc/self/fd/{descriptor}")

        def traced(real: Callable[..., None]) -> Callable[..., None]:
            def rename(source: Any, target: Any, *, src_dir_fd: int | None = None, **more: Any) -> None:
                path = source if src_dir_fd is None else f"/proc/self/fd/{src_dir_fd}/{source}"
                if stat.S_ISREG(os.lstat(path).st_mode) and not self.is_synced(path):
                    self.renamed_too_early.append(str(target))
                real(source, target, **({"src_dir_fd": src_dir_fd} if src_dir_fd is not None else {}), **more)

            return rename

        monkeypatch.setattr(os, "fsync", traced_fsync)
        monkeypatch.setattr(os, "rename", traced(os.rename))
        monkeypatch.setattr(os, "replace", traced(os.replace))

    def is_synced(self, path: Any) -> bool:
        """Whether a file's content, or a directory's entries, are unchanged since they were synced."""
        status = os.stat(path)
        # An empty directory has nothing to lose; its own name belongs to the directory above.
        synced: object = self._synced.get((status.st_dev, status.st_ino), [])
        return synced == _content(str(path))

    def lost(self, top: Path) -> list[str]:
        """What a power cut would take: paths below and including `top`, and files renamed too early."""
        below = [top, *sorted(top.rglob("*"))]
        wanted = [path for path in below if path.name not in NOT_DURABLE and not path.is_symlink()]
        return [str(path.relative_to(top)) for path in wanted if not self.is_synced(path)] + self.renamed_too_early


def _content(path: str) -> object:
    if stat.S_ISDIR(os.stat(path).st_mode):
        return sorted(name for name in os.listdir(path) if name not in NOT_DURABLE)
    return Path(path).read_bytes()


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> Syncs:
    return Syncs(monkeypatch)


def test_the_trace_sees_what_is_not_synced(syncs: Syncs, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    assert syncs.lost(tmp_path) == [".", "file"]
    write_durably(tmp_path / "file", b"other")
    assert syncs.lost(tmp_path) == []
    (tmp_path / "file").write_text("more")
    os.rename(tmp_path / "file", tmp_path / "name")
    assert syncs.lost(tmp_path) == [".", "name", str(tmp_path / "name")]


@pytest.mark.needs_root
def test_a_run_and_its_undo(syncs: Syncs, tmp_path: Path) -> None:
    """The records are complete on the disk whenever the node is changed, and at the end."""
    state = tmp_path / "var/lib/bai-wizard"

    class Watched(SimulatedMachine):
        def apply(self, operation: Operation, log: Log = silent) -> None:
            assert syncs.lost(state) == []
            changed.append(operation.kind)
            super().apply(operation, log)

    changed: list[str] = []
    paths, machine = StatePaths(tmp_path), Watched(STATES)
    plan = plan_of(machine, steps())
    run = create_run(paths, plan, {"a": "setting"})
    assert syncs.lost(state) == []
    execute(paths, run, plan.digest(), machine)
    assert syncs.lost(state) == []
    again = Plan("test")
    undo = create_run(paths, again, {}, kind="undo", undoes=run.id)
    execute(paths, undo, again.digest(), machine)
    assert syncs.lost(state) == []
    assert {"write-file", "make-directory", "remove-path"} <= set(changed)


UID, GID = os.geteuid(), os.getegid()
OPERATIONS: dict[str, Operation] = {
    "new file": WriteFile("/etc/new", b"new", UID, GID, 0o640),
    "changed file": WriteFile("/etc/old", b"new", UID, GID, 0o644),
    "new directory": MakeDirectory("/etc/d", UID, GID, 0o750),
    "link": MakeLink("/etc/link", "old", UID, GID),
    "link instead of a file": MakeLink("/etc/old", "new", UID, GID),
    "removed file": RemovePath("/etc/old"),
    "removed directory": RemovePath("/etc/empty"),
    "removed tree": RemoveTree("/etc/tree"),
}


@pytest.mark.needs_root
@pytest.mark.parametrize("name", OPERATIONS)
def test_changes_of_the_node(name: str, syncs: Syncs, tmp_path: Path) -> None:
    for directory in ("etc/empty", "etc/tree/sub"):
        (tmp_path / directory).mkdir(parents=True)
    for file in ("etc/old", "etc/tree/sub/file"):
        (tmp_path / file).write_text("old")
    before = set((tmp_path / "etc").rglob("*"))
    LocalMachine(str(tmp_path)).apply(OPERATIONS[name])
    unchanged = [
        str(path.relative_to(tmp_path / "etc")) for path in before if (path.name, name) != ("old", "changed file")
    ]
    assert [path for path in syncs.lost(tmp_path / "etc") if path not in unchanged] == []


@pytest.mark.needs_root
def test_a_mounted_file_is_written_in_place_and_synced(
    syncs: Syncs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    def busy(*_: object, **__: object) -> None:
        raise OSError(errno.EBUSY, "busy")

    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/resolv.conf").write_text("old")
    monkeypatch.setattr(os, "rename", busy)
    LocalMachine(str(tmp_path)).apply(WriteFile("/etc/resolv.conf", b"new", UID, GID, 0o644))
    assert (tmp_path / "etc/resolv.conf").read_text() == "new"
    assert syncs.lost(tmp_path / "etc") == []


@pytest.mark.parametrize("keep_older", [False, True])
def test_requested_files(keep_older: bool, syncs: Syncs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Saved answers, reports and drafts."""
    (tmp_path / "d").mkdir(mode=0o700)
    monkeypatch.setattr(user_files, "run_as", lambda _identity, function, *args, **_: function(*args))
    path = tmp_path / "d/answers.toml"
    for text in (b"first", b"second"):
        write_requested_file(str(path), text, keep_older=keep_older)
    assert syncs.lost(tmp_path / "d") == []
    assert path.read_bytes() == b"second"


def test_a_program_kept_for_accounts(syncs: Syncs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty copy after a power cut would be taken for uv forever."""
    (tmp_path / "uv").write_bytes(b"program")
    (tmp_path / "uv").chmod(0o755)
    monkeypatch.setattr(cache, "CACHE", str(tmp_path / "cache"))
    kept = cache.keep_program(str(tmp_path / "uv"), "uv")
    assert syncs.lost(Path(kept).parent) == []


def test_a_download(syncs: Syncs, tmp_path: Path) -> None:
    part = PartialDownload(str(tmp_path / "archive"))
    part.write(b"data")
    part.finish(sha256(b"data").hexdigest(), "url")
    part.close()
    assert (tmp_path / "archive").read_bytes() == b"data"
    assert syncs.lost(tmp_path) == []
