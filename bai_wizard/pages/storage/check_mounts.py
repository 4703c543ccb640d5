"""Whether the volumes of fstab and the mounts are valid, mounted, responding, and mounted at the next boot."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from functools import partial

from msgspec import Struct

from bai_wizard.core.errors import StateUnknown, TimedOut
from bai_wizard.core.machine import Machine
from bai_wizard.core.page import Context, Evidence
from bai_wizard.core.parse import json_value
from bai_wizard.core.paths import family, is_network, may_hang
from bai_wizard.core.state import Mount
from bai_wizard.core.step import Step
from bai_wizard.node.deadline import map_concurrently
from bai_wizard.node.mounts import parse_mountinfo
from bai_wizard.pages.check import NotApplicable, Outcome, check, not_applicable, ok, problem, warning
from bai_wizard.pages.storage import volume_probes
from bai_wizard.pages.storage.fstab import (
    FSTAB,
    FstabEntry,
    fstab_faults,
    fstab_text,
    own_entries,
    parse_fstab,
    with_options,
)
from bai_wizard.pages.storage.mount_steps import MountVolume
from bai_wizard.pages.storage.options import judge, kind_of, merged, name_of, split
from bai_wizard.pages.storage.sources import is_bind, is_same_mount
from bai_wizard.pages.storage.volume_steps import touch
from bai_wizard.steps.files import BlockDamaged, EditLines

ROOT = "/vfroot"


class Share(Struct, frozen=True):
    """A path under /vfroot that is in fstab or mounted. `ours` is whether its line is in our block."""

    target: str
    entry: FstabEntry | None
    mount: Mount | None
    ours: bool = False

    @property
    def is_mounted(self) -> bool:
        """Whether the file system itself is mounted, not only its automount point."""
        return self.mount is not None and self.mount.fstype != "autofs"

    @property
    def shown(self) -> Mount | FstabEntry | None:
        """Where source and type are taken from: the mount, otherwise the line in fstab."""
        return self.mount if self.is_mounted else self.entry

    @property
    def source(self) -> str:
        """What is mounted, or is to be mounted."""
        return self.shown.source if self.shown else ""

    @property
    def is_nfs(self) -> bool:
        """Whether it is NFS of any version, mounted or only in fstab."""
        return self.shown is not None and family(self.shown.fstype) == "nfs"

    @property
    def is_remote(self) -> bool:
        """Whether it depends on a server."""
        return self.shown is not None and may_hang(self.shown.fstype)

    @property
    def used(self) -> tuple[str, ...]:
        """The options in use; none if it is not mounted."""
        return split(self.mount.options) if self.mount else ()

    @property
    def written(self) -> tuple[str, ...]:
        """The options in fstab; none without a line."""
        return split(self.entry.options) if self.entry else ()

    def remedy(self) -> tuple[MountVolume, ...]:
        """Return the step that mounts it by our line; none for a line that is not ours."""
        line = self.entry
        if line is None or not self.ours:
            return ()
        return (
            MountVolume(
                id=f"storage.{self.target.rpartition('/')[2]}.mount",
                source=line.source,
                target=self.target,
                fstype=line.fstype,
                options=line.options,
                automount=line.has("x-systemd.automount"),
            ),
        )


def shares(machine: Machine) -> tuple[Share, ...]:
    """Return every volume under /vfroot, and those of our block elsewhere. Raises StateUnknown."""
    text = fstab_text(machine)
    try:
        own = {entry.target for entry in own_entries(text)}
    except BlockDamaged:
        own = set()
    listed = {entry.target: entry for entry in parse_fstab(text) if _is_volume(entry.target) or entry.target in own}
    mountinfo = machine.kernel_text("/proc/self/mountinfo")
    if mountinfo is None:
        raise StateUnknown("/proc/self/mountinfo does not exist")
    mounted = [line.point for line in parse_mountinfo(mountinfo) if _is_volume(line.point)]
    targets = dict.fromkeys([*listed, *mounted])
    return tuple(Share(target, listed.get(target), machine.mount(target), target in own) for target in targets)


def _is_volume(path: str) -> bool:
    return path.startswith(f"{ROOT}/")


def select(machine: Machine, wanted: Callable[[Share], object], absent: str) -> list[Share]:
    """Return the volumes for which `wanted` holds. Raises NotApplicable with the reason `absent` without any."""
    result = [share for share in shares(machine) if wanted(share)]
    if not result:
        raise NotApplicable(absent)
    return result


def is_mounted_share(share: Share) -> bool:
    """Whether a share of a server is mounted."""
    return share.is_mounted and share.is_remote


# Where container engines keep their own mounts.
ENGINE_DIRECTORIES = ("/var/lib/", "/run/")
NO_SHARED_VOLUME = "this node has no shared volume"
NEEDS_RESPONSE = ("storage.nfs-hung",)


@check("storage.nfs-hung", root_cause=True, deadline=30.0)
def responding(machine: Machine, context: Context) -> Outcome:
    """Every mounted share responds in time; all are queried at once, because many may be on one silent server."""
    mounted = select(machine, is_mounted_share, NO_SHARED_VOLUME)

    def ask(share: Share) -> Evidence | None:
        try:
            touch(machine, "look", share.target, deadline=3.0)
        except StateUnknown as error:
            result = "no response within 3 s" if isinstance(error, TimedOut) else str(error)
            return Evidence(share.target, share.source, result, "a response within 3 s")
        return None

    return problem(*(evidence for evidence in map_concurrently(ask, mounted) if evidence))


@check("storage.nfs-stale-handle", needs=NEEDS_RESPONSE, deadline=20.0)
def handles_valid(machine: Machine, context: Context) -> Outcome:
    """No export was re-created on its server: its file handles would have changed."""
    mounted = select(machine, is_mounted_share, NO_SHARED_VOLUME)
    old = [share for share in mounted if touch(machine, "look", share.target).get("errno") == errno.ESTALE]
    if not old:
        return ok()
    evidence = (Evidence(share.target, share.source, "stale file handle", "a directory") for share in old)
    return problem(*evidence, path=old[0].target)


@check("storage.not-mounted", needs=NEEDS_RESPONSE, deadline=10.0)
def mounted(machine: Machine, context: Context) -> Outcome:
    """An unmounted volume looks like an empty directory, and data silently goes to the root disk."""
    wanted = select(machine, lambda share: share.entry and not share.entry.has("noauto"), "fstab has no volume")
    absent = [share for share in wanted if share.mount is None]
    others = [share for share in wanted if _shows_another(machine, share)]
    evidence = [Evidence(share.target, "/proc/self/mountinfo", f"shows {share.source}", share.entry.source)
                for share in others if share.entry]  # fmt: skip
    for share in absent:
        names = machine.names(share.target)
        result = (
            f"not mounted; {len(names)} files on the root disk: {', '.join(names[:5])}" if names else "not mounted"
        )
        evidence.append(Evidence(share.target, "/proc/self/mountinfo", result, share.source))
    steps = [step for share in absent if not machine.names(share.target) for step in share.remedy()]
    return problem(*evidence, remedy=steps)


def _shows_another(machine: Machine, share: Share) -> bool:
    """Whether a bind mount shows a directory that has since been covered by a mount of its own file system."""
    entry = share.entry
    if entry is None or share.mount is None or not share.is_mounted or not is_bind(entry.options):
        return False
    return not is_same_mount(machine, share.mount, entry.source, entry.fstype, entry.options)


@check("storage.hidden-files", needs=NEEDS_RESPONSE, deadline=15.0, needs_root=True)
def nothing_hidden(machine: Machine, context: Context) -> Outcome:
    """No files were written below a mount point while nothing was mounted there."""
    mounted = select(machine, lambda share: share.is_mounted, "no volume is mounted")
    hidden = ((share.target, _below(machine, share.target)) for share in mounted)
    return warning(
        *(
            Evidence(target, "under the mount", ", ".join(names[:5]), "an empty directory")
            for target, names in hidden
            if names
        )
    )


@check("storage.same-source")
def one_path(machine: Machine, context: Context) -> Outcome:
    """No volume is mounted at two paths: other nodes know it by only one of them."""
    found = select(machine, lambda share: share.is_remote and share.source, NO_SHARED_VOLUME)
    paths: dict[str, dict[str, None]] = {share.source: {} for share in found}
    shown = {share.target for share in found if share.entry and is_bind(share.entry.options)}
    for share in found:
        if share.target not in shown:
            paths[share.source][share.target] = None
    for line in parse_mountinfo(machine.kernel_text("/proc/self/mountinfo") or ""):
        if line.mount().source in paths and line.point not in shown and not line.point.startswith(ENGINE_DIRECTORIES):
            paths[line.mount().source][line.point] = None
    double = {source: targets for source, targets in paths.items() if len(targets) > 1}
    return warning(
        *(Evidence(source, "mount points", ", ".join(targets), "one path") for source, targets in double.items())
    )


def _below(machine: Machine, target: str) -> list[str]:
    answer = machine.query([sys.executable, "-I", "-S", volume_probes.__file__, "hidden", target], deadline=4.0)
    if answer.code != 0:
        raise StateUnknown(f"cannot list the files hidden at {target}: {answer.err.strip()[-200:]}")
    names = json_value(answer.out)
    if not isinstance(names, list):
        raise StateUnknown(f"cannot list the files hidden at {target}: {names.get('text')}")
    return names


@check("storage.fstab-invalid", deadline=8.0)
def fstab_valid(machine: Machine, context: Context) -> Outcome:
    """Every line of fstab passes our own rules and findmnt, and has no options unknown to the share's client."""
    text = fstab_text(machine)
    errors = [Evidence("line", FSTAB, fault, "a valid line") for fault in fstab_faults(text)]
    errors += [Evidence("findmnt --verify", FSTAB, output, "no errors") for output in _findmnt(machine)]
    doubts = []
    for entry in parse_fstab(text):
        if len(entry.options) > LONGEST_OPTIONS:
            doubts.append(
                Evidence(entry.target, f"line {entry.number}", f"{len(entry.options)} bytes of options", "")
            )
            continue
        if len(doubts) >= MAX_DOUBTS:
            break
        judged = judge(kind_of(family(entry.fstype)), split(entry.options))
        doubts += [
            Evidence(entry.target, f"line {entry.number}", output, "") for output in judged.refused + judged.warned
        ]
    if errors:
        return problem(*errors[:MAX_DOUBTS], *doubts)
    return warning(*doubts, variant="unusual-options")


