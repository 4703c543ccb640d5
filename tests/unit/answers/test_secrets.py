"""A secret is read from the configured source or refused; its value never appears in a message."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bai_wizard.answers.load import loads
from bai_wizard.answers.secrets import FILE_LIMIT, Source, resolve, resolve_all
from bai_wizard.cli import main
from bai_wizard.core.errors import AnswersError, PreflightError
from bai_wizard.core.secret import Secret, allow_programs, redact
from bai_wizard.pages.fields import CommandSecret, CredentialSecret, EnvSecret, FileSecret, PromptSecret

TEXT = "correct horse battery"


def refused(source: Source) -> str:
    with pytest.raises(AnswersError) as caught:
        resolve("account.password", source)
    assert TEXT not in str(caught.value)
    return str(caught.value)


def secret_file(tmp_path: Path, content: bytes, mode: int = 0o600) -> FileSecret:
    path = tmp_path / "password"
    path.write_bytes(content)
    path.chmod(mode)
    return FileSecret(file=str(path))


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAI_TEST_PASSWORD", TEXT)
    secret = resolve("account.password", EnvSecret(env="BAI_TEST_PASSWORD"))
    assert secret.reveal() == TEXT
    assert TEXT not in redact(f"log of {TEXT}")
    monkeypatch.delenv("BAI_TEST_PASSWORD")
    assert "BAI_TEST_PASSWORD is not set" in refused(EnvSecret(env="BAI_TEST_PASSWORD"))
    monkeypatch.setenv("BAI_TEST_PASSWORD", "")
    assert "is empty" in refused(EnvSecret(env="BAI_TEST_PASSWORD"))


@pytest.mark.parametrize(
    "content", [b"correct horse battery", b"correct horse battery\n", b"correct horse battery\r\nsecond line\n"]
)
def test_first_line_of_a_file(tmp_path: Path, content: bytes) -> None:
    assert resolve("account.password", secret_file(tmp_path, content)) == Secret(TEXT)


@pytest.mark.parametrize(
    ("content", "mode", "reason"),
    [
        (b"", 0o600, "is empty"),
        (b"\ncorrect horse battery", 0o600, "is empty"),
        (b"abc\n", 0o600, "too short"),
        (TEXT.encode() * 30, 0o600, "too long"),
        (TEXT.encode() + b"\x07", 0o600, "control characters"),
        (TEXT.encode() + b"\xff\xfe", 0o600, "not UTF-8"),
        (TEXT.encode() + b"\n" + b"x" * FILE_LIMIT, 0o600, "exceeds 4 KiB"),
    ],
)
def test_invalid_secret_files(tmp_path: Path, content: bytes, mode: int, reason: str) -> None:
    assert reason in refused(secret_file(tmp_path, content, mode))


@pytest.mark.parametrize("mode", [0o602, 0o620, 0o640, 0o604, 0o644, 0o666])
def test_a_file_that_others_can_read_or_change(tmp_path: Path, mode: int) -> None:
    """As a refusal in preflight, with what to do."""
    source = secret_file(tmp_path, TEXT.encode(), mode)
    if os.geteuid() == 0:
        os.chown(source.file, 0, 4242)
    with pytest.raises(PreflightError, match=r"can be (read|changed) by .*; run: chmod ") as caught:
        resolve("account.password", source)
    assert TEXT not in str(caught.value)


def test_paths_that_are_not_files(tmp_path: Path) -> None:
    good = secret_file(tmp_path, TEXT.encode())
    link = tmp_path / "link"
    link.symlink_to(good.file)
    os.mkfifo(tmp_path / "pipe")
    assert "it is a symbolic link" in refused(FileSecret(file=str(link)))
    assert "not a regular file" in refused(FileSecret(file=str(tmp_path / "pipe")))
    assert "not a regular file" in refused(FileSecret(file=str(tmp_path)))
    assert "No such file" in refused(FileSecret(file=str(tmp_path / "no")))


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to give a file away")
def test_a_file_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = secret_file(tmp_path, TEXT.encode())
    os.chown(source.file, 4242, 4242)
    with pytest.raises(PreflightError, match="can be changed by its owner"):
        resolve("account.password", source)
    monkeypatch.setenv("SUDO_UID", "4242")
    assert resolve("account.password", source) == Secret(TEXT)


def test_no_one_is_asked_in_a_headless_run() -> None:
    assert "cannot be prompted for" in refused(PromptSecret(prompt=True))
    asked: list[str] = []

    def ask(key: str) -> str | None:
        asked.append(key)
        return TEXT if len(asked) == 1 else None

    assert resolve("account.password", PromptSecret(prompt=True), ask) == Secret(TEXT)
    with pytest.raises(AnswersError, match="was not entered"):
        resolve("account.password", PromptSecret(prompt=True), ask)


ANSWERS = """version = 1
[account]
password = { prompt = true }
[images]
registries = [
  { host = "a", username = "u", password = { env = "BAI_TEST_PASSWORD" } },
  { host = "b", username = "u", password = { file = "/does/not/exist" } },
  { host = "c" },
]
"""


def test_all_secrets_are_resolved_or_all_problems_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAI_TEST_PASSWORD", TEXT)
    answers = loads(ANSWERS, "a.toml", "h")
    with pytest.raises(AnswersError) as caught:
        resolve_all(answers)
    assert [(problem.line, problem.key) for problem in caught.value.problems] == [
        (3, "account.password"),
        (7, "images.registries[1].password"),
    ]
    fine = loads(
        ANSWERS.replace("/does/not/exist", "/x").replace("{ file", "{ env").replace('"/x"', '"BAI_TEST_PASSWORD"'),
        "a",
        "h",
    )
    resolved = resolve_all(fine, lambda key: TEXT)
    assert set(resolved) == {"account.password", "images.registries[0].password", "images.registries[1].password"}
    assert set(resolved.values()) == {Secret(TEXT)}


def test_tables_that_are_not_applied_need_no_secret() -> None:
    answers = loads("version = 1\n[account]\napply = false\npassword = { prompt = true }\n", "a", "h")
    assert resolve_all(answers) == {}


def test_a_variable_that_every_child_gets_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", TEXT)
    assert "https_proxy is inherited by every program" in refused(EnvSecret(env="https_proxy"))


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bai_wizard.answers.secrets._printed", {})
    allow_programs(True)


def program(tmp_path: Path, script: str, *arguments: str, mode: int = 0o700) -> CommandSecret:
    path = tmp_path / "read-secret"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(mode)
    return CommandSecret(command=(str(path), *arguments))


@pytest.mark.parametrize("end", ["", "\\n", "\\r\\nsecond line\\n"])
def test_first_line_that_a_program_prints(tmp_path: Path, end: str) -> None:
    assert resolve("account.password", program(tmp_path, f"printf '{TEXT}{end}'")) == Secret(TEXT)


def test_no_shell_and_the_wizards_own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD", "")
    monkeypatch.setenv("BAI_TEST_PASSWORD", TEXT)
    source = program(tmp_path, 'printf "%s|%s|%s" "$1" "${BAI_TEST_PASSWORD-unset}" "$(cat)"', "a; $(id) *")
    assert resolve("account.password", source) == Secret("a; $(id) *|unset|")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (f"echo '{TEXT}'; echo '{TEXT}' >&2; exit 3", "exited with 3; run it by hand to see why"),
        (f"echo '{TEXT}'; kill -9 $$", "was killed by signal 9"),
        ("true", "the first line that {program} prints is empty"),
        ("echo abc", "too short"),
        (f"echo '{TEXT}'; head -c 5000 /dev/zero | tr '\\0' x", "printed more than 4 KiB"),
        (f"echo '{TEXT}'; yes | head -c 300000", "printed more than 4 KiB"),
        (f"printf '{TEXT}\\377\\n'", "is not UTF-8"),
        (f"printf '{TEXT}\\007\\n'", "control characters"),
    ],
)
def test_a_program_that_gives_no_secret(tmp_path: Path, script: str, reason: str) -> None:
    """Nothing of its output is shown, or is known to be a secret."""
    source = program(tmp_path, script)
    assert reason.format(program=source.command[0]) in refused(source)
    assert "yyy" not in refused(source)


def test_programs_that_cannot_be_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "No such file" in refused(CommandSecret(command=("/does/not/exist",)))
    assert "cannot be executed" in refused(program(tmp_path, "echo x", mode=0o600))
    assert "not a regular file" in refused(CommandSecret(command=(str(tmp_path),)))
    monkeypatch.setattr("bai_wizard.answers.secrets.DEADLINE", 0.1)
    assert "did not end within" in refused(program(tmp_path, "sleep 600"))


@pytest.mark.parametrize("mode", [0o720, 0o702])
def test_a_program_that_others_can_change_is_not_run(tmp_path: Path, mode: int) -> None:
    source = program(tmp_path, f"touch {tmp_path}/ran; echo '{TEXT}'", mode=mode)
    if os.geteuid() == 0:
        os.chown(source.command[0], 0, 4242)
    with pytest.raises(PreflightError, match=r"can be changed by .*; run: chmod "):
        resolve("account.password", source)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("mode", [0o720, 0o702])
def test_a_script_that_others_can_change_is_not_run_by_an_interpreter(tmp_path: Path, mode: int) -> None:
    script = program(tmp_path, f"touch {tmp_path}/ran; echo '{TEXT}'", mode=mode).command[0]
    if os.geteuid() == 0:
        os.chown(script, 0, 4242)
    with pytest.raises(PreflightError, match="can be changed by"):
        resolve("account.password", CommandSecret(command=("/bin/sh", script)))
    assert not (tmp_path / "ran").exists()


def test_a_program_runs_once_in_a_process(tmp_path: Path) -> None:
    """It may give its secret only once, and plans are made again; a failure is not kept."""
    source = program(tmp_path, f"echo x >>{tmp_path}/ran; [ -e {tmp_path}/ready ] && echo '{TEXT}'")
    refused(source)
    (tmp_path / "ready").touch()
    for _ in range(3):
        assert resolve("account.password", source).reveal() == TEXT, "not masked as a secret that is already known"
    assert (tmp_path / "ran").read_text() == "x\n" * 2


def test_a_simulated_node_runs_no_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its answers may belong to any user."""
    source = program(tmp_path, f"touch {tmp_path}/ran; echo '{TEXT}'")
    answers = tmp_path / "a.toml"
    answers.write_text(f'version = 1\n[account]\npassword = {{ command = ["{source.command[0]}"] }}\n')
    assert main(["--headless", str(answers), "--plan", "--demo"]) == 2
    assert "is not run with --demo" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()


