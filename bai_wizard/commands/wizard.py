"""`bai-wizard` without a command: the wizard, on a full screen or by line prompts."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bai_wizard.exits import ExitCode
from bai_wizard.wizard.console import NO_TERMINAL, Console, decide

if TYPE_CHECKING:
    from bai_wizard.wizard.desk import Desk
    from bai_wizard.wizard.draft import Draft


def run(arguments: argparse.Namespace) -> int:
    """Decides about the terminal first, for importing Textual on a bad one is too late."""
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
    from bai_wizard import texts

    texts.choose(console.language)
    if console.mode == "lines":
        from bai_wizard.headless.plain import Conversation

        return Conversation(*_opening(arguments), ascii=console.ascii).run()
    return _on_screen(console, arguments)


def _on_screen(console: Console, arguments: argparse.Namespace) -> int:
    os.environ.update(console.environment)
    from bai_wizard.tui.app import WizardApp

    app = WizardApp(lambda: _opening(arguments), console=console, words=arguments.words)
    code = app.run(mouse=not console.serial)
    if app.failure is not None:
        raise app.failure
    # A crash leaves no code behind, a signal its own.
    return code if code is not None else app.return_code or ExitCode.BUG


def _opening(arguments: argparse.Namespace) -> tuple[Desk, Draft]:
    """The node, and what the form begins with. Raises WizardError for a demo, or answers, that will not do."""
    desk = _desk(arguments)
    return desk, _draft(arguments, desk.machine.host)


def _desk(arguments: argparse.Namespace) -> Desk:
    from bai_wizard.wizard.desk import demo_desk, real_desk

    if arguments.demo is None:
        desk = real_desk(arguments.root, reporter=_report)
        if desk.machine.is_root:
            from bai_wizard.engine.run.cut import settle_cut_runs

            for told in settle_cut_runs(desk.places, desk.machine):
                print(told, file=sys.stderr)
        return desk
    from tempfile import mkdtemp

    from bai_wizard.machine.demo import demo_machine

    return demo_desk(arguments.demo, demo_machine(arguments.demo), Path(mkdtemp(prefix="bai-wizard-demo-")))


def _report(machine: object, run: str, result: object, wish: object) -> str:
    from bai_wizard.headless.report import make_report, markdown

    return markdown(make_report(machine, run, result, wish))  # type: ignore[arg-type]


def _draft(arguments: argparse.Namespace, host: str) -> Draft:
    """What the form begins with. Raises AnswersError with every problem of the file."""
    from bai_wizard.wizard.draft import Draft

    demo = arguments.demo is not None
    if arguments.handed_over:
        return _taken_over(Path(arguments.handed_over), host)
    if demo and not arguments.answers:
        from bai_wizard.machine.demo import demo_answers

        return Draft(host, demo_answers(arguments.demo), demo=True)
    if not arguments.answers:
        return Draft(host)
    from bai_wizard.answers.load import load

    return Draft.of_answers(load(arguments.answers, host), host, demo=demo)


def _taken_over(file: Path, host: str) -> Draft:
    """What was entered before the wizard was started again as root; the file has done its duty then."""
    from bai_wizard.core.errors import PreflightError
    from bai_wizard.wizard.draft import Draft

    try:
        draft = Draft.taken_over(file.read_text(encoding="utf-8"), host)
        file.unlink()
    except (OSError, ValueError) as error:
        raise PreflightError(f"{file}: {error}") from error
    return draft
