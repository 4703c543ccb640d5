"""sshd's settings: whether it accepts the account's keys or password, and which line decides that."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from posixpath import basename, dirname

from msgspec import Struct

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.machine import Machine, NodeView
from bai_wizard.pages.account.settings import AccountSettings
from bai_wizard.pages.node_state import read_sshd_rules

SSHD_CONFIG = "/etc/ssh/sshd_config"
# sshd's limit on nested Include lines.
_DEPTH = 16
# While it exists, only root can log in: pam_nologin(8). /run/nologin exists briefly during every boot.
NOLOGIN = "/etc/nologin"
KEYS_FILE = ".ssh/authorized_keys"


def sshd_fault(machine: Machine, settings: AccountSettings) -> str:
    """Why sshd rejects the account's keys; empty if it accepts them, or if that cannot be determined."""
    account = machine.account(settings.username)
    if account is None or not settings.authorized_keys or "sshd" not in machine.names("/usr/sbin"):
        return ""
    if machine.entry(NOLOGIN) is not None:
        return f"{NOLOGIN} prevents all users except root from logging in; remove it"
    try:
        result = read_sshd_rules(machine, settings.username)
        groups = [group.name for group in machine.groups() if group.gid == account.gid]
        groups += [group.name for group in machine.groups() if machine.is_member(account.name, group.name)]
    except StateUnknown:
        return ""
    return rejection(result, settings.username, groups)


def rejection(result: dict[str, list[str]], name: str, groups: Sequence[str]) -> str:
    """A message that names the setting that prevents the login; empty if none does."""
    if result.get("pubkeyauthentication") == ["no"]:
        return _sshd_message("PubkeyAuthentication no")
    files = result.get("authorizedkeysfile", [KEYS_FILE])
    if not any(file.removeprefix("%h/") == KEYS_FILE or file.endswith(f"/{KEYS_FILE}") for file in files):
        return _sshd_message(f"AuthorizedKeysFile {' '.join(files)}")
    for setting, names in (("Users", [name]), ("Groups", list(groups))):
        if denied := _matching(result.get(f"deny{setting.lower()}", []), names):
            return _sshd_message(f"Deny{setting} {denied}")
        allowed = result.get(f"allow{setting.lower()}", [])
        if allowed and not _matching(allowed, names):
            return _sshd_message(f"Allow{setting} {' '.join(allowed)}")
    return ""


def _matching(patterns: Sequence[str], names: Sequence[str]) -> str:
    """The first pattern that one of the names matches; patterns for a single host (`bai@10.0.0.1`) are ignored."""
    return next((each for each in patterns if any(fnmatchcase(name, each) for name in names)), "")


def _sshd_message(setting: str) -> str:
    return (
        f"sshd is configured with `{setting}` and rejects these keys; change that in /etc/ssh/sshd_config, or in a"
        " file in /etc/ssh/sshd_config.d"
    )


def rejects_passwords(rules: Mapping[str, list[str]]) -> bool:
    """Whether these settings of sshd accept no password; PAM can ask for it in keyboard-interactive logins."""
    asks = rules.get("kbdinteractiveauthentication") == ["yes"] and rules.get("usepam") == ["yes"]
    return rules.get("passwordauthentication") == ["no"] and not asks


class SshdLine(Struct, frozen=True):
    """A line of sshd_config(5). `match`: the criteria of its Match block, empty outside of these, or `all`."""

    path: str
    line: int
    value: str
    match: str


def deciding_line(view: NodeView, keyword: str, value: str) -> SshdLine | None:
    """The line that gives sshd this value: for all logins, otherwise in a Match block, which may apply to some."""
    lines = list(sshd_lines(view, keyword.lower()))
    candidates = [*general_lines(lines)[:1], *(line for line in lines if line.match not in ("", "all"))]
    return next((line for line in candidates if line.value.lower() == value), None)


def general_lines(lines: Sequence[SshdLine]) -> list[SshdLine]:
    """The lines for all logins: the first one decides, and `Match all` overrides lines outside of blocks."""
    return sorted((line for line in lines if line.match in ("", "all")), key=lambda line: line.match == "")


# Keyword, and its arguments after blanks or one `=`; trailing blanks do not count.
_SETTING = re.compile(r"[ \t\r]*([A-Za-z0-9]+)(?:[ \t\r]+=?|=)[ \t\r]*([^\n]*?)[ \t\r\f]*")


def sshd_lines(
    view: NodeView, keyword: str, path: str = SSHD_CONFIG, depth: int = 0, match: str = ""
) -> Iterator[SshdLine]:
    """Yield the lines with a keyword in the order in which sshd reads them; outside of Match, the first wins."""
    outer = match
    entry = view.entry(path)
    text = entry.content.decode("utf-8", "replace") if entry is not None and entry.content else ""
    for number, line in enumerate(text.split("\n"), start=1):
        found = _SETTING.fullmatch(line)
        if found is None:
            continue
        name, arguments = found[1].lower(), found[2]
        if name == "match":
            # In a file that a block includes, a block applies only where the outer one does.
            criteria = "all" if re.match(r"all\b", arguments, re.IGNORECASE) else arguments
            match = criteria if outer in ("", "all") else outer
        elif name == "include" and depth < _DEPTH:
            for pattern in arguments.replace('"', "").split():
                for included in _files(view, pattern):
                    yield from sshd_lines(view, keyword, included, depth + 1, match)
        elif name == keyword:
            yield SshdLine(path, number, arguments.split("#")[0].strip(" \t\"'"), match)


def _files(view: NodeView, pattern: str) -> list[str]:
    directory = dirname(pattern if pattern.startswith("/") else f"{dirname(SSHD_CONFIG)}/{pattern}")
    names = (name for name in view.names(directory) if fnmatchcase(name, basename(pattern)))
    return [f"{directory}/{name}" for name in sorted(names) if not name.startswith(".")]
