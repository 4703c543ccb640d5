"""The programs that access volumes, on directories of this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bai_wizard.pages.storage import volume_probes
from bai_wizard.pages.storage.volume_steps import touch
from bai_wizard.resources.local import LocalMachine

ROOT_ONLY = pytest.mark.needs_root


def test_looking_reports_ids_mode_and_whose_files_are_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    answer = touch(LocalMachine(), "look", str(tmp_path))
    assert (answer["uid"], answer["mode"]) == (os.getuid(), tmp_path.stat().st_mode & 0o7777)
    assert answer["owners"] == [os.getuid()]
    assert answer["device"] == answer["parent"]


@ROOT_ONLY
def test_writing_is_done_with_the_users_ids_and_leaves_nothing(tmp_path: Path) -> None:
    for path in (tmp_path, *tmp_path.parents):
        if path.name.startswith(("test_", "pytest-", "popen-")):
            path.chmod(0o755)  # pytest keeps its directories to root; the account has to get through
    share = tmp_path / "share"
    share.mkdir()
    refused = touch(LocalMachine(), "write", str(share), "1100", "1100")
    assert refused["text"] == "Permission denied"
    assert touch(LocalMachine(), "may", str(share), "1100", "1100") == {"may": False}
    os.chown(share, 1100, 1100)
    assert touch(LocalMachine(), "write", str(share), "1100", "1100") == {"uid": 1100, "gid": 1100}
    assert touch(LocalMachine(), "may", str(share), "1100", "1100") == {"may": True}
    assert list(share.iterdir()) == []


@ROOT_ONLY
def test_hidden_files_are_listed_and_nothing_stays_mounted(tmp_path: Path) -> None:
    point = tmp_path / "point"
    point.mkdir()
    (point / "hidden").write_text("x")
    script = (
        "import ctypes, subprocess, sys\n"
        "libc = ctypes.CDLL(None)\n"
        "assert libc.unshare(0x20000) == 0\n"
        "assert libc.mount(b'none', b'/', None, ctypes.c_ulong(0x4000 | 1 << 18), None) == 0\n"
        f"assert libc.mount(b'none', {str(point).encode()!r}, b'tmpfs', ctypes.c_ulong(0), None) == 0\n"
        f"program = [sys.executable, '-I', '-S', {volume_probes.__file__!r}, 'hidden', {str(point)!r}]\n"
        "subprocess.run(program, check=True)\n"
        f"print(open('/proc/self/mountinfo').read().count({str(point)!r}))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    if done.returncode and "unshare" in done.stderr:
        pytest.skip("this machine lets nobody make a mount namespace")
    names, mounts = done.stdout.split("\n")[:2]
    assert json.loads(names) == ["hidden"]
    assert mounts == "1"


def test_the_program_does_not_import_the_wizard() -> None:
    path = volume_probes.__file__
    assert "bai_wizard" not in Path(path).read_text()
    done = subprocess.run([sys.executable, "-I", "-S", path, "look", "/nowhere"], capture_output=True, text=True)
    assert "Traceback" not in done.stderr
