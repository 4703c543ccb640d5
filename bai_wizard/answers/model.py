"""The loaded answers: tables with overrides merged, where each value came from, and what pages know of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from bai_wizard.answers.positions import Path, positions
from bai_wizard.core.errors import Problem
from bai_wizard.core.page import Context
from bai_wizard.core.secret import MASK, Secret, without_credentials

if TYPE_CHECKING:
    from bai_wizard.pages.account.settings import AccountSettings
    from bai_wizard.pages.docker.settings import DockerSettings
    from bai_wizard.pages.fields import SettingsTable
    from bai_wizard.pages.node.settings import NetworkSettings, NodeSettings


# These tables choose one of several variants; merging them would choose two at once.
_WHOLE = frozenset({"password"})


class Layer(Struct, frozen=True):
    """The tables from one place in the file.

    `prefix` is the path of that place, `hosts` the patterns that it applies to.
    """

    prefix: Path
    tables: dict[str, Any]
    hosts: tuple[str, ...] = ()

    def matches(self, host: str) -> bool:
        """Whether a pattern matches the host's short or full name."""
        names = {host.lower(), host.partition(".")[0].lower()}
        return any(_matches_pattern(name, pattern.lower()) for name in names for pattern in self.hosts)


def is_pattern(name: str) -> bool:
    """Whether a host name of an override is a pattern."""
    return not {"*", "?", "["}.isdisjoint(name)


def _matches_pattern(name: str, pattern: str) -> bool:
    """Compiling a pattern costs far more than comparing two names."""
    return fnmatchcase(name, pattern) if is_pattern(pattern) else name == pattern


def merge(layers: Sequence[Layer]) -> dict[str, Any]:
    """Merge all layers: tables are merged key by key, any other value is replaced by the later one."""
    merged: dict[str, Any] = {}
    for layer in layers:
        merged = _deep_merge(merged, layer.tables)
    return merged


def _deep_merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    joined = dict(below)
    for key, value in above.items():
        old = below.get(key)
        both_tables = isinstance(old, dict) and isinstance(value, dict) and key not in _WHOLE
        joined[key] = _deep_merge(old, value) if both_tables and isinstance(old, dict) else value
    return joined


def locate(layers: Sequence[Layer], path: Path) -> Path:
    """The place in the file that defines the value in effect at `path`, or the innermost existing table around it."""
    standing: list[tuple[Layer, Any]] = [(layer, layer.tables) for layer in layers]
    field_path: Path = layers[0].prefix if layers else ()
    for depth, key in enumerate(path):
        kept: list[tuple[Layer, Any]] = []
        for layer, value in standing:
            if not _has_key(value, key):
                continue
            inner = value[key]
            joins = isinstance(inner, dict) and key not in _WHOLE and kept and isinstance(kept[-1][1], dict)
            kept = [*kept, (layer, inner)] if joins else [(layer, inner)]
        if not kept:
            break
        standing = kept
        field_path = (*kept[-1][0].prefix, *path[: depth + 1])
    return field_path


def _has_key(value: Any, key: str | int) -> bool:
    if isinstance(value, dict):
        return key in value
    return isinstance(value, list) and isinstance(key, int) and key < len(value)


VERSION = 1
# The end of an origin that is not the node's own table.
OVERRIDE = re.compile(r" \(override for [^()]*\)$")


