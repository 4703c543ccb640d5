"""Clients that the engine turns away because they speak an interface that it has given up."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.finding import Evidence, Finding
from bai_wizard.core.machine import Machine
from bai_wizard.pages.docker.look import NotApplicable, check, journal
from bai_wizard.pages.subject import Subject

API = Subject("docker-api-too-old", "docker", "No client is too old for the engine")
# Files that give programs their environment: of logins, of everybody's shells, of services.
FILES = ("/etc/environment", "/etc/profile", "/etc/bash.bashrc")
HOMES = (".profile", ".bash_profile", ".bashrc")
SNIPPETS = ("/etc/profile.d", "/etc/environment.d", "/etc/default")
UNITS = "/etc/systemd/system"
PINNED = re.compile(r"^[^#\n]*\bDOCKER_API_VERSION=[\"']?(\d+\.\d+)", re.MULTILINE)
# The newest interface that the first docker-compose, the one in Python, speaks (docker/compose 1.29, const.py).
COMPOSE_1 = (1, 38)


def api(machine: Machine, context: Context) -> Finding:
    """Versions that files of this node pin, against the oldest that the engine takes.

    An engine tells of refused clients in its journal only where it logs everything.
    """
    version = machine.engine("/version")
    if not isinstance(version, dict):
        raise NotApplicable("no container engine runs")
    oldest = str(version.get("MinAPIVersion", ""))
    evidence = [
        Evidence(what, path, spoken, f"{oldest} or newer")
        for what, path, spoken in _spoken(machine, context)
        if _number(spoken) < _number(oldest)
    ]
    for line in journal(machine, "client version .* is too old")[-1:]:
        said = re.search(r"client version \S+ is too old[^\"]*", line)
        evidence.append(
            Evidence("journal of docker", "journalctl -u docker", said[0] if said else line, "no refusal")
        )
    if not evidence:
        return API.ok(Evidence("oldest interface", "docker version", oldest or "not told", ""))
    return API.problem(
        "A client speaks an API that the engine refuses",
        evidence,
        cause="A program is built for an older Docker, or DOCKER_API_VERSION is set somewhere.",
        guidance='Upgrade that client, or unset DOCKER_API_VERSION. As a stop-gap, "min-api-version": "1.40" in'
        " daemon.json lets it in.",
        risk="The stop-gap keeps an old interface open, and needs a restart of Docker.",
    )


def _spoken(machine: Machine, context: Context) -> Iterator[tuple[str, str, str]]:
    """(what, where, version) of each client that is known to speak one version at most."""
    for path in _environments(machine, context):
        try:
            text = machine.text(path) or ""
        except CannotTell:
            continue
        for found in PINNED.findall(text)[-1:]:
            yield "DOCKER_API_VERSION", path, found
    compose = machine.package("docker-compose")
    if compose is not None and compose.version.startswith("1."):
        yield f"docker-compose {compose.version}", "dpkg", ".".join(map(str, COMPOSE_1))


def _environments(machine: Machine, context: Context) -> Iterator[str]:
    yield from FILES
    for home in ("/root", context.home):
        yield from (f"{home}/{name}" for name in HOMES)
    for directory in SNIPPETS:
        yield from (f"{directory}/{name}" for name in machine.names(directory))
    for unit in machine.names(UNITS):
        if unit.endswith(".service"):
            yield f"{UNITS}/{unit}"
        elif unit.endswith(".service.d"):
            yield from (f"{UNITS}/{unit}/{name}" for name in machine.names(f"{UNITS}/{unit}"))


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())


CHECKS = (check(API, api, needs=("docker-not-running",)),)
