"""The checks of the Account page."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.machine import Machine
from bai_wizard.core.page import Context, Evidence
from bai_wizard.core.parse import whole
from bai_wizard.core.paths import DOCKER_SOCKET as SOCKET
from bai_wizard.core.state import Account
from bai_wizard.pages.account.sshd import KEYS_FILE, SSHD_CONFIG, deciding_line, rejects_passwords
from bai_wizard.pages.account.steps import (
    DROP_INS,
    WRITABLE_BY_OTHERS,
    Home,
    Sudo,
    body_of,
)
from bai_wizard.pages.account.sudo_rules import allows_sudo, is_refusal, read_sudo_rules
from bai_wizard.pages.check import (
    Outcome,
    check,
    checks_in,
    not_applicable,
    ok,
    problem,
    require_account,
    unknown,
    warning,
)
from bai_wizard.pages.node_state import NSSWITCH, acting_as, ends_before, lookup_order, read_sshd_rules

# Read by logins and programs of every account.
READ = (
    "/etc/passwd", "/etc/group", "/etc/hosts", "/etc/nsswitch.conf", "/etc/resolv.conf", "/etc/profile",
    "/etc/ssl/certs/ca-certificates.crt", "/etc/pip.conf", "/etc/environment", "/etc/localtime",
)  # fmt: skip
WRITE = ("/dev/null", "/tmp", "/var/tmp")  # noqa: S108 - nothing is written there
DIRECTORIES = (*WRITE[1:], "/vfroot", "/run", "/etc/ssl/certs", "/usr/bin", "/usr/local/bin")
# Parents of the shell that runs the tests, and the shell itself.
SHELL = ("/", "/usr", "/usr/bin", "/usr/bin/dash", "/usr/bin/bash")
PLUGINS = ("/usr/libexec/docker/cli-plugins", "/usr/lib/docker/cli-plugins")
# The names of files that Docker runs as plugins; others are not used (dpkg's temporary files, backups).
PLUGIN_NAME = re.compile(r"docker-[a-z][a-z0-9]*")
SUDO = "/usr/bin/sudo"
# Operator of test(1) → what is expected, the letter for chmod, and its bit.
RIGHTS = {"-r": ("readable", "r", 4), "-w": ("writable", "w", 2), "-x": ("searchable", "x", 1)}
# Pages that correct the owner and mode of a path themselves.
REPAIRED_BY = {"/etc/hosts": "aliases", SOCKET: "docker"}
# Prints each test that fails. Its arguments are pairs of an operator of test(1) and a path.
TRY = 'while [ $# -gt 0 ]; do [ "$1" "$2" ] || printf "%s %s\\n" "$1" "$2"; shift 2; done'


@check("account.reach", needs_root=True)
def reach(machine: Machine, context: Context) -> Outcome:
    """The account can read files that all users read, and enter all directories down to its home and volumes."""
    if not machine.is_root:
        raise StateUnknown(f"needs root to act as {context.account}")
    account = require_account(machine, context)
    tests = [word for pair in _required_access(machine, account) for word in pair]
    answer = machine.query((*acting_as(account), "sh", "-c", TRY, "sh", *tests))
    if answer.code != 0:
        failed = [("-x", path) for path in SHELL if _is_closed(machine, path)]
        if "permission denied" not in answer.err.lower() or not failed:
            raise StateUnknown(f"setpriv: {answer.err.strip()[:200]}")
    else:
        failed = [(line[:2], line[3:]) for line in answer.out.splitlines() if line[2:3] == " "]
    closed = [path for operator, path in failed if operator == "-x"]
    failed = [(op, path) for op, path in failed if not any(path.startswith(f"{one}/") for one in closed)]
    failed = [(op, path) for op, path in failed if not _is_repaired(machine, context, op, path)]
    evidence = (_denied(machine, operator, path) for operator, path in failed)
    commands = "; ".join(_command(machine, operator, path) for operator, path in failed)
    return problem(*evidence, account=context.account, commands=commands)


def _denied(machine: Machine, operator: str, path: str) -> Evidence:
    entry = machine.entry(path)
    is_program = operator == "-x" and entry is not None and entry.type != "directory"
    expected = "setuid root" if operator == "-u" else "executable" if is_program else RIGHTS[operator][0]
    return Evidence("owner and mode", path, entry.attributes() if entry is not None else "missing", expected)


def _required_access(machine: Machine, account: Account) -> Iterator[tuple[str, str]]:
    """What the account must be able to do: an operator of test(1) and an existing path."""
    paths = [path for path in (account.home, *DIRECTORIES) if machine.entry(path) is not None]
    yield from (("-x", path) for path in dict.fromkeys(above for location in paths for above in _way(location)))
    yield from (("-r", path) for path in READ if machine.entry(path) is not None)
    yield from (("-w", path) for path in WRITE if machine.entry(path) is not None)
    plugins = (
        f"{location}/{name}"
        for location in PLUGINS
        for name in machine.names(location)
        if PLUGIN_NAME.fullmatch(name)
    )
    programs = (account.shell, "/usr/bin/docker", *plugins)
    yield from (("-x", path) for path in programs if path and machine.entry(path) is not None)
    if machine.is_member(account.name, "sudo") and machine.entry(SUDO) is not None:
        yield ("-u", SUDO)
        yield ("-x", SUDO)
    if machine.is_member(account.name, "docker") and machine.entry(SOCKET) is not None:
        yield ("-w", SOCKET)


def _is_closed(machine: Machine, path: str) -> bool:
    existing = machine.entry(path)
    return existing is not None and existing.type != "link" and not existing.mode & 1


def _right(machine: Machine, operator: str, path: str) -> bool:
    """Whether the mode grants it to all users, or the Docker socket's to its group: then something else denies it."""
    entry = machine.entry(path)
    if entry is None or operator == "-u":
        return False
    return bool(entry.mode & (RIGHTS[operator][2] << (3 if path == SOCKET else 0)))


