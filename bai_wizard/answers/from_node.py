"""Answers read back from a node: what `answers --from-node` fills in, by typed reads only.

What a node cannot tell (roles, where a password comes from, wishes that have left no trace) keeps its default.
A read without an answer costs its one value, and is told at the top of the file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bai_wizard.answers.model import dotted
from bai_wizard.answers.validate import validate
from bai_wizard.core.blocks import BlockDamaged, find_blocks
from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.state import Account
from bai_wizard.core.view import NodeView
from bai_wizard.pages.fields import SettingsTable
from bai_wizard.steps.hosts import MARKERS
from bai_wizard.steps.hosts_lines import VIRTUAL, parse_line

VFROOT = "/vfroot"
SYSCTL_FILES = ("/etc/sysctl.d/99-backendai.conf", "/etc/sysctl.d/99-backend-ai.conf")
NETWORK_TYPES = {"nfs": "nfs", "nfs4": "nfs", "ceph": "cephfs", "lustre": "lustre"}


@dataclass(frozen=True)
class FromNode:
    """The tables that the node speaks for, and in words what could not be read or does not fit."""

    tables: Mapping[str, SettingsTable]
    remarks: tuple[str, ...] = ()


def from_node(view: NodeView) -> FromNode:
    """Reads the node. Never raises for what cannot be read: that is a remark."""
    remarks: list[str] = []
    account = _operation_account(view)
    readers: dict[str, Callable[[], dict[str, Any] | None]] = {
        "account": lambda: _account(view, account),
        "docker": lambda: _docker(view, account, remarks),
        "tuning": lambda: _tuning(view),
        "python": lambda: _python(view, account),
        "aliases": lambda: _aliases(view),
        "storage": lambda: _storage(view),
    }
    tables: dict[str, SettingsTable] = {}
    for table, read in readers.items():
        try:
            plain = read()
        except (CannotTell, BlockDamaged) as error:
            remarks.append(f"[{table}] could not be read: {error}")
            continue
        if plain is not None:
            tables |= _fitting(table, plain, remarks)
    return FromNode(tables, tuple(remarks))


def _fitting(table: str, plain: dict[str, Any], remarks: list[str]) -> dict[str, SettingsTable]:
    """The table without the values that answers cannot hold."""
    settings, faults = validate(table, plain)
    for fault in faults:
        remarks.append(f"{dotted(fault.path)} of this node is left out: it {fault.reason}")
    if settings is None:
        wrong = {str(fault.path[1]) for fault in faults if len(fault.path) > 1}
        settings, _ = validate(table, {key: value for key, value in plain.items() if key not in wrong})
    return {table: settings} if settings is not None else {}


def _operation_account(view: NodeView) -> Account | None:
    """The account with the manual's uid, else the one with its name."""
    usual = Context()
    accounts = view.accounts()
    by_uid = [account for account in accounts if account.uid == usual.uid]
    return next(iter(by_uid), None) or view.account(usual.account)


def _account(view: NodeView, account: Account | None) -> dict[str, Any] | None:
    if account is None:
        return None
    plain: dict[str, Any] = {"username": account.name, "uid": account.uid, "gid": account.gid, "shell": account.shell}
    if not account.local:
        plain["source"] = "directory"
    if account.home != f"/home/{account.name}":
        plain["home"] = account.home
    member_of = [group.name for group in view.groups() if view.is_member(account.name, group.name)]
    plain["groups"] = [name for name in member_of if name not in ("sudo", "docker", account.name)]
    plain["sudo"] = _sudo(view, account.name, "sudo" in member_of)
    if plain["sudo"] == "password" and account.local:
        plain["password"] = {"prompt": True}
    return plain


def _sudo(view: NodeView, user: str, in_group: bool) -> str:
    rule = re.compile(rf"(?m)^\s*{re.escape(user)}\s+ALL\s*=.*NOPASSWD:\s*ALL\s*$")
    for name in view.names("/etc/sudoers.d"):
        if rule.search(view.text(f"/etc/sudoers.d/{name}") or ""):
            return "nopasswd"
    return "password" if in_group else "no"


