"""Fixtures: a fresh container node per test."""

from collections.abc import Callable, Iterator
from typing import Protocol

import pytest

from tests.node.container import ContainerNode
from tests.node.docker import Docker
from tests.node.images import node_image


class NodeFactory(Protocol):
    """Start a node that is removed after the test.

    ``suite``: a name that `node_image` knows; ``network``: bridge or none;
    ``tmpfs``: path → mount options; ``volumes``: path → host path or volume name;
    ``devices``: devices of the host that the node can use.
    """

    def __call__(
        self,
        suite: str = "trixie",
        network: str = "bridge",
        tmpfs: dict[str, str] | None = None,
        volumes: dict[str, str] | None = None,
        devices: tuple[str, ...] = (),
    ) -> ContainerNode: ...


@pytest.fixture(scope="session")
def node_images(docker_engine: Docker) -> Callable[[str], str]:
    """Image tag by suite name; each image is built at most once per session and kept for the next."""
    made: dict[str, str] = {}

    def image(suite: str) -> str:
        if suite not in made:
            made[suite] = node_image(docker_engine, suite)
        return made[suite]

    return image


@pytest.fixture
def node_factory(docker_engine: Docker, node_images: Callable[[str], str]) -> Iterator[NodeFactory]:
    """Start as many nodes as the test needs."""
    nodes: list[ContainerNode] = []

    def start(
        suite: str = "trixie",
        network: str = "bridge",
        tmpfs: dict[str, str] | None = None,
        volumes: dict[str, str] | None = None,
        devices: tuple[str, ...] = (),
    ) -> ContainerNode:
        node = ContainerNode(
            docker_engine, node_images(suite), network=network, tmpfs=tmpfs, volumes=volumes, devices=devices
        )
        nodes.append(node)
        return node

    yield start
    for node in nodes:
        node.close()


@pytest.fixture(scope="module", params=["trixie", "bookworm"])
def shared(
    request: pytest.FixtureRequest, docker_engine: Docker, node_images: Callable[[str], str]
) -> Iterator[ContainerNode]:
    """One node for all comparisons of a module: each of them replaces the files that it is about."""
    node = ContainerNode(docker_engine, node_images(request.param))
    yield node
    node.close()


@pytest.fixture
def node(node_factory: NodeFactory) -> ContainerNode:
    """A fresh Debian 13 node with a network and the wizard."""
    return node_factory()
