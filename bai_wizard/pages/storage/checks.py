"""Whether NFS servers serve this node, and account, services and volumes use the same UIDs and GIDs."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.machine import Machine
from bai_wizard.core.page import Context, Evidence, Known, value_of
from bai_wizard.core.parse import whole
from bai_wizard.node.deadline import map_concurrently
from bai_wizard.pages.check import Outcome, check, checks_in, not_applicable, ok, problem, require_account, warning
from bai_wizard.pages.node_state import container_ids, service_configuration, service_ids
from bai_wizard.pages.storage import check_mounts
from bai_wizard.pages.storage.check_mounts import ROOT, Share, is_mounted_share, select, shares
from bai_wizard.pages.storage.options import name_of, type_of
from bai_wizard.pages.storage.sources import addresses_of, refuse_host, refuse_nfs
from bai_wizard.pages.storage.volume_steps import NOBODY, VERSION_FILE, VersionFile, touch
from bai_wizard.steps.files import Directory
from bai_wizard.steps.packages import PackageLists, Packages
from bai_wizard.steps.services import Service

NO_NFS_SHARE = "this node has no NFS share"


@check("storage.nfs-server-unreachable", deadline=15.0, cost="expensive")
def reachable(machine: Machine, context: Context) -> Outcome:
    """A TCP connection to the server's port can be established; RDMA is not checked."""
    shares = select(
        machine, lambda share: share.is_nfs and share.entry and "rdma" not in share.entry.options, NO_NFS_SHARE
    )

    def refusal(share: Share) -> Evidence | None:
        host = _host(share)
        if not addresses_of(machine, host):
            return Evidence(share.target, host, "the name cannot be resolved", "an address")
        output = refuse_host(machine, (host,), _port(share), "NFS")
        return Evidence(share.target, host, output, "a response") if output else None

    return problem(*filter(None, map_concurrently(refusal, shares)))


@check(
    "storage.nfs-access-denied",
    needs=("storage.nfs-server-unreachable",),
    deadline=40.0,
    needs_root=True,
    cost="expensive",
)
def access_allowed(machine: Machine, context: Context) -> Outcome:
    """Shares that are not mounted can be mounted; tested in a private mount namespace."""
    shares = select(
        machine, lambda share: share.is_nfs and share.entry and not share.is_mounted, "every NFS share is mounted"
    )

    def refusal(share: Share) -> Evidence | None:
        output = refuse_nfs(machine, share.source, share.written)
        return Evidence(share.target, share.source, output, "it can be mounted") if output else None

    return problem(*filter(None, map_concurrently(refusal, shares)))


@check("storage.nfs-version")
def version(machine: Machine, context: Context) -> Outcome:
    """The NFS version in use is the one in fstab; if fstab has none, it is not an unintended NFS 3."""
    evidence = []
    for share in select(machine, lambda share: share.is_nfs and share.is_mounted, "no NFS share is mounted"):
        used, asked = _option(share.used, "vers"), _option(share.written, "vers", "nfsvers")
        if asked and used and not used.startswith(asked):
            evidence.append(Evidence(share.target, "version", used, asked))
        elif not asked and used.startswith("3"):
            evidence.append(Evidence(share.target, "version", used, "4.1 or 4.2, or vers=3 in the options"))
    return warning(*evidence)


@check("storage.nfs-helper-missing")
def helper(machine: Machine, context: Context) -> Outcome:
    """mount.nfs is installed; minimal systems lack its package."""
    shares = select(machine, lambda share: share.is_nfs, NO_NFS_SHARE)
    known = type_of("nfs")
    if machine.entry(known.helper) is not None:
        return ok()
    evidence = (Evidence(share.target, known.helper, "missing", "the mount helper") for share in shares)
    return problem(
        *evidence,
        remedy=(
            PackageLists(id="storage.lists", packages=known.packages),
            Packages(id="storage.client", names=known.packages, why="install client programs for shared storage"),
        ),
    )


