"""The text of /etc/security/limits.d/99-backendai.conf, and which files take its effect away."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from bai_wizard.pages.tuning.own_file import OwnFile, foreign, write
from bai_wizard.pages.tuning.pam_limits import LimitDecision, LimitLine, deciding, parse, shown

PATH = "/etc/security/limits.d/99-backendai.conf"
OTHER_NAME = "/etc/security/limits.d/99-backend-ai.conf"

_KEPT = re.compile(r"# (?P<name>\S+ (?:hard|soft) \w+): kept (?P<value>\w+) \(")


def render(decisions: Sequence[LimitDecision], found: OwnFile) -> str:
    """The file's text. The manual's order: user by user, hard before soft."""
    head = (
        "(limits of logins). The next run puts changes to this part back.",
        "«kept» is a limit that is higher without us and stays. Services have drop-ins of their own.",
    )
    remembered = _remembered(found)
    body: list[str] = [""]
    for decision in decisions:
        name = f"{decision.user} {decision.sort} {decision.item}"
        if decision.has_line or decision.before is None:
            body.append(f"{name} {shown(decision.wanted)}")
            continue
        origin = f" of {decision.origin}" if decision.origin else ""
        kept = shown(decision.before)
        if not decision.origin:
            kept = remembered.get(name, kept)
        body.append(f"# {name}: kept {kept}{origin} (wanted: {shown(decision.wanted)})")
    managed = {(decision.user, decision.item) for decision in decisions}
    others = foreign(found, _is_limit, lambda line: _subject(line) in managed)
    return write(head, body, others)


def _remembered(found: OwnFile) -> dict[str, str]:
    """What we wrote of kept limits. The kernel's own change a little with every boot: no reason to write again."""
    matches = (_KEPT.match(line) for line in found.upper)
    return {match["name"]: match["value"] for match in matches if match}


def _is_limit(line: str) -> bool:
    return bool(parse(PATH, line))


def _subject(line: str) -> tuple[str, str]:
    limit = parse(PATH, line)[0]
    return limit.domain, limit.item


def with_ours(lines: Iterable[LimitLine], text: str) -> tuple[LimitLine, ...]:
    """The lines of all files as they will be with our text in place."""
    others = [line for line in lines if line.path != PATH]
    before = [line for line in others if _order(line.path) < _order(PATH)]
    after = [line for line in others if _order(line.path) > _order(PATH)]
    return (*before, *parse(PATH, text), *after)


def without_ours(lines: Iterable[LimitLine]) -> tuple[LimitLine, ...]:
    """The lines of other files."""
    return tuple(line for line in lines if line.path != PATH)


def _order(path: str) -> tuple[int, bytes]:
    """limits.conf comes first, then limits.d by name."""
    return (1 if "/limits.d/" in path else 0, path.rpartition("/")[2].encode())


def overrides(
    lines: Iterable[LimitLine], decisions: Iterable[LimitDecision], users: Mapping[str, Collection[str]]
) -> tuple[LimitLine, ...]:
    """Lines of other files that win over ours with a lower value; `lines` include ours."""
    all_lines = tuple(lines)
    found: list[LimitLine] = []
    for decision in decisions:
        line = deciding(all_lines, decision.user, users[decision.user], decision.item, decision.sort)
        if line is not None and line.path != PATH and line.value < decision.wanted and line not in found:
            found.append(line)
    return tuple(found)
