"""install.sh, under another root directory and around a tree of a few files."""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bai_wizard.exits import ExitCode
from tests.cache import CHECKOUT

pytestmark = pytest.mark.needs_root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    place = tmp_path / "root"
    place.mkdir()
    return place


def unpacked(directory: Path, version: str, arch: str = platform.machine()) -> Path:
    """An archive as `tar` leaves it, owned by nobody in particular."""
    tree = directory / version / "tree"
    (tree / "bin").mkdir(parents=True)
    for name, text in (
        ("bin/bai-wizard", f"#!/bin/sh\necho {version}\n"),
        ("VERSION", version),
        ("ARCHITECTURE", arch),
    ):
        (tree / name).write_text(text)
        os.chown(tree / name, 1000, 1000)
    (tree / "bin/bai-wizard").chmod(0o777)
    (tree.parent / "install.sh").write_bytes((CHECKOUT / "packaging/install.sh").read_bytes())
    sums = [(hashlib.sha256(path.read_bytes()).hexdigest(), path) for path in tree.rglob("*") if path.is_file()]
    (tree.parent / "SHA256SUMS").write_text("".join(f"{sha}  {path.relative_to(tree)}\n" for sha, path in sums))
    return tree.parent / "install.sh"


def install(script: Path, root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "BAI_WIZARD_ROOT": str(root)}
    return subprocess.run(["sh", str(script), *words], env=environment, capture_output=True, text=True, check=False)


def files(root: Path) -> Iterator[str]:
    yield from (str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir() or path.is_symlink())


def test_a_tree_becomes_roots_and_a_link_leads_to_it(tmp_path: Path, root: Path) -> None:
    assert install(unpacked(tmp_path, "1.0"), root).returncode == 0
    program = root / "opt/bai-wizard/1.0/bin/bai-wizard"
    assert (program.stat().st_uid, program.stat().st_gid, program.stat().st_mode & 0o777) == (0, 0, 0o755)
    assert os.readlink(root / "usr/local/bin/bai-wizard") == "/opt/bai-wizard/current/bin/bai-wizard"
    assert os.readlink(root / "opt/bai-wizard/current") == "1.0"


def test_the_version_before_is_kept_and_older_ones_go(tmp_path: Path, root: Path) -> None:
    for version in ("1.0", "1.1", "1.2", "1.2"):
        done = install(unpacked(tmp_path / os.urandom(4).hex(), version), root)
        assert done.returncode == 0, done.stderr
    home = root / "opt/bai-wizard"
    assert sorted(path.name for path in home.iterdir()) == ["1.1", "1.2", "current", "previous"]
    assert install(home / "1.2/install.sh", root, "--rollback").returncode == 0
    assert (os.readlink(home / "current"), os.readlink(home / "previous")) == ("1.1", "1.2")


@pytest.mark.parametrize("words", [(), ("--uninstall",), ("--rollback",)])
def test_while_a_run_holds_the_lock_nothing_is_touched(tmp_path: Path, root: Path, words: tuple[str, ...]) -> None:
    install(unpacked(tmp_path, "1.0"), root)
    script = unpacked(tmp_path, "1.1")
    before = sorted(files(root))
    with (root / "run/bai-wizard/lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = install(script, root, *words)
    assert done.returncode == ExitCode.PREFLIGHT
    assert "a run is in progress" in done.stderr
    assert sorted(files(root)) == before


@pytest.mark.parametrize(("word", "kept"), [((), True), (("--purge",), False)])
def test_uninstall_leaves_runs_and_backups_unless_told(
    tmp_path: Path, root: Path, word: tuple[str, ...], kept: bool
) -> None:
    install(unpacked(tmp_path, "1.0"), root)
    run = root / "var/lib/bai-wizard/runs/20260101T000000-abcd/journal.jsonl"
    run.parent.mkdir(parents=True)
    run.write_text("{}\n")
    assert install(root / "opt/bai-wizard/1.0/install.sh", root, "--uninstall", *word).returncode == 0
    assert set(files(root)) == {"run/bai-wizard/lock"} | ({str(run.relative_to(root))} if kept else set())


def test_a_tree_of_the_package_is_left_alone(tmp_path: Path, root: Path) -> None:
    home = root / "opt/bai-wizard"
    (home / "1.0").mkdir(parents=True)
    (home / "current").symlink_to("1.0")
    script = unpacked(tmp_path, "1.1")
    for words in ((), ("--uninstall",), ("--rollback",)):
        done = install(script, root, *words)
        assert (done.returncode, "apt-get remove bai-wizard" in done.stderr) == (3, True)
    assert sorted(path.name for path in home.iterdir()) == ["1.0", "current"]


def test_a_damaged_archive_is_refused(tmp_path: Path, root: Path) -> None:
    script = unpacked(tmp_path, "1.0")
    (script.parent / "tree/bin/bai-wizard").write_text("something else")
    done = install(script, root)
    assert (done.returncode, list((root / "opt").rglob("*")) if (root / "opt").exists() else []) == (3, [])
    assert "damaged" in done.stderr


def test_an_archive_of_another_architecture_is_refused(tmp_path: Path, root: Path) -> None:
    done = install(unpacked(tmp_path, "1.0", "vax"), root)
    assert done.returncode == ExitCode.PREFLIGHT
    assert "is for vax" in done.stderr


def test_a_program_of_somebody_else_is_left_alone(tmp_path: Path, root: Path) -> None:
    theirs = root / "usr/local/bin/bai-wizard"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("theirs")
    script = unpacked(tmp_path, "1.0")
    assert "left alone" in install(script, root).stdout
    install(script, root, "--uninstall")
    assert theirs.read_text() == "theirs"


def test_words_that_are_none_are_usage(tmp_path: Path, root: Path) -> None:
    assert install(unpacked(tmp_path, "1.0"), root, "--remove").returncode == ExitCode.ANSWERS
