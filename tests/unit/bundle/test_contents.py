"""A bundle must match its manifest exactly, and a run uses only copies that no one else can change."""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from bai_wizard.compose import DesiredState
from bai_wizard.core.errors import PreflightError
from bai_wizard.core.machine import Completed
from bai_wizard.core.page import Context
from bai_wizard.node.package_tool import newest_bundled, only_source
from bai_wizard.offline import manifest as contents
from bai_wizard.offline.manifest import (
    Held,
    Manifest,
    content_faults,
    control_fault,
    digest_of,
    held_in,
    open_bundle,
    path_fault,
    read_manifest,
)
from bai_wizard.offline.packages import control_of
from bai_wizard.offline.use_bundle import from_bundle, provided
from bai_wizard.resources.local import LocalMachine
from bai_wizard.resources.pythons import PackageSources
from bai_wizard.resources.pythons_apply import _sources

FILES = {
    "python/20260101/cpython.tar.gz": b"an interpreter",
    "wheels/pip-1.0-py3-none-any.whl": b"a wheel",
    "packages/tool_1.0_all.deb": b"a package",
    "images/0123456789ab-tool.tar": b"an image",
    "wizard/bai-wizard-1.0-x86_64.tar.gz": b"the wizard",
}
CONTROL = (
    "Package: tool\nVersion: 1.0\nArchitecture: all\nMaintainer: t <t@example.test>\nDescription: a tool\n .\n x"
)


@pytest.fixture(autouse=True)
def never_hangs() -> Any:
    """A FIFO that is opened, or a device that is read to its end, fails the test."""

    def late(*_: Any) -> None:
        raise AssertionError("something that is not a regular file was opened")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A whole bundle of one file in each part."""
    return made(tmp_path / "bundle", FILES)


def made(directory: Path, files: dict[str, bytes], **control: str) -> Path:
    for name, data in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(data)
    held = tuple(
        replace(one, control=control.get("control", CONTROL)) if one.part == "packages" else one
        for one in held_in(directory)
    )
    Manifest(platform.machine(), "0", held).write(directory)
    return directory


def settings_of(bundle: Path, digest: str = "") -> dict[str, Any]:
    """What a run's settings.json says of its bundle."""
    return {"tables": {"sources": {"bundle": str(bundle), "bundle_digest": digest or digest_of(bundle)}}}


def refused_by_the_plan(bundle: Path, digest: str = "") -> str:
    with pytest.raises(PreflightError) as raised:
        from_bundle(DesiredState({}, (), Context(host="a01")), str(bundle), digest)
    return str(raised.value)


def refused_by_the_run(settings: dict[str, Any], root: Path) -> str:
    """Nothing is left of the copies either."""
    with pytest.raises(PreflightError) as raised, provided(settings, root):
        pass
    assert list((root / "var/cache/bai-wizard").glob("bundles/*")) == []
    return str(raised.value)


def put(name: str, data: bytes = b"x") -> Callable[[Path], None]:
    def do(bundle: Path) -> None:
        (bundle / name).parent.mkdir(parents=True, exist_ok=True)
        (bundle / name).write_bytes(data)

    return do


def instead(name: str, make: Callable[[Path], None]) -> Callable[[Path], None]:
    """Something else under the name of a listed file or directory; what was there is beside the bundle."""

    def do(bundle: Path) -> None:
        (bundle / name).rename(bundle.parent / "aside")
        make(bundle / name)

    return do


def a_socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


