"""Helpers of the tests of the docker and images pages."""

import json
from typing import Any

from tests.node.api import Completed, Node

ACCOUNT = """
[account]
sudo = "nopasswd"
"""


def put(node: Node, *tables: str, release: str = "26.4") -> None:
    """Write the answers: an account and the given tables."""
    head = f'version = 1\n[node]\nbackend_ai = "{release}"\n'
    node.write("/root/answers.toml", head + ACCOUNT + "\n".join(tables), 0o600)


def apply(node: Node, *flags: str, timeout: float = 600) -> Completed:
    """Apply the answers headless."""
    return node.wizard("--headless", "/root/answers.toml", *flags, timeout=timeout)


def planned(node: Node) -> Completed:
    """Plan the answers; 7 if something would change."""
    return node.wizard("--headless", "/root/answers.toml", "--plan", "--diff", "--detailed-exitcode")


def done(completed: Completed, code: int = 0) -> str:
    """Return the output after checking the exit code and that there is no traceback."""
    output = completed.out + completed.err
    assert completed.rc == code, output[-4000:]
    assert "Traceback" not in output, output[-4000:]
    return output


def daemon_json(node: Node) -> Any:
    """Return the content of daemon.json."""
    return json.loads(node.read("/etc/docker/daemon.json"))


def gateway(node: Node) -> str:
    """Return the address of this machine as seen from the node."""
    return node.run(["sh", "-c", "ip route show default | cut -d' ' -f3"], check=True).out.strip()


# A container without a registry: a program of the node, with its libraries.
RUN_A_CONTAINER = """set -e
mkdir -p /tmp/tree
for file in /usr/bin/sleep $(ldd /usr/bin/sleep | grep -o '/[^ ]*'); do
    mkdir -p "/tmp/tree$(dirname "$file")"; cp "$file" "/tmp/tree$file"
done
tar -C /tmp/tree -c . | docker import - sleeper >/dev/null
docker run --detach --name sleeper sleeper /usr/bin/sleep 3600
"""


def run_a_container(node: Node) -> None:
    """Start a container named sleeper from an image named sleeper."""
    node.run(["sh", "-c", RUN_A_CONTAINER], check=True, timeout=120)


def is_running(node: Node, container: str = "sleeper") -> bool:
    """Return whether a container is running."""
    shown = node.run(["docker", "inspect", "--format", "{{.State.Running}}", container])
    return shown.out.strip() == "true"
