"""One table against its settings: either the settings, or every fault in words that need no manual."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError

from bai_wizard import pages
from bai_wizard.answers.positions import Path
from bai_wizard.answers.reasons import reason_of
from bai_wizard.answers.shape import keys_at, without_tags
from bai_wizard.pages.fields import SettingsTable

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

# What may stand at the top of the file.
TOP = (*pages.TABLES, "version", "override")


class Fault(NamedTuple):
    """What is wrong at a path of the answers. `hide` keeps the value out of the quoted line."""

    path: Path
    reason: str
    hide: bool = False


def validate(table: str, plain: Any) -> tuple[SettingsTable | None, list[Fault]]:
    """The settings of the table, or None and all its faults."""
    if table not in pages.TABLES:
        return None, [Fault((table,), f"is no table of the answers{nearest(table, TOP)}", hide=True)]
    if not isinstance(plain, dict):
        return None, [Fault((table,), f"must be a table: write [{table}] and its keys below")]
    model = pages.settings_of(table)
    try:
        return model.model_validate(plain), []
    except ValidationError as error:
        faults = list(_faults(table, model, error))
    return None, faults + list(_hidden_conflicts(table, model, plain, faults))


def nearest(word: str, known: tuple[str, ...]) -> str:
    """`; did you mean «x»?`, or the known words where none is near and they are few."""
    from difflib import get_close_matches

    close = get_close_matches(word.lower(), known, 1, 0.6)
    if close:
        return f"; did you mean `{close[0]}`?"
    return "; known here: " + ", ".join(known) if known and len(known) <= 24 else ""


def _faults(table: str, model: type[SettingsTable], error: ValidationError) -> Iterator[Fault]:
    items = error.errors(include_url=False)
    for item in items:
        loc = item["loc"]
        path: Path = (table, *without_tags(loc))
        if item["type"] == "too_short" and any(
            other["loc"][: len(loc)] == loc for other in items if other is not item
        ):
            # Only because its elements are wrong, which is told already.
            continue
        if item["type"] == "conflicts":
            for conflict in item["ctx"]["conflicts"]:
                yield Fault((*path, *conflict.at), conflict.reason)
        elif item["type"] == "extra_forbidden":
            known = keys_at(model, loc[:-1])
            yield Fault(path, f"is no key of this table{nearest(str(loc[-1]), known)}", hide=True)
        elif item["type"] == "sort_of_table":
            yield _sort_fault(path, item)
        else:
            yield Fault(path, reason_of(item))


def _sort_fault(path: Path, item: ErrorDetails) -> Fault:
    """A table of a sort that does not exist; the key that says the sort is pointed at."""
    given, key, words = item["input"], item["ctx"]["key"], tuple(item["ctx"]["words"])
    if not isinstance(given, dict) or key not in given:
        return Fault(path, f"must be a table whose `{key}` is one of {', '.join(words)}")
    near = nearest(str(given[key]), words) if isinstance(given[key], str) else ""
    return Fault((*path, key), f"must be one of {', '.join(words)}" + (near if "mean" in near else ""))


def _hidden_conflicts(
    table: str, model: type[SettingsTable], plain: dict[str, Any], faults: list[Fault]
) -> Iterator[Fault]:
    """Conflicts that were not looked for because single values are wrong: looked for without those values."""
    wrong = {fault.path[1:2] for fault in faults}
    if () in wrong:
        return
    keys = {path[0] for path in wrong}
    try:
        model.model_validate({key: value for key, value in plain.items() if key not in keys})
    except ValidationError as error:
        for item in error.errors(include_url=False):
            if item["type"] != "conflicts":
                continue
            inner = tuple(without_tags(item["loc"]))
            for conflict in item["ctx"]["conflicts"]:
                path = (*inner, *conflict.at)
                if path[:1] and path[0] not in keys and (inner or not keys & set(conflict.because)):
                    fault = Fault((table, *path), conflict.reason)
                    if fault not in faults:
                        yield fault
