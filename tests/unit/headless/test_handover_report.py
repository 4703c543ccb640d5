"""The handover report: values of the node never become markup, and names may contain any byte."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from bai_wizard.cli import main
from bai_wizard.core.errors import StepFailed
from bai_wizard.core.step import Plan
from bai_wizard.engine.result import Result, StepResult, nothing_done
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.node.user_files import write_requested_file
from bai_wizard.ui.text import report

# What a user may call a directory; the last three hold a byte that is not UTF-8, as os.listdir gives it, a lone
# surrogate, and a line separator.
HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "&lt;b&gt;",
    "a | b | c",
    "`; rm -rf /`",
    "```",
    "# heading",
    "line\n# heading\n\n<b>",
    "line\r# heading",
    "[link](https://evil.example)",
    "![image](x)",
    "| --- |",
    "\\| \\` \\<",
    "- item",
    "=====",
    "caf\udce9",
    "\ud800",
    "one\u2028# two",
    "\x1b[2J\x9b31m",
]


def made(monkeypatch: pytest.MonkeyPatch, text: str, file: Path) -> str:
    """The text of a report in which everything that comes from the node is `text`."""
    step = StepResult("account.home", text, "changed", text=text)
    result = replace(nothing_done(Plan("h")), steps=(step, replace(step, outcome="failed")), lasting=(text,))
    monkeypatch.setattr(report, "probe_all", lambda *_given: {})
    monkeypatch.setattr(report, "describe", lambda *_given: {"account": ((text, text),)})
    monkeypatch.setattr(report, "fleet_fingerprint", lambda *_given: {"kernel": text})
    report.write_report(str(file), SimulatedMachine({}), "run-1", result)
    return file.read_bytes().decode()


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_shows_values_as_text(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> None:
    plain = made(monkeypatch, "plain", tmp_path / "plain.md").split("\n")
    lines = made(monkeypatch, text, tmp_path / "report.md").split("\n")
    assert len(lines) == len(plain), "a line stays a line"
    for line, expected in zip(lines, plain, strict=True):
        assert "<" not in line
        assert not re.search(r"&(?!(?:amp|lt|gt);)", line)
        assert all(character.isprintable() for character in line)
        assert (line[:2] in ("# ", "##")) == (expected[:2] in ("# ", "##"))
        bare = re.sub(r"\\.", "", line)
        assert bare.count("|") == re.sub(r"\\.", "", expected).count("|")
        assert bare.count("`") == expected.count("`")
        assert "[" not in bare


@pytest.mark.parametrize("text", HOSTILE)
def test_json_keeps_values(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> None:
    result = json.loads(made(monkeypatch, text, tmp_path / "report.json"))
    assert result["node"] == {"account": {text: text}}
    assert result["result"]["steps"][0]["describe"] == text


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A node of which nothing but its name is wanted, and answers for it."""
    (tmp_path / "root/etc").mkdir(parents=True)
    (tmp_path / "root/etc/hostname").write_text("n1")
    (tmp_path / "a.toml").write_text("version = 1\n")
    return tmp_path


def run(node: Path, *words: str) -> int:
    return main(["--headless", str(node / "a.toml"), "--root", str(node / "root"), *words])


@pytest.mark.needs_root
@pytest.mark.parametrize("name", ["link.md", "fifo.md", "none/x.md", "x.txt", ""])
def test_a_report_that_cannot_be_written_is_refused_before_the_run(
    node: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """In every command that writes one."""
    (node / "link.md").symlink_to(node / "target")
    os.mkfifo(node / "fifo.md")
    monkeypatch.setattr("bai_wizard.compose.plan", lambda *_given: pytest.fail("was planned"))
    monkeypatch.setattr("bai_wizard.commands.doctor.examine", lambda *_given: pytest.fail("was examined"))
    file = str(node / name) if name else f"{node}/"
    assert run(node, "--report", file) == 3
    assert main(["doctor", "--root", str(node / "root"), "--report", file]) == 3
    assert "Traceback" not in capsys.readouterr().err
    assert not (node / "target").exists()


@pytest.mark.needs_root
@pytest.mark.parametrize("code", [0, 4, 6])
def test_a_report_that_fails_at_the_end_hides_no_exit_code(
    node: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], code: int
) -> None:
    def ended(*_given: object, **_more: object) -> tuple[int, Result]:
        (node / "r.md").symlink_to(node / "target")
        return code, nothing_done(Plan("n1"))

    monkeypatch.setattr(Plan, "is_empty", lambda _plan: False)
    monkeypatch.setattr(
        "bai_wizard.session.Session.begin", lambda *_given, **_more: type("Run", (), {"id": "run-1"})()
    )
    monkeypatch.setattr("bai_wizard.commands.headless.watch", ended)
    assert run(node, "--report", str(node / "r.md")) == code
    assert "the report was not written: " in capsys.readouterr().err
    assert not (node / "target").exists()


@pytest.mark.needs_root
def test_a_failed_report_does_not_hide_the_exit_code(
    node: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def breaks(*_given: object) -> dict[str, object]:
        raise StepFailed("no answer")

    monkeypatch.setattr(report, "make_report", breaks)
    assert run(node, "--report", str(node / "r.md")) == 0
    assert "the report was not written: no answer" in capsys.readouterr().err


@pytest.mark.needs_root
def test_a_report_is_replaced_by_the_next_run(node: Path) -> None:
    for _ in range(2):
        assert run(node, "--report", str(node / "r.md")) == 0
    assert (node / "r.md").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in node.iterdir()) == ["a.toml", "r.md", "root"]


WRITERS: dict[str, Callable[[Path], object]] = {
    "a requested file": lambda directory: write_requested_file(str(directory / "caf\udce9.md"), b"x"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_name_may_have_any_byte(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path)
    assert os.listdir(os.fsencode(tmp_path)) == [b"caf\xe9.md"]
