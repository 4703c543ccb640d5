"""`fleet plan`: the same plan is one group, whatever the node's name and address; differences are told."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from bai_wizard.cli import main
from bai_wizard.exit_codes import ExitCode
from bai_wizard.ui.fleet.hosts import host_ranges

BLOCKED = "/dev/sdb1 does not exist"


def event(kind: str, data: dict[str, Any]) -> str:
    return json.dumps({"v": 1, "kind": kind, "data": data}) + "\n"


def step(id: str, before: str | None, after: str, **verdict: Any) -> dict[str, Any]:
    change = {"subject": "/etc/x", "verb": "modify", "before": before, "after": after, "attributes": ""}
    return {
        "step": {"id": id, "kind": "x"},
        "describe": id,
        "verdict": {"kind": "pending", "changes": [change], **verdict},
    }


def body_of(number: int) -> dict[str, Any]:
    host, address = f"gpu{number:03}", f"10.1.{number // 250}.{number % 250 + 1}"
    steps = [
        step("aliases.own", "x\n", f"127.0.1.1 {host}\n{address} {host}\nbind {address}\n10.9.9.9 bai-m1\n"),
        step("storage.v1.mount", "x\n", "10.0.0.5:/export /vfroot/v1\n"),
        *(step(f"tuning.a{n}", None, "line\n" * 20) for n in range(60)),
    ]
    return {"version": 1, "host": host, "notes": [], "steps": steps, "origins": {}, "interrupts": {}}


def plans(directory: Path, count: int, noise: int = 0) -> str:
    for number in range(1, count + 1):
        body = body_of(number)
        if number == 3:
            body["steps"][1] = step("storage.v1.mount", "x\n", "10.0.0.9:/export /vfroot/v1\n")
            body["origins"] = {"storage.volumes": "answers.toml:20 (override for gpu003)"}
        if number == 4:
            body["steps"][1]["verdict"] = {"kind": "blocked", "reason": BLOCKED}
        if number > count - noise:
            body["steps"].append(step("account.user", None, f"own {number * 7}"))
        (directory / f"{body['host']}.json").write_text(event("plan", body))
    return str(directory)


def test_the_majority_is_one_group_and_differences_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fleet", "plan", plans(tmp_path, 100)]) == ExitCode.PREFLIGHT
    text = capsys.readouterr().out
    assert "98 nodes: 62 steps: gpu[001-002,005-100]" in text
    assert "1 node: 62 steps: gpu003\n  wanted by an [[override]]: storage.volumes\n" in text
    assert "+10.0.0.9:/export /vfroot/v1" in text
    assert f"1 node: refused: gpu004\n  ! storage.v1.mount: {BLOCKED}" in text


def test_another_server_is_never_taken_for_an_own_address(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in (1, 2):
        body = body_of(number)
        body["steps"][1] = step("storage.v1.mount", "x\n", f"10.0.0.{number}:/export /vfroot/v1\n")
        (tmp_path / f"{number}.json").write_text(event("plan", body))
    assert main(["fleet", "plan", str(tmp_path)]) == ExitCode.OK
    assert "2 nodes, 2 groups" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("topic", "options", "code"), [("plan", [], 0), ("plan", ["--detailed-exitcode"], 7), ("drift", [], 7)]
)
def test_changes_have_their_exit_code(tmp_path: Path, topic: str, options: list[str], code: int) -> None:
    (tmp_path / "a.json").write_text(event("plan", body_of(1)))
    assert main(["fleet", topic, str(tmp_path), *options]) == code


def test_a_bad_file_is_named_and_the_others_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plans(tmp_path, 2)
    bad = {"empty": "", "text": "no JSON", "foreign": "{}", "list": "[]", "cut": event("plan", body_of(9))[:-50]}
    bad["host"] = event("plan", {**body_of(9), "host": "a\x1b[2J"})
    bad["twice"] = event("plan", body_of(1))
    bad["approved"] = '{"format": "bai-wizard-plan", "version": 1}'
    for name, text in bad.items():
        (tmp_path / f"z-{name}.json").write_text(text)
    assert main(["fleet", "plan", str(tmp_path), str(tmp_path / "none.json")]) == ExitCode.ANSWERS
    captured = capsys.readouterr()
    assert "2 nodes: 62 steps: gpu001, gpu002" in captured.out
    assert all(f"z-{name}.json: " in captured.err for name in bad)
    assert "z-approved.json: is a plan file for `bai-wizard apply`" in captured.err
    assert "none.json: " in captured.err
    assert captured.err.count("\n") == len(bad) + 1
    assert "\x1b" not in captured.err


def test_a_thousand_plans_with_noise_are_one_screen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plans(tmp_path, 1000, noise=20)
    begun = time.process_time()
    main(["fleet", "plan", str(tmp_path), "--report", str(tmp_path / "f.html")])
    assert time.process_time() - begun < 2
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("978 nodes: 62 steps: gpu[001-002,005-980]")
    assert len(lines) <= 100


def test_texts_of_nodes_become_no_markup(tmp_path: Path) -> None:
    body = body_of(1)
    body["steps"].append(step("x.<img src=x>", None, "</script><script>alert(1)</script><!--\n@DATA@ x\n\u202e\n"))
    (tmp_path / "a.json").write_text(event("plan", body))
    main(["fleet", "plan", str(tmp_path), "--report", str(tmp_path / "f.html")])
    page = (tmp_path / "f.html").read_text()
    assert page.count("<script") == 2
    assert page.count("</script>") == 2
    assert "<img" not in page
    assert "\u202e" not in page
    assert "http:" not in page
    assert "https:" not in page
    data = page.partition('id="data">')[2].partition("</script>")[0]
    assert json.loads(data)["groups"][0]["hosts"] == ["gpu001"]


def test_ranges_name_exactly_the_hosts() -> None:
    assert host_ranges([f"gpu{n:03}" for n in (*range(1, 97), 100)]) == "gpu[001-096,100]"
    assert host_ranges(["a", "n9", "n10", "n11", "n1"]) == "a, n[1,9-11]"
    assert host_ranges(["n1", "n01", "n001"]) == "n1, n01, n001"
    assert host_ranges(["gpu2", "gpu1"]) == "gpu1, gpu2"


@pytest.mark.skipif(
    shutil.which("chromium-headless-shell") is None, reason="chromium-headless-shell is not installed"
)
@pytest.mark.parametrize(("count", "noise", "rows"), [(5, 0, 3), (100, 2, 5), (1000, 20, 23)])
def test_a_browser_shows_one_row_per_group(tmp_path: Path, count: int, noise: int, rows: int) -> None:
    page = tmp_path / "f.html"
    (tmp_path / "plans").mkdir()
    main(["fleet", "plan", plans(tmp_path / "plans", count, noise), "--report", str(page)])
    command = ["chromium-headless-shell", "--no-sandbox", f"--user-data-dir={tmp_path}/profile", "--dump-dom"]
    done = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=60, check=True)
    assert 'data-ready="yes"' in done.stdout, "the script ran to its end"
    assert done.stdout.count('<tr class="row">') == rows
    assert f"{count} nodes in {rows} groups" in done.stdout
    assert "refused" in done.stdout
    assert "override: storage.volumes" in done.stdout
