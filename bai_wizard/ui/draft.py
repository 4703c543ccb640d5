"""The desired state during editing: plain values by table, the pages to apply, and typed secrets."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from msgspec import UNSET, Struct
from msgspec.structs import replace

from bai_wizard.answers.model import dotted
from bai_wizard.answers.validate import convert, validate
from bai_wizard.compose import DesiredState, table_of
from bai_wizard.core.page import Context
from bai_wizard.core.secret import Secret, has_credentials, use_resolver, without_credentials
from bai_wizard.locale import tr
from bai_wizard.pages import ORDER, TABLES, settings_of
from bai_wizard.pages.fields import SettingsPart, SettingsTable
from bai_wizard.ui.form_fields import fitting, misfit

if TYPE_CHECKING:
    from bai_wizard.answers.model import Answers
    from bai_wizard.core.errors import Problem


Path = tuple[str | int, ...]
# Values that are themselves secret; references to other secrets are not.
SECRETS = ("password_hash",)
# Tables that belong to a page besides the one that makes it apply.
BESIDES: Mapping[str, tuple[str, ...]] = {"node": ("node", "network", "sources")}


class DraftProblem(NamedTuple):
    """A problem with one value. `path` is relative to the table; empty: the table as a whole."""

    path: Path
    reason: str


def troubles_of(model: type[SettingsPart], values: Mapping[str, Any]) -> tuple[DraftProblem, ...]:
    """The problems in the values of a part or a row, validated on its own."""
    return tuple(DraftProblem(problem.path, tr(problem.reason)) for problem in convert(model, dict(values))[1])


def tables_of(page: str) -> tuple[str, ...]:
    """The tables of the answers that a page edits, in the order in which they are shown."""
    return BESIDES.get(page, (page,))


def _without_secrets(value: Any) -> Any:
    """Return plain values without their secrets (hashes, and credentials in URLs)."""
    if isinstance(value, dict):
        return {key: _without_secrets(item) for key, item in value.items() if key not in SECRETS}
    if isinstance(value, list | tuple):
        return [_without_secrets(item) for item in value]
    return without_credentials(value) if isinstance(value, str) and has_credentials(value) else value


class HandedOver(Struct):
    """Everything that was entered, valid or not, by table, and the pages that are not to be changed."""

    tables: dict[str, dict[str, Any]]
    skipped: list[str]


def _described(text: str) -> HandedOver:
    """Parse the result of `Draft.handed_over`. Raises ValueError for anything else."""
    try:
        result = msgspec.convert(json.loads(text), HandedOver)
    except (msgspec.ValidationError, RecursionError) as error:
        raise ValueError(f"not a draft: {error}") from error
    if not set(result.skipped) <= set(ORDER):
        raise ValueError("unknown pages")
    result.tables = {name: table for name, table in result.tables.items() if name in TABLES}
    for name, table in result.tables.items():
        if problem := misfit(table, settings_of(name)):
            raise ValueError(f"{name}: {problem}")
    return result


class Draft:
    """Values as in the answers file, for every table, valid or not.

    `skipped` are the pages that are not to be changed. Nothing here reads the node.
    """

    def __init__(
        self, host: str, tables: Mapping[str, Mapping[str, Any]] | None = None, *, demo: bool = False
    ) -> None:
        self.host = host
        self._demo = demo
        self.skipped: set[str] = set()
        given = tables or {}
        self._raw: dict[str, dict[str, Any]] = {name: deepcopy(dict(given.get(name, {}))) for name in TABLES}
        self._judged: dict[str, tuple[SettingsTable | None, tuple[DraftProblem, ...]]] = {}
        # The answers file that the draft began with; empty if there was none.
        self.opened = ""
        # What is wrong with parts of that file that no field can show; they are not saved.
        self.left_out: tuple[Problem, ...] = ()
        # Whether the file has tables for some hosts only, which this draft does not keep apart.
        self.has_overrides = False
        # The autosaved draft that this one continues; removed once this one is saved.
        self.continues = ""
        self._kept = self.handed_over()

    @staticmethod
    def from_file(path: str, host: str, *, demo: bool = False) -> Draft:
        """The draft from an answers file, also an invalid one. Raises AnswersError if nothing of it can be shown."""
        from bai_wizard.answers.load import load_to_edit

        answers, problems = load_to_edit(path, host, trusted_only=not demo)
        return Draft.of_answers(answers, host, problems, demo=demo)

    @staticmethod
    def of_answers(answers: Answers, host: str, problems: Iterable[Problem] = (), *, demo: bool = False) -> Draft:
        """The draft from an answers file; pages without a table are skipped, as in a headless run."""
        given = {
            name: values for name, values in answers.plain.items() if name in TABLES and isinstance(values, dict)
        }
        draft = Draft(host, {name: fitting(values, settings_of(name)) for name, values in given.items()}, demo=demo)
        paths = [(name, *each.path) for name in TABLES for each in draft.problems(name)]
        prefixes = ((), *(layer.prefix for layer in answers.overrides))
        shown = {dotted((*prefix, *path)) for prefix in prefixes for path in paths}
        draft.left_out = tuple(problem for problem in problems if problem.key not in shown)
        draft.has_overrides = answers.has_overrides
        for page in ORDER:
            name = table_of(page)
            table, plain = answers.tables.get(name), given.get(name)
            # A table that is still incomplete has no settings.
            applies = table.apply if table is not None else plain is not None and plain.get("apply") is not False
            if not applies:
                draft.skipped.add(page)
        draft.opened = answers.file
        draft.mark_saved()
        return draft

    @property
    def is_unsaved(self) -> bool:
        """Whether there are answers that were neither saved to a file nor applied."""
        return self.handed_over() != self._kept

    def mark_saved(self) -> None:
        """Record that the current answers are saved elsewhere."""
        self._kept = self.handed_over()

    def changed_pages(self) -> frozenset[str]:
        """The pages whose answers are not saved."""
        now, kept = (json.loads(text) for text in (self.handed_over(), self._kept))
        skipped = set(now["skipped"]) ^ set(kept["skipped"])
        return frozenset(
            page
            for page in ORDER
            if page in skipped or any(now["tables"].get(name) != kept["tables"].get(name) for name in tables_of(page))
        )

    def take_over(self, text: str) -> None:
        """Continue from the result of another draft's `handed_over`. Raises ValueError for anything else."""
        result = _described(text)
        self._raw = {name: result.tables.get(name, {}) for name in TABLES}
        self.skipped = set(result.skipped)
        self._judged.clear()

    def replace_with(self, other: Draft) -> None:
        """Continue with another draft, such as one of another file."""
        self._raw, self.skipped = other._raw, set(other.skipped)
        self.opened, self.left_out, self.has_overrides = other.opened, other.left_out, other.has_overrides
        self._judged.clear()
        self.mark_saved()

    def tables(self) -> dict[str, dict[str, Any]]:
        """The values that were entered, by table."""
        return deepcopy(self._raw)

    def handed_over(self) -> str:
        """Everything that was entered, valid or not, for `taken_over`; without secrets."""
        tables = {name: _without_secrets(table) for name, table in self._raw.items()}
        return json.dumps({"tables": tables, "skipped": sorted(self.skipped)})

    @staticmethod
    def taken_over(text: str, host: str) -> Draft:
        """The draft from the result of another draft's `handed_over`. Raises ValueError for anything else."""
        draft = Draft(host)
        draft.take_over(text)
        return draft

    def value(self, table: str, path: Path) -> Any:
        """The value at a path; None if it, or something on the way, was not given. Defaults are left to the form."""
        found = self._found(table, path)
        return None if found is UNSET else deepcopy(found)

    def has(self, table: str, path: Path) -> bool:
        """Whether the path was given a value, even None."""
        return self._found(table, path) is not UNSET

    def _found(self, table: str, path: Path) -> Any:
        result: Any = self._raw[table]
        try:
            for part in path:
                result = result[part]
        except (KeyError, IndexError, TypeError):
            return UNSET
        return result

    def put(self, table: str, path: Path, value: Any) -> None:
        """Set a value as entered in the form; invalid ones too, which `problems` reports."""
        location: Any = self._raw[table]
        if not path:
            raise ValueError("cannot set a whole table, only values in it")
        for part in path[:-1]:
            if isinstance(location, dict) and location.get(part) is None:
                location[part] = {}
            location = location[part]
        location[path[-1]] = deepcopy(value)
        self._judged.pop(table, None)

    def scratch(self, table: str, values: Mapping[str, Any]) -> None:
        """Create a table that is not part of the answers, such as a row being edited."""
        self._raw[table] = deepcopy(dict(values))

    def drop(self, table: str, path: Path) -> None:
        location: Any = self._raw[table]
        for part in path[:-1]:
            location = location.get(part) if isinstance(location, dict) else location[part]
            if location is None:
                return
        if isinstance(location, dict):
            location.pop(path[-1], None)
        self._judged.pop(table, None)

    def settings(self, table: str) -> SettingsTable | None:
        """The table's settings, or None while they are invalid."""
        return self._judge(table)[0]

    def problems(self, table: str) -> tuple[DraftProblem, ...]:
        return self._judge(table)[1]

    def is_valid(self, page: str) -> bool:
        """Whether every table of a page is valid."""
        return all(self.settings(table) is not None for table in tables_of(page))

    def desired(self, pages: Iterable[str] | None = None) -> DesiredState:
        """The desired state of the valid pages among those named (otherwise among all that are not skipped)."""
        pages = [page for page in ORDER if page not in self.skipped] if pages is None else list(pages)
        chosen = tuple(page for page in ORDER if page in pages and self.is_valid(page))
        tables = {name: settings for name in TABLES if (settings := self.settings(name)) is not None}
        return DesiredState(tables, chosen, self._context(tables, chosen))

    def desired_to_probe(self) -> DesiredState:
        """Every page with its settings, or with defaults if they are invalid: for probing, never for planning."""
        tables = {name: self.settings(name) or settings_of(name)() for name in TABLES}
        applied = tuple(page for page in ORDER if page not in self.skipped)
        return DesiredState(tables, ORDER, self._context(tables, applied))

    def to_save(self) -> dict[str, SettingsTable | dict[str, Any]]:
        """Every table that was edited or applies; skipped ones have `apply = false`.

        Settings if they are valid, otherwise the values as entered.
        """
        kept: dict[str, SettingsTable | dict[str, Any]] = {}
        for name in TABLES:
            settings = self.settings(name)
            if settings is None:
                entered = {key: value for key, value in deepcopy(self._raw[name]).items() if key != "apply"}
                kept[name] = {**entered, "apply": False} if name in self.skipped else entered
            elif name in self.skipped:
                if self._raw[name]:
                    kept[name] = replace(settings, apply=False)
            elif self._raw[name] or name in ORDER:
                kept[name] = settings
        return kept

    def _context(self, tables: Mapping[str, SettingsTable], applied: tuple[str, ...]) -> Context:
        from bai_wizard.answers.model import Answers, context

        return context(Answers(file="", host=self.host, tables=tables), applied=applied, demo=self._demo)

    def _judge(self, table: str) -> tuple[SettingsTable | None, tuple[DraftProblem, ...]]:
        if table not in self._judged:
            values = {key: value for key, value in self._raw[table].items() if key != "apply"}
            settings, problems = validate(table, values)
            self._judged[table] = (
                settings,
                tuple(DraftProblem(problem.path[1:], tr(problem.reason)) for problem in problems),
            )
        return self._judged[table]


class Secrets:
    """Resolve `{ prompt = true }` with what was typed; variables and files are read when needed."""

    def __init__(self) -> None:
        self._typed: dict[str, Secret] = {}

    def begin(self) -> None:
        """Make this process's pages get their secrets here."""
        use_resolver(self.resolve)

    def keep(self, key: str, secret: Secret) -> None:
        """Keep what was typed for a key such as `account.password`."""
        self._typed[key] = secret

    def has(self, key: str) -> bool:
        """Whether something was typed for the key."""
        return key in self._typed

    def resolve(self, key: str, source: Any) -> Secret | None:
        """The secret; None if it has not been typed yet.

        Raises AnswersError if a variable or file does not provide it.
        """
        if getattr(source, "prompt", False):
            return self._typed.get(key)
        from bai_wizard.answers.secrets import resolve

        return resolve(key, source)
