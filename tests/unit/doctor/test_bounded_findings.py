"""Findings are short enough to be shown, whatever a check finds; omitted items are counted."""

from __future__ import annotations

import json

import pytest

from bai_wizard.core.page import LONGEST_TEXT, MAX_EVIDENCE, Evidence, Finding


@pytest.mark.parametrize("count", [0, 1, MAX_EVIDENCE, MAX_EVIDENCE + 1, 50_000])
def test_evidence_is_bounded_and_the_rest_counted(count: int) -> None:
    rows = tuple(Evidence(f"file {number}", "/vfroot", "x", "y") for number in range(count))
    finding = Finding("a", "problem", "title", "storage", rows)
    assert len(finding.evidence) == min(count, MAX_EVIDENCE)
    if count <= MAX_EVIDENCE:
        assert finding.evidence == rows
    else:
        assert finding.evidence[:-1] == rows[: MAX_EVIDENCE - 1]
        assert finding.evidence[-1].found == f"{count - MAX_EVIDENCE + 1} more like these"
    assert Finding.from_wire(json.loads(json.dumps(finding.to_wire()))) == finding


@pytest.mark.parametrize("name", ["title", "cause", "guidance", "risk", "what", "where", "found", "expected"])
def test_texts_are_bounded(name: str) -> None:
    texts = {"what": "", "where": "", "found": "", "expected": "", name: "x" * 5_000_000}
    evidence = Evidence(*(texts[each] for each in ("what", "where", "found", "expected")))
    title, cause, guidance, risk = (texts.get(each, "") for each in ("title", "cause", "guidance", "risk"))
    finding = Finding("a", "problem", title, "storage", (evidence,), cause, guidance, risk)
    text = getattr(evidence if hasattr(evidence, name) else finding, name)
    assert len(text) == LONGEST_TEXT
    assert text.endswith("(5000000 characters)")
    assert Finding.from_wire(json.loads(json.dumps(finding.to_wire()))) == finding