class Answers(Struct, frozen=True, dict=True):
    """The answers. `tables` holds the settings of every table present, applied or not.

    `layers` are the file's tables and the overrides that match `host`, in merge order; answers from a form have none,
    and their problems have no line.
    """

    file: str
    host: str
    tables: Mapping[str, SettingsTable]
    version: int = VERSION
    layers: tuple[Layer, ...] = ()
    text: str = ""
    # Overrides for other hosts that were too many to be checked here.
    unchecked: int = 0
    # Whether the file has overrides, for this host or for others.
    has_overrides: bool = False

    def __repr__(self) -> str:
        # Without the text, which may contain secrets.
        return f"Answers({self.file!r}, {self.host!r}, {self.tables!r})"

    def get(self, table: str) -> SettingsTable | None:
        """The settings of a table; None if it is not present."""
        return self.tables.get(table)

    @property
    def applied(self) -> tuple[str, ...]:
        """The tables to apply."""
        return tuple(name for name, settings in self.tables.items() if settings.apply)

    @property
    def overrides(self) -> tuple[Layer, ...]:
        """The overrides in effect."""
        return tuple(layer for layer in self.layers if layer.prefix)

    @cached_property
    def plain(self) -> dict[str, Any]:
        """The values as written, with overrides merged."""
        return merge(self.layers)

    @cached_property
    def origins(self) -> dict[str, str]:
        """Dotted key of every written value → `FILE:LINE`, with the patterns if it is from an override."""
        return {dotted(path): self.origin(path) for path in _leaves(self.plain)}

    def origin(self, path: Path) -> str:
        """`FILE:LINE` of the value in effect at `path`; empty without a file."""
        if not self.layers:
            return ""
        field_path = locate(self.layers, path)
        line, _ = self._position(field_path)
        layer = next((layer for layer in self.overrides if layer.prefix == field_path[:2]), None)
        return f"{self.file}:{line}" + (f" (override for {', '.join(layer.hosts)})" if layer else "")

    def origin_of(self, layer: Layer) -> str:
        """`FILE:LINE` where a layer begins."""
        line, _ = self._position(layer.prefix)
        return f"{self.file}:{line}"

    def problem(self, path: Path, reason: str) -> Problem:
        """A problem with the value at `path`, found after the file was read; the line is not quoted."""
        line, column = self._position(locate(self.layers, path)) if self.layers else (0, 0)
        return Problem(self.file, line, column, dotted(path), reason)

    @cached_property
    def _positions(self) -> dict[Path, tuple[int, int]]:
        return positions(self.text)

    def _position(self, directory: Path) -> tuple[int, int]:
        return position_of(self._positions, directory)


def position_of(known: Mapping[Path, tuple[int, int]], directory: Path) -> tuple[int, int]:
    """The position of the path, or of the innermost table around it; (1, 1) for the document as a whole."""
    while directory and directory not in known:
        directory = directory[:-1]
    return known.get(directory, (1, 1))


def dotted(path: Path) -> str:
    """`storage.volumes[0].name`; keys that are not plain words are quoted."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            plain = part and all(character.isalnum() or character in "_-" for character in part)
            shown = part if plain else '"' + "".join(c if c.isprintable() else "?" for c in part) + '"'
            text += f".{shown}" if text else shown
    return text


def shortened(text: str, longest: int = 200) -> str:
    """`text`, truncated if it is too long to show."""
    return text if len(text) <= longest else text[:longest] + "…"


def _leaves(value: Any, path: Path = ()) -> Iterator[Path]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, (*path, key))
    else:
        yield path


SHORTEST_TOKEN = 8


def context(answers: Answers, *, applied: tuple[str, ...] | None = None, demo: bool = False) -> Context:
    """The context of these answers. Tables that are not applied count as well; absent ones use their defaults.

    `applied` are the tables that this run applies, if `--only` or `--skip` selected among them.
    """
    node: NodeSettings | None = answers.tables.get("node")  # type: ignore[assignment]
    network: NetworkSettings | None = answers.tables.get("network")  # type: ignore[assignment]
    account: AccountSettings | None = answers.tables.get("account")  # type: ignore[assignment]
    docker: DockerSettings | None = answers.tables.get("docker")  # type: ignore[assignment]
    default = Context()
    pages = answers.applied if applied is None else applied
    for url in (network.proxy.http, network.proxy.https) if network else ():
        _register_login(url)
    return Context(
        host=answers.host,
        account=account.username if account else default.account,
        uid=account.uid if account else default.uid,
        gid=account.gid if account else default.gid,
        home=account.home_directory if account else default.home,
        roles=node.roles if node else default.roles,
        backend_ai=node.backend_ai if node else default.backend_ai,
        proxy_http=network.proxy.http if network else default.proxy_http,
        proxy_https=network.proxy.https if network else default.proxy_https,
        no_proxy=network.proxy.no_proxy if network else default.no_proxy,
        ca_certificates=network.ca_certificates if network else default.ca_certificates,
        insecure_registries=docker.insecure_registries if docker and "docker" in pages else (),
        applied=pages,
        demo=demo,
        bundle=str(getattr(answers.tables.get("sources"), "bundle", "")),
        sudo=account.sudo if account else default.sudo,
    )


def _register_login(url: str) -> None:
    """Mask a proxy's credentials in all output, in every spelling."""
    from urllib.parse import unquote, urlsplit

    parts = urlsplit(url)
    login = parts.netloc.rpartition("@")[0]
    # A short user name may be an ordinary word, so it is not masked on its own; in a URL it is always masked.
    shown = not parts.password and len(login) < SHORTEST_TOKEN
    for text in () if shown else filter(None, (login, parts.password)):
        Secret(text)
        Secret(unquote(text))