def test_neither_checking_nor_the_debug_log_shows_or_runs_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = program(tmp_path, f"touch {tmp_path}/ran; echo '{TEXT}'")
    answers = tmp_path / "a.toml"
    answers.write_text(f'version = 1\n[account]\npassword = {{ command = ["{source.command[0]}"] }}\n')
    assert main(["check", str(answers)]) == 0
    assert not (tmp_path / "ran").exists()
    logged: list[str] = []
    monkeypatch.setattr("bai_wizard.node.process.debug", lambda *words: logged.append(repr(words)))
    assert resolve("account.password", source) == Secret(TEXT)
    assert logged
    assert TEXT not in "".join(logged) + "".join(capsys.readouterr())


def test_a_credential_of_the_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    source = CredentialSecret(credential="bai-password")
    assert "LoadCredential=bai-password:PATH" in refused(source)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert "bai-password cannot be read: No such file" in refused(source)
    (tmp_path / "bai-password").write_text(f"{TEXT}\nmore\n")
    (tmp_path / "bai-password").chmod(0o400)
    assert resolve("account.password", source) == Secret(TEXT)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("{ command = [] }", "account.password.command: must not be empty"),
        ('{ command = ["read-secret"] }', "account.password.command[0]: must be the absolute path of a program"),
        ('{ command = "/bin/x" }', "account.password.command: must be a list"),
        ('{ command = ["/bin/x", "a\\nb"] }', "account.password.command[1]: must be one line of text"),
        ('{ credential = "../shadow" }', "account.password.credential: must be the name of a systemd credential"),
        ('{ credential = ".." }', "account.password.credential: must be the name of a systemd credential"),
        ('{ credential = "x", command = ["/bin/x"] }', "exactly one of"),
    ],
)
def test_sources_that_are_refused_when_they_are_read(source: str, reason: str) -> None:
    with pytest.raises(AnswersError) as caught:
        loads(f"version = 1\n[account]\npassword = {source}\n", "a.toml", "h")
    assert reason in str(caught.value)
