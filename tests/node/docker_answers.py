"""What the tests of the docker and images pages have in common."""

import json
from typing import Any

from tests.node.api import Completed, Node

ACCOUNT = """
[account]
sudo = "nopasswd"
"""


def put(node: Node, *tables: str, release: str = "26.4") -> None:
    """Writes the answers: an account and the tables given."""
    head = f'version = 1\n[node]\nbackend_ai = "{release}"\n'
    node.write("/root/answers.toml", head + ACCOUNT + "\n".join(tables), 0o600)


def apply(node: Node, *flags: str, timeout: float = 600) -> Completed:
    """A headless run of the answers."""
    return node.wizard("--headless", "/root/answers.toml", *flags, timeout=timeout)


def planned(node: Node) -> Completed:
    """The plan; 7 where something would change."""
    return node.wizard("--headless", "/root/answers.toml", "--plan", "--detailed-exitcode")


def done(completed: Completed, code: int = 0) -> str:
    """Everything that was said, after the exit code was the expected one; never a traceback."""
    said = completed.out + completed.err
    assert completed.rc == code, said[-4000:]
    assert "Traceback" not in said, said[-4000:]
    return said


def daemon_json(node: Node) -> Any:
    """What daemon.json holds."""
    return json.loads(node.read("/etc/docker/daemon.json"))


def gateway(node: Node) -> str:
    """This machine as the node sees it."""
    return node.run(["sh", "-c", "ip route show default | cut -d' ' -f3"], check=True).out.strip()


# A container that needs nothing from a registry: a busy program of the node's own, with its libraries.
RUN_A_CONTAINER = """set -e
mkdir -p /tmp/tree
for file in /usr/bin/sleep $(ldd /usr/bin/sleep | grep -o '/[^ ]*'); do
    mkdir -p "/tmp/tree$(dirname "$file")"; cp "$file" "/tmp/tree$file"
done
tar -C /tmp/tree -c . | docker import - sleeper >/dev/null
docker run --detach --name sleeper sleeper /usr/bin/sleep 3600
"""


def run_a_container(node: Node) -> None:
    """A container called sleeper, of an image called sleeper."""
    node.run(["sh", "-c", RUN_A_CONTAINER], check=True, timeout=120)


def is_running(node: Node, container: str = "sleeper") -> bool:
    """Whether a container runs."""
    shown = node.run(["docker", "inspect", "--format", "{{.State.Running}}", container])
    return shown.out.strip() == "true"
