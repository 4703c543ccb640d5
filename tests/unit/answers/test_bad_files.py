"""Every invalid file is refused with all its problems and their lines; no secret is quoted."""

from __future__ import annotations

import os
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from bai_wizard.answers import source
from bai_wizard.answers.load import load
from bai_wizard.core.errors import AnswersError, Problem
from bai_wizard.node import regular
from tests.unit.answers.paths import BAD, CANARY, GOOD, expected

EXPECTED = expected()
HOST = "bai-a01.corp"


def problems_of(path: Path | str, host: str = HOST) -> list[Problem]:
    with pytest.raises(AnswersError) as caught:
        load(str(path), host)
    shown = "".join(traceback.format_exception(caught.value))
    assert CANARY not in shown
    return caught.value.problems


def test_the_table_of_expectations_is_complete() -> None:
    assert {path.stem for path in BAD.glob("*.toml")} - {"expected"} == set(EXPECTED)
    assert len(EXPECTED) >= 45


@pytest.mark.parametrize("name", EXPECTED)
def test_every_problem_is_reported_once_with_its_line(name: str) -> None:
    result = problems_of(BAD / f"{name}.toml")
    assert [problem.line for problem in result] == [line for line, _ in EXPECTED[name]], result
    for problem, (line, reason) in zip(result, EXPECTED[name], strict=True):
        assert reason in problem.reason
        assert str(problem).startswith(f"{BAD / name}.toml:{line}:" if line else f"{BAD / name}.toml: ")


def test_the_quoted_line_is_the_line() -> None:
    for name in EXPECTED:
        lines = (BAD / f"{name}.toml").read_bytes().decode(errors="replace").split("\n")
        for problem in problems_of(BAD / f"{name}.toml"):
            shown = [part.strip() for part in problem.quoted.rstrip("…").split("***")]
            line = "".join(character if character.isprintable() else " " for character in lines[problem.line - 1])
            assert all(part[:20] in line for part in shown)


def whole_file_problem(path: Path | str) -> str:
    (problem,) = problems_of(path)
    assert problem.line == 0
    return problem.reason


def test_ten_megabytes(tmp_path: Path) -> None:
    big = tmp_path / "big.toml"
    big.write_text("version = 1\n" + "# nothing\n" * 1_000_000)
    assert "exceeds the 1 MiB limit" in whole_file_problem(big)


def test_just_small_enough(tmp_path: Path) -> None:
    file = tmp_path / "large.toml"
    text = "version = 1\n" + ("#" * 1000 + "\n") * 1100
    file.write_text(text[: source.LIMIT])
    load(str(file), HOST)
    file.write_text(text[: source.LIMIT + 1])
    assert "exceeds the 1 MiB limit" in whole_file_problem(file)


def test_missing(tmp_path: Path) -> None:
    assert whole_file_problem(tmp_path / "no.toml") == "does not exist"
    assert "does not exist" in whole_file_problem(tmp_path / "no" / "no.toml")
    (tmp_path / "file").write_text("version = 1")
    assert "not a directory" in whole_file_problem(tmp_path / "file" / "no.toml")
    assert "not a valid path" in whole_file_problem("a\0b")
    assert "cannot be read" in whole_file_problem("x" * 5000)


def test_directory(tmp_path: Path) -> None:
    assert "is a directory" in whole_file_problem(tmp_path)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become somebody else")
def test_unreadable(tmp_path: Path) -> None:
    file = tmp_path / "secret.toml"
    file.write_text("version = 1\n")
    file.chmod(0o600)
    tmp_path.chmod(0o711)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.chdir("/")
            os.setuid(65534)
            load(str(file), HOST)
        except AnswersError as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as pipe:
        assert "permission denied" in pipe.read()


def test_chain_of_links(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert "too many levels of symbolic links" in whole_file_problem(tmp_path / "a")


def test_devices_and_sockets(tmp_path: Path) -> None:
    assert "not a regular file" in whole_file_problem("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        assert "not a regular file" in whole_file_problem(tmp_path / "socket")


def test_named_pipe_without_a_writer_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "without any input" in whole_file_problem(tmp_path / "pipe")


def test_silent_pipe_does_not_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regular, "PIPE_DEADLINE", 0.05)
    reader, writer = os.pipe()
    try:
        assert "sent no data" in whole_file_problem(f"/proc/self/fd/{reader}")
    finally:
        os.close(reader)
        os.close(writer)


def test_pipe_with_a_writer(tmp_path: Path) -> None:
    reader, writer = os.pipe()

    def write() -> None:
        with os.fdopen(writer, "w") as pipe:
            pipe.write((GOOD / "full.toml").read_text(encoding="utf-8"))

    thread = threading.Thread(target=write)
    thread.start()
    answers = load(f"/proc/self/fd/{reader}", HOST)
    thread.join()
    os.close(reader)
    assert "storage" in answers.tables


class Stdin:
    """Standard input with these bytes, or one that cannot be read any more."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self.read = read

    @property
    def buffer(self) -> Stdin:
        return self


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Stdin(lambda size: b"version = 1\n[docker]\nhold = 1\n"[:size]))
    (problem,) = problems_of("-")
    assert str(problem).startswith("stdin:3:1 docker.hold: must be true or false")
    monkeypatch.setattr(sys, "stdin", None)
    assert "is closed" in whole_file_problem("-")

    def gone(size: int) -> bytes:
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr(sys, "stdin", Stdin(gone))
    assert "cannot be read" in whole_file_problem("-")


def test_nested_too_deeply(tmp_path: Path) -> None:
    file = tmp_path / "deep.toml"
    file.write_text("version = 1\nx = " + "[\n" * 40_000)
    assert "too deeply" in whole_file_problem(file) or "not valid TOML" in whole_file_problem(file)