@check("storage.nfs-statd")
def statd(machine: Machine, context: Context) -> Outcome:

    def locks(share: Share) -> bool:
        return share.is_nfs and share.is_mounted and _option(share.used, "vers") == "3" and "nolock" not in share.used

    locking = select(machine, locks, "no NFS 3 share is mounted")
    unit = machine.unit("rpc-statd.service")
    if unit is not None and unit.active == "active":
        return ok()
    state = unit.active if unit else "missing"
    evidence = (Evidence("rpc-statd.service", share.target, state, "active") for share in locking)
    start = Service(id="storage.statd", unit="rpc-statd.service", enabled=None)
    return problem(*evidence, remedy=(start,) if unit else ())


def _host(share: Share) -> str:
    source = share.entry.source if share.entry else share.mount.source if share.mount else ""
    return source.partition(":/")[0].strip("[]")


def _port(share: Share) -> int:
    given = _option(share.written, "port")
    return whole(given) if re.fullmatch(r"[1-9]\d{0,4}", given) else type_of("nfs").port


def _option(options: Sequence[str], *names: str) -> str:
    result = [option.partition("=")[2] for option in options if name_of(option) in names]
    return result[-1] if result else ""


AGENT, PROXY = "backendai-agent.service", "backendai-storage-proxy.service"
NONE = "no shared volume is mounted"
# The owner of a share cannot be determined if it does not respond, or responds for a directory that no longer exists.
NEEDS = ("storage.nfs-hung", "storage.nfs-stale-handle")


@check("storage.nfs-uid-mismatch", needs=NEEDS, deadline=20.0, needs_root=True)
def writable(machine: Machine, context: Context) -> Outcome:
    uid, gid = _ids(machine, context)
    evidence = [
        Evidence(share.target, "owner and mode", _whose(machine, share), f"{uid}:{gid}")
        for share in select(machine, is_mounted_share, NONE)
        if not _may(machine, share, uid, gid)
    ]
    return problem(*evidence, account=context.account, uid=uid, gid=gid)


@check("storage.nfs-root-squash", needs=NEEDS, deadline=20.0, needs_root=True)
def owner_settable(machine: Machine, context: Context) -> Outcome:
    """Shares have the right owner, or allow root to set it; most squash root, which is fine if the owner is right."""
    uid, gid = _ids(machine, context)
    evidence = [
        Evidence(share.target, "owner", _whose(machine, share), f"{uid}:{gid}")
        for share in select(machine, is_mounted_share, NONE)
        if touch(machine, "look", share.target).get("uid") != uid and not _may(machine, share, 0, 0)
    ]
    return warning(*evidence, uid=uid, gid=gid)


@check("storage.nfs-idmap-nobody", needs=NEEDS, deadline=10.0)
def owners_mapped(machine: Machine, context: Context) -> Outcome:
    lost = []
    for share in select(
        machine, lambda share: share.mount and share.mount.fstype == "nfs4", "no NFS 4 share is mounted"
    ):
        owners = touch(machine, "look", share.target).get("owners")
        if isinstance(owners, list) and owners and all(owner in NOBODY for owner in owners):
            lost.append(Evidence(share.target, "owners", f"UID {owners[0]} for every file", "user names or UIDs"))
    return problem(*lost)


@check("storage.uid-agreement", needs=NEEDS, deadline=15.0)
def ids_agree(machine: Machine, context: Context) -> Outcome:
    ids = _ids(machine, context)
    container = value_of(container_ids(machine, context))
    evidence = [*_containers(machine, container, ids), *_proxy(machine, context, ids)]
    for share in filter(is_mounted_share, shares(machine)):
        looked = touch(machine, "look", share.target)
        if "uid" in looked and (looked["uid"], looked["gid"]) != ids:
            whose = _whose(machine, share)
            evidence.append(Evidence(share.target, "owner of the share", whose, f"{ids[0]}:{ids[1]}"))
    return warning(*evidence)


