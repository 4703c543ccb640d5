"""Damaged interpreters and environments: the damage is found in their files and repaired in place."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from bai_wizard.core.errors import AccessDenied
from bai_wizard.core.machine import Completed
from bai_wizard.core.operation import admits
from bai_wizard.core.page import Context, Known
from bai_wizard.core.state import (
    INCOMPLETE,
    Account,
    Entry,
    Interpreter,
    Key,
    Package,
    State,
    Tree,
    Venv,
    distribution_key,
    file_key,
    interpreter_key,
    tree_key,
    venv_key,
)
from bai_wizard.core.step import Blocked, Pending, Unchanged
from bai_wizard.node.interpreter_check import argv_of
from bai_wizard.node.simulated import Environment, SimulatedMachine
from bai_wizard.pages.account.steps import AuthorizedKeys
from bai_wizard.pages.python.plan import steps
from bai_wizard.pages.python.probe import PythonFacts, fault_of_chosen
from bai_wizard.pages.python.settings import PythonSettings
from bai_wizard.resources.pythons import distribution_at, venv_at
from bai_wizard.resources.pythons_apply import replace_altered
from bai_wizard.resources.trees_apply import give_at
from tests.settings import settings_from

VERSION = "3.13.9"
BUILD = f"/home/bai/.static-python/versions/{VERSION}"
VENV = "/home/bai/manager/.venv"
SITE = "lib/python3.13/site-packages"
DIRECTORY = Entry("directory", 1100, 1100, 0o755)
WELL: dict[Key, State] = {
    Key("user", "bai"): Account("bai", 1100, 1100, "", "/home/bai", "/bin/bash"),
    **{file_key(path): DIRECTORY for path in ("/home/bai", "/home/bai/manager", VENV, f"{VENV}/bin", f"{VENV}/lib",
       "/home/bai/.static-python", "/home/bai/.static-python/versions", BUILD)},
    interpreter_key(BUILD): Interpreter(VERSION),
    tree_key(BUILD): Tree("x"),
    tree_key(VENV): Tree("y"),
    venv_key(VENV): Venv(VERSION, f"{BUILD}/bin"),
    **{distribution_key(VENV, name): Package("1") for name in ("pip", "setuptools", "wheel")},
}  # fmt: skip


def verdicts(states: dict[Key, State], fault: str = "", *, here: bool = True) -> dict[str, Any]:
    facts = PythonFacts(standalone=Known((VERSION,) if here else ()), fault=Known(fault))
    settings = settings_from(PythonSettings, {"version": VERSION, "venvs": [{"service": "manager"}]})
    node = SimulatedMachine(states)
    return {step.id: step.inspect(node) for step in steps(settings, facts, Context(backend_ai="26.4"))}


def reported(verdict: Any) -> str:
    assert isinstance(verdict, Pending), verdict
    return "\n".join(change.headline() for change in verdict.changes)


def test_healthy_environments_are_not_changed() -> None:
    assert all(isinstance(verdict, Unchanged) for verdict in verdicts(WELL).values())


def test_an_environment_whose_interpreter_is_restored_does_not_block() -> None:
    """The interpreter is made again at the same place, so nothing has to be brought back by hand."""
    gone = {key: state for key, state in WELL.items() if key.name != BUILD}
    result = verdicts({**gone, venv_key(VENV): Venv("", f"{BUILD}/bin")}, here=False)
    assert not any(isinstance(verdict, Blocked) for verdict in result.values()), result
    assert BUILD in reported(result["python.interpreter"])


def test_an_environment_of_a_foreign_python_is_still_refused() -> None:
    result = verdicts({**WELL, venv_key(VENV): Venv("", "/opt/python/bin")})
    assert isinstance(result["python.venvs"], Blocked)
    assert "no longer exists; it was in /opt/python/bin" in result["python.venvs"].reason


def test_an_environment_is_relinked_and_keeps_its_packages() -> None:
    result = verdicts({**WELL, venv_key(VENV): Venv(VERSION, f"{BUILD}/bin", fault="bin/python is another")})
    assert reported(result["python.venvs"]) == f"~ {VENV}/  relinked to {BUILD}: bin/python is another"


def test_code_that_is_gone_is_installed_again() -> None:
    result = verdicts({**WELL, distribution_key(VENV, "pip"): Package(INCOMPLETE)})
    assert f"pip in {VENV}" in reported(result["python.venvs"])


@pytest.mark.parametrize("path", ["/home/bai/manager", VENV, f"{VENV}/bin", f"{VENV}/lib", BUILD])
def test_files_that_now_belong_to_root_are_chowned_back(path: str) -> None:
    result = verdicts({**WELL, file_key(path): Entry("directory", 0, 0, 0o700)})
    changes = "\n".join(reported(verdict) for verdict in result.values() if isinstance(verdict, Pending))
    assert f"~ {path}  0:0 0700 → 1100:1100 0700" in changes
    assert not any(isinstance(verdict, Blocked) for verdict in result.values())


class AsAccount(SimulatedMachine):
    """Answers as a child with the account's ids does: it does not get through a directory that is closed to it."""

    def state(self, key: Key) -> State | None:
        for path in ("/home/bai/.static-python", "/home/bai/.static-python/versions", BUILD):
            existing = super().state(file_key(path))
            assert isinstance(existing, Entry)
            is_closed = existing.uid == 0 or not existing.mode & 0o100
            if is_closed and key.name.startswith(path) and key != file_key(path):
                raise AccessDenied(f"{path}: permission denied")
        return super().state(key)


