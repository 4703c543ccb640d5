"""Diffs are complete for ordinary files and bounded for contents that other users control."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bai_wizard.core.operation import MAX_COMPARED, SHOWN_LINES, Change

LINES = st.lists(st.sampled_from(["a\n", "b\n", "c\n", "long line\n"]), max_size=40)


@given(before=LINES, after=LINES, shared=LINES, tail=LINES)
def test_an_ordinary_diff_leads_from_one_side_to_the_other(
    before: list[str], after: list[str], shared: list[str], tail: list[str]
) -> None:
    old, new = [*shared, *before, *tail], [*shared, *after, *tail]
    change = Change("/etc/file", "modify", "".join(old), "".join(new))
    if change.is_short():
        assert change.diff() == change.headline()
        return
    lines = change.diff().splitlines(keepends=True)
    assert lines[:2] == ["--- /etc/file\n", "+++ /etc/file\n"]
    assert _applied(old, lines[2:]) == new


def _applied(old: list[str], hunks: list[str]) -> list[str]:
    """`old` with the hunks of a unified diff applied, as patch does it."""
    result: list[str] = []
    at = 0
    for line in hunks:
        if line.startswith("@@"):
            number, _, count = line.split(" ")[1][1:].partition(",")
            begin = int(number) - (0 if count == "0" else 1)
            result += old[at:begin]
            at = begin
        elif line.startswith("+"):
            result.append(line[1:])
        elif line.startswith("-"):
            assert old[at] == line[1:]
            at += 1
        else:
            assert old[at] == line[1:]
            result.append(old[at])
            at += 1
    return result + old[at:]


@pytest.mark.parametrize("kinds", [1, 2, 150, 10**6])
@pytest.mark.parametrize("length", [MAX_COMPARED // 2 - 1, 200_000])
def test_no_content_keeps_root_busy(kinds: int, length: int) -> None:
    """difflib alone does not end on 6 MB of 150 different lines."""
    before = "".join(f"ssh-ed25519 {number * 7919 % kinds}\n" for number in range(length))
    after = "".join(f"ssh-ed25519 {number * 104729 % kinds} x\n" for number in range(length))
    begun = time.process_time()
    output = Change("/home/bai/.ssh/authorized_keys", "modify", before, after).diff()
    assert time.process_time() - begun < 2
    if length > MAX_COMPARED:
        assert len(output.splitlines()) <= 2 * SHOWN_LINES + 6
        assert f"… {length - SHOWN_LINES} more lines" in output


def test_a_single_long_line_is_truncated() -> None:
    output = Change("/etc/file", "modify", "x" * 10**7 + "\n" + "a\n" * 2000, "b\n").diff()
    assert len(output) < 2000
