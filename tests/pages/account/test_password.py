"""The password: idempotent, set by hash only, and its clear text is nowhere."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bai_wizard.core.codec import KEPT, SHOWN
from bai_wizard.core.page import Context
from bai_wizard.core.secret import Secret, use_resolver
from bai_wizard.core.state import Key, Password, States
from bai_wizard.node.passwords import hash_password, is_password
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.pages.account.checks import CHECKS
from bai_wizard.pages.account.plan import PAGE
from bai_wizard.resources.users import SetPassword
from tests.pages.storage.lifecycle import plan_of, run, shown
from tests.pages.ubuntu import bai, file, ubuntu

CLEAR = "correct horse battery staple é"
TABLE: dict[str, object] = {"password": {"env": "BAI_PASSWORD"}}
LOCKED: dict[str, object] = {"sudo": "nopasswd"}


@pytest.fixture
def resolver() -> Iterator[list[str]]:
    asked: list[str] = []

    def resolve(key: str, source: object) -> Secret:
        asked.append(key)
        return Secret(CLEAR)

    use_resolver(resolve)
    yield asked
    use_resolver(None)


def password(machine: SimulatedMachine) -> str:
    result = machine.password("bai")
    assert result is not None
    return result.hash.reveal()


def test_it_converges_and_the_clear_text_is_nowhere(resolver: list[str], tmp_path: Path) -> None:
    machine = ubuntu()
    plan = plan_of(PAGE, TABLE, machine)
    _, result = run(machine, plan, tmp_path)
    assert result.code() == 0
    assert password(machine).startswith("$y$")
    assert is_password(Secret(CLEAR), Secret(password(machine)))
    assert plan_of(PAGE, TABLE, machine).is_empty(), "the present hash fits: no other salt is wanted"
    assert resolver == ["account.password"] * 2
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert CLEAR.encode() not in written
    assert CLEAR not in json.dumps(plan.to_json(KEPT), ensure_ascii=False)
    assert password(machine) not in json.dumps(plan.to_json(SHOWN)) + shown(plan)


@pytest.mark.parametrize("present", ["$6$abc$wrong", "!", "*", "", "!$y$j9T$L254YBknBbldvMK7fV7Uk0$dowSmtp"])
def test_another_password_is_replaced(present: str, resolver: list[str], tmp_path: Path) -> None:
    machine = ubuntu(bai(present))
    run(machine, plan_of(PAGE, TABLE, machine), tmp_path)
    assert is_password(Secret(CLEAR), Secret(password(machine)))


def test_a_hash_of_another_method_is_kept_while_it_fits(resolver: list[str]) -> None:
    import ctypes

    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    old = library.crypt(CLEAR.encode(), b"$6$saltsalt").decode()
    assert plan_of(PAGE, TABLE, ubuntu(bai(old))).is_empty()


def test_no_one_can_be_asked() -> None:
    text = shown(plan_of(PAGE, TABLE, ubuntu()))
    assert "the password is requested when the plan is applied" in text


@pytest.mark.parametrize("present, after", [("!", "*"), ("", "*"), ("*", "*"), ("$y$j9T$x$y", "$y$j9T$x$y")])
def test_without_a_password_the_account_is_locked_but_a_set_one_stays(
    present: str, after: str, tmp_path: Path
) -> None:
    machine = ubuntu(bai(present))
    run(machine, plan_of(PAGE, LOCKED, machine), tmp_path)
    assert password(machine) == after
    assert plan_of(PAGE, LOCKED, machine).is_empty()


def test_the_change_is_shown_without_the_hash() -> None:
    before: States = {Key("password", "bai"): Password(Secret("$6$old$old"))}
    one, other = (SetPassword("bai", Secret(f"$6$new${tail}")).changes(before)[0] for tail in "ab")
    assert one.headline() == "~ password of bai  set"
    assert one != other, "two plans with other hashes must not be taken for one"


class TestLibcrypt:
    def test_a_hash_belongs_to_its_password_only(self) -> None:
        made = hash_password(Secret(CLEAR))
        assert is_password(Secret(CLEAR), made)
        assert not is_password(Secret(CLEAR + "x"), made)
        assert hash_password(Secret(CLEAR)) != made, "each hash has a salt of its own"

    @pytest.mark.parametrize(
        "field", ["", "*", "!", "x", "$", "$y$", "$y$j9T$", "$9$nonsense$x", "*0", "abJnggxhB/yWI"]
    )
    def test_an_invalid_hash_matches_no_password(self, field: str) -> None:
        assert not is_password(Secret(""), Secret(field))
        assert not is_password(Secret(CLEAR), Secret(field))

    def test_the_work_area_does_not_keep_the_clear_text(self) -> None:
        assert Secret(CLEAR).reveal() not in repr(hash_password(Secret(CLEAR)))


TODAY = int(time.time()) // 86400


@pytest.mark.parametrize(
    "line, result",
    [
        (f"bai:$y$x:{TODAY - 10}:0:99999:7:::", "ok"),
        ("bai:$y$x:0:0:99999:7:::", "problem"),
        ("bai:$y$x:10000:0:30:7:::", "problem"),
        (f"bai:$y$x:{TODAY - 10}:0:99999:7::100:", "problem"),
        # The end is near: sooner than two weeks, or than the account's own time for warnings.
        (f"bai:$y$x:{TODAY - 80}:0:90:7:::", "warning"),
        (f"bai:$y$x:{TODAY - 60}:0:90:30:::", "warning"),
        (f"bai:$y$x:{TODAY - 60}:0:90:7:::", "ok"),
        (f"bai:*:{TODAY}:0:99999:7::{TODAY + 3}:", "warning"),
        (f"bai:*:{TODAY}:0:99999:7::{TODAY + 300}:", "ok"),
        ("bai:*:0:0:99999:7:::", "not-applicable"),
        ("root:$y$x:0:0:99999:7:::", "not-applicable"),
    ],
)
def test_a_password_that_is_over_or_soon_will_be_is_found(line: str, result: str) -> None:
    check = next(check for check in CHECKS if check.id == "account.password-expired")
    machine = ubuntu(bai(), {"/etc/shadow": file(f"daemon:*:1:0:99999:7:::\n{line}\n", 0o640)})
    finding = check.run(machine, Context())
    assert not isinstance(finding, tuple)
    assert finding.result == result
    assert bool(finding.evidence) == (result in ("problem", "warning"))
