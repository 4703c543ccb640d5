"""Docker's daemon.json: our keys merged into what is there, everything else to the byte as it was."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from posixpath import dirname
from typing import Any, ClassVar

from bai_wizard.core.errors import StepBlocked
from bai_wizard.core.primitives import MakeDirectory, Primitive, WriteFile
from bai_wizard.core.primitives.files import Validator
from bai_wizard.core.state import Entry
from bai_wizard.core.step import Step, register
from bai_wizard.core.view import NodeView
from bai_wizard.steps.docker_flags import Flag, flags
from bai_wizard.steps.json_merge import edit, parse

DAEMON_JSON = "/etc/docker/daemon.json"
ENGINES = ("docker-ce", "docker.io")
OPTIONS = "log-opts"
# The first engine whose `dockerd --validate` exists (release notes of 23.0).
VALIDATES = 23


@dataclass(frozen=True)
class Default:
    """Keys (as JSON text) that are set only where none of `unless` is set, in the file or by a flag of the unit."""

    unless: tuple[str, ...]
    keys: str


@register
@dataclass(frozen=True, kw_only=True)
class DockerConfig(Step):
    """Merges `wanted`, an object as JSON text, and the `defaults` into daemon.json.

    Objects are merged key by key, lists get what they lack; the keys in `replace` are taken as a whole.
    """

    kind: ClassVar[str] = "docker-config"
    wanted: str
    defaults: tuple[Default, ...] = ()
    replace: tuple[str, ...] = ()
    path: str = DAEMON_JSON

    def describe(self) -> str:
        keys = [*json.loads(self.wanted), *(key for default in self.defaults for key in json.loads(default.keys))]
        return f"{self.path}: {', '.join(keys) or 'is readable'}"

    def scope(self) -> tuple[str, ...]:
        return (f"file:{self.path}", f"file:{dirname(self.path)}")

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        there = view.entry(self.path)
        if there is not None and there.type != "file":
            raise StepBlocked(f"{self.path} is a {there.type}; put a plain file in its place, then repeat")
        old = view.text(self.path) or ""
        found = parse(old, self.path)
        given = flags(view)
        wanted = self._wanted(found, {flag.key for flag in given})
        new = edit(old, wanted, self.path, replace=(*self.replace, *_of_another_driver(found, wanted)))
        if new == old:
            return
        self._refuse_flags(given, {key for key in wanted if found.get(key) != wanted[key]})
        if view.entry(dirname(self.path)) is None:
            yield MakeDirectory(dirname(self.path))
        owner = there or Entry("file", 0, 0, 0o644)
        yield WriteFile(self.path, new.encode(), owner.uid, owner.gid, owner.mode, _validator(view))

    def _wanted(self, found: dict[str, Any], given: set[str]) -> dict[str, Any]:
        wanted: dict[str, Any] = json.loads(self.wanted)
        for default in self.defaults:
            if not any(key in found or key in wanted or key in given for key in default.unless):
                wanted |= json.loads(default.keys)
        if OPTIONS not in found and not wanted.get(OPTIONS):
            wanted.pop(OPTIONS, None)
        return wanted

    def _refuse_flags(self, given: tuple[Flag, ...], keys: set[str]) -> None:
        for flag in given:
            if flag.key in keys:
                raise StepBlocked(
                    f"{flag.path} starts dockerd with {flag.flag}, and Docker does not start when {self.path} has"
                    f" {flag.key!r} as well. Take the flag out of {flag.path}, or the setting out of the answers"
                )


def _of_another_driver(found: dict[str, Any], wanted: dict[str, Any]) -> tuple[str, ...]:
    """Options of logs do not outlive their driver: Docker does not start with one that the driver does not know."""
    before = found.get("log-driver", "json-file")
    return (OPTIONS,) if wanted.get("log-driver", before) != before else ()


def _validator(view: NodeView) -> Validator:
    for name in ENGINES:
        package = view.package(name)
        if package is not None:
            return "dockerd" if engine_major(package.version) >= VALIDATES else ""
    return ""


def engine_major(version: str) -> int:
    """28 of `5:28.5.1-1~debian.13~trixie`; 0 where the text is no version."""
    found = re.match(r"(?:\d+:)?(\d+)", version)
    return int(found[1]) if found else 0