def _is_repaired(machine: Machine, context: Context, operator: str, path: str) -> bool:
    """Whether a page of the same answers corrects the owner and mode of the path, which now deny access."""
    if path == SOCKET and (existing := machine.entry(path)) is not None:
        group = machine.group("docker")
        is_ours = group is not None and existing.attributes() == f"0:{group.gid} 0660"
    else:
        is_ours = _right(machine, operator, path)
    return REPAIRED_BY.get(path) in context.applied and not is_ours


def _command(machine: Machine, operator: str, path: str) -> str:
    if operator == "-u":
        return f"chown root {path}; chmod 4755 {path}"
    if _right(machine, operator, path):
        return f"setfacl --remove-all {path}"
    if path in WRITE[1:]:
        return f"chmod 1777 {path}"
    return f"chmod {'g' if path == SOCKET else 'o'}+{RIGHTS[operator][1]} {path}"


def _way(path: str) -> list[str]:
    """The directories from the root down to `path`, inclusive."""
    return [*map(str, reversed(PurePosixPath(path).parents)), str(PurePosixPath(path))][1:]


SECONDS_PER_DAY = 86400
# Days before a password expires from which that is reported; the account's own warning period can be longer.
SOON = 14
DATABASES = ("passwd", "group", "shadow", "initgroups")
# `compat` and `db` are other readers of the same entries.
LOCAL_SOURCES = ("files", "compat", "db")


@check("account.uid-taken")
def uid_taken(machine: Machine, context: Context) -> Outcome:
    """No other account has the same UID: the two would share all files and processes."""
    others = [entry for entry in machine.accounts() if entry.uid == context.uid and entry.name != context.account]
    evidence = [Evidence(f"uid {context.uid}", "/etc/passwd", other.name, context.account) for other in others]
    if sum(entry.name == context.account for entry in machine.accounts()) > 1:
        evidence.append(Evidence(context.account, "/etc/passwd", "listed twice", "listed once"))
    return problem(*evidence, uid=context.uid, account=context.account)


@check("account.user-other-uid")
def other_ids(machine: Machine, context: Context) -> Outcome:
    account = require_account(machine, context)
    if (account.uid, account.gid) == (context.uid, context.gid):
        return ok()
    evidence = Evidence("uid:gid", "passwd", f"{account.uid}:{account.gid}", f"{context.uid}:{context.gid}")
    return problem(evidence, account=context.account)


