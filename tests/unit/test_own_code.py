"""Root runs no code that others could have modified: every sub-command and the executor verify it first."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

import bai_wizard
from bai_wizard.cli import COMMANDS
from bai_wizard.own_code import foreign_code
from bai_wizard.trusted_path import ACL, LocalUser, NodeAccounts
from tests.cache import CHECKOUT

pytestmark = pytest.mark.needs_root

ALICE, MALLORY, SHARED, UNKNOWN = 64301, 64302, 64310, 64399
USER, GROUP = 2, 8
Break = Callable[[Path], object]


@pytest.fixture(autouse=True)
def accounts(monkeypatch: pytest.MonkeyPatch) -> None:
    """alice has a private group; alice and mallory share the group `users`."""
    names = {0: LocalUser("root", 0), ALICE: LocalUser("alice", ALICE), MALLORY: LocalUser("mallory", SHARED)}
    groups = {0: (("root", ()),), ALICE: (("alice", ()),), SHARED: (("users", ("alice",)),)}
    members = {0: ("root",), ALICE: ("alice",), SHARED: ("mallory",)}
    monkeypatch.setattr(NodeAccounts, "account_by_uid", lambda _self, uid: names.get(uid))
    monkeypatch.setattr(NodeAccounts, "groups_by_gid", lambda _self, gid: groups.get(gid, ()))
    monkeypatch.setattr(NodeAccounts, "members_by_gid", lambda _self, gid: members.get(gid, ()))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment whose interpreter is a link, with the standard library, a library and the package."""
    home = tmp_path / "home/tree"
    for directory in (
        *("bin", "lib", "package/core", "cache"),
        *("site-packages/rich", "site-packages/rich-1.dist-info", "site-packages/rich.libs"),
    ):
        (home / directory).mkdir(parents=True)
    for file in (
        *("lib/os.py", "package/core/step.py", "package/core/facts.toml", "package/core/step.cpython-311.pyc"),
        *(
            "site-packages/rich/text.py",
            "site-packages/rich-1.dist-info/RECORD",
            "site-packages/linked.pth",
            "site-packages/rich-1.dist-info/entry_points.txt",
            "site-packages/old.egg-link",
        ),
        *("bin/uv", "site-packages/rich.libs/libssl.so.3"),
        *("python3.11", "pyvenv.cfg", "site-packages/notes.txt", "cache/module.py"),
    ):
        (home / file).touch()
    (home / "bin/python").symlink_to("../python3.11")
    monkeypatch.setattr(sys, "path", [str(home / "lib"), str(home / "site-packages"), "/nowhere.zip"])
    return home


def judged(directory: Path, *users: int) -> str:
    return foreign_code(str(directory / "package"), str(directory / "bin/python"), users)


def owned(name: str, uid: int, gid: int = 0, mode: int = 0o644) -> Break:
    def change(directory: Path) -> None:
        os.chown(directory / name, uid, gid, follow_symlinks=False)
        if not (directory / name).is_symlink():
            (directory / name).chmod(mode)

    return change


def listed(name: str, tag: int, who: int, permissions: int = 6) -> Break:
    def change(directory: Path) -> None:
        nobody = 2**32 - 1
        entries = [(1, 6, nobody), (tag, permissions, who), (4, 4, nobody), (0x10, 6, nobody), (0x20, 4, nobody)]
        acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in sorted(entries))
        try:
            os.setxattr(directory / name, ACL, acl)
        except OSError:
            pytest.skip("this file system has no access control lists")

    return change


def linked(name: str, target: str, then: Break) -> Break:
    """`name` becomes a link to `target`, which is prepared by `then`."""

    def change(directory: Path) -> None:
        path = directory / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        path.symlink_to(directory / target)
        then(directory)

    return change


def editable(directory: Path) -> None:
    """As setuptools does it: a finder whose module maps names to directories."""
    module = ModuleType("__editable___example_finder")
    module.MAPPING = {"example": str(directory / "cache")}  # type: ignore[attr-defined]
    finder = type("EditableFinder", (), {"__module__": module.__name__, "find_spec": lambda *_: None})
    sys.modules[module.__name__] = module
    sys.meta_path.append(finder)  # type: ignore[arg-type]
    (directory / "cache/module.py").chmod(0o666)


