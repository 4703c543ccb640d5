"""The command line: argparse only, lazy imports of sub-commands, and the only mapping of errors to exit codes."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn, TextIO

if TYPE_CHECKING:
    import argparse
    from argparse import ArgumentParser

    from bai_wizard.exit_codes import ExitCode

# Sub-command → module under `bai_wizard.commands` with `run(arguments) -> ExitCode`.
COMMANDS = {
    "apply": "apply a plan file exactly as it was approved, or refuse and show how the plan differs now",
    "check": "validate answers; change nothing",
    "schema": "print the JSON Schema of the answers file",
    "answers": "print a commented answers file",
    "detect": "show what was detected on this node",
    "doctor": "diagnose problems and offer safe fixes",
    "drift": "show what differs from the answers or a finished run, and what may have changed it",
    "runs": "list the runs on this node",
    "attach": "watch a run",
    "resume": "continue a run that was interrupted, stopped or failed, or that waits for a reboot",
    "undo": "undo a run",
    "bundle": "build an offline bundle for air-gapped nodes",
    "fleet": "show many nodes on one page: their plans, results or drift, from the files that they wrote",
    "compare": "compare the reports of several nodes; differences that must not exist come first",
}


# Commands that cannot work on a simulated node, which only exists as long as its process.
NOT_SIMULATED = {
    "runs": "a simulated node has no run history",
    "attach": "a simulated node has no run history",
    "resume": "a simulated node has no run history; resume one in the wizard: bai-wizard --demo",
    "undo": "a simulated node has no run history; undo one in the wizard: bai-wizard --demo",
    "bundle": "bundles are only built for real nodes",
    "_execute": "it runs on real nodes only",
}
DEBUG = "write a debug log; its path is printed at the end (same as BAI_WIZARD_DEBUG=1)"
LIKE = "directory with etc/os-release, etc/apt and var/lib/dpkg/status of the nodes"
DIFF = "show every line of every change, instead of a summary"
DEMO = "use a simulated node: bare, half, broken, finished"


def parser(only: Sequence[str] = (*COMMANDS,), kind: type[ArgumentParser] | None = None) -> ArgumentParser:
    """Build the parser of the whole command line; also the source of completions and the man page.

    `only` are the commands to include; the internal command `_execute` is never listed. `kind` is the parser class.
    """
    from argparse import SUPPRESS, ArgumentParser

    top = (kind or ArgumentParser)(
        prog="bai-wizard",
        description="Prepare a node for Backend.AI: every change is shown before it is made, verified afterwards, "
        "and can be undone; runs survive a lost connection.",
        epilog="Without a command, the interactive wizard starts. Exit codes: 0 success, 1 bug, 2 usage error or "
        "invalid answers, 3 refused before anything was changed, 4 a step failed or a problem was found, "
        "5 reboot needed, 6 only optional steps failed or only warnings, 7 there are changes (--detailed-exitcode, "
        "drift), 130 interrupted.",
    )
    # Python 3.14 colors help and errors; the wizard writes plain text.
    vars(top)["color"] = False
    add = top.add_argument
    add("--version", action="store_true", help="print the version and exit")
    add("--answers", metavar="FILE", help="start the wizard with these answers")
    add("--demo", nargs="?", const="bare", metavar="NAME", help=DEMO)
    add(
        "--plain",
        action="store_true",
        help="line prompts instead of full screen, for serial consoles and screen readers",
    )
    add("--ascii", action="store_true", help="use ASCII characters only")
    add("--serial", action="store_true", help="reduced output for slow serial lines")
    add("--diff", action="store_true", help=DIFF)
    add("--lang", metavar="LANG", help="language of the wizard: en, ko")
    add("--debug", action="store_true", help=DEBUG)
    shells = ("bash", "zsh", "fish")
    add("--print-completion", metavar="SHELL", choices=shells, help="print the completion for bash, zsh or fish")
    _add_headless(top)
    add("--root", metavar="DIR", default="/", help=SUPPRESS)
    add("--handed-over", metavar="FILE", default="", help=SUPPRESS)
    top.set_defaults(command=None)
    if only:
        _add_commands(top.add_subparsers(dest="command", metavar="COMMAND"), only)
    return top


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Parse a command line with the parsers that it needs. Exits with 2 for a usage error, 0 after printing help."""
    from argparse import ArgumentParser, HelpFormatter

    class Refused(Exception):
        """Reject the command line: the complete parser reports the error."""

    class Quiet(ArgumentParser):
        def error(self, message: str) -> NoReturn:
            raise Refused

        def _get_formatter(self) -> HelpFormatter:
            return HelpFormatter(self.prog, width=80)  # the width of the terminal is only needed to print help

    words = named_demo(words)
    known = [word for word in words if word in COMMANDS or word == "_execute"]
    asks_for_help = not {"-h", "--help"}.isdisjoint(words)
    if not asks_for_help:
        try:
            return parser(known[:1], Quiet).parse_args(words)
        except Refused:
            pass
    whole = parser((*COMMANDS, *known))
    if asks_for_help:
        from bai_wizard.commands.help import translate

        translate(whole, words)
    return whole.parse_args(words)


