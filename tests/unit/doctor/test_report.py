"""The report for people: everything wrong is in it, nothing foreign breaks its form."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest

from bai_wizard.core.errors import PreflightError
from bai_wizard.core.finding import Evidence, Finding
from bai_wizard.core.plan import Plan
from bai_wizard.doctor.remedy import plan_steps, steps_of
from bai_wizard.doctor.report import write_report
from bai_wizard.machine.simulated import SimulatedMachine
from bai_wizard.steps.directory import Directory

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
    return plan_steps(steps_of([finding]), SimulatedMachine({}), "gpu01")


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)


@pytest.mark.parametrize("name", ["r.md", "r.html"])
def test_everything_is_told_and_nothing_foreign_is_markup(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    write_report(str(file), "gpu01", FINDINGS, plan_of)
    text = file.read_text()
    for told in ("1 problem, 1 warning", "ticket 7", "no answer", "All is well", "/vfroot", "site: the doctor looks"):
        assert told in text, told
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
