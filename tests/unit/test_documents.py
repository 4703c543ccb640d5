"""The documents are correct: paths, links, names and commands exist, and the set-up of CONTRIBUTING.md works."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import pytest

from bai_wizard.cli import named_demo, parser
from tests.cache import CHECKOUT
from tests.tools import suite

DOCUMENTS = (
    "CONTRIBUTING.md", "README.md", "SECURITY.md", ".github/pull_request_template.md",
    *(str(path.relative_to(CHECKOUT)) for path in sorted((CHECKOUT / "docs").rglob("*.md"))),
)  # fmt: skip
KIT = (
    *DOCUMENTS, "Makefile", ".editorconfig", ".pre-commit-config.yaml",
    *(str(path.relative_to(CHECKOUT)) for path in sorted((CHECKOUT / ".github").rglob("*.yml"))),
)  # fmt: skip
# The first part of a path in this repository; other paths in the documents are paths of a node.
TOP = ("bai_wizard", "tests", "docs", "packaging", "integrations", "screenshots", ".ci", ".github")
# Words in capitals stand for a name that the reader chooses; NAMES with a longer meaning are in the source.
PLACEHOLDER = re.compile(r"\b(NAME|TYPE)\b")
IDENTIFIER = re.compile(r"_?[A-Z][A-Za-z]+|_?[A-Z][A-Z_]+")
# Identifiers that are not names in the source: placeholders, variables of other programs.
FOREIGN = {
    "FILE", "NAME", "TYPE", "DIR", "ARCHIVE", "DEMO", "LANG", "PATH", "TERM", "COLORTERM", "HOME", "TMPDIR",
    "KillUserProcesses",
}  # fmt: skip
VARIABLE = re.compile(r"BAI_WIZARD_[A-Z]+\b")


def read(name: str) -> str:
    return (CHECKOUT / name).read_text(encoding="utf-8")


def code(name: str) -> list[str]:
    """What stands between backticks, without the blocks."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", read(name), flags=re.MULTILINE | re.DOTALL))


def commands(text: str) -> Iterator[str]:
    """The commands of console blocks, without prompt, comment and continuation."""
    for block in re.findall(r"^```console\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        joined = re.sub(r"\\\n\s*|(?<=&&)\n\s*", " ", block)
        for line in joined.splitlines():
            if match := re.match(r"(?:\w+)?[$#] (.*)", line):
                yield re.split(r"\s{2,}|\s#\s", match[1])[0]


def words_of(command: str, program: str) -> list[list[str]]:
    """The arguments of each call of a program in a command, up to the next shell operator."""
    calls = re.findall(
        rf"(?:^|[;&|(]\s*|sudo |then )(?:\w+=\S+ )*{re.escape(program)}(?![\w/-])([^;&|<>)]*)", command
    )
    return [shlex.split(call) for call in calls]


def exists(path: str) -> bool:
    """Whether a path of the repository exists; placeholders and asterisks stand for any name."""
    pattern = PLACEHOLDER.sub("*", path.rstrip("/"))
    return any(CHECKOUT.glob(pattern)) if "*" in pattern else (CHECKOUT / pattern).exists()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", read(name))
    local = [link.partition("#")[0] for link in links if "://" not in link]
    missing = [link for link in local if not (CHECKOUT / name).parent.joinpath(link).exists()]
    assert missing == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_paths_exist(name: str) -> None:
    words = [word for chunk in code(name) for word in chunk.split()]
    paths = [word for word in words if word.partition("/")[0] in TOP and "/" in word]
    assert [path for path in paths if not exists(path)] == []


@cache
def sources() -> str:
    return "\n".join(
        path.read_text(encoding="utf-8")
        for part in ("bai_wizard", "tests")
        for path in (CHECKOUT / part).rglob("*.py")
    )


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", *(name for name in DOCUMENTS if name.startswith("docs/"))])
def test_names_exist_in_the_source(name: str) -> None:
    named = {chunk for chunk in code(name) if IDENTIFIER.fullmatch(chunk)} - FOREIGN
    assert [word for word in sorted(named) if not re.search(rf"\b{re.escape(word)}\b", sources())] == []


def all_commands() -> Iterator[tuple[str, str]]:
    for name in DOCUMENTS:
        for command in (*commands(read(name)), *code(name)):
            yield name, command


def is_accepted(words: list[str]) -> bool:
    """Whether the wizard accepts a command line."""
    try:
        parser().parse_args(named_demo(words))
    except SystemExit as end:
        return end.code == 0  # --help
    return True


def test_commands_of_the_wizard_are_accepted() -> None:
    result = 0
    for name, command in all_commands():
        for program in ("bai-wizard", "./run"):
            for words in words_of(command, program):
                if any(word.startswith("[") or "…" in word for word in words):
                    continue  # a synopsis
                result += 1
                assert is_accepted(words), f"{name}: {command}"
    assert result > 30


def test_targets_of_make_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))
    named = {words[0] for _, command in all_commands() for words in words_of(command, "make") if words}
    assert named <= targets
    assert {"setup", "check", "test"} <= named
    assert set(re.findall(r"^\.PHONY: (.*)$", read("Makefile"), re.MULTILINE)) == targets


