"""The requirements of the manual, verified on a node with independent tools; for containers and machines alike."""

from __future__ import annotations

from tests.node.api import Node

PASSWORD = "correct horse battery staple"
ANSWERS = """
version = 1
[node]
roles = ["compute"]
backend_ai = "26.4"
[account]
username = "bai"
uid = 1100
gid = 1100
sudo = "password"
password = { file = "/root/bai.password" }
authorized_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6eH3Hh4mQw0JX2bG5o0h3u7Yk1Zk3bq9o6m1mYyqSg ops@example"]
[tuning]
[aliases]
own_name = "keep"
hosts = [
  { ip = "10.20.30.10", names = ["bai-m1"], comment = "management node 01", virtual = true },
  { ip = "10.20.30.20", names = ["bai-a01"], comment = "agent node 01 (GPU 01)", virtual = true },
]
[storage]
volumes = [ { name = "local", type = "local" } ]
"""
TOUCHED = ("/etc", "/home", "/vfroot")
# All except /root, where the test itself stores the password.
WRITTEN_TO = ("/var/lib/bai-wizard", "/run/bai-wizard", "/var/log", "/var/tmp", "/tmp", *TOUCHED)


def prepare(node: Node, answers: str = ANSWERS) -> None:
    """Write the answers and the password file to the node."""
    node.write("/root/answers.toml", answers, 0o600)
    node.write("/root/bai.password", PASSWORD + "\n", 0o600)


def text(node: Node, *argv: str) -> str:
    """Return the output of a command on the node."""
    return node.run(list(argv), check=True).out.strip()


def assert_manual_holds(node: Node, *, host_kernel: bool) -> None:
    """Verify the four pages with other tools. `host_kernel`: fs.* and vm.* do not belong to the node."""
    assert text(node, "id", "bai") == "uid=1100(bai) gid=1100(bai) groups=1100(bai),27(sudo)"
    assert text(node, "stat", "-c", "%U:%G %a", "/home/bai/.ssh/authorized_keys") == "bai:bai 600"
    login = node.ssh_login("bai", PASSWORD, "id -un")
    assert login.out.strip() == "bai", login.err
    assert node.ssh_login("bai", "wrong", "id -un").rc != 0
    sudo = node.ssh_login("bai", PASSWORD, f"echo '{PASSWORD}' | sudo -S -p '' id -u")
    assert sudo.out.strip() == "0", sudo.err
    if not host_kernel:  # a container without CAP_SYS_RESOURCE cannot raise limits, whatever PAM is told
        assert int(text(node, "su", "-", "bai", "-c", "ulimit -Hn")) >= 512000
        logged_in = node.ssh_login("bai", PASSWORD, "ulimit -Hn; ulimit -Sn; ulimit -Hu").out.split()
        for value, least in zip(logged_in, (512000, 512000, 65536), strict=True):
            assert int(value) >= least, logged_in
    expected = {
        "net.ipv4.tcp_fin_timeout": "10",
        "net.ipv4.tcp_slow_start_after_idle": "0",
        "net.ipv4.ip_local_port_range": "10000 65000",
        "net.ipv4.tcp_tw_reuse": "1",
    }
    if not host_kernel:
        expected |= {"net.core.rmem_max": "16777216", "vm.overcommit_memory": "1"}
    for key, value in expected.items():
        assert text(node, "sysctl", "-n", key).split() == value.split(), key
    assert int(text(node, "sysctl", "-n", "net.core.somaxconn")) >= 1024
    assert "30000" in text(node, "sysctl", "-n", "net.ipv4.ip_local_reserved_ports")
    assert text(node, "getent", "hosts", "bai-m1").split() == ["10.20.30.10", "bai-m1"]
    assert text(node, "stat", "-c", "%U:%G %F", "/vfroot/local") == "bai:bai directory"
    assert text(node, "cat", "/vfroot/local/version.txt") == "3"


def log_out(node: Node) -> None:
    """End processes started by the logins of the checks, and remove the file that sudo itself leaves in the home."""
    node.run(["loginctl", "terminate-user", "bai"])
    node.run(["pkill", "-KILL", "-u", "bai"])
    node.wait_for(lambda: node.run(["pgrep", "-u", "bai"]).rc == 1, 60, "the end of the account's sessions")
    node.run(["rm", "-f", "/home/bai/.sudo_as_admin_successful"], check=True)


def assert_no_secret(node: Node) -> None:
    """Assert that neither files of the wizard nor the system journal contain the plain-text password."""
    completed = node.run(["grep", "-rl", "--", PASSWORD, *WRITTEN_TO])
    assert completed.out == "", completed.out
    logged = node.run(["journalctl", "--no-pager", "-o", "cat"]).out
    assert PASSWORD not in logged
