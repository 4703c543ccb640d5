"""The consequences of a plan: parts that are known, in the words of every front end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bai_wizard.core.consent import Affected
from bai_wizard.core.operation import Change
from bai_wizard.core.state import image_key
from bai_wizard.core.step import Blocked, Pending, Plan, PlannedStep, Step, Unchanged
from bai_wizard.engine.directory import create_run
from bai_wizard.engine.events import EventLog
from bai_wizard.engine.lock import StatePaths
from bai_wizard.pages.images.steps import Pull, PulledImages
from bai_wizard.steps.files import DropIn
from bai_wizard.steps.packages import Packages
from bai_wizard.ui.consequences import consequences_of
from bai_wizard.ui.durations import about, duration, history_of, size_text
from bai_wizard.ui.present import plan_lines


def drop_in(name: str, **about: object) -> DropIn:
    return DropIn(id=f"tuning.{name}", path=f"/etc/{name}", text="x", why="needed", **about)  # type: ignore[arg-type]


def pending(step: Step, *images: str, **about: object) -> PlannedStep:
    changes = tuple(Change(name, "create", key=image_key(name)) for name in images)
    return PlannedStep(step, Pending(changes, **about))  # type: ignore[arg-type]


IMAGES = PulledImages(
    id="images.pull",
    images=(Pull("a:1", 4_000_000_000), Pull("b:1", 2_200_000_000), Pull("c:1", 0)),
    platform="linux/amd64",
)
PACKAGES = Packages(id="docker.packages", names=("docker-ce",), why="install Docker", interrupts=("docker.restart",))
RUNNING = {"docker.restart": tuple(Affected(f"container:{n}", f"session-{n}") for n in range(3))}


def line(*steps: PlannedStep, disruptions: object = None) -> str:
    return consequences_of(Plan("gpu01", steps), disruptions).line()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ((), ""),
        ((PlannedStep(drop_in("a"), Unchanged()), PlannedStep(drop_in("b"), Blocked("no"))), ""),
        ((pending(drop_in("a")),), "1 step · ~1 s · undo: all"),
        ((pending(drop_in("a", effect="reboot")),), "1 step · ~1 s · reboot later · undo: all"),
        ((pending(drop_in("a"), after_reboot=True),), "1 step · ~1 s · reboot later · undo: all but 0+"),
        ((pending(drop_in("a", effect="next-login")),), "1 step · ~1 s · new login later · undo: all"),
        ((pending(IMAGES, "a:1", "b:1"),), "1 step · ~3 min · 6.2 GB download · 18.6 GB disk · undo: all"),
        ((pending(IMAGES, "b:1", "c:1"),), "1 step · ~1 min · 2.2 GB+ download · 6.6 GB+ disk · undo: all"),
        (
            (pending(PACKAGES, lasting=("packages stay installed: docker-ce",)), pending(drop_in("a"))),
            "2 steps · ~1 min · restarts Docker · undo: all but 1",
        ),
    ],
)
def test_only_known_parts_are_shown(steps: tuple[PlannedStep, ...], expected: str) -> None:
    assert line(*steps) == expected


@pytest.mark.parametrize(
    ("disruptions", "part"), [(None, "restarts Docker"), ({}, ""), (RUNNING, "restarts Docker: 3 containers")]
)
def test_a_disruption_is_counted_when_it_is_known_what_it_affects(disruptions: object, part: str) -> None:
    parts = [each.text for each in consequences_of(Plan("n", (pending(PACKAGES),)), disruptions).parts()]  # type: ignore[arg-type]
    assert [text for text in parts if "Docker" in text] == ([part] if part else [])


def test_details_name_the_steps_and_what_is_affected() -> None:
    parts = {part.kind: part.details for part in consequences_of(Plan("n", (pending(PACKAGES),)), RUNNING).parts()}  # type: ignore[arg-type]
    assert parts["disruption"] == ("session-0", "session-1", "session-2", "by: install Docker: docker-ce")
    assert parts["time"] == ("~1 min  install Docker: docker-ce",)


def test_the_headless_plan_says_the_same() -> None:
    plan = Plan("gpu01", (pending(PACKAGES),))
    assert list(plan_lines(plan, RUNNING))[1] == consequences_of(plan, RUNNING).line()  # type: ignore[arg-type]
    assert "·" not in "".join(plan_lines(Plan("gpu01")))


def test_programs_get_numbers() -> None:
    body = consequences_of(Plan("n", (pending(IMAGES, "a:1"), pending(drop_in("a", effect="reboot"))))).to_json()
    assert body["download_bytes"] == 4_000_000_000
    assert body["reboot"] == ["tuning.a"]
    assert json.loads(json.dumps(body)) == body


def test_earlier_runs_of_the_node_replace_estimates(tmp_path: Path) -> None:
    paths = StatePaths(tmp_path)
    plan = Plan("gpu01", (pending(PACKAGES),))
    run = create_run(paths, plan, {})
    log = EventLog(run.events, run.id)
    log.emit("started", "x", step="docker.packages")
    log.emit("finished", step="docker.packages", outcome="changed")
    log.emit("started", "x", step="tuning.a")
    log.emit("finished", step="tuning.a", outcome="failed")
    log.close()
    begun, ended = "2026-01-01T10:00:00.000000Z", "2026-01-01T10:05:00.000000Z"
    lines = [json.loads(text) for text in run.events.read_text().splitlines()]
    for event in lines:
        event["t"] = begun if event["kind"] == "started" else ended
    run.events.write_text("".join(json.dumps(event) + "\n" for event in lines))
    run.journal.touch()  # it has begun
    history = history_of(paths)
    assert history == {"docker.packages": 300.0}, "a step that failed says nothing about its duration"
    assert consequences_of(plan, None, history).line().startswith("1 step · ~5 min")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (0.2, "1 s"), (59, "59 s"), (252, "4:12 min"), (660, "11 min"), (7800, "2 h 10 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_estimates_do_not_look_exact() -> None:
    assert [about(seconds) for seconds in (4, 43, 88, 679)] == ["~4 s", "~40 s", "~1:30 min", "~11 min"]


@pytest.mark.parametrize(
    ("size", "text"), [(640_000, "640 kB"), (31_000_000, "31 MB"), (13_200_000_000, "13.2 GB"), (176e9, "176 GB")]
)
def test_sizes(size: float, text: str) -> None:
    assert size_text(size) == text