RICH = "site-packages/rich/text.py"
REFUSED: dict[str, Break] = {
    "a module of another user": owned("package/core/step.py", MALLORY),
    "a module that everyone can write": owned("package/core/step.py", 0, 0, 0o646),
    "a module of a shared primary group": owned("package/core/step.py", ALICE, SHARED, 0o664),
    "a module of a group nobody knows": owned("package/core/step.py", ALICE, UNKNOWN, 0o664),
    "compiled code": owned("package/core/step.cpython-311.pyc", MALLORY),
    "data": owned("package/core/facts.toml", 0, 0, 0o666),
    "a library": owned("site-packages/rich/text.py", MALLORY),
    "the directory of a library": owned("site-packages/rich", 0, SHARED, 0o775),
    "a line for the import path": owned("site-packages/linked.pth", MALLORY),
    "the standard library": owned("lib/os.py", 0, 0, 0o602),
    "a sticky directory of modules": owned("site-packages", 0, 0, 0o1777),
    "the interpreter": owned("python3.11", MALLORY, 0, 0o755),
    "the interpreter's link": owned("bin/python", MALLORY),
    "the directory of the interpreter's link": owned("bin", 0, 0, 0o777),
    "the environment's settings": owned("pyvenv.cfg", MALLORY),
    "uv beside the interpreter": owned("bin/uv", MALLORY, 0, 0o755),
    "the libraries of a wheel": owned("site-packages/rich.libs/libssl.so.3", MALLORY),
    "a directory above": owned("..", 0, SHARED, 0o775),
    "a directory further above": owned("../..", MALLORY, 0, 0o755),
    "an access list for a user": listed("package/core/step.py", USER, MALLORY),
    "an access list for a group": listed("site-packages/rich/text.py", GROUP, SHARED),
    "an access list of the directory": listed("package/core", USER, MALLORY, 7),
    "a linked package": linked("site-packages/rich", "cache", owned("cache/module.py", MALLORY)),
    "a linked module": linked("site-packages/rich/text.py", "cache/module.py", owned("cache/module.py", 0, 0, 0o666)),
    "the directory of a linked module": linked(RICH, "cache/module.py", owned("cache", 0, 0, 0o777)),
    "a link of another user": linked(RICH, "cache/module.py", owned(RICH, MALLORY)),
    "a link to nothing": linked("site-packages/rich/text.py", "cache/later.py", owned("cache", 0, 0, 0o1777)),
    "an editable installation": editable,
    "the entry points of a library": owned("site-packages/rich-1.dist-info/entry_points.txt", MALLORY),
    "what describes a library": owned("site-packages/rich-1.dist-info/RECORD", MALLORY),
    "where a library is described": owned("site-packages/rich-1.dist-info", 0, SHARED, 0o775),
    "an egg's link": owned("site-packages/old.egg-link", 0, 0, 0o666),
}  # fmt: skip
ACCEPTED: dict[str, Break] = {
    "as it was made": lambda place: None,
    "alice's": owned("package/core/step.py", ALICE),
    "alice's private group": owned("package/core/step.py", ALICE, ALICE, 0o664),
    "a sticky directory above": owned("../..", 0, 0, 0o1777),
    "an access list for alice": listed("package/core/step.py", USER, ALICE),
    "an access list to read": listed("package/core/step.py", USER, MALLORY, 4),
    "a linked package of ours": linked("site-packages/rich", "cache", owned("cache/module.py", ALICE)),
    "a link to nothing of ours": linked("site-packages/rich/text.py", "cache/later.py", owned("cache", 0, 0, 0o755)),
    "what cannot be imported": owned("site-packages/notes.txt", MALLORY),
}


@pytest.fixture
def own_finders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setitem(sys.modules, "__editable___example_finder", ModuleType("unused"))


@pytest.mark.parametrize("what", REFUSED)
def test_files_writable_by_others_are_refused(what: str, place: Path, own_finders: None) -> None:
    REFUSED[what](place)
    refusal = judged(place, ALICE)
    assert "can be written by users other than root and you" in refusal
    assert "install.sh" in refusal


@pytest.mark.parametrize("what", ACCEPTED)
def test_files_writable_by_root_and_the_caller_are_accepted(what: str, place: Path) -> None:
    ACCEPTED[what](place)
    assert judged(place, ALICE) == ""


def test_files_of_a_user_who_did_not_call_sudo_are_refused(place: Path) -> None:
    owned("package/core/step.py", ALICE)(place)
    assert "its owner alice" in judged(place)


