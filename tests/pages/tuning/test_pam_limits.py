"""Lines of limits.d that people have: what the plan makes of them. Results as measured with `su` on Debian 13."""

from __future__ import annotations

import pytest

from bai_wizard.core.state import Group, Key, Membership, Package, State
from bai_wizard.pages.tuning.plan import PAGE
from tests.pages.storage.lifecycle import plan_of, shown
from tests.pages.tuning.test_check_limits import findings_of
from tests.pages.tuning.test_plan import LIMITS
from tests.pages.ubuntu import bai, file, ubuntu

TABLE = {"limits": {"nofile": 8192, "nproc": 4096}, "services": {}}
NODE: dict[Key, State | None] = {
    **bai(),
    Key("group", "ops"): Group("ops", 27),
    Key("member", "ops:bai"): Membership(),
}
SITE, LATER = "/etc/security/limits.d/50-site.conf", "/etc/security/limits.d/zz-site.conf"
# Of a file before ours: whether the login has more than we want, so that ours must not lower it.
BETTER = {
    "* soft nofile 15000": True,
    "*\u00a0soft\u00a0nofile\u00a015000": False,
    "* soft nofile\u300015000": False,
    "*\tsoft\tnofile\t15000": True,
    "\u00a0* soft nofile 15000": False,
    "1000: - nofile 15000": True,
    ":1100 - nofile 15000": True,
    "1100:1200 - nofile 15000": True,
    "1101: - nofile 15000": False,
    "@1100: - nofile 15000": True,
    "@:27 - nofile 15000": True,
    "@:28 - nofile 15000": False,
    "@20:30 - nofile 15000": False,  # the primary group only
    "@ops - nofile 15000": True,
    "%ops - nofile 15000": False,
    "* - nofile unlimited": True,
    "* - nofile -": True,
    "* - nofile 0x8000": False,
    "* SOFT NoFile 15000 # more": True,
    "* soft nofile 15000 files": True,
    "* soft,hard nofile 15000": False,
    "bai soft nofile 15000\n* - nofile 100": True,
    "bai hard nofile 100\nbai soft nofile 15000": False,
}


@pytest.mark.parametrize("line", BETTER)
def test_our_file_lowers_no_limit_that_a_login_has(line: str) -> None:
    text = shown(plan_of(PAGE, TABLE, ubuntu(NODE, files={SITE: f"{line}\n"})))
    assert ("+bai soft nofile 8192" in text) is not BETTER[line], text


@pytest.mark.parametrize(
    ("line", "overrides"),
    [
        ("1000: - nofile 700", True),
        (":0 - nofile 700", True),
        ("@0: - nofile 700", True),  # root has no groups here: for root it is a range of UIDs
        ("0:99 -", True),
        ("@ops -", True),
        ("@ops - nofile 700", False),
        ("* - nofile 700", False),
        ("bai\u2003- nofile 700", False),
        ("bai -", True),
        ("bai \u00a0-", False),
        ("bai - nofile 70000 700", False),
    ],
)
def test_a_later_file_that_a_login_follows_is_an_override(line: str, overrides: bool) -> None:
    node = ubuntu(NODE, files={LATER: f"{line}\n"})
    plan = plan_of(PAGE, TABLE, node)
    assert any(item.step.id == "tuning.limits-overridden" for item in plan.steps) is overrides
    ours = "".join(f"{user} {sort} nofile 8192\n" for user in ("root", "bai") for sort in ("hard", "soft"))
    node.set_state(Key("file", LIMITS), file(f"# Written by bai-wizard\n{ours}"))
    assert findings_of("tuning.limits-overridden", node).result == ("problem" if overrides else "ok")


@pytest.mark.parametrize(("version", "is_read"), [("1.5.3-5ubuntu5", True), ("1.7.0-5", False)])
def test_versions_before_1_6_take_a_carriage_return_for_a_blank(version: str, is_read: bool) -> None:
    package: dict[Key, State | None] = {Key("package", "libpam-modules"): Package(version)}
    text = shown(plan_of(PAGE, TABLE, ubuntu({**NODE, **package}, files={SITE: "*\rsoft nofile unlimited\r\n"})))
    assert ("+bai soft nofile 8192" in text) is not is_read


def test_ranges_count_for_an_account_that_does_not_exist_yet() -> None:
    text = shown(plan_of(PAGE, TABLE, ubuntu(files={SITE: "1000: - nofile 15000\n"})))
    assert "+# bai soft nofile: kept 15000" in text