def test_modules_and_files_of_python_commands_exist() -> None:
    result = 0
    for name, command in all_commands():
        for words in (*words_of(command, ".venv/bin/python"), *words_of(command, "python3")):
            if "-m" in words:
                module, *rest = words[words.index("-m") + 1 :]
                assert find_spec(module), f"{name}: {command}"
                result += 1
                if module == "pytest":
                    paths = [word for word in rest if word.startswith("tests/")]
                    assert all(map(exists, paths)), f"{name}: {command}"
    assert result > 8


def test_options_of_test_exist() -> None:
    options = set(re.findall(r'"(--[a-z]+)"', Path(suite.__file__).read_text()))
    named = [words for _, command in all_commands() for words in words_of(command, "./test")]
    assert {word for words in named for word in words if word.startswith("--")} <= options
    assert {"--static", "--all", "--soak", "--seed"} <= options


def test_every_variable_is_documented() -> None:
    files = [CHECKOUT / name for name in ("run", "test", "Makefile")]
    files += [path for part in ("bai_wizard", "packaging", "tests/tools") for path in (CHECKOUT / part).rglob("*")]
    files += [CHECKOUT / "tests/conftest.py", CHECKOUT / "tests/sampling.py"]
    used = {
        word
        for path in files
        if path.is_file() and path.suffix in ("", ".py", ".sh")
        for word in VARIABLE.findall(path.read_text(encoding="utf-8"))
    }
    assert used == set(VARIABLE.findall(read("docs/debugging.md")))


def test_every_decision_is_listed() -> None:
    records = {path.name for path in (CHECKOUT / "docs/adr").glob("[0-9]*.md")}
    assert set(re.findall(r"\]\((\d{4}-[a-z-]+\.md)\)", read("docs/adr/README.md"))) == records
    for record in records:
        lines = read(f"docs/adr/{record}").splitlines()
        assert lines[0].startswith(f"# {int(record[:4])}. ")
        assert re.fullmatch(r"\d{4}-\d\d-\d\d · (accepted|superseded by \[\d+\].*)", lines[2]), record


@pytest.mark.parametrize("name", KIT)
def test_no_host_is_named(name: str) -> None:
    """Templates, hooks and documents work without any particular server."""
    hosts = set(re.findall(r"[a-z]+://([\w.-]+)", read(name)))
    assert hosts == set()


def test_hooks_and_ci_use_commands_of_the_repository() -> None:
    hooks = read(".pre-commit-config.yaml")
    assert re.findall(r"repo: (.*)", hooks) == ["local"]
    group = tomllib.loads(read("pyproject.toml"))["dependency-groups"]["dev"]
    packages = {re.split(r"[<>=]", requirement)[0] for requirement in group}
    for entry in re.findall(r"entry: \.venv/bin/(\S+)", hooks):
        assert entry in packages or entry in ("python", "lint-imports"), entry
    assert hooks.count("entry: ") == hooks.count("entry: .venv/bin/")
    for words in (shlex.split(entry) for entry in re.findall(r"entry: (.*)", hooks)):
        assert all(exists(word) for word in words if word.startswith("tests/"))
    assert re.findall(r"- run: (.*)", read(".github/workflows/ci.yml")) == ["sudo .ci/run"]
    assert os.access(CHECKOUT / ".ci/run", os.X_OK)
    assert "bai-wizard doctor --bundle" in read(".github/ISSUE_TEMPLATE/bug.yml")


@pytest.fixture
def finished_environment(tmp_path: Path) -> dict[str, str]:
    """Variables for a shell that finds the environment of these tests as if `make setup` had created it."""
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin/python").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    (venv / "bin/python").chmod(0o755)
    files = ("pyproject.toml", "requirements.txt", "requirements-dev.txt")
    described = b"".join((CHECKOUT / name).read_bytes() for name in files)
    stamp = f"{sha256(described).hexdigest()} {CHECKOUT} dev\n"
    (venv / "bai-wizard.stamp").write_text(stamp)
    return {**os.environ, "BAI_WIZARD_VENV": str(venv)}


def test_the_setup_works(finished_environment: dict[str, str]) -> None:
    """In an environment that exists already: creating one takes minutes. See tests/node/test_oldest_python.py."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    section = read("CONTRIBUTING.md").partition("## Set up\n")[2].partition("\n## ")[0]
    assert [*commands(section)] == ["make setup", "make demo", "make check"]

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words, cwd=CHECKOUT, env=finished_environment, capture_output=True, text=True, timeout=120,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip

    setup = run("make", "setup")
    assert setup.stdout == f"{finished_environment['BAI_WIZARD_VENV']} is ready\n", setup.stderr
    # Without a terminal the wizard says what to use instead.
    assert "--headless" in run("make", "demo").stderr
    assert run("make", "--dry-run", "check").stdout == "./test --static\n"
    listed = run("make").stdout
    assert [line.split()[0] for line in listed.splitlines()] == re.findall(r"^\.PHONY: (.*)$", read("Makefile"), re.M)