@check("account.gid-taken")
def gid_taken(machine: Machine, context: Context) -> Outcome:
    account = machine.account(context.account)
    others = [group.name for group in machine.groups() if group.gid == context.gid and group.name != context.account]
    if not others or (account is not None and account.gid == context.gid):
        return ok()
    return problem(Evidence(f"gid {context.gid}", "/etc/group", others[0], context.account), gid=context.gid)


@check("account.shell")
def login_shell(machine: Machine, context: Context) -> Outcome:
    account = require_account(machine, context)
    directory, _, name = account.shell.rpartition("/")
    # /bin is a link to /usr/bin on current releases, and links are not followed.
    installed = {*machine.names(directory or "/"), *machine.names(f"/usr{directory}")}
    if name and name not in ("false", "nologin") and name in installed:
        return ok()
    return problem(
        Evidence("shell", "passwd", account.shell or "none", "an installed shell"), account=context.account
    )


@check("account.home")
def home(machine: Machine, context: Context) -> Outcome:
    account = machine.account(context.account)
    if account is None or not account.local:
        return not_applicable(f"{context.account} is not a local account")
    entry = machine.entry(account.home)
    is_its_own = entry is not None and entry.type == "directory" and entry.uid == account.uid
    if is_its_own and entry is not None and not entry.mode & WRITABLE_BY_OTHERS:
        return ok()
    actual = "missing" if entry is None else f"{entry.type}, {entry.attributes()}"
    return problem(
        Evidence("home", account.home, actual, f"directory of {account.uid}, not writable by others"),
        remedy=(Home(id="account.home", account=context.account, home=account.home),),
        account=context.account,
    )


@check("account.ssh-modes", needs_root=True)
def ssh_keys(machine: Machine, context: Context) -> Outcome:
    account = require_account(machine, context)
    evidence = []
    for path in (f"{account.home}/.ssh", f"{account.home}/.ssh/authorized_keys"):
        entry = machine.entry(path)
        if entry is None:
            return not_applicable(f"{path} does not exist")
        if entry.uid not in (account.uid, 0) or entry.mode & WRITABLE_BY_OTHERS or entry.type == "link":
            actual = f"{entry.type}, {entry.attributes()}"
            evidence.append(Evidence("owner and mode", path, actual, f"{account.uid}, not writable by others"))
    return problem(*evidence, account=context.account)


@check("account.ssh-password", needs_root=True)
def ssh_password(machine: Machine, context: Context) -> Outcome:
    """sshd accepts the account's password or the account has a key. Most sites allow keys only."""
    account = require_account(machine, context)
    if "sshd" not in machine.names("/usr/sbin"):
        return not_applicable("sshd is not installed")
    password = machine.password(context.account)
    if password is None or not password.hash.reveal().startswith("$"):
        return not_applicable(f"{context.account} has no password on this node")
    rules = read_sshd_rules(machine, context.account)
    if not rules:
        raise StateUnknown("sshd -T does not show sshd's settings")
    if not rejects_passwords(rules):
        return ok()
    line = deciding_line(machine, "PasswordAuthentication", "no")
    place = f"{line.path}:{line.line}" if line is not None else SSHD_CONFIG
    evidence = Evidence("PasswordAuthentication", place, "no", "yes, or a key in authorized_keys")
    keys = machine.entry(f"{account.home}/{KEYS_FILE}")
    if keys is not None and any(body_of(each) for each in (keys.content or b"").split(b"\n")):
        return ok(evidence)
    return warning(evidence, account=context.account, place=place)


@check("account.sudo-missing", needs=("account.sudoers-syntax",), needs_root=True)
def sudo(machine: Machine, context: Context) -> Outcome:
    """sudo itself allows the account to run everything."""
    if context.sudo == "no":
        return not_applicable('sudo = "no" in [account]')
    require_account(machine, context)
    answer = read_sudo_rules(machine, context.account)
    if allows_sudo(answer.out) is not None:
        return ok()
    is_refused = re.search(r"^[ \t]+\(", answer.out, re.MULTILINE) is not None
    # sudo-rs writes some refusals to stderr ("is not allowed to execute 'list' as ...").
    if not is_refusal(answer) and not is_refused:
        raise StateUnknown(f"sudo -l: {answer.err.strip() or answer.out.strip()}")
    again = Sudo(id="account.sudo", account=context.account, way="password")
    return warning(
        Evidence("sudo -l", "sudo", "not every command is allowed" if is_refused else "not allowed", "ALL"),
        remedy=() if is_refused else (again,),
        account=context.account,
    )