@pytest.mark.parametrize("path", ["/home/bai/.static-python", "/home/bai/.static-python/versions", BUILD])
@pytest.mark.parametrize("closed", [Entry("directory", 0, 0, 0o700), Entry("directory", 1100, 1100, 0)])
def test_a_closed_directory_above_the_interpreter_is_given_back(path: str, closed: Entry) -> None:
    node = AsAccount({**WELL, file_key(path): closed})
    facts = PythonFacts(standalone=Known((VERSION,)), fault=Known(""))
    settings = settings_from(PythonSettings, {"version": VERSION, "venvs": []})
    download, interpreter, *_ = steps(settings, facts, Context(backend_ai="26.4"))
    assert isinstance(download.inspect(node), Unchanged)
    assert f"~ {path}" in reported(interpreter.inspect(node))
    assert admits(interpreter.scope(), file_key(path))


def test_files_of_a_third_account_are_refused() -> None:
    result = verdicts({**WELL, file_key(VENV): Entry("directory", 1234, 1234, 0o755)})
    assert isinstance(result["python.venvs"], Blocked)
    assert "belongs to UID 1234" in result["python.venvs"].reason


@pytest.mark.parametrize(
    ("fault", "repaired"),
    [
        ("it does not run: Permission denied", True),
        ("it does not run: <no Python frame>", True),
        ("it lacks ssl (ssl: No module named 'ssl')", True),
        ("it lacks lzma (lzma: No module named '_lzma')", False),
        ("it needs a newer CPU than this one (illegal instruction)", False),
    ],
)
def test_a_damaged_build_is_restored_from_its_archive(fault: str, repaired: bool) -> None:
    """A build that never had an extension, or is for another processor, would be no better afterwards."""
    result = verdicts(WELL, fault)
    if repaired:
        assert f"restore {BUILD}/  Python {VERSION}: {fault}" in reported(result["python.interpreter"])
        assert isinstance(result["python.download"], Pending)
    else:
        assert isinstance(result["python.interpreter"], Blocked)


