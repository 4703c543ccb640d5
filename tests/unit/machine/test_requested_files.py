"""Files that root writes at the operator's request into directories that another user has manipulated."""

from __future__ import annotations

import os
import random
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from bai_wizard.core.errors import PreflightError
from bai_wizard.node.run_as import Identity, run_as
from bai_wizard.node.user_files import check_requested_file, make_requested_directory, write_requested_file
from bai_wizard.ui.saving import refuse_path, save_text
from tests.waiting import ends

pytestmark = pytest.mark.needs_root

# Numbers that no database knows.
EVE, OPERATOR, OPERATORS_GROUP = 64001, 64002, 64003
SECRET = b"root's own\n"
Prepare = Callable[[Path], object]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree with root's secret, eve's home (0777, as in the attack) and a sticky directory."""
    for name in ("SUDO_UID", "SUDO_GID"):
        monkeypatch.delenv(name, raising=False)
    for above in (tmp_path, *tmp_path.parents):
        with suppress(PermissionError):
            above.chmod(above.stat().st_mode | 0o011)
    (tmp_path / "root").mkdir(mode=0o700)
    (tmp_path / "root/secret").write_bytes(SECRET)
    home = tmp_path / "eve"
    home.mkdir()
    os.chown(home, EVE, EVE)
    home.chmod(0o777)
    (tmp_path / "op").mkdir()
    os.chown(tmp_path / "op", OPERATOR, EVE)
    (tmp_path / "sticky").mkdir()
    (tmp_path / "sticky").chmod(0o1777)
    return tmp_path


@pytest.fixture
def sudo(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After `place`, which takes these names away."""
    monkeypatch.setenv("SUDO_UID", str(OPERATOR))
    monkeypatch.setenv("SUDO_GID", str(OPERATORS_GROUP))


def as_eve(function: Callable[..., object], *args: object) -> None:
    run_as(Identity(EVE, EVE, ()), lambda: (function(*args), None)[1])


def outside(directory: Path) -> dict[str, tuple[int, int, int, int, int]]:
    """What is not eve's, with what tells of a change or of a read."""
    result = {}
    for top, directories, files in os.walk(directory):
        if top.startswith(str(directory / "eve")):
            continue
        for name in [*directories, *files]:
            state = os.lstat(os.path.join(top, name))
            # A directory also grows by names that came and went.
            size = 0 if stat.S_ISDIR(state.st_mode) else state.st_size
            result[os.path.join(top, name)] = (state.st_mode, state.st_uid, state.st_gid, size, state.st_ino)
    return result


def owner_and_mode(path: Path) -> tuple[int, int, int]:
    state = path.lstat()
    assert stat.S_ISREG(state.st_mode)
    return state.st_uid, state.st_gid, state.st_mode & 0o7777


@pytest.mark.parametrize(
    ("where", "under_sudo", "expected"),
    [
        ("root", False, (0, 0)),
        ("root", True, (OPERATOR, OPERATORS_GROUP)),
        ("sticky", False, (0, 0)),
        ("sticky", True, (OPERATOR, OPERATORS_GROUP)),
        ("eve", False, (EVE, EVE)),
        ("eve", True, (EVE, EVE)),
        ("op", True, (OPERATOR, OPERATORS_GROUP)),
    ],
)
def test_a_new_file_has_its_owner_and_mode(
    place: Path, monkeypatch: pytest.MonkeyPatch, where: str, under_sudo: bool, expected: tuple[int, int]
) -> None:
    if under_sudo:
        monkeypatch.setenv("SUDO_UID", str(OPERATOR))
        monkeypatch.setenv("SUDO_GID", str(OPERATORS_GROUP))
    file = place / where / "handover.md"
    os.umask(0)
    try:
        check_requested_file(str(file))
        assert not file.exists(), "a check changes nothing"
        assert write_requested_file(str(file), b"words\n") == "new"
    finally:
        os.umask(0o022)
    assert file.read_bytes() == b"words\n"
    assert owner_and_mode(file) == (*expected, 0o600)
    assert os.listdir(file.parent) == [file.name] or where == "root", "no temporary file is left"


