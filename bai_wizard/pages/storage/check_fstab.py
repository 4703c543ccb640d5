"""Whether fstab is right, and what the next boot makes of it."""

from __future__ import annotations

from dataclasses import replace

from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.finding import Evidence, Finding
from bai_wizard.core.machine import Machine
from bai_wizard.core.step import Step
from bai_wizard.pages.storage.options import judge, kind_of, merged, name_of, split
from bai_wizard.pages.storage.shares import fstab_text, shares
from bai_wizard.pages.subject import Subject
from bai_wizard.steps.edit_lines import EditLines
from bai_wizard.steps.fstab import FSTAB, FstabEntry, faults, parse
from bai_wizard.steps.mounted_source import family

PAGE = "storage"
INVALID = Subject("fstab-invalid", PAGE, "fstab has no faults")
EFFECT = Subject("storage-options-stale", PAGE, "Volumes are mounted with the options of fstab")
BOOT = Subject("nfs-boot-hang", PAGE, "The boot does not wait for shares")
NETWORK = ("nfs", "ceph", "lustre", "cifs", "glusterfs", "fuse.glusterfs")


def invalid(machine: Machine, context: Context) -> Finding:
    """Our own look at every line, what findmnt says, and options of shares that no client knows."""
    text = fstab_text(machine)
    told = [Evidence("line", FSTAB, fault, "a line that mounts") for fault in faults(text)]
    told += [Evidence("findmnt --verify", FSTAB, said, "no errors") for said in _findmnt(machine)]
    doubts = []
    for entry in parse(text):
        judged = judge(kind_of(family(entry.fstype)), split(entry.options))
        doubts += [
            Evidence(entry.target, f"line {entry.number}", said, "") for said in judged.refused + judged.warned
        ]
    if told:
        return INVALID.problem(
            "A line of fstab is wrong",
            [*told, *doubts],
            cause="It was edited by hand, or two tools wrote it. A boot may end in the emergency shell.",
            guidance="Correct the line, then «systemctl daemon-reload» and mount that one path; not «mount -a», "
            "which mounts other people's lines too.",
        )
    if doubts:
        return INVALID.warning(
            "Options in fstab deserve a look",
            doubts,
            cause="findmnt accepts any word as an option; the mount fails, or does what nobody meant.",
            guidance="Compare with the client's manual page (nfs(5), mount.ceph(8)).",
        )
    return INVALID.ok()


def boot(machine: Machine, context: Context) -> Finding:
    """Network file systems are required for the boot unless their lines say otherwise."""
    entries = [entry for entry in parse(fstab_text(machine)) if family(entry.fstype) in NETWORK]
    if not entries:
        return BOOT.not_applicable("no network file system in fstab")
    wrong = [entry for entry in entries if _holds_the_boot(entry)]
    if not wrong:
        return BOOT.ok()
    return BOOT.problem(
        "The boot waits for a share, or ends in the emergency shell without it",
        [Evidence(entry.target, f"line {entry.number}", entry.options, "nofail and _netdev") for entry in wrong],
        cause="What fstab names is required for the boot by default; `bg` only pretends that it is mounted.",
        guidance="Add nofail, _netdev and a time limit, and let services that need the share require the mount "
        "(RequiresMountsFor=).",
        risk="With nofail services may start without the share: the guard keeps them from writing to the root disk.",
        remedy=_with_nofail(machine, wrong),
    )


# Options that mountinfo shows as they are given; sizes of reads and writes are agreed on with the server instead.
SHOWN = ("nconnect", "proto", "lookupcache", "timeo", "retrans", "sec", "ro", "pquota", "flock", "hard")
ALSO_CALLED = {"pquota": "prjquota"}


def effect(machine: Machine, context: Context) -> Finding:
    """Most options are taken at mounting only: what was changed since waits for the next one."""
    mounted = [share for share in shares(machine) if share.is_mounted and share.entry]
    if not mounted:
        return EFFECT.not_applicable("no volume of fstab is mounted")
    evidence = []
    for share in mounted:
        used = split(share.mount.options if share.mount else "")
        for option in split(share.entry.options if share.entry else ""):
            name = name_of(option)
            if name in SHOWN and option not in used and ALSO_CALLED.get(name) not in used:
                now = next((other for other in used if name_of(other) == name), "not in use")
                evidence.append(Evidence(share.target, name, now, option))
    if not evidence:
        return EFFECT.ok()
    return EFFECT.warning(
        "Options of fstab are not in effect yet",
        evidence,
        cause="fstab was changed after the volume was mounted.",
        guidance=f"When nobody uses it: «umount {evidence[0].what}» and «mount {evidence[0].what}», or reboot.",
    )


def _holds_the_boot(entry: FstabEntry) -> bool:
    waits = not (entry.has("nofail") or entry.has("noauto") or entry.has("x-systemd.automount"))
    return waits or entry.has("bg")


def _with_nofail(machine: Machine, wrong: list[FstabEntry]) -> tuple[Step, ...]:
    lines = fstab_text(machine).split("\n")
    pairs = []
    for entry in wrong:
        kept = tuple(option for option in split(entry.options) if option not in ("bg", "defaults"))
        options = merged(kept, ("_netdev", "nofail"), () if entry.has("x-systemd.mount-timeout") else
                         ("x-systemd.mount-timeout=30",))  # fmt: skip
        pairs.append((lines[entry.number - 1], replace(entry, options=",".join(options)).render()))
    return (
        EditLines(id="storage.fstab", path=FSTAB, replacements=tuple(pairs), why="the boot goes on without shares"),
    )


def _findmnt(machine: Machine) -> tuple[str, ...]:
    try:
        answer = machine.look(["findmnt", "--verify"], deadline=5.0)
    except CannotTell:
        return ()
    if answer.code == 0:
        return ()
    return parse_verify(answer.out + answer.err)


def parse_verify(text: str) -> tuple[str, ...]:
    """The errors of `findmnt --verify`, each with the mount point whose heading it stands under."""
    found, heading = [], ""
    for line in text.splitlines():
        if "[E]" in line:
            found.append(f"{heading}: {line.replace('[E]', '').strip()}")
        elif "parse error at" in line:
            found.append(line.strip())
        elif line and not line[0].isspace():
            heading = line.strip()
    return tuple(found)


CHECKS = (INVALID.check(invalid, deadline=8.0), BOOT.check(boot), EFFECT.check(effect))
