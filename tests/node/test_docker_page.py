"""The docker page on fresh nodes and on nodes with containers, with engines from Debian's packages."""

import json

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
    said = done(apply(node))
    assert "in effect at the next login: " in said
    assert "docker.users" in said
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


def test_progress_of_apt_is_told_and_a_stop_lets_it_finish(node: ContainerNode) -> None:
    put(node, DISTRO)
    script = "bai-wizard --headless /root/answers.toml --json >/root/out 2>&1; echo $? >/root/code"
    node.run(["sh", "-c", script], detach=True)
    node.wait_for(lambda: b"Unpacking" in node.read("/root/out"), 120, "the first package")
    node.kill(json.loads(node.read("/run/bai-wizard/current.json"))["pid"], "TERM")
    node.wait_for(lambda: node.exists("/root/code"), 120, "the end of the run")
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
    told = [event["done"] for event in steps]
    assert told == sorted(told)
    assert told[-1] > 90
    assert any("Unpacking" in event["text"] or "Preparing" in event["text"] for event in steps)


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


def test_hand_written_daemon_json_keeps_every_byte_that_is_not_ours(with_docker: ContainerNode) -> None:
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


UNREADABLE = {
    '{\n  "debug": true,\n}\n': "daemon.json:2:16",
    '{\n  // ours\n  "debug": true\n}\n': "daemon.json:2:3",
    '{"debug": true, "debug": false}': "twice",
}


def test_unreadable_daemon_json_is_told_by_place_and_left(with_docker: ContainerNode) -> None:
    node = with_docker
    run_a_container(node)
    put(node, KEEP)
    for text, place in UNREADABLE.items():
        node.write("/etc/docker/daemon.json", text)
        said = done(apply(node, "--yes-interrupt=docker.restart"), 3)
        assert place in said
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
    put(node, KEEP + 'data_root = "/proc/sys/docker"\n')
    said = done(apply(node), 4)
    assert "/etc/docker/daemon.json is back as it was and Docker runs with it" in said
    assert "/proc/sys/docker" in said.partition("is back as it was")[0].rpartition("does not start")[2], said
    assert node.read("/etc/docker/daemon.json").decode() == '{"debug": true}\n'
    assert node.run(["docker", "version"]).rc == 0
    put(node, KEEP)
    done(apply(node))


def test_what_the_daemon_refuses_is_never_put_in_place(with_docker: ContainerNode) -> None:
    """A key that Docker does not know, written since it started: it would not come back from any restart."""
    node = with_docker
    node.write("/etc/docker/daemon.json", '{"log-rotation": true}\n')
    put(node, KEEP)
    said = done(apply(node), 4)
    assert "refuses the new content" in said
    assert "log-rotation" in said
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
    said = done(apply(node), 3)
    assert "site.conf" in said
    assert "--insecure-registry" in said
    assert node.run(["docker", "version"]).rc == 0
    node.run(["rm", "/etc/systemd/system/docker.service.d/site.conf"], check=True)
    node.run(["systemctl", "daemon-reload"], check=True)
    done(apply(node))


def test_filled_data_root_is_not_abandoned(with_docker: ContainerNode) -> None:
    node = with_docker
    run_a_container(node)
    put(node, KEEP + 'data_root = "/data/docker"\n')
    said = done(apply(node), 3)
    assert "/var/lib/docker" in said
    assert "vanish from sight" in said
    assert is_running(node)


def test_data_root_that_has_to_be_a_mount(node: ContainerNode) -> None:
    put(node, DISTRO + 'data_root = "/data/docker"\ndata_root_must_be_mount = true\n')
    assert "system disk" in done(apply(node), 3)
    assert not node.exists("/etc/docker/daemon.json")
    node.run(["mkdir", "/data"], check=True)
    node.run(["mount", "-t", "tmpfs", "tmpfs", "/data"], check=True)
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
    said = done(apply(node))
    assert "Debian 12 has no compose plugin" in said
    run_a_container(node)
    assert is_running(node)
    done(planned(node), 0)


def test_interrupted_dpkg_is_recognised_and_a_second_run_completes(node: ContainerNode) -> None:
    put(node, DISTRO)
    node.write("/var/lib/dpkg/updates/0001", "")
    said = done(apply(node), 4)
    assert "dpkg --configure -a" in said
    node.run(["rm", "/var/lib/dpkg/updates/0001"], check=True)
    done(apply(node))
    assert node.run(["docker", "version"]).rc == 0


def test_whoever_holds_the_lock_of_apt_is_named_and_waited_for(node: ContainerNode) -> None:
    put(node, DISTRO)
    holder = (
        "import fcntl, os, time\nfile = open('/var/lib/dpkg/lock-frontend', 'w')\nfcntl.lockf(file, fcntl.LOCK_EX)\n"
    )
    node.write("/root/holder.py", holder + "time.sleep(25)\n")
    node.run(["/usr/bin/python3", "/root/holder.py"], detach=True)
    said = done(apply(node))
    assert "waiting for python3 (process" in said


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
