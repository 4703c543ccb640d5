"""Checks of name resolution in containers, and of the engine that clients on this node talk to."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.machine import Completed, Machine
from bai_wizard.core.page import Context, Evidence
from bai_wizard.core.parse import json_object
from bai_wizard.pages.check import Outcome, check, not_applicable, ok, problem, unknown, warning
from bai_wizard.pages.docker.probe import (
    KERNEL_LABEL,
    daemon_settings,
    names_or_none,
    require_engine,
    require_info,
    require_list,
)
from bai_wizard.pages.node_state import hosts_to_resolve
from bai_wizard.steps.docker import DAEMON_JSON
from bai_wizard.steps.docker_flags import flags
from bai_wizard.steps.hosts_lines import parse_lines

STUB = "127.0.0.53"
# Images to try at most: one of them probably has getent.
MAX_IMAGES = 3
MAX_NAMES = 3
# Seconds. The resolver in the container asks at most three servers, each of them once for two seconds.
NODE_PATIENCE = 6.0
PATIENCE = 15.0
# Nothing is pulled, written or kept, and no GPU is attached. A final dot keeps search domains out.
RUN = (
    "docker", "run", "--rm", "--pull=never", "--read-only", "--cap-drop=ALL", "--log-driver=none",
    "--env=NVIDIA_VISIBLE_DEVICES=void", "--dns-opt=timeout:2", "--dns-opt=attempts:1", "--entrypoint=getent",
)  # fmt: skip
# Exit codes of `docker run` for a program that the image lacks, or that does not run on this processor.
NO_PROGRAM = (126, 127)
# That of getent for a name without an address.
NOT_FOUND = 2


@check("docker.dns-loopback", needs=("docker.not-running",))
def servers(machine: Machine, context: Context) -> Outcome:
    """Docker gives containers at least one of the node's name servers.

    Docker omits loopback addresses, which inside a container refer to the container itself, and IPv6 addresses unless
    its bridge has IPv6.
    """
    require_info(machine)
    config = daemon_settings(machine.text(DAEMON_JSON) or "")
    given = flags(machine)
    if config.get("dns") or any(flag.key == "dns" for flag in given):
        return ok(Evidence("dns", DAEMON_JSON, "set", "set"))
    path = "/etc/resolv.conf"
    found = _servers(machine.kernel_text(path) or "")
    if found == [STUB]:
        path = "/run/systemd/resolve/resolv.conf"
        found = _servers(machine.kernel_text(path) or "")
    version_6 = config.get("ipv6") is True or any(flag.key == "ipv6" and flag.value == "true" for flag in given)
    if not found or any(not _is_loopback(server) and (version_6 or ":" not in server) for server in found):
        return ok()
    variant = "" if all(map(_is_loopback, found)) else "ipv6"
    expected = "one that is not on loopback" if not variant else "one with an IPv4 address"
    return problem(Evidence("name servers", path, ", ".join(found), expected), variant=variant)


def _servers(text: str) -> list[str]:
    return re.findall(r"^nameserver[ \t]+(\S+)", text, re.MULTILINE)


def _is_loopback(server: str) -> bool:
    try:
        return ip_address(server.partition("%")[0]).is_loopback
    except ValueError:
        return False


@check(
    "docker.container-dns",
    needs=("docker.not-running", "node.dns-broken"),
    deadline=75.0,
    needs_root=True,
    cost="expensive",
)
def in_container(machine: Machine, context: Context) -> Outcome:
    """A container resolves a name that the node's name servers know. Without an image, none is started."""
    images = _images(require_list(machine, "/images/json"))
    if not images:
        return unknown("no container was started, because this node has no images yet")
    host = _resolved_name(machine, context)
    if not host:
        return not_applicable("this node does not resolve any host name by DNS")
    for image, name in images[:MAX_IMAGES]:
        answer = _ask(machine, image, host)
        if answer.code == 0:
            return ok(Evidence(host, f"container of {name}", (answer.out.split() or [""])[0], "an address"))
        if answer.code == NOT_FOUND:
            return problem(Evidence(host, f"container of {name}", "no address", "an address"), host=host, image=name)
        if answer.code not in NO_PROGRAM:
            last = (answer.err.strip() or f"exit code {answer.code}").splitlines()[-1]
            return unknown(f"no container of {name} can be started: {last[:300]}")
    return unknown("no image on this node has the program getent")


def _images(found: list[Any]) -> list[tuple[str, str]]:
    """(ID, name) of images, those of Backend.AI first, then the smallest first."""
    ranked = sorted(found, key=lambda each: (KERNEL_LABEL not in (each.get("Labels") or {}), each.get("Size") or 0))
    return [(str(each["Id"]), str(next(iter(each.get("RepoTags") or ()), each["Id"]))) for each in ranked]


def _resolved_name(machine: Machine, context: Context) -> str:
    """A name that this node's name servers resolve; empty without one."""
    text = machine.text("/etc/hosts") or ""
    local = {name for line in parse_lines(enumerate(text.split("\n"))) for name in line.names}
    for host in [host for host in hosts_to_resolve(machine, context) if host not in local][:MAX_NAMES]:
        if machine.query(("getent", "ahosts", host), deadline=NODE_PATIENCE).code == 0:
            return host
    return ""


def _ask(machine: Machine, image: str, host: str) -> Completed:
    """Resolve a name in a container that ends by itself. Raises StateUnknown."""
    container = f"bai-wizard-names-{os.getpid()}"
    try:
        return machine.query((*RUN, f"--name={container}", image, "ahosts", f"{host}."), deadline=PATIENCE)
    except StateUnknown:
        machine.query(("docker", "rm", "--force", container), deadline=PATIENCE)
        raise


HOMES = (".profile", ".bash_profile", ".bashrc")
LOGIN_FILES = ("/etc/environment", "/etc/profile", "/etc/bash.bashrc")
LOCAL = ("unix:///var/run/docker.sock", "unix:///run/docker.sock")
_HOST = re.compile(r"^[^#\n]*\bDOCKER_(HOST|CONTEXT)=[\"']?([^\s\"'#;]+)", re.MULTILINE)


@check("docker.other-engine")
def this_engine(machine: Machine, context: Context) -> Outcome:
    """Clients of root and of the account use this node's engine, as the agent must."""
    require_engine(machine)
    return warning(*_elsewhere(machine, context))


def _elsewhere(machine: Machine, context: Context) -> Iterator[Evidence]:
    homes = ("/root", context.home)
    profiles = [f"/etc/profile.d/{name}" for name in names_or_none(machine, "/etc/profile.d") if name.endswith(".sh")]
    texts = {path: machine.text_behind_links(path) for path in (*LOGIN_FILES, *profiles)}
    texts |= {f"{home}/{name}": machine.text(f"{home}/{name}") for home in homes for name in HOMES}
    for path, text in texts.items():
        for kind, value in _HOST.findall(text or "")[-1:]:
            if value not in (*LOCAL, "default"):
                yield Evidence(f"DOCKER_{kind}", path, value, "not set")
    for path in (f"{home}/.docker/config.json" for home in homes):
        try:
            chosen = json_object(machine.text(path) or "{}").get("currentContext", "default")
        except ValueError:
            continue  # the docker command refuses such a file
        if chosen not in ("", "default"):
            yield Evidence("currentContext", path, str(chosen), "default")