def _docker(view: NodeView, account: Account | None, remarks: list[str]) -> dict[str, Any] | None:
    if view.package("docker-ce") is not None:
        plain: dict[str, Any] = {"source": "docker-ce"}
    elif view.package("docker.io") is not None:
        plain = {"source": "distro"}
    else:
        return None
    group = view.group("docker")
    users = [user.name for user in view.accounts() if group and view.is_member(user.name, "docker")]
    if users != [account.name if account else ""]:
        plain["users"] = users
    text = view.text("/etc/docker/daemon.json")
    if text:
        try:
            plain |= _daemon(json.loads(text))
        except (ValueError, AttributeError, TypeError):
            remarks.append("/etc/docker/daemon.json is no valid JSON; nothing was taken from it")
    return plain


def _daemon(daemon: dict[str, Any]) -> dict[str, Any]:
    """The settings behind the keys of daemon.json that the wizard knows."""
    names = {
        "registry-mirrors": "registry_mirrors",
        "insecure-registries": "insecure_registries",
        "data-root": "data_root",
        "default-address-pools": "address_pools",
    }
    plain = {name: daemon[key] for key, name in names.items() if key in daemon}
    options = daemon.get("log-opts", {})
    log: dict[str, Any] = {"driver": daemon["log-driver"]} if "log-driver" in daemon else {}
    if "max-size" in options:
        log["max_size"] = str(options["max-size"])
    if str(options.get("max-file", "")).isdecimal():
        log["max_file"] = int(options["max-file"])
    return plain | ({"log": log} if log else {})


def _tuning(view: NodeView) -> dict[str, Any] | None:
    """The parameters of our file as they stand there, whichever profile they came from."""
    texts = [text for path in SYSCTL_FILES if (text := view.text(path)) is not None]
    if not texts:
        return None
    values: dict[str, int | str] = {}
    for line in "\n".join(texts).splitlines():
        key, sign, value = (part.strip() for part in line.partition("="))
        if sign and not key.startswith(("#", ";")):
            plain = value.strip("\"'")
            values[key.lstrip("-")] = int(plain) if re.fullmatch(r"-?[0-9]{1,18}", plain) else plain
    return {"sysctl": values}


def _python(view: NodeView, account: Account | None) -> dict[str, Any] | None:
    if account is None:
        return None
    found = view.names(f"{account.home}/.static-python/versions")
    versions = [name for name in found if re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", name)]
    if not versions:
        return None
    services = [name for name in view.names(account.home) if ".venv" in view.names(f"{account.home}/{name}")]
    newest = max(versions, key=lambda name: [int(part) for part in name.split(".")])
    return {"version": newest, "venvs": [{"service": name} for name in services]}


def _aliases(view: NodeView) -> dict[str, Any] | None:
    blocks = find_blocks(view.text("/etc/hosts") or "", MARKERS)
    if not blocks:
        return None
    hosts: dict[str, dict[str, Any]] = {}
    for line in (line for block in blocks for line in block.lines):
        parsed = parse_line(0, line)
        if parsed is None:
            continue
        remark = line.partition("#")[2].strip()
        host = hosts.setdefault(str(parsed.address), {"ip": str(parsed.address), "names": []})
        host["names"] += [name for name in parsed.names if name not in host["names"]]
        if remark.endswith(VIRTUAL):
            host["virtual"] = True
        if remark.removesuffix(VIRTUAL).strip():
            host["comment"] = remark.removesuffix(VIRTUAL).strip()
    return {"hosts": list(hosts.values())}


def _storage(view: NodeView) -> dict[str, Any] | None:
    volumes = list(_volumes(view))
    return {"volumes": volumes} if volumes else None


def _volumes(view: NodeView) -> Iterator[dict[str, Any]]:
    for name in view.names(VFROOT):
        path = f"{VFROOT}/{name}"
        entry = view.entry(path)
        if entry is None or entry.type != "directory":
            continue
        mount = view.mount(path)
        if mount is None:
            yield {"name": name, "type": "local", "mode": f"{entry.mode:04o}"}
        elif mount.fstype in NETWORK_TYPES:
            yield {"name": name, "type": NETWORK_TYPES[mount.fstype], "source": mount.source}
        elif mount.fstype == "xfs" and mount.source.startswith("/dev/"):
            quota = "prjquota" in mount.options.split(",") or "pquota" in mount.options.split(",")
            yield {"name": name, "type": "xfs", "device": mount.source, "quota": quota}
        else:
            yield {"name": name, "type": "existing"}
