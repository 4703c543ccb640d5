"""No text contains a phrase that a native technical writer would not use.

Texts are literals, docstrings and comments of Python code, and everything in documents and data files.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATTERNS = (
    r", for (it|there|nobody|they)\b",
    r"\banew\b",
    r"\bno [a-z]+ of (that|ours)\b",
    r"\bis (no|none)\b(?! (longer|route))",
    r"\b(somebody|(?<!idmap-)(?<!users\.)(?<!user )(?<!\x22)nobody|whoever)\b",
    r"\bbrings? .{0,40}\babout\b|\bbrought about\b",
    r"\btak(e|es|en|ing) .{0,30}\bback\b",
    r"\bstands? (in|there|twice)\b",
    r"\blies? (in|below|on)\b",
    r"\bgoes? (on|without)\b",
    r"\bof (its|their) own accord\b",
    r"[«»]",
    r"\bmay not be\b",
    r"\bin the way\b",
    r"\bmend(s|ed|ing)?\b",
    r"\buntick",
    r"\bway out\b",
)
BAD = re.compile("|".join(PATTERNS), re.IGNORECASE)
# Files that define the patterns. The name of the user nobody is allowed in code and after "user".
EXCEPT = ("tests/unit/test_words.py",)


def texts() -> Iterator[tuple[str, str]]:
    """Each file with what people read in it: literals, docstrings and comments of Python, all of the others."""
    for path in sorted((*ROOT.glob("bai_wizard/**/*"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("*.md"), ROOT / "run")):
        name = path.relative_to(ROOT).as_posix()
        if name in EXCEPT or not path.is_file():
            continue
        if path.suffix == ".py":
            yield name, "\n".join(python_texts(path))
        elif path.suffix in (".toml", ".md", ".tcss") or path.name == "run":
            yield name, path.read_text(encoding="utf-8")


def python_texts(path: Path) -> Iterator[str]:
    kinds = {tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
    for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
        if token.type in kinds:
            yield token.string


FOUND = {
    name: [match.group() for line in text.splitlines() for match in BAD.finditer(line)] for name, text in texts()
}


def test_no_text_has_such_a_phrase() -> None:
    assert {name: hits for name, hits in FOUND.items() if hits} == {}
    assert len(FOUND) > 200


@pytest.mark.parametrize("text", ["take it back", "nobody can", "is no file", "« x »", "mended"])
def test_the_patterns_find_what_they_are_for(text: str) -> None:
    assert BAD.search(text)
