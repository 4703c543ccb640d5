"""Releases of Backend.AI, the Python that each requires, prebuilt Pythons, and which one the answers select."""

from __future__ import annotations

import json
import os
from functools import cache
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, unquote, urlsplit

from msgspec import Struct
from packaging.version import InvalidVersion, Version

from bai_wizard import data
from bai_wizard.core.errors import WizardError
from bai_wizard.core.operation import Environment
from bai_wizard.core.page import Context, Known
from bai_wizard.core.secret import has_credentials, without_credentials
from bai_wizard.data import read_toml
from bai_wizard.resources.pythons import PackageSources

if TYPE_CHECKING:
    from bai_wizard.pages.python.probe import PythonFacts
    from bai_wizard.pages.python.settings import PythonSettings


Number = tuple[int, ...]
# Stands for the last patch level of a release.
ANY = 10**6


class UnknownRelease(WizardError):
    """The text is not a release, or the release is older than the table."""


def number_of(text: str) -> Number:
    """Return `25.06.1` as (25, 6, 1). A suffix such as rc1, a4, .dev0 is ignored. Raises UnknownRelease otherwise."""
    try:
        number = Version(text).release
    except InvalidVersion:
        number = ()
    if len(number) < 2:
        raise UnknownRelease(f"{text!r} is not a release such as 26.4 or 26.4.16")
    return number


def dotted(number: Number) -> str:
    """Return (25, 6, 1) as `25.6.1`."""
    return ".".join(str(part) for part in number)


def last_release(number: Number) -> Number:
    """Return the last release that a number includes: for 26.4, its last patch level."""
    return number if len(number) > 2 else (*number, ANY)


class Row(Struct, frozen=True):
    """Releases with the same requirement. `first` and `last` are (year, month[, patch]); `least` has three parts.

    `built` is the version that upstream builds them with, empty if unknown.
    """

    first: Number
    last: Number
    python: str
    least: Number
    pants: str
    source: str
    certain: bool = True
    built: str = ""

    @property
    def releases(self) -> str:
        """`25.6 ~ 25.12`, or one release."""
        first, last = dotted(self.first), dotted(self.last)
        return first if first == last else f"{first} ~ {last}"


class ManualRow(Struct, frozen=True):
    """A row as printed in the manual, and the rows of the detailed table that it covers."""

    releases: str
    python: str
    pants: str
    rows: tuple[Row, ...]


class Requirement(Struct, frozen=True):
    """A minor version to install (3.13) or an exact one, and the minimum version. `note` describes what is uncertain.

    `rows` are those of the version table that it is from.
    """

    python: str
    least: Number
    rows: tuple[Row, ...] = ()
    certain: bool = True
    note: str = ""

    def accepts(self, version: str) -> bool:
        """Whether this exact Python version is acceptable."""
        number, desired = number_of(version), number_of(self.python)
        return number[: len(desired)] == desired and number >= self.least


def which_python(release: str) -> Requirement:
    """Return which Python Backend.AI `release` needs.

    Accepts an exact release (25.13.2) or a calendar version (26.4, 24.03), whose newest release decides. A release
    newer than the table gets the newest row, marked as uncertain and with a note. Raises UnknownRelease for a release
    older than the table, and for text that is not a release.
    """
    first = number_of(release)
    last = last_release(first)
    table = rows()
    if last < table[0].first:
        raise UnknownRelease(
            f"Backend.AI {release} is older than the oldest release in the version table ({dotted(table[0].first)}); "
            "set the Python version explicitly: [python] version"
        )
    if first > last_release(table[-1].last):
        return _from_future(release, table[-1])
    affected = tuple(row for row in table if row.first <= last and first <= last_release(row.last))
    if not affected:
        return _from_gap(release, first, table)
    newest = affected[-1]
    notes = [
        f"{row.releases} requires Python {row.python}, {newest.releases} Python {newest.python}"
        for row in affected
        if row.python != newest.python
    ]
    if not newest.certain:
        notes.append(f"assumed for {newest.releases}: {newest.source}")
    least = max(row.least for row in affected if row.python == newest.python)
    return Requirement(newest.python, least, affected, newest.certain, "; ".join(notes))


def _from_future(release: str, newest: Row) -> Requirement:
    note = (
        f"Backend.AI {release} is newer than the version table, which ends with {dotted(newest.last)}; "
        f"the nearest row applies: Python {newest.python}, at least {dotted(newest.least)}"
    )
    return Requirement(newest.python, newest.least, (newest,), False, note)


def _from_gap(release: str, first: Number, table: tuple[Row, ...]) -> Requirement:
    before = [row for row in table if row.last < first][-1]
    note = (
        f"Backend.AI {release} is not in the version table; the previous row applies: {before.releases}, "
        f"Python {before.python}, at least {dotted(before.least)}"
    )
    return Requirement(before.python, before.least, (before,), False, note)


@cache
def rows() -> tuple[Row, ...]:
    """Return the detailed table, oldest first."""
    return tuple(
        Row(
            number_of(entry["first"]),
            number_of(entry["last"]),
            entry["python"],
            number_of(entry["least"]),
            entry["pants"],
            entry["source"],
            entry.get("certain", True),
            entry.get("built", ""),
        )
        for entry in read_toml("versions.toml")["release"]
    )


