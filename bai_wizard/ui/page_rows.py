"""The rows of a page's table: the current value of each field and object, its planned change, and what blocks it."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from bai_wizard.core.operation import Change
from bai_wizard.core.page import Context, Item, Page, Row
from bai_wizard.core.state import Key
from bai_wizard.core.step import Blocked, Pending, PlannedStep, Unchanged
from bai_wizard.locale import ntr, tr
from bai_wizard.ui.consequences import DISRUPTS
from bai_wizard.ui.present import reason_in_words
from bai_wizard.ui.summary import headlines

Mood = Literal["", "good", "todo", "bad"]
# Kinds of objects, the most informative first: it names a change of several objects.
TELLING = ("package", "image", "tree", "user", "", "file", "download", "group", "package-lists")


class RowText(NamedTuple):
    """What is shown beside a field or an object. `change` fits a column, `details` has one line per change.

    `mood` is good if nothing is left to do, todo if there are changes, bad if they are blocked for `reason`.
    """

    now: str = ""
    want: str = ""
    change: str = ""
    details: tuple[str, ...] = ()
    reason: str = ""
    mood: Mood = ""
    label: str = ""
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
    others = [of_steps([planned])._replace(label=tr(planned.step.describe())) for planned in rest]
    blocked = tuple(text for text in others if text.mood == "bad")
    left = [text for text in others if text.mood == "todo"]
    left += [RowText(label=tr(what), now=value) for what, value in pairs if not {what, tr(what)} & taken]
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
    return text._replace(label=item.label, now=item.now, want=want, details=details)


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


def telling(kind: str) -> int:
    """The rank of a kind of object: the lower, the more it tells."""
    return TELLING.index(kind if kind in TELLING else "")


def change_words(changes: Sequence[Change]) -> str:
    """Several changes in a few words: `install 3 packages`, `4096 → 65536`; empty without changes."""
    if not changes:
        return ""
    groups: dict[tuple[str, str], list[Change]] = {}
    for change in changes:
        kind = change.key.kind if change.key is not None else ""
        groups.setdefault((kind, change.verb), []).append(change)
    named = min(groups, key=lambda group: telling(group[0]))
    # A directory is made for what is below it.
    names = [_name_of(change) for change in groups[named]]
    mine = [
        change
        for change in groups[named]
        if not any(name.startswith(f"{_name_of(change)}/") for name in names if _name_of(change).startswith("/"))
    ]
    if len(mine) == 1 or named[0] == "tree":
        return ", ".join(map(_one, mine[:3]))
    return _several(*named, len(mine))


def _several(kind: str, verb: str, count: int) -> str:
    match kind, verb:
        case "package", "create":
            return ntr("install {count} package", "install {count} packages", count)
        case "package", "remove":
            return ntr("remove {count} package", "remove {count} packages", count)
        case "image", "create":
            return ntr("pull {count} image", "pull {count} images", count)
        case "file", "create":
            return ntr("create {count} file", "create {count} files", count)
        case "file", "modify":
            return ntr("change {count} file", "change {count} files", count)
        case "file", "remove":
            return ntr("remove {count} file", "remove {count} files", count)
    if kind == "sysctl":
        return ntr("set {count} kernel parameter", "set {count} kernel parameters", count)
    return ntr("{count} change", "{count} changes", count)


def _name_of(change: Change) -> str:
    return change.key.name if change.key is not None else change.subject


def _one(change: Change) -> str:
    kind, name = change.key or Key("", change.subject)
    if change.before is not None and change.after is not None and change.is_short():
        return f"{change.before} → {change.after}"
    if kind == "image" and change.verb == "create":
        return tr("pull {size}", size=change.after or change.attributes)
    if kind == "tree" and (change.after or "").startswith("Python") and not name.endswith(".venv"):
        return tr("install {name}", name=(change.after or "").partition(" (")[0])
    if name.endswith("/.venv"):
        name = "/".join(name.split("/")[-2:])
    elif kind in ("file", "tree", "download"):
        name = posixpath.basename(name) or name
    if kind == "download":
        return tr("download {name}", name=name)
    words = {"create": tr("create {name}", name=name), "remove": tr("remove {name}", name=name)}
    if kind in ("file", "tree", "user"):
        return words.get(change.verb, tr("change {name}", name=name))
    if kind == "package" and change.verb in ("create", "remove"):
        return tr("install {name}", name=name) if change.verb == "create" else words["remove"]
    return tr(change.subject)
