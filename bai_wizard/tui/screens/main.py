"""The main screen: the rail, the page that is open, the log of a run below."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal, Vertical
from textual.events import DescendantBlur
from textual.timer import Timer
from textual.widgets import Static

from bai_wizard.pages import ORDER, TITLES
from bai_wizard.texts import tr
from bai_wizard.tui import status
from bai_wizard.tui.screens.base import WizardScreen
from bai_wizard.tui.widgets.actions import Actions
from bai_wizard.tui.widgets.base import Changed, wizard
from bai_wizard.tui.widgets.header import Header
from bai_wizard.tui.widgets.keys import Keys
from bai_wizard.tui.widgets.rail import Entry, Rail
from bai_wizard.tui.widgets.walk import Walk

# How long the cursor has to rest on a page before it is opened, in seconds.
OPEN_AFTER = 0.06
# How long a page may take to mount its fields before keys are taken without them, in seconds.
READY_WITHIN = 1.0
# What stands below the pages: key → title and the app's action.
ACTIONS = {
    "review": ("Review and apply", "review"),
    "doctor": ("Troubleshoot", "doctor"),
    "runs": ("Past runs", "runs"),
    "save": ("Save answers", "save"),
    "help": ("Help", "show_help"),
    "quit": ("Quit", "leave"),
}

KEYS = (("a", "Apply page"), ("d", "Diff"), ("A", "Apply all"), ("l", "Log"), ("s", "Save answers"))


class MainScreen(WizardScreen[None]):
    """Walks through the pages. Esc goes from a page to the rail and loses nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "apply_page", "Apply page", id="page.apply"),
        Binding("d", "diff", "Diff", id="page.diff"),
        Binding("escape", "to_rail", "Pages", id="page.rail", show=False),
        Binding("left", "to_rail", "Pages", id="page.rail2", show=False),
        Binding("right", "to_page", "Page", id="rail.page", show=False),
        Binding("up", "step(-1)", show=False),
        Binding("down", "step(1)", show=False),
    ]
    HELP = "main"
    NEEDS = (
        "#rail",
        "#place",
    )

    def __init__(self, page: str = "node") -> None:
        super().__init__()
        self.page = page
        self._opening: Timer | None = None
        self._one_at_a_time = asyncio.Lock()

    def compose(self) -> ComposeResult:
        yield Header()
        with Horizontal(id="middle"):
            with Vertical(id="left"):
                yield Rail()
            with Vertical(id="right"), Container(id="place"):
                yield Static(tr(TITLES[self.page]), markup=False, classes="title")
                yield Static(tr("looking…"), markup=False)
        yield Keys(KEYS)

    def begin(self) -> None:
        self.show_rail()
        self.query_one(Rail).focus()
        self.call_after_refresh(wizard(self).open)

    async def show_pages(self) -> None:
        """There is a node to show: its first page takes the place of the first picture."""
        self.query_one(Header).begin()
        wizard(self).surveyor.moved.subscribe(self, lambda _page: self.show_rail())
        await self.open(self.page)
        wizard(self).let_keys_go()

    def show_rail(self) -> None:
        """Brings the rail up to date."""
        state = wizard(self).surveyor.status if wizard(self).is_open else lambda _page: status.looking()
        entries = [
            Entry(name, f"{number or ' '} {tr(TITLES[name])}", state(name)) for number, name in enumerate(ORDER)
        ]
        entries.append(Entry("", ""))
        entries += [Entry(key, tr(title)) for key, (title, _) in ACTIONS.items()]
        self.query_one(Rail).show(entries, self.page)

    async def open(self, page: str) -> None:
        """Shows a page in the place of the one that was open."""
        from bai_wizard.tui.pages.page import PageView

        async with self._one_at_a_time:
            place = self.query_one("#place", Container)
            view = PageView(wizard(self).surveyor.survey.page(page), wizard(self).surveyor)
            with self.app.batch_update():
                await place.remove_children()
                await place.mount(view)
                # When the wizard ends just now, the fields never come.
                with suppress(TimeoutError):
                    await asyncio.wait_for(view.ready.wait(), READY_WITHIN)
            self.page = page
        self.show_rail()

    @on(Walk.Moved, "Rail")
    async def _walked(self, event: Walk.Moved) -> None:
        # Who walks on quickly does not wait for the pages on the way.
        if self._opening is not None:
            self._opening.stop()
        self._opening = self.set_timer(OPEN_AFTER, self._open_walked)

    async def _open_walked(self) -> None:
        async with self._one_at_a_time:
            rail = self.query_one(Rail)
            key = rail.key_at(rail.at)
        if key in ORDER and key != self.page:
            await self.open(key)

    @on(Walk.Taken, "Rail")
    async def _taken(self, event: Walk.Taken) -> None:
        key = self.query_one(Rail).key_at(event.at)
        if key in ACTIONS:
            await self.app.run_action(ACTIONS[key][1])
        elif key in ORDER:
            if key != self.page:
                await self.open(key)
            await self.action_to_page()

    @on(Changed)
    def _changed(self, event: Changed) -> None:
        from textual.widgets import Input, TextArea

        wizard(self).surveyor.draft.put(event.table, event.path, event.value)
        wizard(self).surveyor.edited(typing=isinstance(self.focused, Input | TextArea))

    @on(DescendantBlur)
    def _left_a_field(self) -> None:
        wizard(self).surveyor.typed()

    @on(Actions.Pressed)
    async def _pressed(self, event: Actions.Pressed) -> None:
        await self.run_action(event.key)

    @on(Walk.Taken, "Changes")
    async def _change_taken(self) -> None:
        await self.action_diff()

    async def action_apply_page(self) -> None:
        """Reviews, then applies, the page that is open."""
        await self._open_walked()
        wizard(self).review((self.page,))

    async def action_skip(self) -> None:
        """Leaves the page's matter alone, or takes it up again."""
        await self._open_walked()
        wizard(self).surveyor.draft.skipped ^= {self.page}
        wizard(self).surveyor.edited()

    async def action_recheck(self) -> None:
        """Looks at the node again."""
        await self._open_walked()
        wizard(self).surveyor.recheck(self.page)

    async def action_diff(self) -> None:
        """Shows every change of the page as a diff, beginning with the one under the cursor."""
        await self._open_walked()
        from bai_wizard.tui.screens.diff import DiffScreen
        from bai_wizard.tui.widgets.changes import Changes

        steps = wizard(self).surveyor.steps(self.page)
        wizard(self).show(
            DiffScreen(tr("What this page changes"), steps, self.query(Changes).first().step_at_cursor())
        )

    async def toggle_log(self) -> None:
        """Slides the log up or down."""
        from bai_wizard.tui.widgets.logpanel import LogPanel

        panels = self.query(LogPanel)
        if panels:
            await panels.remove()
        else:
            await self.query_one("#right").mount(LogPanel())

    def action_to_rail(self) -> None:
        """Goes to the rail."""
        self.query_one(Rail).focus()

    async def action_to_page(self) -> None:
        """Goes to the first field of the page."""
        await self._open_walked()
        inside = [widget for widget in self.focus_chain if self.query_one("#place") in widget.ancestors]
        if inside:
            self.set_focus(inside[0])