@cache
def manual_rows() -> tuple[ManualRow, ...]:
    """Return the table as printed in the manual, newest first."""
    result = []
    for entry in read_toml("versions.toml")["manual"]:
        first, last = number_of(entry["first"]), last_release(number_of(entry["last"]))
        spanned = tuple(row for row in rows() if row.first <= last and first <= last_release(row.last))
        result.append(ManualRow(entry["releases"], entry["python"], entry["pants"], spanned))
    return tuple(result)


# The location from which uv fetches the archives; a mirror contains the tree below it, as BUILD DATE/FILE.
BUILDS_URL = "https://github.com/astral-sh/python-build-standalone/releases/download"

Flavour = Literal["install_only", "install_only_stripped"]


class NoBuild(WizardError):
    """The catalogue has no matching build."""


class Build(Struct, frozen=True):
    """One archive. `level` is the x86-64 level it is compiled for: empty (any), v2, v3 or v4."""

    key: str
    version: str
    date: str
    arch: str
    level: str
    flavour: str
    url: str
    sha256: str

    @property
    def file(self) -> str:
        """The archive's name."""
        return unquote(self.url.rsplit("/", 1)[1])

    @property
    def place(self) -> str:
        """The path below a mirror: `20261021/cpython-3.13.17+20261021-….tar.gz`."""
        return f"{self.date}/{self.file}"

    @property
    def released(self) -> str:
        """The build's date in readable form."""
        return f"{self.date[:4]}-{self.date[4:6]}-{self.date[6:]}"

    def address(self, mirror: str = "") -> str:
        """Return the URL of the archive; `mirror` replaces the project's releases."""
        return f"{(mirror or BUILDS_URL).rstrip('/')}/{self.date}/{quote(self.file)}"

    def entry(self) -> str:
        """Return a catalogue in uv's format with only this build."""
        major, minor, patch = number_of(self.version)
        arch = {"family": self.arch, "variant": self.level or None}
        body = {"name": "cpython", "arch": arch, "os": "linux", "libc": "gnu", "major": major, "minor": minor,
                "patch": patch, "prerelease": "", "url": f"{BUILDS_URL}/{self.date}/{quote(self.file)}",
                "sha256": self.sha256, "variant": None, "build": self.date}  # fmt: skip
        return json.dumps({self.key: body}, separators=(",", ":"))


def choose_build(
    wanted: str,
    arch: str,
    *,
    least: Number = (0,),
    flavour: str = "install_only",
    level: str = "",
    catalogue: tuple[Build, ...] | None = None,
) -> Build:
    """Return the build for a minor version (3.13: its newest) or an exact one (3.13.7).

    If the version exists only in the other variant, that one is used: they differ only in debug symbols. Raises
    NoBuild with the available versions.
    """
    known = [build for build in (catalogue or builds()) if build.arch == arch and build.level == level]
    if not known:
        raise NoBuild(f'there are no builds for {arch}{f" ({level})" if level else ""}; set python.method = "pyenv"')
    number = number_of(wanted)
    fitting = [build for build in known if number_of(build.version)[: len(number)] == number]
    if not fitting:
        same = sorted({number_of(build.version) for build in known if number_of(build.version)[:2] == number[:2]})
        existing = f"there are {', '.join(map(dotted, same))}" if same else "nor of its minor version"
        raise NoBuild(f"no build of Python {wanted} for {arch} exists; {existing}")
    newest = max(number_of(build.version) for build in fitting)
    if newest < least:
        raise NoBuild(
            f"the newest build of Python {wanted} is {dotted(newest)}, at least {dotted(least)} is required"
        )
    candidates = [build for build in fitting if number_of(build.version) == newest]
    return max(candidates, key=lambda build: (build.flavour == flavour, build.date))


@cache
def builds() -> tuple[Build, ...]:
    """Return every build of the catalogue."""
    with open(os.path.join(os.path.dirname(data.__file__), "python-catalogue.json"), encoding="utf-8") as file:
        return parse_builds(file.read())


def parse_builds(text: str) -> tuple[Build, ...]:
    """Parse a catalogue: uv's format, with the other variant of a build next to it."""
    result = []
    for key, entry in json.loads(text).items():
        result.append(_build(key, entry, entry["flavour"], entry))
        for flavour, other in entry.get("others", {}).items():
            result.append(_build(key, entry, flavour, other))
    return tuple(result)


def _build(key: str, entry: dict[str, Any], flavour: str, file: dict[str, Any]) -> Build:
    version = f"{entry['major']}.{entry['minor']}.{entry['patch']}"
    arch = entry["arch"]
    return Build(
        key, version, file["build"], arch["family"], arch["variant"] or "", flavour, file["url"], file["sha256"]
    )


# The wizard's archive directory: owned by root, and ignored when comparing the result of an undo.
MIRROR = "/var/cache/bai-wizard/python"


class NothingRequested(WizardError):
    """No Python version was requested."""


