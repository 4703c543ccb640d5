"""Fixtures: a fleet of container nodes, and the control machine's Ansible."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integrations.ansible import Fleet, ansible
from tests.node.conftest import node_factory, node_images
from tests.node.container import ContainerNode
from tests.node.docker import Docker
from tests.node.images import with_packages
from tests.node.suites import SUITES

__all__ = ["node_factory", "node_images"]


@pytest.fixture
def fleet_of(
    docker_engine: Docker, node_images: Callable[[str], str], tmp_path: Path
) -> Iterator[Callable[..., Fleet]]:
    """Start that many nodes. `version`: Ansible's release, by default the newest. `bare`: without the wizard."""
    nodes: list[ContainerNode] = []

    def start(number: int, version: str = "", *, bare: bool = False) -> Fleet:
        image = with_packages(docker_engine, SUITES["trixie"], "") if bare else node_images("trixie")
        for _ in range(number):
            nodes.append(ContainerNode(docker_engine, image))
        return Fleet(tmp_path, nodes, ansible(version))

    yield start
    for node in nodes:
        node.close()
