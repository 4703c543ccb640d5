"""Terminal control sequences and invisible characters are escaped; text in living languages is not."""

from __future__ import annotations

import io
import re
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bai_wizard import cli
from bai_wizard.core.display import VisibleStream, is_visible, visible
from tests.hostile import HARMLESS, SEQUENCES, dangerous, everything


@pytest.mark.parametrize("name", SEQUENCES)
def test_nothing_dangerous_is_left(name: str) -> None:
    text = SEQUENCES[name]
    assert dangerous(text, lines=False), "the corpus has to be hostile"
    assert not dangerous(visible(text))
    assert not dangerous(visible(text, lines=False), lines=False)
    assert visible(text) != text
    assert not is_visible(text)


@pytest.mark.parametrize("text", HARMLESS)
def test_printable_text_is_not_changed(text: str) -> None:
    assert visible(text) == text
    assert is_visible(text)


def test_escapes_are_those_of_a_python_string() -> None:
    assert visible("a\x1b[2J\x9b\u202e\U000e0041\udc80") == "a\\x1b[2J\\x9b\\u202e\\U000e0041\\udc80"
    assert visible("one\n\ttwo") == "one\n\ttwo"
    assert visible("one\n\ttwo", lines=False) == "one\\n\\ttwo"


def test_every_control_and_format_character_of_unicode_is_escaped() -> None:
    classes = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
    # Between these planes nothing is assigned.
    for start in (*range(0, 0x20000, 0x1000), 0xE0000, 0xF0000, 0x10F000):
        block = {chr(number) for number in range(start, start + 0x1000)}
        bad = {character for character in block if unicodedata.category(character) in classes}
        assert bad.isdisjoint(visible("a".join(sorted(block)), lines=False)), hex(start)


@given(st.text(alphabet=st.characters()))
def test_any_text_becomes_harmless_and_stays_so(text: str) -> None:
    shown = visible(text, lines=False)
    assert not dangerous(shown, lines=False)
    assert visible(shown, lines=False) == shown


def test_a_stream_escapes_output_and_otherwise_delegates() -> None:
    inner = io.StringIO()
    stream = VisibleStream(inner)
    assert stream.write("a\x1bb") == 3
    stream.writelines(["\u202e\n", "c\n"])
    print("\x9b", file=stream)
    assert inner.getvalue() == "a\\x1bb\\u202e\nc\n\\x9b\n"
    assert not stream.isatty()


def test_nothing_is_written_past_the_streams() -> None:
    """What is told goes through `sys.stdout` and `sys.stderr`, or through the driver of the screen."""
    package = Path(cli.__file__).parent
    past = re.compile(
        r"\b(?:stdout|stderr)\.(?:buffer|fileno|detach)|__std(?:out|err)__|os\.write\([12],|/dev/tty|/dev/std(?:out|err)"
    )
    for path in sorted(package.rglob("*.py")):
        assert not past.search(path.read_text(encoding="utf-8")), path


def test_invalid_arguments_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main([f"--{everything()}"])
    output = capsys.readouterr().err
    assert "\\x1b[2J" in output
    assert not dangerous(output)


def test_the_streams_are_put_back(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout, sys.stderr
    cli.main(["check", "/nonexistent/\x1b[2J"])
    assert (sys.stdout, sys.stderr) == before
    assert not dangerous(capsys.readouterr().err)


@pytest.mark.parametrize(("encoding", "written"), [("ascii", b"\\ud55c \\xe9\n"), ("latin-1", b"\\ud55c \xe9\n")])
def test_a_stream_escapes_characters_outside_its_encoding(encoding: str, written: bytes) -> None:
    """As on a terminal whose locale is not UTF-8: a Korean comment must not cause a traceback."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    assert VisibleStream(stream).write("한 é\n") == 4
    stream.flush()
    assert raw.getvalue() == written
