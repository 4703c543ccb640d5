"""Proxy and trust on a real node, as seen by apt, logins, pip and openssl."""

from __future__ import annotations

from tests.node.container import ContainerNode
from tests.node.snapshot import assert_same

ANSWERS = """version = 1
[network]
proxy = { http = "http://proxy.corp:3128", https = "http://proxy.corp:3128", no_proxy = "localhost,.corp" }
ca_certificates = ["/root/corp ca.pem"]
"""
RUN = ("--headless", "/root/answers.toml")
TOUCHED = ("/etc", "/usr/local/share", "/root")
MAKE = (
    "openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=corp-ca -keyout /dev/null -out '/root/corp ca.pem'"
)


def test_network_then_nothing_then_undone(node: ContainerNode) -> None:
    node.write("/root/answers.toml", ANSWERS)
    node.run(["sh", "-c", MAKE], check=True)
    node.run(["useradd", "-m", "-s", "/bin/bash", "joe"], check=True)
    before = node.snapshot(TOUCHED)
    assert node.run(["openssl", "verify", "/root/corp ca.pem"]).rc != 0
    done = node.wizard(*RUN)
    assert done.rc == 0, done.out + done.err
    assert node.run(["openssl", "verify", "/root/corp ca.pem"]).rc == 0
    assert 'Acquire::http::Proxy "http://proxy.corp:3128";' in node.run(["apt-config", "dump"]).out
    environment = node.run(["su", "-", "joe", "-c", "env"], check=True).out.split("\n")
    assert "https_proxy=http://proxy.corp:3128" in environment
    assert "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt" in environment
    reader = (
        "import configparser; c = configparser.RawConfigParser(); c.read('/etc/pip.conf'); print(c['global']['cert'])"
    )
    assert node.run(["python3", "-c", reader], check=True).out.strip() == "/etc/ssl/certs/ca-certificates.crt"
    again = node.wizard(*RUN, "--plan", "--detailed-exitcode")
    assert again.rc == 0, again.out
    undone = node.wizard("undo")
    assert undone.rc == 0, undone.out + undone.err
    assert node.run(["openssl", "verify", "/root/corp ca.pem"]).rc != 0
    assert_same(before, node.snapshot(TOUCHED))
