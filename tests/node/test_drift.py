"""`drift` on a real node: silent after a run, then every change by other means with what may have done it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cache import CHECKOUT
from tests.node.conftest import NodeFactory
from tests.node.container import ContainerNode
from tests.node.reference_answers import PASSWORD, assert_no_secret, prepare
from tests.sampling import sampled

METRICS = "/var/lib/node-exporter/bai-wizard.prom"
FIN, REUSE = "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_tw_reuse"
LIMITS_DIRECTORY, LIMITS_NAME = "/etc/security/limits.d", "99-backendai.conf"
LIMITS = f"{LIMITS_DIRECTORY}/{LIMITS_NAME}"
VERSION = "/vfroot/local/version.txt"
FORGED = "alice : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/forged /etc/hosts"
# A package whose file overrides ours at boot, and whose script sets the value at once.
PACKAGE = f"""set -e
mkdir -p /root/zz/DEBIAN /root/zz/etc/sysctl.d
cd /root/zz
printf 'Package: zz-tuning\\nVersion: 1.0\\nArchitecture: all\\nMaintainer: A <a@example>\\nDescription: a\\n' \
    >DEBIAN/control
printf '#!/bin/sh\\nsysctl -qw {REUSE}=0\\n' >DEBIAN/postinst
chmod 755 DEBIAN/postinst
echo '{REUSE} = 0' >etc/sysctl.d/99-zz.conf
dpkg-deb --root-owner-group --build /root/zz /root/zz.deb
"""
UNITS = "/etc/systemd/system"


def drift(node: ContainerNode, *words: str, code: int) -> dict[str, dict[str, Any]]:
    """What `drift --json` says, by the name of the object; the summary as `summary`."""
    done = node.wizard("drift", "--json", *words)
    assert done.rc == code, done.out + done.err
    events = [json.loads(line) for line in done.out.splitlines()]
    assert events[-1]["kind"] == "summary"
    told = {event["data"]["name"]: event["data"] for event in events if event["kind"] == "drift"}
    return {**told, "summary": events[-1]["data"]}


def causes(told: dict[str, Any], source: str) -> list[dict[str, Any]]:
    return [cause for cause in told["possible_causes"] if cause["source"] == source]


def shell(node: ContainerNode, *scripts: str) -> None:
    for script in scripts:
        node.run(["sh", "-c", script], check=True)


def applied(node: ContainerNode) -> str:
    """A node with the reference answers in effect; returns the ID of the run."""
    prepare(node)
    done = node.wizard("--headless", "/root/answers.toml")
    assert done.rc == 0, done.out + done.err
    return str(json.loads(node.wizard("runs", "--json").out)["run"])


# Their sudo, coreutils and journal write differently.
SUITES = sampled("suites of drift", ("trixie", "bookworm", "noble", "resolute"), 1)


@pytest.mark.parametrize("suite", SUITES)
def test_every_change_by_other_means_is_named_with_its_possible_cause(suite: str, node_factory: NodeFactory) -> None:
    node = node_factory(suite)
    node.own_hosts_file()
    refused = node.wizard("drift")
    assert (refused.rc, "no finished run" in refused.err) == (3, True), refused.err
    shell(node, PACKAGE, "useradd alice; echo 'alice ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/alice")
    run = applied(node)
    for words in ((), ("--run", run), ("--answers", "/root/answers.toml")):
        result = drift(node, *words, code=0)
        assert list(result) == ["summary"], result
    assert result["summary"]["compared_with"] == "/root/answers.toml"
    assert "no drift" in node.wizard("drift").out
    assert json.loads(node.wizard("runs", "--json").out)["run"] == run, "no run was made"

    shell(
        node,
        f"cd {LIMITS_DIRECTORY}; runuser -u alice -- sudo sed -i '/^bai hard nofile/d' {LIMITS_NAME}",
        f"runuser -u alice -- sudo sysctl -w {FIN}=60",
        "runuser -u alice -- sudo sh -c \"sed s/bai-a01/bai-a99/ /etc/hosts >/root/h; cat /root/h >/etc/hosts\"",
        "gpasswd -d bai sudo",
        f"echo 5 >{VERSION}; chown alice {VERSION}",
        "sudo dpkg --install /root/zz.deb",
        f"runuser -u nobody -- logger -t sudo '{FORGED}'",
    )  # fmt: skip
    told = drift(node, "--metrics", "/root/drift.prom", code=7)
    assert causes(told[LIMITS], "sudo")[0]["user"] == "alice"
    assert causes(told[LIMITS], "sudo")[0]["text"] == f"/usr/bin/sed {LIMITS_NAME} …"
    assert causes(told[FIN], "sudo")[0]["text"] == f"/usr/sbin/sysctl {FIN}=60 …"
    assert (causes(told["/etc/hosts"], "file")[0]["path"], causes(told["/etc/hosts"], "file")[0]["owner"]) == (
        "/etc/hosts", "root",
    )  # fmt: skip
    assert "/etc/hosts" in causes(told["/etc/hosts"], "sudo")[0]["text"]
    assert "user bai removed by root from group sudo" in [
        cause["text"] for cause in causes(told["sudo:bai"], "journal")
    ]
    for name in (REUSE, "tuning.sysctl-overridden"):
        assert causes(told[name], "file")[0]["path"] == "/etc/sysctl.d/99-zz.conf", told[name]
        assert (causes(told[name], "dpkg")[0]["package"], causes(told[name], "dpkg")[0]["match"]) == (
            "zz-tuning", "name",
        )  # fmt: skip
    assert causes(told["storage.local.layout"], "file")[0]["owner"] == "alice"
    assert "forged" not in json.dumps(told)
    drifted = told["summary"]["drifted"]
    assert (drifted["account"], drifted["aliases"], drifted["storage"]) == (1, 1, 1), told
    metrics = node.read("/root/drift.prom").decode()
    assert f'\nbai_wizard_drift_objects{{page="tuning"}} {drifted["tuning"]}\n' in metrics
    assert "\nbai_wizard_drift_check_success 1\n" in metrics
    assert node.run(["stat", "-c", "%a", "/root/drift.prom"]).out.strip() == "644"
    text = node.wizard("drift").out
    assert f"  ~ {FIN}  60 → 10  live\n    possible cause: " in text
    assert "alice ran with sudo: /usr/sbin/sysctl" in text
    assert_no_secret(node)

    done = node.wizard("undo", run)
    refused = node.wizard("drift", "--run", run, "--metrics", "/root/drift.prom")
    assert (refused.rc, "has been undone" in refused.err) == (3, True), done.out + done.err + refused.err
    assert node.read("/root/drift.prom").decode().endswith("bai_wizard_drift_check_success 0\n")


def test_the_units_are_valid_and_the_timer_runs_the_check(node: ContainerNode) -> None:
    applied(node)
    for unit in ("bai-wizard-drift.service", "bai-wizard-drift.timer"):
        node.write(f"{UNITS}/{unit}", (CHECKOUT / "packaging/systemd" / unit).read_bytes())
    verified = node.run(["systemd-analyze", "--man=no", "verify", f"{UNITS}/bai-wizard-drift.timer"])
    assert (verified.rc, verified.out, verified.err) == (0, "", "")
    shell(node, "systemctl daemon-reload", f"mkdir -p {METRICS.rpartition('/')[0]}")
    node.write("/etc/default/bai-wizard-drift", f"DRIFT_OPTIONS=--json --metrics {METRICS}\n")
    check = ["systemctl", "start", "bai-wizard-drift.service"]

    def last() -> str:
        return node.run(["journalctl", "-u", "bai-wizard-drift.service", "-o", "cat", "-n", "40"]).out

    assert node.run(check).rc == 0, last()
    assert 'bai_wizard_drift_objects{page="account"} 0' in node.read(METRICS).decode(), last()
    shell(node, f"echo bai:{PASSWORD}2 | chpasswd")
    assert node.run(check).rc == 0, last()
    assert 'bai_wizard_drift_objects{page="account"} 1' in node.read(METRICS).decode(), last()
    node.write("/etc/default/bai-wizard-drift", f"DRIFT_OPTIONS=--answers /none.toml --metrics {METRICS}\n")
    assert node.run(check).rc != 0
    assert "bai_wizard_drift_check_success 0" in node.read(METRICS).decode(), last()
    # The secret is gone, as it may be after a run: everything else is still compared.
    node.write("/etc/default/bai-wizard-drift", f"DRIFT_OPTIONS=--metrics {METRICS}\n")
    shell(node, "rm /root/bai.password")
    assert node.run(check).rc == 0, last()
    assert "not compared: account.password: /root/bai.password cannot be read" in last()
    shell(node, "systemctl enable --now bai-wizard-drift.timer")
    assert "bai-wizard-drift.service" in node.run(["systemctl", "list-timers"]).out


def test_while_a_run_is_in_progress_nothing_is_compared(node: ContainerNode) -> None:
    applied(node)
    lock = "/run/bai-wizard/lock"
    node.run(["sh", "-c", f"exec 9>>{lock}; flock 9; echo $$ >/run/held; exec sleep 600"], detach=True)
    node.wait_for(lambda: node.exists("/run/held"), what="a holder of the lock")
    refused = node.wizard("drift")
    assert refused.rc == 3, refused.out + refused.err
