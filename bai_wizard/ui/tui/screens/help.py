"""Help for the field under the cursor and the open screen: their purpose, and the keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll

from bai_wizard.locale import N_, tr
from bai_wizard.ui.form_fields import in_one_line, plain_default
from bai_wizard.ui.tui.base import Dialogue, Static
from bai_wizard.ui.tui.widgets.list_box import cut

if TYPE_CHECKING:
    from bai_wizard.ui.tui.widgets.field import Field


HELP = {
    "main": N_(
        "The first screen shows the node and what each page would change. A page shows each setting with its current "
        "and its desired value and the resulting change. Nothing changes until you confirm it on the review screen. "
        "Start with the node's roles and the Backend.AI release, then go through the pages in order or jump to any."
    ),
    "review": N_(
        "The first line summarizes the changes, what they disrupt and whether they can be undone; Enter on a part "
        "of it shows the details. Below are the steps, folded by page: Enter or Right unfolds, Space excludes, x "
        "excludes what is blocked, g opens the page, d shows the diff. Dependent steps are re-evaluated. Apply "
        "starts a run that continues even if this terminal is lost."
    ),
    "run": N_(
        "The run does not depend on this screen: you can go back to the pages, quit, or lose the connection. To "
        "return, start `bai-wizard` or `bai-wizard attach`. Stopping takes effect after the current step. In the "
        "log, / searches, n and e go to the next match and error, p, t and v show one page, step or level, z "
        "wraps, Left and Right scroll, | opens the pager, w saves, c copies, f follows. Enter on a step shows "
        "only its lines."
    ),
    "end": N_("How the run ended, and what you can do next. All of its changes are recorded and can be undone."),
    "runs": N_("Every run on this node. You can view any run, resume an interrupted one, and undo any of them."),
    "undo": N_(
        "The changes that undoing the run would make. A file that was edited since the run is shown and kept. "
        "Changes that cannot be undone are listed."
    ),
    "again": N_("Another attempt of the same run, re-planned for the current state of the node."),
    "diff": N_("Lines with + are added, lines with - are removed. Nothing has been changed yet."),
    "doctor": N_(
        "Checks change nothing. The consequences of a problem are listed below it. f shows the fix of the finding "
        "under the cursor, F all fixes that interrupt nothing and have no risk; each is reviewed before it is "
        "applied, and can be undone. r runs the check again, p and / filter, c copies the command, g opens the page."
    ),
    "answers": N_(
        "Answers are kept in a file. The list shows which fields differ from the opened file, and from what can be "
        "read back from the node; Enter goes to the field. A file with errors can be opened: they are shown beside "
        "the fields."
    ),
    "find": N_(
        "Type parts of a name, a value or a description: what matches is listed, the open page first. Enter goes to "
        "the first result; Down moves to the others."
    ),
    "row": N_(
        'One entry of the table. Changes are kept only if you choose "Save"; Esc asks before it discards them.'
    ),
    "paste": N_("Paste or type any number of lines. Tab moves to the buttons, Esc cancels."),
    "ask": N_("Enter accepts the answer, Esc cancels."),
    "password": N_(
        "Type the password twice. Up and Down move between the fields. The password is never shown or saved."
    ),
}
# The help topics of the screens, as opposed to dialogs, where letters may be input.
SCREENS = ("main", "answers", "run", "end", "runs", "undo", "again", "doctor")
# Keys, what they do, and the topics of the screens where they do it; without any, everywhere.
KEYS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (N_("arrows, Tab"), N_("move between fields and lists"), ()),
    ("Enter, Space", N_("select, toggle, press"), ()),
    ("Esc", N_("back; asks before input is discarded"), ()),
    ("0-8", N_("open a page by its number"), ("main",)),
    ("/, F3", N_("search"), ("main", "run", "doctor")),
    ("n, N, F8", N_("next or previous problem"), ("main", "review", "doctor")),
    ("Ctrl+R", N_("reset the field to its default"), ("main",)),
    ("Delete", N_("remove an entry of a list"), ("main", "row")),
    ("a", N_("apply the open page"), ("main",)),
    ("A", N_("review and apply all pages"), SCREENS),
    ("d", N_("show the changes as a diff"), ("main", "review")),
    ("l", N_("show or hide the log"), ("main",)),
    ("s", N_("save the answers"), SCREENS),
    ("F1", N_("this help"), ()),
    ("q", N_("quit (a run in progress continues)"), SCREENS),
    ("o", N_("result of the last run"), tuple(set(SCREENS) - {"answers"})),
    ("Ctrl+P", N_("command palette"), ()),
    ("Ctrl+Z", N_("suspend to the shell"), ()),
)


class HelpScreen(Dialogue[None]):
    """Arrows scroll, Esc closes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,f1,enter", "dismiss", "Close", id="help.close")
    ]

    NEEDS = ("VerticalScroll",)

    def __init__(self, topic: str, field: Field | None = None) -> None:
        super().__init__()
        self.topic = topic
        self.field = field

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialogue tall"):
            yield Static(tr("Help"), classes="title")
            if self.field is not None:
                yield Static(self.field.label, classes="heading")
                yield Static("\n".join(field_help_lines(self.field)))
                yield Static(tr("This screen"), classes="heading")
            yield Static(tr(HELP.get(self.topic, HELP["main"])))
            yield Static(tr("Keys"), classes="heading")
            keys = [(key, text) for key, text, topics in KEYS if not topics or self.topic in topics]
            yield Static("\n".join(f"{cut(tr(key), 14)} {tr(text)}" for key, text in keys))

    def begin(self) -> None:
        self.query_one(VerticalScroll).focus()


def field_help_lines(field: Field) -> Iterator[str]:
    """The full help text of a field."""
    info, path = field.form_field.info, field.place
    yield tr(info.help)
    yield from (f"  {word}: {tr(meaning)}" for word, meaning in info.choices.items())
    if info.example not in (None, ""):
        yield tr("For example: {example}", example=in_one_line(info.example))
    default = in_one_line(plain_default(field.form_field) or "")
    if info.required:
        yield tr("Required.")
    elif default:
        yield tr("Default: {default}", default=default)
    if path.table != "row":
        key = ".".join(str(part) for part in (path.table, *path.path))
        yield tr("In the answers file: {key}", key=key)
