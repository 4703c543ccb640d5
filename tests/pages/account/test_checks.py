"""The doctor's findings about an account, with no answers but its UID and GID."""

from __future__ import annotations

import pytest

from bai_wizard.core.machine import Completed
from bai_wizard.core.page import Context, Finding
from bai_wizard.core.secret import Secret
from bai_wizard.core.state import Account, Entry, Group, Key, Password, State
from bai_wizard.doctor.run import run_check
from bai_wizard.pages.account.plan import PAGE
from tests.pages.ubuntu import bai, file, ubuntu

ALLOWED = Completed(0, "User bai may run the following commands on gpu01:\n    (ALL : ALL) ALL\n", "")
REFUSED = Completed(0, "User bai is not allowed to run sudo on gpu01.\n", "")
SUDO, VISUDO = ("unshare", "--net", "--", "sudo", "-n", "-l", "-U", "bai"), ("visudo", "-c")
GOOD = {SUDO: ALLOWED, VISUDO: Completed(0, "parsed OK", "")}
CASES: dict[str, tuple[dict[Key, State | None], dict[tuple[str, ...], Completed], dict[str, str]]] = {
    "all is well": ({}, {}, {}),
    "uid of two": (
        {Key("user", "eve"): Account("eve", 1100, 1, "", "/", "/bin/sh")},
        {},
        {"account.uid-taken": "problem"},
    ),
    "another uid": (bai(uid=1200), {}, {"account.user-other-uid": "problem", "account.home": "problem"}),
    "another group": (
        {Key("user", "bai"): None, Key("group", "bai"): None, Key("group", "x"): Group("x", 1100)},
        {},
        {"account.gid-taken": "problem"},
    ),
    "only looks like account.uid-taken": (
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
    "keys for the group to write": (
        {Key("file", "/home/bai/.ssh/authorized_keys"): file("", 0o660, 1100)},
        {},
        {"account.ssh-modes": "problem"},
    ),
    "no sudo": ({}, {SUDO: REFUSED}, {"account.sudo-missing": "warning"}),
    "broken rules": (
        {},
        {VISUDO: Completed(1, "", "/etc/sudoers.d/x:1: syntax error")},
        {"account.sudoers-syntax": "problem"},
    ),
    "a skipped file": ({Key("file", "/etc/sudoers.d/a.bak"): file("")}, {}, {"account.sudoers-syntax": "warning"}),
}


@pytest.mark.parametrize("case", CASES)
def test_findings(case: str) -> None:
    states, answers, expected = CASES[case]
    base = ubuntu({**bai(), Key("file", "/bin/bash"): file(""), **states}, looks={**GOOD, **answers})
    findings = [finding for check in PAGE.checks() for finding in run_check(check, base, Context())]
    assert not [finding for finding in findings if finding.result == "crashed"], findings
    result = {
        finding.id: finding.result for finding in findings if finding.result in ("problem", "warning", "cannot-tell")
    }
    result.pop("account.password-expired", None)
    assert result.pop("account.reach", "cannot-tell") == "cannot-tell", "no program runs here"
    assert result == expected


def test_every_problem_has_a_cause_and_the_next_thing_to_do() -> None:
    for states, answers, _ in CASES.values():
        machine = ubuntu({**bai(), **states}, looks={**GOOD, **answers})
        for check in PAGE.checks():
            for finding in run_check(check, machine, Context()):
                if finding.result in ("problem", "warning"):
                    assert finding.cause
                    assert finding.guidance
                    assert finding.evidence


def test_ids_as_in_the_answers_are_not_reported() -> None:
    machine = ubuntu(bai(uid=1200, gid=1200), looks=GOOD)
    check = next(check for check in PAGE.checks() if check.id == "account.user-other-uid")
    assert [finding.result for finding in run_check(check, machine, Context())] == ["problem"]
    assert [finding.result for finding in run_check(check, machine, Context(uid=1200, gid=1200))] == ["ok"]


@pytest.mark.parametrize(
    ("out", "err"),
    [
        ("User bai is not allowed to run sudo on gpu01.\n", ""),
        ("", "sudo: Sorry, user root is not allowed to execute 'list' as bai on gpu01.\n"),
        ("", "User bai is not allowed to run sudo on gpu01.\n"),
    ],
)
def test_refusals_of_sudo_and_of_sudo_rs(out: str, err: str) -> None:
    node = ubuntu({**bai()}, looks={**GOOD, SUDO: Completed(1, out, err)})
    check = next(check for check in PAGE.checks() if check.id == "account.sudo-missing")
    assert [finding.result for finding in run_check(check, node, Context())] == ["warning"]
    intended = run_check(check, node, Context(sudo="no"))
    assert not [finding for finding in intended if finding.result in ("warning", "problem", "cannot-tell")]


SSHD = ("sshd", "-T", "-C", "user=bai,host=localhost,addr=127.0.0.1")
NO_PASSWORDS = Completed(0, "usepam yes\nkbdinteractiveauthentication no\npasswordauthentication no\n", "")
CONFIG = "/etc/ssh/sshd_config"
CLOUD = "/etc/ssh/sshd_config.d/60-cloudimg-settings.conf"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6eH3Hh4mQw0JX2bG5o0h3u7Yk1Zk3bq9o6m1mYyqSg ops@example\n"


def ssh_password(
    files: dict[str, str], rules: Completed = NO_PASSWORDS, hash: str = "$y$j9T$x$y", keys: str = ""
) -> Finding:
    states: dict[Key, State | None] = {Key("password", "bai"): Password(Secret(hash), 20000)}
    given = {"/usr/sbin/sshd": "", "/home/bai/.ssh/authorized_keys": keys, **files}
    states |= {Key("file", path): file(text) for path, text in given.items()}
    node = ubuntu({**bai(), **states}, looks={SSHD: rules})
    check = next(check for check in PAGE.checks() if check.id == "account.ssh-password")
    (finding,) = run_check(check, node, Context())
    return finding


@pytest.mark.parametrize(
    ("files", "place"),
    [
        ({CONFIG: "# PasswordAuthentication no\n\npasswordauthentication=no\n"}, f"{CONFIG}:3"),
        ({CONFIG: "Include /etc/ssh/sshd_config.d/*.conf\n", CLOUD: "PasswordAuthentication no\n"}, f"{CLOUD}:1"),
        (
            {
                CONFIG: "include sshd_config.d/*.conf\nPasswordAuthentication yes\n",
                CLOUD: '\tPasswordAuthentication "no" # cloud\r\n',
                "/etc/ssh/sshd_config.d/99-site.conf": "PasswordAuthentication yes\n",
                "/etc/ssh/sshd_config.d/10-old.conf~": "PasswordAuthentication no\n",
                "/etc/ssh/sshd_config.d/50-a.conf": "Match User eve\nPasswordAuthentication yes\n",
            },
            f"{CLOUD}:1",
        ),
        ({CONFIG: "PasswordAuthentication yes\nMatch User bai\n  PasswordAuthentication no\n"}, f"{CONFIG}:3"),
        (
            {CONFIG: "Match User eve\nPasswordAuthentication no\nMatch all\nPasswordAuthentication no\n"},
            f"{CONFIG}:4",
        ),
        ({}, CONFIG),
    ],
)
def test_the_line_that_makes_sshd_reject_the_password(files: dict[str, str], place: str) -> None:
    finding = ssh_password(files)
    assert (finding.result, finding.evidence[0].where) == ("warning", place)
    assert f"in {place} or" in finding.guidance


@pytest.mark.parametrize(
    ("rules", "hash", "keys", "result"),
    [
        (NO_PASSWORDS, "$y$j9T$x$y", KEY, "ok"),
        (NO_PASSWORDS, "$y$j9T$x$y", f"# {KEY}", "warning"),
        (NO_PASSWORDS, "!$y$j9T$x$y", "", "not-applicable"),
        (NO_PASSWORDS, "*", "", "not-applicable"),
        (Completed(0, "passwordauthentication yes\n", ""), "$6$x$y", "", "ok"),
        (
            Completed(0, "passwordauthentication no\nusepam yes\nkbdinteractiveauthentication yes\n", ""),
            "$6$x$y",
            "",
            "ok",
        ),
        (Completed(255, "", "sshd: no hostkeys available -- exiting.\n"), "$6$x$y", "", "cannot-tell"),
    ],
)
def test_whether_anybody_can_log_in(rules: Completed, hash: str, keys: str, result: str) -> None:
    assert ssh_password({CONFIG: "PasswordAuthentication no\n"}, rules, hash, keys).result == result