def _not_empty() -> type[argparse.Action]:
    """An action for arguments that must not be empty: `--only "$PAGES"` with an unset variable would mean all."""
    from argparse import Action, ArgumentError

    class NotEmpty(Action):
        def __call__(self, parser: object, namespace: object, values: object, option_string: object = None) -> None:
            if not str(values).strip(" ,"):
                raise ArgumentError(self, "must not be empty; is a variable unset?")
            setattr(namespace, self.dest, values)

    return NotEmpty


def _add_headless(top: ArgumentParser) -> None:
    stored = _not_empty()
    headless = top.add_argument_group("non-interactive use")
    add = headless.add_argument
    add("--headless", metavar="FILE", help="apply these answers; - reads standard input")
    add("--plan", action="store_true", help="show planned changes and exit")
    add("--detailed-exitcode", action="store_true", help="with --plan: exit with 7 if there are changes")
    what = "with --plan: also write the plan to this file, without secrets, for `apply`"
    add("-o", "--output", metavar="FILE", action=stored, default="", help=what)
    add("--only", metavar="P,P", action=stored, default="", help="include only these pages")
    add("--skip", metavar="P,P", action=stored, default="", help="exclude these pages")
    add(
        "--bundle",
        metavar="DIR",
        default="",
        action=stored,
        help="install everything from this offline bundle, or URL",
    )
    add(
        "--bundle-digest",
        metavar="SHA256",
        default="",
        action=stored,
        help="expected SHA-256 of the bundle's manifest",
    )
    add("--json", action="store_true", help="print JSON Lines, one event per line")
    add("--report", metavar="FILE", action=stored, help="write a handover report (.md or .json)")
    _add_consent(headless, default=())
    _add_conditions(headless, default=None)


def _add_conditions(command: argparse._ActionsContainer, default: object) -> None:
    add = command.add_argument
    help = "run disruptive steps only in this daily window, everything else at once; the time zone is optional"
    add("--window", metavar="02:00-04:00+TZ", type=window_text, default=default, help=help)
    help = "before a disruptive step, wait until no Backend.AI session is running, at most this long (default: 24h)"
    add("--wait-idle", metavar="MAX", nargs="?", const=86400.0, type=waiting_time, default=default, help=help)


def window_text(text: str) -> str:
    """Check the text of `--window`. Raises argparse.ArgumentTypeError."""
    from argparse import ArgumentTypeError

    from bai_wizard.engine.window import parse_window

    try:
        return parse_window(text).text
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} {error}") from error


def waiting_time(text: str) -> float:
    """Parse the time of `--wait-idle`, such as `90s`, `30m`, `8h` or `2d`. Raises argparse.ArgumentTypeError."""
    from argparse import ArgumentTypeError

    number, unit = text[:-1], {"s": 1, "m": 60, "h": 3600, "d": 86400}.get(text[-1:])
    if unit is None or not (number.isascii() and number.isdecimal() and len(number) <= 6):
        raise ArgumentTypeError(f"{text!r} is not a duration; write it as 90s, 30m, 8h or 2d: --wait-idle=8h")
    return float(int(number) * unit)


def _add_consent(command: argparse._ActionsContainer, default: object) -> None:
    what = "allow the interruptions that the plan shows: docker.restart, gpu.reload, umount"
    command.add_argument("--yes-interrupt", metavar="WHAT,…", type=interrupts, default=default, help=what)


def interrupts(text: str) -> tuple[str, ...]:
    """Parse the words of `--yes-interrupt`. Raises argparse.ArgumentTypeError for an unknown one."""
    from argparse import ArgumentTypeError

    from bai_wizard.core.consent import INTERRUPTS

    words = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    for word in words:
        if word not in INTERRUPTS:
            raise ArgumentTypeError(f"unknown interruption {word!r}; choose from {', '.join(INTERRUPTS)}")
    return words


