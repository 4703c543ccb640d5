"""What the Account page reads from a node."""

from __future__ import annotations

from pathlib import PurePosixPath

from msgspec import Struct

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.machine import Machine
from bai_wizard.core.page import Absent, Context, Fact, Finding, Known, Unknown, read_fact
from bai_wizard.core.paths import may_hang
from bai_wizard.core.secret import Secret, resolve
from bai_wizard.core.state import Account
from bai_wizard.pages.account.checks import nsswitch, password_expired, reach
from bai_wizard.pages.account.settings import AccountSettings
from bai_wizard.pages.account.sshd import sshd_fault
from bai_wizard.pages.account.sudo_rules import sudo_fault
from bai_wizard.pages.check import unfixed

ABSENT = Absent()


class AccountFacts(Struct, frozen=True):
    """`account` is the current account of that name. `hash` is the desired password hash, or Absent.

    `uid_held_by` and `gid_held_by` are the names that have the UID and GID in a directory service, if any;
    `holders_unknown` is the reason if that cannot be determined. `groups` are those that list the account.
    `home_fault` is why the home cannot be created where the answers place it, empty if it can.
    `lacks_sudo`: neither the program nor the package is installed. `sudo_conflict` is the reason why sudo does not
    follow the answers despite the wizard's own rule, empty if it does. `sshd_conflict` is the reason why sshd rejects
    the keys in the answers, empty if it does not. `unfixed` are problems with logins or access that no step of the
    page fixes.
    """

    account: Fact[Account] = ABSENT
    hash: Fact[Secret] = ABSENT
    uid_held_by: str = ""
    gid_held_by: str = ""
    holders_unknown: str = ""
    groups: tuple[str, ...] = ()
    home_fault: str = ""
    lacks_sudo: bool = False
    sudo_conflict: str = ""
    sshd_conflict: str = ""
    unfixed: tuple[Finding, ...] = ()


# Exit status of getent(1) if the database has no such key.
NOT_FOUND = 2


def probe(machine: Machine, settings: AccountSettings, context: Context) -> AccountFacts:
    """The facts of the account. Exceptions of the password's source are not caught."""
    account = read_fact(lambda: machine.account(settings.username))
    uid_held_by = gid_held_by = holders_unknown = ""
    try:
        uid_held_by = _holder(machine, "passwd", settings.uid, settings.username, account)
        gid_held_by = _holder(machine, "group", settings.gid, "", account)
    except StateUnknown as error:
        holders_unknown = f"cannot determine whether a directory service already uses the UID or GID: {error}"
    return AccountFacts(
        account=account,
        hash=wanted_hash(machine, settings),
        uid_held_by=uid_held_by,
        gid_held_by=gid_held_by,
        holders_unknown=holders_unknown,
        groups=tuple(group.name for group in machine.groups() if machine.is_member(settings.username, group.name)),
        home_fault=home_fault(machine, settings) if settings.source == "local" else "",
        lacks_sudo=lacks_sudo(machine),
        sudo_conflict=sudo_fault(machine, settings),
        sshd_conflict=sshd_fault(machine, settings),
        unfixed=(
            *unfixed(machine, context, password_expired, results=("problem",)),
            *unfixed(machine, context, reach, nsswitch),
        ),
    )


def home_fault(machine: Machine, settings: AccountSettings) -> str:
    """Why root cannot create the account's home; empty if it can, if the home exists, or if that is unknown."""
    home = settings.home_directory
    parents = [str(path) for path in reversed(PurePosixPath(home).parents)][1:]
    fault = ""
    existing = "/"
    try:
        # From the root down: nothing below a world-writable directory is read.
        for path in parents:
            fault = _directory_fault(machine, path)
            if fault or machine.entry(path) is None:
                break
            existing = path
        if not fault.startswith("all users") and machine.entry(home) is not None:
            return ""
        fault = fault or _mount_fault(machine, existing)
    except StateUnknown:
        return ""  # the step that creates the home reads it again and reports the reason
    return f"{home} cannot be used: {fault}; correct that, or set `home` in [account]" if fault else ""


def _directory_fault(machine: Machine, path: str) -> str:
    entry = machine.entry(path)
    if entry is None:
        return ""
    if entry.type == "link":
        return f"{path} is a link to {entry.target}, and the wizard does not follow links there"
    if entry.type != "directory":
        return f"{path} is a {entry.type}, not a directory"
    return f"all users can write to {path} (mode {entry.mode:04o})" if entry.mode & 0o002 else ""


def _mount_fault(machine: Machine, path: str) -> str:
    """Why nothing can be created on the file system of an existing directory."""
    points = (path, *map(str, PurePosixPath(path).parents))
    point, mount = next(((point, found) for point in points if (found := machine.mount(point))), ("", None))
    if mount is None:
        return ""
    if mount.fstype == "autofs":
        return f"{point} belongs to the automounter (autofs), and only it can create directories there"
    if "ro" in mount.options.split(","):
        return f"{point} is mounted read-only"
    if machine.is_root and may_hang(mount.fstype) and machine.query(("test", "-w", path)).code == 1:
        return f"root cannot write to {path}, which is on {mount.source} ({mount.fstype}); the server squashes root"
    return ""


def lacks_sudo(machine: Machine) -> bool:
    """Whether both the program and the package are missing; sudo-rs provides the program too."""
    try:
        return "sudo" not in machine.names("/usr/bin") and machine.package("sudo") is None
    except StateUnknown:
        return False  # the step that needs it reads it again and reports the reason


def _holder(machine: Machine, database: str, number: int, own: str, account: Fact[Account]) -> str:
    """The name that has a UID or GID in a directory service; empty if a local entry has it: none is queried then."""
    local = (
        any(entry.uid == number for entry in machine.accounts())
        if database == "passwd"
        else any(group.gid == number for group in machine.groups())
    )
    if local or (isinstance(account, Known) and not account.value.local):
        return ""
    answer = machine.query(("getent", database, str(number)))
    name = answer.out.partition(":")[0] if answer.code == 0 else ""
    if answer.code not in (0, NOT_FOUND):
        raise StateUnknown(f"getent {database} {number} exited with status {answer.code}: {answer.err.strip()}")
    return "" if name == own else name


def wanted_hash(machine: Machine, settings: AccountSettings) -> Fact[Secret]:
    """The desired hash: the current one if it matches the clear text, otherwise a new one."""
    if settings.password_hash is not None:
        return Known(settings.password_hash)
    if settings.password is None:
        return Absent()
    try:
        current = machine.password(settings.username)
    except StateUnknown as error:
        return Unknown(f"cannot determine whether the password changes: {error}")
    clear = resolve("account.password", settings.password)
    if clear is None:
        return Unknown("the password is requested when the plan is applied")
    from bai_wizard.node.passwords import hash_password, is_password

    return read_fact(lambda: current.hash if current and is_password(clear, current.hash) else hash_password(clear))
