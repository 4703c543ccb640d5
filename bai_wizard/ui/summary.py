"""A plan in brief: steps by meaning, whole new files as one line each. `--diff` and the screens show every line."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Collection, Iterable, Iterator, Sequence

from msgspec.structs import replace

from bai_wizard.core.operation import Change
from bai_wizard.core.state import Key
from bai_wizard.core.step import Pending, Plan, PlannedStep, Step, Unchanged
from bai_wizard.locale import ntr, tr
from bai_wizard.ui.consequences import brief

# Two screens of 26 lines of this width hold the plan of a bare node.
WIDTH = 80
INDENT = "  "
# Steps of this kind only prepare others: those of a page are one item.
PACKAGE_LISTS = "package-lists"
# Where a long title begins to say why and how, or to list names.
_DETAIL = re.compile(r":\s|;\s|,\s(?:which|so)\s|\s\(|\s(?:to load its|from https?:|in the version)")
# How many changed lines of an existing file are shown.
MAX_LINES = 3


def group_of(planned: PlannedStep) -> str:
    """The beginning of the id that steps with the same meaning share: `tuning.live`, `storage.vol1`."""
    return ".".join(planned.step.id.split(".", 2)[:2])


def groups_of(steps: Iterable[PlannedStep]) -> list[tuple[str, tuple[PlannedStep, ...]]]:
    """The steps by what they are about, in the order in which the first of each occurs."""
    groups: dict[str, list[PlannedStep]] = {}
    for planned in steps:
        groups.setdefault(group_of(planned), []).append(planned)
    return [(group, tuple(members)) for group, members in groups.items()]


def group_title(group: str, members: Sequence[PlannedStep]) -> str:
    """What the steps of a group are about; for a single step, what it does."""
    count = len(members)
    if count == 1:
        return tr(members[0].step.describe())
    page, _, name = group.partition(".")
    if page == "storage":
        return ntr("volume {name}: {count} step", "volume {name}: {count} steps", count, name=name)
    titles = {
        "tuning.live": ntr("set {count} kernel parameter now", "set {count} kernel parameters now", count),
        "tuning.service": ntr("raise the limits of {count} service", "raise the limits of {count} services", count),
        "tuning.restart": ntr("restart {count} service", "restart {count} services", count),
        "images.pull": ntr("pull {count} image", "pull {count} images", count),
        "images.archives": ntr("load {count} image archive", "load {count} image archives", count),
        "images.name": ntr("tag {count} image", "tag {count} images", count),
        "images.registry-ca": ntr("trust {count} registry", "trust {count} registries", count),
        "docker.registry-ca": ntr("trust {count} registry", "trust {count} registries", count),
    }
    rest = ntr(
        "{first}, and {count} more step",
        "{first}, and {count} more steps",
        count - 1,
        first=tr(members[0].step.describe()),
    )
    return titles.get(group, rest)


def short_title(group: str, members: Sequence[PlannedStep]) -> str:
    """What a group is about, without the names of its packages and images."""
    return brief(group_title(group, members))


def shortened(title: str) -> str:
    """A step's title without why and how, or the names at its end."""
    return _DETAIL.split(title, maxsplit=1)[0]


def is_whole(change: Change) -> bool:
    """Whether a text is created or removed as a whole, so that its diff would repeat every line of it."""
    return (change.before is None) != (change.after is None) and not change.is_short()


def headlines(step: Step, changes: Iterable[Change]) -> Iterator[str]:
    """One line per change; the files that a step copies from a directory of this node are counted."""
    copied = 0
    for change in changes:
        if step.copies_from and change.verb == "create" and change.after is not None:
            copied += 1
        elif is_whole(change):
            size = len((change.after or change.before or "").splitlines())
            yield f"{tr(change.headline())}  ({ntr('{count} line', '{count} lines', size)})"
        else:
            yield tr(change.headline())
    if copied:
        yield "+ " + copied_files(copied, step.copies_from)


def copied_files(count: int, source: str) -> str:
    """`3 files from /etc/skel`."""
    return ntr("{count} file from {directory}", "{count} files from {directory}", count, directory=source)


