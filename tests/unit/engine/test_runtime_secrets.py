"""Secrets of a run exist in a file only while its executor starts, however the run ends."""

from __future__ import annotations

import ast
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from bai_wizard import compose
from bai_wizard.core.errors import AnswersError, PreflightError, StepFailed
from bai_wizard.core.page import Context
from bai_wizard.core.secret import Secret
from bai_wizard.core.step import Plan
from bai_wizard.engine import launch
from bai_wizard.engine.directory import RunDirectory, create_run
from bai_wizard.engine.lock import StatePaths
from bai_wizard.node import passwords
from bai_wizard.session import Session, local_session
from tests.waiting import until

TEXT = "correct horse battery"


@pytest.fixture
def paths(tmp_path: Path) -> StatePaths:
    return StatePaths(tmp_path)


def left(paths: StatePaths) -> list[Path]:
    """Every file below the root that holds the secret."""
    return [path for path in paths.root.rglob("*") if path.is_file() and TEXT in path.read_text(errors="replace")]


@pytest.fixture
def desired(monkeypatch: pytest.MonkeyPatch) -> compose.DesiredState:
    """A wish whose pending pages lend one secret."""

    def write(paths: StatePaths, _plan: Plan, _desired: compose.DesiredState) -> None:
        passwords.publish(paths.runtime_secrets, {"images.registries[0].password": Secret(TEXT)})

    monkeypatch.setattr(compose, "_publish_secrets", write)
    return compose.DesiredState({}, (), Context(host="h"))


def session(paths: StatePaths, start: Callable[..., None]) -> Session:
    return Session(compose.local_machine(str(paths.root)), paths, start, lambda _run: None)


def fails(error: BaseException) -> Callable[..., None]:
    def start(*_arguments: object) -> None:
        raise error

    return start


@pytest.mark.parametrize("error", [PreflightError("no"), KeyboardInterrupt(), OSError("no")])
def test_an_executor_that_cannot_be_started_leaves_nothing(
    paths: StatePaths, desired: compose.DesiredState, error: BaseException
) -> None:
    seen: list[list[Path]] = []

    def start(_run: RunDirectory, _digest: str) -> None:
        seen.append(left(paths))
        raise error

    with pytest.raises(type(error)):
        session(paths, start).begin(Plan("h"), desired)
    assert seen == [[paths.runtime_secrets]]
    assert left(paths) == []


