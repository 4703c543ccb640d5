"""A secret is read from the configured source or refused; its value never appears in a message."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bai_wizard.answers.load import loads
from bai_wizard.answers.secrets import FILE_LIMIT, Source, resolve, resolve_all
from bai_wizard.core.errors import AnswersError, PreflightError
from bai_wizard.core.secret import Secret, redact
from bai_wizard.pages.fields import EnvSecret, FileSecret, PromptSecret

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
