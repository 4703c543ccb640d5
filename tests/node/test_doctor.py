"""The doctor on real nodes: no findings on a healthy node; a seeded failure is reported first, fixed, and undone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.node.conftest import NodeFactory
from tests.node.container import ContainerNode
from tests.node.reference_answers import ANSWERS as ANSWERS_TEXT
from tests.node.reference_answers import PASSWORD, TOUCHED, prepare
from tests.node.snapshot import assert_same
from tests.sampling import sampled

HEADLESS = ("--headless", "/root/answers.toml")
ANSWERS = ("--answers", "/root/answers.toml")
KILLER = Path(__file__).with_name("killer.py").read_text()


def findings(node: ContainerNode, *arguments: str) -> list[dict[str, object]]:
    """What the doctor finds wrong, in its order."""
    done = node.wizard("doctor", "--json", *ANSWERS, *arguments)
    assert done.rc in (0, 4, 6), done.out + done.err
    events = [json.loads(line) for line in done.out.splitlines()]
    assert events[-1]["kind"] == "summary"
    assert events[-1]["data"]["code"] == done.rc
    bad = ("problem", "warning", "crashed")
    return [event["data"] for event in events if event["kind"] == "finding" and event["data"]["result"] in bad]


@pytest.fixture
def healthy(node: ContainerNode) -> ContainerNode:
    """A node that the wizard has prepared. Docker mounts a container's /tmp without exec, as on hardened nodes."""
    node.run(["mount", "-o", "remount,exec", "/tmp"], check=True)
    prepare(node)
    done = node.wizard(*HEADLESS)
    assert done.rc == 0, done.out + done.err
    return node


def test_a_healthy_prepared_node_has_no_problem_and_no_warning(healthy: ContainerNode) -> None:
    before = healthy.snapshot(TOUCHED)
    lines = [f"{result['id']}: {result['title']}: {result['evidence']}" for result in findings(healthy)]
    assert not lines, "\n".join(lines)
    assert healthy.wizard("doctor").rc == 0, "without answers those of the last run count"
    assert_same(before, healthy.snapshot(TOUCHED))


def test_a_healthy_node_with_docker_has_none_either(node_factory: NodeFactory) -> None:
    node = node_factory("trixie-docker")
    node.run(["mount", "-o", "remount,exec", "/tmp"], check=True)
    prepare(node, ANSWERS_TEXT + '[docker]\nsource = "distro"\n')
    done = node.wizard(*HEADLESS)
    assert done.rc == 0, done.out + done.err
    lines = [f"{result['id']}: {result['title']}: {result['evidence']}" for result in findings(node)]
    assert not lines, "\n".join(lines)
    # The engine dies, and nothing else is said to be wrong: what needs it comes after.
    node.run(["systemctl", "stop", "docker.socket", "docker.service"], check=True)
    assert [result["id"] for result in findings(node)] == ["docker.not-running"]
    assert node.wizard("doctor", "--fix", "docker.not-running", "--yes", *ANSWERS).rc == 0
    assert findings(node) == []


def test_an_interrupted_fix_is_resumed_and_checked_again(healthy: ContainerNode) -> None:
    """Its executor is killed once its journal has begun."""
    sysctl_file(healthy)
    unhealthy = healthy.snapshot(TOUCHED)
    healthy.write("/root/killer.py", KILLER)
    healthy.run(["python3", "/root/killer.py", "2"], detach=True)
    cut = healthy.wizard("doctor", "--fix", "tuning.sysctl-quoted-value", "--yes", *ANSWERS)
    if cut.rc != 0:
        assert "resume" in cut.out + cut.err
        resumed = healthy.wizard("resume")
        assert resumed.rc == 0, resumed.out + resumed.err
    assert findings(healthy) == []
    assert healthy.wizard("undo").rc == 0
    assert_same(unhealthy, healthy.snapshot(TOUCHED))


def test_at_a_terminal_it_asks(healthy: ContainerNode) -> None:
    live_value(healthy)
    command = "bai-wizard doctor --fix tuning.live --answers /root/answers.toml"
    asked = ["script", "--quiet", "--return", "--command", command, "/dev/null"]
    refused = healthy.run(asked, input="n\n")
    assert refused.rc == 3, refused.out
    assert "Apply this?" in refused.out
    assert findings(healthy)[0]["id"] == "tuning.live"
    agreed = healthy.run(asked, input="y\n", timeout=120)
    assert agreed.rc == 0, agreed.out
    assert "checked again" in agreed.out
    assert findings(healthy) == []


@dataclass(frozen=True)
class Planted:
    """A failure: how it is made, and the id of the check that has to name it first."""

    id: str
    plant: Callable[[ContainerNode], object]


def sysctl_file(node: ContainerNode) -> None:
    node.write("/etc/sysctl.d/99-zz-site.conf", 'net.ipv4.tcp_fin_timeout = "10"\n')


def live_value(node: ContainerNode) -> None:
    node.run(["sysctl", "-w", "net.ipv4.tcp_fin_timeout=60"], check=True)


def open_keys(node: ContainerNode) -> None:
    node.run(["chmod", "0666", "/home/bai/.ssh/authorized_keys"], check=True)


def open_home(node: ContainerNode) -> None:
    node.run(["chmod", "0777", "/home/bai"], check=True)


def overridden(node: ContainerNode) -> None:
    node.write("/etc/sysctl.d/99-zz-site.conf", "net.ipv4.tcp_fin_timeout = 55\n")


HEALED = (
    Planted("tuning.sysctl-quoted-value", sysctl_file),
    Planted("tuning.sysctl-overridden", overridden),
    Planted("tuning.live", live_value),
    Planted("account.home", open_home),
)


