"""install.sh, under another root directory and around a tree of a few files."""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import signal
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bai_wizard.core.errors import StepFailed
from bai_wizard.exit_codes import ExitCode
from bai_wizard.offline.collect import pack_wizard
from tests.cache import CHECKOUT
from tests.sampling import sampled
from tests.unit.archive.first_install import first_install
from tests.unit.archive.small_tree import small_tree

pytestmark = pytest.mark.needs_root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    directory = tmp_path / "root"
    directory.mkdir()
    return directory


def packed(directory: Path, version: str, arch: str = platform.machine()) -> Path:
    """The archive of a small tree whose files belong to an arbitrary user."""
    tree = directory / "made" / version
    (tree / "bin").mkdir(parents=True)
    for name, text in (
        ("bin/bai-wizard", f"#!/bin/sh\necho {version}\n"),
        ("VERSION", version),
        ("ARCHITECTURE", arch),
    ):
        (tree / name).write_text(text)
        os.chown(tree / name, 1000, 1000)
        os.utime(tree / name, (1_000_000_000, 1_000_000_000))
    (tree / "bin/bai-wizard").chmod(0o777)
    target = directory / f"bai-wizard-{version}-{arch}.tar.gz"
    pack_wizard(tree, CHECKOUT / "packaging/install.sh", target)
    return target


def unpacked(directory: Path, version: str, arch: str = platform.machine()) -> Path:
    """install.sh of an archive as root's `tar` leaves it."""
    archive = packed(directory, version, arch)
    subprocess.run(["tar", "-C", str(directory), "-xzf", str(archive)], check=True)
    return directory / archive.name.removesuffix(".tar.gz") / "install.sh"


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
    assert sorted(path.name for path in home.iterdir()) == ["1.1", "1.2-2", "current", "previous"]
    assert install(home / "current/install.sh", root, "--rollback").returncode == 0
    assert (os.readlink(home / "current"), os.readlink(home / "previous")) == ("1.1", "1.2-2")


