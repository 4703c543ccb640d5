"""Line prompts lose no input: letters are values in a field, and every exit keeps the input."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from bai_wizard.node.demo import demo_machine
from bai_wizard.pages import settings_of
from bai_wizard.session import demo_session
from bai_wizard.ui.draft import Draft
from bai_wizard.ui.form_fields import fitting, form_fields, source_of, source_text
from bai_wizard.ui.plain.prompt import BACK, PageQuestions, Quit, TerminalClosed
from bai_wizard.ui.plain.wizard import PlainWizard
from bai_wizard.ui.saving import Autosave

Typed = str | BaseException


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Types these lines, then closes the terminal."""

    def typed(*lines: Typed, hidden: tuple[str, ...] = ()) -> None:
        waiting, secrets = list(lines), list(hidden)

        def line(_prompt: str = "") -> str:
            if not waiting:
                raise EOFError
            answer = waiting.pop(0)
            if isinstance(answer, BaseException):
                raise answer
            return answer

        monkeypatch.setattr("builtins.input", line)
        monkeypatch.setattr("getpass.getpass", lambda _prompt: secrets.pop(0))

    return typed


def conversation(directory: Path, draft: Draft, *, demo: bool = False) -> PlainWizard:
    machine = demo_machine("bare", delay=0)
    session = demo_session("bare", machine, directory)
    prompt = PlainWizard(session if demo else replace(session, demo=""), draft)
    prompt._autosave = None if demo else Autosave("gpu01", str(directory / "state"))
    return prompt


def kept(directory: Path) -> list[Path]:
    return sorted((directory / "state").glob("draft-*")) if (directory / "state").exists() else []


@pytest.mark.parametrize("character", ["q", "b", "?"])
def test_a_letter_is_a_value(character: str, say: Callable[..., None], tmp_path: Path) -> None:
    prompt = conversation(tmp_path, Draft("gpu01"), demo=True)
    say(character, BACK)
    PageQuestions(prompt.prompt, prompt.draft, prompt.secrets).ask("account")
    assert prompt.draft.value("account", ("username",)) == character


def test_the_commands_of_a_field(
    say: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompt = conversation(tmp_path, Draft("gpu01"), demo=True)
    say(":?", "::q", ":q")
    with pytest.raises(Quit):
        PageQuestions(prompt.prompt, prompt.draft, prompt.secrets).ask("account")
    assert prompt.draft.value("account", ("username",)) == ":q"


def test_a_closed_terminal_keeps_the_draft_and_the_next_start_continues(
    say: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    say("1", "c", "operator")
    conversation(tmp_path, Draft("gpu01")).run()
    (file,) = kept(tmp_path)
    file.rename(file.with_name("draft-gpu01-4194305-77.json"))
    again = Draft("gpu01")
    say("c", "q", "l")
    conversation(tmp_path, again).run()
    output = capsys.readouterr().out
    assert "Pages: Account" in output
    assert again.value("account", ("username",)) == "operator"
    (file,) = kept(tmp_path)
    assert "4194305" not in file.name, "the old one is replaced by this wizard's own"


@pytest.mark.parametrize("egress", [":q", KeyboardInterrupt()])
def test_leaving_asks_and_can_be_cancelled(
    egress: Typed, say: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draft = Draft("gpu01")
    say("1", "c", "operator", egress, "c", "q", "s", str(tmp_path / "a.toml"))
    conversation(tmp_path, draft).run()
    output = capsys.readouterr().out
    assert output.count("You have unsaved answers.") == 2
    assert 'username = "operator"' in (tmp_path / "a.toml").read_text()
    assert "incomplete" in output


def test_saved_answers_need_no_draft(say: Callable[..., None], tmp_path: Path) -> None:
    draft = Draft("gpu01", {"node": {"backend_ai": "26.4"}, "account": {"sudo": "nopasswd"}})
    say("1", "c", "operator", BACK, "b", "s", str(tmp_path / "a.toml"), "q")
    conversation(tmp_path, draft).run()
    assert (tmp_path / "a.toml").exists()
    assert not kept(tmp_path)


def test_a_discarded_draft_is_gone(say: Callable[..., None], tmp_path: Path) -> None:
    say("1", "c", "operator")
    conversation(tmp_path, Draft("gpu01")).run()
    (file,) = kept(tmp_path)
    file.rename(file.with_name("draft-gpu01-4194305-77.json"))
    say("d", "q")
    conversation(tmp_path, Draft("gpu01")).run()
    assert not kept(tmp_path)


def test_a_demo_leaves_no_draft(say: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    say("1", "c", "operator")
    conversation(tmp_path, Draft("gpu01"), demo=True).run()
    assert not (tmp_path / "state").exists()


def test_a_row_that_is_wrong_is_asked_again_and_the_rows_before_it_stay(
    say: Callable[..., None], tmp_path: Path
) -> None:
    prompt = conversation(tmp_path, Draft("gpu01"), demo=True)
    say("", "+", "10.0.0", "m1 bai-m1", "", "", "10.0.0.1", "", "", "", "+", "10.0.0.2")
    with pytest.raises(TerminalClosed):
        PageQuestions(prompt.prompt, prompt.draft, prompt.secrets).ask("aliases")
    assert prompt.draft.value("aliases", ("hosts",)) == [{"ip": "10.0.0.1", "names": ["m1", "bai-m1"]}]


def test_a_password_that_does_not_match_is_asked_again(say: Callable[..., None], tmp_path: Path) -> None:
    prompt = conversation(tmp_path, Draft("gpu01"), demo=True)
    questions = PageQuestions(prompt.prompt, prompt.draft, prompt.secrets)
    shape = next(each for each in form_fields(settings_of("account")) if each.widget == "secret")
    say("prompt", hidden=("secret1", "secret2", "secret3", "secret3"))
    assert questions._secret("account.password", shape, None) == {"prompt": True}
    assert prompt.secrets.has("account.password")


@pytest.mark.parametrize(
    ("way", "typed", "source", "again"),
    [
        ("env", "BAI_PASSWORD", {"env": "BAI_PASSWORD"}, "BAI_PASSWORD"),
        ("file", "/root/a b", {"file": "/root/a b"}, "/root/a b"),
        ("command", "/bin/vault 'a b' c", {"command": ["/bin/vault", "a b", "c"]}, "/bin/vault 'a b' c"),
        ("command", "/bin/it's", {"command": ["/bin/it's"]}, "/bin/it's"),
        ("credential", "bai-password", {"credential": "bai-password"}, "bai-password"),
    ],
)
def test_every_source_of_a_secret_can_be_typed_and_is_offered_again(
    way: str, typed: str, source: dict[str, object], again: str, say: Callable[..., None], tmp_path: Path
) -> None:
    prompt = conversation(tmp_path, Draft("gpu01"), demo=True)
    questions = PageQuestions(prompt.prompt, prompt.draft, prompt.secrets)
    shape = next(each for each in form_fields(settings_of("account")) if each.widget == "secret")
    say(way, typed)
    assert questions._secret("account.password", shape, None) == source
    say("", "")
    assert questions._secret("account.password", shape, source) == source
    assert source_of(way, source_text(way, source)) == source
    assert fitting({"password": source}, settings_of("account")) == {"password": source}