@check("storage.nfs-boot-hang")
def boot_independent(machine: Machine, context: Context) -> Outcome:
    entries = [entry for entry in parse_fstab(fstab_text(machine)) if is_network(entry.fstype)]
    if not entries:
        return not_applicable("fstab has no network file system")
    wrong = [entry for entry in entries if _holds_the_boot(entry)]
    evidence = (
        Evidence(entry.target, f"line {entry.number}", entry.options, "nofail and _netdev") for entry in wrong
    )
    return problem(*evidence, remedy=_with_nofail(machine, wrong))


# Bytes of options that mount(2) accepts, and how many unusual options a finding lists.
LONGEST_OPTIONS = 4096
MAX_DOUBTS = 100
# Options that mountinfo shows as given; read and write sizes are negotiated with the server instead.
SHOWN = ("nconnect", "proto", "lookupcache", "timeo", "retrans", "sec", "ro", "pquota", "flock", "hard")
ALSO_CALLED = {"pquota": "prjquota"}


@check("storage.options-stale")
def options_in_effect(machine: Machine, context: Context) -> Outcome:
    """Most options take effect only when the volume is mounted; later changes wait for the next mount."""
    evidence = []
    for share in select(machine, lambda share: share.is_mounted and share.entry, "no volume in fstab is mounted"):
        for option in share.written:
            name = name_of(option)
            if name in SHOWN and option not in share.used and ALSO_CALLED.get(name) not in share.used:
                now = next((other for other in share.used if name_of(other) == name), "not in use")
                evidence.append(Evidence(share.target, name, now, option))
    return warning(*evidence, path=evidence[0].what) if evidence else ok()


