"""Find known failures by their error messages, and let checks confirm or rule them out."""

from __future__ import annotations

import errno
import os
import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from math import log
from typing import Literal

from msgspec import Struct

from bai_wizard.core.machine import Machine
from bai_wizard.core.page import Check, Context, Finding
from bai_wizard.doctor.report import Planner, finding_lines
from bai_wizard.locale import N_
from bai_wizard.pages.check import CheckText, check_texts


class Failure(Struct, frozen=True):
    """A failure: the messages that programs print, its cause and its fix. `checks` decide whether a node has it.

    `owner` "site": the wizard never changes it.
    """

    id: str
    page: str
    title: str
    texts: tuple[str, ...]
    cause: str
    remedy: str
    checks: tuple[str, ...]
    owner: str = "bai-wizard"
    risk: str = ""


@cache
def known_failures() -> tuple[Failure, ...]:
    """Return all known failures, in the order of the pages."""
    return tuple(map(_failure, check_texts().values()))


def _failure(text: CheckText) -> Failure:
    wording = text.wording
    title, cause, remedy, risk = map(_without_values, (wording.problem, wording.cause, wording.fix, wording.risk))
    return Failure(text.id, text.seen_on, title, text.texts, cause, remedy, text.decided_by, wording.owner, risk)


class _Placeholders(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return f"<{name}>"


def _without_values(text: str) -> str:
    """A text with its placeholders left open: `{host}` becomes `<host>`."""
    return text.format_map(_Placeholders())


BLANK = "#"
_GAP = re.compile(r"<[^>\n]*>")
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
# Addresses, paths and times as a whole, then single words.
# Paths in /dev are meaningful.
_VARIABLE = re.compile(r"\b\w+://\S+|(?<![\w.])/(?!dev/[a-z])[\w.+@:/-]+|\b\d{1,2}:\d\d:\d\d\b")
_WORD = re.compile(r"[^\W_]+")
# A position in a sudoers file and an Xid each become one word: the words around them carry no meaning.
# The parser of sudo prints any file that visudo was given; the rest of such a line is always the same.
_SUDOERS = re.compile(
    r"(?m)/etc/sudoers\S*:\d+:\d+:|(?:^|(?<=\s))\S+:\d+:\d+:(?= syntax error\s*$)"
    r"|>>> \S+: syntax error near line \d+ <<<"
)
_XID = re.compile(r"(?i)\bXid\b\s*(?:error|code|number)?\s*(?:\([^)\n]*\))?\s*[:#=]?\s*(\d{1,3})\b")
# Words whose digits are significant: x509, ipv4, nfs4, utf8. Others (550, 0a1b, 12h) vary.
_NAME = re.compile(r"[a-z]{1,7}\d{1,3}")

Pair = tuple[str, str]


def words_of_text(text: str) -> tuple[str, ...]:
    """Return the words of a text in lower case, with one blank for each run of variable words."""
    result: list[str] = []
    plain = _SUDOERS.sub(" sudoersposition ", _XID.sub(r" xid\1 ", _COLOUR.sub("", text)))
    plain = _VARIABLE.sub(f" {BLANK}{BLANK} ", plain).lower()
    for word in re.findall(rf"{BLANK}{BLANK}|{_WORD.pattern}", plain):
        varies = word.startswith(BLANK) or (any(map(str.isdigit, word)) and not _NAME.fullmatch(word))
        if not varies:
            result.append(word)
        elif not result or result[-1] != BLANK:
            result.append(BLANK)
    return tuple(result)


def word_pairs(text: str) -> frozenset[Pair]:
    """Pairs of adjacent words of a line, not counting blanks. The only word of a line forms a pair by itself."""
    chain = words_of_text(text)
    alone = [word for word in chain if word != BLANK]
    if len(alone) == 1:
        return frozenset({(alone[0], "")})
    return frozenset(pair for pair in pairwise(chain) if BLANK not in pair)


def pattern_pairs(text: str) -> frozenset[Pair]:
    """The pairs of a known text, in which `<…>` stands for anything."""
    parts = [part for part in _GAP.split(text) if part.strip()]
    # A lone word between two gaps says nothing; a lone word that is the whole text does.
    return frozenset(pair for part in parts for pair in word_pairs(part) if pair[1] or len(parts) == 1)


# Error numbers whose message identifies a failure by itself.
_TELLING = {errno.ENOSPC, errno.EDQUOT, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.EADDRINUSE, errno.ENOEXEC}
_TELLING |= {errno.ENOKEY, errno.EKEYREJECTED}
# Generic messages that many programs print for any failure.
_PHRASES = (
    "service: Control process exited, code=exited, status=1/FAILURE",
    "service: Main process exited, code=exited, status=1/FAILURE",
    "Error response from daemon",
    "failed to start daemon: error initializing",
    "Name or service not known",
    "command not found",
    "failed to connect to",
    "unable to connect to",
    "operation timed out",
    "permission denied while trying to",
)


@cache
def generic_pairs() -> frozenset[Pair]:
    """Word pairs of generic messages, which do not distinguish failures, such as those of error numbers."""
    sentences = (os.strerror(number) for number in errno.errorcode if number not in _TELLING)
    return frozenset(pair for sentence in (*sentences, *_PHRASES) for pair in word_pairs(sentence))


def line_pairs(line: str) -> frozenset[Pair]:
    """The pairs of a log line: each long word and each Xid also counts alone, to match known texts of one word."""
    lone = {(word, "") for word in words_of_text(line) if len(word) >= 12 or re.fullmatch(r"xid\d+", word)}
    return word_pairs(line) | lone


def text_lines(text: str, limit: int = 50_000) -> Iterator[tuple[int, str]]:
    """Yield line numbers and non-empty lines, the last `limit` of them: the end of a log is most informative."""
    numbered = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    yield from numbered[-limit:]


# The minimum share of a known text that must match, by weight.
MIN = 0.6
# A pasted text with at most this many lines may be a fragment of a known one.
FEW_LINES = 3
# The minimum share of a fragment that must occur in the known text, by weight.
FRAGMENT = 0.8
# Excludes the digits of names such as x509 and ipv6.
_NUMBER = re.compile(r"(?<![A-Za-z])\d+")


class Match(Struct, frozen=True):
    """A failure that the text may mean; `line` and `number` locate the matching line.

    `score`, from 0 to 1, is how much of a known text matches. `weight` is how specific the match is: rare words weigh
    more.
    """

    failure: Failure
    score: float
    weight: float
    line: str
    number: int


class _Index(Struct, frozen=True):
    patterns: tuple[tuple[Failure, frozenset[Pair], frozenset[Pair]], ...]
    by_pair: dict[Pair, tuple[int, ...]]
    weights: dict[Pair, float]

    def weight(self, chosen: frozenset[Pair]) -> float:
        return sum(self.weights.get(pair, self.weights[("", "")]) for pair in chosen)


@cache
def _index() -> _Index:
    made = [(failure, pattern_pairs(text)) for failure in known_failures() for text in failure.texts]
    texts = Counter(pair for pairs in {pairs for _, pairs in made} for pair in pairs)
    seen = Counter(pair for _, pairs in made for pair in pairs)
    # The pairs that only this text has; for a text that is a part of others, all that are not generic.
    patterns = tuple(
        (failure, pairs, frozenset(pair for pair in own if texts[pair] == 1) or own)
        for failure, pairs in made
        if (own := pairs - generic_pairs())
    )
    by_pair: dict[Pair, list[int]] = {}
    for number, (_, pairs, _) in enumerate(patterns):
        for pair in pairs:
            by_pair.setdefault(pair, []).append(number)
    weights = {pair: log(1 + len(patterns) / count) for pair, count in seen.items()}
    # Unknown word pairs get the weight of pairs that occur in two patterns.
    weights[("", "")] = log(1 + len(patterns) / 2)
    return _Index(patterns, {pair: tuple(numbers) for pair, numbers in by_pair.items()}, weights)


def rank(text: str) -> tuple[Match, ...]:
    """Return the failures that a text or a whole log may mean, sorted by score, then by weight.

    One line may match several failures, and several lines the same one, which is listed once.
    """
    index = _index()
    best: dict[str, Match] = {}
    short = sum(1 for line in text.splitlines() if line.strip()) <= FEW_LINES
    seen: set[str] = set()
    for number, line in text_lines(text):
        # Logs repeat messages with other numbers; only the first occurrence is matched.
        plain = _NUMBER.sub("0", line)
        if plain in seen:
            continue
        seen.add(plain)
        held = line_pairs(line)
        for position in {position for pair in held for position in index.by_pair.get(pair, ())}:
            failure, wanted, own = index.patterns[position]
            score = _score(index, wanted, own, held, short)
            if score < MIN:
                continue
            match = Match(failure, round(score, 3), index.weight(wanted & held), line.strip(), number)
            known = best.get(failure.id)
            if known is None or (known.score, known.weight) < (match.score, match.weight):
                best[failure.id] = match
    order = [failure.id for failure in known_failures()]
    return tuple(
        sorted(best.values(), key=lambda match: (-match.score, -match.weight, order.index(match.failure.id)))
    )


def _score(index: _Index, wanted: frozenset[Pair], own: frozenset[Pair], held: frozenset[Pair], short: bool) -> float:
    common = index.weight(wanted & held)
    score = 0.0
    if index.weight(own & held) >= MIN * index.weight(own):
        score = common / index.weight(wanted)
    whole = frozenset(pair for pair in held if pair[1]) or held
    specific = whole - generic_pairs()
    if short and len(specific) >= 2 and index.weight(specific & wanted) >= FRAGMENT * index.weight(specific):
        # The input is a fragment of a known text: slightly less certain than a full match.
        score = max(score, 0.95 * common / index.weight(whole))
    return score


# The maximum number of candidates.
MAX_CANDIDATES = 12
# Candidates whose score is this much below the best one are not checked.
FAR_BEHIND = 0.35

State = Literal["confirmed", "waits", "open", "excluded"]
_ORDER: tuple[State, ...] = ("confirmed", "waits", "open", "excluded")


class Candidate(Struct, frozen=True):
    """A failure that the text may mean, and the result of its checks on this node.

    confirmed: a check found it here; excluded: none of its checks found it; open: no check could determine it; waits:
    not checked, because a root cause, included in the findings, has to be fixed first.
    """

    match: Match
    state: State
    findings: tuple[Finding, ...] = ()

    @property
    def failure(self) -> Failure:
        """The failure itself."""
        return self.match.failure


def likely(text: str, page: str = "") -> Failure | None:
    """Return the failure that a text most likely means, by its words alone; None if nothing matches.

    If one line matches several equally well, a failure of `page`, whose step printed it, comes first, then one of the
    node page.
    """
    matches = rank(text)
    best = [each.failure for each in matches if (each.score, each.number) == (matches[0].score, matches[0].number)]
    return min(best, key=lambda failure: (failure.page != page, failure.page != "node"), default=None)


def candidates(text: str) -> tuple[Match, ...]:
    """Return the failures worth checking on this node."""
    matches = rank(text)
    return tuple(match for match in matches if match.score >= matches[0].score - FAR_BEHIND)[:MAX_CANDIDATES]


def deciding(matches: Sequence[Match], checks: Sequence[Check]) -> tuple[Check, ...]:
    """Return the checks that decide between these failures, and the root causes that they depend on."""
    wanted = {name for match in matches for name in match.failure.checks}
    while more := {need for check in checks if check.id in wanted for need in check.needs} - wanted:
        wanted |= more
    return tuple(check for check in checks if check.id in wanted)


def search(text: str, machine: Machine, context: Context, checks: Sequence[Check]) -> tuple[Candidate, ...]:
    """Return the candidates, those confirmed on this node first."""
    from bai_wizard.doctor.run import examine

    matches = candidates(text)
    return decide(matches, examine(deciding(matches, checks), machine, context))


def decide(matches: Sequence[Match], findings: Sequence[Finding]) -> tuple[Candidate, ...]:
    """Combine the text matches with the results of the checks."""
    candidates = (_candidate(match, findings) for match in matches)
    return tuple(sorted(candidates, key=lambda each: _ORDER.index(each.state)))


def _candidate(match: Match, findings: Sequence[Finding]) -> Candidate:
    own = tuple(finding for finding in findings if finding.id in match.failure.checks)
    if any(finding.result in ("problem", "warning") for finding in own):
        return Candidate(match, "confirmed", own)
    causes = {finding.suppressed_by for finding in own} - {""}
    if causes:
        first = tuple(finding for finding in findings if finding.id in causes and finding.result == "problem")
        return Candidate(match, "waits", own + first)
    # A check that is not applicable reports that such a thing does not exist on this node; none is suppressed here.
    healthy = {finding.id for finding in own if finding.result in ("ok", "not-applicable")}
    state: State = "excluded" if own and healthy >= set(match.failure.checks) else "open"
    return Candidate(match, state, own)


STATE_WORDS = {
    "confirmed": N_("Confirmed"),
    "waits": N_("Possible, blocked by another problem"),
    "open": N_("Possible (no check can tell on this node)"),
    "excluded": N_("Ruled out"),
}


def candidate_lines(result: Sequence[Candidate], plan_of: Planner) -> Iterator[str]:
    """Confirmed failures with their findings, open ones with cause and fix as prose, excluded ones on one line each.

    A finding that confirms several failures is shown in full only once.
    """
    if not result:
        yield "No known problem matches this text."
        yield "`bai-wizard doctor` runs all checks; a whole log may match more: bai-wizard doctor --error - < LOG"
        return
    shown: set[str] = set()
    # Those that are ruled out are last.
    for each in result:
        yield f"{STATE_WORDS[each.state]}: {each.failure.title}   [{each.failure.id}]"
        if each.state == "excluded":
            continue
        yield f"  line {each.match.number}: {each.match.line[:200]}"
        if each.state == "open":
            yield from _advice(each.failure)
        for finding in each.findings:
            if finding.result in ("problem", "warning"):
                is_repeated = finding.id in shown
                lines = [f"  as above: {finding.title}"] if is_repeated else finding_lines(finding, plan_of)
                yield from (f"  {line}" for line in lines)
                shown.add(finding.id)
        yield ""


def _advice(failure: Failure) -> Iterator[str]:
    for label, text in (("cause", failure.cause), ("fix", failure.remedy), ("risk", failure.risk)):
        if text:
            head = f"  {label + ':':<8} "
            yield from textwrap.wrap(text, 100, initial_indent=head, subsequent_indent=" " * len(head))
