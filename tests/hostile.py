"""Hostile text that a file name, a server or another node's report can contain to deceive a terminal or a reader."""

from __future__ import annotations

# By name: control sequences of terminals, and characters that reorder or hide text.
SEQUENCES = {
    "clear the screen": "\x1b[2J\x1b[H",
    "hide what follows": "\x1b[8m",
    "write the clipboard": "\x1b]52;c;cm0gLXJmIC8K\x07",
    "set the title": "\x1b]0;owned\x1b\\",
    "link": "\x1b]8;;http://evil.invalid\x1b\\here\x1b]8;;\x1b\\",
    "device control": "\x1bP+q544e\x1b\\",
    "application program": "\x1b_Ga=T;AAAA\x1b\\",
    "report to input": "\x1b[6n\x1bZ\x05",
    "C1 control sequence": "\x9b2J\x9b8m",
    "C1 operating system command": "\x9d52;c;cm0gLXJmIC8K\x9c",
    "C1 next line": "a\x85b",
    "carriage return": "harmful\rharmless",
    "backspace": "rm\x08\x08ls",
    "delete and null": "a\x7fb\x00c",
    "form feed and vertical tab": "a\x0cb\x0bc",
    "separators of ASCII": "a\x1cb\x1dc\x1ed\x1fe",
    "right-to-left override": "gpj\u202egnp.exe",
    "bidirectional embedding": "\u202a\u202b\u202c\u202d",
    "bidirectional isolates": "\u2066\u2067\u2068\u2069",
    "bidirectional marks": "\u061c\u200e\u200f",
    "line separator": "a\u2028b",
    "paragraph separator": "a\u2029b",
    "zero width": "ad\u200bm\u200cin\u200d\u2060\ufeff",
    "soft hyphen": "ad\u00admin",
    "interlinear annotation": "a\ufff9b\ufffac\ufffb",
    "tags": "a\U000e0001\U000e0041\U000e007f",
    "selectors as data": "a\ufe0f\ufe0f\U000e0100\U000e01ef",
    "joiners as data": "a\u200db\u200dc",
    "fillers": "a\u3164b\uffa0c\u115fd\u034fe",
    "lone surrogate": "caf\udce9",
    "private use": "a\ue000b\U0010fffd",
    "no character": "a\ufffe\uffff\U0001fffe",
    "no-break space": "a\u00a0b\u202fc",
}

# Text that must not be changed.
HARMLESS = (
    "plain ASCII, \\backslashes\\ and 'quotes' \"of\" `all` kinds: <&>|;$(){}",
    "한국어 문장과 自然な日本語、中文　全角",
    "Ä é ñ ß, decomposed: e\u0301 \u1112\u1161\u11ab",
    "👍🏽 👩‍👩‍👧 ❤️ ☎︎ 1️⃣ 🇰🇷 ✓ … ─ ▮▯",
    "עברית العربية ไทย हिन्दी Ελληνικά кириллица",
)

# A line that imitates our output.
FORGED = "Everything that must match on every node matches."


def everything() -> str:
    """Return all hostile sequences in one text."""
    return " ".join(SEQUENCES.values())


def dangerous(text: str, *, lines: bool = True) -> set[str]:
    """Return the characters of `text` that must not reach a terminal, without using the code under test."""
    import unicodedata

    kept = "\n\t" if lines else ""
    result = set()
    for index, character in enumerate(text):
        if character in kept or character in " \u3000":
            continue
        number, category = ord(character), unicodedata.category(character)
        hidden = 0xE0000 <= number <= 0xE0FFF or character in "\u3164\uffa0\u115f\u1160\u034f"
        if character in "\u200d\ufe0e\ufe0f":
            before = text[index - 1 : index]
            hidden = not before or (before.isalnum() and not before.isdigit()) or before in "\u200d\ufe0e\u200b"
        elif category in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"):
            hidden = True
        if hidden:
            result.add(character)
    return result
