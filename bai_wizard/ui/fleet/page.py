"""A fleet as one HTML page: it loads nothing, and no text of a node becomes markup or script."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from bai_wizard.core.display import html_text, visible
from bai_wizard.core.errors import Problem
from bai_wizard.core.secret import redact
from bai_wizard.pages import ORDER, TITLES
from bai_wizard.ui.fleet.compare import Comparison, compare_lines
from bai_wizard.ui.fleet.groups import Group, Topic
from bai_wizard.ui.fleet.text import differences, fleet_lines, interrupted

TITLES_OF: dict[Topic, str] = {"plan": "Plans", "report": "Reports", "drift": "Drift"}
# In a script element, these could end it or begin a comment.
_IN_SCRIPT = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def html_page(
    groups: Sequence[Group], topic: Topic, comparison: Comparison | None, problems: Sequence[Problem]
) -> str:
    """The page. Without JavaScript it shows the text of `fleet`."""
    text = "\n".join([*fleet_lines(groups, topic), "", *(compare_lines(comparison) if comparison else ())])
    body = json.dumps(_data(groups, topic, comparison, problems), ensure_ascii=True)
    for character, escaped in _IN_SCRIPT.items():
        body = body.replace(character, escaped)
    parts = {"@TITLE@": TITLES_OF[topic], "@TEXT@": html_text(text, lines=True), "@DATA@": body}
    template = files("bai_wizard.ui.fleet").joinpath("page.html").read_text(encoding="utf-8")
    # Split first: a text of a node may contain a placeholder.
    head, _, rest = template.partition("@TEXT@")
    middle, _, tail = rest.partition("@DATA@")
    return head.replace("@TITLE@", parts["@TITLE@"]) + parts["@TEXT@"] + middle + parts["@DATA@"] + tail


def _data(
    groups: Sequence[Group], topic: Topic, comparison: Comparison | None, problems: Sequence[Problem]
) -> dict[str, Any]:
    named = {entry.page for group in groups for entry in group.entries}
    pages = [page for page in ORDER if page in named] + sorted(_text(page) for page in named - set(ORDER))
    return {
        "topic": topic,
        "pages": [[page, TITLES.get(page, page)] for page in pages],
        "groups": [_group(group, groups[0]) for group in groups],
        "problems": [_text(str(each)) for each in problems],
        "comparison": [_text(line) for line in compare_lines(comparison)] if comparison else [],
        "wrong": len(comparison.wrong) if comparison else 0,
    }


def _group(group: Group, majority: Group) -> dict[str, Any]:
    return {
        "hosts": [node.host for node in group.nodes],
        "name": group.hosts,
        "state": group.state,
        "headline": _text(group.headline),
        "overrides": [_text(key) for key in group.overrides],
        "interrupts": list(interrupted(group)),
        "pages": {_text(page): [state, count] for page, (state, count) in group.pages().items()},
        "differs": [] if group is majority else [_text(line) for line in differences(group, majority)],
        "entries": [
            [_text(entry.id), entry.state, _text(entry.title), [_text(line) for line in entry.lines]]
            for entry in group.entries
        ],
    }


def _text(text: str) -> str:
    return visible(redact(text), lines=False)
