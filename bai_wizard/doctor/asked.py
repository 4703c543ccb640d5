"""What a node is examined against: answers named, else those of its last run, else the defaults."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bai_wizard import compose
from bai_wizard.core.context import Context
from bai_wizard.core.errors import AnswersError, PreflightError, Problem
from bai_wizard.core.machine import Machine
from bai_wizard.engine.run.places import Places

if TYPE_CHECKING:
    from bai_wizard.compose import Wish


@dataclass(frozen=True)
class Asked:
    """The wish whose context the checks get, the ids to demote with their reasons, and where both came from."""

    wish: Wish
    ignored: Mapping[str, str]
    origin: str = ""


def asked(machine: Machine, places: Places, answers: str | None, ignore: Sequence[str]) -> Asked:
    """Raises AnswersError for a wrong file, or an `--ignore` without a reason."""
    if answers:
        from bai_wizard.answers.load import load

        wish = compose.wish_of(load(answers, machine.host))
        origin = answers
    else:
        last, origin = _last_run(machine, places)
        wish = last or compose.Wish({}, (), Context(host=machine.host))
    table = wish.settings.get("doctor")
    return Asked(wish, {**(table.ignore if table else {}), **reasons(ignore)}, origin)


def _last_run(machine: Machine, places: Places) -> tuple[Wish | None, str]:
    """The newest run that can be read back; a run directory is root's."""
    from bai_wizard.engine.run.directory import all_runs

    if not machine.is_root:
        return None, ""
    for run in reversed(all_runs(places)):
        try:
            if run.kind == "apply":
                return replace(compose.wish_from_json(run.settings()), fix=""), f"run {run.id}"
        except (OSError, ValueError, KeyError, json.JSONDecodeError, PreflightError):
            # Cut while it was made, or by another version: an older one may do.
            continue
    return None, ""


def reasons(ignore: Sequence[str]) -> dict[str, str]:
    """Of each `ID=REASON`. Raises AnswersError where one of the two is missing."""
    found = {}
    for text in ignore:
        name, _, reason = text.partition("=")
        if not name.strip() or not reason.strip():
            problem = Problem("command line", 0, 0, "--ignore", f"{text!r}: give the check and a reason, ID=REASON")
            raise AnswersError([problem])
        found[name.strip()] = reason.strip()
    return found


def refuse_unknown(ids: Sequence[str], known: Sequence[str]) -> None:
    """Raises AnswersError naming each id that is no check, with the nearest one."""
    from difflib import get_close_matches

    problems = []
    for name in ids:
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else "; `bai-wizard doctor --json` lists all"
            problems.append(Problem("command line", 0, 0, name, f"no check of that name{hint}"))
    if problems:
        raise AnswersError(problems)
