"""The list of findings: root causes with their consequences, unknown results with the reason, the rest by page."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from textual.content import Content

from bai_wizard.core.page import Finding, Result
from bai_wizard.core.secret import redact
from bai_wizard.doctor.story import Story, stories
from bai_wizard.locale import N_, ntr, tr
from bai_wizard.pages import TITLES
from bai_wizard.ui.tui.widgets.list_box import inset
from bai_wizard.ui.tui.widgets.row_list import RowList

RESULTS: dict[Result, tuple[str, str]] = {
    "problem": (N_("PROBLEM"), "bold $text-error"),
    "crashed": (N_("crashed"), "$text-error"),
    "warning": (N_("warning"), "$text-warning"),
    "cannot-tell": (N_("unknown"), "$text-muted"),
    "ok": (N_("ok"), "$text-success"),
    "not-applicable": (N_("n/a"), "dim"),
}


class FindingRow(NamedTuple):
    """A finding, or a heading without one. `story`: the root cause that it belongs to."""

    name: str
    finding: Finding | None = None
    story: Story | None = None


class Findings(RowList[FindingRow]):
    """Passed checks are counted by page, and listed on demand. `matching` filters by the words on the screen."""

    def __init__(self, text: str = "") -> None:
        super().__init__("findings")
        self.findings: Sequence[Finding] = ()
        self.shows_all = False
        self.words = ""
        self.page = ""
        self._text = text

    def show(self, findings: Sequence[Finding], text: str = "") -> None:
        """Show these findings; the text is shown if none of them is listed."""
        self.findings, self._text = findings, text
        self.changed()

    def name_of(self, row: FindingRow) -> object:
        return row.name

    def at_cursor(self) -> Finding | None:
        """The finding under the cursor."""
        row = self.row()
        return row.finding if row is not None else None

    def draw(self) -> Iterator[tuple[FindingRow, Content]]:
        is_any = False
        for story in stories(self.findings):
            for line in self._story(story):
                is_any = True
                yield line
        unknown = [finding for finding in self.findings if finding.result == "cannot-tell" and self._passes(finding)]
        if not is_any:
            yield from self.wrap(FindingRow("text"), "", self._text, "")
        if unknown:
            count = ntr("{count} check without a result:", "{count} checks without a result:", len(unknown))
            yield FindingRow("unknown"), Content.styled(count, "bold")
        for finding in unknown:
            row = FindingRow(finding.id, finding)
            yield from self.wrap(row, "  ? ", tr("unknown: {what}", what=tr(finding.title)), "$text-muted")
            yield from self.wrap(row, "      ", tr("because: {reason}", reason=tr(redact(finding.cause))), "dim")
        if self.shows_all:
            yield from self._rest()

    def _story(self, story: Story) -> Iterator[tuple[FindingRow, Content]]:
        if not any(map(self._passes, story.findings)):
            return
        yield from self._bad(story.cause, story, "")
        for finding in story.follows:
            yield from self._bad(finding, story, "  └ ")
        if story.waiting:
            text = ntr("{count} check waits for it", "{count} checks wait for it", len(story.waiting))
            yield FindingRow(story.cause.id, story.cause, story), Content.styled(f"  └ {text}", "dim")

    def _bad(self, finding: Finding, story: Story, lead: str) -> Iterator[tuple[FindingRow, Content]]:
        word, style = (tr("accepted"), "dim") if finding.ignored else RESULTS[finding.result]
        mark = f"  [{tr('fix')}]" if finding.remedy else ""
        page = "" if lead else f"  {tr(TITLES[finding.page])}" if finding.page in TITLES else ""
        head = f"{lead}{tr(word)} "
        for number, (row, line) in enumerate(
            self.wrap(FindingRow(finding.id, finding, story), head, f"{tr(finding.title)}{mark}{page}", "")
        ):
            yield row, line.stylize(style, len(lead), len(head)) if not number else line

    def _rest(self) -> Iterator[tuple[FindingRow, Content]]:
        """Passed and inapplicable checks, by page."""
        rest = [each for each in self.findings if each.result in ("ok", "not-applicable") and self._passes(each)]
        for page in dict.fromkeys(finding.page for finding in rest):
            members = [finding for finding in rest if finding.page == page]
            passed = sum(1 for finding in members if finding.result == "ok")
            title = tr(TITLES[page]) if page in TITLES else page
            text = tr(
                "{page}: {passed} passed, {other} not applicable",
                page=title,
                passed=passed,
                other=len(members) - passed,
            )
            yield FindingRow(f"page {page}"), Content.styled(text, "bold")
            for finding in members:
                word, style = RESULTS[finding.result]
                yield from self.wrap(FindingRow(finding.id, finding), f"  {tr(word)}  ", tr(finding.title), style)

    def _passes(self, finding: Finding) -> bool:
        """Whether the filters show a finding."""
        if self.page and finding.page != self.page:
            return False
        texts = (finding.id, tr(finding.title), tr(finding.cause), tr(TITLES.get(finding.page, "")))
        return not self.words or any(self.words.lower() in text.lower() for text in texts)

    def pages(self) -> Collection[str]:
        """The pages that have something to show without listing what passed."""
        shown = ("ok", "not-applicable")
        return dict.fromkeys(each.page for each in self.findings if each.page in TITLES and each.result not in shown)


def details(finding: Finding, width: int, story: Story | None = None) -> Content:
    """All details of a finding, in lines of at most this many cells."""
    parts: list[Content] = [Content.styled(line.strip(), "bold") for line in inset(tr(finding.title), width)]
    parts += [Content.styled(f"[{finding.id}]", "dim"), Content("")]
    for each in finding.evidence:
        parts += map(Content, inset(tr("{what}, in {where}", what=tr(each.what), where=tr(each.where)), width))
        for line in (
            tr("found: {text}", text=tr(redact(each.found))),
            tr("expected: {text}", text=tr(each.expected)),
        ):
            parts += map(Content, inset(line, width))
    lines = [
        (tr("Cause"), finding.cause),
        (tr("What to do"), finding.guidance),
        (tr("Risk"), finding.risk),
        (tr("Owner"), finding.owner),
        (tr("Accepted because"), finding.ignored),
        (tr("Not checked, because of"), finding.suppressed_by),
    ]
    if story is not None and finding.id == story.cause.id:
        lines.append((tr("Consequences"), "\n".join(tr(each.title) for each in story.follows)))
        lines.append((tr("Checks waiting for it"), "\n".join(tr(each.title) for each in story.waiting)))
    elif story is not None:
        lines.append((tr("Caused by"), story.cause.title))
    for label, text in lines:
        if text:
            parts += [Content(""), Content.styled(label, "bold"), *map(Content, inset(tr(text), width))]
    return Content("\n").join(parts)