def link_to(target: str) -> Prepare:
    def prepare(file: Path) -> None:
        file.symlink_to(file.parents[1] / target)

    return prepare


def theirs(file: Path) -> None:
    file.write_text("eve's")
    os.chown(file, EVE, EVE)


def link_of_theirs(file: Path) -> None:
    theirs(file.with_name("x"))
    os.link(file.with_name("x"), file)


def link_beside(file: Path) -> None:
    file.with_name("x").write_text("x")
    file.symlink_to("x")


TRAPS: dict[str, Prepare] = {
    "link to a file of root's": link_to("root/secret"),
    "dangling link": link_to("root/new"),
    "link to a directory": link_to("root"),
    "link to a file beside it": link_beside,
    "FIFO": os.mkfifo,
    "directory": os.mkdir,
    "socket": lambda file: os.mknod(file, stat.S_IFSOCK | 0o666),
    "device": lambda file: os.mknod(file, stat.S_IFCHR | 0o666, os.makedev(1, 3)),
    "file of eve's": theirs,
    "hard link to a file of root's": lambda file: os.link(file.parents[1] / "root/secret", file),
    "hard link to a file of eve's": link_of_theirs,
}


@pytest.mark.parametrize("trap", TRAPS)
@pytest.mark.parametrize("where", ["eve", "sticky", "root"])
def test_files_of_others_are_refused_immediately(place: Path, where: str, trap: str) -> None:
    file = place / where / "handover.md"
    TRAPS[trap](file)
    before, state = outside(place), file.lstat()
    for act in (check_requested_file, lambda path: write_requested_file(path, b"words\n")):
        with ends("opening a FIFO"), pytest.raises(PreflightError, match=r"handover\.md .*; choose another name$"):
            act(str(file))
    assert outside(place) == before
    assert (file.lstat().st_ino, file.lstat().st_mode, file.lstat().st_size) == (
        state.st_ino, state.st_mode, state.st_size
    )  # fmt: skip
    assert (place / "root/secret").read_bytes() == SECRET
    assert [name for name in os.listdir(place / where) if "bai-wizard" in name] == []
    assert refuse_path(str(file)) != ""
    with pytest.raises(PreflightError):
        save_text(file, "words\n")
    assert (place / "root/secret").read_bytes() == SECRET


@pytest.mark.parametrize("owner", [0, OPERATOR])
@pytest.mark.parametrize("where", ["root", "sticky", "eve"])
@pytest.mark.usefixtures("sudo")
def test_an_older_file_of_roots_or_the_invokers_is_replaced(place: Path, where: str, owner: int) -> None:
    file = place / where / "handover.md"
    file.write_text("older\n")
    os.chown(file, owner, owner)
    before = file.stat().st_ino
    assert write_requested_file(str(file), b"words\n") == "new"
    assert file.read_bytes() == b"words\n"
    assert file.stat().st_ino != before


def test_nothing_is_replaced_where_that_is_not_wanted(place: Path) -> None:
    for act in (check_requested_file, lambda path, **more: write_requested_file(path, b"words\n", **more)):
        with pytest.raises(PreflightError, match="exists; choose another name"):
            act(str(place / "root/secret"), replace=False)
    assert (place / "root/secret").read_bytes() == SECRET


def directory(path: Path, owner: int, mode: int) -> None:
    path.mkdir()
    os.chown(path, owner, owner)
    path.chmod(mode)


def link(path: Path, target: Path | str, owner: int = EVE) -> None:
    path.symlink_to(target)
    os.lchown(path, owner, owner)


