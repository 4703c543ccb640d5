"""Whether shares are mounted, answer, and are what they seem."""

from __future__ import annotations

import errno
import json
import sys

from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.finding import Evidence, Finding
from bai_wizard.core.machine import Machine
from bai_wizard.machine.deadline import side_by_side
from bai_wizard.machine.readers.mounts import parse_mountinfo
from bai_wizard.pages.storage import beneath
from bai_wizard.pages.storage.shares import Share, shares
from bai_wizard.pages.subject import Subject
from bai_wizard.steps.mounted_source import is_bind, is_same_mount
from bai_wizard.steps.volume_writers import touch

PAGE = "storage"
# Where container engines keep mounts of their own.
OTHERS = ("/var/lib/", "/run/")
NONE = "no shared volume on this node"
HUNG = Subject("nfs-hung", PAGE, "Shares answer", owner="site")
STALE = Subject("nfs-stale-handle", PAGE, "No share was replaced on its server", owner="site")
MISSING = Subject("storage-not-mounted", PAGE, "Every volume of fstab is mounted")
HIDDEN = Subject("storage-hidden-files", PAGE, "Nothing lies hidden under the mounted volumes", owner="site")
TWICE = Subject("storage-same-source", PAGE, "Every volume is mounted at one path", owner="site")


def hung(machine: Machine, context: Context) -> Finding:
    """Every mounted share is looked at by a child with a deadline, all at once: forty may be of one silent server."""
    mounted = [share for share in shares(machine) if share.is_mounted and share.is_remote]
    if not mounted:
        return HUNG.not_applicable(NONE)

    def ask(share: Share) -> Evidence | None:
        try:
            touch(machine, "look", share.target, deadline=3.0)
        except CannotTell as error:
            found = str(error).removeprefix(f"{sys.executable} gave ")
            return Evidence(share.target, _source(share), found, "an answer within 3 s")
        return None

    silent = [evidence for evidence in side_by_side(ask, mounted) if evidence]
    if not silent:
        return HUNG.ok()
    return HUNG.problem(
        "A share does not answer",
        silent,
        cause="Its server is off, or the network to it is cut: hard mounts wait for as long as it takes, by design.",
        guidance="Bring the server or the network back: waiting programs go on where they stopped. Only if it will "
        "never come back: «umount -f -l PATH», then end what still waits.",
        risk="Soft mounts would end the wait, and lose data silently: they are not offered.",
    )


def stale(machine: Machine, context: Context) -> Finding:
    """An export that was made anew has other file handles."""
    mounted = [share for share in shares(machine) if share.is_mounted and share.is_remote]
    if not mounted:
        return STALE.not_applicable(NONE)
    old = [share for share in mounted if touch(machine, "look", share.target).get("errno") == errno.ESTALE]
    if not old:
        return STALE.ok()
    return STALE.problem(
        "A share was replaced on its server",
        [Evidence(share.target, _source(share), "stale file handle", "the directory") for share in old],
        cause="The export was made anew, or moved to another server without the same fsid.",
        guidance=f"Stop what uses it (fuser -vm {old[0].target}), «umount -l {old[0].target}», mount it again, and "
        "restart the containers that show it.",
        risk="After a lazy unmount, programs that were not stopped go on with the old tree.",
    )


def missing(machine: Machine, context: Context) -> Finding:
    """A volume that is not mounted looks like an empty directory: data goes to the root disk, silently."""
    wanted = [share for share in shares(machine) if share.entry and not share.entry.has("noauto")]
    if not wanted:
        return MISSING.not_applicable("no volume in fstab")
    absent = [share for share in wanted if share.mount is None]
    others = [share for share in wanted if _shows_another(machine, share)]
    if not absent and not others:
        return MISSING.ok()
    evidence = [Evidence(share.target, "/proc/self/mountinfo", f"shows {_source(share)}", share.entry.source)
                for share in others if share.entry]  # fmt: skip
    for share in absent:
        names = machine.names(share.target)
        found = (
            f"not mounted; {len(names)} files on the root disk: {', '.join(names[:5])}" if names else "not mounted"
        )
        evidence.append(Evidence(share.target, "/proc/self/mountinfo", found, _source(share)))
    return MISSING.problem(
        "A volume is not mounted: what is written there goes to the root disk",
        evidence,
        cause="Mounting failed at boot, or came after the services. The directory exists, so nothing complained.",
        guidance="Stop what writes there, mount it, then move what was written meanwhile into the volume by hand. "
        "Where the server often comes up later than the nodes, automount = true mounts at the first use instead.",
        risk="Files written meanwhile are hidden by the mount, and may be newer than those of the volume.",
        remedy=tuple(step for share in absent if not machine.names(share.target) for step in share.remedy()),
    )