def _add_commands(commands: argparse._SubParsersAction[ArgumentParser], only: Sequence[str]) -> None:
    from argparse import SUPPRESS

    made = {
        name: commands.add_parser(name, help=help, description=f"{help[0].upper()}{help[1:]}.")
        for name, help in COMMANDS.items()
        if name in only
    }
    if "_execute" in only:
        made["_execute"] = commands.add_parser("_execute")
        made["_execute"].add_argument("run")
        made["_execute"].add_argument("--digest", required=True)
    for name, each in made.items():
        each.add_argument("--root", metavar="DIR", default=SUPPRESS, help=SUPPRESS)
        shown = SUPPRESS if name in NOT_SIMULATED else DEMO
        each.add_argument("--demo", nargs="?", const="bare", metavar="NAME", default=SUPPRESS, help=shown)
        each.add_argument("--debug", action="store_true", default=SUPPRESS, help=DEBUG)
        if name in COMMANDS:
            each.add_argument("--json", action="store_true", default=SUPPRESS, help="print JSON Lines")
        if name in _OPTIONS:
            _OPTIONS[name](each)


def _add_answers(answers: ArgumentParser) -> None:
    answers.add_argument("--from-node", action="store_true", help="fill in the current values of this node")


def _add_compare(compare: ArgumentParser) -> None:
    compare.add_argument("reports", metavar="REPORT", nargs="+", help="files created with --report N.json")


def _add_fleet(fleet: ArgumentParser) -> None:
    from argparse import SUPPRESS

    add = fleet.add_argument
    add("topic", metavar="TOPIC", choices=("plan", "report", "drift"), help="plan, report or drift")
    what = "what the nodes wrote with --json or --report N.json, or directories of such .json and .jsonl files"
    add("files", metavar="FILE", nargs="+", help=what)
    html = "also write one HTML page that needs no network (.html)"
    add("--report", metavar="FILE", action=_not_empty(), default=SUPPRESS, help=html)
    changes = "with plan: exit with 7 if there are changes"
    add("--detailed-exitcode", action="store_true", default=SUPPRESS, help=changes)


def _add_check(check: ArgumentParser) -> None:
    from argparse import SUPPRESS

    add, stored = check.add_argument, _not_empty()
    add("file", metavar="FILE", help="the answers file")
    add("--host", default="", help="check for this host name ([[override]] tables)")
    add("--bundle", metavar="DIR", default=SUPPRESS, action=stored, help="also list what this offline bundle lacks")
    add("--like", metavar="DIR", default="", action=stored, help=LIKE)
    add(
        "--bundle-digest",
        metavar="SHA256",
        default=SUPPRESS,
        action=stored,
        help="expected SHA-256 of the bundle's manifest",
    )


def _add_run(command: ArgumentParser, default: str) -> None:
    help = f"run ID, or the beginning or end of one (default: {default})"
    command.add_argument("run", metavar="RUN", nargs="?", default="", help=help)


def _add_attach(attach: ArgumentParser) -> None:
    _add_run(attach, "the one in progress, otherwise the newest")


def _add_resume(resume: ArgumentParser) -> None:
    _add_run(resume, "the newest that did not finish")
    _add_plan_and_consent(resume)


def _add_undo(undo: ArgumentParser) -> None:
    _add_run(undo, "the newest that still holds changes")
    _add_plan_and_consent(undo)
    undo.add_argument("--force", action="store_true", help="also undo changes that were edited after the run")


def _add_plan_and_consent(command: ArgumentParser) -> None:
    from argparse import SUPPRESS

    command.add_argument("--plan", action="store_true", default=SUPPRESS, help="show planned changes and exit")
    command.add_argument("--diff", action="store_true", default=SUPPRESS, help=DIFF)
    _add_consent(command, default=SUPPRESS)


