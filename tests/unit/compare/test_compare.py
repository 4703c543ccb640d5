"""Comparing reports of nodes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bai_wizard.cli import main
from bai_wizard.exit_codes import ExitCode

FIGURES = {
    "operation account: uid": "1100",
    "volume vol1: source": "10.20.30.50:/export/vol1",
    "container engine": "docker 29.1.2",
}


def put(directory: Path, host: str, same: dict[str, str], kernel: str = "6.8.0-60") -> str:
    report: dict[str, Any] = {"version": 1, "host": host, "same": same, "node": {"node": {"Kernel": kernel}}}
    file = directory / f"{host}.json"
    file.write_text(json.dumps(report))
    return str(file)


def test_equal_nodes_give_0_whatever_else_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [put(tmp_path, "a01", FIGURES), put(tmp_path, "a02", FIGURES, kernel="6.8.0-71")]
    assert main(["compare", *files]) == ExitCode.OK
    output = capsys.readouterr().out
    assert "6.8.0-71" in output.partition("Differs (allowed):")[2]


def test_required_equalities_come_first_with_their_nodes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = {**FIGURES, "operation account: uid": "1001"}
    files = [put(tmp_path, host, FIGURES, kernel=host) for host in ("a01", "a02")] + [put(tmp_path, "s1", other)]
    assert main(["compare", *files]) == ExitCode.FAILED
    lines = capsys.readouterr().out.splitlines()
    start = lines.index("Must be the same on every node, but differs:")
    assert [line.split() for line in lines[start + 1 : start + 4]] == [
        ["operation", "account:", "uid"],
        ["1100", "a01,", "a02"],
        ["1001", "s1"],
    ]


@pytest.mark.parametrize("word", ["not there", "cannot tell: the daemon gave no answer within 5 s"])
def test_a_value_that_no_one_has_is_wrong(tmp_path: Path, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    same = {**FIGURES, "container engine": word}
    files = [put(tmp_path, host, same) for host in ("a01", "a02")]
    assert main(["compare", "--json", *files]) == ExitCode.FAILED
    assert json.loads(capsys.readouterr().out)["wrong"] == {"container engine": {word: ["a01", "a02"]}}


def test_a_node_without_a_thing_is_not_compared_in_it(tmp_path: Path) -> None:
    """A storage node needs no engine, a node without cards no driver."""
    without = {label: value for label, value in FIGURES.items() if label != "container engine"}
    assert main(["compare", put(tmp_path, "a01", FIGURES), put(tmp_path, "s1", without)]) == ExitCode.OK


def test_every_invalid_report_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.json").write_text("no JSON")
    (tmp_path / "other.json").write_text('{"version": 1}')
    files = [put(tmp_path, "a01", FIGURES), *(str(tmp_path / f"{name}.json") for name in ("text", "other", "none"))]
    assert main(["compare", *files]) == ExitCode.ANSWERS
    output = capsys.readouterr().err
    assert all(f"{name}.json" in output for name in ("text", "other", "none"))


def test_two_reports_of_one_host_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = put(tmp_path, "a01", FIGURES)
    second = tmp_path / "again.json"
    second.write_text(Path(first).read_text())
    assert main(["compare", first, str(second)]) == ExitCode.ANSWERS
    assert "is of a01" in capsys.readouterr().err
