"""Which values of `[python] version` are accepted."""

from __future__ import annotations

import re

import pytest

from bai_wizard.answers.load import loads
from bai_wizard.core.errors import AnswersError
from tests.cache import CHECKOUT


def loaded(version: str) -> None:
    loads(f'version = 1\n[python]\nversion = "{version}"\n', "answers.toml", "gpu01")


@pytest.mark.parametrize(
    "version",
    [
        "2.7",
        "3",
        "3.0",
        "3.7",
        "3.99",
        "4.0",
        "3.17",
        "3.13.999",
        "3.13.100",
        "03.13",
        "3.013",
        "3.13.",
        "3.13.01",
        "",
    ],
)
def test_a_version_that_cannot_exist_is_refused_with_its_position(version: str) -> None:
    with pytest.raises(AnswersError) as refused:
        loaded(version)
    (problem,) = refused.value.problems
    assert (problem.line, problem.key) == (3, "python.version")
    assert "from 3.8 to 3.16" in problem.reason


def test_every_version_of_the_catalogue_and_the_minor_after_it_are_accepted() -> None:
    result = set(
        re.findall(r"cpython-(3\.\d+\.\d+)\b", (CHECKOUT / "bai_wizard/data/python-catalogue.json").read_text())
    )
    newest = max(int(version.split(".")[1]) for version in result)
    for version in ("auto", "3.8", f"3.{newest}", f"3.{newest + 1}", *sorted(result)):
        loaded(version)
    with pytest.raises(AnswersError):
        loaded(f"3.{newest + 2}")
