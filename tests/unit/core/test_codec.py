"""Steps, changes, plans, events and findings survive a JSON round trip."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bai_wizard.core.codec import KEPT, SHOWN, bytes_from_json
from bai_wizard.core.event import Event
from bai_wizard.core.operation import Change, Operation
from bai_wizard.core.page import Evidence, Finding
from bai_wizard.core.secret import Secret
from bai_wizard.core.state import Key, Package, State
from bai_wizard.core.step import Blocked, Pending, Plan, PlannedStep, Unchanged, step_from_json
from bai_wizard.resources import load_operations
from bai_wizard.steps.files import Directory, DropIn

# `st.from_type` reads the same type hints as the codec, so every field of every kind is exercised.
st.register_type_strategy(Secret, st.builds(Secret, st.text(max_size=20)))
st.register_type_strategy(Key, st.builds(Key, st.from_regex("[a-z-]+", fullmatch=True), st.text()))
# Not a number is equal to nothing, not even to itself.
st.register_type_strategy(float, st.floats(allow_nan=False))
CHANGES = st.from_type(Change)
VERDICTS = st.one_of(
    st.builds(Unchanged, st.text(), st.booleans()),
    st.builds(Pending, st.tuples(CHANGES), st.text(), st.tuples(st.text())),
    st.builds(Blocked, st.text()),
)
STEPS = st.one_of(
    st.builds(DropIn, id=st.text(), path=st.text(), text=st.text(), why=st.text(), mode=st.integers(0, 0o7777)),
    st.builds(Directory, id=st.text(), path=st.text(), owner=st.text(), optional=st.booleans()),
)


def through_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


load_operations()


@given(st.one_of(*map(st.from_type, Operation.kinds.values())))
def test_operations(operation: Any) -> None:
    assert KEPT.decode(Operation, through_json(KEPT.encode(operation))) == operation


@given(st.one_of(*map(st.from_type, State.kinds.values())))
def test_states(state: Any) -> None:
    assert KEPT.decode(State | None, through_json(KEPT.encode(state))) == state


@given(STEPS)
def test_steps(step: Any) -> None:
    assert step_from_json(KEPT, through_json(KEPT.encode(step))) == step


@given(st.lists(st.builds(PlannedStep, STEPS, VERDICTS), max_size=4))
def test_plans_and_their_digest(planned: list[PlannedStep]) -> None:
    plan = Plan("host", tuple(planned))
    back = Plan.from_json(through_json(plan.to_json(KEPT)))
    assert back == plan
    assert back.digest() == plan.digest()


@given(CHANGES)
def test_changes_can_always_be_shown(change: Change) -> None:
    assert SHOWN.decode(Change, through_json(SHOWN.encode(change))) == change
    assert change.subject in change.diff() or "\n" in change.subject or not change.is_short()


@given(
    st.builds(
        Event,
        t=st.text(min_size=1),
        run=st.text(min_size=1),
        id=st.integers(0),
        kind=st.just("log"),
        text=st.text(),
        done=st.none() | st.integers(0),
        data=st.none() | st.just({"a": [1]}),
    )
)
def test_events(event: Event) -> None:
    assert Event.from_json(through_json(event.to_json())) == event


@given(st.builds(Evidence, st.text(), st.text(), st.text(), st.text()), st.text())
def test_findings(evidence: Evidence, cause: str) -> None:
    finding = Finding("id", "problem", "title", "page", (evidence,), cause)
    shown = through_json(finding.to_json())
    assert shown["evidence"][0]["where"] == evidence.where
    assert (shown["kind"], shown["cause"]) == ("finding", cause)


@given(st.text(min_size=4).filter(lambda text: text.strip() == text))
def test_a_secret_is_never_shown(text: str) -> None:
    secret = Secret(text)
    assert text not in (repr(secret), str(secret), f"{secret}") or text == "***"
    assert SHOWN.encode(secret) == "***"


@pytest.mark.parametrize("text", ["base64:YW Jj", "base64:YWJj!", "base64:YWJ", "hex:00", ""])
def test_bytes_of_another_form_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        bytes_from_json(text)


@pytest.mark.parametrize(
    ("wanted", "actual", "matches"),
    [
        (Package(""), Package("1.0"), True),
        (Package("1.0"), Package("1.0"), True),
        (Package("2.0"), Package("1.0"), False),
        (Package(""), Package("1.0", held=True), False),
        (Package(""), None, False),
    ],
)
def test_which_package_is_as_predicted(wanted: Package, actual: Package | None, matches: bool) -> None:
    """An empty version is predicted where any will do."""
    assert wanted.matches(actual) is matches
