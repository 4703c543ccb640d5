"""Input to the doctor on the command line and standard input: bounded time, no crash."""

from __future__ import annotations

import io
import sys
import time

import pytest

from bai_wizard.cli import main
from bai_wizard.commands import doctor
from bai_wizard.doctor.drift import MAX_UNKNOWN
from bai_wizard.doctor.search import rank
from bai_wizard.exit_codes import ExitCode


def test_thousands_of_unknown_names_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    names = ",".join(f"kernel{number}" for number in range(10_000))
    begun = time.process_time()
    for option in ("--only", "--skip"):
        assert main(["doctor", option, names]) == ExitCode.ANSWERS
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == MAX_UNKNOWN + 1
        assert lines[-1] == f"command line: {10_000 - MAX_UNKNOWN} more unknown checks"
    assert main(["doctor", "--only", "k" * 100_000]) == ExitCode.ANSWERS
    assert len(capsys.readouterr().err) < 300
    assert time.process_time() - begun < 5


@pytest.mark.parametrize(
    "text",
    [
        "a" * 400000,
        "a." * 200000,
        "/a" * 200000,
        "a:/" * 133333,
        "http://" * 57142,
        "1:" * 200000,
        "\x1b[" * 200000,
        "<" * 400000,
        "no space left on device\n" * 16666,
        "".join(f"no space{number} left on{number} device\n" for number in range(20_000)),
    ],
    ids=lambda text: text[:10],
)
def test_a_log_is_searched_in_time(text: str) -> None:
    begun = time.process_time()
    rank(text)
    assert time.process_time() - begun < 5


class Stdin:
    """Standard input with these bytes."""

    def __init__(self, data: bytes) -> None:
        self.buffer = io.BytesIO(data)


def test_the_end_of_a_log_is_kept_whatever_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LONGEST_LOG", 1000)
    monkeypatch.setattr(sys, "stdin", Stdin(b"begin" + b"\xff\0\x1b" * 5000 + b"\nno space left on device"))
    text = doctor._error_text("-")
    assert text.endswith("\nno space left on device")
    assert len(text) <= 1000
    assert "begin" not in text
    assert doctor._error_text("x") == "x"


def test_a_closed_standard_input_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert main(["doctor", "--error", "-"]) == ExitCode.ANSWERS
    assert capsys.readouterr().err == "stdin: is empty; pipe the text in\n"
