"""Any file content yields answers or readable problems, never a traceback."""

from __future__ import annotations

from typing import Any

import tomlkit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bai_wizard.answers.load import loads
from bai_wizard.answers.model import report
from bai_wizard.core.errors import AnswersError, Problem
from bai_wizard.pages import TABLES, settings_of
from tests.unit.answers.paths import GOOD

FULL = (GOOD / "full.toml").read_text(encoding="utf-8")
FOUR = (GOOD / "four-nodes.toml").read_text(encoding="utf-8")


def read(text: str) -> None:
    problems: list[Problem] = []
    try:
        assert report(loads(text, "a.toml", "bai-a01"))
    except AnswersError as error:
        problems = error.problems or [Problem("", -1, 0, "", "")]
    lines = text.split("\n")
    for problem in problems:
        assert problem.reason
        assert 0 <= problem.line <= len(lines)
        assert problem.line == 0 or 1 <= problem.column <= len(lines[problem.line - 1]) + 2


@given(st.sampled_from([FULL, FOUR]), st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_good_file_with_a_slip_of_the_hand(text: str, data: st.DataObject) -> None:
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        length = data.draw(st.integers(0, 12))
        slip = data.draw(
            st.text(max_size=4) | st.sampled_from([*"[]{}=\"'#,.\n", '"""', "[[", "]]", "true", "0x", "-"])
        )
        text = text[:at] + slip + text[at + length :]
    read(text)


fields = st.sampled_from([(table, name) for table in TABLES for name in settings_of(table).infos])
plain: st.SearchStrategy[Any] = st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates()
words = st.sampled_from(
    ["name", "type", "nfs", "local", "host", "password", "env", "prompt", "ip", "names", "nofile"]
)
values: st.SearchStrategy[Any] = st.recursive(
    plain | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words | st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(fields, values, max_size=6), st.booleans())
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_value_under_any_key(wild: dict[tuple[str, str], Any], overridden: bool) -> None:
    tables: dict[str, Any] = {}
    for (table, name), value in wild.items():
        tables.setdefault(table, {})[name] = value
    document = (
        {"version": 1, "override": [{"hosts": ["bai-*"], **tables}]} if overridden else {"version": 1, **tables}
    )
    read(tomlkit.dumps(document))
