"""Whether the numbers of users agree: account, agent, storage proxy, volumes."""

from __future__ import annotations

from collections.abc import Iterator

from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.facts import Fact, Known, Unknown
from bai_wizard.core.finding import Evidence, Finding
from bai_wizard.core.machine import Machine
from bai_wizard.pages.services import configuration, container_ids, service_ids
from bai_wizard.pages.storage.shares import ROOT, Share, shares
from bai_wizard.pages.subject import Subject
from bai_wizard.steps.directory import Directory
from bai_wizard.steps.version_file import NAME, VersionFile
from bai_wizard.steps.volume_words import NOBODY
from bai_wizard.steps.volume_writers import touch

PAGE = "storage"
AGENT, PROXY = "backendai-agent.service", "backendai-storage-proxy.service"
NONE = "no shared volume is mounted"
MISMATCH = Subject("nfs-uid-mismatch", PAGE, "The account can write to the shares", owner="site")
SQUASH = Subject("nfs-root-squash", PAGE, "Owners on the shares are as they must be", owner="site")
IDMAP = Subject("nfs-idmap-nobody", PAGE, "Owners on NFS 4 shares have their numbers", owner="site")
AGREE = Subject("storage-uid-agreement", PAGE, "Account, agent and storage proxy use the same numbers", owner="site")
LOCAL = Subject("vfroot-chown-guide", PAGE, "Local volumes belong to the account")
LAYOUT = Subject("storage-version-file", PAGE, "Every volume says which layout it has")


def mismatch(machine: Machine, context: Context) -> Finding:
    """The server itself is asked whether the account's numbers may write."""
    mounted = _remote(machine)
    ids = _ids(machine, context)
    if not mounted or ids is None:
        return MISMATCH.not_applicable(NONE if ids else f"there is no account {context.account}")
    evidence = []
    for share in mounted:
        if not _may(machine, share, *ids):
            evidence.append(Evidence(share.target, "owner and mode", _whose(machine, share), f"{ids[0]}:{ids[1]}"))
    if not evidence:
        return MISMATCH.ok()
    return MISMATCH.problem(
        f"{context.account} cannot write to a share",
        evidence,
        cause="The directory belongs to another number: shares know numbers only, and ours may be another's there.",
        guidance=f"Have the storage's administrator run «chown {ids[0]}:{ids[1]}» on the exported directory, or "
        "agree on one number for all nodes and the storage.",
        risk="all_squash on the server would let everybody write, and hide who wrote what.",
    )


def squash(machine: Machine, context: Context) -> Finding:
    """Root is nobody on most shares, and rightly so: only a wrong owner makes a problem of it."""
    ids = _ids(machine, context)
    mounted = _remote(machine)
    if not mounted or ids is None:
        return SQUASH.not_applicable(NONE if ids else f"there is no account {context.account}")
    wrong = [
        share
        for share in mounted
        if touch(machine, "look", share.target).get("uid") != ids[0] and not _may(machine, share, 0, 0)
    ]
    if not wrong:
        return SQUASH.ok()
    return SQUASH.warning(
        "Root of this node cannot set the owner of a share",
        [Evidence(share.target, "owner", _whose(machine, share), f"{ids[0]}:{ids[1]}") for share in wrong],
        cause="The export squashes root (root_squash, the default): chown from here gives «Operation not permitted».",
        guidance=f"Have «chown {ids[0]}:{ids[1]}» run on the server; everything else works as the account.",
        risk="no_root_squash as a remedy gives every node's root the whole share.",
    )


def idmap(machine: Machine, context: Context) -> Finding:
    """Names that cannot be mapped to numbers become nobody."""
    found = [share for share in _remote(machine) if share.mount and share.mount.fstype == "nfs4"]
    if not found:
        return IDMAP.not_applicable("no NFS 4 share is mounted")
    lost = []
    for share in found:
        owners = touch(machine, "look", share.target).get("owners")
        if isinstance(owners, list) and owners and all(owner in NOBODY for owner in owners):
            lost.append(Evidence(share.target, "owners", "nobody, of everything", "numbers of users"))
    if not lost:
        return IDMAP.ok()
    return IDMAP.problem(
        "Everything on a share belongs to nobody",
        lost,
        cause="NFS 4 sends names; client and server have different domains (/etc/idmapd.conf), so no name is known.",
        guidance="Give both sides the same Domain and run «nfsidmap -c», or have the server send numbers.",
    )


def agree(machine: Machine, context: Context) -> Finding:
    """The manual wants one number for the storage proxy, all agents, their containers and the share."""
    ids = _ids(machine, context)
    if ids is None:
        return AGREE.not_applicable(f"there is no account {context.account}")
    wanted = f"{ids[0]}:{ids[1]}"
    container = container_ids(machine, context)
    if isinstance(container, Unknown):
        return AGREE.cannot_tell(container.reason)
    evidence = [*_containers(machine, container, ids), *_proxy(machine, context, ids)]
    for share in _remote(machine):
        looked = touch(machine, "look", share.target)
        if "uid" in looked and (looked["uid"], looked["gid"]) != ids:
            evidence.append(Evidence(share.target, "owner of the share", _whose(machine, share), wanted))
    if not evidence:
        return AGREE.ok()
    return AGREE.warning(
        "Account, agent, storage proxy and shares do not use the same numbers",
        evidence,
        cause="They were set up at different times; files made by one cannot be changed by the other.",
        guidance="Unify them on all nodes: the account, kernel-uid and kernel-gid of agent.toml, the share's owner.",
        risk="Files that exist keep their old numbers until somebody changes them on the storage.",
    )


