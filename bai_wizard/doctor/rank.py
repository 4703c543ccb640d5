"""Which known failures a text may mean: ranked by how much of their words it holds, rare pairs counting most."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from math import log

from bai_wizard.doctor.symptoms import Failure, failures
from bai_wizard.doctor.words import Pair, line_pairs, lines, pattern_pairs

# So much of a known text has to be there, counted by weight.
LEAST = 0.6
# A pasted text of so few lines may be a piece of a known one.
FEW_LINES = 3
# Not the digits of names such as x509 and ipv6.
_NUMBER = re.compile(r"(?<![A-Za-z])\d+")


@dataclass(frozen=True)
class Match:
    """A failure that the text may mean; `line` and `number` are where it says so.

    `score` is 0 to 1: how much of a known text is there. `weight` is how much that says: rare words say more.
    """

    failure: Failure
    score: float
    weight: float
    line: str
    number: int


@dataclass(frozen=True)
class _Index:
    patterns: tuple[tuple[Failure, frozenset[Pair]], ...]
    by_pair: dict[Pair, tuple[int, ...]]
    weights: dict[Pair, float]

    def weight(self, chosen: frozenset[Pair]) -> float:
        return sum(self.weights.get(pair, self.weights[("", "")]) for pair in chosen)


@cache
def _index() -> _Index:
    patterns = tuple(
        (failure, made) for failure in failures() for text in failure.texts if (made := pattern_pairs(text))
    )
    seen = Counter(pair for _, made in patterns for pair in made)
    by_pair: dict[Pair, list[int]] = {}
    for number, (_, made) in enumerate(patterns):
        for pair in made:
            by_pair.setdefault(pair, []).append(number)
    weights = {pair: log(1 + len(patterns) / count) for pair, count in seen.items()}
    # A pair of no known text counts as much as one of two of them.
    weights[("", "")] = log(1 + len(patterns) / 2)
    return _Index(patterns, {pair: tuple(numbers) for pair, numbers in by_pair.items()}, weights)


def rank(text: str) -> tuple[Match, ...]:
    """The failures that a text, or a whole log, may mean: the best first, then what matters more.

    One line may mean several, and several lines the same one, which is named once.
    """
    index = _index()
    best: dict[str, Match] = {}
    short = sum(1 for line in text.splitlines() if line.strip()) <= FEW_LINES
    seen: set[str] = set()
    for number, line in lines(text):
        # A log says the same again and again with other numbers; the first one stands for all.
        plain = _NUMBER.sub("0", line)
        if plain in seen:
            continue
        seen.add(plain)
        held = line_pairs(line)
        for position in {position for pair in held for position in index.by_pair.get(pair, ())}:
            failure, wanted = index.patterns[position]
            score = _score(index, wanted, held, short)
            if score < LEAST:
                continue
            match = Match(failure, round(score, 3), index.weight(wanted & held), line.strip(), number)
            known = best.get(failure.id)
            if known is None or (known.score, known.weight) < (match.score, match.weight):
                best[failure.id] = match
    order = [failure.id for failure in failures()]
    return tuple(
        sorted(best.values(), key=lambda match: (-match.score, -match.weight, order.index(match.failure.id)))
    )


def _score(index: _Index, wanted: frozenset[Pair], held: frozenset[Pair], short: bool) -> float:
    common = index.weight(wanted & held)
    score = common / index.weight(wanted)
    whole = frozenset(pair for pair in held if pair[1]) or held
    if short and len(whole) >= 2:
        # What was typed is a piece of a known text; a bit less certain than the whole of it.
        score = max(score, 0.95 * common / index.weight(whole))
    return score
