"""Findings in a line each: the result in words, then what it is about."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import set_cell_size
from textual.content import Content

from bai_wizard.core.finding import Finding, Result
from bai_wizard.core.secret import redact
from bai_wizard.texts import tr
from bai_wizard.tui.widgets.walk import Walk, inset

WORDS: dict[Result, tuple[str, str]] = {
    "problem": ("PROBLEM", "bold $text-error"),
    "crashed": ("crashed", "$text-error"),
    "warning": ("warning", "$text-warning"),
    "cannot-tell": ("cannot tell", "$text-muted"),
    "ok": ("ok", "$text-success"),
    "not-applicable": ("not here", "dim"),
}


class Findings(Walk):
    """What was found; a finding with a remedy carries a mark."""

    def __init__(self) -> None:
        super().__init__(id="findings")
        self.findings: list[Finding] = []
        self._said = tr("looking…")

    def show(self, findings: Sequence[Finding], empty: str) -> None:
        """Draws these findings; `empty` is said where there are none."""
        self.findings, self._said = list(findings), empty
        self.changed()

    def lines(self) -> list[Content]:
        return [_line(finding) for finding in self.findings] or [Content(self._said)]

    def at_cursor(self) -> Finding | None:
        """The finding under the cursor."""
        return self.findings[self.at] if self.at < len(self.findings) else None


def _line(finding: Finding) -> Content:
    word, style = (tr("accepted"), "dim") if finding.ignored else WORDS[finding.result]
    mark = set_cell_size(tr("fix") if finding.remedy else "", 4)
    return Content.assemble((set_cell_size(tr(word), 12), style), (mark, "$text-accent"), f" {finding.title}")


def details(finding: Finding, width: int) -> Content:
    """Everything that a finding says, in lines of at most so many cells."""
    parts: list[Content] = [Content.styled(finding.title, "bold"), Content(f"[{finding.id}]"), Content("")]
    for each in finding.evidence:
        parts.append(Content(tr("{what}, in {where}", what=each.what, where=each.where)))
        for line in (tr("found: {text}", text=redact(each.found)), tr("expected: {text}", text=each.expected)):
            parts += map(Content, inset(line, width))
    said = (
        (tr("Cause"), finding.cause),
        (tr("What to do"), finding.guidance),
        (tr("Risk"), finding.risk),
        (tr("Whose matter"), finding.owner),
        (tr("Accepted because"), finding.ignored),
        (tr("Not checked, because this comes first"), finding.suppressed_by),
    )
    for label, text in said:
        if text:
            parts += [
                Content(""),
                Content.styled(label, "bold"),
                *map(Content, inset(text, width)),
            ]
    return Content("\n").join(parts)
