"""The command line: argparse only, every sub-command imported late, the only place that maps errors to exit codes."""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # as type checkers know it; `typing` itself would cost `--version` a good part of its time
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from bai_wizard.exits import ExitCode

# Sub-command → module under `bai_wizard.commands` with `run(arguments) -> ExitCode`.
COMMANDS = {
    "check": "check FILE: validate answers, change nothing",
    "schema": "the JSON Schema of the answers",
    "answers": "a commented answers file",
    "detect": "what this node is",
    "doctor": "find out what is wrong, and the safe way out",
    "runs": "the runs on this node",
    "attach": "watch a run",
    "resume": "continue a run that was cut or waits for a reboot",
    "undo": "take a run back",
    "bundle": "collect what these answers need, for nodes without a way out",
    "compare": "reports of several nodes side by side: what must be the same and is not comes first",
}


def parser() -> argparse.ArgumentParser:
    """The whole command line; also the source of completions and the man page."""
    from argparse import SUPPRESS, ArgumentParser

    top = ArgumentParser(
        prog="bai-wizard",
        description="Prepares a node for Backend.AI: shows every change, survives a lost connection, "
        "verifies that it took effect, and takes it back.",
        epilog="Without a command the wizard opens. Exit codes: 0 done, 2 answers wrong, 3 refused before "
        "anything was touched, 4 a step failed, 5 reboot needed, 6 only optional steps failed, "
        "7 changes to make (--detailed-exitcode), 130 interrupted, 1 a bug.",
    )
    top.add_argument("--version", action="store_true", help="print the version and end")
    top.add_argument("--answers", metavar="FILE", help="open the wizard with these answers filled in")
    top.add_argument(
        "--demo", nargs="?", const="bare", metavar="NAME", help="a simulated node: bare, half, broken, finished"
    )
    top.add_argument(
        "--plain", action="store_true", help="line prompts, no full screen: serial consoles, screen readers"
    )
    top.add_argument("--ascii", action="store_true", help="ASCII characters only")
    top.add_argument("--serial", action="store_true", help="few bytes: for slow lines")
    top.add_argument("--lang", metavar="LANG", help="language of the screens: en, ko")
    _add_headless(top)
    top.add_argument("--root", metavar="DIR", default="/", help=SUPPRESS)
    top.add_argument("--handed-over", metavar="FILE", default="", help=SUPPRESS)
    commands = top.add_subparsers(dest="command", metavar="COMMAND")
    _add_commands(commands)
    return top


def _add_headless(top: argparse.ArgumentParser) -> None:
    headless = top.add_argument_group("without screens")
    headless.add_argument(
        "--headless", metavar="FILE", help="apply these answers; «-» reads them from standard input"
    )
    headless.add_argument("--plan", action="store_true", help="show every change and end")
    headless.add_argument("--detailed-exitcode", action="store_true", help="with --plan: 7 when there are changes")
    headless.add_argument("--only", metavar="P,P", default="", help="only these pages")
    headless.add_argument("--skip", metavar="P,P", default="", help="all but these pages")
    headless.add_argument("--bundle", metavar="DIR", default="", help="take everything from this bundle")
    headless.add_argument(
        "--bundle-digest", metavar="SHA256", default="", help="refuse a bundle whose manifest has another one"
    )
    headless.add_argument("--json", action="store_true", help="JSON lines, one event each")
    headless.add_argument("--report", metavar="FILE", help="write a handover report (.md or .json)")
    headless.add_argument(
        "--yes-interrupt", metavar="WHAT,…", default="", help="allow docker.restart, gpu.reload, umount"
    )


def _add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from argparse import SUPPRESS

    made = {name: commands.add_parser(name, help=help, description=help) for name, help in COMMANDS.items()}
    execute = commands.add_parser("_execute")
    execute.add_argument("run")
    execute.add_argument("--digest", required=True)
    for each in (*made.values(), execute):
        each.add_argument("--root", metavar="DIR", default=SUPPRESS, help=SUPPRESS)
    made["check"].add_argument("file", metavar="FILE")
    made["check"].add_argument("--host", default="", help="check as this host (for [[override]])")
    made["check"].add_argument(
        "--bundle", metavar="DIR", default=SUPPRESS, help="also say what this bundle lacks for these answers"
    )
    made["check"].add_argument(
        "--bundle-digest", metavar="SHA256", default=SUPPRESS, help="refuse a bundle whose manifest has another one"
    )
    made["answers"].add_argument("--from-node", action="store_true", help="filled with what this node has")
    for name in ("detect", "doctor", "runs", "attach", "resume", "undo"):
        made[name].add_argument("--json", action="store_true", default=SUPPRESS, help="JSON, for programs")
    for name in ("attach", "resume", "undo"):
        made[name].add_argument(
            "run", nargs="?", default="", help="the run's id or an end of it; default: the newest"
        )
    made["undo"].add_argument("--plan", action="store_true", default=SUPPRESS, help="show it, change nothing")
    made["undo"].add_argument(
        "--yes-interrupt", metavar="WHAT,…", default=SUPPRESS, help="what it may interrupt (docker.restart)"
    )
    made["undo"].add_argument("--force", action="store_true", help="also where somebody edited since")
    made["resume"].add_argument("--plan", action="store_true", default=SUPPRESS, help="show it, change nothing")
    made["bundle"].add_argument("file", metavar="FILE", help="the answers")
    made["bundle"].add_argument("-o", "--output", metavar="DIR", required=True, help="where the bundle is made")
    made["bundle"].add_argument(
        "--host", action="append", default=[], metavar="HOST", help="for this node (for [[override]]); repeatable"
    )
    made["bundle"].add_argument(
        "--like", metavar="DIR", default="", help="the nodes' etc/os-release, etc/apt and var/lib/dpkg/status"
    )
    made["bundle"].add_argument(
        "--wizard", metavar="FILE", default="", help="the wizard's archive, where this one was installed otherwise"
    )
    made["compare"].add_argument("reports", metavar="REPORT", nargs="+", help="files made by --report N.json")
    made["compare"].add_argument("--json", action="store_true", default=SUPPRESS, help="JSON, for programs")
    _add_doctor(made["doctor"])


