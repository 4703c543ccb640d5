"""Hostile text through every reader to every text front end: no terminal control sequence is printed."""

from __future__ import annotations

import ast
import json
import os
import re
from contextlib import suppress
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import bai_wizard
from bai_wizard import cli
from bai_wizard.core.consent import Affected
from bai_wizard.core.display import VisibleStream
from bai_wizard.core.errors import StepFailed
from bai_wizard.core.event import Event
from bai_wizard.core.page import Evidence, Finding
from bai_wizard.core.page import Result as FindingResult
from bai_wizard.core.step import Blocked, Pending, Plan, PlannedStep, Unchanged, dry_run
from bai_wizard.doctor.report import write_report as write_examination
from bai_wizard.engine.result import Result, StepResult
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.pages.values import AbsolutePath, OneLine, Pattern, Requirement, SshKey
from bai_wizard.steps.files import DropIn
from bai_wizard.ui.fleet.compare import compare, compare_lines
from bai_wizard.ui.plain.prompt import Prompt
from bai_wizard.ui.present import plan_lines, result_lines
from bai_wizard.ui.text.output import JsonLines, Output, event_line
from bai_wizard.ui.text.report import markdown
from tests.hostile import FORGED, HARMLESS, SEQUENCES, dangerous, everything

EVIL = everything()
# What a file and its path can hold.
ENCODABLE = EVIL.replace("\udce9", "").replace("\x00", "")
HTML = "<img src=x onerror=alert(1)> <script>alert(2)</script> &lt; [a](javascript:1) ![b](http://c) `d` | e"


def the_plan(text: str) -> Plan:
    step = DropIn(id="account.file", path=f"/etc/{text}", text=text + "\n", why=text)
    from bai_wizard.core.predicted import PredictedNode

    pending = dry_run(step, PredictedNode(SimulatedMachine({})))
    assert isinstance(pending, Pending)
    verdicts = (pending, Blocked(text), Unchanged(text))
    return Plan(text, tuple(PlannedStep(step, verdict) for verdict in verdicts), (text,))


def the_result(text: str) -> Result:
    steps = (StepResult("account.file", text, "failed", text=text), StepResult("b", text, "changed", "reboot"))
    return Result((*steps, StepResult("c", text, "skipped", text=text)), "", (text,))


def events(text: str) -> list[Event]:
    kinds = ("started", "finished", "log", "run", "progress")
    return [Event("2026-01-01T00:00:00Z", "r", 1, kind, text=text, step="a.b", total=2, done=1) for kind in kinds]  # type: ignore[arg-type]


def findings(text: str) -> list[Finding]:
    evidence = (Evidence(text, text, text, text),)
    results: tuple[FindingResult, ...] = ("problem", "warning", "crashed", "cannot-tell", "ok")
    return [
        Finding(f"x.y{index}", result, text, "node", evidence, text, text, text)
        for index, result in enumerate(results)
    ]


def tell(output: Output, text: str) -> None:
    output.plan(the_plan(text), {"a": "one:1", text: "two:2"}, {"docker.restart": (Affected(text, text),)})
    for event in events(text):
        output.event(event)
    output.summary(the_result(text))
    output.note(text)


def through_the_command(monkeypatch: pytest.MonkeyPatch, work: Any) -> None:
    """Runs `work` where the command line runs its commands."""

    def main(_words: list[str]) -> int:
        work()
        return 0

    monkeypatch.setattr(cli, "_run", main)
    assert cli.main(["x"]) == 0


