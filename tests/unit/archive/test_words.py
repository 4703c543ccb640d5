"""Completions and the man page: made from the parser, and accepted by the programs that read them."""

from __future__ import annotations

import os
import pty
import re
import select
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from bai_wizard import __version__
from bai_wizard.cli import COMMANDS, main, named_demo, parser
from bai_wizard.commands.completion import SHELLS
from tests.cache import CHECKOUT
from tests.tools import make_completions, make_man
from tests.tools.release import STATED


def complete(directory: Path, *words: str) -> set[str]:
    """What bash offers for the last word."""
    script = directory / "completion"
    script.write_text(make_completions.completion("bash"))
    listed = " ".join(f"'{word}'" for word in words)
    typed = f"COMP_WORDS=(bai-wizard {listed}); COMP_CWORD={len(words)}"
    ask = f'. {script}; {typed}; _bai_wizard; printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True, cwd=directory)
    return set(done.stdout.split())


def test_bash_offers_commands_and_their_options(tmp_path: Path) -> None:
    assert set(COMMANDS) <= complete(tmp_path, "")
    assert complete(tmp_path, "undo", "--fo") == {"--force"}
    assert complete(tmp_path, "--headl") == {"--headless"}


def test_bash_offers_files_where_files_are_wanted(tmp_path: Path) -> None:
    (tmp_path / "answers.toml").write_text("")
    assert complete(tmp_path, "--headless", "answ") == {"answers.toml"}
    assert complete(tmp_path, "check", "answ") == {"answers.toml"}
    assert complete(tmp_path, "undo", "answ") == set()


def test_fish_offers_commands_options_and_files(tmp_path: Path) -> None:
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    make_completions.write_all(tmp_path)
    (tmp_path / "answers.toml").write_text("")

    def offered(line: str) -> set[str]:
        ask = f"source {tmp_path / make_completions.PLACES['fish']}; complete -C '{line}'"
        done = subprocess.run(
            ["fish", "--no-config", "-c", ask], capture_output=True, text=True, check=True, cwd=tmp_path,
            env={**os.environ, "HOME": str(tmp_path)},
        )  # fmt: skip
        return {text.partition("\t")[0] for text in done.stdout.splitlines()}

    assert set(COMMANDS) <= offered("bai-wizard ")
    assert offered("bai-wizard undo --fo") == {"--force"}
    assert offered("bai-wizard --headless answ") == {"answers.toml"}
    assert offered("bai-wizard undo answ") == set()


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("comp", "compare "),
        ("undo --fo", "undo --force"),
        ("--headless answ", "answers.toml"),
        ("check answ", ".toml"),
    ],
)
def test_zsh_completes_typed_words(tmp_path: Path, typed: str, completed: str) -> None:
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed")
    make_completions.write_all(tmp_path)
    (tmp_path / "answers.toml").write_text("")
    functions = (tmp_path / make_completions.PLACES["zsh"]).parent
    setup = f"fpath=({functions} $fpath); autoload -U compinit; compinit -u -D; print REA''DY\n"
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(tmp_path)
        os.execvpe("zsh", ["zsh", "-f", "-i"], {**os.environ, "TERM": "dumb", "HOME": str(tmp_path)})
    try:
        os.write(terminal, setup.encode())
        read_until(terminal, "READY")
        os.write(terminal, f"bai-wizard {typed}\t".encode())
        assert completed in read_until(terminal, completed)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(terminal)


def read_until(terminal: int, mark: str) -> str:
    """What a terminal shows, until the mark comes or ten seconds have passed."""
    shown = ""
    end = time.monotonic() + 10
    while mark not in shown and (left := end - time.monotonic()) > 0:
        if select.select([terminal], [], [], left)[0]:
            shown += os.read(terminal, 1 << 16).decode(errors="replace")
    return shown


@pytest.mark.parametrize(("shell", "words"), [("zsh", ["zsh", "-n"]), ("fish", ["fish", "--no-execute"])])
def test_other_shells_can_read_their_completions(tmp_path: Path, shell: str, words: list[str]) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    make_completions.write_all(tmp_path)
    done = subprocess.run(
        [*words, tmp_path / make_completions.PLACES[shell]], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_shell_and_the_manual_know_every_command() -> None:
    for text in (*map(make_completions.completion, SHELLS), make_man.man_page()):
        assert all(name in text for name in COMMANDS)
        assert "_execute" not in text


def test_the_man_page_is_sound() -> None:
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed")
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-P-cbou", "-ww"],
        input=make_man.man_page(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert "detailed-exitcode" in done.stdout


def test_the_man_page_has_no_fault_for_mandoc() -> None:
    """Long lines are a matter of style; the page has no date, because it is generated from the parser."""
    if shutil.which("mandoc") is None:
        pytest.skip("mandoc is not installed")
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning"],
        input=make_man.man_page(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert [line for line in done.stdout.splitlines() if "missing date" not in line] == []


@pytest.mark.parametrize("shell", SHELLS)
def test_the_wizard_prints_its_completion(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--print-completion", shell]) == 0
    assert capsys.readouterr().out == make_completions.completion(shell)


def test_no_completion_for_other_shells() -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--print-completion", "tcsh"])
    assert ended.value.code == 2


def test_the_man_page_has_all_sections_and_its_examples_are_accepted() -> None:
    page = make_man.man_page()
    sections = re.findall(r"^\.SH (.*)$", page, re.MULTILINE)
    assert sections == [
        "NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "COMMANDS", "EXIT STATUS", "EXAMPLES", "FILES", "ENVIRONMENT",
        "SEE ALSO",
    ]  # fmt: skip
    for example in make_man.EXAMPLES:
        parser().parse_args(named_demo(shlex.split(example.partition(" > ")[0])[1:]))
    source = "".join(path.read_text() for path in (CHECKOUT / "bai_wizard").rglob("*.py"))
    variables = set(re.findall(r"BAI_WIZARD_\w+", source))
    assert {name for name in variables if f".B {name}" not in page} == set()


def test_the_man_page_has_the_date_of_the_release(monkeypatch: pytest.MonkeyPatch) -> None:
    released = re.findall(r"^## \[?(\d\S*?)\]? .*?(\d{4}-\d\d-\d\d)", (CHECKOUT / "CHANGELOG.md").read_text(), re.M)
    for version, date in released:
        monkeypatch.setattr(make_man, "__version__", version)
        assert make_man.man_page().startswith(f'.TH BAI-WIZARD 1 "{date}" "bai-wizard {version}"')
    monkeypatch.setattr(make_man, "__version__", "99.0")
    assert make_man.date() == ""


def test_the_version_is_the_same_everywhere() -> None:
    """The release script knows every file that states it."""
    for name, line in STATED.items():
        assert line.format(__version__) in (CHECKOUT / name).read_text(encoding="utf-8").splitlines(), name
    stated = re.compile(rf"""^\w*version\w*\s*[:=]\s*["']?{re.escape(__version__)}["']?$""", re.MULTILINE)
    files = [
        path
        for top in ("bai_wizard", "integrations", "packaging", "docs")
        for path in (CHECKOUT / top).rglob("*")
        if path.is_file() and path.suffix in ("", ".py", ".toml", ".yml", ".yaml", ".sh", ".md", ".json")
    ]
    stating = {str(path.relative_to(CHECKOUT)) for path in files if stated.search(path.read_text(errors="replace"))}
    assert stating <= set(STATED)
    assert len(stating) > 2
