"""Line prompts: apply a page and save its report, fix a finding and verify it, by typed lines only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from bai_wizard.commands.wizard import _report
from bai_wizard.core.machine import Machine
from bai_wizard.exit_codes import ExitCode
from bai_wizard.node.demo import demo_machine
from bai_wizard.session import demo_session
from bai_wizard.ui.draft import Draft
from bai_wizard.ui.plain.wizard import PlainWizard

Typed = str | Callable[[str], str]
QUOTED = "A kernel parameter is set with quotes, which the kernel rejects"
KERNEL = "/etc/sysctl.d/99-backend-ai.conf"


def prompt(
    name: str,
    machine: Machine,
    directory: Path,
    lines: list[Typed],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answers: dict[str, dict[str, Any]] | None = None,
) -> tuple[ExitCode, str]:
    """A conversation in which these lines are typed; a function chooses by what was said so far. Returns all said."""
    output = ""
    waiting = list(lines)

    def typed(prompt: str) -> str:
        nonlocal output
        output += capsys.readouterr().out + prompt + "\n"
        if not waiting:
            raise EOFError
        line = waiting.pop(0)
        return line if isinstance(line, str) else line(output)

    monkeypatch.setattr("builtins.input", typed)
    session = replace(demo_session(name, machine, directory), reporter=_report)
    draft = Draft(
        machine.host, {"node": {"backend_ai": "26.4"}, "account": {"sudo": "nopasswd"}, **(answers or {})}, demo=True
    )
    code = PlainWizard(session, draft).run()
    assert not waiting, output
    return code, output + capsys.readouterr().out


def test_a_page_is_applied_and_the_report_names_pending_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "report.md"
    lines: list[Typed] = ["1", "a", "yes", "yes", str(file), "q"]
    code, output = prompt("bare", demo_machine("bare", delay=0), tmp_path, lines, monkeypatch, capsys)
    assert code is ExitCode.OK
    assert f"saved as {file}" in output
    assert "* Python: not part of this run" in file.read_text().partition("## Still open")[2]
    assert "pip install" not in file.read_text(), "there is no environment yet"


def test_a_finding_is_fixed_and_checked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = demo_machine("broken", delay=0)
    assert '"' in (machine.text(KERNEL) or "")

    def choose(output: str) -> str:
        line = next(line for line in output.rpartition("Fixes are available for:")[2].splitlines() if QUOTED in line)
        return line.split()[0]

    lines: list[Typed] = ["t", "", choose, "yes", "no", "", "b", "q"]
    code, output = prompt("broken", machine, tmp_path, lines, monkeypatch, capsys)
    assert code is ExitCode.OK
    assert f"Checked again: fixed: {QUOTED}" in output
    assert QUOTED not in output.rpartition("Fixes are available for:")[2]
    assert '"' not in (machine.text(KERNEL) or "")


# What a console shows, with an empty line and lines that would be answers to the next questions.
PASTED = ["Nov 26 10:00:01 gpu03 systemd[1]: Starting", "", "yes", "b", "systemd-sysctl[80]: Couldn't write "
          "'\"10000 65000\"' to 'net/ipv4/ip_local_port_range': Invalid argument", "q", "."]  # fmt: skip


def test_from_a_pasted_log_to_a_fix_that_is_checked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = demo_machine("broken", delay=0)
    lines: list[Typed] = ["t", *PASTED, "1", "yes", "no", *PASTED, ":b", "q"]
    code, output = prompt("broken", machine, tmp_path, lines, monkeypatch, capsys)
    assert code is ExitCode.OK
    before, _, after = output.partition("Checked again: fixed: " + QUOTED)
    assert "Confirmed: " in before
    assert "-net.ipv4.ip_local_port_range=" in before, "the diff, before anything happens"
    assert "Ruled out: " in after
    assert '"' not in (machine.text(KERNEL) or "")


def test_back_from_every_question_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = demo_machine("broken", delay=0)
    before = machine.snapshot()
    lines: list[Typed] = ["t", ":b", "t", "", "b", "t", *PASTED, "1", "no", ":b", "q"]
    code, output = prompt("broken", machine, tmp_path, lines, monkeypatch, capsys)
    assert code is ExitCode.OK
    assert machine.snapshot() == before
    assert "Checked again" not in output


def test_hooks_are_shown_before_the_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hooks = {"drain_hook": ["/usr/local/sbin/drain-node", "--wait"]}
    lines: list[Typed] = ["2", "a", "no", "q"]
    _, output = prompt(
        "half", demo_machine("half", delay=0), tmp_path, lines, monkeypatch, capsys, {"maintenance": hooks}
    )
    before = output.partition("would interrupt kernel")[0]
    assert "something: /usr/local/sbin/drain-node --wait" in before
