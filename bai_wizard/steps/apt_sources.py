"""Reads apt's source files, one-line and deb822, as far as is needed to find one repository named twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bai_wizard.core.view import NodeView

MAIN_LIST = "/etc/apt/sources.list"
DIRECTORY = "/etc/apt/sources.list.d"


@dataclass(frozen=True)
class Source:
    """One repository in one file. `signed_by` is empty where the file names no key."""

    path: str
    uri: str
    suite: str
    signed_by: str = ""


def sources(view: NodeView) -> tuple[Source, ...]:
    """Every repository that is switched on."""
    found: list[Source] = []
    names = [name for name in view.names(DIRECTORY) if name.endswith((".list", ".sources"))]
    for path in (MAIN_LIST, *(f"{DIRECTORY}/{name}" for name in names)):
        text = view.text(path) or ""
        found += read_deb822(path, text) if path.endswith(".sources") else read_list(path, text)
    return tuple(found)


def read_list(path: str, text: str) -> Iterator[Source]:
    """The repositories of a `.list` file: `deb [signed-by=KEY arch=…] URI SUITE COMPONENT…`."""
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if not words or words[0] not in ("deb", "deb-src"):
            continue
        rest = " ".join(words[1:])
        signed_by = ""
        if rest.startswith("["):
            options, _, rest = rest[1:].partition("]")
            for option in options.split():
                name, _, value = option.partition("=")
                if name.lower() == "signed-by":
                    signed_by = value
        address = rest.split()
        if len(address) >= 2:
            yield Source(path, normal(address[0]), address[1], signed_by)


def read_deb822(path: str, text: str) -> Iterator[Source]:
    """The repositories of a `.sources` file, one for each URI and suite of each paragraph."""
    for paragraph in _paragraphs(text):
        if paragraph.get("enabled", "yes").lower() in ("no", "false", "0"):
            continue
        for uri in paragraph.get("uris", "").split():
            for suite in paragraph.get("suites", "").split():
                yield Source(path, normal(uri), suite, " ".join(paragraph.get("signed-by", "").split()))


def normal(uri: str) -> str:
    """An address as apt compares it: without the slash at its end."""
    return uri.rstrip("/")


def _paragraphs(text: str) -> Iterator[dict[str, str]]:
    fields: dict[str, str] = {}
    name = ""
    for line in [*text.splitlines(), ""]:
        if line.startswith("#"):
            continue
        if not line.strip():
            if fields:
                yield fields
            fields, name = {}, ""
        elif line[0] in " \t":
            fields[name] = f"{fields.get(name, '')}\n{line.strip()}"
        else:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value.strip()
