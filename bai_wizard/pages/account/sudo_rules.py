"""The account's permissions according to sudo or sudo-rs, and whether they match the answers.

Compared with what sudo lets the account do, on generated sudoers, in tests/node/test_account_grammars.py.
"""

from __future__ import annotations

import re

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.machine import Completed, Machine
from bai_wizard.core.step import Unchanged
from bai_wizard.pages.account.settings import AccountSettings
from bai_wizard.pages.account.steps import Sudo

# A rule as `sudo -l` prints it: `    (ALL : ALL) NOPASSWD: ALL, !/usr/bin/su`. Rules are in the order of the files.
_RULE = re.compile(r"^[ \t]+\(([^)]*)\)[ \t]*(.*)$", re.MULTILINE)
# Tags and options of a command: `NOPASSWD:`, `CWD=/srv`, `sha256:…`.
_TAG = re.compile(r"^([A-Z_]+:|[A-Z]+=\S+|sha\d+:\S+)[ \t]*")
# Options that make sudo ask for a password other than the account's.
_OTHER_PASSWORD = re.compile(r"(?<![!\w])(rootpw|targetpw|runaspw)\b")


# Debian builds sudo with the option `fqdn`, which looks up the host name. Without a network this fails immediately;
# otherwise an air-gapped node would send queries and wait for a name server that does not respond.
WITHOUT_NETWORK = ("unshare", "--net", "--")


def read_sudo_rules(machine: Machine, name: str) -> Completed:
    """Return the output of sudo about the account's permissions. Raises StateUnknown."""
    command = ("sudo", "-n", "-l", "-U", name)
    answer = machine.query((*WITHOUT_NETWORK, *command)) if machine.is_root else None
    if answer is None or answer.err.startswith("unshare: "):
        return machine.query(command)  # a container that cannot create namespaces
    return answer


def is_refusal(answer: Completed) -> bool:
    """Whether sudo or sudo-rs says that the account has no rights; sudo-rs says some of this on standard error."""
    return re.search(r"\bnot allowed to (?:run|execute)\b", answer.out + answer.err) is not None


def allows_sudo(text: str) -> bool | None:
    """Whether the account can run everything as root: True without a password, False with one, None if it cannot.

    Rules for single commands are exceptions that do not count.
    """
    result: bool | None = None
    needs_none_by_default = _needs_no_password(text.partition("may run")[0])
    for runas, commands in _RULE.findall(text):
        if not _includes_root(runas.partition(":")[0]):
            continue
        needs_none = needs_none_by_default
        for command in re.split(r",[ \t]*", commands.strip()):
            while tag := _TAG.match(command):
                needs_none = {"NOPASSWD:": True, "PASSWD:": False}.get(tag[1], needs_none)
                command = command[tag.end() :]
            if command in ("ALL", "!ALL"):
                result = needs_none if command == "ALL" else None
    return result


def _includes_root(users: str) -> bool:
    """Whether a Runas list includes root; the last matching entry decides."""
    matches = [
        user for user in re.split(r"[ \t]*,[ \t]*", users.strip()) if user.lstrip("!") in ("ALL", "root", "#0")
    ]
    return bool(matches) and not matches[-1].startswith("!")


def _needs_no_password(defaults: str) -> bool:
    """Whether the matching Defaults of sudo turn off passwords: for all commands, or for all that run as root.

    The last one in the files decides, but sudo lists those for all commands first. If the two differ, which one is
    last is not known, and False is returned: sudo may ask for a password.
    """
    in_general: bool | None = None
    as_root: bool | None = None
    for line in defaults.split("\n"):
        scope = re.match(r"[ \t]*Defaults([>!@:])([^ \t]+)", line)
        if scope and not _includes_root(scope[2]):
            continue
        for negation in re.findall(r"(?:^|[ \t,])(!?)authenticate(?=,|$)", line):
            if scope:
                as_root = bool(negation)
            else:
                in_general = bool(negation)
    return False not in (in_general, as_root) and True in (in_general, as_root)


def sudo_fault(machine: Machine, settings: AccountSettings) -> str:
    """Why sudo does not follow the answers although the wizard's own rule is in place; empty if it does.

    An account that needs no password although the answers require one still counts as having the desired access.
    """
    name, way = settings.username, settings.sudo
    if machine.account(name) is None or "sudo" not in machine.names("/usr/bin"):
        return ""
    if not isinstance(Sudo(id="account.sudo", account=name, way=way).inspect(machine), Unchanged):
        return ""
    try:
        answer = read_sudo_rules(machine, name)
    except StateUnknown:
        return ""
    return _difference(answer, name, way)


def _difference(answer: Completed, name: str, way: str) -> str:
    result = allows_sudo(answer.out)
    show = f"to show all rules, run `sudo -l -U {name}`"
    if result is None and not is_refusal(answer) and not _RULE.search(answer.out):
        message = (answer.err.strip() or answer.out.strip()).split("\n")[0]
        return f"sudo does not work: {message}" if "sudoers" in message else ""
    if way == "no":
        return "" if result is None else f"another rule allows {name} to become root; {show}"
    if result is None:
        return f"another rule prevents {name} from becoming root; {show}"
    if way == "nopasswd" and not result:
        return f"a later rule makes sudo ask {name} for a password; {show}"
    option = _OTHER_PASSWORD.search(answer.out.partition("may run")[0])
    if way == "password" and not result and option:
        return f"the option {option[1]} makes sudo ask for a different password than that of {name}; {show}"
    return ""