def killed(script: Path, root: Path, number: int, *words: str) -> bool:
    """Kill install.sh before its command of this number; returns whether it has that many."""
    trap = f"trap '((++n < {number})) || kill -9 $$' DEBUG; . \"$0\""
    done = subprocess.run(
        ["bash", "-c", f"set -o functrace; n=0; {trap}", str(script), *words],
        env={**os.environ, "BAI_WIZARD_ROOT": str(root)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


def active(root: Path) -> str:
    """What the installed program prints."""
    done = subprocess.run(
        ["sh", str(root / "opt/bai-wizard/current/bin/bai-wizard")], capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


@pytest.mark.parametrize("after", ["1.1", "1.0"])
def test_a_kill_at_any_command_of_an_upgrade_leaves_a_working_version(tmp_path: Path, root: Path, after: str) -> None:
    """Also if the same version is installed again. The next installation completes the work."""
    first, second = unpacked(tmp_path / "first", "1.0"), unpacked(tmp_path / "second", after)
    kept = tmp_path / "kept"
    install(first, root)
    shutil.copytree(root, kept, symlinks=True)
    last = next(number for number in range(50, 1000, 25) if not killed(second, replaced(root, kept), number))
    assert active(root) == after
    seen = set()
    for number in sampled("commands of install.sh", range(1, last), 6):
        if killed(second, replaced(root, kept), number):
            seen.add(active(root))
            assert seen <= {"1.0", after}, f"killed before command {number}"
            done = install(second, root)
            assert (done.returncode, active(root)) == (0, after), f"killed before command {number}: {done.stderr}"
            names = {path.name for path in (root / "opt/bai-wizard").iterdir()}
            assert len(names - {"current", "previous"}) == len({"1.0", after}), names
    assert "1.0" in seen


def replaced(root: Path, kept: Path) -> Path:
    """The root directory with the content that was kept."""
    shutil.rmtree(root)
    shutil.copytree(kept, root, symlinks=True)
    return root


def test_the_same_tree_gives_the_same_archive(tmp_path: Path, root: Path) -> None:
    """Also when it is packed again from an installation, which `bundle` does."""
    archive = packed(tmp_path, "1.0")
    install(unpacked(tmp_path / "elsewhere", "1.0"), root)
    os.umask(0o077)
    tree = root / "opt/bai-wizard/1.0"
    (tmp_path / "again").mkdir()
    pack_wizard(tree, tree / "install.sh", tmp_path / "again" / archive.name)
    os.umask(0o022)
    assert (tmp_path / "again" / archive.name).read_bytes() == archive.read_bytes()


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
def test_uninstall_leaves_runs_and_backups_unless_requested(
    tmp_path: Path, root: Path, word: tuple[str, ...], kept: bool
) -> None:
    install(unpacked(tmp_path, "1.0"), root)
    run = root / "var/lib/bai-wizard/runs/20260101T000000-abcd/journal.jsonl"
    run.parent.mkdir(parents=True)
    run.write_text("{}\n")
    assert install(root / "opt/bai-wizard/1.0/install.sh", root, "--uninstall", *word).returncode == 0
    assert set(files(root)) == {"run/bai-wizard/lock"} | ({str(run.relative_to(root))} if kept else set())


def test_the_tree_of_the_package_is_not_changed(tmp_path: Path, root: Path) -> None:
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
    assert "damaged" in refused(script, root)


def refused(script: Path, root: Path) -> str:
    """What install.sh said when it refused, with nothing installed."""
    done = install(script, root)
    assert (done.returncode, list((root / "opt").rglob("*")) if (root / "opt").exists() else []) == (3, [])
    return done.stderr


def add(name: str, text: str = "x") -> Callable[[Path], None]:
    def do(top: Path) -> None:
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text)

    return do


def listed(name: str) -> Callable[[Path], None]:
    """A file that SHA256SUMS lists with its right hash."""

    def do(top: Path) -> None:
        add(name)(top)
        done = subprocess.run(["sha256sum", "--", name], cwd=top, capture_output=True, text=True, check=True)
        with (top / "SHA256SUMS").open("a") as sums:
            sums.write(done.stdout)

    return do


def again(top: Path) -> None:
    sums = top / "SHA256SUMS"
    sums.write_text(sums.read_text() + sums.read_text().splitlines(True)[-1])


def fifo_for_the_sums(top: Path) -> None:
    (top / "SHA256SUMS").unlink()
    os.mkfifo(top / "SHA256SUMS")


def link_for_the_tree(top: Path) -> None:
    (top / "tree").rename(top.parent / "aside")
    (top / "tree").symlink_to("../aside")


SITE = "tree/python/lib/python3.13/site-packages"
HARM: dict[str, Callable[[Path], None]] = {
    "a module": add(f"{SITE}/sitecustomize.py"),
    "a .pth file": add(f"{SITE}/x.pth"),
    "a .pth file that is listed": listed(f"{SITE}/x.pth"),
    "a file beside the tree": add("more"),
    "a hidden file": add("tree/.x"),
    "a file in a directory of its own": add("tree/x/y/z"),
    "a name with a line break": add("tree/VERSION\ninstall.sh"),
    "a listed name with a line break": listed("tree/a\nb"),
    "a changed install.sh": lambda top: add("install.sh", f"{(top / 'install.sh').read_text()}\n# x\n")(top),
    "a missing file": lambda top: (top / "tree/VERSION").unlink(),
    "no sums": lambda top: (top / "SHA256SUMS").unlink(),
    "a line twice": again,
    "a file above": listed("../outside"),
    "a link": lambda top: (top / "tree/x").symlink_to("VERSION"),
    "a link to a directory": lambda top: (top / "tree/x").symlink_to("/etc"),
    "a link for the tree": link_for_the_tree,
    "a dangling link": lambda top: (top / "tree/x").symlink_to("nowhere"),
    "a FIFO": lambda top: os.mkfifo(top / "tree/x"),
    "a FIFO for the sums": fifo_for_the_sums,
    "a device": lambda top: os.mknod(top / "tree/x", 0o20666, os.makedev(1, 5)),
    "a file of another user": lambda top: os.chown(top / "tree/VERSION", 1000, 0),
    "a file that others can write": lambda top: (top / "tree/VERSION").chmod(0o646),
    "a file that a group can write": lambda top: (top / "tree/VERSION").chmod(0o664),
    "sums of another user": lambda top: os.chown(top / "SHA256SUMS", 1000, 0),
    "a directory of another user": lambda top: os.chown(top / "tree/bin", 1000, 0),
    "a directory that others can write": lambda top: (top / "tree").chmod(0o777),
    "its own directory": lambda top: os.chown(top, 1000, 0),
    "its own directory, open to all as /tmp": lambda top: top.chmod(0o1777),
    "the directory above": lambda top: os.chown(top.parent, 1000, 0),
    "the directory above, open to all": lambda top: top.parent.chmod(0o777),
    "the directory above, open to a group": lambda top: top.parent.chmod(0o770),
    "a directory further above": lambda top: os.chown(top.parent.parent, 1000, 0),
}


@pytest.mark.parametrize("harm", HARM)
def test_files_that_others_added_or_can_change_are_refused(tmp_path: Path, root: Path, harm: str) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    script = unpacked(tmp_path / "a/b", "1.0")
    HARM[harm](script.parent)
    assert "install.sh: " in refused(script, root)


def test_an_archive_below_tmp_is_installed(tmp_path: Path, root: Path) -> None:
    """Where every user can create files, but no other user can rename those of root."""
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o1777)
    (tmp_path / "open/tmp.x").mkdir(mode=0o700)
    done = install(unpacked(tmp_path / "open/tmp.x", "1.0"), root)
    assert done.returncode == 0, done.stderr


def test_an_archive_brings_its_own_directory_and_is_roots(tmp_path: Path) -> None:
    with tarfile.open(packed(tmp_path, "1.0")) as archive:
        members = archive.getmembers()
    assert (members[0].name, members[0].isdir(), members[0].mode) == (
        f"bai-wizard-1.0-{platform.machine()}",
        True,
        0o755,
    )
    assert {(member.uid, member.gid, member.uname, member.mode & 0o7022) for member in members} == {(0, 0, "root", 0)}
    assert all(member.isfile() or member.isdir() for member in members)
    assert all(member.name.startswith(f"{members[0].name}/") for member in members[1:])


@pytest.mark.parametrize("name", ["x.pth", "link"])
def test_a_tree_that_install_sh_would_refuse_is_not_packed(tmp_path: Path, name: str) -> None:
    packed(tmp_path, "1.0")
    tree = tmp_path / "made/1.0"
    (tree / name).symlink_to("VERSION") if name == "link" else (tree / name).touch()
    with pytest.raises(StepFailed, match="cannot be packed"):
        pack_wizard(tree, CHECKOUT / "packaging/install.sh", tmp_path / "x.tar.gz")


@pytest.mark.parametrize("fault", ["", "other bytes", "a tree that waits"])
def test_the_first_install_verifies_a_digest_in_a_new_directory(tmp_path: Path, root: Path, fault: str) -> None:
    """README's own lines, with everything that another user could have put into a shared directory."""
    stick, shared = tmp_path / "stick", tmp_path / "shared"
    for directory in (stick, shared):
        directory.mkdir()
    shared.chmod(0o1777)
    archive = packed(stick, "1.0")
    lines = first_install(str(stick), archive)
    assert "*" not in lines
    if fault == "other bytes":
        archive.write_bytes(packed(tmp_path, "1.1").read_bytes())
    waiting = shared / archive.name.removesuffix(".tar.gz") / "install.sh"
    for trap in (waiting, shared / "bai-wizard--/install.sh"):
        trap.parent.mkdir()
        trap.write_text(f"touch {tmp_path}/others\n")
        os.chown(trap.parent, 1000, 1000)
    environment = {**os.environ, "BAI_WIZARD_ROOT": str(root), "TMPDIR": str(shared)}
    done = subprocess.run(
        ["sh", "-c", lines], cwd=shared, env=environment, capture_output=True, text=True, check=False
    )
    assert not (tmp_path / "others").exists()
    assert (done.returncode == 0, (root / "opt").exists()) == (
        (False, False) if fault == "other bytes" else (True, True)
    )


def test_an_archive_of_another_architecture_is_refused(tmp_path: Path, root: Path) -> None:
    done = install(unpacked(tmp_path, "1.0", "vax"), root)
    assert done.returncode == ExitCode.PREFLIGHT
    assert "is for vax" in done.stderr


@pytest.mark.parametrize("is_link", [False, True])
def test_another_users_program_is_not_changed(tmp_path: Path, root: Path, *, is_link: bool) -> None:
    theirs, tool = root / "usr/local/bin/bai-wizard", tmp_path / "tools/bai-wizard"
    for path in (theirs, tool):
        path.parent.mkdir(parents=True)
    tool.write_text("theirs")
    if is_link:
        theirs.symlink_to(tool)
    else:
        theirs.write_text("theirs")
    script = unpacked(tmp_path, "1.0")
    assert "left unchanged" in install(script, root).stdout
    install(script, root, "--uninstall")
    assert (theirs.read_text(), theirs.is_symlink()) == ("theirs", is_link)


def test_unknown_arguments_print_usage(tmp_path: Path, root: Path) -> None:
    assert install(unpacked(tmp_path, "1.0"), root, "--remove").returncode == ExitCode.ANSWERS


def test_units_are_copies_that_follow_the_current_version(tmp_path: Path, root: Path) -> None:
    """`systemctl enable` would resolve a link to a directory of one version, which a later upgrade removes."""
    old = unpacked(tmp_path / "old", "1.0")
    tree = small_tree(tmp_path / "tree", "1.1")
    archive = tmp_path / "bai-wizard-1.1.tar.gz"
    pack_wizard(tree, CHECKOUT / "packaging/install.sh", archive)
    subprocess.run(["tar", "-C", str(tmp_path), "-xzf", str(archive)], check=True)
    new = tmp_path / "bai-wizard-1.1/install.sh"
    systemd = root / "usr/local/lib/systemd"
    sources = {path.name: path.read_bytes() for path in (CHECKOUT / "packaging/systemd").iterdir()}

    def units() -> dict[str, bytes]:
        paths = [path for path in systemd.rglob("*") if not path.is_dir()]
        assert not any(path.is_symlink() for path in paths)
        return {path.name: path.read_bytes() for path in paths}

    for script, words, expected in (
        (old, (), {}),
        (new, (), sources),
        (new, ("--rollback",), {}),
        (new, (), sources),
    ):
        done = install(script, root, *words)
        assert done.returncode == 0, done.stderr
        assert units() == expected
    enabled = root / "etc/systemd/system/timers.target.wants/bai-wizard-drift.timer"
    enabled.parent.mkdir(parents=True)
    enabled.symlink_to("/usr/local/lib/systemd/system/bai-wizard-drift.timer")
    assert install(new, root, "--uninstall").returncode == 0
    assert units() == {}
    assert not enabled.is_symlink()