# What is prepared, and the path that is asked for then, both below the place.
DIRECTORY_TRAPS: dict[str, tuple[Prepare, str]] = {
    "link to root's directory": (lambda directory: link(directory / "eve/out", directory / "root"), "eve/out/x.md"),
    "link of root's there": (lambda directory: link(directory / "eve/out", directory / "root", 0), "eve/out/x.md"),
    "link to its directory": (lambda directory: link(directory / "eve/out", directory), "eve/out/root/x.md"),
    "relative link upwards": (lambda directory: link(directory / "eve/out", "../root"), "eve/out/x.md"),
    ".. behind a link": (lambda directory: link(directory / "eve/out", directory / "root"), "eve/out/../x.md"),
    "link in a sticky directory": (
        lambda directory: link(directory / "sticky/out", directory / "root"),
        "sticky/out/x.md",
    ),
    "root's link in a sticky one": (
        lambda directory: link(directory / "sticky/out", directory / "root", 0),
        "sticky/out/x.md",
    ),
    "file as a directory": (lambda _place: None, "root/secret/x.md"),
    "no directory": (lambda _place: None, "eve/none/x.md"),
    "owner cannot write": (lambda location: directory(location / "eve/out", EVE, 0o500), "eve/out/x.md"),
    "root's directory below eve's": (lambda location: directory(location / "eve/out", 0, 0o755), "eve/out/x.md"),
    "root's, open to everybody": (lambda location: directory(location / "shared", 0, 0o777), "shared/x.md"),
    "the directory itself": (lambda _place: None, "root/"),
    "a dot": (lambda _place: None, "root/."),
    "two dots": (lambda _place: None, "root/.."),
    "a NUL": (lambda _place: None, "root/x\0.md"),
    "a long name": (lambda _place: None, f"root/{'x' * 300}.md"),
}


@pytest.mark.parametrize("trap", DIRECTORY_TRAPS)
def test_a_path_that_others_can_turn_is_refused(place: Path, trap: str) -> None:
    prepare, name = DIRECTORY_TRAPS[trap]
    prepare(place)
    before = outside(place)
    for act in (check_requested_file, lambda path: write_requested_file(path, b"words\n")):
        with pytest.raises(PreflightError):
            act(f"{place}/{name}")
    if "link" in trap:
        with pytest.raises(PreflightError):
            write_requested_file(f"{place}/{name}/deeper.md", b"words\n", parents=True)
    assert outside(place) == before


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(PreflightError, match="does not name a file"):
        check_requested_file("")


def test_relative_paths_in_a_directory_of_eves(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "eve/sub").mkdir()
    os.chown(place / "eve/sub", EVE, EVE)
    monkeypatch.chdir(place / "eve/sub")
    for path in ("a.md", "./b.md", "../c.md", "../../root/../root/d.md"):
        write_requested_file(path, b"words\n")
    assert owner_and_mode(place / "eve/sub/a.md") == (EVE, EVE, 0o600)
    assert owner_and_mode(place / "eve/c.md") == (EVE, EVE, 0o600)
    assert owner_and_mode(place / "root/d.md") == (0, 0, 0o600)
    (place / "eve/sub/a.md").unlink()
    os.symlink(place / "root/secret", place / "eve/sub/a.md")
    with pytest.raises(PreflightError, match=r"a\.md is a symbolic link"):
        write_requested_file("a.md", b"words\n")
    monkeypatch.chdir(place / "eve")
    monkeypatch.setattr(os, "getcwd", lambda: "(unreachable)/eve")
    with pytest.raises(PreflightError, match="working directory"):
        write_requested_file("a.md", b"words\n")


def test_missing_directories_are_made_for_the_owner_alone(place: Path, sudo: None) -> None:
    write_requested_file(str(place / "eve/.local/state/draft"), b"x", parents=True)
    write_requested_file(str(place / "root/state/bai-wizard/draft"), b"x", parents=True)
    for path, owner in (
        ("eve/.local", (EVE, EVE)),
        ("eve/.local/state", (EVE, EVE)),
        ("root/state", (OPERATOR, OPERATORS_GROUP)),
        ("root/state/bai-wizard", (OPERATOR, OPERATORS_GROUP)),
    ):
        state = (place / path).stat()
        assert (state.st_uid, state.st_gid, state.st_mode & 0o7777) == (*owner, 0o700), path
    make_requested_directory(str(place / "eve/.local/state"))


