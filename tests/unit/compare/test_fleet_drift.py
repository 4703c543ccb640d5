"""`fleet drift` reads what `drift --json` wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bai_wizard.cli import main


def node(directory: Path, host: str, *objects: dict[str, Any]) -> None:
    """What `drift --json` writes on a node."""
    common = {"version": 1, "kind": "file", "step": "tuning.first", "describe": "first", "possible_causes": []}
    summary = {"version": 1, "host": host, "code": 0, "compared_with": "run x", "drifted": {}}
    events = [*(("drift", common | each) for each in objects), ("summary", summary)]
    lines = [json.dumps({"v": 1, "t": "2026-01-01T00:00:00Z", "kind": kind, "data": data}) for kind, data in events]
    (directory / f"{host}.json").write_text("\n".join(lines) + "\n")


CHANGED = {"state": "changed", "name": "/etc/first.conf", "diff": "-a = 3\n+a = 1\n"}
REFUSED = {"state": "refused", "kind": "step", "name": "tuning.first", "reason": "it is impossible here"}
UNKNOWN = {"state": "unknown", "kind": "step", "name": "tuning.first", "reason": "no answer"}


@pytest.mark.parametrize(
    ("objects", "code", "text"),
    [
        ((), 0, "as in the answers"),
        ((CHANGED,), 7, "differs in 1 object"),
        ((REFUSED,), 7, "! tuning.first: first: it is impossible here"),
        ((UNKNOWN,), 3, "not compared completely"),
        ((UNKNOWN | {"excused": True},), 0, "as in the answers"),
        ((REFUSED | {"accepted": True},), 0, "as in the answers"),
        ((CHANGED, UNKNOWN), 3, "not compared completely"),
    ],
)
def test_one_node(
    objects: tuple[dict[str, Any], ...], code: int, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    node(tmp_path, "n1", *objects)
    assert main(["fleet", "drift", str(tmp_path)]) == code
    assert text in capsys.readouterr().out


def test_nodes_with_the_same_drift_are_one_group(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(3):
        node(tmp_path, f"n{number}", CHANGED)
    node(tmp_path, "n9", CHANGED, CHANGED | {"name": "/etc/second.conf"})
    assert main(["fleet", "drift", str(tmp_path), "--report", str(tmp_path / "f.html")]) == 7
    out = capsys.readouterr().out
    assert "3 nodes: differs in 1 object: n[0-2]" in out
    assert "tuning.first: file /etc/second.conf" in out
    assert "/etc/second.conf" in (tmp_path / "f.html").read_text()


def test_drift_says_nothing_about_plans_and_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    node(tmp_path, "n1", CHANGED)
    for topic in ("plan", "report"):
        assert main(["fleet", topic, str(tmp_path)]) == 2
        assert "say nothing" in capsys.readouterr().err


def test_a_file_that_was_cut_or_holds_other_types_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    node(tmp_path, "n1", CHANGED)
    node(tmp_path, "n2", CHANGED | {"diff": 3})
    file = tmp_path / "n1.json"
    file.write_text(file.read_text().splitlines()[0] + "\n")
    assert main(["fleet", "drift", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert all(f"{name}.json: " in err for name in ("n1", "n2"))
