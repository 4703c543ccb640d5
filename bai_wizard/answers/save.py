"""Writing answers: TOML in which every field has its help, and what is not the default stands uncommented."""

from __future__ import annotations

import textwrap
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from bai_wizard import pages
from bai_wizard.answers.model import VERSION
from bai_wizard.answers.shape import member_models
from bai_wizard.core.view import NodeView
from bai_wizard.pages.fields import Note, SettingsPart, SettingsTable, notes

WIDTH = 100

_HEAD = """\
Answers for bai-wizard: what a node for Backend.AI shall be. A table that is present is brought about
unless it says apply = false; a table that is not here is not touched. Lines that begin with `#` and
a key show the default. `bai-wizard check FILE` validates; `bai-wizard --headless FILE --plan` shows
what would be done."""

_OVERRIDES = """\
Several nodes may share this file. Tables of an override are laid over the others on the nodes whose
short or full names match; lists are replaced as a whole."""


def answers_text() -> str:
    """The commented answers file that `bai-wizard answers` prints: everything shown, nothing asked for."""
    return render(None)


def answers_from(view: NodeView) -> str:
    """The answers file that describes this node as far as it can be read: `bai-wizard answers --from-node`."""
    from bai_wizard.answers.from_node import from_node

    read = from_node(view)
    return render(read.tables, ("Read back from this node.", *read.remarks))


def render(tables: Mapping[str, SettingsTable] | None, remarks: Sequence[str] = ()) -> str:
    """The file. Loading it gives the same settings; without `tables` every table is commented out.

    A password hash is written in clear, for it belongs there: give the file the mode 0600. `remarks` stand at
    its top.
    """
    lines = [*_comment(_HEAD), *(line for remark in remarks for line in ("#", *_comment(remark)))]
    lines += ["", f"version = {VERSION}"]
    for table in pages.TABLES:
        settings = (tables or {}).get(table)
        values = _values(settings) if settings is not None else None
        lines += ["", *_table(table, pages.settings_of(table), values)]
    lines += ["", *_comment(_OVERRIDES), "#[[override]]", '#hosts = ["bai-a*"]', "#[override.node]"]
    return "\n".join([*lines, '#roles = ["compute"]']) + "\n"


def _values(settings: SettingsTable) -> dict[str, Any]:
    dumped: dict[str, Any] = settings.model_dump(mode="json", exclude_defaults=True, context={"reveal": True})
    return dumped


def _table(name: str, model: type[SettingsPart], values: Mapping[str, Any] | None) -> Iterator[str]:
    """A table with its header. `values` are those that are not the default; None: the table is commented out."""
    off = "" if values is not None else "#"
    yield from _comment((model.__doc__ or "").splitlines()[0])
    yield f"{off}[{name}]"
    inner = []
    for note in notes(model):
        part = _own_table(model, note)
        if part is not None:
            inner.append((note, part))
            continue
        yield from _help(note, member_models(model, note.name))
        if values is not None and note.name in values:
            yield f"{note.name} = {_toml(values[note.name])}"
        else:
            yield f"#{note.name} = {_inline(_shown_default(note))}"
    for note, part in inner:
        yield ""
        yield from _comment(note.help)
        yield from _table(f"{name}.{note.name}", part, (values or {}).get(note.name))


def _own_table(model: type[SettingsPart], note: Note) -> type[SettingsPart] | None:
    """The model of a field that gets a header of its own: a table that may be absent, such as a vendor's."""
    annotation = model.model_fields[note.name].annotation
    members = [member for member in typing.get_args(annotation) if member is not type(None)]
    if note.default is None and len(members) == 1 and isinstance(members[0], type):
        return members[0] if issubclass(members[0], SettingsPart) else None
    return None


def _shown_default(note: Note) -> Any:
    """The default, or where there is none an example."""
    default = note.default
    if isinstance(default, BaseModel):
        return default.model_dump(mode="json", exclude_none=True)
    if isinstance(default, dict):
        return {key: _shown_default(note._replace(default=item)) for key, item in default.items()}
    if default is None:
        return note.example if note.example is not None else []
    return default


def _help(note: Note, parts: Mapping[str, type[SettingsPart]]) -> Iterator[str]:
    text = note.help + (f" Unit: {note.unit}." if note.unit else "")
    yield from _comment(text)
    for word, meaning in note.choices.items():
        yield from _comment(f"{word}: {meaning}", "    ")
    if note.default in ((), {}, "") and note.example is not None:
        yield from _comment(f"Example: {_inline(note.example)}", "    ")
    shared = [set(part.model_fields) for part in parts.values()]
    common = set.intersection(*shared) - {"type"} if len(shared) > 1 else set()
    told: set[str] = set()
    for place, (word, part) in enumerate(parts.items()):
        inner = {item.name: item for item in notes(part)}
        if place == 0:
            yield from _parts((inner[key] for key in inner if key in common), told)
        if "type" in inner:
            yield from _comment(f'type = "{word}": {inner["type"].help}', "    ")
        yield from _parts((inner[key] for key in inner if key not in common and key != "type"), told)


def _parts(inner: Iterator[Note], told: set[str]) -> Iterator[str]:
    """The keys of a table within a field; what has been told in the same words is not repeated."""
    for note in inner:
        if note.name + note.help in told:
            continue
        told.add(note.name + note.help)
        default = "" if note.default is None or note.choices else f" Default: {_inline(_shown_default(note))}."
        choices = "".join(f" {word}: {meaning}." for word, meaning in note.choices.items())
        yield from _comment(f"{note.name}: {note.help}{choices}{default}", "      ")


def _comment(text: str, indent: str = "") -> list[str]:
    wrapped = textwrap.wrap(
        text,
        WIDTH,
        initial_indent=f"# {indent}",
        subsequent_indent=f"# {indent}{'  ' if indent else ''}",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return wrapped or ["#"]


def _toml(value: Any) -> str:
    """A value on the right side of `=`; tables are inline, lists of tables have one line each."""
    import tomlkit

    if isinstance(value, dict):
        pairs = (f"{tomlkit.key(key).as_string()} = {_toml(item)}" for key, item in _ordered(value).items())
        inner = ", ".join(pairs)
        return "{ " + inner + " }" if inner else "{}"
    if isinstance(value, list | tuple):
        if value and all(isinstance(item, dict) for item in value):
            return "[\n" + "".join(f"  {_toml(item)},\n" for item in value) + "]"
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return str(tomlkit.item(value).as_string())


def _inline(value: Any) -> str:
    """A value on one line."""
    return " ".join(line.strip() for line in _toml(value).splitlines()).replace(", ]", " ]")


def _ordered(value: dict[str, Any]) -> dict[str, Any]:
    """What a table is comes first."""
    first: dict[str, Any] = {key: value[key] for key in ("name", "type") if key in value}
    return {**first, **value}
