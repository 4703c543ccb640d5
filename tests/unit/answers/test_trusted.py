"""Files that control root must be writable by root or the invoking user only: answers, secrets, keys."""

from __future__ import annotations

import ast
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

import bai_wizard
from bai_wizard import compose
from bai_wizard.answers.load import load, loads
from bai_wizard.cli import main
from bai_wizard.commands.wizard import _draft
from bai_wizard.core.errors import PreflightError, StepFailed
from bai_wizard.core.event import silent
from bai_wizard.exit_codes import ExitCode
from bai_wizard.node.run_as import Identity, run_as
from bai_wizard.pages import ORDER, settings_of
from bai_wizard.pages.fields import SettingsPart, hints_of
from bai_wizard.pages.values import Pattern
from bai_wizard.resources.trees_apply import Acting

PACKAGE = Path(bai_wizard.__file__).parent
OPERATOR, EVE = 64001, 64002
TEXT = "version = 1\n[tuning]\n"
Spoil = Callable[[Path], None]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("SUDO_UID", "SUDO_GID"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "root/etc").mkdir(parents=True)
    (tmp_path / "root/etc/hostname").write_text("n1")
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir/answers.toml").write_text(TEXT)
    return tmp_path / "dir/answers.toml"


def owned(uid: int, gid: int, mode: int) -> Spoil:
    def spoil(path: Path) -> None:
        os.chown(path, uid, gid)
        path.chmod(mode)

    return spoil


SPOILED: dict[str, Spoil] = {
    "everyone": owned(0, 0, 0o666),
    "a group": owned(0, EVE, 0o664),
    "the operator's shared group": owned(OPERATOR, EVE, 0o664),
    "another owner": owned(EVE, EVE, 0o600),
    "its directory, everyone": lambda path: path.parent.chmod(0o777),
    "its directory, another owner": lambda path: os.chown(path.parent, EVE, EVE),
    "its directory, a group": lambda path: owned(0, EVE, 0o775)(path.parent),
    "a link of another owner": lambda path: link_to_it(path),
}


def link_to_it(path: Path) -> None:
    path.rename(path.with_name("x"))
    path.symlink_to("x")
    os.lchown(path, EVE, EVE)


def commands(file: Path) -> Iterator[list[str]]:
    root = ["--root", str(file.parents[1] / "root")]
    yield ["--headless", str(file), "--plan", *root]
    yield ["--headless", str(file), *root]
    yield ["doctor", "--answers", str(file), "--only", "no-such-check", *root]
    yield ["bundle", str(file), "-o", str(file.parents[1] / "bundle")]


