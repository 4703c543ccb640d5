"""Read answers from a file, or report all of its problems at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bai_wizard import pages
from bai_wizard.answers.model import (
    VERSION,
    Answers,
    Layer,
    dotted,
    is_pattern,
    locate,
    merge,
    position_of,
    shortened,
)
from bai_wizard.answers.positions import positions_and_lines_inside
from bai_wizard.answers.source import Quoter, is_secretive, name_of, parse, read
from bai_wizard.answers.validate import FieldProblem, Problems, validate, validate_and_count
from bai_wizard.core.errors import AnswersError, Problem
from bai_wizard.pages.fields import SettingsTable

# Limits far above what any fleet needs. Overrides are merged key by key, and patterns are compiled one by one.
MAX_OVERRIDES = 2000
MAX_OVERRIDES_OF_A_HOST = 50
MAX_PATTERNS = 2000
LONGEST_NAME = 253
# Keys and elements that are validated on behalf of other nodes.
MAX_WORK = 200_000


def load(path: str, host: str, *, trusted_only: bool = False) -> Answers:
    """The answers in the file (`-`: standard input) for the node named `host`.

    Raises AnswersError with all problems of the file, including those in overrides for other nodes. With
    `trusted_only`, root refuses a file that other users can change: PreflightError.
    """
    return loads(read(path, trusted_only=trusted_only), name_of(path), host)


def load_to_edit(path: str, host: str, *, trusted_only: bool = False) -> tuple[Answers, list[Problem]]:
    """Like `load`, for a form that shows invalid and missing values: tables with such values are in `plain` only.

    The second result is all problems. Raises AnswersError for what is not TOML, and for another format version.
    """
    text, name = read(path, trusted_only=trusted_only), name_of(path)
    answers, problems = _read(text, name, host)
    located = _located(name, text, problems)
    if any(problem.path == ("version",) for problem in problems.listed):
        raise AnswersError(located)
    return answers, located


def loads(text: str, name: str, host: str) -> Answers:
    """Like `load`, but from a string. `name` is the name of the file in problems."""
    answers, problems = _read(text, name, host)
    if problems.count:
        raise AnswersError(_located(name, text, problems))
    return answers


def _read(text: str, name: str, host: str) -> tuple[Answers, Problems]:
    """The answers with the valid tables, and all problems. Raises AnswersError for what is not TOML."""
    document = parse(name, text)
    problems = Problems()
    _check_version(document, problems)
    overrides = _overrides(document, problems)
    base = Layer((), {key: value for key, value in document.items() if key not in ("version", "override")})
    matching = [layer for layer in overrides if layer.matches(host)]
    if len(matching) > MAX_OVERRIDES_OF_A_HOST:
        reason = f"has {len(matching)} tables for {host}; at most {MAX_OVERRIDES_OF_A_HOST} can apply to one host"
        problems.add(("override",), reason)
        matching = []
    layers = (base, *matching)
    tables = _validate(layers, problems)
    unchecked = _check_elsewhere(base, [layer for layer in overrides if layer not in matching], problems)
    has_overrides = "override" in document
    answers = Answers(name, host, tables, layers=layers, text=text, unchecked=unchecked, has_overrides=has_overrides)
    return answers, problems


def _check_version(document: dict[str, Any], problems: Problems) -> None:
    version = document.get("version")
    if version is None:
        problems.add(("version",), f"is missing; begin the file with version = {VERSION}")
    elif type(version) is not int:
        problems.add(("version",), f"must be {VERSION}")
    elif version != VERSION:
        problems.add(("version",), f"is {version}; this wizard supports version {VERSION}")


def _overrides(document: dict[str, Any], problems: Problems) -> list[Layer]:
    """The well-formed `[[override]]` tables; errors in their form are added to `problems`."""
    given = document.get("override", [])
    if not isinstance(given, list) or not all(isinstance(item, dict) for item in given):
        problems.add(("override",), "must be written as [[override]] with hosts = [ … ]")
        return []
    if len(given) > MAX_OVERRIDES:
        problems.add(("override",), f"has {len(given)} tables; at most {MAX_OVERRIDES} are allowed")
        return []
    layers = []
    patterns = 0
    for index, item in enumerate(given):
        prefix = ("override", index)
        tables = {key: value for key, value in item.items() if key not in ("hosts", "version", "override")}
        for key in ("version", "override"):
            if key in item:
                problems.add((*prefix, key), "is not allowed in an override")
        hosts = item.get("hosts")
        if fault := _hosts_fault(hosts):
            problems.add((*prefix, "hosts"), fault)
            hosts = []
        elif (patterns := patterns + sum(map(is_pattern, hosts))) > MAX_PATTERNS:
            problems.add((*prefix, "hosts"), f"exceeds the limit of {MAX_PATTERNS} patterns per file")
            hosts = []
        layers.append(Layer(prefix, tables, tuple(hosts)))
    return layers


def _hosts_fault(hosts: Any) -> str:
    """Why these are not the hosts of an override; empty if they are."""
    if hosts is None:
        return 'is missing; list the nodes, as in hosts = ["bai-a*"]'
    if not isinstance(hosts, list) or not hosts or not all(isinstance(name, str) and name for name in hosts):
        return 'must be a list of host names or patterns, as in ["bai-a*"]'
    if any(len(pattern) > LONGEST_NAME for pattern in hosts):
        return f"has a name longer than {LONGEST_NAME} characters, the limit for host names"
    return ""


def _validate(layers: Sequence[Layer], problems: Problems) -> dict[str, SettingsTable]:
    """The settings of the tables in the order of the pages; all problems are added to `problems`."""
    plain = merge(layers)
    order = {name: index for index, name in enumerate(pages.TABLES)}
    tables: dict[str, SettingsTable] = {}
    for name in sorted(plain, key=lambda name: order.get(name, len(order))):
        if name not in order and problems.is_full:
            problems.extend([], 1)
            continue
        settings, found = validate_and_count(name, plain[name])
        problems.extend(_placed(layers, found.listed), found.count)
        if settings is not None:
            tables[name] = settings
    return tables


def _placed(layers: Sequence[Layer], problems: list[FieldProblem]) -> list[FieldProblem]:
    """The problems with their paths in the file; missing keys are located in the table that lacks them."""
    placed = []
    for problem in problems:
        path = locate(layers, problem.path)
        depth = len(path) - (2 if path[:1] == ("override",) else 0)
        placed.append(problem._replace(path=(*path, *problem.path[depth:])))
    return placed


def _check_elsewhere(base: Layer, layers: Sequence[Layer], problems: Problems) -> int:
    """Add the problems on the nodes of overrides that do not match this one to `problems`.

    Each override is validated together with the tables that it modifies, so many overrides of large tables would take
    hours. Returns how many were not checked; their own nodes check them.
    """
    work = 0
    for index, layer in enumerate(layers):
        work += sum(_size(layer.tables[table]) + _size(base.tables.get(table)) for table in layer.tables)
        if work > MAX_WORK or problems.is_full:
            return len(layers) - index
        found = _elsewhere(base, layer)
        problems.extend(found, len(found))
    return 0


def _size(value: Any) -> int:
    """The number of keys and elements in a value, including itself."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(_size, inner))


