"""The wish while somebody edits it: plain values by table, valid or not yet, and which pages are to apply."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel, ValidationError

from bai_wizard.answers.reasons import reason_of
from bai_wizard.answers.shape import without_tags
from bai_wizard.answers.validate import validate
from bai_wizard.compose import Wish, table_of
from bai_wizard.core.context import Context
from bai_wizard.pages import ORDER, TABLES, settings_of
from bai_wizard.pages.fields import SettingsTable

if TYPE_CHECKING:
    from bai_wizard.answers.model import Answers

Path = tuple[str | int, ...]
# Values that are secret in themselves; where other secrets come from is none.
SECRETS = ("password_hash",)
# Tables that belong to a page besides the one that makes it apply.
BESIDES: Mapping[str, tuple[str, ...]] = {"node": ("node", "network", "sources")}


class Trouble(NamedTuple):
    """What is wrong with one value. `path` begins below the table; empty: the table as a whole."""

    path: Path
    reason: str


def troubles_of(model: type[BaseModel], values: Mapping[str, Any]) -> tuple[Trouble, ...]:
    """What is wrong with the values of a part or a row, judged by itself."""
    try:
        model.model_validate(dict(values))
    except ValidationError as error:
        return tuple(_troubles(error))
    return ()


def _troubles(error: ValidationError) -> Iterator[Trouble]:
    for item in error.errors(include_url=False):
        path = tuple(without_tags(item["loc"]))
        if item["type"] == "conflicts":
            yield from (Trouble((*path, *conflict.at), conflict.reason) for conflict in item["ctx"]["conflicts"])
        else:
            yield Trouble(path, reason_of(item))


def tables_of(page: str) -> tuple[str, ...]:
    """The tables of the answers that a page edits, in the order in which they are shown."""
    return BESIDES.get(page, (page,))


class Draft:
    """Values as in the answers file, for every table, whether valid or not.

    `skipped` are the pages that are not to be touched. Nothing here reads the node.
    """

    def __init__(
        self, host: str, tables: Mapping[str, Mapping[str, Any]] | None = None, *, demo: bool = False
    ) -> None:
        self.host = host
        self._demo = demo
        self.skipped: set[str] = set()
        given = tables or {}
        self._raw: dict[str, dict[str, Any]] = {name: deepcopy(dict(given.get(name, {}))) for name in TABLES}
        self._judged: dict[str, tuple[SettingsTable | None, tuple[Trouble, ...]]] = {}

    @staticmethod
    def of_answers(answers: Answers, host: str, *, demo: bool = False) -> Draft:
        """The draft that an answers file begins; pages without a table are skipped, as in a headless run."""
        draft = Draft(host, answers.plain, demo=demo)
        for page in ORDER:
            table = answers.tables.get(table_of(page))
            if table is None or not table.apply:
                draft.skipped.add(page)
        return draft

    def handed_over(self) -> str:
        """All that was entered, right or wrong, for `taken_over`; secrets are not in it."""
        tables = {
            name: {key: value for key, value in table.items() if key not in SECRETS}
            for name, table in self._raw.items()
        }
        return json.dumps({"tables": tables, "skipped": sorted(self.skipped)})

    @staticmethod
    def taken_over(text: str, host: str) -> Draft:
        """The draft that another one's `handed_over` tells of. Raises ValueError for anything else."""
        told = json.loads(text)
        draft = Draft(host, told["tables"])
        draft.skipped = set(told["skipped"])
        return draft

    def value(self, table: str, path: Path) -> Any:
        """The value at a path; None where it, or something on the way, was not given. Defaults are the form's."""
        found: Any = self._raw[table]
        for part in path:
            try:
                found = found[part]
            except (KeyError, IndexError, TypeError):
                return None
        return deepcopy(found)

    def has(self, table: str, path: Path) -> bool:
        """True when the path was given a value, be it None."""
        found: Any = self._raw[table]
        for part in path:
            try:
                found = found[part]
            except (KeyError, IndexError, TypeError):
                return False
        return True

    def put(self, table: str, path: Path, value: Any) -> None:
        """Takes a value as the form has it; wrong ones too, for `troubles` to tell."""
        place: Any = self._raw[table]
        if not path:
            raise ValueError("a table as a whole is not put, only what is in it")
        for part in path[:-1]:
            if isinstance(place, dict) and place.get(part) is None:
                place[part] = {}
            place = place[part]
        place[path[-1]] = deepcopy(value)
        self._judged.pop(table, None)

    def scratch(self, table: str, values: Mapping[str, Any]) -> None:
        """Makes a table of that name that is none of the answers: a row under edit, for instance."""
        self._raw[table] = deepcopy(dict(values))

    def drop(self, table: str, path: Path) -> None:
        """Takes a value back to its default."""
        place: Any = self._raw[table]
        for part in path[:-1]:
            place = place.get(part) if isinstance(place, dict) else place[part]
            if place is None:
                return
        if isinstance(place, dict):
            place.pop(path[-1], None)
        self._judged.pop(table, None)

    def settings(self, table: str) -> SettingsTable | None:
        """The table's settings, or None while something is wrong with them."""
        return self._judge(table)[0]

    def troubles(self, table: str) -> tuple[Trouble, ...]:
        """Everything that is wrong with a table's values."""
        return self._judge(table)[1]

    def is_valid(self, page: str) -> bool:
        """True when every table of a page is valid."""
        return all(self.settings(table) is not None for table in tables_of(page))

    def wish(self, pages: Iterable[str] | None = None) -> Wish:
        """What is wanted, of the pages named (else of all that are not skipped) and valid."""
        wanted = [page for page in ORDER if page not in self.skipped] if pages is None else list(pages)
        chosen = tuple(page for page in ORDER if page in wanted and self.is_valid(page))
        tables = {name: settings for name in TABLES if (settings := self.settings(name)) is not None}
        return Wish(tables, chosen, self._context(tables, chosen))

    def wish_to_look(self) -> Wish:
        """Every page with its settings, and with defaults where they are wrong: for looking, never for planning."""
        tables = {name: self.settings(name) or settings_of(name).model_construct() for name in TABLES}
        applied = tuple(page for page in ORDER if page not in self.skipped)
        return Wish(tables, ORDER, self._context(tables, applied))

    def to_save(self) -> dict[str, SettingsTable]:
        """The settings of every table that is valid and was touched or applies; skipped ones say `apply = false`."""
        kept: dict[str, SettingsTable] = {}
        for name in TABLES:
            settings = self.settings(name)
            if settings is None:
                continue
            if name in self.skipped:
                if self._raw[name]:
                    kept[name] = settings.model_copy(update={"apply": False})
            elif self._raw[name] or name in ORDER:
                kept[name] = settings
        return kept

    def _context(self, tables: Mapping[str, SettingsTable], applied: tuple[str, ...]) -> Context:
        from bai_wizard.answers.context import context
        from bai_wizard.answers.model import Answers

        return context(Answers(file="", host=self.host, tables=tables), applied=applied, demo=self._demo)

    def _judge(self, table: str) -> tuple[SettingsTable | None, tuple[Trouble, ...]]:
        if table not in self._judged:
            values = {key: value for key, value in self._raw[table].items() if key != "apply"}
            settings, faults = validate(table, values)
            self._judged[table] = (settings, tuple(Trouble(fault.path[1:], fault.reason) for fault in faults))
        return self._judged[table]
