"""`bai-wizard` without a command: the wizard, full screen or with line prompts."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bai_wizard.exit_codes import ExitCode
from bai_wizard.ui.console import NO_TERMINAL, Console, decide

if TYPE_CHECKING:
    from bai_wizard.session import Session
    from bai_wizard.ui.draft import Draft


def run(arguments: argparse.Namespace) -> int:
    """Decide about the terminal first: once Textual is imported on an unsuitable one, it is too late."""
    console = decide(
        os.environ,
        is_terminal=sys.stdin.isatty() and sys.stdout.isatty(),
        encoding=sys.stdout.encoding or "",
        plain=arguments.plain,
        ascii=arguments.ascii,
        serial=arguments.serial,
        language=arguments.lang,
    )
    if console.mode == "none":
        print(NO_TERMINAL, file=sys.stderr)
        return ExitCode.ANSWERS
    from bai_wizard import locale

    locale.choose(console.language)
    if console.mode == "lines":
        from bai_wizard.ui.plain.wizard import PlainWizard

        session, draft = _opening(arguments, lambda message: print(message, file=sys.stderr))
        for problem in draft.left_out:
            print(locale.tr("left out: {what}", what=problem), file=sys.stderr)
        return PlainWizard(session, draft, ascii=console.ascii, diff=arguments.diff).run()
    return _on_screen(console, arguments)


def _on_screen(console: Console, arguments: argparse.Namespace) -> int:
    os.environ.update(console.environment)
    from bai_wizard.ui.tui.app import WizardApp

    noted: list[str] = []
    app = WizardApp(lambda: _opening(arguments, noted.append), console=console, words=arguments.words)
    try:
        code = app.run(mouse=not console.serial)
    finally:
        app.keep_draft()
    for problem in (*noted, *app.problems):
        print(problem, file=sys.stderr)
    if app.failure is not None:
        raise app.failure
    # A crash leaves no code, a signal its own.
    return code if code is not None else app.return_code or ExitCode.BUG


def _opening(arguments: argparse.Namespace, tell: Callable[[str], None]) -> tuple[Session, Draft]:
    """The node, and the initial draft; `tell` receives messages on interrupted and damaged runs.

    Changes nothing: interrupted runs are recovered once a plan is confirmed.
    Raises WizardError for an invalid demo or invalid answers.
    """
    from bai_wizard.node.demo import DEMO_DELAY
    from bai_wizard.session import machine_for, session_for

    session = session_for(arguments, machine_for(arguments, delay=DEMO_DELAY), reporter=_report)
    for message in session.warnings():
        tell(message)
    return session, _draft(arguments, session.machine.host)


def _report(machine: object, run: str, result: object, desired: object) -> str:
    from bai_wizard.ui.text.report import make_report, markdown

    return markdown(make_report(machine, run, result, desired))  # type: ignore[arg-type]


def _draft(arguments: argparse.Namespace, host: str) -> Draft:
    """The initial draft, possibly incomplete or invalid. Raises AnswersError for a file that cannot be shown."""
    from bai_wizard.ui.draft import Draft

    demo = arguments.demo is not None
    if arguments.handed_over:
        return _taken_over(Path(arguments.handed_over), host)
    if demo and not arguments.answers:
        from bai_wizard.node.demo import demo_answers

        return Draft(host, demo_answers(arguments.demo), demo=True)
    if not arguments.answers:
        return Draft(host)
    return Draft.from_file(arguments.answers, host, demo=demo)


def _taken_over(file: Path, host: str) -> Draft:
    """The answers entered before the wizard was restarted as root; deletes the file that carried them."""
    from bai_wizard.answers.source import read
    from bai_wizard.core.errors import AnswersError, PreflightError
    from bai_wizard.ui.draft import Draft

    try:
        draft = Draft.taken_over(read(str(file), trusted_only=True), host)
        file.unlink()
    except AnswersError as error:
        raise PreflightError(str(error)) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PreflightError(f"{file}: {error}") from error
    return draft
