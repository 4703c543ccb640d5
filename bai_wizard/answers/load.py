"""From a file to Answers, or to every problem in it at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bai_wizard import pages
from bai_wizard.answers.layers import Layer, locate, merge
from bai_wizard.answers.model import VERSION, Answers, dotted, position_of
from bai_wizard.answers.source import name_of, parse, read
from bai_wizard.answers.validate import Fault, validate
from bai_wizard.core.errors import AnswersError, Problem
from bai_wizard.pages.fields import SettingsTable


def load(path: str, host: str) -> Answers:
    """The answers in the file (`-`: standard input) for the node called `host`.

    Raises AnswersError with all problems of the file, also those in overrides for other nodes.
    """
    text = read(path)
    return loads(text, name_of(path), host)


def loads(text: str, name: str, host: str) -> Answers:
    """As `load`, from a text. `name` is what the file is called in problems."""
    document = parse(name, text)
    faults = _version_faults(document)
    overrides = _overrides(document, faults)
    base = Layer((), {key: value for key, value in document.items() if key not in ("version", "override")})
    layers = (base, *(layer for layer in overrides if layer.matches(host)))
    tables, found = _validate(merge(layers))
    faults += _placed(layers, found)
    for layer in overrides:
        if layer not in layers:
            faults += _elsewhere(base, layer)
    if faults:
        raise AnswersError(_problems(name, text, faults))
    return Answers(file=name, host=host, tables=tables, layers=layers, text=text)


def _version_faults(document: dict[str, Any]) -> list[Fault]:
    version = document.get("version")
    if version is None:
        return [Fault(("version",), f"is missing; the file begins with version = {VERSION}")]
    if type(version) is not int:
        return [Fault(("version",), f"must be the number {VERSION}")]
    if version != VERSION:
        return [Fault(("version",), f"is {version}; this wizard reads version {VERSION}")]
    return []


def _overrides(document: dict[str, Any], faults: list[Fault]) -> list[Layer]:
    """The well-formed `[[override]]` tables; what is wrong with their form joins `faults`."""
    given = document.get("override", [])
    if not isinstance(given, list) or not all(isinstance(item, dict) for item in given):
        faults.append(Fault(("override",), "must be written as [[override]] with hosts = [ … ]"))
        return []
    layers = []
    for place, item in enumerate(given):
        prefix = ("override", place)
        hosts = item.get("hosts")
        tables = {key: value for key, value in item.items() if key != "hosts"}
        for key in ("version", "override"):
            if key in tables:
                del tables[key]
                faults.append(Fault((*prefix, key), "cannot stand in an override"))
        if hosts is None:
            faults.append(Fault((*prefix, "hosts"), 'is missing; say for which nodes, as in hosts = ["bai-a*"]'))
        elif not isinstance(hosts, list) or not hosts or not all(isinstance(name, str) and name for name in hosts):
            faults.append(Fault((*prefix, "hosts"), 'must be a list of names or patterns, as in ["bai-a*"]'))
        else:
            layers.append(Layer(prefix, tables, tuple(hosts)))
            continue
        layers.append(Layer(prefix, tables))
    return layers


def _validate(plain: dict[str, Any]) -> tuple[dict[str, SettingsTable], list[Fault]]:
    """The settings of the tables in the order of the pages, and the faults of all."""
    order = {name: place for place, name in enumerate(pages.TABLES)}
    tables: dict[str, SettingsTable] = {}
    faults: list[Fault] = []
    for name in sorted(plain, key=lambda name: order.get(name, len(order))):
        settings, found = validate(name, plain[name])
        faults += found
        if settings is not None:
            tables[name] = settings
    return tables, faults


def _placed(layers: Sequence[Layer], faults: list[Fault]) -> list[Fault]:
    """The faults with paths of the file: missing things are placed beside what is there."""
    placed = []
    for fault in faults:
        place = locate(layers, fault.path)
        missing = fault.path[len(place) - len(_prefix(place)) :]
        placed.append(Fault((*place, *missing), fault.reason, fault.hide))
    return placed


def _prefix(place: tuple[str | int, ...]) -> tuple[str | int, ...]:
    return place[:2] if place[:1] == ("override",) else ()


def _elsewhere(base: Layer, layer: Layer) -> list[Fault]:
    """What would be wrong on the nodes of an override that does not match this one."""
    alone, joined = base.tables, merge((base, layer))
    found = []
    for table in layer.tables:
        _, faults = validate(table, joined[table])
        known = validate(table, alone[table])[1] if faults and table in alone else []
        for fault in faults:
            (placed,) = _placed((base, layer), [fault])
            if placed.path[:2] == layer.prefix:
                found.append(placed)
            elif fault not in known:
                nodes = f" (on the nodes {', '.join(layer.hosts)})"
                found.append(Fault(placed.path, placed.reason + nodes, placed.hide))
    return found


def _problems(name: str, text: str, faults: list[Fault]) -> list[Problem]:
    """Problems in the order of the file, each with its line quoted."""
    from bai_wizard.answers.mask import Quoter, is_secretive
    from bai_wizard.answers.positions import positions

    known = positions(text)
    quoter = Quoter(text)
    problems = set()
    for fault in faults:
        line, column = position_of(known, fault.path)
        hide = fault.hide or any(is_secretive(part) for part in fault.path)
        there = fault.path in known
        quoted = quoter.quote(line, hide_from=column if hide and there else 0)
        problems.add(Problem(name, line, column, dotted(fault.path), fault.reason, quoted))
    return sorted(problems, key=lambda problem: (problem.line, problem.column, problem.key, problem.reason))
