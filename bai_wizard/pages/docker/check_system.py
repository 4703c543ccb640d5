"""Checks of Docker without querying the daemon: apt's sources and keys, the socket, containerd."""

from __future__ import annotations

import re

from bai_wizard.core.machine import Machine
from bai_wizard.core.page import Context, Evidence, Known, read_fact
from bai_wizard.core.paths import DOCKER_SOCKET as SOCKET
from bai_wizard.core.state import Unit
from bai_wizard.pages.check import NotApplicable, Outcome, check, not_applicable, ok, problem, warning
from bai_wizard.pages.docker.packages import KEYRING, docker_ce, docker_key
from bai_wizard.steps.apt_grammar import Source, same_repository
from bai_wizard.steps.apt_sources import AptKey, apt_sources, key_fault, normal_uri, read_all_sources
from bai_wizard.steps.docker import DockerSocket, socket_modes

# apt's message about an entry whose key differs from that of an earlier one.
CONFLICT = re.compile(
    r"Conflicting values set for option Signed-By regarding source (?P<uri>\S+) (?P<suite>\S+):"
    r" (?P<one>.*) != (?P<other>.*)",
    re.DOTALL,
)
OTHERS_READ = 0o004
OTHERS_ENTER = 0o001


def require_running(machine: Machine) -> Unit:
    """Return Docker's unit. Raises NotApplicable if it is not running."""
    unit = machine.unit("docker.service")
    if unit is None or unit.active != "active":
        raise NotApplicable("Docker is not running")
    return unit


def _keyed(machine: Machine) -> list[Source]:
    """Sources that name a key file, not those that contain their key."""
    return [source for source in apt_sources(machine) if source.signed_by.startswith("/")]


def _remedy(path: str) -> tuple[AptKey, ...]:
    if path != KEYRING:
        return ()
    return (AptKey(id="docker.key", path=KEYRING, text=docker_key(), fingerprint=docker_ce().fingerprint),)


@check("docker.apt-no-pubkey")
def keys_present(machine: Machine, context: Context) -> Outcome:
    """Every key file exists and is not empty, and Docker's holds the right key."""
    for source in _keyed(machine):
        entry = machine.entry(source.signed_by)
        fault = "missing" if entry is None else ""
        if entry is not None and entry.type == "file":
            fault = "empty" if not entry.content else ""
            if source.signed_by == KEYRING and normal_uri(source.uri).startswith("https://download.docker.com"):
                fault = fault or key_fault(entry.content or b"", docker_ce().fingerprint)
        if fault:
            evidence = Evidence("key", source.signed_by, fault, "the repository's key")
            return problem(evidence, uri=source.uri, path=source.signed_by, remedy=_remedy(source.signed_by))
    return ok()


@check("docker.apt-key-unreadable")
def keys_readable(machine: Machine, context: Context) -> Outcome:
    """The user _apt can read the keys; if it cannot, apt reports NO_PUBKEY without the reason."""
    for source in _keyed(machine):
        entry = machine.entry(source.signed_by)
        path = source.signed_by.rpartition("/")[0]
        directory = machine.entry(path)
        if entry is None or entry.type != "file":
            continue
        if entry.mode & OTHERS_READ and (directory is None or directory.mode & OTHERS_ENTER):
            continue
        closed = entry if not entry.mode & OTHERS_READ else directory
        assert closed is not None
        return problem(
            Evidence("mode", source.signed_by, f"{closed.mode:04o}", "0644, in a directory with mode 0755"),
            uri=source.uri,
            path=source.signed_by,
            directory=path,
            remedy=_remedy(source.signed_by),
        )
    return ok()


@check("docker.apt-signed-by-conflict")
def one_key(machine: Machine, context: Context) -> Outcome:
    """No repository is listed with two different keys: apt would then read no list at all."""
    reader = read_all_sources(machine)
    for fault in reader.faults:
        conflict = CONFLICT.fullmatch(fault.text)
        if conflict is None:
            continue
        first = next(each for each in reader.sources if same_repository(each, conflict["uri"], conflict["suite"]))
        found = ((first.path, conflict["one"]), (fault.path, conflict["other"]))
        return problem(
            *(Evidence("source", path, key or "no key", "the same key") for path, key in found),
            uri=normal_uri(conflict["uri"]),
            path=first.path if first.path.endswith(".list") else fault.path,
        )
    return ok()


@check("docker.apt-no-release-file")
def suite(machine: Machine, context: Context) -> Outcome:
    docker = [source for source in apt_sources(machine) if "download.docker.com/linux/" in source.uri]
    if not docker:
        return not_applicable("Docker's repository is not among the sources")
    for source in docker:
        known = docker_ce().suites.get(normal_uri(source.uri).rpartition("/")[2])
        if known and source.suite not in known:
            return warning(Evidence("suite", source.path, source.suite, ", ".join(known)), suite=source.suite)
    return ok()


@check("docker.socket-open")
def socket_closed(machine: Machine, context: Context) -> Outcome:
    """Owner and mode of the socket are right, and its unit will set the same at the next start."""
    entry = machine.entry(SOCKET)
    group = machine.group("docker")
    if entry is None or entry.type != "other" or group is None:
        return not_applicable("this node has no Docker socket")
    expected = f"0:{group.gid} 0660"
    evidence = []
    if entry.attributes() != expected:
        evidence.append(Evidence("owner and mode", SOCKET, entry.attributes(), expected))
    configured = [(path, mode) for path, mode in socket_modes(machine) if mode & 0o007 or not mode & 0o060]
    evidence += [Evidence("SocketMode", path, f"{mode:04o}", "0660") for path, mode in configured]
    return problem(*evidence, remedy=() if configured else (DockerSocket(id="docker.socket-open"),))


@check("docker.socket-gone")
def socket_present(machine: Machine, context: Context) -> Outcome:
    """The socket's file exists: a running Docker does not notice its removal, but clients no longer find it."""
    require_running(machine)
    entry = machine.entry(SOCKET)
    is_there = entry is not None and entry.type in ("other", "link")
    if is_there or isinstance(read_fact(lambda: machine.engine("/version")), Known):
        return ok()
    return problem(Evidence("type", SOCKET, "missing" if entry is None else entry.type, "socket"))


@check("docker.containerd")
def containerd(machine: Machine, context: Context) -> Outcome:
    """containerd is started at boot, as Docker's packages set it up: without it, dockerd does not start."""
    unit = machine.unit("containerd.service")
    if unit is None or machine.unit("docker.service") is None:
        return not_applicable("containerd is not a separate service on this node")
    if unit.enabled not in ("disabled", "masked", "masked-runtime"):
        return ok()
    return problem(Evidence("containerd.service", "systemd", unit.enabled, "enabled"))
