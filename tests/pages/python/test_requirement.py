"""Requirements that can be parsed without an index, compared with packaging."""

from itertools import zip_longest
from operator import eq, ge, gt, le, lt, ne

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bai_wizard.core.state import INCOMPLETE, Package
from bai_wizard.resources.pythons import fits, is_met, normalized, parse_requirement, pinned

RELEASES = st.lists(st.integers(0, 3) | st.sampled_from([10, 26]), min_size=1, max_size=4)
OPERATORS = {"==": eq, "!=": ne, "<=": le, ">=": ge, "<": lt, ">": gt}


def text(numbers: list[int]) -> str:
    return ".".join(map(str, numbers))


def padded(*releases: list[int]) -> list[tuple[int, ...]]:
    return list(zip(*zip_longest(*releases, fillvalue=0), strict=True))


@given(RELEASES, RELEASES, st.sampled_from(sorted(OPERATORS)))
def test_releases_are_compared_as_numbers(installed: list[int], bound: list[int], operator: str) -> None:
    one, other = padded(installed, bound)
    assert fits(parse_requirement(f"thing{operator}{text(bound)}"), text(installed)) == OPERATORS[operator](
        one, other
    )


@given(RELEASES, RELEASES)
def test_a_prefix_holds_every_release_below_it(installed: list[int], prefix: list[int]) -> None:
    is_below = (installed + [0] * len(prefix))[: len(prefix)] == prefix
    assert fits(parse_requirement(f"thing=={text(prefix)}.*"), text(installed)) == is_below
    assert fits(parse_requirement(f"thing!={text(prefix)}.*"), text(installed)) != is_below


@given(RELEASES, RELEASES, st.integers(0, 3))
def test_a_compatible_release_has_the_same_prefix(installed: list[int], prefix: list[int], last: int) -> None:
    one, other = padded(installed, [*prefix, last])
    is_compatible = one >= other and (installed + [0] * len(prefix))[: len(prefix)] == prefix
    assert fits(parse_requirement(f"thing~={text([*prefix, last])}"), text(installed)) == is_compatible


@pytest.mark.parametrize(
    ("clause", "version", "expected"),
    [
        ("", "1", True), (">=1.0", "1.0rc1", False), ("<1.0", "1.0rc1", False), ("<2", "2.0a1", False),
        (">=1", "2.0a1", True), (">=1,<2", "1.10", True), (">=26.4.9,!=26.4.10", "26.4.10", False),
        ("==1.0", "1.0+local", True), (">=3.12.1", "3.12.3.final.0", True), (">=3.12.4", "3.12.3.final.0", False),
        ("", "no version", True), (">=0", "no version", False),
    ],
)  # fmt: skip
def test_installed_versions(clause: str, version: str, expected: bool) -> None:
    requirement = parse_requirement(f"some-thing{clause}")
    assert fits(requirement, version) == is_met(requirement, Package(version)) == expected
    assert not is_met(requirement, Package(INCOMPLETE))
    assert not is_met(requirement, None)


@pytest.mark.parametrize(
    ("requirement", "name", "exact"),
    [
        ("backend.ai-agent==26.4.10", "backend-ai-agent", "26.4.10"),
        ("Backend_AI.Agent", "backend-ai-agent", ""),
        ("aiohttp[speedups] >= 3, < 4 ; python_version > '3'", "aiohttp", ""),
        ("thing @ https://host/thing-1.tar.gz", "thing", ""),
        ("thing==1.*", "thing", ""),
    ],
)
def test_names(requirement: str, name: str, exact: str) -> None:
    parsed = parse_requirement(requirement)
    assert (normalized(parsed.name), pinned(parsed)) == (name, exact)


@pytest.mark.parametrize("requirement", ["", "-e .", "thing=1", "thing >> 1", "thing 1"])
def test_invalid_requirements(requirement: str) -> None:
    with pytest.raises(ValueError, match="not a package requirement"):
        parse_requirement(requirement)


def test_two_spellings_of_one_name() -> None:
    assert normalized("Backend.AI__agent") == normalized("backend-ai_agent")