def _containers(machine: Machine, container: tuple[int, int] | None, ids: tuple[int, int]) -> Iterator[Evidence]:
    """UID and GID of containers. If agent.toml sets none (-1), they are the agent's own."""
    if container is None:
        return
    agent = service_ids(machine, AGENT)
    used = tuple(own if given == -1 else given for given, own in zip(container, agent or ids, strict=True))
    if used != ids:
        by_agent = f" (-1: as {AGENT}, if etcd's config/container does not say otherwise)"
        where = "agent.toml, kernel-uid and kernel-gid" + (by_agent if -1 in container else "")
        yield Evidence("containers", where, f"{used[0]}:{used[1]}", f"{ids[0]}:{ids[1]}")


def _proxy(machine: Machine, context: Context, ids: tuple[int, int]) -> Iterator[Evidence]:
    """The storage proxy's user, from its configuration or else from its unit."""
    result = service_configuration(machine, context, "storage-proxy")
    table = result.value[1].get("storage-proxy", {}) if isinstance(result, Known) else {}
    where = result.value[0] if isinstance(result, Known) else PROXY
    service = service_ids(machine, PROXY) or ids
    given = (table.get("user", service[0]), table.get("group", service[1]))
    if given not in (ids, (context.account, context.account), (context.account, ids[1])):
        yield Evidence("storage proxy", where, f"{given[0]}:{given[1]}", f"{ids[0]}:{ids[1]}")


@check("storage.volume-owner")
def local_owner(machine: Machine, context: Context) -> Outcome:
    """Directories of /vfroot that are not mounts belong to the account; the guide's own command for them fails."""
    account, paths = machine.account(context.account), _local(machine)
    if account is None or not paths:
        return not_applicable("this node has no local volume")
    ids = (account.uid, account.gid)
    wrong = [(path, whose) for path, whose in paths if whose != ids]
    evidence = (Evidence(path, "owner", f"{whose[0]}:{whose[1]}", f"{ids[0]}:{ids[1]}") for path, whose in wrong)
    steps = [
        Directory(id=f"storage.{path.rpartition('/')[2]}.owner", path=path, owner=context.account)
        for path, _whose in wrong
    ]
    return problem(*evidence, remedy=steps, account=context.account)


@check("storage.version-file", needs=NEEDS, deadline=10.0)
def layout(machine: Machine, context: Context) -> Outcome:
    paths = [path for path, _ids in _local(machine)] + [share.target for share in shares(machine) if share.is_mounted]
    if not paths:
        return not_applicable("this node has no volume")
    complaints = [(path, VersionFile(id="x", path=path, owner=context.account).complaint(machine)) for path in paths]
    wrong = [(path, complaint) for path, complaint in complaints if complaint]
    if not wrong:
        return ok()
    evidence = (Evidence(path, VERSION_FILE, complaint, "3") for path, complaint in wrong)
    return warning(*evidence, file=f"{wrong[0][0]}/{VERSION_FILE}", account=context.account)


def _ids(machine: Machine, context: Context) -> tuple[int, int]:
    account = require_account(machine, context)
    return account.uid, account.gid


def _local(machine: Machine) -> list[tuple[str, tuple[int, int]]]:
    taken = {share.target for share in shares(machine)}
    paths = [path for name in machine.names(ROOT) if (path := f"{ROOT}/{name}") not in taken]
    entries = ((path, machine.entry(path)) for path in paths)
    return [(path, (entry.uid, entry.gid)) for path, entry in entries if entry and entry.type == "directory"]


def _may(machine: Machine, share: Share, uid: int, gid: int) -> bool:
    answer = touch(machine, "may", share.target, str(uid), str(gid))
    if "may" not in answer:
        raise StateUnknown(f"{share.target}: {answer.get('text')}")
    return bool(answer["may"])


def _whose(machine: Machine, share: Share) -> str:
    looked = touch(machine, "look", share.target)
    mode = looked.get("mode")
    return f"{looked.get('uid')}:{looked.get('gid')} mode {mode:04o}" if isinstance(mode, int) else "unknown"


CHECKS = checks_in(check_mounts, sys.modules[__name__])
