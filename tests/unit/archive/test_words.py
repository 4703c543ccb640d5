"""Completions and the man page: made from the parser, and accepted by the programs that read them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from bai_wizard.cli import COMMANDS
from tests.tools import make_completions, make_man


def complete(directory: Path, *words: str) -> set[str]:
    """What bash offers for the last word."""
    script = directory / "completion"
    script.write_text(make_completions.bash())
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


@pytest.mark.parametrize(("shell", "words"), [("zsh", ["zsh", "-n"]), ("fish", ["fish", "--no-execute"])])
def test_the_other_shells_can_read_theirs(tmp_path: Path, shell: str, words: list[str]) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    make_completions.write_all(tmp_path)
    done = subprocess.run(
        [*words, tmp_path / make_completions.PLACES[shell]], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_shell_and_the_manual_know_every_command() -> None:
    for text in (make_completions.bash(), make_completions.zsh(), make_completions.fish(), make_man.man_page()):
        assert all(name in text for name in COMMANDS)
        assert "_execute" not in text


def test_the_man_page_is_sound() -> None:
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed")
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-P-cbou", "-ww", "-k"],
        input=make_man.man_page(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert "detailed-exitcode" in done.stdout
