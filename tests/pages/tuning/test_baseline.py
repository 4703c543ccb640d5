"""Original values are recorded as data in our files: the wording of comments is irrelevant."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from bai_wizard.core.state import Entry, Key
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.pages.tuning.check_limits import limit_statements
from bai_wizard.pages.tuning.checks import statements
from bai_wizard.pages.tuning.files import (
    MARK,
    RecordedLimit,
    RecordedParameter,
    line_of,
    recorded_limits,
    recorded_parameters,
)
from bai_wizard.pages.tuning.plan import PAGE
from tests.cache import CHECKOUT
from tests.pages.storage.lifecycle import plan_of, run
from tests.pages.tuning.test_plan import LIMITS, PATH, applied, settings_in
from tests.pages.ubuntu import bai, ubuntu

RUN = CHECKOUT / "tests/fixtures/released/0.1.0/outputs/applied.jsonl"
TEXT = st.text(max_size=20)


@given(st.builds(RecordedParameter, TEXT, st.none() | TEXT, TEXT, TEXT, st.booleans()))
def test_parameters_are_read_back(entry: RecordedParameter) -> None:
    line = line_of(entry)
    assert line.isascii()
    assert len(line.splitlines()) == 1
    assert dict(recorded_parameters(("# text", line))) == {1: entry}


@given(st.builds(RecordedLimit, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT))
def test_limits_are_read_back(entry: RecordedLimit) -> None:
    assert dict(recorded_limits((line_of(entry),))) == {0: entry}


@pytest.mark.parametrize(
    "damage",
    ["", "{", "[]", "null", "{}", '"x"', "[" * 100_000, '{"key": 1}',
     '{"key": "a.b", "before": 1, "origin": "", "wanted": "1", "kept": true}',
     '{"key": "a.b", "before": "1", "origin": "", "wanted": "1", "kept": "no"}',
     '{"key": "a.b", "before": "1", "origin": "", "wanted": "1", "kept": true, "more": 1}'],
)  # fmt: skip
def test_a_damaged_line_is_not_remembered_and_no_comment_takes_its_place(damage: str) -> None:
    comment = "# a.b: kept 4096 (manual: 1024)"
    assert list(recorded_parameters((comment, MARK + damage))) == []


def without_data(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith(MARK))


def put(machine: SimulatedMachine, path: str, text: str) -> None:
    entry = machine.entry(path)
    assert entry is not None
    machine.set_state(Key("file", path), replace(entry, content=text.encode()))


def node_of_0_1_0(tmp_path: Path) -> SimulatedMachine:
    """A node whose files have comments only."""
    machine = applied(ubuntu(bai(), sysctl={"net.core.rmem_max": "33554432"}), tmp_path)
    for path in (PATH, LIMITS):
        put(machine, path, without_data(machine.text(path) or ""))
    return machine


def test_files_of_0_1_0_are_understood_and_written_with_data_once(tmp_path: Path) -> None:
    today = applied(ubuntu(bai(), sysctl={"net.core.rmem_max": "33554432"}), tmp_path / "1")
    older = node_of_0_1_0(tmp_path / "2")
    assert statements(older) == statements(today)
    assert limit_statements(older) == limit_statements(today)
    plan = plan_of(PAGE, {}, older)
    assert [item.step.id for item in plan.pending()] == ["tuning.sysctl-file", "tuning.limits-file"]
    run(older, plan, tmp_path / "3")
    for path in (PATH, LIMITS):
        assert older.text(path) == today.text(path)
    assert plan_of(PAGE, {}, older).is_empty()


def test_the_comments_of_a_released_run_are_understood() -> None:
    """The text as version 0.1.0 wrote it, and not as today's code would have."""
    text = RUN.read_text() + (CHECKOUT / "tests/fixtures/released/0.1.0/outputs/plan.jsonl").read_text()
    result = {
        json.loads(f'"{line}"') for line in re.findall(r"(?:\\n|\+)(# [\w.]+: (?:kept|was) [^\\]*?\))(?=\\n)", text)
    }
    lines = tuple(result)
    assert len(dict(recorded_parameters(lines))) == len(lines) > 0


@pytest.mark.parametrize("path", [PATH, LIMITS])
def test_comments_may_be_translated(tmp_path: Path, path: str) -> None:
    machine = applied(ubuntu(bai(), sysctl={"net.core.rmem_max": "33554432"}), tmp_path)
    before = statements(machine), limit_statements(machine)
    lines = (machine.text(path) or "").splitlines()
    head, rest = lines[0], lines[1:]
    translated = [
        f"# {line[2:].replace('kept', '유지').replace('was', '이전')}" if line.startswith("# ") else line
        for line in rest
    ]
    assert translated != rest
    put(machine, path, "\n".join([head, *translated, ""]))
    assert (statements(machine), limit_statements(machine)) == before
    run(machine, plan_of(PAGE, {}, machine), tmp_path / "again")
    assert (machine.text(path) or "").splitlines() == lines, "what was there before us is still known"


def test_nothing_of_the_data_is_a_setting(tmp_path: Path) -> None:
    machine = applied(ubuntu(bai()), tmp_path)
    text = machine.text(PATH) or ""
    assert MARK in text
    assert settings_in(text) == settings_in(without_data(text))
    assert isinstance(machine.entry(PATH), Entry)
