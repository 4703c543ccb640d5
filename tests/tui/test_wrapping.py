"""Text of any length is wrapped in linear time: a long pasted word must not block the screen."""

from __future__ import annotations

import time

import pytest
from rich.cells import cell_len

from bai_wizard.ui.tui.widgets.list_box import short, wrapped

LETTERS = ("x", "表", "a b ", "\u3000", "\u200d", "🙂\u200d🚀")
WORDS = tuple(letters * (100_000 // len(letters)) for letters in LETTERS)


@pytest.mark.parametrize("index", range(len(WORDS)))
@pytest.mark.parametrize("width", [1, 2, 3, 80])
def test_a_long_text_is_wrapped_immediately(index: int, width: int) -> None:
    begun = time.process_time()
    lines = wrapped(WORDS[index], width)
    assert time.process_time() - begun < 2.0
    if width > 1:
        assert all(cell_len(line) <= width for line in lines[:1000])


def test_a_notice_is_never_long() -> None:
    assert short("a" * 400) == "a" * 400
    assert len(short("a" * 100_000)) == 400
