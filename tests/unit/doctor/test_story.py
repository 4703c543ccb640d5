"""Findings by root cause."""

from __future__ import annotations

from bai_wizard.core.page import Finding, Result
from bai_wizard.doctor.run import known_checks
from bai_wizard.doctor.story import is_safe, stories
from bai_wizard.pages.check import check_texts
from bai_wizard.steps.files import DropIn

DRIVER, CUDA, TOOLKIT = (
    "accelerators.nvidia-module-missing",
    "accelerators.cuda-runtime",
    "accelerators.nvidia-docker-no-driver",
)


def found(id: str, result: Result = "problem", **about: object) -> Finding:
    return Finding(id, result, id, id.partition(".")[0], **about)  # type: ignore[arg-type]


def tree(*findings: Finding) -> dict[str, list[str]]:
    return {story.cause.id: [each.id for each in story.follows] for story in stories(findings)}


def test_consequences_belong_to_their_cause_in_any_order() -> None:
    assert tree(found(CUDA), found(DRIVER), found(TOOLKIT)) == {DRIVER: [CUDA, TOOLKIT]}


def test_without_its_cause_a_consequence_is_a_problem_of_its_own() -> None:
    assert tree(found(CUDA), found(DRIVER, "ok")) == {CUDA: []}
    assert tree(found(CUDA), found(DRIVER, "cannot-tell")) == {CUDA: []}
    assert tree(found(CUDA), found(DRIVER, ignored="known")) == {CUDA: [], DRIVER: []}


def test_causes_are_followed_to_the_first_one() -> None:
    chain = [found(f"storage.{name}") for name in ("version-file", "not-mounted", "nfs-helper-missing")]
    assert tree(*chain) == {"storage.nfs-helper-missing": ["storage.version-file", "storage.not-mounted"]}


def test_suppressed_checks_wait_for_the_cause_of_what_suppressed_them() -> None:
    waiting = found("accelerators.nvidia-docker-no-cdi-vendor", "not-applicable", suppressed_by=TOOLKIT)
    (story,) = stories([found(DRIVER), found(TOOLKIT), waiting])
    assert story.waiting == (waiting,)


def test_every_finding_is_shown_once() -> None:
    bad = [found(check.id) for check in known_checks()]
    shown = [finding.id for story in stories(bad) for finding in story.findings]
    assert sorted(shown) == sorted(finding.id for finding in bad)


def test_the_data_names_checks_and_has_no_circle() -> None:
    known = {check.id for check in known_checks()}
    for id, text in check_texts().items():
        assert set(text.follows) <= known, id
        assert id not in text.follows


def test_a_fix_is_safe_without_risk_disruption_and_reboot() -> None:
    step = DropIn(id="x.y", path="/etc/x", text="", why="")
    assert is_safe(found("x", remedy=(step,)))
    assert not is_safe(found("x"))
    assert not is_safe(found("x", remedy=(step,), risk="data may be lost"))
    assert not is_safe(found("x", remedy=(step,), ignored="accepted"))
    late = DropIn(id="x.y", path="/etc/x", text="", why="", effect="reboot")
    assert not is_safe(found("x", remedy=(late,)))
    disruptive = DropIn(id="x.y", path="/etc/x", text="", why="", interrupts=("docker.restart",))
    assert not is_safe(found("x", remedy=(disruptive,)))
