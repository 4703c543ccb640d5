"""The answers: the file they are from, what differs from it and from the node; open, save, save as."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import ClassVar, NamedTuple

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content

from bai_wizard.answers.save import from_node
from bai_wizard.locale import N_, tr
from bai_wizard.pages import ORDER, TITLES
from bai_wizard.pages.fields import dump
from bai_wizard.ui.answer_diff import Difference, differences
from bai_wizard.ui.draft import Draft
from bai_wizard.ui.plans import reason_of
from bai_wizard.ui.tui.base import Static, WizardScreen, run_in_thread, wizard
from bai_wizard.ui.tui.widgets.actions import Actions, Keys
from bai_wizard.ui.tui.widgets.list_box import ListBox
from bai_wizard.ui.tui.widgets.row_list import RowList


class Comparison(NamedTuple):
    """What the answers were compared with, and what differs; `reason` is why that is not known."""

    title: str
    found: tuple[Difference, ...] = ()
    reason: str = ""


class Differences(RowList[Difference | str]):
    """The differences by what the answers were compared with, and by page."""

    def __init__(self) -> None:
        super().__init__("differences")
        self.comparisons: Sequence[Comparison] = ()

    def show(self, comparisons: Sequence[Comparison]) -> None:
        """Show these comparisons."""
        self.comparisons = comparisons
        self.changed()

    def name_of(self, row: Difference | str) -> object:
        return row if isinstance(row, str) else row.key

    def draw(self) -> Iterator[tuple[Difference | str, Content]]:
        for number, comparison in enumerate(self.comparisons):
            if number:
                yield "", Content("")
            yield f"title {number}", Content.styled(comparison.title, "bold underline")
            if not comparison.found:
                yield from self.wrap(f"text {number}", "  ", comparison.reason or tr("no differences"), "")
            for page in dict.fromkeys(each.page for each in comparison.found):
                yield f"{number} {page}", Content.styled(f"  {tr(TITLES[page])}", "bold")
                for each in comparison.found:
                    if each.page == page:
                        yield from self.wrap(each, "    ", f"{each.label}: {each.before} → {each.after}", "")


class AnswersScreen(WizardScreen[None]):
    """Enter on a difference goes to its field."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("o", "open", "Open", id="answers.open")]
    HELP = "answers"
    NEEDS = ("#differences", "#actions")

    def __init__(self) -> None:
        super().__init__()
        self._with_file = Comparison(tr("Compared with the file"), reason=tr("No file is open."))
        self._with_node = Comparison(tr("Compared with the node"), reason=tr("checking…"))

    def compose(self) -> ComposeResult:
        yield Static(tr("Answers"), classes="title")
        yield Static(id="answers-text")
        with VerticalScroll(id="answers-body", can_focus=False):
            yield Differences()
        yield Actions(
            {"app.save_opened": "", "app.save": tr("Save as…"), "open": tr("Open…"), "no": tr("Back to the pages")}
        )
        yield Keys((("Enter", N_("Go there")), ("s", N_("Save as…")), ("o", N_("Open…")), ("Esc", N_("Back"))))

    def begin(self) -> None:
        self.query_one(Actions).focus()
        self.compare()

    def compare(self) -> None:
        """Read the file and the node again."""
        app = wizard(self)
        draft, view = app.plan_model.draft, app.session.foreseen()
        self._show()
        if draft.opened:
            path, host, demo = draft.opened, draft.host, bool(app.session.demo)
            run_in_thread(self.app, lambda: Draft.from_file(path, host, demo=demo), self._compare_file, self._no_file)
        run_in_thread(self.app, lambda: from_node(view), self._compare_node, self._no_node)

    def _compare_file(self, saved: Draft) -> None:
        draft = wizard(self).plan_model.draft
        found = differences(saved.tables(), draft.tables(), ORDER)
        self._with_file = Comparison(tr("Compared with the file"), tuple(found))
        self._show()

    def _no_file(self, error: Exception) -> None:
        self._with_file = self._with_file._replace(reason=reason_of(error))
        self._show()

    def _compare_node(self, node: object) -> None:
        draft = wizard(self).plan_model.draft
        read = {name: dump(settings) for name, settings in node.tables.items()}  # type: ignore[attr-defined]
        pages = [page for page in ORDER if page in read and page not in draft.skipped]
        found = differences(read, draft.tables(), pages)
        self._with_node = Comparison(tr("Compared with the node"), tuple(found))
        self._show()

    def _no_node(self, error: Exception) -> None:
        self._with_node = self._with_node._replace(reason=reason_of(error))
        self._show()

    def _show(self) -> None:
        draft = wizard(self).plan_model.draft
        text = draft.opened or tr("No file is open.")
        if draft.is_unsaved:
            text += "  " + tr("(unsaved changes)")
        if draft.has_overrides:
            text += "\n" + tr(
                "The file has tables for some hosts only: save the answers of this host as another file."
            )
        self.query_one("#answers-text", Static).update(text)
        can_save = bool(draft.opened) and not draft.has_overrides
        self.query_one(Actions).relabel("app.save_opened", tr("Save") if can_save else "")
        self.query_one(Differences).show((self._with_file, self._with_node))

    @on(ListBox.Selected, "Differences")
    def _selected(self) -> None:
        row = self.query_one(Differences).row()
        if isinstance(row, Difference):
            wizard(self).go_to_place(row.page, row.key)

    def action_open(self) -> None:
        """Ask for another answers file, and open it."""
        from bai_wizard.ui.tui.screens.dialogs import LineQuestion, Question

        def typed(path: str | None) -> None:
            if path:
                run_in_thread(self.app, lambda: self._read(path), self._opened, self._not_opened)

        def asked(answer: str | None) -> None:
            if answer == "discard":
                ask()

        def ask() -> None:
            draft = wizard(self).plan_model.draft
            wizard(self).show(LineQuestion(tr("Open answers"), tr("File name:"), value=draft.opened), typed)

        if wizard(self).plan_model.draft.is_unsaved:
            answers = {"": tr("Cancel"), "discard": tr("Discard the changes")}
            text = tr("You have unsaved answers.")
            wizard(self).show(Question(tr("Open another file?"), text, answers), asked)
        else:
            ask()

    def _read(self, path: str) -> Draft:
        app = wizard(self)
        return Draft.from_file(os.path.expanduser(path), app.plan_model.draft.host, demo=bool(app.session.demo))

    def _not_opened(self, error: Exception) -> None:
        wizard(self).tell(reason_of(error), severity="error")

    def _opened(self, draft: Draft) -> None:
        app = wizard(self)
        app.plan_model.draft.replace_with(draft)
        app.plan_model.edited()
        app.run_worker(app.show_again())
        app.tell_left_out()
        self.compare()