@check("account.sudoers-syntax", needs_root=True)
def sudoers(machine: Machine, context: Context) -> Outcome:
    """visudo accepts all files, and sudo skips none of them."""
    skipped = [f"{DROP_INS}/{name}" for name in machine.names(DROP_INS) if "." in name or name.endswith("~")]
    answer = machine.query(("visudo", "-c"))
    if answer.code != 0:
        message = (answer.err + answer.out).strip().split("\n")[0]
        return problem(Evidence("visudo -c", "/etc/sudoers", message, "parsed OK"))
    evidence = (Evidence("file name", path, "contains a dot or a tilde", "neither") for path in skipped)
    return warning(*evidence, variant="skipped")


@check("account.password-expired", needs_root=True)
def password_expired(machine: Machine, context: Context) -> Outcome:
    """No date in /etc/shadow (shadow(5)) prevents logins; passwords that expire soon are reported too."""
    fields = next(
        (line.split(":") for line in (machine.text("/etc/shadow") or "").split("\n")
         if line.startswith(f"{context.account}:")), None,
    )  # fmt: skip
    has_password = fields is not None and len(fields) >= 8 and fields[1].startswith("$")
    if fields is None or len(fields) < 8 or not (has_password or fields[7]):
        return not_applicable(f"{context.account} has no password on this node")
    changed, limit, warned, until = (_days(fields[index]) for index in (2, 4, 5, 7))
    ends = {"maximum age": changed + limit} if has_password and changed and limit is not None else {}
    ends |= {"account expiry": until} if until is not None else {}
    if has_password and changed == 0:
        # Takes effect at the next login; services do not log in.
        ends["last change"] = 0
    today = int(time.time()) // SECONDS_PER_DAY
    near = {what: day - today for what, day in ends.items() if day - today <= max(SOON, warned or 0)}
    return _ending(context.account, near)


def _days(text: str) -> int | None:
    return whole(text) if text.isdecimal() else None


def _ending(name: str, near: Mapping[str, int]) -> Outcome:
    """`near`: what expires, and in how many days."""
    states = {what: _relative(days) for what, days in near.items()}
    states |= {"last change": "0: the password must be changed at the next login"} if "last change" in near else {}
    evidence = [Evidence(what, "/etc/shadow", state, "not expired") for what, state in states.items()]
    if any(days < 0 for days in near.values()):
        return problem(*evidence, account=name)
    return warning(*evidence, variant="soon", account=name)


def _relative(days: int) -> str:
    if days == 0:
        return "expires today"
    amount = "1 day" if abs(days) == 1 else f"{abs(days)} days"
    return f"expired {amount} ago" if days < 0 else f"expires in {amount}"


@check("account.password-rejected")
def password_rules(machine: Machine, context: Context) -> Outcome:
    """PAM's password rules apply to `passwd` and `chpasswd`, not to the hash that the wizard sets."""
    text = machine.text_behind_links("/etc/pam.d/common-password") or ""
    rules = re.findall(r"pam_(?:pwquality|passwdqc|cracklib|pwhistory)\.so", text)
    if not rules:
        return ok()
    return ok(
        Evidence("rules", "/etc/pam.d/common-password", ", ".join(rules), "`passwd` only accepts passwords by them")
    )


@check("account.nsswitch")
def nsswitch(machine: Machine, context: Context) -> Outcome:
    """/etc/nsswitch.conf lists the local files for accounts and groups; without an entry, they are read anyway."""
    try:
        text = machine.text(NSSWITCH)
    except StateUnknown:
        return unknown(f"cannot read {NSSWITCH}")
    accounts = (machine.text("/etc/passwd") or "").split("\n")
    if text is None or not any(line.startswith(f"{context.account}:") for line in accounts):
        return not_applicable(f"{context.account} is not in /etc/passwd, or {NSSWITCH} does not exist")
    evidence = [
        Evidence(database, NSSWITCH, f"{' '.join(order)}: {fault}", "files")
        for database in DATABASES
        if (order := lookup_order(text, database)) and (fault := ends_before(order, LOCAL_SOURCES))
    ]
    return problem(*evidence, account=context.account)


CHECKS = checks_in(sys.modules[__name__])
