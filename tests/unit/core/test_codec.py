"""Steps, changes, plans, events and findings go to JSON and back unharmed."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bai_wizard.core.change import Change
from bai_wizard.core.codec import KEPT, SHOWN
from bai_wizard.core.event import Event
from bai_wizard.core.finding import Evidence, Finding
from bai_wizard.core.plan import Plan, PlannedStep
from bai_wizard.core.primitives import closed_set
from bai_wizard.core.secret import Secret
from bai_wizard.core.state import State
from bai_wizard.core.step import Blocked, Pending, Unchanged, step_from_json
from bai_wizard.steps.directory import Directory
from bai_wizard.steps.write_file import DropIn

# `st.from_type` reads the same type hints as the codec, so every field of every kind is exercised.
st.register_type_strategy(Secret, st.builds(Secret, st.text(max_size=20)))
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


@given(st.from_type(closed_set()))
def test_primitives(primitive: Any) -> None:
    assert KEPT.decode(closed_set(), through_json(KEPT.encode(primitive))) == primitive


@given(st.from_type(State))  # type: ignore[arg-type]
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
