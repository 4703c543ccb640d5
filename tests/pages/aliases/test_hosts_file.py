"""The managed block in a hosts file with lines of others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from bai_wizard.core.errors import StepBlocked
from bai_wizard.pages.aliases.steps import MARKERS, HostsBlock
from bai_wizard.steps.files import drop_block
from bai_wizard.steps.hosts_lines import Alias

UBUNTU = """\
127.0.0.1 localhost
127.0.1.1 gpu01.corp gpu01

# The following lines are desirable for IPv6 capable hosts
::1     ip6-localhost ip6-loopback
fe00::0 ip6-localnet
"""
MANUAL = (
    Alias("10.20.30.10", ("bai-m1",), "management node 01"),
    Alias("10.20.30.20", ("bai-a01",), "agent node 01 (GPU 01)"),
    Alias("10.20.30.22", ("bai-a02",), "agent node 02 (GPU 02)"),
)
# The block as the manual prints it.
MANUAL_BLOCK = """\
##### BEGIN for Backend.AI services #####
10.20.30.10 bai-m1   # management node 01
10.20.30.20 bai-a01  # agent node 01 (GPU 01)
10.20.30.22 bai-a02  # agent node 02 (GPU 02)
##### END for Backend.AI services #####
"""


def step(*aliases: Alias, host: str = "gpu01", own_ip: str = "") -> HostsBlock:
    return HostsBlock(id="aliases.hosts", aliases=aliases, host=host, own_ip=own_ip)


def test_the_block_is_the_manuals_and_is_at_the_end() -> None:
    assert step(*MANUAL).text_after(UBUNTU) == UBUNTU + MANUAL_BLOCK


def test_an_existing_block_is_rewritten_in_place() -> None:
    text = MANUAL_BLOCK.replace("bai-a02", "bai-old") + UBUNTU
    assert step(*MANUAL).text_after(text) == MANUAL_BLOCK + UBUNTU


def test_a_second_block_is_taken_out() -> None:
    assert step(*MANUAL).text_after(MANUAL_BLOCK + UBUNTU + MANUAL_BLOCK) == MANUAL_BLOCK + UBUNTU


def test_moving_the_host_name_removes_it_from_loopback_and_keeps_the_full_name() -> None:
    text = step(Alias("10.20.30.20", ("gpu01", "bai-a01")), own_ip="10.20.30.20").text_after(UBUNTU)
    assert "\n# 127.0.1.1 gpu01.corp gpu01\n" in text
    assert "\n10.20.30.20 gpu01 bai-a01 gpu01.corp\n" in text
    # Moved once, moved for good: the second time the commented line must not lose the full name.
    assert step(Alias("10.20.30.20", ("gpu01", "bai-a01")), own_ip="10.20.30.20").text_after(text) == text


def test_moving_leaves_other_names_of_the_line_and_its_blanks() -> None:
    text = "127.0.0.1\tlocalhost  gpu01 printer # do not touch\n"
    moved = step(Alias("10.20.30.20", ("bai-a01",)), own_ip="10.20.30.20").text_after(text)
    assert moved.startswith("127.0.0.1\tlocalhost printer # do not touch\n")
    assert "10.20.30.20 bai-a01 gpu01\n" in moved


def test_keeping_leaves_the_loopback_line() -> None:
    assert step(Alias("10.20.30.20", ("gpu01",))).text_after(UBUNTU).startswith(UBUNTU)


@pytest.mark.parametrize(
    "line",
    [
        "10.9.9.9 bai-a01",
        "10.9.9.9 old BAI-A01 # once",
        "127.0.0.1 localhost bai-a01",
        "\t10.9.9.9\tbai-a01\t",
    ],
)
def test_a_line_that_contradicts_the_block_is_named_and_blocks(line: str) -> None:
    with pytest.raises(StepBlocked, match="line 2 assigns bai-a01"):
        step(*MANUAL).text_after(f"127.0.0.1 localhost\n{line}\n")


@pytest.mark.parametrize(
    "line",
    [
        "# 10.9.9.9 bai-a01",
        "10.20.30.20 bai-a01",
        "fd00::20 bai-a01",
        "10.9.9.9 bai-a011",
        "10.9.9.9",
        "not-an-address bai-a01",
    ],
)
def test_lines_that_contradict_nothing_stay(line: str) -> None:
    text = f"127.0.0.1 localhost\n{line}\n"
    assert step(*MANUAL).text_after(text).startswith(text)


# Lines of others: anything but our markers and names that would contradict us, CR and form feeds included.
foreign = some.lists(
    some.text(some.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=30).filter(
        lambda line: "bai-" not in line.lower() and line.strip() not in (MARKERS.begin, MARKERS.end)
    ),
    max_size=8,
)


@given(before=foreign, after=foreign, has_block=some.booleans(), ends=some.booleans())
def test_lines_of_others_keep_their_bytes(before: list[str], after: list[str], has_block: bool, ends: bool) -> None:
    head = "".join(f"{line}\n" for line in before)
    tail = "\n".join(after) + ("\n" if ends and after else "")
    text = head + (MANUAL_BLOCK.replace("10", "172") if has_block else "") + tail
    new = step(*MANUAL, host="").text_after(text)
    missing_newline = "" if has_block or not (head + tail) or (head + tail).endswith("\n") else "\n"
    assert drop_block(new, MARKERS) == head + tail + missing_newline
    assert step(*MANUAL, host="").text_after(new) == new
    assert new.count(MANUAL_BLOCK) == 1


@pytest.mark.parametrize("blank", ["\u00a0", "\u3000", "\u2003", "\u0085", "\x1c"])
def test_a_line_with_a_blank_that_the_resolver_does_not_know_contradicts_nothing(blank: str) -> None:
    text = f"10.9.9.9{blank}bai-m1\n"
    assert step(*MANUAL).text_after(text) == text + MANUAL_BLOCK


def test_the_doctor_is_named_only_where_it_sees_the_conflict() -> None:
    for text, named in (("10.9.9.9 bai-m1\n", False), ("10.9.9.9 bai-m1\n" + MANUAL_BLOCK, True)):
        with pytest.raises(StepBlocked) as refused:
            step(*MANUAL).text_after(text)
        assert ("--fix aliases.duplicate" in str(refused.value)) is named
