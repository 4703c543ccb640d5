"""When a current value satisfies the desired one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bai_wizard.steps.kernel import Better, intervals, merge_values, port_list, satisfies, union, within


@pytest.mark.parametrize(
    "better, value, wanted, good",
    [
        ("higher", "4096", "1024", True),
        ("higher", "128", "1024", False),
        ("higher", "9223372036854775807", "2048000", True),
        ("higher", '"4096"', "1024", False),
        ("lower", "5", "10", True),
        ("lower", "60", "10", False),
        ("exact", "2", "1", False),
        ("exact", "4096\t5  6", "4096 5 6", True),
        ("each-field", "4096 131072 33554432", "4096 12582912 16777216", False),
        ("each-field", "4096 12582912 33554432", "4096 12582912 16777216", True),
        ("each-field", "4096", "4096 1 1", False),
        ("superset", "1024 65535", "10000 65000", True),
        ("superset", "32768 60999", "10000 65000", False),
        ("superset", '"10000 65000"', "10000 65000", False),
        ("superset", "100,6000-7000", "6001-6019", True),
        ("superset", "", "6001", False),
    ],
)
def test_at_least_as_good(better: Better, value: str, wanted: str, good: bool) -> None:
    assert satisfies(better, value, wanted) is good


@pytest.mark.parametrize(
    "better, wanted, present, both",
    [
        ("higher", "1024", "4096", "4096"),
        ("lower", "10", "60", "10"),
        ("exact", "1", "2", "1"),
        ("each-field", "4096 12582912 16777216", "4096 131072 33554432", "4096 12582912 33554432"),
        ("superset", "10000 65000", "32768 65535", "10000 65535"),
        ("superset", "6001-6003,6005", "6004,9", "9,6001-6005"),
        ("superset", "6001", "", "6001"),
        ("higher", "1024", "nonsense", "1024"),
    ],
)
def test_good_for_both(better: Better, wanted: str, present: str, both: str) -> None:
    assert merge_values(better, wanted, present) == both


PORTS = st.lists(st.tuples(st.integers(1, 400), st.integers(0, 40)).map(lambda pair: (pair[0], sum(pair))))


@given(PORTS, PORTS, st.integers(1, 400), st.integers(0, 200))
def test_intervals_are_sets_of_ports(
    one: list[tuple[int, int]], other: list[tuple[int, int]], low: int, width: int
) -> None:
    def ports(spans: object) -> set[int]:
        return {port for first, last in spans for port in range(first, last + 1)}  # type: ignore[attr-defined]

    merged = union(tuple(one), tuple(other))
    assert ports(merged) == ports(one) | ports(other)
    assert intervals(port_list(merged)) == merged
    bounds = (low, low + width)
    assert ports(within(merged, bounds)) == ports(merged) & set(range(low, low + width + 1))


@given(st.sampled_from(["higher", "lower"]), st.integers(0, 10**12), st.integers(0, 10**12))
def test_a_merged_value_satisfies_both(better: Better, wanted: int, present: int) -> None:
    both = merge_values(better, str(wanted), str(present))
    assert satisfies(better, both, str(wanted))
    assert satisfies(better, both, str(present))
