"""The human-readable report contains every problem, and foreign text cannot break its format."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest

from bai_wizard.core.errors import PreflightError
from bai_wizard.core.page import Evidence, Finding
from bai_wizard.core.secret import Secret
from bai_wizard.core.step import Plan
from bai_wizard.doctor.drift import plan_steps, remedy_steps
from bai_wizard.doctor.report import write_report
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.steps.files import Directory

FINDINGS = [
    Finding(
        "a.b",
        "problem",
        "It <broke> | badly",
        "node",
        (Evidence("x", "/etc/x", "<script>alert(1)</script> | 1\n2", "3"),),
        cause="because",
        guidance="do",
        remedy=(Directory(id="fix.it", path="/vfroot"),),
    ),
    Finding("site", "warning", "Clock", owner="site"),
    Finding("known", "problem", "Known", ignored="ticket 7"),
    Finding("dark", "cannot-tell", "t", cause="no answer"),
    Finding("fine", "ok", "All is well"),
]


def plan_of(finding: Finding) -> Plan:
    return plan_steps(remedy_steps([finding]), SimulatedMachine({}), "gpu01")


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)


@pytest.mark.parametrize("name", ["r.md", "r.html"])
def test_everything_is_reported_and_nothing_foreign_is_markup(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    write_report(str(file), "gpu01", FINDINGS, plan_of)
    text = file.read_text()
    for message in (
        "1 problem, 1 warning",
        "ticket 7",
        "no answer",
        "All is well",
        "/vfroot",
        "site team: the doctor only checks",
    ):
        assert message in text, message
    assert "<script>" not in text
    if name.endswith("html"):
        tags = Tags()
        tags.feed(text)
        assert "script" not in tags.seen
        assert not {"link", "img"} & set(tags.seen), "one page, nothing fetched"
    else:
        row = next(line for line in text.splitlines() if line.startswith("| x |"))
        assert row.replace("\\|", "").count("|") == 5


def test_another_ending_or_place_is_refused(tmp_path: Path) -> None:
    for file in (tmp_path / "r.pdf", tmp_path / "none" / "r.md"):
        with pytest.raises(PreflightError):
            write_report(str(file), "gpu01", FINDINGS, plan_of)


@pytest.mark.parametrize("secret", ["body", "html", "<b>&\"'", "diff", "title"])
def test_a_secret_equal_to_markup_is_harmless(tmp_path: Path, secret: str) -> None:
    Secret(secret)
    findings = [
        Finding("a.b", "problem", f"says {secret}!", "node", (Evidence("x", "y", secret, secret),), cause=secret)
    ]
    for name in ("r.html", "r.md"):
        write_report(str(tmp_path / name), "gpu01", findings, plan_of)
    tags = Tags()
    text = (tmp_path / "r.html").read_text()
    tags.feed(text)
    assert {"html", "body", "title", "td", "p"} <= set(tags.seen)
    assert "says ***!" in text
    assert "says ***!" in (tmp_path / "r.md").read_text()
