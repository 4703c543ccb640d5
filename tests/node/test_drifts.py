"""Every drift of a node with all eight pages is detected by the plan and the doctor, or proven harmless."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.node import pbs_mirror
from tests.node.conftest import NodeFactory
from tests.node.container import ContainerNode
from tests.node.docker_answers import gateway
from tests.node.doctor_output import findings_of
from tests.node.drifts import FURTHER, KEEP, LISTED, Drift
from tests.node.pythons import CATALOGUE, MIRROR, newest
from tests.node.reference_answers import ANSWERS, prepare
from tests.node.registry import make_image, running_registry
from tests.sampling import sampled

pytestmark = [
    pytest.mark.skipif(pbs_mirror.obstacle() is not None, reason=str(pbs_mirror.obstacle())),
    # Minutes of work; many more where the machine has other work.
    pytest.mark.timeout(1800),
]

HEADLESS = ("--headless", "/root/answers.toml")
PLAN = (*HEADLESS, "--plan", "--detailed-exitcode")
DOCTOR = ("--answers", "/root/answers.toml")
BIND = '{ name = "local", type = "local" }, { name = "bound", type = "bind", source = "/srv/export" }'
FURTHER_TABLES = """
[network]
ca_certificates = ["/srv/corp-ca.crt"]
[docker]
source = "distro"
insecure_registries = ["@REGISTRY@"]
[python]
version = "@VERSION@"
mirror = "file://@MIRROR@"
venvs = [ { service = "manager" }, { service = "agent", packages = ["tomlkit"] } ]
[accelerators]
[images]
starter = "none"
pull = ["@REGISTRY@/stable/python:3.13", "@REGISTRY@/stable/second:2"]
"""
MAKE_CA = "openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=ca -keyout /dev/null -out /srv/corp-ca.crt"
# So many in an ordinary run: each costs two plans and an examination.
ORDINARY = 3
# So many on one node in a soak run, which has time limits per test.
BATCH = 13


class Prepared:
    """A node with all eight pages applied, and what stands for the placeholders of the table."""

    def __init__(self, node: ContainerNode, registry: str) -> None:
        build = newest()
        self.node = node
        self._values = {
            "@REGISTRY@": registry,
            "@VERSION@": build.version,
            "@MINOR@": build.version.rpartition(".")[0],
            "@MIRROR@": MIRROR,
        }
        node.own_hosts_file()
        node.write(f"{MIRROR}/{pbs_mirror.DATE}/{build.file.name}", build.file.read_bytes())
        node.write(CATALOGUE, pbs_mirror.catalogue(build))
        self.run(f"{MAKE_CA}; mkdir -p /srv/export; chown 1100:1100 /srv/export")
        answers = ANSWERS.replace('{ name = "local", type = "local" }', BIND) + self.filled(FURTHER_TABLES)
        prepare(node, answers)
        done = node.wizard(*HEADLESS, timeout=600)
        assert done.rc == 0, (done.out + done.err)[-4000:]
        drift = node.wizard("drift")
        assert drift.rc == 0, drift.out + drift.err
        self.run(KEEP)
        self.usual = set(findings_of(node, *DOCTOR))

    def filled(self, text: str) -> str:
        for name, value in self._values.items():
            text = text.replace(name, value)
        return text

    def run(self, script: str) -> int:
        return self.node.run(["sh", "-c", self.filled(script)], timeout=120).rc

    def complaint(self, drift: Drift) -> str:
        """What is not as it has to be after one drift; empty for nothing. Heals it."""
        self.run(drift.plant)
        plan = self.node.wizard(*PLAN)
        new = [id for id in findings_of(self.node, *DOCTOR) if id not in self.usual]
        message = ""
        if drift.cache:
            message = "" if self.run(drift.cache) == 0 else "the proof that it is harmless fails"
        elif plan.rc not in (3, 6, 7):
            message = f"the plan ends with {plan.rc}"
        elif not new:
            message = f"the doctor finds nothing: {self.node.wizard('doctor', *DOCTOR).out[-3000:]}"
        self.run(drift.heal)
        healed = self.node.wizard(*PLAN)
        if healed.rc != 0:
            message += f"; not healed: {healed.rc}: {(healed.out + healed.err)[-1500:]}"
        return f"{drift.id}: {message}" if message else ""


@pytest.fixture
def prepared(node_factory: NodeFactory, tmp_path: Path) -> Iterator[Prepared]:
    node = node_factory("trixie-docker")
    with running_registry(tmp_path, gateway(node)) as registry:
        registry.push("stable/python", "3.13", make_image([200_000, 100_000], seed=1))
        registry.push("stable/second", "2", make_image([150_000], seed=2))
        yield Prepared(node, registry.host)


# What a run repairs by itself, without anything to bring back by hand: what the account then gets.
REPAIRED = {
    "py-gone": "python -c 'import pip'",
    "py-noexec": "python -c 'import pip'",
    "py-stdlib": "python -c 'import encodings'",
    "py-root": "python -c 'import pip'",
    "venv-other-python": "python -c 'import pip'",
    "venv-cfg-home": "python -c 'import pip'",
    "venv-pip-code-gone": "pip --version",
    "venv-root": "pip install --quiet --no-index --upgrade pip",
}


DRIFTS = sampled("drifts", (*LISTED, *FURTHER), ORDINARY)
BATCHES = range(0, len(DRIFTS), BATCH)


@pytest.mark.parametrize("first", BATCHES)
def test_plan_and_doctor_detect_each_drift_and_a_run_repairs_it(prepared: Prepared, first: int) -> None:
    drifts = DRIFTS[first : first + BATCH]
    assert [message for drift in drifts if (message := prepared.complaint(drift))] == []
    repair(prepared, sampled("repairs", sorted(REPAIRED), 1)[first // BATCH :: len(BATCHES)])


def repair(prepared: Prepared, ids: Sequence[str]) -> None:
    """Plants these drifts on the same node and has a run repair each."""
    table = {drift.id: drift for drift in LISTED}
    for id in ids:
        prepared.run(table[id].plant)
        done = prepared.node.wizard(*HEADLESS, "--yes-interrupt=docker.restart", timeout=600)
        assert done.rc == 0, f"{id}: {(done.out + done.err)[-3000:]}"
        assert prepared.node.wizard(*PLAN).rc == 0, id
        command = f"runuser -u bai -- /home/bai/manager/.venv/bin/{REPAIRED[id]}"
        assert prepared.run(command) == 0, id
        assert prepared.node.run(["find", "/home/bai", "-user", "root"]).out == "", id


def test_the_tables_name_each_drift_once() -> None:
    ids = [drift.id for drift in (*LISTED, *FURTHER)]
    assert len(ids) == len(set(ids))
    assert set(REPAIRED) <= set(ids)
    assert {drift.id for drift in LISTED if drift.cache} == {
        "limits-later-star", "limits-later-grp", "sysctl-later-glob", "sysctl.conf",
    }  # fmt: skip