def _add_apply(apply: ArgumentParser) -> None:
    from argparse import SUPPRESS

    add, stored = apply.add_argument, _not_empty()
    add("file", metavar="PLAN", help="a plan file written with --plan -o")
    add("--digest", metavar="SHA256", action=stored, default="", help="expected SHA-256 of the plan file")
    add("--approved-by", metavar="NAME", action=stored, default="", help="who approved the plan; recorded in the run")
    add("--ticket", metavar="ID", action=stored, default="", help="the change request; recorded in the run")
    signed = "detached signature of the plan file by ssh-keygen (default: PLAN.sig if there are approvers)"
    add("--signature", metavar="FILE", action=stored, default="", help=signed)
    signers = "who may sign, as allowed signers of ssh-keygen (default: /etc/bai-wizard/approvers, if it exists)"
    add("--approvers", metavar="FILE", action=stored, default="", help=signers)
    what = "answers file with the password hashes and proxy logins that the plan file withholds (default: its own)"
    add("--answers", metavar="FILE", action=stored, default=SUPPRESS, help=what)
    report = "write a handover report (.md or .json)"
    add("--report", metavar="FILE", action=stored, default=SUPPRESS, help=report)
    add("--diff", action="store_true", default=SUPPRESS, help=DIFF)
    _add_consent(apply, default=SUPPRESS)
    _add_conditions(apply, default=SUPPRESS)


def _add_drift(drift: ArgumentParser) -> None:
    from argparse import SUPPRESS

    stored, source = _not_empty(), drift.add_mutually_exclusive_group()
    add = source.add_argument
    add("--answers", metavar="FILE", action=stored, default=SUPPRESS, help="compare with these answers")
    help = "compare with the settings of this run (default: the newest that finished and was not undone)"
    add("--run", metavar="RUN", action=stored, default="", help=help)
    help = "also write metrics for Prometheus (textfile collector of the node exporter)"
    drift.add_argument("--metrics", metavar="FILE", action=stored, default="", help=help)
    drift.add_argument("--diff", action="store_true", default=SUPPRESS, help=DIFF)


def _add_bundle(bundle: ArgumentParser) -> None:
    add = bundle.add_argument
    add("file", metavar="FILE", help="the answers file")
    add("-o", "--output", metavar="DIR", action=_not_empty(), required=True, help="directory to write the bundle to")
    add("--host", action="append", default=[], metavar="HOST", help="include this host ([[override]]); repeatable")
    add(
        "--like",
        metavar="DIR",
        default="",
        help=LIKE,
    )
    add(
        "--wizard",
        metavar="FILE",
        default="",
        help="release archive of the wizard, if this copy was not installed from one",
    )


def _add_doctor(doctor: ArgumentParser) -> None:
    from argparse import SUPPRESS

    _add_consent(doctor, default=SUPPRESS)
    doctor.add_argument("--diff", action="store_true", default=SUPPRESS, help=DIFF)
    add, stored = doctor.add_argument, _not_empty()
    add("--only", metavar="ID,…", action=stored, default="", help="run only these checks")
    add("--skip", metavar="ID,…", action=stored, default="", help="exclude these checks")
    add("--error", metavar="TEXT", action=stored, help="search by error message; - reads standard input")
    add("--fix", metavar="ID", action=stored, help="show, confirm and apply the fix, then check again")
    add("--yes", action="store_true", help="with --fix or --bundle: do not ask for confirmation")
    add("--ignore", metavar="ID=REASON", action="append", default=[], help="accept a failing check, with a reason")
    add("--bundle", metavar="FILE", action=stored, help="write a support bundle with secrets masked")
    add(
        "--from",
        metavar="BUNDLE",
        dest="from_bundle",
        action=stored,
        help="read a support bundle instead of this node",
    )
    add(
        "--report", metavar="FILE", action=stored, default=SUPPRESS, help="write a human-readable report (.md, .html)"
    )
    add("--answers", metavar="FILE", action=stored, default=SUPPRESS, help="compare with these answers")
    upgrade = doctor.add_mutually_exclusive_group()
    upgrade.add_argument(
        "--before-upgrade", metavar="RELEASE", action=stored, help="also check what an upgrade to RELEASE would break"
    )
    upgrade.add_argument(
        "--after-upgrade", action="store_true", help="also check what an upgrade of the distribution left behind"
    )


# Command → the function that adds its own options.
_OPTIONS: dict[str, Callable[[ArgumentParser], None]] = {
    "answers": _add_answers,
    "apply": _add_apply,
    "compare": _add_compare,
    "drift": _add_drift,
    "fleet": _add_fleet,
    "check": _add_check,
    "attach": _add_attach,
    "resume": _add_resume,
    "undo": _add_undo,
    "bundle": _add_bundle,
    "doctor": _add_doctor,
}


