"""What a converged plan and the doctor start on a real node. Counts are the same under any load, times are not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.node.container import ContainerNode
from tests.node.docker import Docker
from tests.node.reference_answers import ANSWERS, prepare

COUNTS = Path(__file__).parents[1] / "counts.py"


@pytest.fixture(scope="module")
def converged(docker_engine: Docker, node_images: Callable[[str], str]) -> Iterator[ContainerNode]:
    """A node of the four reference pages, to which a second run has nothing to do; the tests only read it."""
    node = ContainerNode(docker_engine, node_images("trixie"))
    prepare(node)
    node.own_hosts_file()
    node.write("/root/counts.py", COUNTS.read_bytes())
    assert node.wizard("--headless", "/root/answers.toml").rc == 0
    yield node
    node.close()


def counts(node: ContainerNode, *words: str, input: str = "") -> dict[str, Any]:
    done = node.run(["python3", "-I", "/root/counts.py", *words], input=input, timeout=120)
    result: dict[str, Any] = json.loads(done.err.strip().splitlines()[-1])
    result["out"] = done.out
    return result


WAYS = {
    "from a file": ["--headless", "/root/answers.toml"],
    "from stdin": ["--headless", "-"],
    "plan": ["--headless", "/root/answers.toml", "--plan"],
    "json": ["--headless", "/root/answers.toml", "--json"],
}


@pytest.mark.parametrize("way", WAYS)
def test_a_converged_run_starts_few_processes_and_reads_once(converged: ContainerNode, way: str) -> None:
    result = counts(converged, *WAYS[way], input=ANSWERS if way == "from stdin" else "")
    assert result["code"] == 0, result["out"]
    assert result["forks"] <= 1, "one process for the account"
    assert result["programs"] <= 8, result["started"]
    assert len(set(result["started"])) == len(result["started"]), "each program once"
    assert result["repeated reads"] == 0
    own = [name for name in result["modules"] if name.partition(".")[0] == "bai_wizard"]
    assert len(own) <= 133, own
    unused = {"urllib3", "ssl", "docker", "pynvml", "cpuinfo", "textual", "rich", "html", "bai_wizard.steps.docker"}
    assert not unused & set(result["modules"])


def test_the_report_of_a_converged_run_reads_nothing_again(converged: ContainerNode) -> None:
    result = counts(converged, *WAYS["from a file"], "--report", "/root/report.json")
    assert result["code"] == 0, result["out"]
    assert result["forks"] <= 8
    assert result["programs"] <= 10, result["started"]
    assert result["repeated reads"] == 0


def test_the_doctor_starts_few_processes(converged: ContainerNode) -> None:
    result = counts(converged, "doctor", "--json")
    assert result["code"] in (0, 6), result["out"]
    assert result["forks"] <= 22, "17 groups of checks, and what a slow one held up"
    assert result["children's forks"] <= 8
    assert result["children's programs"] <= 40, result["started"]