def _containers(machine: Machine, container: Fact[tuple[int, int]], ids: tuple[int, int]) -> Iterator[Evidence]:
    """The ids of containers; where agent.toml gives none (-1) they are those that the agent itself runs with."""
    if not isinstance(container, Known):
        return
    agent = service_ids(machine, AGENT)
    used = tuple(own if given == -1 else given for given, own in zip(container.value, agent or ids, strict=True))
    if used != ids:
        by_agent = f" (-1: as {AGENT}, if etcd's config/container does not say otherwise)"
        where = "agent.toml, kernel-uid and kernel-gid" + (by_agent if -1 in container.value else "")
        yield Evidence("containers", where, f"{used[0]}:{used[1]}", f"{ids[0]}:{ids[1]}")


def _proxy(machine: Machine, context: Context, ids: tuple[int, int]) -> Iterator[Evidence]:
    """The storage proxy's user as its configuration says, else as its service does."""
    found = configuration(machine, context, "storage-proxy")
    table = found.value[1].get("storage-proxy", {}) if isinstance(found, Known) else {}
    where = found.value[0] if isinstance(found, Known) else PROXY
    service = service_ids(machine, PROXY) or ids
    given = (table.get("user", service[0]), table.get("group", service[1]))
    if given not in (ids, (context.account, context.account), (context.account, ids[1])):
        yield Evidence("storage proxy", where, f"{given[0]}:{given[1]}", f"{ids[0]}:{ids[1]}")


def local(machine: Machine, context: Context) -> Finding:
    """Directories of /vfroot that are no mounts; the guide's own command for them does not work."""
    ids = _ids(machine, context)
    places = _local(machine)
    if ids is None or not places:
        return LOCAL.not_applicable("no local volume on this node")
    wrong = [(path, whose) for path, whose in places if whose != ids]
    if not wrong:
        return LOCAL.ok()
    return LOCAL.problem(
        f"A local volume does not belong to {context.account}",
        [Evidence(path, "owner", f"{whose[0]}:{whose[1]}", f"{ids[0]}:{ids[1]}") for path, whose in wrong],
        cause="The guide's «chown -R ${UID}.${GID}» fails: bash has no variable GID, and the dot is no separator.",
        guidance="Give the directory itself to the account; what it holds keeps its owner.",
        remedy=[
            Directory(id=f"storage.{path.rpartition('/')[2]}.owner", path=path, owner=context.account)
            for path, _whose in wrong
        ],
    )


def layout(machine: Machine, context: Context) -> Finding:
    """version.txt at the top of each volume."""
    places = [path for path, _ids in _local(machine)] + [
        share.target for share in shares(machine) if share.is_mounted
    ]
    if not places:
        return LAYOUT.not_applicable("no volume on this node")
    told = [(path, VersionFile(id="x", path=path, owner=context.account).complaint(machine)) for path in places]
    wrong = [(path, said) for path, said in told if said]
    if not wrong:
        return LAYOUT.ok()
    return LAYOUT.warning(
        "The storage proxy will take a volume for an old layout",
        [Evidence(path, NAME, said, "3") for path, said in wrong],
        cause="Without version.txt it says «Detected an old vfolder structure» and asks for a migration.",
        guidance=f"If the volume is new: «echo 3 > {wrong[0][0]}/{NAME}» as {context.account}, once for all nodes. "
        "If it holds vfolders of an older release, follow the vendor's migration instead.",
    )


def _ids(machine: Machine, context: Context) -> tuple[int, int] | None:
    account = machine.account(context.account)
    return (account.uid, account.gid) if account else None


def _remote(machine: Machine) -> list[Share]:
    return [share for share in shares(machine) if share.is_mounted and share.is_remote]


def _local(machine: Machine) -> list[tuple[str, tuple[int, int]]]:
    taken = {share.target for share in shares(machine)}
    paths = [path for name in machine.names(ROOT) if (path := f"{ROOT}/{name}") not in taken]
    entries = ((path, machine.entry(path)) for path in paths)
    return [(path, (entry.uid, entry.gid)) for path, entry in entries if entry and entry.type == "directory"]


def _may(machine: Machine, share: Share, uid: int, gid: int) -> bool:
    answer = touch(machine, "may", share.target, str(uid), str(gid))
    if "may" not in answer:
        raise CannotTell(f"{share.target}: {answer.get('text')}")
    return bool(answer["may"])


def _whose(machine: Machine, share: Share) -> str:
    looked = touch(machine, "look", share.target)
    mode = looked.get("mode")
    return f"{looked.get('uid')}:{looked.get('gid')} mode {mode:04o}" if isinstance(mode, int) else "unknown"


# Nobody can say whose a share is that does not answer, or answers for a directory that is no more.
NEEDS = ("nfs-hung", "nfs-stale-handle")
CHECKS = (
    MISMATCH.check(mismatch, needs=NEEDS, deadline=20.0, needs_root=True),
    SQUASH.check(squash, needs=NEEDS, deadline=20.0, needs_root=True),
    IDMAP.check(idmap, needs=NEEDS, deadline=10.0),
    AGREE.check(agree, needs=NEEDS, deadline=15.0),
    LOCAL.check(local),
    LAYOUT.check(layout, needs=NEEDS, deadline=10.0),
)