def _add_doctor(doctor: argparse.ArgumentParser) -> None:
    from argparse import SUPPRESS

    doctor.add_argument("--only", metavar="ID,…", default="", help="only these checks")
    doctor.add_argument("--skip", metavar="ID,…", default="", help="all but these checks")
    doctor.add_argument("--error", metavar="TEXT", help="find the failure that says this; «-» reads standard input")
    doctor.add_argument(
        "--yes-interrupt", metavar="WHAT,…", default=SUPPRESS, help="with --fix: what it may interrupt"
    )
    doctor.add_argument("--fix", metavar="ID", help="show, confirm and apply the remedy, then check again")
    doctor.add_argument("--yes", action="store_true", help="with --fix, --bundle: without asking")
    doctor.add_argument(
        "--ignore", metavar="ID=REASON", action="append", default=[], help="demote a check, with the reason"
    )
    doctor.add_argument("--bundle", metavar="FILE", help="write a support bundle, masked")
    doctor.add_argument("--from", metavar="BUNDLE", dest="from_bundle", help="look at a bundle instead of this node")
    doctor.add_argument("--report", metavar="FILE", default=SUPPRESS, help="one page for people (.md, .html)")
    doctor.add_argument("--answers", metavar="FILE", default=SUPPRESS, help="check against these answers")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command line and returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words == ["--version"]:
        from bai_wizard import __version__

        print(f"bai-wizard {__version__}")
        return 0
    if words[:1] == ["--headless"]:
        # What programs ask again and again is answered before the command line is taken apart.
        from bai_wizard.commands.headless import still_so

        code = still_so(words)
        if code is not None:
            return code
    return _run(words)


def _run(words: list[str]) -> int:
    import gc

    from bai_wizard.core.errors import AnswersError, PreflightError, StepFailed, WizardError
    from bai_wizard.exits import ExitCode

    # Nearly all that a short run makes (modules, classes, schemas) it keeps: looking through it for garbage is a
    # tenth of its time. A long run still collects, after more.
    gc.set_threshold(100_000)
    arguments = parser().parse_args(words)
    arguments.words = words
    try:
        return _dispatch(arguments)
    except AnswersError as error:
        print(error, file=sys.stderr)
        return ExitCode.ANSWERS
    except PreflightError as error:
        print(f"bai-wizard: {error}", file=sys.stderr)
        return ExitCode.PREFLIGHT
    except StepFailed as error:
        print(f"bai-wizard: {error}", file=sys.stderr)
        return ExitCode.FAILED
    except WizardError as error:
        print(f"bai-wizard: {error}", file=sys.stderr)
        return ExitCode.PREFLIGHT
    except BrokenPipeError:
        # Whoever read our output is gone; the rest of it has no reader.
        sys.stderr.close()
        return ExitCode.INTERRUPTED
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the one place where a bug becomes exit code 1
        return _bug(error)


def _dispatch(arguments: argparse.Namespace) -> int:
    from importlib import import_module

    if arguments.command:
        name = arguments.command.lstrip("_")
    elif arguments.headless is not None:
        name = "headless"
    else:
        name = "wizard"
    return int(import_module(f"bai_wizard.commands.{name}").run(arguments))


def _bug(error: Exception) -> ExitCode:
    """Tells of a bug without local variables: they may hold secrets."""
    import traceback

    from bai_wizard.core.secret import redact
    from bai_wizard.exits import ExitCode

    text = "".join(traceback.format_exception(error, limit=-8))
    print(redact(text), file=sys.stderr)
    print("bai-wizard: this is a bug in the wizard; the lines above are what its makers need", file=sys.stderr)
    return ExitCode.BUG
