"""Install ansible-core from PyPI into the cache, and run playbooks with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cache import CHECKOUT, cache_directory, locked
from tests.node import pbs_mirror
from tests.node.container import ContainerNode

COLLECTIONS = CHECKOUT / "integrations/ansible"
# Since this release, ansible-core needs Python 3.12.
NEEDS_NEWER_PYTHON = (2, 20)
OPTIONS = (
    "-o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no -o LogLevel=ERROR -o ConnectTimeout=20 "
    "-o ControlMaster=auto -o ControlPersist=60"
)


def ansible(version: str = "") -> Path:
    """Return the directory with ansible-playbook of that release (`2.17`), or of the newest. Kept between runs."""
    python = _interpreter(version)
    directory = cache_directory() / f"ansible-{version or 'newest'}-{python.name}"
    with locked(directory.name):
        if not (directory / "bin/ansible-playbook").exists():
            subprocess.run([str(python), "-m", "venv", "--clear", str(directory)], check=True)
            wanted = f"ansible-core=={version}.*" if version else "ansible-core"
            pip = [str(directory / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", wanted]
            subprocess.run(pip, check=True, stdin=subprocess.DEVNULL)
    return directory / "bin"


def _interpreter(version: str) -> Path:
    """One that this release runs with: the tests' own for older ones, for newer ones the newest of this machine."""
    own = Path(sys.executable).resolve()
    if version and tuple(map(int, version.split("."))) < NEEDS_NEWER_PYTHON:
        return own
    newest = next(reversed(pbs_mirror.prefixes()), own.parent.parent)
    minor = ".".join(pbs_mirror.version_of(newest).split(".")[:2])
    return newest / "bin" / f"python{minor}"


@dataclass(frozen=True)
class Played:
    """Result of a play: exit status, output, counts by host, and the results of each host in order."""

    rc: int
    text: str
    stats: dict[str, dict[str, int]]
    results: dict[str, list[dict[str, Any]]]

    def changed(self) -> dict[str, int]:
        """Number of tasks that changed something, by host."""
        return {host: counts["changed"] for host, counts in self.stats.items()}


class Fleet:
    """Nodes with a common ssh key, and the control machine's inventory, key and playbooks."""

    def __init__(self, directory: Path, nodes: list[ContainerNode], binaries: Path) -> None:
        self.directory = directory
        self.nodes = nodes
        self._binaries = binaries
        key = directory / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        public = Path(f"{key}.pub").read_text()
        lines = []
        for node in nodes:
            node.write("/root/.ssh/authorized_keys", public, 0o600)
            lines.append(f"{node.hostname} ansible_host={node.ssh_address()[0]}")
        common = f"ansible_user=root\nansible_ssh_private_key_file={key}\nansible_python_interpreter=/usr/bin/python3"
        (directory / "hosts").write_text("\n".join([*lines, "", "[all:vars]", common, ""]))

    def play(self, playbook: str, *words: str, timeout: float = 400) -> Played:
        """Run a playbook: a name of the collection, or YAML that is written to a file first."""
        if "\n" in playbook:
            (self.directory / "play.yml").write_text(playbook)
            playbook = str(self.directory / "play.yml")
        environment = {
            **os.environ,
            "PATH": f"{self._binaries}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.directory),
            "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
            "ANSIBLE_SSH_ARGS": OPTIONS,
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.directory / "cp"),
            "ANSIBLE_PIPELINING": "true",
            "ANSIBLE_RETRY_FILES_ENABLED": "false",
            "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).parent / "callbacks"),
            "ANSIBLE_STDOUT_CALLBACK": "as_json",
            "ANSIBLE_NOCOLOR": "1",
            "LC_ALL": "C.UTF-8",
        }
        argv = ["ansible-playbook", "-i", str(self.directory / "hosts"), playbook, *words]
        done = subprocess.run(
            argv, env=environment, cwd=self.directory, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=timeout, check=False,
        )  # fmt: skip
        text = done.stdout + done.stderr
        results = [line for line in done.stdout.splitlines() if line.startswith('{"played"')]
        if not results:
            raise AssertionError(f"ansible-playbook ended with {done.returncode}\n{text}")
        result = json.loads(results[-1])["played"]
        return Played(done.returncode, text, result["stats"], result["results"])


def syntax(binaries: Path, playbook: Path) -> subprocess.CompletedProcess[str]:
    """Run Ansible's syntax check on a playbook and its roles."""
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "LC_ALL": "C.UTF-8"}
    argv = [str(binaries / "ansible-playbook"), "--syntax-check", "-i", "localhost,", str(playbook)]
    return subprocess.run(
        [*argv, "-e", "bai_wizard_answers_file=/dev/null"],
        env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