def test_the_previous_version_is_kept_but_never_through_a_trap(place: Path, sudo: None) -> None:
    file = place / "sticky/answers.toml"
    assert "saved" in save_text(file, "one\n")
    assert "already" in save_text(file, "one\n")
    assert "~" in save_text(file, "two\n")
    assert (file.read_text(), file.with_name("answers.toml~").read_text()) == ("two\n", "one\n")
    file.with_name("answers.toml~").unlink()
    os.mkfifo(file.with_name("answers.toml~"))
    with pytest.raises(PreflightError, match="not a regular file"):
        save_text(file, "three\n")
    assert file.read_text() == "two\n"


def test_an_ordinary_user_writes_as_itself(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SUDO_UID means nothing without root."""
    monkeypatch.setenv("SUDO_UID", "0")
    as_eve(write_requested_file, str(place / "eve/mine.md"), b"words\n")
    as_eve(write_requested_file, str(place / "sticky/mine.md"), b"words\n")
    assert owner_and_mode(place / "eve/mine.md") == owner_and_mode(place / "sticky/mine.md") == (EVE, EVE, 0o600)
    (place / "sticky/theirs.md").write_text("root's")
    for path in ("root/x.md", "sticky/theirs.md"):
        with pytest.raises(PreflightError):
            as_eve(write_requested_file, str(place / path), b"words\n")
    assert (place / "sticky/theirs.md").read_text() == "root's"


@pytest.mark.parametrize("value", ["", "0", "-1", "4294967295", "x", "١", " 5", "9" * 5000])
def test_an_unknown_sudo_uid_is_ignored(place: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("SUDO_UID", value)
    write_requested_file(str(place / "root/x.md"), b"words\n")
    assert owner_and_mode(place / "root/x.md") == (0, 0, 0o600)


@contextmanager
def swapping(directory: Path, what: Callable[[Path], None]) -> Iterator[None]:
    """Eve changes her directory as fast as she can."""
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setresgid(EVE, EVE, EVE)
        os.setresuid(EVE, EVE, EVE)
        while True:
            with suppress(OSError):
                what(directory)
    try:
        yield
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def swap_directory(directory: Path) -> None:
    """`out` is in turn a directory and a link to root's."""
    os.mkdir(directory / "eve/out")
    os.symlink(directory / "root", directory / "eve/link")
    os.rename(directory / "eve/out", directory / f"eve/old{random.random()}")
    os.rename(directory / "eve/link", directory / "eve/out")
    os.unlink(directory / "eve/out")


def swap_file(directory: Path) -> None:
    """`out/x.md` is in turn nothing, a link to root's secret, a hard link and a FIFO."""
    with suppress(FileExistsError):
        os.mkdir(directory / "eve/out")
    makers: tuple[Prepare, ...] = (
        lambda path: path.symlink_to(directory / "root/secret"),
        os.mkfifo,
        lambda path: os.link(directory / "eve/mine", path),
    )
    for make in makers:
        with suppress(OSError):
            make(directory / "eve/new")
            os.rename(directory / "eve/new", directory / "eve/out/x.md")
    os.unlink(directory / "eve/out/x.md")


@pytest.mark.parametrize("what", [swap_directory, swap_file])
def test_swapping_wins_nothing(place: Path, what: Callable[[Path], None]) -> None:
    before = outside(place)
    with swapping(place, what):
        end = time.monotonic() + 0.8
        while time.monotonic() < end:
            with suppress(PreflightError):
                write_requested_file(str(place / "eve/out/x.md"), b"words\n", parents=True)
    assert outside(place) == before
    assert (place / "root/secret").read_bytes() == SECRET


@pytest.mark.parametrize("path", ["/proc/report.md", "/sys/report.json", "/proc/sys/kernel/report.md"])
def test_a_file_system_that_takes_no_files_is_refused_by_the_check(path: str) -> None:
    with pytest.raises(PreflightError, match="cannot be written"):
        check_requested_file(path)


def test_the_check_leaves_nothing_behind(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o700)
    check_requested_file(str(tmp_path / "report.md"))
    assert list(tmp_path.iterdir()) == []
