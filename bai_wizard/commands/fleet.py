"""`fleet plan|report|drift` and `compare`: many nodes on one page, from the files that they wrote."""

from __future__ import annotations

import argparse
import json

from bai_wizard.core.errors import AnswersError, Problem
from bai_wizard.exit_codes import ExitCode
from bai_wizard.ui.fleet.compare import Comparison, compare, compare_lines, read_reports
from bai_wizard.ui.fleet.groups import Group, Topic, grouped
from bai_wizard.ui.fleet.read import Fleet, read_fleet
from bai_wizard.ui.fleet.text import fleet_lines, group_json
from bai_wizard.ui.text.output import JsonLines


def run_fleet(arguments: argparse.Namespace) -> ExitCode:
    """Show what can be read, then raise AnswersError naming every file that cannot."""
    topic: Topic = arguments.topic
    if arguments.report and not arguments.report.endswith(".html"):
        raise AnswersError([Problem("command line", 0, 0, "--report", "the name must end in .html")])
    fleet = read_fleet(arguments.files)
    groups = grouped(fleet.nodes.values(), topic)
    reports = {host: node.report for host, node in fleet.nodes.items() if node.report is not None}
    comparison = compare(reports) if topic == "report" and reports else None
    code = _code(groups, comparison, topic, detailed=arguments.detailed_exitcode)
    if arguments.report:
        from bai_wizard.node.user_files import write_requested_file
        from bai_wizard.ui.fleet.page import html_page

        page = html_page(groups, topic, comparison, fleet.problems)
        write_requested_file(arguments.report, page.encode(errors="backslashreplace"))
    if arguments.json:
        _tell(fleet, groups, comparison, code)
    elif groups or comparison:
        lines = [*fleet_lines(groups, topic), *(["", *compare_lines(comparison)] if comparison else [])]
        print("\n".join(lines))
    told = {node.host for group in groups for node in group.nodes}
    left = [node for host, node in fleet.nodes.items() if host not in told]
    if not groups and not comparison and not fleet.problems and left:
        raise AnswersError([Problem(left[0].host, 0, 0, "", f"its files say nothing for `fleet {topic}`")])
    if fleet.problems:
        raise AnswersError(fleet.problems)
    return code


def _code(groups: tuple[Group, ...], comparison: Comparison | None, topic: Topic, *, detailed: bool) -> ExitCode:
    states = {group.state for group in groups}
    if topic == "report":
        if "failed" in states or (comparison and comparison.wrong):
            return ExitCode.FAILED
        if any(node.result and node.result.code == ExitCode.REBOOT for group in groups for node in group.nodes):
            return ExitCode.REBOOT
        return ExitCode.OPTIONAL_FAILED if states & {"warning", "blocked"} else ExitCode.OK
    if "blocked" in states:
        return ExitCode.PREFLIGHT
    if "failed" in states:
        return ExitCode.CHANGES
    return ExitCode.CHANGES if states & {"changes", "warning"} and (topic == "drift" or detailed) else ExitCode.OK


def _tell(fleet: Fleet, groups: tuple[Group, ...], comparison: Comparison | None, code: ExitCode) -> None:
    lines = JsonLines()
    for group in groups:
        lines.tell("group", f"{len(group.nodes)}: {group.headline}", group_json(group, groups[0]))
    for each in fleet.problems:
        lines.tell("problem", str(each), {"version": 1, "file": each.file, "reason": each.reason})
    summary = {"version": 1, "code": int(ExitCode.ANSWERS if fleet.problems else code), "nodes": len(fleet.nodes)}
    compared = {"comparison": comparison.to_json()} if comparison else {}
    lines.tell("summary", data={**summary, "groups": len(groups), "unreadable": len(fleet.problems), **compared})


def run_compare(arguments: argparse.Namespace) -> ExitCode:
    """The comparison of `fleet report`. 4 if a value differs that must not. Raises AnswersError for other files."""
    result = compare(read_reports(arguments.reports))
    if arguments.json:
        print(json.dumps(result.to_json()))
    else:
        print("\n".join(compare_lines(result)))
    return ExitCode.FAILED if result.wrong else ExitCode.OK
