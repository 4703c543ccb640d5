"""Troubleshooting by line prompts: what is seen, what the checks found, a remedy carried out as a run and proven."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from bai_wizard.compose import Wish
from bai_wizard.core.finding import Finding
from bai_wizard.core.machine import Machine
from bai_wizard.core.plan import Plan
from bai_wizard.headless.lines import Talk
from bai_wizard.texts import tr
from bai_wizard.wizard.draft import Draft

# Shows a plan, asks, and carries it out to its end; False when it was not begun.
CarryOut = Callable[[Plan, Wish], bool]


def troubleshoot(talk: Talk, machine: Machine, draft: Draft, carry_out: CarryOut) -> None:
    """Asks what is seen, tells what is wrong and offers the remedies, until somebody goes back.

    Raises Back, Gone, WizardError.
    """
    while True:
        talk.say(tr("Every check looks, none changes anything."))
        talk.say(tr("What do you see? Type or paste it, and end with a line that is a dot alone."))
        seen = talk.ask_lines(tr("An empty line looks at everything:"))
        wish = draft.wish_to_look()
        ignored = draft.value("doctor", ("ignore",)) or {}
        talk.say(tr("looking…"))
        findings = _by_text(talk, machine, wish, seen) if seen else _everything(talk, machine, wish, ignored)
        mendable = [each for each in findings if not each.ignored and not _remedy(each, machine).is_empty()]
        if not mendable:
            continue
        talk.say(tr("There is a remedy for:"))
        shown = {str(number): finding for number, finding in enumerate(mendable, 1)}
        for number, finding in shown.items():
            talk.say(f"  {number}  {finding.title}")
        chosen = shown[talk.ask(tr("Which one? (b goes back)"), known=tuple(shown))]
        if carry_out(_remedy(chosen, machine), replace(draft.wish(), fix=chosen.id)):
            _ask_again(talk, machine, chosen, wish)


def _everything(talk: Talk, machine: Machine, wish: Wish, ignored: Mapping[str, str]) -> Sequence[Finding]:
    from bai_wizard.doctor.run import all_checks, examine
    from bai_wizard.doctor.text import report_lines

    findings = examine(all_checks(), machine, wish.context, ignored)
    talk.say("\n".join(report_lines(machine.host, findings, lambda finding: _remedy(finding, machine))))
    return findings


def _by_text(talk: Talk, machine: Machine, wish: Wish, seen: str) -> Sequence[Finding]:
    """What the probes that decide between the failures with such a text found wrong, each once."""
    from bai_wizard.doctor.candidates import candidate_lines
    from bai_wizard.doctor.fix import BAD
    from bai_wizard.doctor.run import all_checks
    from bai_wizard.doctor.search import search

    found = search(seen, machine, wish.context, all_checks())
    talk.say("\n".join(candidate_lines(found, lambda finding: _remedy(finding, machine))))
    wrong = (finding for each in found for finding in each.findings if finding.result in BAD)
    return tuple({finding.id: finding for finding in wrong}.values())


def _ask_again(talk: Talk, machine: Machine, chosen: Finding, wish: Wish) -> None:
    from bai_wizard.doctor.fix import bad_findings
    from bai_wizard.doctor.run import all_checks

    checks = [check for check in all_checks() if check.id == chosen.id]
    if bad_findings(checks, machine, wish.context):
        talk.say("! " + tr("Looked again: it is still there: {title}", title=chosen.title))
    else:
        talk.say(tr("Looked again: it is gone: {title}", title=chosen.title))


def _remedy(finding: Finding, machine: Machine) -> Plan:
    from bai_wizard.doctor.remedy import plan_steps

    return plan_steps(finding.remedy, machine, machine.host)