def test_keys_below_a_directory_of_root() -> None:
    step = AuthorizedKeys(id="account.authorized-keys", account="bai", home="/home/bai",
                          keys=("ssh-ed25519 " + "A" * 60,))  # fmt: skip
    node = SimulatedMachine({**WELL, file_key("/home/bai/.ssh"): Entry("directory", 0, 0, 0o700)})
    assert "~ /home/bai/.ssh  0:0 0700 → 1100:1100 0700" in reported(step.inspect(node))


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """An environment, and the Python that it is of; empty files for programs."""
    for name in ("base/bin", "other/bin", f"venv/{SITE}/pip", f"venv/{SITE}/pip-1.dist-info", "venv/bin"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("base/bin/python3.13", "other/bin/python3.13"):
        (tmp_path / name).write_text(name)
    for top in ("base", "other"):
        (tmp_path / top / "bin/python3").symlink_to("python3.13")
    (tmp_path / "venv/bin/python").symlink_to(tmp_path / "base/bin/python3")
    for name in ("python3", "python3.13"):
        (tmp_path / "venv/bin" / name).symlink_to("python")
    (tmp_path / "venv/bin/activate").write_text("")
    (tmp_path / "venv/bin/pip").write_text("#!/bin/sh\n")
    (tmp_path / "venv/bin/pip").chmod(0o755)
    (tmp_path / f"venv/{SITE}/pip/__init__.py").write_text("")
    listed = (
        "../../../bin/pip",
        "pip/__init__.py",
        "pip/__pycache__/__init__.cpython-313.pyc",
        "pip-1.dist-info/RECORD",
    )
    (tmp_path / f"venv/{SITE}/pip-1.dist-info/RECORD").write_text("".join(f"{name},,\n" for name in listed))
    (tmp_path / "venv/pyvenv.cfg").write_text(f"home = {tmp_path}/base/bin\nversion_info = {VERSION}\n")
    return tmp_path / "venv"


def read(venv: Path) -> tuple[Venv | None, Package | None]:
    above = os.open(venv.parent, os.O_RDONLY)
    try:
        return venv_at(above, venv.name), distribution_at(above, venv.name, "pip")
    finally:
        os.close(above)


def test_an_environment_that_is_whole(venv: Path) -> None:
    assert read(venv) == (Venv(VERSION, f"{venv.parent}/base/bin"), Package("1"))


def test_a_copied_program_is_as_good_as_a_link(venv: Path) -> None:
    (venv / "bin/python").unlink()
    (venv / "bin/python").write_text("base/bin/python3.13")
    assert read(venv)[0] == Venv(VERSION, f"{venv.parent}/base/bin")


DAMAGES = {
    "python is another": "ln -sfn {top}/other/bin/python3 bin/python",
    "python3 is another": "ln -sfn {top}/other/bin/python3 bin/python3; printf longer >> {top}/other/bin/python3.13",
    "python3 is gone": "rm bin/python3",
    "no scripts for shells": "rm bin/activate",
    "home is another": "sed -i s,/base/,/other/, pyvenv.cfg",
    "home is nowhere": "sed -i s,/base/,/nowhere/, pyvenv.cfg",
}


@pytest.mark.parametrize("script", DAMAGES.values(), ids=DAMAGES)
def test_a_link_that_is_wrong_is_a_fault(venv: Path, script: str) -> None:
    assert os.system(f"cd {venv} && {script.format(top=venv.parent)}") == 0
    result, _ = read(venv)
    assert result is not None
    assert result.fault


@pytest.mark.parametrize("gone", [f"{SITE}/pip", f"{SITE}/pip/__init__.py", "bin/pip"])
def test_a_distribution_without_its_code_is_incomplete(venv: Path, gone: str) -> None:
    assert os.system(f"rm -r {venv}/{gone}") == 0
    assert read(venv)[1] == Package(INCOMPLETE)


@pytest.mark.parametrize(
    "script", ["chmod 644 bin/pip", "sed -i 1s,/bin/sh,/nowhere/python, bin/pip", "ln -sf /nowhere bin/pip"]
)
def test_a_program_that_does_not_start_is_incomplete(venv: Path, script: str) -> None:
    assert os.system(f"cd {venv} && {script}") == 0
    assert read(venv)[1] == Package(INCOMPLETE)


def test_restoring_replaces_only_changed_files(tmp_path: Path) -> None:
    built, there = tmp_path / "built", tmp_path / "there"
    for top in (built, there):
        (top / "lib/encodings").mkdir(parents=True)
        (top / "bin").mkdir()
        (top / "lib/encodings/__init__.py").write_text("same")
        (top / "bin/python3.13").write_text("program")
        (top / "bin/python3.13").chmod(0o755)
        (top / "bin/python3").symlink_to("python3.13")
    (there / "bin/python3.13").chmod(0o644)
    (there / "lib/encodings/__init__.py").unlink()
    (there / "lib/encodings").rmdir()
    (there / "lib/encodings").write_text("a file in its place")
    (there / "bin/python3").unlink()
    (there / "lib/mine.py").write_text("somebody's")
    replace_altered(str(built), str(there))
    assert (there / "lib/encodings/__init__.py").read_text() == "same"
    assert (there / "bin/python3.13").stat().st_mode & 0o777 == 0o755
    assert os.readlink(there / "bin/python3") == "python3.13"
    assert (there / "lib/mine.py").read_text() == "somebody's"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_giving_back_follows_no_link_and_leaves_files_of_several_names(tmp_path: Path) -> None:
    (tmp_path / "tree/inner").mkdir(parents=True)
    (tmp_path / "system").write_text("root's")
    (tmp_path / "tree/link").symlink_to(tmp_path / "system")
    os.link(tmp_path / "system", tmp_path / "tree/inner/hard")
    (tmp_path / "tree/inner/file").write_text("")
    (tmp_path / "tree/inner/other").write_text("")
    os.chown(tmp_path / "tree/inner/other", 1234, 1234)
    above = os.open(tmp_path, os.O_RDONLY)
    try:
        give_at(above, "tree", 1100, 1100, True)
    finally:
        os.close(above)
    owners = {path.name: path.lstat().st_uid for path in (tmp_path / "tree").rglob("*")}
    assert owners == {"inner": 1100, "link": 1100, "hard": 0, "file": 1100, "other": 1234}
    assert (tmp_path / "tree").stat().st_uid == 1100
    assert (tmp_path / "system").stat().st_uid == 0


@pytest.mark.parametrize(("mode", "known"), [(0o644, True), (0o755, False)])
def test_an_inaccessible_parent_is_not_damage_of_a_build(mode: int, known: bool) -> None:
    """Putting its files back would change nothing; the account's page says what is closed."""
    ids = ("setpriv", "--reuid", "1100", "--regid", "1100", "--init-groups")
    none = ("--no-new-privs", "--bounding-set=-all", "--inh-caps=-all")
    own = ("env", "-i", "HOME=/home/bai", "LC_ALL=C.UTF-8", "PATH=/usr/local/bin:/usr/bin:/bin")
    asked = (*ids, *none, *own, *argv_of(f"{BUILD}/bin/python3"))
    program = Entry("file", 1100, 1100, mode, b"")
    node = SimulatedMachine(
        {**WELL, file_key(f"{BUILD}/bin/python3.13"): program},
        Environment(looks={asked: Completed(126, "", "env: python3: Permission denied")}),
    )
    settings = settings_from(PythonSettings, {"version": VERSION})
    fault = fault_of_chosen(node, settings, PythonFacts(standalone=Known((VERSION,))), Context(backend_ai="26.4"))
    assert isinstance(fault, Known) is known, fault