@pytest.mark.parametrize("ascii", [False, True])
def test_line_prompts(ascii: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(prompt: str) -> str:
        asked.append(prompt)
        return "x"

    monkeypatch.setattr("builtins.input", answer)
    monkeypatch.setattr("getpass.getpass", answer)
    talk = Prompt(ascii)
    talk.say(EVIL)
    talk.ask(EVIL, default=EVIL)
    talk.ask_hidden(EVIL)
    talk.sure(EVIL)
    output = capsys.readouterr().out + "".join(asked)
    assert "\\x1b[2J" in output
    assert not dangerous(output)
    assert output.isascii() or not ascii


def test_text_output(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    through_the_command(monkeypatch, lambda: tell(Output(), ENCODABLE))
    out, err = capsys.readouterr()
    assert out.count("\\x1b[2J") > 5
    assert err.count("\\x1b[2J") > 4
    assert not dangerous(out + err)


def test_json_output_is_strict_ascii_and_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    tell(JsonLines(), ENCODABLE)
    out = capsys.readouterr().out
    assert out.isascii()
    lines = out.splitlines()
    assert lines == out.rstrip("\n").split("\n")
    assert all(json.loads(line)["v"] == 1 for line in lines)
    assert ENCODABLE in [json.loads(line).get("text") for line in lines]


def test_no_tool_can_forge_an_output_line() -> None:
    text = f"x\n{FORGED}\n00:00:00 docker.engine: changed"
    shown = [line for event in events(text) for line in event_line(event).split("\n")]
    shown += "\n".join(result_lines(the_result(text))).split("\n")
    shown += "\n".join(plan_lines(the_plan("x"))).split("\n")
    assert FORGED not in shown
    assert "00:00:00 docker.engine: changed" not in shown


def test_reports_of_other_nodes() -> None:
    report = {
        "host": "a",
        "same": {f"b\n{FORGED}": EVIL, "c": f"d\n{FORGED}"},
        "node": {"node": {EVIL: EVIL}},
    }
    other = {"host": "b", "same": {"c": "e"}, "node": {"node": {EVIL: "f"}}}
    shown = "\n".join(compare_lines(compare({report["host"]: report, "b": other})))  # type: ignore[dict-item]
    assert not dangerous(shown)
    assert FORGED not in shown.split("\n")


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.add(tag)


@pytest.mark.parametrize("name", ["r.md", "r.html"])
def test_a_report_of_an_examination(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    write_examination(str(file), EVIL, findings(EVIL + HTML + "\n# heading\n```\n"), lambda _finding: Plan(""))
    text = file.read_text()
    assert not dangerous(text)
    assert "\n# heading" not in text
    tags = Tags()
    tags.feed(text)
    assert not tags.seen & {"img", "script", "a"}


def test_a_handover_report() -> None:
    evil = EVIL + HTML + "\n# heading"
    report = {
        "host": evil,
        "written": "now",
        "wizard": "1",
        "run": "",
        "result": the_result(evil).to_json(),
        "node": {"node": {evil: evil}},
        "next": [evil],
        "open": [{"page": "node", "reason": evil}],
    }
    text = markdown(report)
    assert not dangerous(text)
    # Text in a code span is not markup.
    text = re.sub(r"(?<!\\)`[^`\n]*`", "", text)
    assert "<img" not in text
    assert "<script" not in text
    assert "[a](" not in text.replace("\\[a\\](", "")
    assert "\n# heading" not in text
    tables = [line for line in text.split("\n") if line.startswith("| ") and line != "| | |"]
    assert [line.replace("\\|", "").count("|") for line in tables] == [3]


def test_errors_of_every_kind(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for error in (StepFailed(EVIL), ValueError(EVIL), OSError(5, EVIL, EVIL)):

        def fail(_arguments: object, error: Exception = error) -> int:
            raise error

        monkeypatch.setattr(cli, "_dispatch", fail)
        assert cli.main(["runs"]) in (1, 4)
        output = capsys.readouterr().err
        assert "\\x1b[2J" in output
        assert not dangerous(output)


COMMANDS: tuple[tuple[str, ...], ...] = (
    ("detect",),
    ("detect", "--json"),
    ("runs",),
    ("runs", "--json"),
    ("answers", "--from-node"),
    ("doctor", "--only", "storage,account,aliases,tuning"),
    ("doctor", "--json", "--only", "storage,account,aliases,tuning"),
    ("doctor", "--error", EVIL.replace("\x00", "")),
    ("attach", EVIL.replace("\x00", "")),
    ("undo", EVIL.replace("\x00", "")),
    ("resume", EVIL.replace("\x00", "")),
    ("--headless", "{answers}", "--plan"),
    ("--headless", "{answers}", "--plan", "--json"),
    ("drift", "--answers", "{answers}"),
    ("drift", "--answers", "{answers}", "--json"),
    ("drift", "--run", EVIL.replace("\x00", "")),
    ("check", "{bad}"),
    ("check", "{missing}"),
    ("compare", "{bad}", "{missing}"),
    ("doctor", "--from", "{bad}"),
)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A node whose files are all written by a stranger."""
    root = tmp_path_factory.mktemp("node")
    name = ENCODABLE.replace("/", "")[:80]
    line = ENCODABLE.replace("\n", " ").replace(":", " ")

    def put(path: str, text: str) -> None:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode("utf-8", "surrogateescape"))

    put("etc/os-release", f'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian {line}"\nVERSION_CODENAME="{line}"\n')
    put("etc/hostname", line)
    put(
        "etc/passwd",
        f"root:x:0:0:{line}:/root:/bin/bash\nbai:x:1000:1000:{line}:/home/bai:/bin/{name}\n{line}:x:7:7::/:/x\n",
    )
    put("etc/group", f"root:x:0:\nbai:x:1000:{line}\n")
    put("etc/hosts", f"127.0.0.1 localhost # {line}\n10.0.0.1 {line}\n")
    put("etc/fstab", f"nfs.corp:/{name} /vfroot/local nfs {name} 0 0\n")
    put("etc/sysctl.d/99-x.conf", f"net.core.somaxconn = {line}\n# {line}\n")
    put(f"etc/sysctl.d/{name}.conf", f"vm.max_map_count={line}\n")
    put("etc/docker/daemon.json", json.dumps({"log-driver": line, line: line}))
    put("etc/environment", f"HTTP_PROXY={line}\n")
    put("home/bai/.ssh/authorized_keys", f"ssh-ed25519 {'A' * 68} {line}\n{line}\n")
    put(f"home/bai/{name}/x", line)
    put(f"home/bai/agent/{name}", line)
    put("proc/cpuinfo", f"processor : 0\nmodel name : {line}\n")
    put("proc/mounts", f"/dev/sda1 / ext4 rw 0 0\nnfs.corp:/{name} /{name} nfs rw,{name} 0 0\n")
    put("proc/version", line)
    put("var/lib/dpkg/status", f"Package: docker-ce\nStatus: install ok installed\nVersion: {line}\n\n")
    os.mkdir(os.fsencode(root / "home/bai") + b"/caf\xe9\x1b[2J\x9b")
    for number, text in enumerate((ENCODABLE, FORGED)):
        run = root / f"var/lib/bai-wizard/runs/2026010{number + 1}T000000Z-abc{number}"
        run.mkdir(parents=True)
        (run / "run.json").write_text(json.dumps({"run": text, "kind": text, "undoes": text, "host": text}))
        (run / "result.json").write_text(json.dumps({"code": 4, "counts": {text: 1}}))
        (run / "events.jsonl").write_text(json.dumps({"text": text}) + "\n")
    put("answers.toml", '[account]\nsudo = "nopasswd"\n[node]\nbackend_ai = "26.4"\n')
    put("bad.toml", f"[account]\nname = '''{ENCODABLE}'''\n\"{name}\" = 1\n")
    return root


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words)[:40].encode("unicode_escape").decode())
def test_no_command_prints_control_sequences(
    words: tuple[str, ...], node: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {"answers": node / "answers.toml", "bad": node / "bad.toml", "missing": node / EVIL.replace("\x00", "")}
    line = [str(files.get(word.strip("{}"), word)) for word in words]
    with suppress(SystemExit):
        cli.main([*line, "--root", str(node)] if words[0] not in ("compare", "check") else line)
    out, err = capsys.readouterr()
    assert out + err
    assert not dangerous(out + err), sorted(map(ascii, dangerous(out + err)))
    assert FORGED not in (out + err).split("\n")
    if "--json" in words:
        assert out.isascii()
        for each in out.splitlines():
            json.loads(each)


@pytest.mark.parametrize("sort", [OneLine, AbsolutePath, Requirement, SshKey])
def test_answers_refuse_invisible_characters(sort: Any) -> None:
    shape = next(item for item in sort.__metadata__ if isinstance(item, Pattern))
    good = {AbsolutePath: "/srv/한국어", Requirement: "a==1", SshKey: f"ssh-ed25519 {'A' * 68} name"}.get(
        sort, HARMLESS[1]
    )
    assert shape.check(good) == good
    for name, text in SEQUENCES.items():
        with pytest.raises(ValueError, match="must"):
            shape.check(f"{good}{text}")
        assert name


def test_a_stream_that_is_wrapped_twice_shows_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    import sys

    VisibleStream(VisibleStream(sys.stdout)).write(EVIL)  # type: ignore[arg-type]
    assert not dangerous(capsys.readouterr().out)


def test_the_ansible_module_hands_over_texts_that_a_terminal_does_not_obey() -> None:
    """Ansible prints differences and messages unchanged. The module is not imported: Ansible may be missing."""
    collection = Path(bai_wizard.__file__).parents[1] / "integrations/ansible/ansible_collections/bai/wizard"
    source = (collection / "plugins/modules/node.py").read_text(encoding="utf-8")
    wanted: list[ast.stmt] = [
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef) and node.name in ("parsed", "visible")
    ]
    names: dict[str, Any] = {"json": json}
    exec(compile(ast.Module(wanted, []), "node.py", "exec"), names)
    (event,) = names["parsed"](json.dumps({"data": {"steps": [{EVIL: HARMLESS[1] + EVIL}]}}))
    (text,) = event["data"]["steps"][0].values()
    assert text.isprintable()
    assert text.startswith(HARMLESS[1].replace("\u3000", "\\u3000") + "\\x1b[2J")
    assert "splitlines" not in source
