"""The line prompts: a page applied and its report saved, a finding mended and proven, by typed lines alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bai_wizard.commands.wizard import _report
from bai_wizard.core.machine import Machine
from bai_wizard.exits import ExitCode
from bai_wizard.headless.plain import Conversation
from bai_wizard.machine.demo import demo_machine
from bai_wizard.wizard.desk import demo_desk
from bai_wizard.wizard.draft import Draft

Typed = str | Callable[[str], str]
QUOTED = "A kernel parameter is written with quotes, which the kernel refuses"
KERNEL = "/etc/sysctl.d/99-backend-ai.conf"


def talk(
    name: str,
    machine: Machine,
    place: Path,
    lines: list[Typed],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> tuple[ExitCode, str]:
    """A conversation in which these lines are typed; a function chooses by what was said so far. Returns all said."""
    said = ""
    waiting = list(lines)

    def typed(prompt: str) -> str:
        nonlocal said
        said += capsys.readouterr().out + prompt + "\n"
        if not waiting:
            raise EOFError
        line = waiting.pop(0)
        return line if isinstance(line, str) else line(said)

    monkeypatch.setattr("builtins.input", typed)
    desk = replace(demo_desk(name, machine, place), reporter=_report)
    draft = Draft(machine.host, {"node": {"backend_ai": "26.4"}, "account": {"sudo": "nopasswd"}}, demo=True)
    code = Conversation(desk, draft).run()
    assert not waiting, said
    return code, said + capsys.readouterr().out


def test_a_page_is_applied_and_the_report_names_what_comes_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "report.md"
    lines: list[Typed] = ["1", "a", "yes", "yes", str(file), "q"]
    code, said = talk("bare", demo_machine("bare", delay=0), tmp_path, lines, monkeypatch, capsys)
    assert code is ExitCode.OK
    assert f"saved as {file}" in said
    assert "pip install backend.ai-agent==26.4" in file.read_text().partition("## Next")[2]


def test_a_finding_is_mended_and_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = demo_machine("broken", delay=0)
    assert '"' in (machine.text(KERNEL) or "")

    def choose(said: str) -> str:
        line = next(line for line in said.rpartition("There is a remedy for:")[2].splitlines() if QUOTED in line)
        return line.split()[0]

    lines: list[Typed] = ["t", "", choose, "yes", "no", "", "b", "q"]
    code, said = talk("broken", machine, tmp_path, lines, monkeypatch, capsys)
    assert code is ExitCode.OK
    assert f"Looked again: it is gone: {QUOTED}" in said
    assert QUOTED not in said.rpartition("There is a remedy for:")[2]
    assert '"' not in (machine.text(KERNEL) or "")


# What a console shows, with an empty line and lines that would be answers to the next questions.
PASTED = ["Nov 26 10:00:01 gpu03 systemd[1]: Starting", "", "yes", "b", "systemd-sysctl[80]: Couldn't write "
          "'\"10000 65000\"' to 'net/ipv4/ip_local_port_range': Invalid argument", "q", "."]  # fmt: skip


def test_from_a_pasted_log_to_a_fix_that_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = demo_machine("broken", delay=0)
    lines: list[Typed] = ["t", *PASTED, "1", "yes", "no", *PASTED, "b", "q"]
    code, said = talk("broken", machine, tmp_path, lines, monkeypatch, capsys)
    assert code is ExitCode.OK
    before, _, after = said.partition("Looked again: it is gone: " + QUOTED)
    assert "It is this one: " in before
    assert "-net.ipv4.ip_local_port_range=" in before, "the diff, before anything happens"
    assert "Not this one here: " in after
    assert '"' not in (machine.text(KERNEL) or "")


def test_back_from_every_question_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = demo_machine("broken", delay=0)
    before = machine.snapshot()
    lines: list[Typed] = ["t", "b", "t", "", "b", "t", *PASTED, "1", "no", "b", "q"]
    code, said = talk("broken", machine, tmp_path, lines, monkeypatch, capsys)
    assert code is ExitCode.OK
    assert machine.snapshot() == before
    assert "Looked again" not in said
