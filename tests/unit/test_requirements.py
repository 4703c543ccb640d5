"""The pinned requirements are those of pyproject.toml, complete, with hashes, and name no index."""

from __future__ import annotations

import re

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.cache import CHECKOUT
from tests.tools.pin_requirements import FILES, head, inputs, pins


def text(group: str) -> str:
    return (CHECKOUT / FILES[group]).read_text(encoding="utf-8")


@pytest.mark.parametrize("group", FILES)
def test_they_are_current(group: str) -> None:
    """After a change of pyproject.toml: python -m tests.tools.pin_requirements."""
    assert text(group).startswith(head(group))
    versions = {pin.name: pin.version for pin in pins(group)}
    for requirement in map(Requirement, inputs(group)):
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), requirement


@pytest.mark.parametrize("group", FILES)
def test_no_index_is_named(group: str) -> None:
    assert re.findall(r"://|^-|@", text(group), re.MULTILINE) == []


def test_both_files_have_the_same_versions() -> None:
    assert set(pins("")) <= set(pins("dev"))
