"""The container nodes have the properties that the other tests rely on."""

import re

import pytest

from tests.node.conftest import NodeFactory
from tests.node.container import ContainerNode
from tests.node.snapshot import assert_same, difference

# The other node tests fail as well where a node is not what they take it for.
pytestmark = pytest.mark.soak


@pytest.mark.parametrize(("suite", "python"), [("trixie", "3.13"), ("bookworm", "3.11")])
def test_systemd_and_python_are_there(node_factory: NodeFactory, suite: str, python: str) -> None:
    node = node_factory(suite)
    assert node.run(["cat", "/proc/1/comm"], check=True).out == "systemd\n"
    assert node.run(["systemctl", "is-active", "ssh"]).out == "active\n"
    assert node.run(["systemd-run", "--wait", "--pipe", "--collect", "echo", "from a unit"]).out == "from a unit\n"
    assert node.run(["python3", "--version"]).out.startswith(f"Python {python}.")
    assert node.run(["hostname"]).out.strip() == node.hostname


def test_wizard_starts_from_anywhere_without_environment(node: ContainerNode) -> None:
    completed = node.run(
        ["python3", "-I", "-c", "import bai_wizard, msgspec, uv; print(bai_wizard.__file__, uv.find_uv_bin())"]
    )
    assert completed.out.split() == ["/opt/bai-wizard/bai_wizard/__init__.py", "/opt/bai-wizard/bin/uv"], (
        completed.err
    )
    assert node.run(["find", "/opt/bai-wizard", "-not", "-user", "root"]).out == ""
    assert node.exists("/usr/local/bin/bai-wizard")


def test_kernel_settings_of_the_host_are_out_of_reach(node: ContainerNode) -> None:
    assert node.run(["sysctl", "-w", "net.core.somaxconn=4321"]).rc == 0
    for key in ("vm.max_map_count", "fs.file-max", "kernel.pid_max"):
        now = node.run(["sysctl", "-n", key], check=True).out.strip()
        assert node.run(["sysctl", "-w", f"{key}={now}"]).rc != 0


def test_commands_files_and_streams(node: ContainerNode) -> None:
    node.write("/etc/made/by/test", b"\x00bytes\n", mode=0o640, owner="root:sudo")
    assert node.read("/etc/made/by/test") == b"\x00bytes\n"
    assert node.run(["stat", "-c", "%a %U %G", "/etc/made/by/test"]).out == "640 root sudo\n"
    assert node.run(["cat"], input="in").out == "in"
    assert node.run(["sh", "-c", "echo no >&2; exit 7"]).rc == 7
    assert node.run(["id", "-un"], user="nobody").out == "nobody\n"
    node.run(["sh", "-c", "echo $$ >/tmp/pid; exec sleep 1000"], detach=True)
    node.wait_for(lambda: node.exists("/tmp/pid"))
    pid = int(node.read("/tmp/pid"))
    node.kill(pid)
    node.wait_for(lambda: not node.exists(f"/proc/{pid}"))
    with pytest.raises(TimeoutError):
        node.run(["sleep", "20"], timeout=0.5)


def test_snapshot_sees_changes_and_nothing_else(node: ContainerNode) -> None:
    before = node.snapshot()
    assert_same(before, node.snapshot())
    node.run(["useradd", "--create-home", "--uid", "1100", "bai"], check=True)
    node.run(["ln", "-s", "/nowhere", "/etc/dangling"], check=True)
    node.run(["chmod", "600", "/etc/hosts"], check=True)
    changes = difference(before, node.snapshot())
    assert "+ /etc/dangling link 0777 0:0 /nowhere" in changes
    assert any(re.match(r"~ /etc/hosts file 0644 .* -> file 0600 ", line) for line in changes)
    assert any(line.startswith("~ /etc/shadow ") for line in changes)
    assert not any("/etc/shadow-" in line for line in changes)


def test_login_with_a_password(node: ContainerNode) -> None:
    node.run(["useradd", "--create-home", "--shell", "/bin/bash", "bai"], check=True)
    node.run(["chpasswd"], input="bai:correct horse", check=True)
    assert node.ssh_login("bai", "correct horse", "id -un").out == "bai\n"
    assert "Permission denied" in node.ssh_login("bai", "wrong", "id -un").err


def test_hosts_file_is_a_mount_until_it_is_not(node: ContainerNode) -> None:
    node.write("/etc/hosts.new", "127.0.0.1 localhost\n")
    assert "busy" in node.run(["mv", "/etc/hosts.new", "/etc/hosts"]).err
    node.own_hosts_file()
    assert node.run(["mv", "/etc/hosts.new", "/etc/hosts"]).rc == 0


def test_a_power_cut_keeps_files_and_ends_processes(node: ContainerNode) -> None:
    node.write("/etc/kept", "kept")
    node.run(["sh", "-c", "echo >/tmp/gone; exec sleep 1000"], detach=True)
    node.wait_for(lambda: node.exists("/tmp/gone"))
    node.power_cut()
    assert node.read("/etc/kept") == b"kept"
    assert not node.exists("/tmp/gone")
    assert node.run(["pgrep", "-x", "sleep"]).rc == 1


def test_small_file_system_and_no_network(node_factory: NodeFactory) -> None:
    node = node_factory(network="none", tmpfs={"/vfroot": "size=64k"})
    assert node.run(["sh", "-c", "head -c 100000 /dev/zero >/vfroot/file"]).rc != 0
    assert node.run(["ip", "-o", "link"]).out.count("\n") == 1


def test_docker_inside(node_factory: NodeFactory) -> None:
    node = node_factory("trixie-docker")
    node.wait_for(lambda: node.run(["docker", "version"]).rc == 0, 30, "the inner Docker Engine")
    assert "overlay2" in node.run(["docker", "info", "--format", "{{.Driver}}"]).out


def test_apt_reaches_its_mirror(node: ContainerNode) -> None:
    assert node.run(["apt-get", "update"], timeout=120).rc == 0
    assert node.run(["apt-get", "install", "--yes", "tree"], timeout=120).rc == 0
