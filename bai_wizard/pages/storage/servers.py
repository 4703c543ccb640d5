"""What speaks against a share before anything is changed: asked of its server, every question with a deadline."""

from __future__ import annotations

import errno
import json
import re
import sys
from ipaddress import ip_address

from bai_wizard.core.errors import CannotTell
from bai_wizard.core.machine import Machine
from bai_wizard.pages.knocking import ANSWERS, knock_at
from bai_wizard.pages.storage import trial
from bai_wizard.pages.storage.options import name_of

VERSIONS = ("4.2", "4.1", "4.0", "3")
# Options that change how the server is reached, and therefore belong to the trial too.
_FOR_TRIAL = ("port", "sec", "proto", "mountport", "resvport", "noresvport")
_TRIAL_DEADLINE = 15.0
_UNSPOKEN = (errno.EPROTONOSUPPORT, errno.EINVAL, errno.EPROTO, errno.ENOTSUP)


def addresses_of(machine: Machine, host: str) -> tuple[str, ...]:
    """The addresses of a host name; an address is its own. Empty where the name is not known."""
    try:
        return (str(ip_address(host.strip("[]"))),)
    except ValueError:
        answer = machine.look(["getent", "ahosts", host], deadline=6.0)
    found = (line.split()[0] for line in answer.out.splitlines() if line.strip())
    return tuple(dict.fromkeys(found)) if answer.code == 0 else ()


def own_address(machine: Machine, towards: str) -> str:
    """The address that this node shows to another one; empty where it cannot be told."""
    try:
        answer = machine.look(["ip", "-o", "route", "get", towards], deadline=3.0)
    except CannotTell:
        return ""
    found = re.search(r"\bsrc (\S+)", answer.out)
    return found[1] if found else ""


def refuse_host(machine: Machine, hosts: tuple[str, ...], port: int, what: str) -> str:
    """Why none of these hosts can be reached at a TCP port; empty where one answers, or nobody can tell."""
    return _knock(machine, hosts, port, what)[1]


def _knock(machine: Machine, hosts: tuple[str, ...], port: int, what: str) -> tuple[str, str]:
    """The first address that answers, or else why none does. Of a name's addresses only some may be reached."""
    every = tuple(address for host in hosts for address in addresses_of(machine, host))
    answers = knock_at(machine, every, port)
    reached = next((address for address in every if answers.get(address) == "open"), "")
    if reached:
        return reached, ""
    return "", _silence(every, answers, port, what)


def _silence(every: tuple[str, ...], answers: dict[str, str], port: int, what: str) -> str:
    if any(word in ANSWERS for word in answers.values()):
        return f"{', '.join(every)} refuses connections to TCP port {port}: {what} does not run there"
    return (
        f"{', '.join(every)} gives no answer at TCP port {port}: the server is off, the address is wrong, or a "
        "firewall drops what is sent to it"
    )


def refuse_nfs(machine: Machine, source: str, options: tuple[str, ...]) -> str:
    """Why an NFS export cannot be mounted on this node now; empty where it can, or nobody can tell."""
    host, _, path = source.partition(":/")
    given = {name_of(option): option.partition("=")[2] for option in options}
    port = int(given["port"]) if given.get("port", "").isdigit() else 2049
    if "rdma" in given or given.get("proto") == "rdma":
        return ""
    address, refused = _knock(machine, (host,), port, "NFS")
    # Kerberos needs this node's own daemon and tickets, which may come with the client's packages only.
    if refused or not machine.is_root or given.get("sec", "").startswith("krb5"):
        return refused
    asked = given.get("vers") or given.get("nfsvers") or ""
    wanted = _versions(asked)
    extra = ",".join(option for option in options if name_of(option) in _FOR_TRIAL and option != "proto=tcp")
    tried = _try(machine, address, f"/{path}", extra, wanted)
    if 0 in tried.values() or not tried:
        return ""
    if set(tried.values()) == {errno.ENODEV}:
        return (
            "the running kernel has no NFS client: install linux-modules-extra for it, or boot a kernel that has the "
            "module nfs"
        )
    if asked and all(code in _UNSPOKEN for code in tried.values()):
        return _other_versions(machine, address, f"/{path}", extra, asked)
    return _refusal(machine, address, f"/{path}", tried)


def _versions(asked: str) -> tuple[str, ...]:
    if not asked:
        return VERSIONS
    if asked == "4":
        return VERSIONS[:3]
    return (asked,)


def _try(machine: Machine, address: str, path: str, extra: str, versions: tuple[str, ...]) -> dict[str, int]:
    program = [sys.executable, "-I", "-S", trial.__file__, address, path, extra, *versions]
    answer = machine.look(program, deadline=_TRIAL_DEADLINE)
    if answer.code != 0:
        raise CannotTell(f"the export cannot be tried: {answer.err.strip()[-200:]}")
    tried: dict[str, int] = json.loads(answer.out)
    # No namespaces, or no right to mount (a container): the trial says nothing about the server.
    return {} if "" in tried or set(tried.values()) <= {errno.EPERM} else tried


def _other_versions(machine: Machine, address: str, path: str, extra: str, asked: str) -> str:
    others = tuple(version for version in VERSIONS if version not in _versions(asked))
    tried = _try(machine, address, path, extra, others)
    spoken = [version for version, code in tried.items() if code == 0]
    advice = f"; it speaks {spoken[0]}: give the option vers={spoken[0]}" if spoken else ""
    return f"{address} does not speak NFS version {asked}{advice}"


def _refusal(machine: Machine, address: str, path: str, tried: dict[str, int]) -> str:
    if {errno.EACCES, errno.ENOENT} & set(tried.values()):
        exports = exports_of(machine, address)
        if exports is not None and path not in exports:
            told = ", ".join(exports[:10]) or "nothing"
            return f"{address} exports no {path}; it exports {told}. With NFS 4 the path may begin at another root"
        mine = own_address(machine, address) or "this node's address"
        doubt = ", or it has no such export" if exports is None else ""
        return (
            f"{address} does not let this node mount {path}{doubt}: have its administrator export it to {mine}, for "
            f"instance «{path} {mine}(rw,sync,no_subtree_check)» in /etc/exports, then «exportfs -ra»"
        )
    told = ", ".join(f"version {version}: {_words(code)}" for version, code in tried.items())
    return f"{address}:{path} cannot be mounted ({told})"


def exports_of(machine: Machine, address: str) -> tuple[str, ...] | None:
    """What a server exports, as it tells everybody; None where it does not say or nobody can ask here.

    A server answers «access denied» to a path that does not exist, and hides exports that are not for this node.
    """
    try:
        answer = machine.look(["showmount", "--no-headers", "-e", address], deadline=6.0)
    except CannotTell:
        return None
    return tuple(line.split()[0] for line in answer.out.splitlines() if line.strip()) if answer.code == 0 else None


def _words(code: int) -> str:
    import os

    return os.strerror(code).lower()