def refuse_demo(arguments: argparse.Namespace) -> None:
    """Raise AnswersError for a command line with `--demo` that cannot be simulated."""
    from bai_wizard.core.errors import AnswersError, Problem
    from bai_wizard.node.demo import refuse_unknown

    refuse_unknown(arguments.demo)
    reason = NOT_SIMULATED.get(arguments.command or "", "")
    if arguments.command == "doctor" and arguments.bundle:
        reason = "support bundles can only be made on a real node"
    elif arguments.command == "drift" and not arguments.answers:
        reason = "a simulated node has no run history: pass --answers FILE"
    elif arguments.command != "bundle" and getattr(arguments, "bundle", ""):
        reason = "a simulated node cannot install from a bundle"
    elif arguments.root != "/":
        reason = "it cannot be combined with --root"
    if reason:
        raise AnswersError([Problem("command line", 0, 0, "--demo", reason)])


def refuse_conditions(arguments: argparse.Namespace) -> None:
    """Raise AnswersError for `--window` and `--wait-idle` where nothing would wait: they must not be ignored."""
    if arguments.command == "apply" or (arguments.command is None and arguments.headless is not None):
        return
    from bai_wizard.core.errors import AnswersError, Problem

    for name in ("window", "wait_idle"):
        if getattr(arguments, name) is not None:
            reason = "applies to --headless and `bai-wizard apply` only; `resume` keeps what the run began with"
            raise AnswersError([Problem("command line", 0, 0, f"--{name.replace('_', '-')}", reason)])


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code.

    Control characters in everything written to standard output and standard error are escaped.
    """
    _open_missing_streams()
    try:
        return _main(list(sys.argv[1:] if argv is None else argv))
    except KeyboardInterrupt:
        return 130


def _main(words: list[str]) -> int:
    if words == ["--version"]:
        from bai_wizard import __version__

        return _answered(lambda: print(f"bai-wizard {__version__}", flush=True))
    is_help = words[-1:] in (["--help"], ["-h"]) and (len(words) == 1 or (len(words) == 2 and words[0] in COMMANDS))
    if is_help and not _may_be_translated():
        try:
            parser().parse_args(words)
        except SystemExit:
            return _answered(sys.stdout.flush)
    refusal = _foreign_code()
    if refusal:
        _say(f"bai-wizard: {refusal}")
        return 3
    _clean_environment()
    from bai_wizard.core import debug_log
    from bai_wizard.core.display import VisibleStream

    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = VisibleStream(streams[0]), VisibleStream(streams[1], narration=True)
    try:
        code = _run(words) if _start_debug_log(words) else 3
        return code or _answered(streams[0].flush, streams[0])
    finally:
        debug_log.show_files()
        sys.stdout, sys.stderr = streams
        for stream in streams:
            _drop_unwritten(stream)


def _may_be_translated() -> bool:
    """Whether the environment asks for a language other than English, whose catalog is loaded after the check."""
    names = ("BAI_WIZARD_LANG", "LC_ALL", "LC_MESSAGES", "LANG")
    return any(os.environ.get(name, "")[:2] not in ("", "C", "C.", "PO", "en") for name in names)


def _open_missing_streams() -> None:
    """Replace closed standard streams with /dev/null, so that the next file opened does not take their place."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - stays open as long as the process lives


def _answered(write: Callable[[], object], stream: TextIO | None = None) -> int:
    """Return 0, or the exit code for output that cannot be delivered: 130 if the reader is gone, otherwise 3.

    `stream` is the original standard output, if sys.stdout has been replaced.
    """
    try:
        write()
    except BrokenPipeError:
        _drop_unwritten(stream or sys.stdout)
        return 130
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        _say(f"bai-wizard: standard output cannot be written: {reason}")
        _drop_unwritten(stream or sys.stdout)
        return 3
    return 0


