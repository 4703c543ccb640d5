"""What a plan, an undo, an interruption and a result read like: the same words on every front end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from bai_wizard.core.consent import Affected, Disruptions, Interrupt, names_of
from bai_wizard.core.step import Blocked, Pending, Plan, PlannedStep, Step, Unchanged
from bai_wizard.exit_codes import ExitCode
from bai_wizard.locale import ntr, tr
from bai_wizard.ui.consequences import DISRUPTS, consequences_of
from bai_wizard.ui.summary import is_whole, summary_lines

if TYPE_CHECKING:
    from bai_wizard.engine.choose import Held
    from bai_wizard.engine.result import Result
    from bai_wizard.engine.undo import UndoPlan

# How many of the affected containers or processes are named.
MAX_NAMES = 40


def indented(text: str) -> str:
    """A multi-line text, indented so that a tool's output cannot look like a line of the wizard."""
    return text.replace("\n", "\n    ")


def plan_lines(plan: Plan, disruptions: Disruptions | None = None, *, diff: bool = False) -> Iterator[str]:
    """The plan's consequences, then by page what is done; with `diff`, every pending step with its diff."""
    if pending := len(plan.pending()):
        steps = len(plan.steps)
        headline = ntr(
            "{pending} of {count} step to apply", "{pending} of {count} steps to apply", steps, pending=pending
        )
    elif plan.unset:
        headline = tr("no changes needed, but not everything is set up")
    else:
        headline = tr("no changes needed")
    yield f"{indented(plan.host)}: {headline}"
    if pending:
        yield consequences_of(plan, disruptions).line()
    yield from diff_lines(plan) if diff else summary_lines(plan)
    yield from (tr("note: {text}", text=indented(tr(note))) for note in plan.notes)
    yield from unset_lines(plan)


def diff_lines(plan: Plan) -> Iterator[str]:
    """By page: every pending step with its diff, the others in one line each."""
    page = ""
    for planned in plan.steps:
        if isinstance(planned.verdict, Unchanged) and not planned.verdict.note:
            continue
        if planned.step.page != page:
            page = planned.step.page
            yield f"\n[{page}]"
        words = tags(planned.step) if isinstance(planned.verdict, Pending) else []
        tail = f"  ({'; '.join(words)})" if words else ""
        yield f"{planned.step.id}: {indented(tr(planned.step.describe()))}{tail}"
        yield from (f"  {line}" for line in change_lines(planned))


def unset_lines(plan: Plan) -> Iterator[str]:
    """What the pages of the plan leave unconfigured."""
    yield from (tr("not set up: {what}", what=f"[{item.page}] {indented(tr(item.reason))}") for item in plan.unset)


def tags(step: Step) -> list[str]:
    """A step's special properties, in a few words each."""
    words = [tr("optional")] if step.optional else []
    if step.effect != "now":
        words.append(tr("at next login") if step.effect == "next-login" else tr("after a reboot"))
    return words + [tr(DISRUPTS[interrupt]) for interrupt in step.interrupts]


def reason_in_words(verdict: Blocked) -> str:
    """Why a step must not be applied, or that it cannot be determined."""
    return tr("Cannot be determined: {reason}", reason=verdict.reason) if verdict.undetermined else tr(verdict.reason)


def change_lines(planned: PlannedStep) -> Iterator[str]:
    """The changes of a pending step as diffs, or why nothing is changed."""
    step, verdict = planned.step, planned.verdict
    if isinstance(verdict, Blocked):
        yield indented(blocked_reason(verdict))
    elif isinstance(verdict, Unchanged):
        yield indented(tr(verdict.note))
    else:
        yield from (tr("Please check: {what}", what=indented(warning)) for warning in step.warnings())
        for change in verdict.changes:
            yield from change.diff().rstrip("\n").split("\n")
        if verdict.is_partial:
            yield tr("The rest will be known after {step}.", step=verdict.known_after or tr("a reboot"))


def blocked_reason(verdict: Blocked) -> str:
    """Why a step is not applied."""
    if verdict.undetermined:
        return tr("Cannot be determined: {reason}", reason=verdict.reason)
    return tr("Blocked: {reason}", reason=verdict.reason)


def differences(old: Plan, new: Plan) -> list[str]:
    """What was added to or removed from the confirmed plan, apart from what has been done meanwhile."""
    before = {item.step.id: item for item in old.steps}
    lines = [
        tr("New since the plan was confirmed: {step}", step=f"{item.step.id}: {tr(item.step.describe())}")
        for item in new.pending()
        if item.step.id not in before or not before[item.step.id].is_pending
    ]
    now = {item.step.id for item in new.steps}
    return lines + [tr("No longer planned: {step}", step=name) for name in before if name not in now]


def exact_differences(old: Plan, new: Plan) -> list[str]:
    """How a new plan differs from an old one in what its steps do; empty if applying either does the same."""
    from difflib import unified_diff

    before, now = ({item.step.id: item for item in plan.steps} for plan in (old, new))
    lines: list[str] = []
    for name in dict.fromkeys((*before, *now)):
        was, will = before.get(name), now.get(name)
        if was == will or not (_does_something(was) or _does_something(will)):
            continue
        old_lines = [*_with_title(was, brief=not _does_something(will))]
        new_lines = [*_with_title(will)]
        diff = [line for line in [*unified_diff(old_lines, new_lines, n=0, lineterm="")][2:] if line[0] in "+-"]
        lines.append(f"{name}:")
        lines += [f"  {line}" for line in diff] or [f"  {tr('the step is defined differently')}"]
    if not lines and _pending_ids(old) != _pending_ids(new):
        lines.append(tr("the steps have another order"))
    return lines


