"""What the doctor looks at in the operation account."""

from __future__ import annotations

import re

from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.finding import Evidence, Finding
from bai_wizard.core.machine import Machine
from bai_wizard.core.state import Account
from bai_wizard.pages.account import check_password
from bai_wizard.pages.subject import Subject
from bai_wizard.steps.home import WRITABLE_BY_OTHERS, Home
from bai_wizard.steps.sudo import DROP_INS, Sudo

PAGE = "account"
UID = Subject("acct-uid-taken", PAGE, "The account's uid belongs to it alone")
OTHER_UID = Subject("acct-user-other-uid", PAGE, "The account has its numbers")
GID = Subject("acct-gid-taken", PAGE, "The account's gid belongs to its own group")
SHELL = Subject("account.shell", PAGE, "The account can log in to a shell")
HOME = Subject("account.home", PAGE, "The account's home is its own")
KEYS = Subject("account.ssh-modes", PAGE, "sshd accepts the account's keys")
SUDO = Subject("acct-sudo-missing", PAGE, "The account can use sudo")
SUDOERS = Subject("acct-sudoers-syntax", PAGE, "The rules of sudo can be read")
MOVE = "Choose other numbers on all nodes and the shared storage, or move the other one (usermod -u, groupmod -g)."


def _account(machine: Machine, context: Context) -> Account | None:
    return machine.account(context.account)


def uid(machine: Machine, context: Context) -> Finding:
    """Others with the same uid share all files and processes of the account."""
    others = [entry for entry in machine.accounts() if entry.uid == context.uid and entry.name != context.account]
    twice = sum(entry.name == context.account for entry in machine.accounts()) > 1
    evidence = [Evidence(f"uid {context.uid}", "/etc/passwd", other.name, context.account) for other in others]
    if twice:
        evidence.append(Evidence(context.account, "/etc/passwd", "listed twice", "listed once"))
    if not evidence:
        return UID.ok()
    return UID.problem(
        f"uid {context.uid} is not {context.account}'s alone",
        evidence,
        cause="An image's own user or a hand-made one has the number; shared storage knows numbers only.",
        guidance=MOVE,
        risk="Moving an account changes the owner of all of its files, and nothing may run as it meanwhile.",
    )


def other_uid(machine: Machine, context: Context) -> Finding:
    """The account's numbers against the answers'."""
    account = _account(machine, context)
    if account is None:
        return OTHER_UID.not_applicable(f"there is no account {context.account}")
    if (account.uid, account.gid) == (context.uid, context.gid):
        return OTHER_UID.ok()
    return OTHER_UID.problem(
        f"{context.account} has other numbers than the cluster",
        (Evidence("uid:gid", "passwd", f"{account.uid}:{account.gid}", f"{context.uid}:{context.gid}"),),
        cause="The account was made by hand, by an image or by a directory.",
        guidance="Put these numbers into [account] of every node, or renumber the account while nothing runs as it.",
    )


def gid(machine: Machine, context: Context) -> Finding:
    """The group of the account's gid."""
    account = _account(machine, context)
    others = [group.name for group in machine.groups() if group.gid == context.gid and group.name != context.account]
    if not others or (account is not None and account.gid == context.gid):
        return GID.ok()
    return GID.problem(
        f"gid {context.gid} belongs to another group",
        (Evidence(f"gid {context.gid}", "/etc/group", others[0], context.account),),
        cause="Another group took the number first.",
        guidance=MOVE,
    )


def shell(machine: Machine, context: Context) -> Finding:
    """A login shell that is there."""
    account = _account(machine, context)
    if account is None:
        return SHELL.not_applicable(f"there is no account {context.account}")
    directory, _, name = account.shell.rpartition("/")
    # /bin is a link to /usr/bin on today's nodes, and links are not followed.
    installed = {*machine.names(directory or "/"), *machine.names(f"/usr{directory}")}
    if name and name not in ("false", "nologin") and name in installed:
        return SHELL.ok()
    return SHELL.problem(
        f"{context.account} has no login shell",
        (Evidence("shell", "passwd", account.shell or "none", "a shell that is installed"),),
        cause="The shell is not installed, or the account was made for a service only.",
        guidance=f"chsh -s /bin/bash {context.account}",
    )


