"""Korean particles, whose form depends on the sound before them: `{path}을(를)` becomes `daemon.json을`."""

from __future__ import annotations

import re

# Both forms as a translation writes them: with a final consonant, and without.
FORMS = {
    "을(를)": ("을", "를"),
    "이(가)": ("이", "가"),
    "은(는)": ("은", "는"),
    "과(와)": ("과", "와"),
    "(으)로": ("으로", "로"),
    "(이)": ("이", ""),
}
_MARK = re.compile(r"(?<=\S)(을\(를\)|이\(가\)|은\(는\)|과\(와\)|\(으\)로|\(이\)(?=라|나|며|면|므|었|어))")
# Pronounced in Korean, these digits end in a consonant: 영 일 삼 육 칠 팔; 일 칠 팔 in ㄹ.
DIGITS, DIGITS_L = "013678", "178"
# Loanwords with these last letters mostly keep a final consonant in Korean: 이미지 server is 서버, but 토큰, 파일.
LETTERS, LETTERS_L = "lmnpbk", "l"


def with_particles(text: str) -> str:
    """Replace each pair of particles with the one that fits the word before it."""
    return _MARK.sub(lambda mark: _form(text[: mark.start()], mark[0]), text) if "(" in text else text


def _form(before: str, pair: str) -> str:
    last = next((character for character in reversed(before) if character.isalnum()), "")
    closed, is_l = _sound(last.lower())
    return FORMS[pair][0 if closed and not (is_l and pair == "(으)로") else 1]


def _sound(character: str) -> tuple[bool, bool]:
    """Whether a word with this last character ends in a consonant, and whether that is ㄹ."""
    if "가" <= character <= "힣":
        final = (ord(character) - ord("가")) % 28
        return final != 0, final == 8
    return (
        character in DIGITS + LETTERS if character else False,
        character in DIGITS_L + LETTERS_L if character else False,
    )
