"""Checks of the doctor: Python holds the logic, `data/checks.toml` every text of a finding and who owns it.

@check("docker.live-restore-swarm", needs=("docker.not-running",))
def live_restore_with_swarm(machine: Machine, context: Context) -> Outcome:
    ...
    return problem(Evidence("docker info", "the engine", "swarm active", "only one of them"))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from string import Formatter
from types import ModuleType
from typing import Any

from msgspec import Struct, field

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.machine import Machine
from bai_wizard.core.page import CHECK_DEADLINE, Check, CheckWords, Context, Cost, Evidence, Finding, Result
from bai_wizard.core.state import Account
from bai_wizard.core.step import Step
from bai_wizard.data import read_toml
from bai_wizard.pages import ORDER

# The section of `data/checks.toml` whose checks each page has.
EVERY_PAGE = "every-page"


class Wording(Struct, frozen=True):
    """How one kind of failure reads: `problem` in one sentence, why, what to do, and the risk of doing it."""

    problem: str = ""
    cause: str = ""
    fix: str = ""
    risk: str = ""
    owner: str = "bai-wizard"


class CheckText(Struct, frozen=True):
    """The texts of one check.

    `title` describes the healthy state; only checks need it. `texts` are messages of other programs that point to
    this failure; `<…>` in them stands for a part that differs between nodes. `decided_by` are the checks that decide
    whether a node has the failure: normally the check itself. `seen_on` is the page whose steps fail with these
    messages: normally the check's own. `follows` are the checks whose problems usually cause this one. `formerly` is
    its id in earlier versions.
    """

    id: str
    page: str
    title: str
    wording: Wording
    variants: dict[str, Wording] = field(default_factory=dict)
    texts: tuple[str, ...] = ()
    seen_on: str = ""
    decided_by: tuple[str, ...] = ()
    formerly: str = ""
    follows: tuple[str, ...] = ()


class NotApplicable(Exception):
    """Raised by functions that checks call: this node has nothing to check, for the reason in the text."""


class Outcome(Struct, frozen=True):
    """What a check concluded. `variant` selects a wording, `values` fill its `{placeholders}`."""

    result: Result
    evidence: tuple[Evidence, ...] = ()
    reason: str = ""
    variant: str = ""
    values: dict[str, object] = field(default_factory=dict)
    remedy: tuple[Step, ...] = ()


def checks_in(*modules: ModuleType) -> tuple[Check, ...]:
    """Return the checks that modules define, in order."""
    return tuple(
        value for module in dict.fromkeys(modules) for value in vars(module).values() if isinstance(value, Check)
    )


def ok(*evidence: Evidence) -> Outcome:
    """The check passed."""
    return Outcome("ok", evidence)


def not_applicable(reason: str) -> Outcome:
    """This node has nothing to check."""
    return Outcome("not-applicable", reason=reason)


def unknown(reason: str) -> Outcome:
    """The check could not be completed. Never treated as passed."""
    return Outcome("cannot-tell", reason=reason)


def problem(*evidence: Evidence, variant: str = "", remedy: Sequence[Step] = (), **values: object) -> Outcome:
    """Something does not work, or will not after the next boot. Without evidence of that, the check passed."""
    return _failure("problem", evidence, variant, remedy, values)


def warning(*evidence: Evidence, variant: str = "", remedy: Sequence[Step] = (), **values: object) -> Outcome:
    """Something works but should be improved, or works only by luck. Without evidence, the check passed."""
    return _failure("warning", evidence, variant, remedy, values)


def _failure(
    result: Result, evidence: tuple[Evidence, ...], variant: str, remedy: Sequence[Step], values: dict[str, object]
) -> Outcome:
    return Outcome(result, evidence, "", variant, values, tuple(remedy)) if evidence else ok()


def require_account(machine: Machine, context: Context) -> Account:
    """Return the service account. Raises NotApplicable if it does not exist."""
    account = machine.account(context.account)
    if account is None:
        raise NotApplicable(f"account {context.account} does not exist")
    return account


def check(
    id: str,
    *,
    needs: tuple[str, ...] = (),
    deadline: float = CHECK_DEADLINE,
    root_cause: bool = False,
    needs_root: bool = False,
    cost: Cost = "cheap",
    group: str = "",
) -> Callable[[Callable[[Machine, Context], Outcome | tuple[Outcome, ...]]], WordedCheck]:
    """Make a function the check `id` of `data/checks.toml`; see `Check` for the options.

    A check that returns several outcomes has a finding for each of them.
    A check that raises StateUnknown could not be completed, and one that raises NotApplicable has nothing to check
    on this node, for the reason that the exception gives.
    """

    def decorate(function: Callable[[Machine, Context], Outcome | tuple[Outcome, ...]]) -> WordedCheck:
        def conclude(machine: Machine, context: Context) -> Outcome | tuple[Outcome, ...]:
            try:
                return function(machine, context)
            except StateUnknown as error:
                return unknown(str(error))
            except NotApplicable as error:
                return not_applicable(str(error))

        def look(machine: Machine, context: Context) -> Finding | tuple[Finding, ...]:
            outcome = conclude(machine, context)
            if isinstance(outcome, tuple):
                return tuple(finding(check_texts()[id], each) for each in outcome)
            return finding(check_texts()[id], outcome)

        def words() -> CheckWords:
            text = check_texts()[id]
            return CheckWords(text.title, text.wording.owner, text.formerly)

        page = id.partition(".")[0]
        return WordedCheck(id, page, words, look, needs, deadline, root_cause, needs_root, cost, group, conclude)

    return decorate


class WordedCheck(Check, frozen=True):
    """A check whose texts are in `data/checks.toml`; `conclude` is `run` without them."""

    conclude: Callable[[Machine, Context], Outcome | tuple[Outcome, ...]] = lambda _machine, _context: ok()


def unfixed(
    machine: Machine, context: Context, *checks: WordedCheck, results: tuple[Result, ...] = ("problem", "warning")
) -> tuple[Finding, ...]:
    """The findings of these checks. A check that cannot be completed adds none: the doctor reports the reason."""
    concluded = [(check, check.conclude(machine, context)) for check in checks]
    return tuple(
        finding(check_texts()[check.id], outcome)
        for check, outcomes in concluded
        for outcome in (outcomes if isinstance(outcomes, tuple) else (outcomes,))
        if outcome.result in results
    )


def finding(text: CheckText, outcome: Outcome) -> Finding:
    """Join the conclusion of a check with its texts.

    Raises KeyError for an unknown variant or a missing value, and ValueError for a value that no text uses.
    """
    if outcome.result not in ("problem", "warning"):
        owner = text.wording.owner
        return Finding(
            text.id, outcome.result, text.title, text.page, outcome.evidence, cause=outcome.reason, owner=owner
        )
    wording = text.variants[outcome.variant] if outcome.variant else text.wording
    unused = set(outcome.values) - placeholders(wording)
    if unused:
        raise ValueError(f"{text.id}: no text uses {', '.join(sorted(unused))}")
    return Finding(
        text.id,
        outcome.result,
        wording.problem.format(**outcome.values),
        text.page,
        outcome.evidence,
        wording.cause.format(**outcome.values),
        wording.fix.format(**outcome.values),
        wording.risk.format(**outcome.values),
        wording.owner,
        remedy=outcome.remedy,
    )


def placeholders(wording: Wording) -> set[str]:
    """The names of the values that a wording needs."""
    texts = (wording.problem, wording.cause, wording.fix, wording.risk)
    return {name for text in texts for _, name, _, _ in Formatter().parse(text) if name}


@cache
def check_texts() -> dict[str, CheckText]:
    """The texts of every check, and of failures that only the symptom search knows, by id."""
    return {
        f"{page}.{name}": _check_text(page, f"{page}.{name}", table)
        for section, entries in read_toml("checks.toml").items()
        for page in (ORDER if section == EVERY_PAGE else (section,))
        for name, table in entries.items()
    }


def _check_text(page: str, id: str, table: dict[str, Any]) -> CheckText:
    common = {key: value for key, value in table.items() if key in Wording.__struct_fields__}
    return CheckText(
        id,
        page,
        table.get("title", ""),
        Wording(**common),
        {key: Wording(**{**common, **value}) for key, value in table.items() if isinstance(value, dict)},
        tuple(table.get("texts", ())),
        table.get("seen_on", page),
        tuple(table.get("decided_by", (id,))),
        table.get("formerly", ""),
        tuple(table.get("follows", ())),
    )
