"""Every way out masks secrets: a program's message with a password in it, through each of them."""

from __future__ import annotations

import base64
import traceback
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from bai_wizard import cli, compose
from bai_wizard.core import debug_log
from bai_wizard.core.errors import AnswersError, PreflightError, Problem, StepFailed
from bai_wizard.core.event import Event
from bai_wizard.core.page import Finding
from bai_wizard.core.secret import MASK, Secret
from bai_wizard.core.step import Plan
from bai_wizard.doctor import report as findings
from bai_wizard.engine.directory import create_run
from bai_wizard.engine.events import EventLog
from bai_wizard.engine.executor import execute
from bai_wizard.engine.lock import StatePaths
from bai_wizard.engine.result import Result, StepResult
from bai_wizard.exit_codes import ExitCode
from bai_wizard.node.process import run
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.ui.text.output import JsonLines, Output
from bai_wizard.ui.text.report import write_report
from bai_wizard.ui.tui.terminal import TerminalMixin
from tests.faults import fail_on
from tests.unit.engine.plans import STATES, plan_of, steps
from tests.waiting import PATIENCE

PASSWORD = "correct-horse&battery"
# As programs print it: in a sentence, in a URL, in a header.
FORMS = (
    PASSWORD,
    PASSWORD.replace("&", "%26"),
    PASSWORD.replace("&", "&amp;"),
    base64.b64encode(PASSWORD.encode()).decode(),
)
MESSAGE = f"login failed: {' '.join(FORMS)} end"
RESULT = Result((StepResult("a.b", "x", "failed", text=MESSAGE),))
FINDING = Finding("node.x", "problem", "x", "node", cause=MESSAGE, guidance=MESSAGE)


def no_plan(_finding: Finding) -> Plan:
    return Plan("")


def raised(error: Exception) -> Callable[[Path, pytest.MonkeyPatch], None]:
    def leave(_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(_arguments: object) -> int:
            raise error

        monkeypatch.setattr(cli, "_dispatch", fail)
        assert cli.main(["schema"]) in (1, 2, 3, 4)

    return leave


def the_records_of_a_run(directory: Path, _monkeypatch: pytest.MonkeyPatch) -> None:
    """Events, result and journal of a step that fails with the message."""
    paths, machine = StatePaths(directory), SimulatedMachine(STATES, fault=fail_on("write-file", MESSAGE))
    plan = plan_of(machine, steps())
    made = create_run(paths, plan, {})
    assert execute(paths, made, plan.digest(), machine).code() == ExitCode.FAILED


def the_log_of_a_run(directory: Path, _monkeypatch: pytest.MonkeyPatch) -> None:
    log = EventLog(directory / "events.jsonl", "run")
    log.emit("log", MESSAGE)
    log.close()


def a_programs_output(directory: Path, _monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    done = run(["printf", "%s", MESSAGE], timeout=PATIENCE, on_line=lambda line, _stream: lines.append(line))
    (directory / "lines").write_text("\n".join([done.out, *lines]))


def the_debug_log(directory: Path, _monkeypatch: pytest.MonkeyPatch) -> None:
    debug_log.start(str(directory / "debug.log"), shown=False)
    debug_log.debug("command %s", ["x", MESSAGE])
    debug_log.stop()


def reports(directory: Path, _monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("r.md", "r.json"):
        write_report(str(directory / name), SimulatedMachine(STATES), "run", RESULT)


def reports_of_the_doctor(directory: Path, _monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("d.md", "d.html"):
        findings.write_report(str(directory / name), "gpu01", [FINDING], no_plan)


def findings_on_the_terminal(_directory: Path, _monkeypatch: pytest.MonkeyPatch) -> None:
    Output().show("\n".join(findings.report_lines("gpu01", [FINDING], no_plan)))
    findings.write_findings("gpu01", [FINDING], no_plan, ExitCode.FAILED)


def output(made: Callable[[], Output]) -> Callable[[Path, pytest.MonkeyPatch], None]:
    def leave(_directory: Path, _monkeypatch: pytest.MonkeyPatch) -> None:
        each = made()
        each.note(MESSAGE)
        each.show(MESSAGE)
        each.summary(RESULT)
        each.event(Event(t="2026-01-01T00:00:00Z", run="r", id=1, kind="log", text=MESSAGE, data={"x": MESSAGE}))

    return leave


def a_crash_of_the_screen(directory: Path, _monkeypatch: pytest.MonkeyPatch) -> None:
    app = SimpleNamespace(_exit_renderables=[], _close_messages_no_wait=lambda: None)
    try:
        raise RuntimeError(MESSAGE)
    except RuntimeError:
        TerminalMixin._fatal_error(app)  # type: ignore[arg-type]
        assert MESSAGE in traceback.format_exc()
    (text,) = app._exit_renderables
    (directory / "screen").write_text(text.plain)


EXITS: dict[str, Callable[[Path, pytest.MonkeyPatch], None]] = {
    "a bug": raised(RuntimeError(MESSAGE)),
    "a refusal": raised(PreflightError(MESSAGE)),
    "a failed step": raised(StepFailed(MESSAGE)),
    "invalid answers": raised(AnswersError([Problem("a.toml", 1, 1, "x", MESSAGE, MESSAGE)])),
    "the records of a run": the_records_of_a_run,
    "the log of a run": the_log_of_a_run,
    "a program's output": a_programs_output,
    "the debug log": the_debug_log,
    "reports": reports,
    "reports of the doctor": reports_of_the_doctor,
    "findings on the terminal": findings_on_the_terminal,
    "text": output(Output),
    "JSON Lines": output(JsonLines),
    "a crash of the screen": a_crash_of_the_screen,
}


@pytest.mark.needs_root
@pytest.mark.parametrize("name", EXITS)
def test_no_secret_gets_out(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Secret(PASSWORD)
    monkeypatch.setattr(compose, "local_machine", lambda _root: SimulatedMachine(STATES))
    EXITS[name](tmp_path, monkeypatch)
    files = [path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file()]
    written = "\n".join([*capsys.readouterr(), *files])
    assert "login failed" in written, "the message did not get out at all"
    assert MASK in written
    assert [form for form in FORMS if form in written] == []
