"""The main screen: the sidebar, the open page, and the log of a run below."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal, Vertical
from textual.events import DescendantBlur, DescendantFocus, Resize

from bai_wizard.locale import N_, tr
from bai_wizard.pages import ORDER, TITLES
from bai_wizard.ui.tui.base import Changed, Static, WizardScreen, is_live, while_mounted, wizard
from bai_wizard.ui.tui.widgets.actions import Keys
from bai_wizard.ui.tui.widgets.list_box import ListBox
from bai_wizard.ui.tui.widgets.overview import Overview
from bai_wizard.ui.tui.widgets.sidebar import Entry, Header, Sidebar, Status

# How long a page may take to mount its fields before keys are processed without them, in seconds.
READY_WITHIN = 1.0
# The actions below the pages: key → title and the app's action.
ACTIONS = {
    "review": (N_("Review and apply"), "review"),
    "doctor": (N_("Troubleshoot"), "doctor"),
    "runs": (N_("Past runs"), "runs"),
    "answers": (N_("Answers file"), "answers"),
    "help": (N_("Help"), "show_help"),
    "quit": (N_("Quit"), "leave"),
}

# The keys of the list of pages, of an open page, and while typing one line or several.
KEYS = (
    ("Enter", N_("Open")),
    ("A", N_("Apply all")),
    ("a", N_("Apply page")),
    ("/", N_("Search")),
    ("d", N_("Diff")),
    ("n", N_("Next problem")),
    ("l", N_("Log")),
    ("s", N_("Save")),
)
PAGE_KEYS = (
    ("Esc", N_("Pages")),
    ("Enter", N_("Edit")),
    ("a", N_("Apply page")),
    ("/", N_("Search")),
    ("d", N_("Diff")),
    ("n", N_("Next problem")),
    ("^r", N_("Reset")),
)
LOG_KEYS = (
    ("Esc", N_("Pages")),
    ("/", N_("Search")),
    ("n", N_("Next match")),
    ("e", N_("Next error")),
    ("l", N_("Hide the log")),
)
LINE_KEYS = (
    ("Esc", N_("Pages")),
    ("Enter", N_("Next field")),
    ("F3", N_("Search")),
    ("F8", N_("Next problem")),
    ("^r", N_("Reset")),
)
TYPING_KEYS = (("Esc", N_("Pages")), ("F3", N_("Search")), ("F8", N_("Next problem")), ("^r", N_("Reset")))


# The least terminal that shows every label and value.
LEAST = (60, 20)


class MainScreen(WizardScreen[None]):
    """Navigates the pages. Esc moves from a page to the sidebar and loses nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "apply_page", "Apply page", id="page.apply"),
        Binding("d", "diff", "Diff", id="page.diff"),
        Binding("slash,f3", "find", "Search", id="page.find", show=False),
        Binding("n,f8", "problem(1)", "Next problem", id="page.problem", show=False),
        Binding("N", "problem(-1)", "Previous problem", id="page.problem2", show=False),
        *(Binding(str(number), f"page({number})", "", id=f"page.{number}", show=False) for number in range(9)),
        Binding("ctrl+r", "reset", "Reset field", id="page.reset", show=False),
        Binding("r", "resume", "Resume", id="page.resume", show=False),
        Binding("escape", "to_rail", "Pages", id="page.rail", show=False),
        Binding("left", "to_rail", "Pages", id="page.rail2", show=False),
        Binding("right", "to_page", "Page", id="rail.page", show=False),
    ]
    # Below this width, either the pages or the open page are shown.
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (120, "-wide")]  # noqa: RUF012 - as Textual declares it
    HELP = "main"
    NEEDS = (
        "#rail",
        "#place",
    )

    def __init__(self) -> None:
        super().__init__()
        self.page = ORDER[0]
        self._one_at_a_time = asyncio.Lock()

    def compose(self) -> ComposeResult:
        yield Header()
        with Horizontal(id="middle"):
            with Vertical(id="left"):
                yield Overview()
                yield Sidebar(self._entries())
            with Vertical(id="right"):
                yield Container(id="place")
        yield Static(id="too-small")
        note = Static(id="run-note")
        note.display = False
        yield note
        yield Keys(KEYS)

    def on_resize(self, event: Resize) -> None:
        """Say so if the terminal is too small for all labels and values."""
        width, height = LEAST
        small = event.size.width < width or event.size.height < height
        text = tr("This terminal is too small: at least {width}×{height} are needed.", width=width, height=height)
        for note in self.query("#too-small").results(Static):
            note.display = small
            note.update(text if small else "")

    def show_note(self, text: str) -> None:
        """Show a line below the pages about an open run on this node; an empty text hides it."""
        for note in self.query("#run-note").results(Static):
            note.display = bool(text)
            note.update(text)

    def action_resume(self) -> None:
        if wizard(self).is_open:
            wizard(self).runs.resume_interrupted()

    def begin(self) -> None:
        self.show_rail()
        self.query_one(Sidebar).focus()
        self.call_after_refresh(self._open_node)

    @while_mounted
    def _open_node(self) -> None:
        wizard(self).open()

    async def show_pages(self) -> None:
        """Replace the first frame with the first page, once the node is loaded."""
        self.query_one(Header).begin()
        wizard(self).plan_model.moved.subscribe(self, self._moved)
        self.query_one(Overview).begin()
        self.show_rail()
        wizard(self).let_keys_go()

    @while_mounted
    def _moved(self, _page: str) -> None:
        # Beside an open page of a narrow screen, the list is not shown.
        if not (self.has_class("-open") and self.has_class("-narrow")):
            self.show_rail()

    def show_rail(self) -> None:
        self.query_one(Sidebar).show(self._entries(), self.page)

    def _entries(self) -> list[Entry]:
        app = wizard(self)
        entries = []
        for number, name in enumerate(ORDER):
            status = app.plan_model.status(name) if app.is_open else Status(tr("checking…"), "busy")
            told = app.plan_model.summary(name) if app.is_open and not self.has_class("-open") else ""
            entries.append(Entry(name, f"{number or ' '} {tr(TITLES[name])}", status, told))
        entries.append(Entry("", ""))
        entries += [Entry(key, tr(title)) for key, (title, _) in ACTIONS.items()]
        return entries

    async def open(self, page: str) -> None:
        """Replace the open page with another one."""
        from bai_wizard.ui.tui.widgets.page import PageView

        async with self._one_at_a_time:
            place = self.query_one("#place", Container)
            view = PageView(wizard(self).plan_model.fact_cache.page(page), wizard(self).plan_model)
            with self.app.batch_update():
                await place.remove_children()
                if not is_live(place):
                    return
                await place.mount(view)
                # If the wizard exits at this moment, the fields are never mounted.
                with suppress(TimeoutError):
                    await asyncio.wait_for(view.ready.wait(), READY_WITHIN)
            self.page = page
        self.show_rail()

    def target(self) -> str:
        """The page that actions are about: the one under the cursor of the list, or the open one."""
        rail = self.query_one(Sidebar)
        key = rail.key_at(rail.cursor)
        return key if rail.has_focus and key in ORDER else self.page

    @on(ListBox.Selected, "Sidebar")
    async def _taken(self, event: ListBox.Selected) -> None:
        key = self.query_one(Sidebar).key_at(event.cursor)
        if key in ACTIONS:
            await self.app.run_action(ACTIONS[key][1])
        elif key in ORDER:
            await self.action_to_page()

    @on(Changed)
    def _changed(self, event: Changed) -> None:
        from textual.widgets import Input, TextArea

        wizard(self).plan_model.draft.put(event.table, event.path, event.value)
        wizard(self).plan_model.edited(typing=isinstance(self.focused, Input | TextArea))

    @on(DescendantFocus)
    def _show_keys(self, event: DescendantFocus) -> None:
        typing = getattr(event.widget, "cursor_blink", None) is not None
        keys: Sequence[tuple[str, str]] = TYPING_KEYS if typing else PAGE_KEYS
        if hasattr(event.widget, "validators"):
            keys = LINE_KEYS
        elif isinstance(event.widget, Sidebar):
            keys = KEYS
        elif event.widget.id == "log":
            keys = LOG_KEYS
        self.query_one(Keys).show(keys, typing=typing)

    @on(DescendantBlur)
    def _left_a_field(self) -> None:
        if wizard(self).is_open:
            wizard(self).plan_model.typed()

    @on(ListBox.Selected, "Items")
    async def _item_taken(self) -> None:
        await self.action_diff()

    async def action_apply_page(self) -> None:
        wizard(self).review((self.target(),))

    async def action_skip(self) -> None:
        """Skip the page, or include it again."""
        wizard(self).plan_model.draft.skipped ^= {self.target()}
        wizard(self).plan_model.edited()

    async def action_recheck(self) -> None:
        wizard(self).plan_model.recheck(self.target())

    async def action_diff(self) -> None:
        """Show every change of the page as a diff, starting with the one under the cursor."""
        from bai_wizard.ui.tui.screens.review import DiffScreen
        from bai_wizard.ui.tui.widgets.page import PageView

        steps = wizard(self).plan_model.steps(self.target())
        first = next(
            (step for page in self.query(PageView) for step in page.steps_at_cursor() if step in steps), None
        )
        wizard(self).show(DiffScreen(tr("Changes on this page"), steps, first))

    async def toggle_log(self) -> None:
        from bai_wizard.ui.tui.widgets.log import LogPanel

        panels = self.query(LogPanel)
        if panels:
            await panels.remove()
        else:
            await self.mount(LogPanel(), before="#run-note")

    def action_to_rail(self) -> None:
        self.remove_class("-open")
        self.show_rail()
        self.query_one(Sidebar).focus()

    async def action_to_page(self) -> None:
        """Open the page under the cursor, at its first field or at what needs attention."""
        await self.go_to(self.target())

    async def action_page(self, number: int) -> None:
        """Open a page by its number."""
        if wizard(self).is_open:
            await self.go_to(ORDER[number])

    async def go_to(self, page: str, by: int = 0) -> None:
        """Open a page at its first problem, or at its first field; `by`: at the next or the previous problem."""
        from bai_wizard.ui.tui.widgets.page import PageView

        if page != self.page or not self.query(PageView):
            await self.open(page)
        self.add_class("-open")
        rail = self.query_one(Sidebar)
        rail.cursor = [entry.key for entry in rail.entries].index(page)
        for view in self.query(PageView):
            _ = view.go_to_problem(by) or view.go_to_first()

    def action_find(self) -> None:
        """Search the fields of all pages, and go to the one that is chosen."""
        from bai_wizard.ui.find import Place, places
        from bai_wizard.ui.tui.screens.find import FindScreen

        async def found(place: Place | None) -> None:
            if place is not None:
                await self.go_to_place(place.page, place.key)

        if wizard(self).is_open:
            model = wizard(self).plan_model
            screen = FindScreen(tuple(places(model.fact_cache, model.draft)), self.target())
            self.app.push_screen(screen, found)

    async def go_to_place(self, page: str, key: str) -> None:
        """Open a page at a field or an object."""
        from bai_wizard.ui.tui.widgets.page import PageView

        await self.go_to(page)
        for view in self.query(PageView):
            view.go_to_place(key)

    def action_reset(self) -> None:
        """Set the field under the cursor to its default."""
        from bai_wizard.ui.tui.widgets.page import PageView

        for view in self.query(PageView):
            view.reset_field()

    async def action_reset_page(self) -> None:
        """Set all fields of the page to their defaults."""
        from bai_wizard.ui.draft import tables_of

        model, page = wizard(self).plan_model, self.target()
        for table in tables_of(page):
            for name in model.draft.value(table, ()):
                model.draft.drop(table, (name,))
        model.edited()
        await wizard(self).show_again()

    async def action_problem(self, by: int) -> None:
        """Go to the next problem: of the open page, then of the next page that has one."""
        from bai_wizard.ui.tui.widgets.page import PageView

        if not wizard(self).is_open:
            return
        if self.has_class("-open") and any(view.go_to_problem(by) for view in self.query(PageView)):
            return
        begin = ORDER.index(self.target())
        order = [ORDER[(begin + by * step) % len(ORDER)] for step in range(len(ORDER) + 1)]
        model = wizard(self).plan_model
        bad = [page for page in order[self.has_class("-open") :] if model.needs_attention(page)]
        if bad:
            await self.go_to(bad[0])
        else:
            wizard(self).tell(tr("No problems."))
