"""An approved plan on a real node: applied, refused after a change, and recorded in the journal or syslog."""

from __future__ import annotations

import json
from typing import Any

from bai_wizard.engine.audit import BEGIN_ID, END_ID
from tests.node.container import ContainerNode
from tests.node.reference_answers import PASSWORD, TOUCHED, assert_no_secret, prepare
from tests.node.snapshot import assert_same

PLAN = "/root/plan.json"
FORGED = """import socket
listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
listener.bind("/dev/log")
open("/run/listening", "w").close()
with open("/root/syslog", "wb") as file:
    while True:
        file.write(listener.recv(65536) + b"\\n")
        file.flush()
"""


def records(node: ContainerNode, message_id: str) -> list[dict[str, Any]]:
    done = node.run(["journalctl", "--output=json", "--no-pager", f"MESSAGE_ID={message_id}"], check=True)
    return [json.loads(line) for line in done.out.splitlines()]


def test_an_approved_plan_is_applied_once_and_audited(node: ContainerNode) -> None:
    prepare(node)
    written = node.wizard("--headless", "/root/answers.toml", "--plan", "-o", PLAN)
    assert written.rc == 0, written.err
    digest = node.run(["sha256sum", PLAN], check=True).out.split()[0]
    assert digest in written.out
    assert PASSWORD.encode() not in node.read(PLAN)
    node.write("/etc/sysctl.d/50-theirs.conf", "net.core.somaxconn = 512\n")
    node.write("/etc/sysctl.d/99-backendai.conf", "net.core.somaxconn = 512\n")
    before = node.snapshot(TOUCHED)
    refused = node.wizard("apply", PLAN, "--digest", digest)
    assert refused.rc == 3, refused.out + refused.err
    assert "differs from what would be done now" in refused.err
    assert "somaxconn = 512" in refused.err
    assert_same(before, node.snapshot(TOUCHED))
    assert not node.exists("/var/lib/bai-wizard/runs") or node.run(["ls", "/var/lib/bai-wizard/runs"]).out == ""
    node.run(["rm", "/etc/sysctl.d/50-theirs.conf", "/etc/sysctl.d/99-backendai.conf"], check=True)

    words = ["--approved-by", 'J. "Kim"', "--ticket", "CHG-1042"]
    done = node.wizard("apply", PLAN, "--digest", digest, *words)
    assert done.rc == 0, done.out + done.err
    assert_no_secret(node)
    (begin,), (end,) = records(node, BEGIN_ID), records(node, END_ID)
    run = json.loads(node.wizard("runs", "--json").out)
    expected = {
        "SYSLOG_IDENTIFIER": "bai-wizard",
        "SYSLOG_FACILITY": "10",
        "PRIORITY": "5",
        "BAI_WIZARD_RUN": run["run"],
        "BAI_WIZARD_NUMBER": "1",
        "BAI_WIZARD_KIND": "apply",
        "BAI_WIZARD_ANSWERS_DIGEST": run["answers_digest"],
        "BAI_WIZARD_ACTOR_UID": "0",
        "BAI_WIZARD_PLAN_FILE_DIGEST": digest,
        "BAI_WIZARD_APPROVED_BY": 'J. "Kim"',
        "BAI_WIZARD_TICKET": "CHG-1042",
    }
    for record in (begin, end):
        assert {name: record.get(name) for name in expected} == expected
        assert len(record["BAI_WIZARD_PLAN_DIGEST"]) == 64
    assert (end["BAI_WIZARD_OUTCOME"], end["BAI_WIZARD_EXIT_CODE"]) == ("ok", "0")
    assert "BAI_WIZARD_OUTCOME" not in begin

    assert node.wizard("undo").rc == 0
    assert [record["BAI_WIZARD_KIND"] for record in records(node, END_ID)] == ["apply", "undo"]
    assert records(node, END_ID)[1]["BAI_WIZARD_UNDOES"] == run["run"]


def test_without_a_journal_the_records_go_to_syslog(node: ContainerNode) -> None:
    units = ["systemd-journald.socket", "systemd-journald-dev-log.socket", "systemd-journald.service"]
    node.run(["systemctl", "mask", "--runtime", "--now", *units])
    node.run(["rm", "-rf", "/run/systemd/journal/socket", "/dev/log"], check=True)
    node.write("/root/listen.py", FORGED)
    node.run(["python3", "/root/listen.py"], detach=True)
    node.wait_for(lambda: node.exists("/run/listening"), 30, "the listener")
    prepare(node)
    done = node.wizard("--headless", "/root/answers.toml", "--only", "tuning")
    assert done.rc == 0, done.out + done.err
    lines = node.read("/root/syslog").decode().splitlines()
    mine = [line for line in lines if line.startswith("<85>bai-wizard[")]
    assert len(mine) == 2, lines
    assert f'MESSAGE_ID="{BEGIN_ID}"' in mine[0]
    assert 'BAI_WIZARD_OUTCOME="ok"' in mine[1]
