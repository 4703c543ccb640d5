"""What servers of NFS shares say to this node."""

from __future__ import annotations

import re

from bai_wizard.core.context import Context
from bai_wizard.core.finding import Evidence, Finding
from bai_wizard.core.machine import Machine
from bai_wizard.machine.deadline import side_by_side
from bai_wizard.pages.storage.options import name_of, split, type_of
from bai_wizard.pages.storage.servers import addresses_of, refuse_host, refuse_nfs
from bai_wizard.pages.storage.shares import Share, shares
from bai_wizard.pages.subject import Subject
from bai_wizard.steps.apt import PackageLists, Packages
from bai_wizard.steps.service import Service

PAGE = "storage"
NONE = "no NFS share on this node"
UNREACHABLE = Subject("nfs-server-unreachable", PAGE, "The servers of all shares can be reached", owner="site")
DENIED = Subject("nfs-access-denied", PAGE, "The servers let this node mount", owner="site")
VERSION = Subject("nfs-version", PAGE, "NFS speaks the version that was asked for")
HELPER = Subject("nfs-helper-missing", PAGE, "The NFS client is installed")
STATD = Subject("nfs-statd", PAGE, "Locks of NFS 3 work")


def unreachable(machine: Machine, context: Context) -> Finding:
    """TCP to the server's port; RDMA has none."""
    found = [share for share in _nfs(machine) if share.entry and "rdma" not in share.entry.options]
    if not found:
        return UNREACHABLE.not_applicable(NONE)

    def refusal(share: Share) -> Evidence | None:
        host = _host(share)
        if not addresses_of(machine, host):
            return Evidence(share.target, host, "nobody knows its address", "an address")
        said = refuse_host(machine, (host,), _port(share), "NFS")
        return Evidence(share.target, host, said, "an answer") if said else None

    evidence = [each for each in side_by_side(refusal, found) if each is not None]
    if not evidence:
        return UNREACHABLE.ok()
    return UNREACHABLE.problem(
        "The server of a share cannot be reached",
        evidence,
        cause="It is off, the address is wrong, or a firewall lies in between.",
        guidance="Try from another node: if that one gets an answer, look at the firewalls on the way to this one.",
    )


def denied(machine: Machine, context: Context) -> Finding:
    """Shares that are not mounted are tried, in a mount namespace that nobody else sees."""
    found = [share for share in _nfs(machine) if share.entry and not share.is_mounted]
    if not found:
        return DENIED.not_applicable("every NFS share is mounted")

    def refusal(share: Share) -> Evidence | None:
        assert share.entry is not None
        said = refuse_nfs(machine, share.entry.source, split(share.entry.options))
        return Evidence(share.target, share.entry.source, said, "it can be mounted") if said else None

    evidence = [each for each in side_by_side(refusal, found) if each is not None]
    if not evidence:
        return DENIED.ok()
    return DENIED.problem(
        "An NFS server does not let this node mount",
        evidence,
        cause="This node's address is not in the export, the path is wrong, or the version is not spoken.",
        guidance="Hand the line above to the storage's administrator. A NAT in between needs `insecure` as well.",
        risk="no_root_squash would give this node's root the whole share: it is not needed.",
    )


def version(machine: Machine, context: Context) -> Finding:
    """The version in use against the one in fstab; an unasked NFS 3 where everybody else may speak 4."""
    found = [share for share in _nfs(machine) if share.is_mounted]
    if not found:
        return VERSION.not_applicable("no NFS share is mounted")
    evidence = []
    for share in found:
        used = _option(share.mount.options if share.mount else "", "vers")
        asked = _option(share.entry.options, "vers", "nfsvers") if share.entry else ""
        if asked and used and not used.startswith(asked):
            evidence.append(Evidence(share.target, "version", used, asked))
        elif not asked and used.startswith("3"):
            evidence.append(Evidence(share.target, "version", used, "4.1 or 4.2, or vers=3 in the options"))
    if not evidence:
        return VERSION.ok()
    return VERSION.warning(
        "NFS speaks another version than it was asked for",
        evidence,
        cause="The client takes the newest version that the server speaks just then, or fstab was changed since.",
        guidance="Name the version in the volume's options, then mount it anew when nobody uses it.",
        risk="Nodes with different versions see each other's locks and ids differently.",
    )


def helper(machine: Machine, context: Context) -> Finding:
    """mount.nfs is a program of a package that minimal systems lack."""
    found = _nfs(machine)
    if not found:
        return HELPER.not_applicable(NONE)
    known = type_of("nfs")
    if machine.entry(known.helper) is not None:
        return HELPER.ok()
    return HELPER.problem(
        "The NFS client is not installed",
        [Evidence(share.target, known.helper, "not there", "the client's program") for share in found],
        cause="nfs-common is not installed: «bad option; … you might need a /sbin/mount.<type> helper program».",
        guidance="Install it; on minimal kernels also linux-modules-extra for the running kernel.",
        remedy=(
            PackageLists(id="storage.lists", packages=known.packages),
            Packages(id="storage.client", names=known.packages, why="programs that mount shared storage"),
        ),
    )


def statd(machine: Machine, context: Context) -> Finding:
    """NFS 3 keeps its locks in a service of its own."""
    found = [share for share in _nfs(machine) if share.is_mounted and share.mount]
    locking = [
        share
        for share in found
        if share.mount and _option(share.mount.options, "vers") == "3" and "nolock" not in split(share.mount.options)
    ]
    if not locking:
        return STATD.not_applicable("no NFS 3 share is mounted")
    unit = machine.unit("rpc-statd.service")
    if unit is not None and unit.active == "active":
        return STATD.ok()
    return STATD.problem(
        "The locking service of NFS 3 does not run",
        [
            Evidence("rpc-statd.service", share.target, unit.active if unit else "not there", "active")
            for share in locking
        ],
        cause="It was stopped or masked, or rpcbind is: programs that lock files on the share fail or wait.",
        guidance="Start it, or mount with NFS 4, which needs no such service. `nolock` loses locks between nodes.",
        remedy=(Service(id="storage.statd", unit="rpc-statd.service", enabled=None),) if unit else (),
    )


def _nfs(machine: Machine) -> list[Share]:
    return [share for share in shares(machine) if share.is_nfs]


def _host(share: Share) -> str:
    source = share.entry.source if share.entry else share.mount.source if share.mount else ""
    return source.partition(":/")[0].strip("[]")


def _port(share: Share) -> int:
    given = _option(share.entry.options if share.entry else "", "port")
    return int(given) if re.fullmatch(r"[1-9]\d{0,4}", given) else type_of("nfs").port


def _option(options: str, *names: str) -> str:
    found = [option.partition("=")[2] for option in split(options) if name_of(option) in names]
    return found[-1] if found else ""


CHECKS = (
    UNREACHABLE.check(unreachable, deadline=15.0, cost="dear"),
    DENIED.check(denied, needs=("nfs-server-unreachable",), deadline=40.0, needs_root=True, cost="dear"),
    VERSION.check(version),
    HELPER.check(helper),
    STATD.check(statd),
)