def _elsewhere(base: Layer, layer: Layer) -> list[FieldProblem]:
    """The problems on the nodes of an override that does not match this one."""
    alone, joined = base.tables, merge((base, layer))
    result: list[FieldProblem] = []
    for table in layer.tables:
        _, problems = validate(table, joined[table])
        known = validate(table, alone[table])[1] if problems and table in alone else []
        for problem in problems:
            (placed,) = _placed((base, layer), [problem])
            if placed.path[:2] == layer.prefix:
                result.append(placed)
            elif problem not in known:
                nodes = f" (on the nodes {_listed(layer.hosts)})"
                result.append(placed._replace(reason=placed.reason + nodes))
    return result


def _listed(hosts: Sequence[str]) -> str:
    return ", ".join(hosts[:8]) + (f" and {len(hosts) - 8} more" if len(hosts) > 8 else "")


def _located(name: str, text: str, problems: Problems) -> list[Problem]:
    """The problems in file order, each with its line quoted."""
    known, inside = positions_and_lines_inside(text)
    quoter = Quoter(text, inside)
    located = set()
    for problem in problems.listed:
        line, column = position_of(known, problem.path)
        hide = problem.path in known and (problem.hide or any(map(is_secretive, problem.path)))
        quoted = quoter.quote(line, hide_from=column if hide else 0)
        located.add(Problem(name, line, column, shortened(dotted(problem.path)), problem.reason, quoted))
    lines = sorted(located, key=lambda problem: (problem.line, problem.column, problem.key, problem.reason))
    left = problems.count - len(problems.listed)
    return lines + ([Problem(name, 0, 0, "", f"{left} more problems are not listed")] if left else [])
