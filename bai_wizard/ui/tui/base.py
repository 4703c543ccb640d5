"""Common parts of screens and widgets: safe text, work in threads, focus, and mounting."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Awaitable, Callable, Iterator
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar, cast

from textual import widgets
from textual.app import App
from textual.await_complete import AwaitComplete
from textual.binding import Binding, BindingType
from textual.content import Content, Span
from textual.dom import DOMNode
from textual.errors import NoWidget
from textual.geometry import Offset, Region
from textual.message import Message
from textual.screen import HoverWidgets, ModalScreen, Screen
from textual.widget import Widget

from bai_wizard.core.display import visible

if TYPE_CHECKING:
    from bai_wizard.ui.draft import Path
    from bai_wizard.ui.tui.app import WizardApp
    from bai_wizard.ui.tui.widgets.actions import Actions


T = TypeVar("T")


class WorkDone(Message):
    """A piece of work is done; `take` is called in the event loop of the screen."""

    bubble = False

    def __init__(self, take: Callable[[], None]) -> None:
        super().__init__()
        self.take = take


def _raise(error: Exception) -> None:
    raise error


def run_in_thread(
    app: App[Any], work: Callable[[], T], then: Callable[[T], None], failed: Callable[[Exception], None] = _raise
) -> None:
    """Do `work` in a daemon thread, so that a hung one cannot keep the wizard from exiting.

    `then` gets its result in the event loop, `failed` its error; neither if the owner of `then` is gone.
    """

    def do() -> None:
        try:
            finish = partial(then, work())
        except Exception as error:  # noqa: BLE001 - passed to `failed`, which has to report it
            finish = partial(failed, error)
        app.post_message(WorkDone(lambda: finish() if is_on_screen(app, then) else None))

    threading.Thread(target=do, daemon=True, name="bai-wizard-work").start()


def is_on_screen(app: App[Any], then: Callable[..., None]) -> bool:
    """Whether the owner of `then` is still on a screen: a screen that was closed has lost its widgets."""
    owner = getattr(then, "__self__", None)
    if isinstance(owner, Screen):
        return owner in app.screen_stack
    return not isinstance(owner, Widget) or owner.is_attached


F = TypeVar("F", bound=Callable[..., Any])


def is_live(node: DOMNode) -> bool:
    """Whether a widget is still part of a screen and not about to be removed from it."""
    return node.is_attached and not any(above._pruning for above in node.ancestors_with_self)


def while_mounted(method: F) -> F:
    """Decorate a widget method that is called later: by a timer, a signal, after a refresh, or on behalf of a thread.

    It does nothing if the widget has been removed meanwhile.
    """
    if inspect.iscoroutinefunction(method):

        @wraps(method)
        async def later(self: DOMNode, *given: Any, **named: Any) -> Any:
            return await method(self, *given, **named) if is_live(self) else None

        return cast("F", later)

    @wraps(method)
    def soon(self: DOMNode, *given: Any, **named: Any) -> Any:
        return method(self, *given, **named) if is_live(self) else None

    return cast("F", soon)


def wizard(node: DOMNode) -> WizardApp:
    """The application, with its type."""
    return cast("WizardApp", node.app)


class Changed(Message):
    """A field has a new value; `value` is as in the answers file, or the raw text if it is not valid."""

    def __init__(self, table: str, path: Path, value: Any) -> None:
        super().__init__()
        self.table = table
        self.path = path
        self.value = value


class FieldPath(NamedTuple):
    """The path of a field in the draft."""

    table: str
    path: Path

    def below(self, *more: str | int) -> FieldPath:
        return FieldPath(self.table, (*self.path, *more))


# Untrusted text on the screen: everything that our widgets draw passes through `shown`.
#
# Turning markup off is not enough: Textual writes escape sequences and C1 controls inside a text to the terminal.
# They are escaped here, before a text is measured and wrapped, so that no part of a line is lost. `VisibleFilter` in
# `ui/tui/terminal.py` is the second line of defense, for Textual's own widgets such as editors and notices.


def shown(content: str | Content, *, lines: bool = True) -> Content:
    """The content with control characters escaped and its styles kept; `lines` as for `visible`."""
    if isinstance(content, str):
        return Content(visible(content, lines=lines))
    text = content.plain
    safe = visible(text, lines=lines)
    if safe == text:
        return content

    def moved(index: int) -> int:
        return len(visible(text[:index], lines=lines))

    return Content(safe, spans=[Span(moved(span.start), moved(span.end), span.style) for span in content.spans])


class Static(widgets.Static):
    """Textual's Static, without markup and with control characters escaped."""

    def __init__(self, content: str | Content = "", *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(shown(content), markup=False, id=id, classes=classes)

    def update(self, content: object = "", *, layout: bool = True) -> None:
        super().update(shown(content if isinstance(content, str | Content) else str(content)), layout=layout)


# Seconds.
SOON = 0.005


class SafeScreen:
    """Closes only once, and passes no mouse event to a removed widget."""

    def dismiss(self, result: Any = None) -> AwaitComplete:
        """Close this screen with a result. Does nothing unless it is on top.

        A key press or click may arrive twice, or after another screen has opened above this one.
        """
        assert isinstance(self, Screen)
        if self.app.screen is not self or len(self.app.screen_stack) <= 1:
            return AwaitComplete()
        closing: AwaitComplete = super().dismiss(result)  # type: ignore[misc]
        return closing

    # The screen's map is from the last layout: it still contains widgets that were removed since.
    def get_widget_at(self, x: int, y: int) -> tuple[Widget, Region]:
        """The widget under a cell, or the screen itself, also if the widget has been removed."""
        assert isinstance(self, Screen)
        try:
            result: tuple[Widget, Region] = super().get_widget_at(x, y)  # type: ignore[misc]
        except NoWidget:
            return self, self.region
        return result if self._is_here(result[0]) else (self, self.region)

    def get_hover_widgets_at(self, x: int, y: int) -> HoverWidgets:
        """The widgets under the mouse; the screen itself if they have been removed.

        Raises NoWidget outside the screen.
        """
        assert isinstance(self, Screen)
        result: HoverWidgets = super().get_hover_widgets_at(x, y)  # type: ignore[misc]
        if all(each is None or self._is_here(each[0]) for each in (result.mouse_over, result.hover_over)):
            return result
        return HoverWidgets((self, self.region), None)

    def get_widget_and_offset_at(self, x: int, y: int) -> tuple[Widget | None, Offset | None]:
        """The widget under a cell and the offset in its text; None without a widget, or if it has been removed."""
        widget, offset = super().get_widget_and_offset_at(x, y)  # type: ignore[misc]
        if widget is not None and not self._is_here(widget):
            return None, None
        return widget, offset

    def _is_here(self, widget: Widget) -> bool:
        return isinstance(widget, Screen) or is_live(widget)


class DomFocus(SafeScreen):
    """Focus in document order, which is known before the first layout; Textual's order is not."""

    # What has to be mounted before the screen begins; nested children are mounted a moment later.
    NEEDS: tuple[str, ...] = ()

    def on_mount(self) -> None:
        """Begin as soon as everything is mounted."""
        assert isinstance(self, Screen)
        if all(self.query(selector) for selector in self.NEEDS):
            self.call_later(self._begin)
        else:
            self.set_timer(SOON, self._again)

    @while_mounted
    def _again(self) -> None:
        self.on_mount()

    @while_mounted
    def _begin(self) -> Awaitable[None] | None:
        return self.begin()

    def begin(self) -> Awaitable[None] | None:
        """What a screen does first."""

    @property
    def focus_chain(self) -> list[Widget]:
        """The focusable widgets, in their order."""
        assert isinstance(self, Screen)
        return [widget for widget in _shown(self) if widget.focusable]

    async def on_actions_pressed(self, event: Actions.Pressed) -> None:
        """Run the action of the screen that was chosen in its row of actions."""
        assert isinstance(self, Screen)
        await self.run_action(event.key)

    def action_no(self) -> None:
        self.dismiss()

    def action_step(self, by: int) -> None:
        assert isinstance(self, Screen)
        if by < 0:
            self.focus_previous()
        else:
            self.focus_next()


def _shown(widget: Widget) -> Iterator[Widget]:
    for child in widget.displayed_children:
        yield child
        yield from _shown(child)


# Esc closes a screen; Up and Down move the focus, for users with arrow keys only.
KEYS: list[BindingType] = [
    Binding("escape", "no", "Back", id="screen.back"),
    Binding("up", "step(-1)", show=False),
    Binding("down", "step(1)", show=False),
]


class WizardScreen(DomFocus, Screen[T]):
    """A screen of the wizard, narrow below 100 columns."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]  # noqa: RUF012 - as Textual declares it
    BINDINGS: ClassVar[list[BindingType]] = KEYS


class Dialogue(DomFocus, ModalScreen[T]):
    """A small screen above another one. The application's own keys do not reach it, except these."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *KEYS,
        Binding("f1", "app.show_help", "Help", show=False),
        Binding("ctrl+q,ctrl+c", "app.leave", "Quit", show=False),
        Binding("ctrl+z", "app.suspend_process", "Suspend", show=False),
    ]

    @property
    def holds_input(self) -> bool:
        """Whether closing this screen would lose input."""
        return False
