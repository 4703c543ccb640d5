"""The pinned requirements are those of pyproject.toml, complete, with hashes, and name no index."""

from __future__ import annotations

import re

import pytest
from packaging.requirements import Requirement

from tests.cache import CHECKOUT
from tests.tools.pin_requirements import FILES, head, inputs

PIN = re.compile(r"([a-z0-9][a-z0-9.-]*)==(\S+)(?: ; (.+?))?((?: --hash=sha256:[0-9a-f]{64})+)")


def text(group: str) -> str:
    return (CHECKOUT / FILES[group]).read_text(encoding="utf-8")


def pins(group: str) -> dict[str, str]:
    """Name → version. Fails for a line that is anything else than a pin with hashes."""
    lines = re.sub(r" \\\n +", " ", text(group)).splitlines()[2:]
    found = [PIN.fullmatch(line) for line in lines]
    assert [line for line, match in zip(lines, found, strict=True) if match is None] == []
    return {match[1]: match[2] for match in found if match}


@pytest.mark.parametrize("group", FILES)
def test_they_are_current(group: str) -> None:
    """After a change of pyproject.toml: python -m tests.tools.pin_requirements."""
    assert text(group).startswith(head(group))
    versions = pins(group)
    for requirement in map(Requirement, inputs(group)):
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        assert requirement.specifier.contains(versions[name]), requirement


@pytest.mark.parametrize("group", FILES)
def test_no_index_is_named(group: str) -> None:
    assert re.findall(r"://|^-|@", text(group), re.MULTILINE) == []


def test_both_files_have_the_same_versions() -> None:
    assert pins("").items() <= pins("dev").items()