def _does_something(item: PlannedStep | None) -> bool:
    return item is not None and not isinstance(item.verdict, Unchanged)


def _pending_ids(plan: Plan) -> list[str]:
    return [item.step.id for item in plan.pending()]


def _with_title(item: PlannedStep | None, *, brief: bool = False) -> Iterator[str]:
    """A step as one plan has it; `brief`: without its changes."""
    if item is None:
        return
    yield tr(item.step.describe())
    if not _does_something(item):
        yield tr("no changes needed")
    elif not brief:
        yield from change_lines(item)


def interruptions(disruptions: Mapping[Interrupt, tuple[Affected, ...]]) -> list[str]:
    """What would be interrupted, one line per kind, and below it what is known of sessions and containers."""
    if not disruptions:
        return []
    from bai_wizard.ui.workloads import workload_lines

    lines: list[str] = []
    for what, affected in disruptions.items():
        names = indented(names_of(affected, MAX_NAMES))
        lines.append(tr("{what} would interrupt: {names}", what=what, names=names))
        lines += [f"  {indented(line)}" for line in workload_lines(affected)[:MAX_NAMES]]
    return lines


def undo_lines(run: str, wanted: UndoPlan, held: Held, *, force: bool = False, diff: bool = False) -> list[str]:
    """What an undo would do; with `diff`, also every line of the files that it removes or restores as a whole."""
    if changes := len(wanted.changes) - wanted.commands:
        what = ntr("{count} change", "{count} changes", changes)
    elif wanted.conflicts:
        what = tr("no change can be undone")
    elif wanted.in_use:
        what = tr("what is left of it is in use by others and is kept")
    else:
        what = tr("none of its changes are left on this node; this is recorded") if held else f"{held}"
    if wanted.commands:
        what += ntr(", then {count} command", ", then {count} commands", wanted.commands)
    lines = [tr("undo run {run}: {what}", run=run, what=what)]
    lines += [tr("recovered first: {what}", what=indented(text)) for text in wanted.recovered]
    for step, change in wanted.changes:
        text = change.headline() if is_whole(change) and not diff else change.diff()
        lines += [f"{tr(step)}:", *("  " + line for line in text.rstrip("\n").split("\n"))]
    kept = tr("kept") if force else tr("kept (--force also undoes what was edited after the run)")
    lines += [f"{kept}: {indented(tr(text))}" for text in wanted.conflicts]
    lines += [
        tr("damaged records (what they describe is not undone): {what}", what=indented(text))
        for text in wanted.damages
    ]
    lines += interruptions(wanted.disruptions)
    return lines + [tr("not undone: {what}", what=indented(text)) for text in wanted.lasting]


def counts(result: Result) -> str:
    """How many steps ended in which way; for an undo, how many changes."""
    if result.undone is not None:
        return undo_counts(result.undone, result.kept or 0)
    parts = (
        tr("{count} changed", count=result.count("changed")),
        tr("{count} unchanged", count=result.count("unchanged")),
        tr("{count} skipped", count=result.count("skipped")),
        tr("{count} failed", count=result.count("failed")),
    )
    return ", ".join(parts)


def undo_counts(undone: int, kept: int) -> str:
    """`12 changes undone, 2 kept`."""
    changes = ntr("{count} change undone", "{count} changes undone", undone)
    return f"{changes}, {tr('{count} kept', count=kept)}" if kept else changes


def result_headline(result: Result, kind: str) -> str:
    """How a run ended, in one sentence."""
    code = result.code()
    if kind == "undo":
        return tr("Undone.") if code == ExitCode.OK else tr("Partially undone.")
    return {
        ExitCode.OK: tr("Done. All changes of this run are in effect."),
        ExitCode.FAILED: tr("A step failed. Completed changes were kept (listed below)."),
        ExitCode.REBOOT: tr("A reboot is needed before the rest can be applied."),
        ExitCode.OPTIONAL_FAILED: tr("Done, but optional steps failed."),
        ExitCode.INTERRUPTED: tr("Stopped as requested. Remaining steps were not started."),
    }.get(code, tr("The run ended with code {code}.", code=int(code)))


def result_lines(result: Result) -> Iterator[str]:
    """The counts, then failures and what was skipped, and the pending effects."""
    yield counts(result)
    for step in result.steps:
        if step.outcome in ("failed", "skipped"):
            yield f"{tr(step.outcome)}: {step.step}: {indented(tr(step.text))}"
    yield from pending_effects(result)


def pending_effects(result: Result) -> Iterator[str]:
    """What is not in effect yet, and what undo cannot undo."""
    if login := result.waits_for("next-login"):
        yield tr(
            "Takes effect at next login: {steps}", steps=", ".join(indented(tr(step.describe)) for step in login)
        )
    if reboot := result.waits_for("reboot"):
        yield tr(
            "Takes effect after a reboot: {steps}", steps=", ".join(indented(tr(step.describe)) for step in reboot)
        )
    elif result.stopped == "reboot":
        yield tr("A reboot is needed before the rest can be applied.")
    yield from (tr("Kept by undo: {what}", what=indented(text)) for text in result.lasting)