def home(machine: Machine, context: Context) -> Finding:
    """Owner and mode of the home directory."""
    account = _account(machine, context)
    if account is None or not account.local:
        return HOME.not_applicable(f"there is no local account {context.account}")
    entry = machine.entry(account.home)
    is_its_own = entry is not None and entry.type == "directory" and entry.uid == account.uid
    if is_its_own and entry is not None and not entry.mode & WRITABLE_BY_OTHERS:
        return HOME.ok()
    found = "missing" if entry is None else f"{entry.type}, {entry.attributes()}"
    return HOME.problem(
        f"The home of {context.account} is not its own",
        (Evidence("home", account.home, found, f"directory of {account.uid}, not writable for others"),),
        cause="It was removed, or made or changed by somebody else.",
        guidance="The remedy corrects the directory itself, never what is inside it.",
        remedy=(Home(id="account.home", account=context.account, home=account.home),),
    )


def keys(machine: Machine, context: Context) -> Finding:
    """What sshd's StrictModes asks of the way to the keys."""
    account = _account(machine, context)
    if account is None:
        return KEYS.not_applicable(f"there is no account {context.account}")
    evidence = []
    for path in (f"{account.home}/.ssh", f"{account.home}/.ssh/authorized_keys"):
        entry = machine.entry(path)
        if entry is None:
            return KEYS.not_applicable(f"{path} is not there")
        if entry.uid not in (account.uid, 0) or entry.mode & WRITABLE_BY_OTHERS or entry.type == "link":
            found = f"{entry.type}, {entry.attributes()}"
            evidence.append(Evidence("owner and mode", path, found, f"{account.uid}, not writable for others"))
    if not evidence:
        return KEYS.ok()
    return KEYS.problem(
        f"sshd will refuse the keys of {context.account}",
        evidence,
        cause="sshd takes no keys from a place that others can write to (StrictModes).",
        guidance=f"As {context.account}: chmod 700 ~/.ssh; chmod 600 ~/.ssh/authorized_keys",
    )


def sudo(machine: Machine, context: Context) -> Finding:
    """What sudo itself says of the account."""
    if _account(machine, context) is None:
        return SUDO.not_applicable(f"there is no account {context.account}")
    answer = machine.look(("sudo", "-n", "-l", "-U", context.account))
    if re.search(r"^\s+\(", answer.out, re.MULTILINE):
        return SUDO.ok()
    if "not allowed" not in answer.out:
        raise CannotTell(f"sudo -l: {answer.err.strip() or answer.out.strip()}")
    return SUDO.warning(
        f"{context.account} cannot use sudo",
        (Evidence("sudo -l", "sudo", "not allowed", "ALL"),),
        cause="It is not in the group sudo, or hardening took the group's rule away.",
        guidance='Apply the account page, unless [account] sudo = "no" is meant. It is in effect at the next login.',
        remedy=(Sudo(id="account.sudo", account=context.account, way="password"),),
    )


def sudoers(machine: Machine, context: Context) -> Finding:
    """visudo over all files, and names that sudo skips."""
    skipped = [name for name in machine.names(DROP_INS) if "." in name or name.endswith("~")]
    answer = machine.look(("visudo", "-c"))
    if answer.code != 0:
        told = (answer.err + answer.out).strip().split("\n")[0]
        return SUDOERS.problem(
            "A file of sudo's rules has an error",
            (Evidence("visudo -c", "/etc/sudoers", told, "parsed OK"),),
            cause="A file was edited by hand or written by an installer without a check.",
            guidance="Keep this root session open. Correct the file named with `visudo -f FILE`, or move it away.",
            risk="While the error is there, sudo may refuse everybody.",
        )
    if skipped:
        return SUDOERS.warning(
            "sudo skips some files of its rules",
            [Evidence("file name", f"{DROP_INS}/{name}", "has a dot or a tilde", "neither") for name in skipped],
            cause="sudo takes such names for copies of editors and packages.",
            guidance="Rename the file if it is meant, delete it if not.",
        )
    return SUDOERS.ok()


CHECKS = (
    UID.check(uid),
    OTHER_UID.check(other_uid),
    GID.check(gid),
    SHELL.check(shell),
    HOME.check(home),
    KEYS.check(keys, needs_root=True),
    SUDO.check(sudo, needs=("acct-sudoers-syntax",), needs_root=True),
    SUDOERS.check(sudoers, needs_root=True),
    *check_password.CHECKS,
)