def summary_lines(plan: Plan) -> Iterator[str]:
    """By page: what is done, several short items to a line; what is blocked, and notes, on lines of their own."""
    created = {change.key for planned in plan.steps for change in _changes(planned) if change.before is None}
    for page in dict.fromkeys(planned.step.page for planned in plan.steps if _is_shown(planned)):
        steps = [planned for planned in plan.steps if planned.step.page == page]
        others = [planned for planned in steps if not planned.is_pending and _is_shown(planned)]
        lines = [
            *_packed(f"[{page}] ", _items([planned for planned in steps if planned.is_pending], created)),
            *(INDENT + line for planned in others for line in _what_and_why(planned)),
        ]
        yield from lines if any(planned.is_pending for planned in steps) else (f"[{page}]", *lines)


def _changes(planned: PlannedStep) -> tuple[Change, ...]:
    return planned.verdict.changes if isinstance(planned.verdict, Pending) else ()


def _is_shown(planned: PlannedStep) -> bool:
    return not isinstance(planned.verdict, Unchanged) or bool(planned.verdict.note)


def _what_and_why(planned: PlannedStep) -> Iterator[str]:
    from bai_wizard.ui.present import change_lines

    yield f"{planned.step.id}: {_one_line(tr(planned.step.describe()))}"
    yield from (INDENT + line for line in change_lines(planned))


def _items(pending: Sequence[PlannedStep], created: Collection[Key | None]) -> Iterator[tuple[str, list[str]]]:
    """A line for each group of steps, and the lines below it: changed lines of existing files, warnings."""
    from bai_wizard.ui.present import tags

    lists = [planned for planned in pending if planned.step.kind == PACKAGE_LISTS]
    for group, members in groups_of(pending):
        if members[0] in lists[1:]:
            continue
        title = tr("refresh package lists") if members[0] in lists else group_title(group, members)
        words = list(_sizes(members[0], created)) if len(members) == 1 else []
        is_optional = all(planned.step.optional for planned in members)
        words += dict.fromkeys(
            word
            for planned in members
            for word in tags(planned.step if is_optional else replace(planned.step, optional=False))
        )
        tail = f" ({', '.join(words)})" if words else ""
        if len(INDENT + title + tail) > WIDTH:
            title = shortened(title)
        yield title + tail, [line for planned in members for line in _below(planned, created)]


def _sizes(planned: PlannedStep, created: Collection[Key | None]) -> Iterator[str]:
    """The size of what a step creates, or how much it changes in a file of this plan."""
    files = [change for change in _changes(planned) if change.before is None and change.after is not None]
    if planned.step.copies_from and files:
        yield copied_files(len(files), planned.step.copies_from)
        return
    for change in filter(is_whole, files):
        yield ntr("new, {count} line", "new, {count} lines", len((change.after or "").splitlines()))
    for change in _changes(planned):
        if change.before is not None and change.key in created and not change.is_short():
            yield ntr("{count} line changed", "{count} lines changed", len(_changed_lines(change)))


def _below(planned: PlannedStep, created: Collection[Key | None]) -> Iterator[str]:
    for warning in planned.step.warnings():
        yield tr("Please check: {what}", what=warning)
    for change in _changes(planned):
        if is_whole(change) or change.is_short() or change.key in created:
            continue
        lines = _changed_lines(change)
        yield from lines[:MAX_LINES]
        if more := len(lines[MAX_LINES:]):
            yield ntr("… {count} more line (--diff)", "… {count} more lines (--diff)", more)


def _changed_lines(change: Change) -> list[str]:
    """The lines of a diff that are added or removed, without comments."""
    lines = change.diff().splitlines()[2:]
    return [line for line in lines if line.startswith(("+", "-")) and not line[1:].startswith("#")]


def _packed(heading: str, items: Iterable[tuple[str, list[str]]]) -> Iterator[str]:
    """Several items to a line, in order; the heading is on the first line."""
    line, lead = "", heading
    for text, below in items:
        joined = f"{line}; {text}" if line else text
        if line and (below or len(lead + joined) > WIDTH):
            yield from _wrapped(line, lead)
            joined, lead = text, INDENT
        line = joined
        if below:
            yield from _wrapped(line, lead)
            yield from (f"{INDENT * 2}{_one_line(each)}" for each in below)
            line, lead = "", INDENT
    if line:
        yield from _wrapped(line, lead)


def _wrapped(text: str, lead: str = INDENT) -> list[str]:
    """The text on lines of its own; what an error message or a name contains cannot begin one."""
    return textwrap.wrap(
        _one_line(text),
        WIDTH,
        initial_indent=lead,
        subsequent_indent=INDENT * 2,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _one_line(text: str) -> str:
    return " ".join(text.split("\n"))