def _holds_the_boot(entry: FstabEntry) -> bool:
    waits = not (entry.has("nofail") or entry.has("noauto") or entry.has("x-systemd.automount"))
    return waits or entry.has("bg")


def _independent(entry: FstabEntry, options: tuple[str, ...]) -> tuple[str, ...]:
    kept = tuple(option for option in options if option not in ("bg", "defaults"))
    timeout = () if entry.has("x-systemd.mount-timeout") else ("x-systemd.mount-timeout=30",)
    return merged(kept, ("_netdev", "nofail"), timeout)


def _with_nofail(machine: Machine, wrong: list[FstabEntry]) -> tuple[Step, ...]:
    lines = fstab_text(machine).split("\n")
    pairs = []
    for entry in wrong:
        line = lines[entry.number - 1]
        pairs.append((line, with_options(line, partial(_independent, entry))))
    return (
        EditLines(
            id="storage.fstab", path=FSTAB, replacements=tuple(pairs), why="boot continues without unavailable shares"
        ),
    )


def _findmnt(machine: Machine) -> tuple[str, ...]:
    try:
        answer = machine.query(["findmnt", "--verify"], deadline=5.0)
    except StateUnknown:
        return ()
    return parse_verify(answer.out + answer.err) if answer.code else ()


def parse_verify(text: str) -> tuple[str, ...]:
    """The errors of `findmnt --verify`, each with its mount point."""
    result, heading = [], ""
    for line in text.splitlines():
        if "[E]" in line:
            result.append(f"{heading}: {line.replace('[E]', '').strip()}")
        elif "parse error at" in line:
            result.append(line.strip())
        elif line and not line[0].isspace():
            heading = line.strip()
    return tuple(result)
