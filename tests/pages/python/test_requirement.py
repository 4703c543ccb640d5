"""Requirements as far as they can be read without an index; packaging is the judge."""

import pytest
from packaging.requirements import Requirement

from bai_wizard.core.requirement import normalised, parse_requirement

VERSIONS = ("0.9", "1", "1.0", "1.0.0", "1.0rc1", "1.1", "1.10", "1.2.3", "2.0a1", "2.0", "26.4.10", "26.4.9")
CLAUSES = (
    "", "==1.0", "==1.*", "==26.4.*", "!=1.1", "!=1.*", ">=1.1", ">1.1", "<=1.1", "<2", "~=1.1", "~=26.4.9",
    "~=1.0.0", ">=1,<2", ">=26.4.9,!=26.4.10",
)  # fmt: skip


@pytest.mark.parametrize("clause", CLAUSES)
@pytest.mark.parametrize("version", VERSIONS)
def test_met_by_agrees_with_packaging(clause: str, version: str) -> None:
    judge = Requirement(f"some-thing{clause}").specifier.contains(version, prereleases=True)
    assert parse_requirement(f"some-thing{clause}").met_by(version) == judge


@pytest.mark.parametrize(
    ("text", "name", "exact"),
    [
        ("backend.ai-agent==26.4.10", "backend-ai-agent", "26.4.10"),
        ("Backend_AI.Agent", "backend-ai-agent", ""),
        ("aiohttp[speedups] >= 3, < 4 ; python_version > '3'", "aiohttp", ""),
        ("thing @ https://host/thing-1.tar.gz", "thing", ""),
        ("thing==1.*", "thing", ""),
    ],
)
def test_names(text: str, name: str, exact: str) -> None:
    wanted = parse_requirement(text)
    assert (wanted.name, wanted.exact()) == (name, exact)


@pytest.mark.parametrize("text", ["", "-e .", "thing=1", "thing >> 1", "thing 1"])
def test_what_is_no_requirement(text: str) -> None:
    with pytest.raises(ValueError, match="not a package requirement"):
        parse_requirement(text)


def test_two_spellings_of_one_name() -> None:
    assert normalised("Backend.AI__agent") == normalised("backend-ai_agent")
