"""All eight pages on fresh nodes: applied, idempotent, undone to the byte, also after edits by others."""

from __future__ import annotations

import json
from itertools import product

import pytest

from tests.node import pbs_mirror
from tests.node.conftest import NodeFactory
from tests.node.container import ContainerNode
from tests.node.docker_answers import done
from tests.node.eight_pages import HEADLESS, PLAN, NodeState, assert_restored, converged, prepared, runs_of, state_of
from tests.node.later_edits import Edited, edit, same, written
from tests.sampling import is_soak

pytestmark = [
    pytest.mark.skipif(pbs_mirror.obstacle() is not None, reason=str(pbs_mirror.obstacle())),
    # Minutes of work; many more where the machine has other work.
    pytest.mark.timeout(1800),
]

# What others have in the files that we edit, before we come.
OTHERS = {
    "/etc/docker/daemon.json": json.dumps({"labels": ["rack=7"], "insecure-registries": ["old.example:5000"]}),
    "/etc/environment": "EDITOR=vi\nPAGER=less\n",
    "/etc/pip.conf": "[install]\nno-warn-script-location = true\n[global]\ntimeout = 60\n",
    "/etc/fstab": "# site\ntmpfs /mnt/scratch tmpfs noauto 0 0\n",
    "/etc/sysctl.d/99-backendai.conf": "# site\nnet.ipv4.tcp_keepalive_time = 600\n",
    "/etc/security/limits.d/99-backendai.conf": "# site\noper soft core 0\n",
    "/home/bai/.ssh/authorized_keys": "# keys of operations\n"
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6eH3Hh4mQw0JX2bG5o0h3u7Yk1Zk3bq9o6m1mYyqSh site@example\n",
}
# The files that a run writes on a fresh node, at least.
TOUCHED = {
    "/etc/hosts", "/etc/fstab", "/etc/environment", "/etc/pip.conf", "/etc/docker/daemon.json",
    "/etc/apt/preferences.d/bai-docker", "/etc/sudoers.d/90-bai-wizard-bai", "/etc/sysctl.d/99-backendai.conf",
    "/etc/security/limits.d/99-backendai.conf", "/etc/systemd/system/ssh.service.d/50-bai-wizard-limits.conf",
}  # fmt: skip


def lived_in(node: ContainerNode) -> None:
    """The account, and others' settings in the files that the pages edit."""
    node.run(["useradd", "--create-home", "--shell", "/bin/bash", "--uid", "1100", "bai"], check=True)
    for path, content in OTHERS.items():
        node.write(path, content, owner="bai:bai" if path.startswith("/home") else "root:root")
    node.run(["chown", "bai:bai", "/home/bai/.ssh"], check=True)
    node.run(["sh", "-c", "echo 10.9.9.9 storage.example storage >>/etc/hosts"], check=True)


def apply(node: ContainerNode) -> str:
    """Applies the answers; the run's id. Nothing is left to do."""
    done(node.wizard(*HEADLESS, timeout=600))
    converged(node)
    return str(runs_of(node)[-1]["run"])


def remove_edits(node: ContainerNode, before: NodeState, edited: list[Edited]) -> None:
    """Removes the edits, and the directories that were kept for the edited files alone."""
    for one in edited:
        if one.found is None:
            node.run(["rm", one.path], check=True)
            directory = one.path.rpartition("/")[0]
            if directory not in before.files:
                node.run(["rmdir", "--ignore-fail-on-non-empty", directory], check=True)
        else:
            node.run(["sh", "-c", 'cat >"$1"', "sh", one.path], input=one.found, check=True)
    node.run(["systemctl", "daemon-reload"], check=True)


# Suite, whether others lived on the node before, and how the undo among their edits is called.
EVERY = list(product(("trixie", "bookworm"), (False, True), ((), ("--force",))))
CASES = EVERY if is_soak() else [("trixie", False, ()), ("bookworm", True, ("--force",))]


@pytest.mark.parametrize(("suite", "others", "force"), CASES, ids=str)
def test_applied_undone_applied_again_and_undone_among_edits(
    node_factory: NodeFactory, suite: str, others: bool, force: tuple[str, ...]
) -> None:
    node = node_factory(f"{suite}-downloaded")
    with prepared(node):
        before = state_of(node)
        assert node.wizard(*PLAN).rc == 7
        apply(node)
        done(node.wizard("undo", timeout=600))
        assert_restored(before, node)

        if others:
            lived_in(node)
        before = state_of(node)
        run = apply(node)
        files = written(node, run)
        assert set(files) >= TOUCHED
        assert not others or {path for path, result in files.items() if result is not None} >= set(OTHERS)
        edited = [edit(node, path, result) for path, result in files.items()]
        shown = done(node.wizard("undo", "--plan", *force))
        undone = done(node.wizard("undo", *force, timeout=600))
        wrong = [
            f"{one.path}: {node.read(one.path)!r}, not {one.expected!r}"
            for one in edited
            if not node.exists(one.path) or not same(one.path, node.read(one.path), one.expected)
        ]
        assert not wrong, "\n".join([*wrong, shown[-2000:], undone[-2000:]])
        remove_edits(node, before, edited)
        assert_restored(before, node)
