"""The output directory of a bundle: never through another user's directory or link, written as its owner."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import pytest

from bai_wizard.cli import main
from bai_wizard.exit_codes import ExitCode
from bai_wizard.node.run_as import Identity, run_as
from bai_wizard.offline import collect as command

pytestmark = pytest.mark.needs_root

OPERATOR, OPERATORS_GROUP, EVE = 64001, 64003, 64002
SECRET = b"root's own\n"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for above in (tmp_path, *tmp_path.parents):
        with suppress(PermissionError):
            above.chmod(above.stat().st_mode | 0o011)
    (tmp_path / "answers.toml").write_text("version = 1\n[tuning]\n")
    (tmp_path / "secret").write_bytes(SECRET)
    for name, owner, mode in (
        ("root", 0, 0o755),
        ("op", OPERATOR, 0o755),
        ("eve", EVE, 0o755),
        ("sticky", 0, 0o1777),
    ):
        (tmp_path / name).mkdir()
        os.chown(tmp_path / name, owner, owner)
        (tmp_path / name).chmod(mode)
    return tmp_path


class Bundle(Protocol):
    def __call__(self, output: str, *more: str, sudo: bool = False) -> tuple[int, str]: ...


@pytest.fixture
def bundle(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Bundle:
    """The command in the place, with an open umask: its exit code and what it told."""

    def run(output: str, *more: str, sudo: bool = False) -> tuple[int, str]:
        for name, value in (("SUDO_UID", OPERATOR), ("SUDO_GID", OPERATORS_GROUP)):
            monkeypatch.setenv(name, str(value)) if sudo else monkeypatch.delenv(name, raising=False)
        before = os.umask(0)
        try:
            code = main(["bundle", str(place / "answers.toml"), "-o", output, *more])
        finally:
            os.umask(before)
        message = capsys.readouterr().err
        assert "Traceback" not in message, message
        return code, message

    monkeypatch.chdir(place)
    return run


@pytest.mark.parametrize(
    ("output", "sudo", "owner"),
    [
        ("root/b", False, 0),
        ("root/b/c/", False, 0),
        ("sticky/b", False, 0),
        ("root/b", True, OPERATOR),
        ("sticky/b", True, OPERATOR),
        ("op/b", True, OPERATOR),
        ("op", True, OPERATOR),
    ],
)
def test_the_files_belong_to_the_calling_user(
    place: Path, bundle: Bundle, output: str, sudo: bool, owner: int
) -> None:
    for _ in range(2):
        code, message = bundle(output, sudo=sudo)
        assert code == ExitCode.OK, message
    files = [place / output, *(place / output).rglob("*")]
    assert {path.name for path in files} >= {"manifest.json", "SHA256SUMS"}
    for path in files:
        assert path.lstat().st_uid == owner, path
        assert not path.stat().st_mode & 0o022, path


def test_files_of_root_stay_with_root(place: Path, bundle: Bundle) -> None:
    """A directory that was named by mistake is refused, and keeps its owner."""
    (place / "root/sub").mkdir()
    (place / "root/sub/x").write_text("x")
    code, message = bundle("root", sudo=True)
    assert code != ExitCode.OK
    assert str(place / "root") in message
    assert "/proc/" not in message
    assert {path.stat().st_uid for path in (place / "root", place / "root/sub", place / "root/sub/x")} == {0}


@pytest.mark.parametrize("when", ["renamed", "a directory in it"])
def test_the_caller_cannot_replace_files_that_root_writes(
    place: Path, bundle: Bundle, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller acts while the bundle is collected; nothing is written outside of the directory."""
    real = command.collect

    def raced(desired_states: object, directory: Path, *more: object, **options: object) -> object:
        assert {path.stat().st_uid for path in (directory, *directory.rglob("*"))} == {0}
        if when == "renamed":
            run_as(Identity(OPERATOR, OPERATOR, ()), os.rename, str(place / "op/b"), str(place / "op/c"))
            (place / "op/b").symlink_to(place / "root")
        else:
            with pytest.raises(PermissionError):
                run_as(Identity(OPERATOR, OPERATOR, ()), os.symlink, str(place / "root"), f"{place}/op/b/packages")
        return real(desired_states, directory, *more, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(command, "collect", raced)
    code, message = bundle("op/b", sudo=True)
    assert code == ExitCode.OK, message
    assert list((place / "root").iterdir()) == []
    made = place / ("op/c" if when == "renamed" else "op/b")
    assert (made / "manifest.json").stat().st_uid == OPERATOR


def link(path: Path, target: Path | str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(target)


def own(path: Path) -> None:
    os.lchown(path, EVE, EVE)


def link_of_eves(directory: Path) -> None:
    link(directory / "sticky/b", directory / "root")
    own(directory / "sticky/b")


def file_of_eves(directory: Path) -> None:
    (directory / "op/x").write_text("x")
    own(directory / "op/x")


def fifo(directory: Path) -> None:
    (directory / "root/b").mkdir()
    os.mkfifo(directory / "root/b/manifest.json")


Prepare = Callable[[Path], object]
# What is prepared, the directory that is asked for then, and whether under sudo.
TRAPS: dict[str, tuple[Prepare, str, bool]] = {
    "a directory of eve's": (lambda _: None, "eve/b", False),
    "eve's own": (lambda _: None, "eve", True),
    "eve's in a sticky one": (
        lambda directory: os.rename(directory / "eve", directory / "sticky/b"),
        "sticky/b",
        False,
    ),
    "the sticky one itself": (lambda _: None, "sticky", False),
    "open to everyone": (lambda directory: (directory / "root").chmod(0o777), "root/b", False),
    "a link of eve's": (link_of_eves, "sticky/b/c", False),
    "the manifest": (lambda directory: link(directory / "op/b/manifest.json", directory / "secret"), "op/b", True),
    "its temporary": (
        lambda directory: link(directory / "op/b/.manifest.json.new", directory / "secret"),
        "op/b",
        True,
    ),
    "a part": (lambda directory: link(directory / "root/b/packages", directory / "op"), "root/b", False),
    "a dangling link": (lambda directory: link(directory / "root/b/SHA256SUMS", directory / "new"), "root/b", False),
    "a hard link": (lambda directory: os.link(directory / "secret", directory / "op/.manifest.json.new"), "op", True),
    "a FIFO": (fifo, "root/b", False),
    "a file of eve's in it": (file_of_eves, "op", True),
    "a file": (lambda _: None, "secret", False),
    "below a file": (lambda _: None, "secret/b", False),
}


@pytest.mark.parametrize("trap", TRAPS)
def test_a_place_that_others_can_change_is_refused(place: Path, bundle: Bundle, trap: str) -> None:
    prepare, output, sudo = TRAPS[trap]
    prepare(place)
    before = sorted(str(path) for path in place.rglob("*"))
    code, message = bundle(output, sudo=sudo)
    assert code == ExitCode.PREFLIGHT, message
    assert message.startswith("bai-wizard: ")
    assert sorted(str(path) for path in place.rglob("*")) == before, "nothing is touched"
    assert (place / "secret").read_bytes() == SECRET


@pytest.mark.parametrize(
    "spoiled",
    ["", "w.tar.gz", "node/etc/apt/sources.list", "node/etc/apt/keys", "node/var/lib/dpkg/status", "node/etc"],
)
def test_sources_of_a_bundle_that_others_can_change_are_refused(place: Path, bundle: Bundle, spoiled: str) -> None:
    for name in ("node/etc/apt/keys/k.asc", "node/etc/apt/sources.list", "node/var/lib/dpkg/status", "w.tar.gz"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text("")
    for path in (place / "node").rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    if spoiled:
        os.chown(place / spoiled, EVE, EVE)
    code, message = bundle("root/b", "--like", "node", "--wizard", "w.tar.gz")
    assert code == (ExitCode.PREFLIGHT if spoiled else ExitCode.OK), message
    if spoiled:
        assert f"/{spoiled} can be changed by" in message
        assert not (place / "root/b").exists()
