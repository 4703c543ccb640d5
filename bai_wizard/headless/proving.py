"""When a plan without changes is worth a proof, and what the proof rests on besides the node."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from bai_wizard import compose
from bai_wizard.core.plan import Plan
from bai_wizard.core.secret import redact
from bai_wizard.engine.proof.proof import keep, prove
from bai_wizard.engine.proof.reads import NotingMachine
from bai_wizard.pages import load

if TYPE_CHECKING:
    from bai_wizard.answers.model import Answers


def keep_proof(
    arguments: argparse.Namespace, answers: Answers, wish: compose.Wish, plan: Plan, machine: NotingMachine
) -> None:
    """Keeps the proof for the plain command line on a node of its own; for any other there is none."""
    from bai_wizard.engine.run.result import nothing_done
    from bai_wizard.headless.text import plan_lines, summary_lines

    files = _files(answers)
    plain = arguments.words == ["--headless", arguments.headless] and arguments.headless != "-"
    if not plain or files is None or "sources" in answers.tables:
        return
    if not all(load(name).reproducible(wish.settings[compose.table_of(name)]) for name in wish.pages):
        return
    result = nothing_done(plan)
    said = "".join(f"{line}\n" for line in (*plan_lines(plan), *summary_lines(result)))
    keep(prove(arguments.words, machine, files, redact(said), int(result.code())))


def _files(answers: Answers) -> tuple[str, ...] | None:
    """The files that the answers came from; None where some came from elsewhere."""
    from bai_wizard.answers.secrets import sources
    from bai_wizard.pages.fields import FileSecret

    found: list[str] = [answers.file]
    for _, source in sources(answers):
        if not isinstance(source, FileSecret):
            return None
        found.append(source.file)
    return tuple(found)
