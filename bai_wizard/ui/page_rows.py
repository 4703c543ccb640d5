"""The rows of a page's table: the current value of each field and object, its planned change, and what blocks it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from bai_wizard.core.page import Context, Item, Page, Row
from bai_wizard.core.step import Blocked, Pending, PlannedStep, Unchanged
from bai_wizard.locale import tr
from bai_wizard.ui.change_words import change_words
from bai_wizard.ui.consequences import DISRUPTS
from bai_wizard.ui.present import reason_in_words
from bai_wizard.ui.summary import headlines

Mood = Literal["", "good", "todo", "bad"]


class RowText(NamedTuple):
    """What is shown beside a field or an object. `change` fits a column, `details` has one line per change.

    `label` is shown, `name` identifies the row. `mood` is good if nothing is left to do, todo if there are changes,
    bad if they are blocked for `reason`.
    """

    now: str = ""
    want: str = ""
    change: str = ""
    details: tuple[str, ...] = ()
    reason: str = ""
    mood: Mood = ""
    label: str = ""
    name: str = ""
    steps: tuple[PlannedStep, ...] = ()
    is_needed: bool = False


class PageRows(NamedTuple):
    """The rows of a page: `fields` by their paths, its `items`, and `others`: steps without a field, and facts.

    `blocked` are steps without a field that must not be applied.
    """

    fields: dict[str, RowText]
    blocked: tuple[RowText, ...]
    items: tuple[RowText, ...]
    others: tuple[RowText, ...]


def page_rows(
    page: Page,
    settings: Mapping[str, Any],
    facts: Any | None,
    context: Context,
    steps: Sequence[PlannedStep],
    now: Iterable[tuple[str, str]],
) -> PageRows:
    """The rows of a page. `settings` are those of all tables; `facts` is missing until they are known; `now` may
    already have some of them.
    """
    pairs = list(now)
    own = settings[page.table or page.name]
    fields = {}
    for row in page.rows:
        prefixes = (*row.steps, *(row.if_set if _is_set(row.field, settings) else ()))
        mine = [item for item in steps if _is_one(item.step.id, prefixes)]
        current = ", ".join(dict.fromkeys(value for what, value in pairs if what in row.now and value))
        text = of_steps(mine)._replace(now=current, want=_default(row, own, context), is_needed=row.is_needed)
        fields[row.field] = text
    taken = {what for row in page.rows for what in row.now}
    owned = [prefix for row in page.rows for prefix in (*row.steps, *row.if_set)]
    items = []
    for item in page.items(own, facts, context) if facts is not None else ():
        items.append(_item(item, steps))
        taken.add(item.label)
        owned += [*item.steps, *(planned.step.id for planned in steps if item.keys and _touches(planned, item.keys))]
    rest = [planned for planned in steps if not _is_one(planned.step.id, owned)]
    others = [
        of_steps([planned])._replace(label=tr(planned.step.describe()), name=planned.step.id) for planned in rest
    ]
    blocked = tuple(text for text in others if text.mood == "bad")
    left = [text for text in others if text.mood == "todo"]
    left += [RowText(label=tr(what), name=what, now=value) for what, value in pairs if not {what, tr(what)} & taken]
    return PageRows(fields, blocked, tuple(items), tuple(left))


def _default(row: Row, settings: Any, context: Context) -> str:
    if isinstance(row.default, str):
        return tr(row.default) if row.default else ""
    return row.default(settings, context)


def _is_set(field: str, settings: Mapping[str, Any]) -> bool:
    """Whether a field has a value other than its default."""
    table, *names = field.split(".")
    value, default = settings[table], None
    for name in names:
        if value is None:  # a part that is off
            return False
        default, value = type(value).infos[name].default, getattr(value, name)
    return bool(value != default)


def _is_one(step: str, prefixes: Iterable[str]) -> bool:
    return any(step == prefix or (prefix.endswith(".") and step.startswith(prefix)) for prefix in prefixes)


def _touches(planned: PlannedStep, keys: Sequence[str]) -> bool:
    verdict = planned.verdict
    return isinstance(verdict, Pending) and any(str(change.key) in keys for change in verdict.changes)


def _item(item: Item, steps: Sequence[PlannedStep]) -> RowText:
    mine = [planned for planned in steps if _is_one(planned.step.id, item.steps)]
    if item.keys:
        mine = [planned for planned in mine or steps if _touches(planned, item.keys)]
    text = of_steps(mine, item.keys)
    if not mine and item.keys and item.want:
        text = text._replace(mood="good")
    want = item.want or _outcome(mine, item.now)
    if text.change == f"{item.now} → {want}":
        text = text._replace(change=tr("change"))
    details = (*((item.about,) if item.about else ()), *text.details)
    return text._replace(label=item.label, name=item.label, now=item.now, want=want, details=details)


def _outcome(steps: Sequence[PlannedStep], now: str) -> str:
    """The desired state of an object as its only step leaves it."""
    if len(steps) != 1 or isinstance(steps[0].verdict, Blocked):
        return ""
    changes = steps[0].verdict.changes if isinstance(steps[0].verdict, Pending) else ()
    return (changes[0].after or "") if len(changes) == 1 else now if not changes else ""


def of_steps(steps: Sequence[PlannedStep], keys: Sequence[str] = ()) -> RowText:
    """What these steps do, in short and in full; `keys` limits it to changes of these objects."""
    if not steps:
        return RowText()
    blocked = [item for item in steps if isinstance(item.verdict, Blocked)]
    pending = [item for item in steps if isinstance(item.verdict, Pending)]
    # A step that waits for another one is reported there; the cause comes first.
    cause = next((item for item in blocked if not _verdict(item).depends_on), blocked[0] if blocked else None)
    if cause is not None:
        reason = reason_in_words(_verdict(cause))
        return RowText(change=tr("blocked"), reason=reason, mood="bad", steps=tuple(steps), details=(reason,))
    if not pending:
        notes = tuple(
            tr(item.verdict.note) for item in steps if isinstance(item.verdict, Unchanged) and item.verdict.note
        )
        return RowText(details=notes, mood="good", steps=tuple(steps))
    by_step = [
        (item.step, [change for change in item.verdict.changes if not keys or str(change.key) in keys])
        for item in pending
        if isinstance(item.verdict, Pending)
    ]
    changes = [change for _, changes in by_step for change in changes]
    details = [text for step, changes in by_step for text in headlines(step, changes)]
    details += [
        tr(item.step.describe()) for item in pending if isinstance(item.verdict, Pending) and item.verdict.is_partial
    ]
    interrupts = [tr(DISRUPTS[kind]) for item in pending for kind in item.step.interrupts]
    short = change_words(changes) or "; ".join(dict.fromkeys(interrupts)) or tr("known after apply")
    return RowText(change=short, details=tuple(details), mood="todo", steps=tuple(steps))


def _verdict(planned: PlannedStep) -> Blocked:
    assert isinstance(planned.verdict, Blocked)
    return planned.verdict