def report_json(answers: Answers) -> dict[str, Any]:
    """What `report` tells, as JSON values."""
    return {
        "version": 1,
        "file": answers.file,
        "host": answers.host,
        "tables": {table: settings.apply for table, settings in answers.tables.items()},
        "overrides": [
            {"hosts": list(layer.hosts), "origin": answers.origin_of(layer)} for layer in answers.overrides
        ],
        "unchecked": answers.unchecked,
        "values": [
            {"key": dotted(path), "value": toml_value(path, value), "origin": answers.origin(path)}
            for path, value in _written_paths(answers.plain)
        ],
    }


def report(answers: Answers) -> str:
    """The tables that apply to the node, and each written value with its origin."""
    lines = [f"{answers.file} is valid. For {answers.host} it configures:"]
    for table, settings in answers.tables.items():
        lines.append(f"  [{table}]{'' if settings.apply else '  not applied, used by other pages (apply = false)'}")
    if not answers.tables:
        lines.append("  nothing: the file contains no tables")
    for layer in answers.overrides:
        lines.append(f"Override for {', '.join(layer.hosts)} is applied ({answers.origin_of(layer)}).")
    if answers.unchecked:
        lines.append(
            f"Too many overrides for other hosts: {answers.unchecked} were not checked; check them with --host."
        )
    rows = [
        (f"{dotted(path)} = {toml_value(path, value)}", answers.origin(path))
        for path, value in _written_paths(answers.plain)
    ]
    if rows:
        lines.append("Values in the file (all others are defaults):")
        width = min(max(len(row[0]) for row in rows), 60)
        lines += [f"  {text:<{width}}  {origin}" for text, origin in rows]
    return "\n".join(lines) + "\n"


def _written_paths(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict) and value and path[-1:] != ("password",):
        for key, inner in value.items():
            yield from _written_paths(inner, (*path, key))
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for index, inner in enumerate(value):
            yield from _written_paths(inner, (*path, index))
    elif len(path) > 1:
        yield path, value


def toml_value(path: Path, value: Any) -> str:
    """A value in TOML syntax, on one line; hashes and passwords in addresses are masked."""
    if path[-1:] == ("password_hash",):
        return MASK
    if isinstance(value, dict):
        inner = ", ".join(f"{key} = {toml_value((*path, key), item)}" for key, item in value.items())
        return "{ " + inner + " }" if inner else "{}"
    if isinstance(value, list):
        return "[" + ", ".join(toml_value(path, item) for item in value) + "]"
    if isinstance(value, bool | str):
        return without_credentials(json.dumps(value, ensure_ascii=False))
    return str(value)