def _shows_another(machine: Machine, share: Share) -> bool:
    """A directory that was shown (bind) before its own file system was mounted there: what was beneath is shown."""
    entry = share.entry
    if entry is None or share.mount is None or not share.is_mounted or not is_bind(entry.options):
        return False
    return not is_same_mount(machine, share.mount, entry.source, entry.fstype, entry.options)


def hidden(machine: Machine, context: Context) -> Finding:
    """Files under a mount point were written while nothing was mounted there."""
    mounted = [share for share in shares(machine) if share.is_mounted]
    if not mounted:
        return HIDDEN.not_applicable("no volume is mounted")
    found: list[Evidence] = []
    for share in mounted:
        names = _beneath(machine, share.target)
        if names:
            found.append(Evidence(share.target, "under the mount", ", ".join(names[:5]), "an empty directory"))
    if not found:
        return HIDDEN.ok()
    return HIDDEN.warning(
        "Files lie hidden under a mounted volume",
        found,
        cause="They were written to the root disk while the volume was not mounted.",
        guidance="Stop what uses the volume, unmount it, move the files aside, mount it again, and compare.",
        risk="They may be newer than those of the same name in the volume.",
    )


def twice(machine: Machine, context: Context) -> Finding:
    """One volume at two paths means that something on this node knows it by another path than other nodes do."""
    found = [share for share in shares(machine) if share.is_remote and _source(share)]
    if not found:
        return TWICE.not_applicable(NONE)
    places: dict[str, dict[str, None]] = {_source(share): {} for share in found}
    shown = {share.target for share in found if share.entry and is_bind(share.entry.options)}
    for share in found:
        if share.target not in shown:
            places[_source(share)][share.target] = None
    for line in parse_mountinfo(machine.kernel_text("/proc/self/mountinfo") or ""):
        if line.mount().source in places and line.point not in shown and not line.point.startswith(OTHERS):
            places[line.mount().source][line.point] = None
    double = {source: tuple(targets) for source, targets in places.items() if len(targets) > 1}
    if not double:
        return TWICE.ok()
    return TWICE.warning(
        "One volume is mounted at two paths",
        [Evidence(source, "mount points", ", ".join(targets), "one path") for source, targets in double.items()],
        cause="It was mounted by hand, or a second time under a new name.",
        guidance="Keep the path that all other nodes have: Backend.AI knows a volume by its path.",
    )


def _source(share: Share) -> str:
    return share.mount.source if share.mount and share.is_mounted else share.entry.source if share.entry else ""


def _beneath(machine: Machine, target: str) -> list[str]:
    answer = machine.look([sys.executable, "-I", "-S", beneath.__file__, target], deadline=4.0)
    if answer.code != 0:
        raise CannotTell(f"cannot look under {target}: {answer.err.strip()[-200:]}")
    names = json.loads(answer.out)
    if not isinstance(names, list):
        raise CannotTell(f"cannot look under {target}: {names.get('text')}")
    return names


CHECKS = (
    HUNG.check(hung, root_cause=True, deadline=30.0),
    STALE.check(stale, needs=("nfs-hung",), deadline=20.0),
    MISSING.check(missing, needs=("nfs-hung",), deadline=10.0),
    HIDDEN.check(hidden, needs=("nfs-hung",), deadline=15.0, needs_root=True),
    TWICE.check(twice),
)
