"""The help of the command line in the language of the user."""

from __future__ import annotations

import re

import pytest
from rich.cells import cell_len

from bai_wizard import locale
from bai_wizard.cli import COMMANDS, main

WIDTH = 80
# Options, names, examples and file names stay as they are typed.
TYPED = re.compile(r"--?[\w-]+|\[[^]]*\]|[A-Z][A-Z0-9_,…=.-]*|\.\w+|\w+\.\w+|\w+/[\w/]+|`[^`]*`")


def help_of(words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """What is printed for LANG=ko_KR.UTF-8 in a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", str(WIDTH + 2))
    for name in ("LC_ALL", "LC_MESSAGES", "BAI_WIZARD_LANG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "ko_KR.UTF-8")
    try:
        with pytest.raises(SystemExit) as ended:
            main([*words, "--help"])
        assert ended.value.code == 0
    finally:
        locale.choose("en")
    return capsys.readouterr().out


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_in_korean(command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    text = help_of([command] if command else [], capsys, monkeypatch)
    usage, _, rest = text.partition("\n\n")
    assert usage.startswith("사용법: bai-wizard")
    for line in rest.splitlines():
        assert cell_len(line) <= WIDTH
        # Two English words in a row are a sentence that was not translated.
        assert not re.search(r"\b[a-z]{2,} [a-z]{3,}\b", TYPED.sub("·", line)), line


def test_help_in_english_is_argparse_s_own(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LC_ALL", "LC_MESSAGES", "BAI_WIZARD_LANG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "C.UTF-8")
    assert main(["doctor", "--help"]) == 0
    assert capsys.readouterr().out.startswith("usage: bai-wizard doctor")
