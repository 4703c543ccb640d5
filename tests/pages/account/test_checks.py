"""What the doctor says of an account, without answers but for its numbers."""

from __future__ import annotations

import pytest

from bai_wizard.core.context import Context
from bai_wizard.core.machine import Completed
from bai_wizard.core.state import Account, Entry, Group, Key, State
from bai_wizard.doctor.children import look
from bai_wizard.pages.account.page import checks
from tests.pages.ubuntu import bai, file, ubuntu

ALLOWED = Completed(0, "User bai may run the following commands on gpu01:\n    (ALL : ALL) ALL\n", "")
REFUSED = Completed(0, "User bai is not allowed to run sudo on gpu01.\n", "")
SUDO, VISUDO = ("sudo", "-n", "-l", "-U", "bai"), ("visudo", "-c")
GOOD = {SUDO: ALLOWED, VISUDO: Completed(0, "parsed OK", "")}
CASES: dict[str, tuple[dict[Key, State | None], dict[tuple[str, ...], Completed], dict[str, str]]] = {
    "all is well": ({}, {}, {}),
    "uid of two": (
        {Key("user", "eve"): Account("eve", 1100, 1, "", "/", "/bin/sh")},
        {},
        {"acct-uid-taken": "problem"},
    ),
    "another uid": (bai(uid=1200), {}, {"acct-user-other-uid": "problem", "account.home": "problem"}),
    "another group": (
        {Key("user", "bai"): None, Key("group", "bai"): None, Key("group", "x"): Group("x", 1100)},
        {},
        {"acct-gid-taken": "problem"},
    ),
    "only looks like acct-uid-taken": (
        {
            Key("user", "eve"): Account("eve", 1101, 1100, "", "/", "/bin/sh"),
            Key("user", "mallory"): Account("mallory", 11000, 1101, "", "/", "/bin/sh"),
        },
        {},
        {},
    ),
    "no shell": (bai(shell="/usr/sbin/nologin"), {}, {"account.shell": "problem"}),
    "a shell that is gone": (bai(shell="/usr/bin/zsh"), {}, {"account.shell": "problem"}),
    "home of root": ({Key("file", "/home/bai"): Entry("directory", 0, 0, 0o755)}, {}, {"account.home": "problem"}),
    "keys for all to write": (
        {Key("file", "/home/bai/.ssh/authorized_keys"): file("", 0o666, 1100)},
        {},
        {"account.ssh-modes": "problem"},
    ),
    "no sudo": ({}, {SUDO: REFUSED}, {"acct-sudo-missing": "warning"}),
    "broken rules": (
        {},
        {VISUDO: Completed(1, "", "/etc/sudoers.d/x:1: syntax error")},
        {"acct-sudoers-syntax": "problem"},
    ),
    "a skipped file": ({Key("file", "/etc/sudoers.d/a.bak"): file("")}, {}, {"acct-sudoers-syntax": "warning"}),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_found(case: str) -> None:
    states, answers, expected = CASES[case]
    base = ubuntu({**bai(), Key("file", "/bin/bash"): file(""), **states}, looks={**GOOD, **answers})
    found = [finding for check in checks() for finding in look(check, base, Context())]
    assert not [finding for finding in found if finding.result == "crashed"], found
    told = {
        finding.id: finding.result for finding in found if finding.result in ("problem", "warning", "cannot-tell")
    }
    told.pop("acct-password-expired", None)
    assert told == expected


def test_every_problem_has_a_cause_and_the_next_thing_to_do() -> None:
    for states, answers, _ in CASES.values():
        machine = ubuntu({**bai(), **states}, looks={**GOOD, **answers})
        for check in checks():
            for finding in look(check, machine, Context()):
                if finding.result in ("problem", "warning"):
                    assert finding.cause
                    assert finding.guidance
                    assert finding.evidence


def test_numbers_that_the_answers_ask_for_are_no_others() -> None:
    machine = ubuntu(bai(uid=1200, gid=1200), looks=GOOD)
    check = next(check for check in checks() if check.id == "acct-user-other-uid")
    assert [found.result for found in look(check, machine, Context())] == ["problem"]
    assert [found.result for found in look(check, machine, Context(uid=1200, gid=1200))] == ["ok"]