@pytest.mark.needs_root
@pytest.mark.parametrize("name", SPOILED)
def test_answers_that_others_can_change_are_refused(
    file: Path, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if "operator" in name:
        monkeypatch.setenv("SUDO_UID", str(OPERATOR))
    SPOILED[name](file)
    for words in commands(file):
        assert main(words) == ExitCode.PREFLIGHT, words
        message = capsys.readouterr().err
        assert "can be changed by" in message
        assert str(file.parent) in message
    assert main(["check", str(file)]) == 0, "a check obeys nothing"
    with pytest.raises(PreflightError, match=r"run: ch(mod|own)"):
        _draft(type("Arguments", (), {"demo": None, "handed_over": "", "answers": str(file)})(), "n1")


@pytest.mark.needs_root
def test_answers_of_root_and_of_the_invoking_user_are_taken(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--headless", str(file), "--plan", "--root", str(file.parents[1] / "root")]
    assert main(words) == 0, capsys.readouterr().err
    os.chown(file, OPERATOR, OPERATOR)
    os.chown(file.parent, OPERATOR, OPERATOR)
    assert main(words) == ExitCode.PREFLIGHT
    monkeypatch.setenv("SUDO_UID", str(OPERATOR))
    assert main(words) == 0


@pytest.mark.needs_root
def test_an_ordinary_user_is_not_asked(file: Path) -> None:
    """Who is not root decides nothing for others."""
    # As many as there are: a worker has one more, and pytest closes the topmost at the beginning of each run.
    for above in file.parents:
        if not above.stat().st_mode & 0o001:
            above.chmod(above.stat().st_mode | 0o011)
    file.chmod(0o666)
    run_as(Identity(EVE, EVE, ()), lambda: str(load(str(file), "h", trusted_only=True)) and None)


@pytest.mark.needs_root
@pytest.mark.parametrize("redirect", ["- < {}", "/dev/stdin < {}", "<(cat {})", "/proc/self/fd/7 7< {}"])
def test_files_opened_by_the_caller_are_accepted(file: Path, redirect: str) -> None:
    owned(EVE, EVE, 0o666)(file)
    words = [sys.executable, "-m", "bai_wizard", "--root", f"{file.parents[1]}/root", "--plan", "--headless"]
    command = f"{shlex.join(words)} {redirect.format(shlex.quote(str(file)))}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


READERS = ("load", "load_to_edit")


def imports_reader(node: ast.AST) -> bool:
    return isinstance(node, ast.ImportFrom) and node.module == "bai_wizard.answers.load"


def test_every_reader_of_answers_declares_whether_root_trusts_them() -> None:
    """And only `check` and a simulated node do not."""
    answers = {}
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if "answers.load import load" not in text:  # also load_to_edit
            continue
        module = ast.parse(text)
        functions = [node for node in ast.walk(module) if isinstance(node, ast.FunctionDef)]
        for function in functions:
            if not any(map(imports_reader, [*module.body, *ast.walk(function)])):
                continue  # its `load` is another one
            for node in ast.walk(function):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in READERS:
                    output = {word.arg: ast.unparse(word.value) for word in node.keywords}
                    answers[str(path.relative_to(PACKAGE)), function.name] = output.get("trusted_only")
    assert answers == {
        ("commands/apply.py", "_desired"): "arguments.demo is None",
        ("commands/inspect.py", "run_bundle"): "True",
        ("commands/inspect.py", "run_check"): "False",
        ("commands/doctor.py", "_use_secrets"): "True",
        ("commands/headless.py", "run"): "not demo",
        ("commands/drift.py", "_desired"): "session is not None",
        ("ui/draft.py", "from_file"): "not demo",
        ("doctor/drift.py", "resolve_scope"): "not demo",
    }


# Every path that the answers may hold: how root uses it.
PATHS = {
    "account.home": "a place to write",
    "account.password.file": "a secret, judged where it is read",
    "images.registries.password.file": "a secret, judged where it is read",
    "account.shell": "a program that the account runs",
    "docker.data_root": "a place to write",
    "docker.key_file": "obeyed",
    "docker.registry_ca": "obeyed",
    "images.archives.file": "judged by its sha256",
    "images.registries.ca_file": "obeyed",
    "network.ca_certificates": "obeyed",
    "python.base_dir": "a place to write",
    "python.find_links": "code, judged as a tree",
    "python.mirror": "judged by the sha256 of each build",
    "python.pyenv_url": "code, judged as a tree",
    "accelerators.nvidia.key_file": "obeyed",
    "sources.bundle": "judged by its manifest",
    "storage.volumes.path": "a place to write",
    "storage.volumes.secret_file": "obeyed",
    "storage.volumes.source": "a directory that is mounted",
}
OBEYED = """version = 1
[network]
ca_certificates = ["{0}/ca.crt"]
[docker]
key_file = "{0}/docker.asc"
registry_ca = {{ "harbor.corp" = "{0}/harbor.crt" }}
[images]
registries = [{{ host = "r.corp", ca_file = "{0}/r.crt" }}]
[accelerators.nvidia]
key_file = "{0}/nvidia.asc"
[[storage.volumes]]
name = "v"
type = "cephfs"
source = "mon1:/v"
secret_file = "{0}/ceph.secret"
"""
FILES = ("ca.crt", "docker.asc", "harbor.crt", "r.crt", "nvidia.asc", "ceph.secret")


def paths_in(model: type[SettingsPart], prefix: str) -> Iterator[str]:
    for name, hint in hints_of(model).items():
        yield from _paths_of(hint, f"{prefix}.{name}")


def _paths_of(hint: Any, at: str) -> Iterator[str]:
    if isinstance(hint, type) and issubclass(hint, SettingsPart):
        yield from paths_in(hint, at)
    if any(_is_path(each) for each in getattr(hint, "__metadata__", ())):
        yield at
    for each in get_args(hint):
        yield from _paths_of(each, at)


def _is_path(mark: object) -> bool:
    return isinstance(mark, Pattern) and any(word in mark.reason for word in ("absolute path", "file:///"))


def test_every_path_of_the_answers_is_known() -> None:
    tables = sorted({*(compose.table_of(page) for page in ORDER), "sources", "node", "doctor", "maintenance"})
    result = {path for table in tables for path in paths_in(settings_of(table), table)}
    assert result == set(PATHS)
    assert sum(use == "obeyed" for use in PATHS.values()) == len(FILES)


@pytest.mark.needs_root
@pytest.mark.parametrize("name", FILES)
def test_keys_and_certificates_that_others_can_change_are_refused(tmp_path: Path, name: str) -> None:
    directory = tmp_path / "keys"
    directory.mkdir()
    for each in FILES:
        (directory / each).write_text("x")
        (directory / each).chmod(0o600)
    desired = compose.desired_from_answers(loads(OBEYED.format(directory), "a.toml", "h"))
    compose.refuse_untrusted("/", desired)
    (directory / name).chmod(0o602)
    with pytest.raises(PreflightError, match=f"{name} can be changed by everyone"):
        compose.refuse_untrusted("/", desired)
    (directory / name).chmod(0o604)
    if name == "ceph.secret":
        with pytest.raises(PreflightError, match=f"{name} can be read by everyone"):
            compose.refuse_untrusted("/", desired)
    else:
        compose.refuse_untrusted("/", desired)
    (directory / name).unlink()
    compose.refuse_untrusted("/", desired)


# How the answers name local directories and files whose content is run.
SOURCES: dict[str, tuple[str, str]] = {
    "wheels": ('find_links = ["{}/wheels"]', "wheels"),
    "wheels by a URL": ('find_links = ["file://{}/wheels"]', "wheels"),
    "wheels by a URL with escapes": ('find_links = ["file://{}/%77heels"]', "wheels"),
    "one wheel": ('find_links = ["{}/wheels/a-1-py3-none-any.whl"]', "wheels/a-1-py3-none-any.whl"),
    "the second source": ('find_links = ["https://a.corp/w", "{}/wheels"]', "wheels"),
    "pyenv": ('method = "pyenv"\npyenv_url = "file://{}/pyenv.git"', "pyenv.git"),
}
SPOILED_TREES: dict[str, Spoil] = {
    "the directory": lambda top: top.chmod(0o777),
    "a directory above": lambda top: top.parent.chmod(0o777),
    "a file": lambda top: (top / "a-1-py3-none-any.whl" if top.is_dir() else top).chmod(0o666),
    "a file in a subdirectory": lambda top: (top / "hooks/x").chmod(0o666) if top.is_dir() else top.chmod(0o666),
    "another owner": lambda top: os.chown(top, EVE, EVE),
    "a sticky directory": lambda top: top.chmod(0o1777) if top.is_dir() else top.chmod(0o666),
    "a link to another user's": lambda top: link_to_it(top),
    "missing, and others can create it": lambda top: vanish(top),
}


def vanish(path: Path) -> None:
    path.rename(path.with_name("x"))
    path.parent.chmod(0o1777)


def trees(directory: Path) -> None:
    for name in ("wheels", "pyenv.git"):
        (directory / name / "hooks").mkdir(parents=True)
        for file in ("a-1-py3-none-any.whl", "hooks/x"):
            (directory / name / file).write_text("x")


@pytest.mark.needs_root
@pytest.mark.parametrize("spoiled", SPOILED_TREES)
@pytest.mark.parametrize("name", SOURCES)
def test_code_that_others_can_change_is_not_installed(tmp_path: Path, name: str, spoiled: str) -> None:
    text, path = SOURCES[name]
    directory = tmp_path / "place"
    trees(directory)
    desired = compose.desired_from_answers(loads(f"version = 1\n[python]\n{text.format(directory)}", "a.toml", "h"))
    compose.refuse_untrusted("/", desired)
    SPOILED_TREES[spoiled](directory / path)
    with pytest.raises(PreflightError, match="can be changed by"):
        compose.refuse_untrusted("/", desired)


@pytest.mark.needs_root
def test_the_account_may_install_its_own_code(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(f"bai:x:{OPERATOR}:{OPERATOR}::/home/bai:/bin/sh\n")
    trees(tmp_path)
    os.chown(tmp_path / "wheels", OPERATOR, OPERATOR)
    desired = compose.desired_from_answers(loads('version = 1\n[python]\nfind_links = ["/wheels"]', "a.toml", "h"))
    compose.refuse_untrusted(tmp_path, desired)
    os.chown(tmp_path / "wheels", EVE, EVE)
    with pytest.raises(PreflightError, match="can be changed by its owner"):
        compose.refuse_untrusted(tmp_path, desired)


@pytest.mark.needs_root
@pytest.mark.parametrize("source", ["{}", "file://{}", "FILE://{}", "file://localhost{}", "~/wheels", "wheels"])
def test_sources_of_pips_own_settings_are_judged_before_they_are_used(tmp_path: Path, source: str) -> None:
    trees(tmp_path)
    acting = Acting(Identity(OPERATOR, OPERATOR, (), "bai", str(tmp_path)), silent)
    acting.refuse_untrusted((source.format(tmp_path / "wheels"), "https://a.corp/wheels", ""))
    (tmp_path / "wheels").chmod(0o777)
    with pytest.raises(StepFailed, match="can be changed by everyone"):
        acting.refuse_untrusted((source.format(tmp_path / "wheels"),))
