"""The docker page on fresh nodes and on nodes with containers, with engines from Debian's packages."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.node.conftest import NodeFactory
from tests.node.container import ContainerNode
from tests.node.docker_answers import apply, daemon_json, done, is_running, planned, put, run_a_container
from tests.node.snapshot import difference

DISTRO = '[docker]\nsource = "distro"\n'
KEEP = '[docker]\nsource = "keep"\n'


def test_fresh_node_to_docker_for_the_account_then_nothing_then_undone(node: ContainerNode) -> None:
    put(node, DISTRO)
    before = node.snapshot(("/etc/docker", "/etc/apt", "/etc/systemd/system/docker.service.d"))
    output = done(apply(node))
    assert "Takes effect at next login: " in output
    assert "docker.users" in output
    run_a_container(node)
    # The groups that a new login has, without the processes that one leaves behind for a while.
    as_bai = ["setpriv", "--reuid", "bai", "--regid", "bai", "--init-groups", "env", "HOME=/home/bai"]
    node.run([*as_bai, "docker", "run", "--rm", "sleeper", "/usr/bin/sleep", "0"], check=True)
    node.run([*as_bai, "docker", "compose", "version"], check=True)
    assert daemon_json(node)["features"] == {"containerd-snapshotter": False}
    assert done(planned(node), 0)
    undone = done(node.wizard("undo"))
    assert "packages stay installed" in undone
    assert (
        difference(before, node.snapshot(("/etc/docker", "/etc/apt", "/etc/systemd/system/docker.service.d"))) == []
    )
    assert node.run(["id", "bai"]).rc != 0
    assert node.run(["docker", "version"]).rc == 0


def test_progress_of_apt_is_reported_and_a_stop_lets_it_finish(downloaded: ContainerNode) -> None:
    node = downloaded
    put(node, DISTRO)
    script = "bai-wizard --headless /root/answers.toml --json >/root/out 2>&1; echo $? >/root/code"
    node.run(["sh", "-c", script], detach=True)
    node.wait_for(lambda: b"Unpacking" in node.read_or_empty("/root/out"), 120, "the first package")
    node.kill(json.loads(node.read("/run/bai-wizard/current.json"))["pid"], "TERM")
    node.wait_for(lambda: node.read_or_empty("/root/code"), 120, "the end of the run")
    out = node.read("/root/out").decode()
    assert node.read("/root/code").strip() == b"130", out[-2000:]
    assert node.run(["dpkg", "--audit"]).out == ""
    assert node.run(["dpkg-query", "--show", "docker.io"]).rc == 0, "dpkg is never cut off"
    assert node.run(["id", "-nG", "bai"], check=True).out.split() == ["bai", "sudo"], (
        "what came after it was not begun"
    )
    done(node.wizard("resume"))
    assert "docker" in node.run(["id", "-nG", "bai"], check=True).out
    events = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    steps = [event for event in events if event.get("step") == "docker.packages" and event.get("total") == 100]
    lines = [event["done"] for event in steps]
    assert lines == sorted(lines)
    assert lines[-1] > 90
    assert any("Unpacking" in event["text"] or "Preparing" in event["text"] for event in steps)


@pytest.fixture
def downloaded(node_factory: NodeFactory) -> ContainerNode:
    """A fresh node whose apt need not download what the page installs."""
    return node_factory("trixie-downloaded")


@pytest.fixture
def with_docker(node_factory: NodeFactory) -> ContainerNode:
    """A node whose engine runs already."""
    node = node_factory("trixie-docker")
    node.run(["systemctl", "start", "docker"], check=True)
    return node


HAND_WRITTEN = """{
    "debug": true,   "labels": ["rack=7"],
    "log-driver": "local"
}
"""


def test_a_hand_written_daemon_json_keeps_every_foreign_byte(with_docker: ContainerNode) -> None:
    node = with_docker
    node.write("/etc/docker/daemon.json", HAND_WRITTEN, 0o640)
    node.run(["systemctl", "restart", "docker"], check=True)
    run_a_container(node)
    put(node, KEEP + 'insecure_registries = ["harbor.corp:5000"]\nhold = false\n')
    refused = done(apply(node), 3)
    assert "sleeper" in refused
    assert "--yes-interrupt=docker.restart" in refused
    assert node.read("/etc/docker/daemon.json").decode() == HAND_WRITTEN
    assert is_running(node)
    done(apply(node, "--yes-interrupt=docker.restart"))
    text = node.read("/etc/docker/daemon.json").decode()
    assert text.startswith('{\n    "debug": true,   "labels": ["rack=7"],\n    "log-driver": "local"')
    assert daemon_json(node)["insecure-registries"] == ["harbor.corp:5000"]
    assert node.run(["stat", "-c", "%a", "/etc/docker/daemon.json"]).out.strip() == "640"
    info = json.loads(node.run(["docker", "info", "--format", "{{json .}}"], check=True).out)
    assert "harbor.corp:5000" in info["RegistryConfig"]["IndexConfigs"]
    assert info["Debug"] is True
    done(planned(node), 0)
    done(node.wizard("undo"))
    assert node.read("/etc/docker/daemon.json").decode() == HAND_WRITTEN


# An earlier step of the same run starts it, so it begins after the consent and before the restart.
MEANWHILE = """#!/bin/sh
docker run --detach --name latecomer sleeper /usr/bin/sleep 3600 >/dev/null
exec /usr/sbin/update-ca-certificates "$@"
"""


def test_consent_does_not_cover_a_container_that_was_started_since(
    with_docker: ContainerNode, tmp_path: Path
) -> None:
    node = with_docker
    run_a_container(node)
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=authority"]
    subprocess.run([*make, "-keyout", tmp_path / "key", "-out", tmp_path / "ca.crt"], check=True, capture_output=True)
    node.write("/root/ca.crt", (tmp_path / "ca.crt").read_text())
    node.write("/usr/local/sbin/update-ca-certificates", MEANWHILE, 0o755)
    put(node, '[network]\nca_certificates = ["/root/ca.crt"]', KEEP + 'insecure_registries = ["harbor.corp:5000"]')
    begun = node.run(["systemctl", "show", "docker", "--property", "ActiveEnterTimestampMonotonic"]).out
    output = done(apply(node, "--yes-interrupt=docker.restart"), 4)
    assert "docker.restart would interrupt latecomer" in output
    assert "does not cover" in output
    assert is_running(node)
    assert is_running(node, "latecomer")
    assert node.run(["systemctl", "show", "docker", "--property", "ActiveEnterTimestampMonotonic"]).out == begun
    assert "latecomer" in done(node.wizard("resume"), 3)
    done(node.wizard("resume", "--yes-interrupt=docker.restart"))
    assert daemon_json(node)["insecure-registries"] == ["harbor.corp:5000"]


UNREADABLE = {
    '{\n  "debug": true,\n}\n': "daemon.json:2:16",
    '{\n  // ours\n  "debug": true\n}\n': "daemon.json:2:3",
    '{"debug": true, "debug": false}': "twice",
}


def test_unreadable_daemon_json_is_reported_by_place_and_left(with_docker: ContainerNode) -> None:
    node = with_docker
    run_a_container(node)
    put(node, KEEP)
    for text, location in UNREADABLE.items():
        node.write("/etc/docker/daemon.json", text)
        output = done(apply(node, "--yes-interrupt=docker.restart"), 3)
        assert location in output
        assert node.read("/etc/docker/daemon.json").decode() == text
    assert is_running(node)
    node.write("/etc/docker/daemon.json", '{"debug": true}\n')
    assert "sleeper" in done(apply(node), 3)
    assert is_running(node)
    done(apply(node, "--yes-interrupt=docker.restart"))
    assert daemon_json(node)["debug"] is True


def test_a_daemon_that_does_not_come_back_gets_the_old_file_again(with_docker: ContainerNode) -> None:
    """What `dockerd --validate` does not see: a data directory that cannot be made shows at the start only."""
    node = with_docker
    node.write("/etc/docker/daemon.json", '{"debug": true}\n')
    node.run(["systemctl", "restart", "docker"], check=True)
    node.run(["mkdir", "/data"], check=True)
    node.run(["mount", "-t", "tmpfs", "-o", "ro,mode=0755", "tmpfs", "/data"], check=True)
    put(node, KEEP + 'data_root = "/data/docker"\n')
    output = done(apply(node), 4)
    assert "/etc/docker/daemon.json was restored and Docker runs with it" in output
    assert "/data/docker" in output.partition("was restored")[0].rpartition("does not start")[2], output
    assert node.read("/etc/docker/daemon.json").decode() == '{"debug": true}\n'
    assert node.run(["docker", "version"]).rc == 0
    put(node, KEEP)
    done(apply(node))


def test_a_configuration_that_the_daemon_refuses_is_never_installed(with_docker: ContainerNode) -> None:
    """A key that Docker does not know, written since it started: it would not come back from any restart."""
    node = with_docker
    node.write("/etc/docker/daemon.json", '{"log-rotation": true}\n')
    put(node, KEEP)
    output = done(apply(node), 4)
    assert "rejects the new content" in output
    assert "log-rotation" in output
    assert node.read("/etc/docker/daemon.json").decode() == '{"log-rotation": true}\n'
    node.write("/etc/docker/daemon.json", "{}\n")
    done(apply(node))


def test_a_flag_of_the_service_is_not_repeated_in_daemon_json(with_docker: ContainerNode) -> None:
    node = with_docker
    node.write(
        "/etc/systemd/system/docker.service.d/site.conf",
        "[Service]\nExecStart=\nExecStart=/usr/sbin/dockerd -H fd:// --insecure-registry=old.corp\n",
    )
    node.run(["systemctl", "daemon-reload"], check=True)
    node.run(["systemctl", "restart", "docker"], check=True)
    put(node, KEEP + 'insecure_registries = ["harbor.corp:5000"]\n')
    output = done(apply(node), 3)
    assert "site.conf" in output
    assert "--insecure-registry" in output
    assert node.run(["docker", "version"]).rc == 0
    node.run(["rm", "/etc/systemd/system/docker.service.d/site.conf"], check=True)
    node.run(["systemctl", "daemon-reload"], check=True)
    done(apply(node))


def test_filled_data_root_is_not_abandoned(with_docker: ContainerNode) -> None:
    node = with_docker
    run_a_container(node)
    put(node, KEEP + 'data_root = "/data/docker"\n')
    output = done(apply(node), 3)
    assert "/var/lib/docker" in output
    assert "no longer be visible" in output
    assert is_running(node)


def test_data_root_that_has_to_be_a_mount(node: ContainerNode) -> None:
    put(node, DISTRO + 'data_root = "/data/docker"\ndata_root_must_be_mount = true\n')
    assert "system disk" in done(apply(node), 3)
    assert not node.exists("/etc/docker/daemon.json")
    node.run(["mkdir", "/data"], check=True)
    node.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", "/data"], check=True)
    done(apply(node))
    shown = node.run(["docker", "info", "--format", "{{.DockerRootDir}}"], check=True).out
    assert shown.strip() == "/data/docker"
    unit = node.run(["systemctl", "show", "docker", "--property", "RequiresMountsFor"], check=True).out
    assert "/data/docker" in unit
    done(planned(node), 0)


def test_debian_12_without_a_compose_plugin(node_factory: NodeFactory) -> None:
    """Engine 20.10: no `dockerd --validate`, and compose is version 1 there."""
    node = node_factory("bookworm")
    put(node, DISTRO)
    output = done(apply(node))
    assert "Debian 12 does not package the Compose plugin" in output
    run_a_container(node)
    assert is_running(node)
    done(planned(node), 0)


def test_interrupted_dpkg_is_completed_first(downloaded: ContainerNode) -> None:
    node = downloaded
    put(node, DISTRO)
    node.write("/var/lib/dpkg/updates/0001", "")
    output = done(apply(node))
    assert "complete interrupted package operations" in output
    assert not node.exists("/var/lib/dpkg/updates/0001")
    assert "complete interrupted" not in done(planned(node), 0)
    assert node.run(["docker", "version"]).rc == 0


def test_the_holder_of_the_apt_lock_is_named_and_waited_for(downloaded: ContainerNode) -> None:
    node = downloaded
    put(node, DISTRO)
    holder = (
        "import fcntl, os, time\nfile = open('/var/lib/dpkg/lock-frontend', 'w')\nfcntl.lockf(file, fcntl.LOCK_EX)\n"
    )
    node.write("/root/holder.py", holder + "open('/run/held', 'w')\ntime.sleep(600)\n")
    node.run(["/usr/bin/python3", "/root/holder.py"], detach=True)
    node.wait_for(lambda: node.exists("/run/held"), what="the holder of the lock")
    script = "bai-wizard --headless /root/answers.toml >/root/said 2>&1; echo $? >/root/code"
    node.run(["sh", "-c", script], detach=True)
    named = b"waiting for python3 (process"
    node.wait_for(lambda: named in node.read_or_empty("/root/said"), 240, "its name")
    node.run(["pkill", "--full", "/root/[h]older.py"], check=True)
    node.wait_for(lambda: node.read_or_empty("/root/code").strip(), 240, "the end")
    assert node.read("/root/code").strip() == b"0", node.read("/root/said").decode()[-4000:]


def test_logs_and_the_pin_follow_the_answers(with_docker: ContainerNode) -> None:
    """A driver's options do not outlive it, or Docker would not start; a pin is let go.

    Containers that outlive the daemon are no reason to ask for consent.
    """
    node = with_docker
    node.write("/etc/docker/daemon.json", '{"live-restore": true}\n')
    node.run(["systemctl", "restart", "docker"], check=True)
    run_a_container(node)
    started = ["docker", "inspect", "--format", "{{.State.StartedAt}}", "sleeper"]
    before = node.run(started, check=True).out
    put(node, KEEP)
    done(apply(node))
    assert "26.*" in node.read("/etc/apt/preferences.d/bai-docker").decode()
    put(node, KEEP + 'hold = false\nlog = { driver = "journald" }\n')
    done(apply(node))
    assert node.run(["docker", "info", "--format", "{{.LoggingDriver}}"], check=True).out.strip() == "journald"
    assert not node.exists("/etc/apt/preferences.d/bai-docker")
    assert is_running(node)
    assert node.run(started, check=True).out == before
    done(planned(node), 0)
    assert "sleeper" in done(node.wizard("undo"), 3)
    assert is_running(node)
    done(node.wizard("undo", "--yes-interrupt=docker.restart"))
    assert daemon_json(node)["log-opts"]["max-size"] == "100m"
    assert node.exists("/etc/apt/preferences.d/bai-docker")


def test_proxy_of_the_network_table_reaches_the_service(node: ContainerNode) -> None:
    node.write("/root/answers.toml", "")
    put(node, DISTRO)
    done(apply(node))
    network = '[network]\napply = false\nproxy = { http = "http://proxy.corp:3128", no_proxy = "10.0.0.0/8,.corp" }\n'
    put(node, network, KEEP)
    done(apply(node))
    shown = node.run(["docker", "info", "--format", "{{.HTTPProxy}} {{.NoProxy}}"], check=True).out
    assert "http://proxy.corp:3128" in shown
    assert "10.0.0.0/8,.corp,localhost" in shown
    done(planned(node), 0)


def test_only_the_service_gets_the_proxy_login(node: ContainerNode) -> None:
    """Every user can read a unit's Environment=, but not an environment file (M2)."""
    secret = "p$w%41 d\\x".replace(" ", "%20").replace("$", "%24").replace("\\", "%5C")
    login = f"http://me:{secret}@proxy.corp:3128"
    put(node, DISTRO)
    done(apply(node))
    network = f'[network]\napply = false\nproxy = {{ http = "{login}", https = "http://proxy.corp:3128" }}\n'
    put(node, network, KEEP)
    plans = (("--plan",), ("--plan", "--diff"), ("--plan", "--json"))
    lines = [node.wizard("--headless", "/root/answers.toml", *more) for more in plans]
    lines.append(apply(node))
    assert lines[-1].rc == 0, lines[-1].err
    pid = node.run(["systemctl", "show", "docker", "--value", "-p", "MainPID"], check=True).out.strip()
    seen = node.read(f"/proc/{pid}/environ").split(b"\0")
    assert f"HTTP_PROXY={login}".encode() in seen
    assert b"HTTPS_PROXY=http://proxy.corp:3128" in seen
    for words in (["systemctl", "show", "docker"], ["systemctl", "cat", "docker"], ["cat", f"/proc/{pid}/environ"],
                  ["sh", "-c", "cat /etc/systemd/system/docker.service.d/*"], ["ps", "auxeww"],
                  ["busctl", "--system", "get-property", "org.freedesktop.systemd1",
                   "/org/freedesktop/systemd1/unit/docker_2eservice", "org.freedesktop.systemd1.Service",
                   "Environment"]):  # fmt: skip
        lines.append(node.run(words, user="nobody"))
    lines.append(node.run(["docker", "info"]))
    lines.append(node.wizard("undo", "--plan"))
    assert [done.out for done in lines if secret in done.out + done.err] == []
    done(node.wizard("undo", "--yes-interrupt=docker.restart"))
    assert (
        secret.encode()
        not in node.run(["sh", "-c", "cat /etc/systemd/system/docker.service.d/* || true"]).out.encode()
    )
