"""Answers → plan → run → verify → undo on a fresh container node."""

from __future__ import annotations

import json
import re

import pytest

from tests.node.conftest import NodeFactory
from tests.node.container import ContainerNode
from tests.node.reference_answers import (
    ANSWERS,
    PASSWORD,
    TOUCHED,
    assert_manual_holds,
    assert_no_secret,
    log_out,
    prepare,
)
from tests.node.snapshot import assert_same

HEADLESS = ("--headless", "/root/answers.toml")


def test_four_pages_then_nothing_then_undone_to_the_byte(node: ContainerNode) -> None:
    prepare(node)
    before = node.snapshot(TOUCHED)
    planned = node.wizard(*HEADLESS, "--plan", "--detailed-exitcode")
    assert planned.rc == 7, planned.err
    assert_same(before, node.snapshot(TOUCHED))
    done = node.wizard(*HEADLESS, "--report", "/root/report.md")
    assert done.rc == 0, done.out + done.err
    assert "Takes effect at next login" in done.out
    assert PASSWORD not in done.out + done.err
    assert_manual_holds(node, host_kernel=True)
    assert_no_secret(node)
    assert "UID 1100" in node.read("/root/report.md").decode()
    again = node.wizard(*HEADLESS, "--plan", "--detailed-exitcode")
    assert again.rc == 0, again.out
    runs = node.wizard("runs").out
    assert node.wizard(*HEADLESS).rc == 0
    assert node.wizard("runs").out == runs, "an empty plan writes no run directory"
    log_out(node)
    undone = node.wizard("undo")
    assert undone.rc == 0, undone.out + undone.err
    assert_same(before, node.snapshot(TOUCHED))


# An ordinary run has all eight pages on both releases, with an ordinary /etc/hosts: test_eight_pages.py.
@pytest.mark.soak
def test_debian_12_as_well(node_factory: NodeFactory) -> None:
    node = node_factory("bookworm")
    prepare(node)
    done = node.wizard(*HEADLESS, "--debug")
    assert done.rc == 0, done.out + done.err
    assert_manual_holds(node, host_kernel=True)
    assert_no_secret(node)
    own, executors = re.findall(r"debug log: (\S+)", done.err)
    assert PASSWORD not in node.read(own).decode()
    logged = node.read(executors).decode()
    assert re.search(r"command \[.*useradd.*\]: exit code 0, \d+\.\d{3} s", logged)
    assert PASSWORD not in logged
    assert node.run(["stat", "-c", "%a", own, executors]).out.split() == ["600", "600"]
    assert node.wizard(*HEADLESS, "--plan", "--detailed-exitcode").rc == 0


@pytest.mark.soak
def test_hosts_as_an_ordinary_file(node: ContainerNode) -> None:
    node.own_hosts_file()
    before = node.snapshot(("/etc/hosts",))
    prepare(node)
    assert node.wizard(*HEADLESS, "--only", "aliases").rc == 0
    assert "10.20.30.10" in node.read("/etc/hosts").decode()
    assert node.wizard("undo").rc == 0
    assert_same(before, node.snapshot(("/etc/hosts",)))


def test_the_front_end_is_killed_and_the_run_finishes(node: ContainerNode) -> None:
    prepare(node)
    node.run(["bai-wizard", *HEADLESS], detach=True)
    node.wait_for(lambda: node.exists("/run/bai-wizard/current.json"), 60, "the executor")
    node.run(["pkill", "-KILL", "-f", "bai_wizard --headless"])
    node.wait_for(lambda: node.run(["sh", "-c", "ls /var/lib/bai-wizard/runs/*/result.json"]).rc == 0, 60, "the end")
    attached = node.wizard("attach")
    assert attached.rc == 0, attached.err
    assert node.wizard(*HEADLESS, "--plan", "--detailed-exitcode").rc == 0


def test_json_lines_are_events_only(node: ContainerNode) -> None:
    prepare(node)
    done = node.wizard("--headless", "-", "--json", input=ANSWERS)
    assert done.rc == 0, done.err
    events = [json.loads(line) for line in done.out.splitlines()]
    assert {event["v"] for event in events} == {1}
    assert events[0]["kind"] == "plan"
    assert events[-1]["kind"] == "summary"
    assert events[-1]["data"]["code"] == 0
    assert PASSWORD not in done.out


def test_without_root_it_looks_and_changes_by_sudo_only(node: ContainerNode) -> None:
    node.write("/tmp/answers.toml", "version = 1\n[tuning]\n")
    node.run(["useradd", "-m", "-s", "/bin/bash", "oper"], check=True)
    words = ("--headless", "/tmp/answers.toml")
    planned = node.wizard(*words, "--plan", user="oper")
    assert planned.rc in (0, 3), planned.err
    refused = node.wizard(*words, user="oper")
    assert refused.rc == 3, refused.out
    assert "root" in refused.err
    node.write("/etc/sudoers.d/oper", "oper ALL=(ALL) NOPASSWD: ALL\n", 0o440)
    code = "/opt/bai-wizard/bai_wizard/cli.py"
    node.run(["chmod", "o+w", code], check=True)
    foreign = node.wizard(*words, user="oper")
    assert foreign.rc == 3, foreign.out
    assert f"{code} can be written by users other than root" in foreign.err
    assert not node.exists("/var/lib/bai-wizard/runs")
    node.run(["chmod", "o-w", code], check=True)
    done = node.wizard(*words, user="oper")
    assert done.rc == 0, done.out + done.err
    assert node.exists("/etc/sysctl.d/99-backendai.conf")