@pytest.mark.parametrize("planted", sampled("healed", HEALED, 1), ids=lambda planted: planted.id)
def test_named_first_healed_verified_undone(healthy: ContainerNode, planted: Planted) -> None:
    planted.plant(healthy)
    unhealthy = healthy.snapshot(TOUCHED)
    result = findings(healthy)
    assert result, "nothing found"
    assert result[0]["id"] == planted.id, [each["id"] for each in result]
    assert result[0]["remedy"]
    refused = healthy.wizard("doctor", "--fix", planted.id, *ANSWERS)
    assert refused.rc == 3, "without a terminal nobody said yes"
    assert_same(unhealthy, healthy.snapshot(TOUCHED))
    fixed = healthy.wizard("doctor", "--fix", planted.id, "--yes", *ANSWERS)
    assert fixed.rc == 0, fixed.out + fixed.err
    assert findings(healthy) == []
    undone = healthy.wizard("undo")
    assert undone.rc == 0, undone.out + undone.err
    assert_same(unhealthy, healthy.snapshot(TOUCHED))
    assert findings(healthy)[0]["id"] == planted.id


def test_a_check_without_a_fix_changes_nothing_and_says_so(healthy: ContainerNode) -> None:
    healthy.write("/run/reboot-required", "")
    result = findings(healthy)
    assert result[0]["id"] == "node.reboot-pending"
    assert result[0]["remedy"] == []
    assert healthy.wizard("doctor", "--fix", "node.reboot-pending", "--yes", *ANSWERS).rc == 4
    ignored = healthy.wizard("doctor", *ANSWERS, "--ignore", "node.reboot-pending=ticket 7")
    assert ignored.rc == 0, ignored.out
    assert "ticket 7" in ignored.out


def test_checks_and_their_report(healthy: ContainerNode) -> None:
    """--only, --skip, --ignore (also from the answers) and --report, on a node with one failure."""
    healthy.write("/var/lib/dpkg/updates/0001", "")
    assert [result["id"] for result in findings(healthy, "--only", "node")] == ["node.dpkg-interrupted"]
    assert findings(healthy, "--only", "tuning,account") == []
    assert findings(healthy, "--skip", "node.dpkg-interrupted") == []
    alone = healthy.wizard("doctor", "--json", "--only", "node.dpkg-interrupted", *ANSWERS)
    assert [json.loads(line)["kind"] for line in alone.out.splitlines()] == ["finding", "summary"]
    for file in ("/root/report.md", "/root/report.html"):
        assert healthy.wizard("doctor", "--report", file, "--ignore", "apt-dpkg-interrupted=ticket 7").rc == 0
        report = healthy.read(file).decode()
        assert "ticket 7" in report
        assert "node.dpkg-interrupted" in report
    accepted = ANSWERS_TEXT + '[doctor]\nignore = { "node.dpkg-interrupted" = "known since May" }\n'
    healthy.write("/root/answers.toml", accepted, 0o600)
    lines = [json.loads(line)["data"] for line in healthy.wizard("doctor", "--json", *ANSWERS).out.splitlines()]
    assert lines[-1]["ignored"] == ["node.dpkg-interrupted"]
    assert lines[-1]["code"] == 0
    still = next(each for each in lines if each.get("id") == "node.dpkg-interrupted")
    assert (still["result"], still["ignored"]) == ("problem", "known since May")


def test_an_error_text_leads_to_the_finding(healthy: ContainerNode) -> None:
    healthy.write("/etc/sysctl.d/99-zz-site.conf", 'net.ipv4.tcp_fin_timeout = "10"\n')
    log = "\n".join(f"line {number}" for number in range(500))
    log += "\nsystemd-sysctl[80]: Couldn't write '\"10\"' to 'net/ipv4/tcp_fin_timeout': Invalid argument\n"
    done = healthy.wizard("doctor", "--error", "-", *ANSWERS, input=log)
    assert done.rc == 4, done.out + done.err
    assert "Confirmed" in done.out
    assert "tuning.sysctl-quoted-value" in done.out


def test_unknown_names_are_refused_with_the_nearest(node: ContainerNode) -> None:
    done = node.wizard("doctor", "--only", "sysctl-quoted-valu")
    assert done.rc == 2
    assert "tuning.sysctl-quoted-value" in done.err
    assert node.wizard("doctor", "--ignore", "node.dns-broken").rc == 2
    looked = node.wizard("doctor", user="nobody")
    assert looked.rc in (0, 4, 6), looked.err
    assert "root" in looked.err


def test_a_bundle_holds_no_secret_and_can_be_read_back(healthy: ContainerNode) -> None:
    open_keys(healthy)
    assert healthy.wizard("doctor", "--bundle", "/root/b.tar.gz", *ANSWERS).rc == 3
    assert not healthy.exists("/root/b.tar.gz")
    made = healthy.wizard("doctor", "--bundle", "/root/b.tar.gz", "--yes", *ANSWERS)
    assert made.rc == 0, made.out + made.err
    assert healthy.run(["stat", "-c", "%a %U", "/root/b.tar.gz"]).out.strip() == "600 root"
    text = healthy.run(["tar", "-xzOf", "/root/b.tar.gz"], check=True).out
    for secret in (PASSWORD, healthy.hostname, "bai-m1", "10.20.30.10", "$y$"):
        assert secret not in text, secret
    shown = healthy.wizard("doctor", "--from", "/root/b.tar.gz")
    assert shown.rc == 4, shown.out + shown.err
    assert "account.ssh-modes" in shown.out