WHEEL, DEB = "wheels/pip-1.0-py3-none-any.whl", "packages/tool_1.0_all.deb"
HARM: dict[str, Callable[[Path], None]] = {
    "an index with by-hash": put("packages/Release", b"Acquire-By-Hash: yes\n"),
    "an index": put("packages/Packages"),
    "a compressed index": put("packages/Packages.xz"),
    "a second index": put("packages/by-hash/SHA256/" + "0" * 64),
    "a signed index": put("packages/InRelease"),
    "a second package": put("packages/tool_2.0_all.deb"),
    "a newer wheel": put("wheels/pip-99.0-py3-none-any.whl"),
    "a source distribution": put("wheels/pip-99.0.tar.gz"),
    "a file beside the parts": put("pip.conf"),
    "a hidden file": put("wheels/.pip"),
    "apt's state": put(".apt/lists/x"),
    "another part": put("more/x"),
    "a file deeper": put("python/20260101/deeper/x"),
    "another case": put("wheels/PIP-1.0-py3-none-any.whl"),
    "an empty directory": lambda bundle: (bundle / "wheels/x").mkdir(),
    "a link beside": lambda bundle: (bundle / "wheels/x.whl").symlink_to("pip-1.0-py3-none-any.whl"),
    "a name of strange bytes": lambda bundle: Path(os.fsdecode(os.fsencode(bundle) + b"/wheels/\xff\x1b[2J")).touch(),
    "a missing file": lambda bundle: (bundle / DEB).unlink(),
    "a shorter file": put(DEB, b"a packag"),
    "a longer file": put(DEB, b"a package!"),
    "no sums": lambda bundle: (bundle / "SHA256SUMS").unlink(),
    "a link": instead(WHEEL, lambda path: path.symlink_to("../../aside")),
    "an absolute link": instead(WHEEL, lambda path: path.symlink_to("/etc/hostname")),
    "a dangling link": instead(WHEEL, lambda path: path.symlink_to("nowhere")),
    "a link to a device": instead(WHEEL, lambda path: path.symlink_to("/dev/zero")),
    "a link for a directory": instead("wheels", lambda path: path.symlink_to("../aside")),
    "a directory": instead(WHEEL, lambda path: path.mkdir()),
    "a FIFO": instead(WHEEL, lambda path: os.mkfifo(path)),
    "a socket": instead(WHEEL, a_socket),
    "a FIFO for the sums": instead("SHA256SUMS", lambda path: os.mkfifo(path)),
}
UNSEEN_BY_THE_PLAN: dict[str, Callable[[Path], None]] = {
    "other bytes": put(DEB, b"A package"),
    "other sums": lambda bundle: put("SHA256SUMS", (bundle / "SHA256SUMS").read_bytes().replace(b"a", b"b"))(bundle),
    "other bytes of what is not copied": put("images/0123456789ab-tool.tar", b"AN IMAGE"),
    "other bytes of the wizard": put("wizard/bai-wizard-1.0-x86_64.tar.gz", b"THE WIZARD"),
}


@pytest.mark.parametrize("harm", HARM)
def test_more_less_or_other_files_than_listed_are_refused(bundle: Path, tmp_path: Path, harm: str) -> None:
    """With the right digest of the manifest: it vouches for what it lists and for nothing else."""
    digest = digest_of(bundle)
    HARM[harm](bundle)
    for message in (refused_by_the_plan(bundle, digest), refused_by_the_run(settings_of(bundle), tmp_path / "root")):
        assert "does not match its manifest" in message
        assert "\x1b" not in message.replace("\\x1b", "") or harm == "a name of strange bytes"
    assert refused_by_the_plan(bundle), "the same without --bundle-digest"


@pytest.mark.parametrize("harm", UNSEEN_BY_THE_PLAN)
def test_other_content_is_refused_before_the_run_begins(bundle: Path, tmp_path: Path, harm: str) -> None:
    UNSEEN_BY_THE_PLAN[harm](bundle)
    assert "different content" in refused_by_the_run(settings_of(bundle), tmp_path / "root")


@pytest.mark.needs_root
@pytest.mark.parametrize("device", [(stat.S_IFCHR, 1, 5), (stat.S_IFBLK, 7, 0)])
def test_a_device_is_never_opened(bundle: Path, tmp_path: Path, device: tuple[int, int, int]) -> None:
    (bundle / WHEEL).unlink()
    os.mknod(bundle / WHEEL, device[0] | 0o666, os.makedev(*device[1:]))
    assert "device" in refused_by_the_plan(bundle)
    assert "device" in refused_by_the_run(settings_of(bundle), tmp_path / "root")


@pytest.mark.parametrize("kind", ["FIFO", "link", "directory", "huge", "no JSON", "deep", "list", "binary"])
def test_an_invalid_manifest_is_refused(bundle: Path, tmp_path: Path, kind: str) -> None:
    settings = settings_of(bundle)
    file = bundle / "manifest.json"
    data = file.read_bytes()
    file.unlink()
    if kind == "FIFO":
        os.mkfifo(file)
    elif kind == "link":
        (tmp_path / "manifest.json").write_bytes(data)
        file.symlink_to(tmp_path / "manifest.json")
    elif kind == "directory":
        file.mkdir()
    elif kind == "huge":
        with file.open("wb") as sparse:
            sparse.truncate(1 << 40)
    else:
        file.write_bytes({"no JSON": b"{", "deep": b"[" * 100_000, "list": b"[]", "binary": b"\xff\xfe"}[kind])
    assert "manifest.json" in refused_by_the_plan(bundle)
    assert "manifest.json" in refused_by_the_run(settings, tmp_path / "root")


