"""Asked again, a node that needs nothing says so by its proof; what changed since is seen."""

from __future__ import annotations

from tests.node.container import ContainerNode
from tests.node.spine import prepare

DRIFTS = (
    "chown root:root /vfroot/local",
    "sysctl -qw net.ipv4.tcp_fin_timeout=60",
    "echo 'net.ipv4.tcp_fin_timeout=60' > /etc/sysctl.d/zz.conf",
    "echo bai:another-password | chpasswd",
)
PROOFS = "cat /var/lib/bai-wizard/proofs/*.json"


def test_what_changed_since_the_proof_is_seen(node: ContainerNode) -> None:
    prepare(node)
    node.own_hosts_file()
    assert node.wizard("--headless", "/root/answers.toml").rc == 0
    first = node.wizard("--headless", "/root/answers.toml")
    proof = node.run(["sh", "-c", PROOFS], check=True).out
    again = node.wizard("--headless", "/root/answers.toml")
    assert (again.rc, again.out) == (first.rc, first.out)
    assert "0 changed" in again.out
    for drift in DRIFTS:
        node.run(["sh", "-c", drift], check=True)
        planned = node.wizard("--headless", "/root/answers.toml")
        assert "0 changed" not in planned.out or planned.rc != 0, f"{drift}: {planned.out}"
        assert "0 changed" in node.wizard("--headless", "/root/answers.toml").out, drift
    kept = node.run(["sh", "-c", PROOFS], check=True).out
    assert kept != proof
    node.write("/root/answers.toml", node.read("/root/answers.toml") + b"# a comment\n", 0o600)
    assert "0 changed" in node.wizard("--headless", "/root/answers.toml").out
    secrets = (node.run(["getent", "shadow", "bai"], check=True).out.split(":")[1], "correct horse")
    assert not [secret for secret in secrets if secret in kept]
