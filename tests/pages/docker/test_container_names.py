"""Whether containers resolve names, asked from a container; and clients that talk to another engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.machine import Completed
from bai_wizard.core.page import Finding
from bai_wizard.doctor.run import run_check
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.pages.docker import check_names, probe
from tests.pages.docker.nodes import CONTEXT, file, node

SOURCES = {"file:/etc/apt/sources.list": file("deb http://archive.test/ubuntu noble main\n")}
NODES_OWN: dict[tuple[str, ...], Completed] = {
    ("getent", "ahosts", "archive.test"): Completed(0, "10.0.0.7 STREAM archive.test\n", "")
}
BACKEND_AI = {"Id": "sha256:b", "Size": 9000, "Labels": {"ai.backend.kernelspec": "1"}, "RepoTags": ["cr.test/py:3"]}
OTHERS = [{"Id": f"sha256:{size}", "Size": size, "Labels": None, "RepoTags": None} for size in (5, 3, 4, 1)]
FOUND = Completed(0, "10.0.0.7 STREAM archive.test\n", "")
NO_GETENT = Completed(127, "", 'exec: "getent": executable file not found in $PATH')


class Asked(SimulatedMachine):
    """A node that records what is started, and answers for each image."""

    answers: Mapping[str, Completed | StateUnknown]
    started: list[Sequence[str]]

    def query(self, argv: Sequence[str], *, deadline: float = 5.0) -> Completed:
        if argv[0] != "docker":
            return super().query(argv, deadline=deadline)
        self.started.append(argv)
        if argv[1] == "rm":
            return Completed(0, "", "")
        answer = self.answers[argv[-3]]
        if isinstance(answer, StateUnknown):
            raise answer
        return answer


def asked(
    images: list[dict[str, Any]], answers: Mapping[str, Completed | StateUnknown], **about: Any
) -> tuple[Finding, list[Sequence[str]]]:
    states = {**SOURCES, **about.pop("states", {})}
    plain = node(states, engine={"/images/json": images}, looks={**NODES_OWN, **about.pop("looks", {})})
    machine = Asked(plain.snapshot(), plain.environment)
    machine.answers, machine.started = answers, []
    (finding,) = run_check(check_names.in_container, machine, CONTEXT)
    return finding, machine.started


def test_nothing_is_started_without_an_image() -> None:
    finding, started = asked([], {})
    assert (finding.result, started) == ("cannot-tell", [])
    assert "no images" in finding.cause


def test_one_container_of_a_backend_ai_image_is_asked() -> None:
    finding, started = asked([*OTHERS, BACKEND_AI], {"sha256:b": FOUND})
    assert finding.result == "ok"
    assert [argv[-3:] for argv in started] == [("sha256:b", "ahosts", "archive.test.")]
    assert {"--rm", "--pull=never", "--read-only", "--entrypoint=getent"} <= set(started[0])


def test_images_without_the_program_are_passed_over() -> None:
    finding, started = asked(OTHERS, {"sha256:1": NO_GETENT, "sha256:3": NO_GETENT, "sha256:4": FOUND})
    assert finding.result == "ok"
    assert [argv[-3] for argv in started] == ["sha256:1", "sha256:3", "sha256:4"]
    finding, started = asked(OTHERS, dict.fromkeys(("sha256:1", "sha256:3", "sha256:4"), NO_GETENT))
    assert (finding.result, len(started)) == ("cannot-tell", 3)
    assert "getent" in finding.cause


def test_no_address_is_a_problem() -> None:
    finding, _ = asked([BACKEND_AI], {"sha256:b": Completed(2, "", "")})
    assert finding.result == "problem"
    assert "archive.test" in finding.cause
    assert "cr.test/py:3" in finding.cause


def test_an_engine_that_starts_no_container_is_not_a_problem_of_names() -> None:
    finding, _ = asked([BACKEND_AI], {"sha256:b": Completed(125, "", "docker: no space left on device.\n")})
    assert finding.result == "cannot-tell"
    assert "no space left" in finding.cause


def test_a_container_that_does_not_answer_is_removed() -> None:
    finding, started = asked([BACKEND_AI], {"sha256:b": StateUnknown("docker did not respond within 15 s")})
    assert finding.result == "cannot-tell"
    name = next(word.removeprefix("--name=") for word in started[0] if word.startswith("--name="))
    assert started[1:] == [("docker", "rm", "--force", name)]


@pytest.mark.parametrize(
    "about",
    [
        {"looks": {("getent", "ahosts", "archive.test"): Completed(2, "", "")}},
        {"states": {"file:/etc/hosts": file("10.0.0.7 archive.test\n")}},
    ],
    ids=["the node does not resolve it either", "the node has it in /etc/hosts"],
)
def test_only_names_of_the_nodes_name_servers_are_asked_for(about: dict[str, Any]) -> None:
    finding, started = asked([BACKEND_AI], {}, **about)
    assert (finding.result, started) == ("not-applicable", [])


@pytest.mark.parametrize(
    ("path", "text", "found"),
    [
        ("/etc/environment", 'DOCKER_HOST="tcp://10.0.0.9:2375"\n', "tcp://10.0.0.9:2375"),
        ("/etc/environment", "# DOCKER_HOST=tcp://10.0.0.9\n", ""),
        ("/etc/environment", "DOCKER_HOST=unix:///var/run/docker.sock\n", ""),
        ("/etc/environment", "DOCKER_HOST=tcp://a:1\nDOCKER_HOST=unix:///run/docker.sock\n", ""),
        ("/etc/profile.d/docker.sh", "export DOCKER_HOST=ssh://build@ci\n", "ssh://build@ci"),
        ("/etc/profile.d/docker.csh", "setenv DOCKER_HOST=ssh://build@ci\n", ""),
        ("/home/bai/.bashrc", "export DOCKER_CONTEXT=rootless # x\n", "rootless"),
        ("/home/bai/.docker/config.json", '{"currentContext": "rootless"}', "rootless"),
        ("/home/bai/.docker/config.json", '{"currentContext": "default", "auths": {}}', ""),
        ("/home/bai/.docker/config.json", "{", ""),
    ],
)
def test_clients_of_another_engine(path: str, text: str, found: str) -> None:
    (finding,) = run_check(check_names.this_engine, node({f"file:{path}": file(text)}), CONTEXT)
    assert finding.result == ("warning" if found else "ok")
    assert [(each.where, each.found) for each in finding.evidence] == ([(path, found)] if found else [])


@pytest.mark.parametrize(
    ("driver", "tag", "digests", "is_local"),
    [
        ("overlay2", "lablup/python:3", [], True),
        ("overlay2", "lablup/python:3", ["lablup/python@sha256:1"], False),
        ("overlay2", "registry.test:5000/py:3", None, True),
        ("overlay2", "cr.backend.ai/stable/py:3", ["cr.backend.ai/stable/py@sha256:1"], False),
        ("overlayfs", "lablup/python:3", ["lablup/python@sha256:1"], True),
        ("overlayfs", "cr.backend.ai/stable/py:3", ["cr.backend.ai/stable/py@sha256:1"], False),
    ],
)
def test_images_that_no_registry_served(driver: str, tag: str, digests: list[str] | None, is_local: bool) -> None:
    image = {"RepoTags": [tag], "RepoDigests": digests, "Labels": {"ai.backend.kernelspec": "1"}}
    machine = node(info={"Driver": driver}, engine={"/images/json": [image, {"RepoTags": ["x:1"], "Labels": None}]})
    assert probe.local_images(machine) == ((tag,) if is_local else ())