class SelectedPython(Struct, frozen=True):
    """The exact version that this node will have, and its build if the catalogue has one."""

    wanted: Requirement
    version: str
    build: Build | None
    is_here: bool = False

    @property
    def what(self) -> str:
        """The build and notes on it, on one line."""
        build = self.build
        parts = [f"build of {build.released} for {build.arch}, {build.flavour}"] if build is not None else []
        return "; ".join([*parts, *([self.wanted.note] if self.wanted.note else [])])


def requested_python(settings: PythonSettings, context: Context) -> Requirement:
    """Return what the answers request.

    Raises UnknownRelease, and NothingRequested if they contain neither a version nor a release.
    """
    release = context.backend_ai
    if settings.version != "auto":
        number = number_of(settings.version)
        if not release:
            return Requirement(settings.version, (*number, 0)[:3])
        need = which_python(release)
        if dotted(number[:2]) == need.python and (len(number) == 2 or number >= need.least):
            return Requirement(settings.version, need.least)
        note = f"Backend.AI {release} requires Python {need.python}, at least {dotted(need.least)}"
        return Requirement(settings.version, (*number, 0)[:3], note=note)
    if not release:
        raise NothingRequested(
            'the required Python version depends on the release: add backend_ai = "26.4" (or yours) to [node]'
        )
    return which_python(release)


def select_python(settings: PythonSettings, facts: PythonFacts, context: Context) -> SelectedPython:
    """Return the newest acceptable interpreter on the node, else the newest build.

    An existing interpreter takes precedence over a newer build, so that a node that was set up does not change.
    Raises UnknownRelease, NothingRequested, NoBuild.
    """
    wanted = requested_python(settings, context)
    existing = facts.standalone if settings.method == "standalone" else facts.pyenv
    if isinstance(existing, Known):
        fitting = [version for version in existing.value if wanted.accepts(version)]
        if fitting:
            newest = max(fitting, key=number_of)
            try:
                return SelectedPython(wanted, newest, suitable_build(newest, settings, facts), is_here=True)
            except NoBuild:
                return SelectedPython(wanted, newest, None, is_here=True)
    build = suitable_build(wanted.python, settings, facts, wanted.least)
    return SelectedPython(wanted, build.version, build)


def suitable_build(wanted: str, settings: PythonSettings, facts: PythonFacts, least: Number = (0,)) -> Build:
    """Return the build of a version for this node, in the variant of the answers. Raises NoBuild."""
    level = level_of(settings, facts.arch)
    return choose_build(wanted, facts.arch, least=least, flavour=settings.flavour, level=level)


def pyenv_root(settings: PythonSettings, facts: PythonFacts) -> str:
    """Return the directory of pyenv."""
    return settings.base_dir or f"{facts.home}/.pyenv"


def place_of(settings: PythonSettings, facts: PythonFacts, version: str) -> str:
    """Return the directory of an exact version with the installation method in the answers."""
    above = facts.versions if settings.method == "standalone" else f"{pyenv_root(settings, facts)}/versions"
    return f"{above}/{version}"


def level_of(settings: PythonSettings, arch: str) -> str:
    """Return the x86-64 level of the build, as named in the catalogue; empty on other architectures."""
    return "" if settings.level == "baseline" or arch != "x86_64" else settings.level


def package_sources(settings: PythonSettings, facts: PythonFacts, context: Context) -> PackageSources:
    """Return the sources in the answers, or else those in pip's configuration on this node."""
    lines = (settings.index_url, tuple(settings.extra_index_urls), tuple(settings.find_links))
    pip = (facts.pip.index_url, facts.pip.extra_index_urls, facts.pip.find_links)
    index, extra, links = lines if any(lines) else pip
    # Answers with wheel directories but no index are for nodes that cannot reach one; pip's own settings use both.
    no_index = bool(settings.find_links) and not settings.index_url and not settings.extra_index_urls
    return PackageSources(index, extra, links, no_index, environment(context))


def names_sources(settings: PythonSettings) -> bool:
    """Whether the answers contain a package source, so that pip's own configuration is irrelevant."""
    return bool(settings.index_url or settings.extra_index_urls or settings.find_links)


def environment(context: Context) -> Environment:
    """Return the proxy settings for programs."""
    pairs = (("http_proxy", context.proxy_http), ("https_proxy", context.proxy_https), ("no_proxy", context.no_proxy))
    return tuple((name, value) for name, value in pairs if value)


def proxy_for(url: str, context: Context) -> str:
    """Return the proxy for a URL; empty for a direct connection."""
    from bai_wizard.node.registry import bypasses

    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or bypasses(parts.hostname or "", context.no_proxy):
        return ""
    return context.proxy_https if parts.scheme == "https" else context.proxy_http


def with_credentials(sources: PackageSources) -> str:
    """Return the first package source with credentials, with them removed; empty if none has any.

    Answers with such URLs are rejected, so this one comes from pip's own configuration, which is passed on to uv: it
    would appear in plans and process lists.
    """
    urls = (sources.index_url, *sources.extra_index_urls, *sources.find_links)
    return next((without_credentials(url) for url in urls if has_credentials(url)), "")