def _say(text: str) -> None:
    """Write to standard error, before and after the streams are wrapped; write errors do not change the exit code."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        _drop_unwritten(sys.stderr)


def _drop_unwritten(stream: TextIO) -> None:
    """Discard buffered output that cannot be written: otherwise Python would exit with code 120."""
    try:
        stream.flush()
    except (OSError, ValueError):
        try:
            number = stream.fileno()
            null = os.open(os.devnull, os.O_WRONLY)
        except (OSError, ValueError):
            return
        os.dup2(null, number)
        os.close(null)


def _foreign_code() -> str:
    """Why root must not run this code; checked before any more of it is imported.

    Read-only commands are not exempt, because importing modified code is the danger; only `--version`, and
    `--help` in English, which this module handles alone, come before the check.
    """
    if os.geteuid() != 0:
        return ""
    from bai_wizard.own_code import foreign_code_at_start

    return foreign_code_at_start()


def _clean_environment() -> None:
    """Clean the environment for libraries that start programs themselves; the runner gives every child its own.

    Root creates no temporary files in a directory that other users can change.
    """
    from bai_wizard.core.programs import program_path

    os.environ["PATH"] = program_path()
    if os.geteuid() == 0:
        from bai_wizard.own_code import is_roots_own

        for name in ("TMPDIR", "TEMP", "TMP"):
            if name in os.environ and not is_roots_own(os.environ[name]):
                del os.environ[name]


def _start_debug_log(words: Sequence[str]) -> bool:
    """Start the debug log if requested; False if it cannot be written. The executor starts its own."""
    from bai_wizard import __version__
    from bai_wizard.core import debug_log

    if not debug_log.is_wanted(words) or words[:1] == ["_execute"]:
        return True
    try:
        debug_log.start()
    except OSError as error:
        _say(f"bai-wizard: the debug log cannot be written: {(error.strerror or str(error)).lower()}")
        return False
    debug_log.debug("bai-wizard %s, Python %s, user %s: %s", __version__, sys.version, os.geteuid(), list(words))
    return True


def named_demo(words: Sequence[str]) -> list[str]:
    """Treat `--demo` right before a command as the default demo: argparse would read the command as its value."""
    following = {"--demo": "--demo=bare"}
    return [
        following.get(word, word) if after in (*COMMANDS, "_execute") else word
        for word, after in zip(words, [*words[1:], ""], strict=False)
    ]


def _run(words: list[str]) -> int:
    from bai_wizard.core.errors import AnswersError, StepFailed, WizardError
    from bai_wizard.core.secret import redact
    from bai_wizard.exit_codes import ExitCode

    # Short runs keep almost everything they allocate, and GC costs about 10 % of the run time. A long run still
    # collects, but less often.
    gc.set_threshold(100_000)
    try:
        arguments = parse(words)
        arguments.words = words
        if os.geteuid() == 0:
            # From here on, the process may hold secrets.
            from bai_wizard.node.run_as import leave_no_core

            leave_no_core()
        if arguments.print_completion:
            from bai_wizard.commands.completion import script

            sys.stdout.write(script(arguments.print_completion, parser(), COMMANDS))
            return ExitCode.OK
        if arguments.demo is not None:
            refuse_demo(arguments)
        refuse_conditions(arguments)
        return _dispatch(arguments)
    except WizardError as error:
        is_answers = isinstance(error, AnswersError)
        print(redact(f"{'' if is_answers else 'bai-wizard: '}{error}"), file=sys.stderr)
        if is_answers:
            return ExitCode.ANSWERS
        return ExitCode.FAILED if isinstance(error, StepFailed) else ExitCode.PREFLIGHT
    except BrokenPipeError:
        # The reader closed the pipe; nothing left to write to.
        return ExitCode.INTERRUPTED
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the one place where a bug becomes exit code 1
        return _bug(error)


# Command → module of bai_wizard.commands, where several share one.
_SHARED_MODULES = {
    "answers": "inspect", "check": "inspect", "schema": "inspect", "detect": "inspect", "bundle": "inspect",
    "compare": "fleet", "fleet": "fleet", "runs": "runs", "attach": "runs", "resume": "runs", "undo": "runs",
}  # fmt: skip


def _dispatch(arguments: argparse.Namespace) -> int:
    from importlib import import_module

    from bai_wizard.core.debug_log import debug, debug_exception

    if arguments.command:
        name = arguments.command.lstrip("_")
    elif arguments.headless is not None:
        name = "headless"
    else:
        name = "wizard"
    try:
        module = import_module(f"bai_wizard.commands.{_SHARED_MODULES.get(name, name)}")
        code = int(getattr(module, f"run_{name}" if name in _SHARED_MODULES else "run")(arguments))
    except BaseException:
        debug_exception()
        raise
    debug("exit code %s", code)
    return code


def _bug(error: Exception) -> ExitCode:
    """Report a bug without local variables: they may hold secrets."""
    import traceback

    from bai_wizard.core.secret import redact
    from bai_wizard.exit_codes import ExitCode

    text = "".join(traceback.format_exception(error, limit=-8))
    print(redact(text), file=sys.stderr)
    print("bai-wizard: This is a bug. Please report it with the traceback above.", file=sys.stderr)
    return ExitCode.BUG
