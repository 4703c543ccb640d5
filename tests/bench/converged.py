"""Compare the wizard with bash, a floor of the standard library, pyinfra, ansible-core and testinfra on one node.

python -m tests.bench.converged [ROUNDS] [--peers]     prints a Markdown table; needs what the node tests need, and
                                                       with --peers a package index for pip. `make bench` has both.
"""

from __future__ import annotations

import io
import json
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

from tests.node.api import Node
from tests.node.container import ContainerNode
from tests.node.engine import running_engine
from tests.node.host import pip_install
from tests.node.images import node_image
from tests.node.reference_answers import ANSWERS, prepare

HERE = Path(__file__).parent
PEERS = "/opt/peers"
REQUIREMENTS = ["ansible-core", "pyinfra", "pytest-testinfra"]
HASHED = ANSWERS.replace('password = { file = "/root/bai.password" }', 'password_hash = "HASH"')
COMMANDS = {
    "python3 -I -c pass": ["python3", "-I", "-c", "pass"],
    "floor.py: the same reads, standard library": ["python3", "-I", "/root/floor.py"],
    "job.sh: the same reads, bash": ["bash", "/root/job.sh"],
    "import msgspec (one class)": [
        "python3", "-I", "-c", "import msgspec; type('M', (msgspec.Struct,), {})"
    ],
    "bai-wizard --version": ["bai-wizard", "--version"],
    "bai-wizard check FILE": ["bai-wizard", "check", "/root/answers.toml"],
    "bai-wizard --headless FILE, converged": ["bai-wizard", "--headless", "/root/hashed.toml"],
    "the same, password in clear": ["bai-wizard", "--headless", "/root/answers.toml"],
    "the same, from stdin (with sh)": ["sh", "-c", "bai-wizard --headless - </root/hashed.toml"],
    "the same with --plan": ["bai-wizard", "--headless", "/root/hashed.toml", "--plan"],
    "the same with --json": ["bai-wizard", "--headless", "/root/hashed.toml", "--json"],
    "the same with --report FILE": ["bai-wizard", "--headless", "/root/hashed.toml", "--report", "/root/report.json"],
    "bai-wizard detect": ["bai-wizard", "detect"],
    "bai-wizard doctor --json": ["bai-wizard", "doctor", "--json"],
}  # fmt: skip
FLOOR = "floor.py: the same reads, standard library"
PYTHON = ["env", f"PYTHONPATH={PEERS}", "HOME=/root", "python3", "-m"]
PEER_COMMANDS = {
    "pyinfra -y, nothing to do": [*PYTHON, "pyinfra", "-y", "@local", "/root/peers/deploy.py"],
    "ansible-playbook, nothing to do": [*PYTHON, "ansible", "playbook", "-i", "localhost,", "/root/peers/site.yml"],
    "ansible -m setup": [*PYTHON, "ansible", "adhoc", "-i", "localhost,", "-c", "local", "-m", "setup", "all"],
    "testinfra, 36 tests": [*PYTHON, "pytest", "-q", "-p", "no:cacheprovider", "/root/peers/test_node.py"],
}
# Files left by the wizard → the names that the peers use.
FILES = {
    "/home/bai/.ssh/authorized_keys": "authorized_keys",
    "/etc/sysctl.d/99-backendai.conf": "sysctl",
    "/etc/security/limits.d/99-backendai.conf": "limits",
    "/vfroot/local/version.txt": "version",
}


def converge(node: ContainerNode) -> None:
    """Apply the four pages to a fresh node; return answers with the resulting password hash."""
    prepare(node)
    node.own_hosts_file()
    assert node.wizard("--headless", "/root/answers.toml").rc == 0
    shadow = node.run(["getent", "shadow", "bai"], check=True).out
    hashed = shadow.split(":")[1]
    node.write("/root/hashed.toml", HASHED.replace("HASH", hashed), 0o600)
    for name in ("answers.toml", "hashed.toml"):
        again = node.wizard("--headless", f"/root/{name}")
        assert (again.rc, "0 changed" in again.out + again.err) == (0, True), again.out + again.err
    for name in ("floor.py", "timing.py", "peers/job.sh"):
        node.write(f"/root/{Path(name).name}", (HERE / name).read_bytes())
    floor = node.run(["python3", "-I", "/root/floor.py"])
    assert floor.rc == 0, floor.out
    node.write("/root/peers/files/hash", hashed)


def install_peers(node: Node) -> None:
    """Install pyinfra and ansible-core for the node's Python with their recipes, and run each once to converge."""
    python = node.run(["python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], check=True).out.strip()
    target = Path(tempfile.mkdtemp()) / "peers"
    buffer = io.BytesIO()
    try:
        pip_install(python, target, REQUIREMENTS)
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            archive.add(target, arcname=".")
    finally:
        shutil.rmtree(target.parent)
    node.run(["mkdir", "-p", PEERS], check=True)
    node.run(["tar", "-xf", "-", "-C", PEERS], input=buffer.getvalue(), check=True, timeout=300)
    node.run(["python3", "-m", "compileall", "-q", PEERS], timeout=600)
    for name in ("site.yml", "deploy.py", "test_node.py"):
        node.write(f"/root/peers/{name}", (HERE / "peers" / name).read_bytes())
    for path, name in FILES.items():
        node.write(f"/root/peers/files/{name}", node.read(path))
    lines = [line for line in node.read("/etc/hosts").decode().splitlines() if line.startswith("10.20.30.")]
    node.write("/root/peers/files/hosts", "\n".join(lines) + "\n")
    for name, argv in PEER_COMMANDS.items():
        node.run(argv, timeout=300)
        again = node.run(argv, timeout=300)
        assert again.rc == 0, f"{name}: {again.out[-2000:]}{again.err[-2000:]}"
        print(f"<!-- {name}: {(again.out + again.err).strip().splitlines()[-1].strip()} -->")


def table(result: dict[str, dict[str, float]], floor: dict[str, float]) -> str:
    """The figures as Markdown."""
    rows = [
        "| command | CPU s | wall s | min..max | x floor, CPU | x floor, wall |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, seen in result.items():
        cells = (
            f"{seen['cpu']:.3f}", f"{seen['wall']:.3f}", f"{seen['min']:.3f}..{seen['max']:.3f}",
            f"{seen['cpu'] / floor['cpu']:.1f}", f"{seen['wall'] / floor['wall']:.1f}",
        )  # fmt: skip
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def measure(node: Node, commands: dict[str, list[str]], rounds: int) -> dict[str, dict[str, float]]:
    """Run all commands in turn, `rounds` times."""
    argv = ["python3", "/root/timing.py", json.dumps(commands), str(rounds)]
    result: dict[str, dict[str, float]] = json.loads(node.run(argv, check=True, timeout=900).out)
    return result


def main() -> None:
    """Measure and print."""
    words = sys.argv[1:]
    rounds = next((int(word) for word in words if word.isdigit()), 9)
    with running_engine() as docker:
        node = ContainerNode(docker, node_image(docker, "trixie"))
        try:
            converge(node)
            commands = dict(COMMANDS)
            if "--peers" in words:
                install_peers(node)
                commands |= PEER_COMMANDS
            result = measure(node, commands, rounds)
        finally:
            node.close()
    print(table(result, result[FLOOR]))


if __name__ == "__main__":
    main()