PATHS = [
    "", ".", "..", "/", "/etc/shadow", "/dev/zero", "../../etc/shadow", "wheels/../../../etc/shadow", "wheels",
    "wheels/", "wheels//x", "/wheels/x", "wheels/.", "wheels/..", "wheels/./x", "./wheels/x", "wheels/.hidden",
    "wheels/-x", "wheels/x\n", "wheels/x\ny", "wheels/x\0", "wheels/\x1b[2Jx", "wheels/x\u202ey", "wheels/x\u2028y",
    "wheels/ x", "wheels/x ", "wheels/a\\b", "wheels/\udcff", "WHEELS/x", "wheels/a/b/c/d", "wheels/" + "x" * 256,
    "manifest.json", "SHA256SUMS", ".apt/x", "other/x", "packages/Packages", "packages/Release", "packages/x.deb/y",
    "packages/by-hash/x.deb", "packages/a b.deb", "packages/x.DEB", "packages/../x.deb", "packages/x;y.deb",
    "c:/x", "~/x", "$HOME/x", "http://x/wheels/x",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_a_manifest_names_no_path_outside_its_parts(bundle: Path, path: str) -> None:
    """Without a pinned digest, an attacker can write the manifest."""
    body = json.loads((bundle / "manifest.json").read_text())
    body["files"].append({"path": path, "sha256": sha256(b"").hexdigest(), "size": 0, "control": CONTROL})
    (bundle / "manifest.json").write_text(json.dumps(body))
    assert "cannot be read as a manifest" in refused_by_the_plan(bundle)


@pytest.mark.parametrize(
    "change",
    [
        {"size": -1}, {"size": "9"}, {"size": True}, {"size": 9.0}, {"size": None}, {"sha256": "A" * 64},
        {"sha256": ""}, {"sha256": 0}, {"path": 1}, {"path": None}, {"control": 1}, {"control": ""},
    ],
)  # fmt: skip
def test_a_manifest_has_all_required_fields_of_each_file(bundle: Path, change: dict[str, Any]) -> None:
    body = json.loads((bundle / "manifest.json").read_text())
    (item,) = [item for item in body["files"] if item["path"] == DEB]
    item.update(change)
    (bundle / "manifest.json").write_text(json.dumps(body))
    assert "cannot be read as a manifest" in refused_by_the_plan(bundle)


@pytest.mark.parametrize("other", [DEB, "packages/TOOL_1.0_all.deb"])
def test_a_file_is_listed_once(bundle: Path, other: str) -> None:
    """A stick that does not tell capitals apart has one file for both names."""
    body = json.loads((bundle / "manifest.json").read_text())
    (item,) = [item for item in body["files"] if item["path"] == DEB]
    body["files"].append({**item, "path": other})
    (bundle / "manifest.json").write_text(json.dumps(body))
    assert "twice" in refused_by_the_plan(bundle)


@pytest.mark.parametrize(
    "control",
    [
        "", "\n", CONTROL + "\n", CONTROL + "\n\nPackage: other\nVersion: 2", CONTROL + "\nFilename: ./other.deb",
        CONTROL + "\nsha256: 00", CONTROL + "\nSize: 1", CONTROL + "\nVersion: 2", CONTROL + "\nversion: 2",
        " x\n" + CONTROL, "# x\n" + CONTROL, CONTROL + "\n \nx: y", CONTROL + "\r\nFilename: x", CONTROL + "\0",
        CONTROL + "\x0bFilename: x", CONTROL.replace("Version", "Revision"), CONTROL + "\nno field",
        CONTROL.replace("1.0", "--log=/etc/x"), CONTROL.replace("1.0", "1 0"), CONTROL.replace("1.0", ""),
        CONTROL.replace("Version: 1.0", "Version:\n 1.0"), CONTROL.replace(": tool", ": -tool"),
    ],
)  # fmt: skip
def test_control_fields_are_one_paragraph_without_reserved_fields(control: str) -> None:
    assert control_fault(control)
    assert not control_fault(CONTROL)


def test_names_that_bundles_have_are_allowed() -> None:
    names = (
        *FILES,
        "images/0123456789ab-내 이미지 (1).tar",
        "packages/docker-ce_5%3a28.5.1-1~debian.13+b1_amd64.deb",
    )
    assert [name for name in names if path_fault(name)] == []


def test_copies_belong_to_root_only_and_do_not_change(bundle: Path, tmp_path: Path) -> None:
    """The carrier changes every file as soon as the run has begun; the copies are removed at its end."""
    with provided(settings_of(bundle), tmp_path / "root") as copies:
        for name in FILES:
            (bundle / name).write_bytes(b"others")
            (bundle / name).rename(bundle / f"{name}.old")
        assert Path(copies.packages, "tool_1.0_all.deb").read_bytes() == FILES[DEB]
        assert Path(copies.wheels, "pip-1.0-py3-none-any.whl").read_bytes() == FILES[WHEEL]
        assert sorted(os.listdir(copies.packages)) == ["Packages", "tool_1.0_all.deb"]
        assert os.listdir(copies.wheels) == ["pip-1.0-py3-none-any.whl"]
        assert stat.S_IMODE(os.stat(copies.packages).st_mode) == 0o700
        private = Path(copies.packages).parent
        for path in (private.parent, private, *private.rglob("*")):
            status = path.lstat()
            assert (status.st_uid, status.st_mode & 0o022) == (os.geteuid(), 0), path
    assert list(private.parent.iterdir()) == []


def test_a_file_that_changes_while_it_is_read_is_refused_or_was_copied_whole(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In place, by renaming and by growing, after each single read."""
    monkeypatch.setattr(contents, "CHUNK", 3)
    read = contents._read_file
    for change in ("in place", "renamed", "grown", "cut"):
        directory = made(tmp_path / change, FILES)
        settings, wheel = settings_of(directory), directory / WHEEL

        def meddle(file: int, limit: int, change: str = change, wheel: Path = wheel) -> bytes:
            data = read(file, limit)
            if change == "in place":
                with wheel.open("r+b") as other:
                    other.write(b"A WHEEL")
            elif change == "renamed":
                (wheel.parent / "new").write_bytes(b"A WHEEL")
                (wheel.parent / "new").rename(wheel)
            elif change == "grown":
                with wheel.open("ab") as other:
                    other.write(b"more")
            else:
                os.truncate(wheel, 1)
            return data

        monkeypatch.setattr(contents, "_read_file", meddle)
        message = "different content"
        try:
            with provided(settings, tmp_path / "root") as copies:
                assert Path(copies.wheels, wheel.name).read_bytes() == FILES[WHEEL]
        except PreflightError as error:
            message = str(error)
        assert "different content" in message
        monkeypatch.setattr(contents, "_read_file", read)


def test_the_next_run_removes_leftovers_but_nothing_in_use(bundle: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    script = (
        "import json, os, signal, sys; from pathlib import Path; from bai_wizard.offline.use_bundle import provided\n"
        "with provided(json.loads(sys.argv[1]), Path(sys.argv[2])): os.kill(os.getpid(), signal.SIGKILL)"
    )
    argv = [sys.executable, "-c", script, json.dumps(settings_of(bundle)), str(root)]
    assert subprocess.run(argv, check=False).returncode == -signal.SIGKILL
    base = root / "var/cache/bai-wizard/bundles"
    assert len(list(base.iterdir())) == 1, "the kill came before the copies"
    with provided(settings_of(bundle), root) as mine:
        assert [str(path) for path in base.iterdir()] == [str(Path(mine.wheels).parent)]
    (base / "killed/packages").mkdir(parents=True)
    with provided({}, root) as nothing:
        assert list(base.iterdir()) == [], "also by a run without a bundle"
        assert (nothing.packages, nothing.wheels) == ("", "")


@pytest.mark.parametrize("failing", ["the run", "the copy"])
def test_copies_are_removed_whatever_happens(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    root = tmp_path / "root"
    if failing == "the run":
        with pytest.raises(KeyboardInterrupt), provided(settings_of(bundle), root):
            raise KeyboardInterrupt
    else:

        def full(_file: int, _data: bytes) -> int:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "write", full)
        assert "No space left" in refused_by_the_run(settings_of(bundle), root)
    assert list((root / "var/cache/bai-wizard/bundles").iterdir()) == []


@pytest.mark.parametrize("pages, needed", [((), 64), (("images",), 164)])
def test_without_room_for_the_copies_nothing_begins(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pages: tuple[str, ...], needed: int
) -> None:
    with (bundle / "images/0123456789ab-tool.tar").open("r+b") as image:
        image.truncate(100 << 20)
    Manifest(platform.machine(), "0", tuple(
        replace(one, control=CONTROL) if one.part == "packages" else one for one in held_in(bundle)
    )).write(bundle)  # fmt: skip
    room = os.statvfs(tmp_path)
    free = ((needed << 20) - 1) // room.f_frsize
    monkeypatch.setattr(os, "statvfs", lambda _path: os.statvfs_result((*room[:4], free, *room[5:])))
    message = refused_by_the_run({**settings_of(bundle), "pages": list(pages)}, tmp_path / "root")
    assert f"{needed} MiB" in message
    assert "Nothing was changed" in message


def test_a_directory_of_countless_files_is_not_read_to_its_end(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(100):
        (bundle / f"wheels/{number}").touch()
    manifest = read_manifest(bundle)
    looked: list[str] = []
    walk = contents._walk

    def counted(*words: Any) -> Any:
        for path, status in walk(*words):
            looked.append(path)
            yield path, status

    monkeypatch.setattr(contents, "_walk", counted)
    with open_bundle(bundle) as directory:
        assert len(content_faults(directory, manifest)) == 5
    assert len(looked) < 20


def test_wheels_come_from_the_copies_wherever_the_plan_names_the_bundle() -> None:
    machine = LocalMachine()
    planned = PackageSources(find_links=("/media/usb/bundle/wheels",), no_index=True, environment=(("a", "b"),))
    assert _sources(machine, planned) == planned
    machine.wheels_from = "/var/cache/copies/wheels"
    assert _sources(machine, planned) == replace(planned, find_links=("/var/cache/copies/wheels",))
    assert _sources(machine, PackageSources(index_url="https://pypi.example")).index_url == ""


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="no dpkg here")
def test_apt_reads_our_index_and_nothing_of_the_carriers(tmp_path: Path) -> None:
    """Two versions: the newer one is the candidate, and the index says what the manifest says."""
    debs = {}
    for version in ("1.0", "1:2.0~rc1"):
        tree = tmp_path / version
        (tree / "DEBIAN").mkdir(parents=True)
        (tree / "DEBIAN/control").write_text(CONTROL.replace("1.0", version) + "\n")
        target = tmp_path / f"{version}.deb"
        subprocess.run(["dpkg-deb", "--root-owner-group", "--build", str(tree), str(target)], check=True, stdout=-3)
        debs[f"packages/tool_{version.replace(':', '%3a')}_all.deb"] = target.read_bytes()
    directory = made(tmp_path / "bundle", debs)
    held = tuple(replace(one, control=control_of(directory / one.path)) for one in held_in(directory))
    Manifest(platform.machine(), "0", held).write(directory)
    assert newest_bundled(f"{directory}/packages", "tool") == "1:2.0~rc1"
    assert newest_bundled(f"{directory}/packages", "other") is None
    state = tmp_path / "state"
    state.mkdir()
    (state / "status").touch()
    own = ["-o", f"Dir::State={state}", "-o", f"Dir::State::status={state}/status", "-o", f"Dir::Cache={state}"]

    def apt(words: Any) -> Completed:
        done = subprocess.run(["apt-get", *own, *words], capture_output=True, text=True, check=False)
        return Completed(done.returncode, done.stdout, done.stderr)

    with provided(settings_of(directory), tmp_path / "root") as copies:
        assert newest_bundled(copies.packages, "tool") == "1:2.0~rc1"
        with only_source(copies.packages, apt) as options:
            completed = apt([*options, "--print-uris", "install", "tool"])
        index = Path(copies.packages, "Packages").read_text()
    (line,) = [line for line in completed.out.splitlines() if line.startswith("'")]
    (newer,) = [one for one in held if "2.0" in one.path]
    assert copies.packages in line
    assert "2.0" in line
    assert f"Size: {newer.size}\nSHA256: {newer.sha256}\n" in index


def test_held_files_are_regular_ones(bundle: Path) -> None:
    assert Held(DEB, sha256(FILES[DEB]).hexdigest(), 9) in held_in(bundle)
