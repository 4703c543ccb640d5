"""What a support bundle holds: facts and logs of a closed list, findings, the last runs' narrative. Nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from bai_wizard import __version__
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.finding import Finding
from bai_wizard.core.machine import Machine
from bai_wizard.doctor.asked import Asked
from bai_wizard.doctor.mask import Masker
from bai_wizard.engine.run.places import Places

BUNDLE_VERSION = 1
RUNS = 5
# Lines of each log; bytes of each file that is read as a whole.
LINES = 2000
BYTES = 512 << 10
# The logs that are looked at, by the name they get in the bundle.
JOURNALS = {
    "logs/docker.log": ("-u", "docker", "-u", "containerd", "-b"),
    "logs/kernel.log": ("-k", "-b"),
    "logs/boot.log": (
        "-b",
        "-p",
        "warning",
        "-u",
        "systemd-sysctl",
        "-u",
        "systemd-modules-load",
        "-u",
        "nfs-client",
    ),
}
FILES = {
    "logs/apt-history.log": "/var/log/apt/history.log",
    "logs/dpkg.log": "/var/log/dpkg.log",
}
Contents = dict[str, str]


def collect(machine: Machine, places: Places, about: Asked, findings: Sequence[Finding]) -> tuple[Contents, Masker]:
    """Every file of the bundle, masked, and the masker with its count of what was hidden."""
    masker = Masker(known_names(machine, about))
    contents: Contents = {}

    def put(name: str, value: Any) -> None:
        contents[name] = json.dumps(masker.value(value, name), ensure_ascii=False, indent=1) + "\n"

    put("findings.json", [finding.to_json() for finding in findings])
    put("facts.json", _facts(machine, about))
    for name, lines in _narratives(places):
        contents[name] = "".join(json.dumps(masker.value(line, name), ensure_ascii=False) + "\n" for line in lines)
    for name, text in _logs(machine):
        contents[name] = masker.text(text, name)
    put("about.json", _about(machine))
    log = {
        name: [f"{number} × {kind}" for kind, number in sorted(counts.items())]
        for name, counts in sorted(masker.redactions.items())
        if counts
    }
    contents["redactions.json"] = json.dumps(log, indent=1, ensure_ascii=False) + "\n"
    return dict(sorted(contents.items())), masker


def _about(machine: Machine) -> dict[str, Any]:
    made = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"version": BUNDLE_VERSION, "wizard": __version__, "made": made, "host": machine.host}


def _facts(machine: Machine, about: Asked) -> dict[str, dict[str, str]]:
    """The pairs of words and values that `detect` shows: a closed list by construction, no files, no environment."""
    from bai_wizard.detect import detect

    return {page: dict(rows) for page, rows in detect(machine, about.wish.settings, about.wish.context).items()}


def _narratives(places: Places) -> Iterator[tuple[str, list[Any]]]:
    """Events and results of the last runs. Never the plan, the settings, the journal or the backups."""
    from bai_wizard.engine.run.directory import all_runs

    for run in all_runs(places)[-RUNS:]:
        if run.events.is_file():
            yield f"runs/{run.id}/events.jsonl", list(_json_lines(run.events.read_text(errors="replace")))
        result = run.result()
        if result is not None:
            yield f"runs/{run.id}/result.jsonl", [result]


def _json_lines(text: str) -> Iterator[Any]:
    for line in text.splitlines()[-LINES:]:
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            # The last line of a run that was cut.
            continue


def _logs(machine: Machine) -> Iterator[tuple[str, str]]:
    for name, words in JOURNALS.items():
        try:
            argv = ("journalctl", "--no-pager", "-o", "short-iso", "-n", str(LINES), *words)
            yield name, machine.look(argv, deadline=10.0).out[-BYTES:]
        except CannotTell as error:
            yield name, f"not read: {error}\n"
    for name, path in FILES.items():
        try:
            text = machine.text(path)
        except CannotTell as error:
            yield name, f"not read: {error}\n"
            continue
        if text is not None:
            yield name, "\n".join(text[-BYTES:].splitlines()[-LINES:]) + "\n"


def known_names(machine: Machine, about: Asked) -> Iterator[tuple[str, str]]:
    """Names of this site: hosts, accounts of people, registries. What cannot be read adds nothing."""
    yield machine.host, "host"
    yield machine.host.partition(".")[0], "host"
    for line in (_read(machine, "/etc/hosts") or "").splitlines():
        for name in line.partition("#")[0].split()[1:]:
            if not name.startswith(("localhost", "ip6-")):
                yield name, "host"
    for line in (_read(machine, "/etc/resolv.conf") or "").splitlines():
        if line.startswith(("search ", "domain ")):
            yield from ((name, "domain") for name in line.split()[1:])
    for account in machine.accounts():
        if account.uid >= 1000 and account.name != "nobody":
            yield account.name, "user"
    yield about.wish.context.account, "user"
    yield from ((name, "registry") for name in _registries(machine, about))


def _registries(machine: Machine, about: Asked) -> Iterator[str]:
    images, docker = about.wish.settings.get("images"), about.wish.settings.get("docker")
    if images is not None:
        yield from (registry.host for registry in images.registries)
        yield from [images.registry.partition("/")[0]] if images.registry else []
    if docker is not None:
        yield from (*docker.registry_ca, *docker.insecure_registries)
    text = _read(machine, "/etc/docker/daemon.json") or ""
    found = re.search(r'"(?:insecure-registries|registry-mirrors)"\s*:\s*\[([^\]]*)\]', text)
    for name in re.findall(r'"([^"]+)"', found.group(1)) if found else ():
        yield name.partition("://")[2] or name
    yield from machine.names("/etc/docker/certs.d")


def _read(machine: Machine, path: str) -> str | None:
    try:
        return machine.text(path)
    except CannotTell:
        return None
