"""What the doctor looks at in the account's password: its age, and the rules for a new one."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

from bai_wizard.core.context import Context
from bai_wizard.core.finding import Evidence, Finding
from bai_wizard.core.machine import Machine
from bai_wizard.pages.subject import Subject

PAGE = "account"
SECONDS_A_DAY = 86400
# Days before a password's end from which it is worth a word; the account's own warning time may be longer.
SOON = 14
EXPIRED = Subject("acct-password-expired", PAGE, "The account's password has not expired", owner="site")
REJECTED = Subject("acct-password-rejected", PAGE, "A new password will be taken")


def expired(machine: Machine, context: Context) -> Finding:
    """The ages in the shadow file: shadow(5). While there is time, the end of a password is worth a word."""
    fields = next(
        (line.split(":") for line in (machine.text("/etc/shadow") or "").split("\n")
         if line.startswith(f"{context.account}:")), None,
    )  # fmt: skip
    has_password = fields is not None and len(fields) >= 8 and fields[1].startswith("$")
    if fields is None or len(fields) < 8 or not (has_password or fields[7]):
        return EXPIRED.not_applicable(f"{context.account} has no password on this node")
    changed, most, warned, until = (_days(fields[place]) for place in (2, 4, 5, 7))
    ends = {"maximum age": changed + most} if has_password and changed and most is not None else {}
    ends |= {"account expiry": until} if until is not None else {}
    if has_password and changed == 0:
        # At the next login; a service has none.
        ends["last change"] = 0
    today = int(time.time()) // SECONDS_A_DAY
    near = {what: day - today for what, day in ends.items() if day - today <= max(SOON, warned or 0)}
    if not near:
        return EXPIRED.ok()
    return _ending(context.account, near)


def _days(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


def _ending(name: str, near: Mapping[str, int]) -> Finding:
    """`near`: what ends, and in how many days."""
    told = {what: f"over for {-days} days" if days < 0 else f"over in {days} days" for what, days in near.items()}
    told |= {"last change": "0: the password must be changed at the next login"} if "last change" in near else {}
    evidence = [Evidence(what, "/etc/shadow", found, "not over") for what, found in told.items()]
    cause = "The image asks for a change at the first login, or passwords age by the site's rules."
    way_out = f"passwd {name}; for an account of services, if the site agrees: chage -M -1 -E -1 {name}"
    if min(near.values()) < 0:
        title = f"The password of {name} has expired: logins, sudo and cron fail"
        return EXPIRED.problem(title, evidence, cause=cause, guidance=way_out)
    return EXPIRED.warning(f"The password of {name} is about to expire", evidence, cause=cause, guidance=way_out)


def rejected(machine: Machine, context: Context) -> Finding:
    """Quality rules of PAM: they concern `passwd` and `chpasswd`, not the hash that the wizard sets."""
    text = machine.text("/etc/pam.d/common-password") or ""
    rules = re.findall(r"pam_(?:pwquality|passwdqc|cracklib|pwhistory)\.so", text)
    if not rules:
        return REJECTED.ok()
    return REJECTED.ok(
        Evidence("rules", "/etc/pam.d/common-password", ", ".join(rules), "a password by `passwd` has to obey them")
    )


CHECKS = (EXPIRED.check(expired, needs_root=True), REJECTED.check(rejected))
