"""Credentials in URLs are refused by every public field; those of a proxy appear in private files only."""

from __future__ import annotations

import stat
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from bai_wizard import compose
from bai_wizard.answers.load import load
from bai_wizard.answers.model import report
from bai_wizard.cli import main
from bai_wizard.core.state import Entry
from bai_wizard.engine.directory import RunDirectory, create_run
from bai_wizard.engine.executor import execute
from bai_wizard.engine.lock import StatePaths
from bai_wizard.exit_codes import ExitCode
from bai_wizard.node.demo import demo_machine
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.pages import TABLES, settings_of
from bai_wizard.pages.fields import SettingsPart, hints_of
from bai_wizard.pages.values import CREDENTIALS, Pattern
from bai_wizard.resources.files import WriteFile
from bai_wizard.steps import load_all

SECRET = "hunter2-s3cret"
LOGINS = (
    f"https://{SECRET}@mirror.corp/x",
    f"https://:{SECRET}@mirror.corp/x",
    f"https://me:{SECRET}@mirror.corp/x",
    f"https://me%40corp:{SECRET}@mirror.corp/x",
    f"https://me@corp:{SECRET}@mirror.corp/x",
    f"https://mirror.corp/x?token={SECRET}",
    f"https://mirror.corp/x?a=1&X-Amz-Signature={SECRET}",
    f"HTTPS://{SECRET}@mirror.corp/x",
)
# The only ones that may carry a login: the wizard and Docker keep it private.
PROXIES = {"network.proxy.http", "network.proxy.https"}
# Sentences and names for people, shown as they are.
PROSE = {"doctor.ignore.*", "aliases.hosts.*.comment", "images.registries.*.username"}


def texts(hint: Any, path: str) -> Iterator[tuple[str, Pattern]]:
    """Every kind of text below a type of the settings, with the path of its key."""
    if typing.get_origin(hint) is typing.Annotated:
        yield from ((path, item) for item in typing.get_args(hint)[1:] if isinstance(item, Pattern))
        return
    if isinstance(hint, type) and issubclass(hint, SettingsPart):
        for name, inner in hints_of(hint).items():
            yield from texts(inner, f"{path}.{name}")
        return
    for argument in typing.get_args(hint):
        below = path if typing.get_origin(hint) not in (tuple, dict) else f"{path}.*"
        yield from texts(argument, below)


FIELDS = [found for table in TABLES for found in texts(settings_of(table), table)]


def accepts(shape: Pattern, text: str) -> bool:
    try:
        shape.check(text)
    except ValueError:
        return False
    return True


def holders() -> list[tuple[str, Pattern]]:
    """Fields that a URL may be put into, alone or among other words."""
    samples = ("https://mirror.corp/x", "http://mirror.corp:3128", "x @ https://mirror.corp/x",
               "https://mirror.corp/x /vfroot/x davfs rw 0 0")  # fmt: skip
    return [(path, shape) for path, shape in FIELDS if any(accepts(shape, sample) for sample in samples)]


def test_the_fields_that_hold_urls_are_found() -> None:
    paths = {path for path, _ in holders()}
    assert {"docker.apt_url", "python.index_url", "python.find_links.*", "python.pyenv_url", "network.proxy.http",
            "docker.registry_mirrors.*", "accelerators.nvidia.apt_url",
            "python.venvs.*.packages.*"} <= paths  # fmt: skip


@pytest.mark.parametrize(("path", "shape"), holders(), ids=lambda item: item if isinstance(item, str) else "")
def test_every_field_that_holds_a_url_refuses_a_login(path: str, shape: Pattern) -> None:
    if path in PROXIES | PROSE:
        return
    for url in LOGINS:
        for text in (url, f"x @ {url}", f"x @ git+{url}", f"{url} /vfroot/x davfs rw 0 0"):
            with pytest.raises(ValueError, match="must") as caught:
                shape.check(text)
            assert str(caught.value) == (CREDENTIALS if shape.public else shape.reason)
            assert SECRET not in str(caught.value)


