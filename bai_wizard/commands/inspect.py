"""Commands that do not change the node: `answers`, `check`, `schema`, `detect` and `bundle`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING

from bai_wizard.core.display import visible
from bai_wizard.core.errors import AnswersError, PreflightError, Problem
from bai_wizard.exit_codes import ExitCode

if TYPE_CHECKING:
    from bai_wizard.answers.model import Answers
    from bai_wizard.offline.manifest import Manifest
    from bai_wizard.ui.text.output import JsonLines


def run_answers(arguments: argparse.Namespace) -> ExitCode:
    """Print TOML; every field with its help."""
    from bai_wizard.answers.save import answers_from, answers_text

    if arguments.from_node:
        from bai_wizard.session import machine_for

        text = answers_from(machine_for(arguments))
    else:
        text = answers_text()
    if arguments.json:
        from bai_wizard.ui.text.output import JsonLines

        JsonLines().tell("answers", text)
    else:
        sys.stdout.write(text)
    return ExitCode.OK


def run_check(arguments: argparse.Namespace) -> ExitCode:
    """Raise AnswersError with every problem, PreflightError if the bundle given by `--bundle` lacks what they need.

    Problems of a bundle that the answers themselves name are reported as problems of the answers.
    """
    from bai_wizard.answers.load import load
    from bai_wizard.answers.model import report, report_json

    lines = _json_lines() if arguments.json else None
    try:
        answers = load(arguments.file, arguments.host or _host(arguments), trusted_only=False)
        if lines:
            lines.tell("answers", f"{answers.file} is valid", report_json(answers))
        else:
            print(report(answers))
        _check_bundle(arguments, answers)
    except (AnswersError, PreflightError) as error:
        if not lines:
            raise
        return _tell_problems(lines, error)
    if lines:
        lines.tell("summary", data={"version": 1, "code": int(ExitCode.OK)})
    return ExitCode.OK


def _json_lines() -> JsonLines:
    from bai_wizard.ui.text.output import JsonLines

    return JsonLines()


def _host(arguments: argparse.Namespace) -> str:
    """The name of the node; only that of a simulated node, or of one below another root, takes a machine."""
    if arguments.demo is None and arguments.root == "/":
        return os.uname().nodename
    from bai_wizard.session import machine_for

    return machine_for(arguments).host


def _check_bundle(arguments: argparse.Namespace, answers: Answers) -> None:
    """Check that the bundle, if the command line or the answers name one, contains everything that they need."""
    directory, digest = arguments.bundle, arguments.bundle_digest
    named = getattr(answers.tables.get("sources"), "bundle", "")
    if not (directory or digest or named):
        if arguments.like:
            raise PreflightError("--like describes the nodes of a bundle: pass --bundle DIR as well")
        return
    from bai_wizard.compose import desired_from_answers
    from bai_wizard.offline.use_bundle import from_bundle

    desired = desired_from_answers(answers, demo=arguments.demo is not None)
    try:
        from_bundle(desired, directory, digest, trusted_only=False, like=arguments.like)
    except PreflightError as error:
        if directory or digest:
            raise
        raise AnswersError([answers.problem(("sources", "bundle"), str(error))]) from error


def _tell_problems(lines: JsonLines, error: AnswersError | PreflightError) -> ExitCode:
    """Print the problems of answers or bundle as events, and return the exit code."""
    code = ExitCode.ANSWERS if isinstance(error, AnswersError) else ExitCode.PREFLIGHT
    problems = error.problems if isinstance(error, AnswersError) else [Problem("", 0, 0, "", str(error))]
    for each in problems:
        place = {"file": each.file, "line": each.line, "column": each.column, "key": each.key}
        lines.tell("problem", str(each), {"version": 1, **place, "reason": each.reason})
    lines.tell("summary", data={"version": 1, "code": int(code)})
    return code


def run_schema(arguments: argparse.Namespace) -> ExitCode:
    """Print the committed schema, which a test compares with the models."""
    from bai_wizard.answers.schema import schema_text

    text = schema_text()
    sys.stdout.write(json.dumps(json.loads(text)) + "\n" if arguments.json else text)
    return ExitCode.OK


def run_detect(arguments: argparse.Namespace) -> ExitCode:
    """Works without root; values that only root can read are marked as such."""
    from bai_wizard.compose import detect, with_former_labels
    from bai_wizard.core.page import Context
    from bai_wizard.session import machine_for
    from bai_wizard.ui.text.output import terminal_for

    machine = machine_for(arguments)
    result = detect(machine, {}, Context(host=machine.host, demo=arguments.demo is not None))
    if arguments.json:
        pages = {name: with_former_labels(rows) for name, rows in result.items()}
        print(json.dumps({"v": 1, "host": machine.host, "pages": pages}))
    elif terminal := terminal_for(sys.stdout, arguments):
        for name, rows in result.items():
            terminal.table(f"[{name}]", (), rows)
    else:
        for name, rows in result.items():
            print(f"[{name}]")
            for label, value in rows:
                print(f"  {visible(label, lines=False) + ':':<22} {visible(value, lines=False)}")
    return ExitCode.OK


def run_bundle(arguments: argparse.Namespace) -> ExitCode:
    """Resumable: existing files are kept. 6 if the bundle lacks something that the answers need."""
    from bai_wizard import compose
    from bai_wizard.answers.load import load
    from bai_wizard.offline.collect import collect, open_output_directory, refuse_untrusted_inputs
    from bai_wizard.offline.manifest import digest_of
    from bai_wizard.ui.text.output import JsonLines

    desired_states = tuple(
        compose.desired_from_answers(load(arguments.file, host, trusted_only=True)) for host in arguments.host or [""]
    )
    for desired in desired_states:
        compose.refuse_untrusted("/", desired)
    refuse_untrusted_inputs(arguments.like, arguments.wizard)
    with open_output_directory(arguments.output) as directory:
        manifest = collect(
            desired_states,
            directory,
            lambda text: print(text, file=sys.stderr, flush=True),
            like=os.path.abspath(arguments.like) if arguments.like else "",
            wizard=arguments.wizard,
        )
        digest = digest_of(directory)
    where = os.path.abspath(arguments.output)
    # Without the wizard's own archive, the bundle suffices only for nodes where the wizard is installed.
    is_incomplete = any(page != "wizard" for page, _ in manifest.lacks)
    code = ExitCode.OPTIONAL_FAILED if is_incomplete else ExitCode.OK
    if arguments.json:
        JsonLines().tell("summary", data=_bundle_json(manifest, where, digest, code))
    else:
        _print_bundle(manifest, where, digest)
    return code


def _bundle_json(manifest: Manifest, where: str, digest: str, code: ExitCode) -> dict[str, object]:
    wizard = {held.path.rpartition("/")[2]: held.sha256 for held in manifest.files if held.part == "wizard"}
    return {
        "version": 1,
        "code": int(code),
        "directory": where,
        "files": len(manifest.files),
        "bytes": sum(held.size for held in manifest.files),
        "arch": manifest.arch,
        "lacks": [{"page": page, "what": what} for page, what in manifest.lacks],
        "manifest_sha256": digest,
        "wizard_sha256": wizard,
    }


def _print_bundle(manifest: Manifest, where: str, digest: str) -> None:
    size = sum(held.size for held in manifest.files)
    print(f"{where}: {len(manifest.files)} files, {size / 2**20:.0f} MiB, for {manifest.arch}")
    for page, what in manifest.lacks:
        print(f"not in the bundle: [{page}] {what}")
    print(f"SHA-256 of its manifest (transfer it separately from the bundle): {digest}")
    for held in manifest.files:
        if held.part == "wizard":
            print("SHA-256 of the wizard's archive (verify with sha256sum -c on the node before unpacking):")
            print(f"{held.sha256}  {held.path.rpartition('/')[2]}")
    print("On the node: bai-wizard --headless FILE --bundle DIR --bundle-digest SHA256 (or both in [sources])")