# A whole installation in a directory of its own, started as root.
FUTURE = "from __future__ import annotations\n"
START = "import sys; sys.path.insert(0, sys.argv[1]); from bai_wizard.cli import main; sys.exit(main(sys.argv[2:]))"
ARGUMENTS = {
    "check": ["none.toml"],
    "bundle": ["none.toml", "-o", "none"],
    "compare": ["none.json"],
    "fleet": ["plan", "none.json"],
    "_execute": ["none", "--digest", "0"],
}


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package with a line of mallory's in every module that a command line may import."""
    directory = tmp_path_factory.mktemp("installation")
    source = Path(bai_wizard.__file__).parent
    shutil.copytree(source, directory / "bai_wizard", ignore=shutil.ignore_patterns("__pycache__"))
    before = {"__init__.py", "cli.py", "own_code.py", "trusted_path.py"}
    for module in (directory / "bai_wizard").rglob("*.py"):
        if module.name == "__init__.py" or str(module.relative_to(directory / "bai_wizard")) in before:
            continue
        os.chown(module, MALLORY, 0)
        line = f"open({str(directory / 'ran')!r}, 'a').close()\n"
        module.write_text(module.read_text().replace(FUTURE, f"{FUTURE}{line}"))
    return directory


def start(directory: Path, words: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", "-c", START, str(directory), *words],
        cwd=directory,
        env={"PATH": "/usr/bin:/bin", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("command", [*COMMANDS, "_execute", "--headless", "--answers", "--demo", ""])
def test_no_command_imports_code_of_another_user(command: str, installation: Path) -> None:
    words = [command, *ARGUMENTS.get(command, ["none.toml"] if command in ("--headless", "--answers") else [])]
    done = start(installation, [word for word in words if word])
    assert (done.returncode, done.stdout) == (3, ""), done.stderr
    assert "can be written by users other than root" in done.stderr
    assert not (installation / "ran").exists()


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["runs", "--help"]])
def test_version_and_help_import_none_of_it(words: list[str], installation: Path) -> None:
    assert start(installation, words).returncode == 0
    assert not (installation / "ran").exists()


def test_root_makes_no_temporary_files_where_others_can_change_them(tmp_path: Path) -> None:
    command = "import os; from bai_wizard.cli import main; main(['runs', '--root', '/nowhere'])"
    code = f"{command}; print(os.environ.get('TMPDIR'))"
    open_for_all, own, linked = tmp_path / "open", tmp_path / "own", tmp_path / "linked"
    for directory in (open_for_all, own):
        directory.mkdir()
    open_for_all.chmod(0o777)
    linked.symlink_to(open_for_all)
    for directory, kept in ((open_for_all, "None"), (linked, "None"), (own, str(own)), (Path("/tmp"), "/tmp")):
        environment = {"PATH": "/usr/bin", "TMPDIR": str(directory)}
        argv = [sys.executable, "-c", code]
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60)
        assert done.stdout.split()[-1] == kept, done.stderr


def test_files_of_the_user_who_called_sudo_are_accepted(tmp_path: Path) -> None:
    shutil.copytree(Path(bai_wizard.__file__).parent, tmp_path / "bai_wizard")
    for path in (tmp_path / "bai_wizard").rglob("*"):
        os.chown(path, MALLORY, 0)
    words = ["runs", "--root", str(tmp_path)]
    assert start(tmp_path, words, SUDO_UID=str(MALLORY)).returncode == 0
    for other in ({}, {"SUDO_UID": str(ALICE)}, {"SUDO_UID": f"-{MALLORY}"}, {"SUDO_UID": "x"}):
        assert start(tmp_path, words, **other).returncode == 3


def test_the_repository_itself_is_root_s_here() -> None:
    done = subprocess.run([sys.executable, "-I", "-m", "bai_wizard", "runs", "--root", "/nowhere"], cwd=CHECKOUT)
    assert done.returncode == 0


def test_no_text_names_a_package_on_a_public_index() -> None:
    """Otherwise, whoever registered that name first could run code as root on every node."""
    named = re.compile(r"(pip3?|pipx|uv|uvx|easy_install)\b[^\n`]{0,60}\bbai[-_]wizard\b(?!/|\.)")
    texts = [
        file
        for place in ("bai_wizard", "integrations", "packaging", "README.md")
        for file in ([CHECKOUT / place] if place.endswith(".md") else (CHECKOUT / place).rglob("*"))
        if file.is_file() and file.suffix in (".py", ".md", ".toml", ".yml", ".po", ".sh", "")
    ]
    assert len(texts) > 200
    result = {str(file.relative_to(CHECKOUT)) for file in texts if named.search(file.read_text(errors="replace"))}
    assert not result