def test_secrets_that_cannot_be_written_whole_leave_nothing(
    paths: StatePaths, desired: compose.DesiredState, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unspeakable(Secret):
        def reveal(self) -> str:
            raise AnswersError([])

    def write(paths: StatePaths, _plan: Plan, _desired: compose.DesiredState) -> None:
        passwords.publish(paths.runtime_secrets, {"a": Secret(TEXT), "b": Unspeakable("x")})

    monkeypatch.setattr(compose, "_publish_secrets", write)
    with pytest.raises(AnswersError):
        session(paths, fails(AssertionError("was started"))).begin(Plan("h"), desired)
    assert not paths.runtime_secrets.exists()


@pytest.mark.parametrize("wanted", [True, False])
def test_a_file_that_a_killed_start_left_is_gone(
    paths: StatePaths, desired: compose.DesiredState, monkeypatch: pytest.MonkeyPatch, wanted: bool
) -> None:
    """Also by a run that needs no secret, or an undo, which gets none of them."""
    passwords.publish(paths.runtime_secrets, {"a": Secret("an older one")})
    paths.runtime_secrets.chmod(0o644)
    monkeypatch.setattr(launch, "_await_executor", lambda *_given, **_named: None)
    if not wanted:
        monkeypatch.setattr(compose, "_publish_secrets", lambda *_given: None)
    seen: list[str] = []

    def start(*_given: object) -> None:
        seen.append(paths.runtime_secrets.read_text() if paths.runtime_secrets.exists() else "")
        assert not seen[0] or paths.runtime_secrets.stat().st_mode & 0o777 == 0o600

    session(paths, start).begin(Plan("h"), desired)
    assert "older" not in seen[0]
    assert bool(seen[0]) == wanted
    assert not paths.runtime_secrets.exists()


PUBLISHED = "runtime_secrets_published"


def test_every_start_of_an_executor_cleans_up() -> None:
    """Each call in the package is in a block of `runtime_secrets_published`; a session's starter is called in one."""
    names = ("start_executor(", "self.start(run", "start(run")
    for path in Path(compose.__file__).parent.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        blocks = [node for node in ast.walk(tree) if isinstance(node, ast.With | ast.FunctionDef)]
        safe = [
            block
            for block in blocks
            if (block.name == "start" if isinstance(block, ast.FunctionDef) else PUBLISHED in ast.unparse(block))
        ]
        inside = {id(node) for block in safe for node in ast.walk(block)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node).startswith(names):
                assert id(node) in inside, f"{path}: {ast.unparse(node)}"


def pid_in(file: Path) -> int:
    """The process id that a child writes into a file, once it is there."""
    until(lambda: file.exists() and file.read_text().strip(), str(file))
    return int(file.read_text())


@pytest.mark.parametrize("killed", [False, True])
def test_the_executor_has_them_though_their_name_is_gone(
    paths: StatePaths, desired: compose.DesiredState, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    """Also one that is killed before it reads anything."""
    os.mkfifo(paths.root / "go")
    command = f"echo $$ >{paths.root}/pid; read x <{paths.root}/go; grep -c horse >{paths.root}/found"
    monkeypatch.setattr(launch, "executor_argv", lambda *_arguments: ["sh", "-c", command])
    monkeypatch.setattr(launch, "_await_executor", lambda *_given, **_named: None)
    local_session(str(paths.root)).begin(Plan("h"), desired)
    assert left(paths) == []
    pid = pid_in(paths.root / "pid")
    if killed:
        os.kill(pid, signal.SIGKILL)
    else:
        (paths.root / "go").write_text("\n")
    os.waitpid(pid, 0)
    assert left(paths) == []
    assert (paths.root / "found").exists() != killed
    if not killed:
        assert (paths.root / "found").read_text() == "1\n"


def test_without_secrets_the_input_is_empty(paths: StatePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    command = f"readlink /proc/$$/fd/0 >{paths.root}/in; echo $$ >{paths.root}/pid"
    monkeypatch.setattr(launch, "executor_argv", lambda *_arguments: ["sh", "-c", command])
    run = create_run(paths, Plan("h"), {})
    launch.start_executor(run, "", paths)
    # Waited for by its number: another test of this process may have left a child.
    os.waitpid(pid_in(paths.root / "pid"), 0)
    assert (paths.root / "in").read_text() == "/dev/null\n"


def test_claimed_from_standard_input_which_is_empty_afterwards(paths: StatePaths) -> None:
    passwords.publish(paths.runtime_secrets, {"a": Secret(TEXT)})
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.dup2(os.open(paths.runtime_secrets, os.O_RDONLY), 0)
            passwords.claim_secrets()
            assert passwords.runtime_secret("a").reveal() == TEXT
            assert os.readlink("/proc/self/fd/0") == "/dev/null"
            others = [os.path.realpath(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]
            os.write(writer, f"{others.count(str(paths.runtime_secrets))}".encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    assert os.waitpid(child, 0)[1] == 0
    # One is the descriptor of this very test, which the executor does not have.
    assert os.read(reader, 10) == b"1"
    os.close(reader)


def test_a_missing_secret_is_a_failure() -> None:
    with pytest.raises(StepFailed, match="no longer available"):
        passwords.runtime_secret("images.registries[7].password")


def test_systemd_opens_the_file(paths: StatePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[list[str]] = []

    def spawn(argv: list[str], output: int, stdin: str = os.devnull) -> int:
        called.append([*argv, stdin])
        return os.posix_spawn("/bin/true", ["true"], {})

    monkeypatch.setattr(launch, "_spawn", spawn)
    run = create_run(paths, Plan("h"), {})
    passwords.publish(paths.runtime_secrets, {"a": Secret(TEXT)})
    launch._start_unit(["true"], run, str(paths.runtime_secrets))
    assert f"--property=StandardInput=file:{paths.runtime_secrets}" in called[0]
    assert called[0][-1] == os.devnull
    assert TEXT not in " ".join(called[0])