ANSWERS = f"""version = 1
[node]
backend_ai = "26.4"
[network.proxy]
http = "http://me:{SECRET}@proxy.corp:3128"
https = "http://{SECRET}@proxy.corp:3128"
no_proxy = "localhost, .corp"
[account]
sudo = "nopasswd"
[docker]
[python]
venvs = []
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "answers.toml"
    made.write_text(ANSWERS)
    made.chmod(0o600)
    return made


def test_a_proxys_login_is_on_the_node_in_private_files_only(file: Path, tmp_path: Path) -> None:
    load_all()
    machine = demo_machine("bare", delay=0)
    wanted = compose.desired_from_answers(load(str(file), machine.host))
    wanted = replace(wanted, context=replace(wanted.context, demo=True))
    paths = StatePaths(tmp_path / "root")
    plan = compose.plan(machine, wanted)
    assert _unmasked(plan) == []
    run = create_run(paths, plan, wanted.to_json())
    result = execute(paths, run, plan.digest(), machine)
    # Optional: the step that says why apt, git and logins do not get it.
    assert result.code() is ExitCode.OPTIONAL_FAILED, [step.text for step in result.steps if step.outcome == "failed"]
    held = {key.name: state for key, state in machine.snapshot().items()
            if isinstance(state, Entry) and SECRET in (state.text() or "")}  # fmt: skip
    assert set(held) == {"/etc/systemd/system/docker.service.d/bai-wizard-proxy.env"}
    assert all((entry.uid, entry.mode) == (0, 0o600) for entry in held.values())
    written = [one for one in machine.performed if isinstance(one, WriteFile) and SECRET.encode() in one.content]
    assert all(one.secret for one in written)
    _no_leak_in(run)
    undone = _undo(machine, paths, run)
    _no_leak_in(undone)
    assert not any(
        SECRET in (state.text() or "") for state in machine.snapshot().values() if isinstance(state, Entry)
    )


def _unmasked(plan: Any) -> list[str]:
    """What a plan shows people: every change and every sentence."""
    result = []
    for item in plan.steps:
        shown = [item.step.describe(), *(change.diff() for change in getattr(item.verdict, "changes", ()))]
        result += [text for text in (*shown, repr(item.verdict)) if SECRET in text]
    return result


def _no_leak_in(run: RunDirectory) -> None:
    """The login may be in what the executor needs, in private files; never in what front ends are told."""
    for path in run.path.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode & 0o077 == 0, path
        if path.is_file() and path.name in ("events.jsonl", "result.json"):
            assert SECRET.encode() not in path.read_bytes(), path


def _undo(machine: SimulatedMachine, paths: StatePaths, run: RunDirectory) -> RunDirectory:
    from bai_wizard.core.step import Plan

    plan = Plan(machine.host)
    undone = create_run(paths, plan, {}, kind="undo", undoes=run.id)
    undone.begin_attempt(plan, dict(undone.metadata))
    assert execute(paths, undone, plan.digest(), machine).code() is ExitCode.OK
    return undone


@pytest.mark.parametrize(
    "words",
    [
        ("--headless", "FILE", "--plan", "--demo", "bare"),
        ("--headless", "FILE", "--plan", "--json", "--demo", "bare"),
        ("--headless", "FILE", "--demo", "bare"),
        ("--headless", "FILE", "--json", "--demo", "bare"),
        ("check", "FILE", "--demo", "bare"),
    ],
    ids=" ".join,
)
def test_no_command_reports_a_proxys_login(
    words: tuple[str, ...], file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code = main([str(file) if word == "FILE" else word for word in words])
    assert code in (ExitCode.OK, ExitCode.OPTIONAL_FAILED)
    captured = capfd.readouterr()
    assert "docker" in captured.out
    assert SECRET not in captured.out + captured.err


def test_the_report_of_answers_masks_it(file: Path) -> None:
    assert SECRET not in report(load(str(file), "gpu01"))
