"""Options, needs and the seed of a test run."""

import os
import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.needs import OBSTACLES
from tests.sampling import is_soak

if TYPE_CHECKING:
    from tests.node.docker import Docker

# How long an example takes says something of the machine and its other work, nothing of the product.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

NEED_OF_FIXTURE = {
    "docker_engine": "needs_node",
    "node": "needs_node",
    "node_factory": "needs_node",
    "vm": "needs_vm",
    "vm_factory": "needs_vm",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("bai-wizard")
    group.addoption("--all", action="store_true", help="a test that cannot run here fails instead of being skipped")
    group.addoption("--soak", action="store_true", help="full matrices instead of samples")
    group.addoption("--seed", type=int, default=None, help="draws the samples (default: random, printed)")


def pytest_configure(config: pytest.Config) -> None:
    """Settle seed and soak before any test module is imported; worker processes inherit both."""
    given = config.getoption("--seed")
    seed = given if given is not None else int(os.environ.get("BAI_WIZARD_SEED") or secrets.randbelow(10**6))
    os.environ["BAI_WIZARD_SEED"] = str(seed)
    if config.getoption("--soak"):
        os.environ["BAI_WIZARD_SOAK"] = "1"


@pytest.fixture(autouse=True)
def own_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets of one test are not redacted in the next one of the same process."""
    monkeypatch.setattr("bai_wizard.core.secret._registered", set())


def pytest_report_header() -> str:
    size = "full matrices" if os.environ.get("BAI_WIZARD_SOAK") == "1" else "sampled matrices"
    return f"bai-wizard: seed {os.environ['BAI_WIZARD_SEED']} (repeat with --seed), {size}"


def pytest_itemcollected(item: pytest.Item) -> None:
    """A test that uses a node or a machine is marked so."""
    for need in {NEED_OF_FIXTURE[name] for name in getattr(item, "fixturenames", ()) if name in NEED_OF_FIXTURE}:
        item.add_marker(need)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Pytest 9 hides the groups of ``--dist loadgroup`` from xdist, hence a scheduler of our own."""
    from tests.parallel import Queues

    return Queues(config, log)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("soak") and not is_soak():
        pytest.skip("by ./test --soak")
    for need, obstacle in OBSTACLES.items():
        if item.get_closest_marker(need) and (reason := obstacle()):
            if item.config.getoption("--all") and need != "needs_gpu":
                pytest.fail(f"--all, but this test cannot run here: {reason}", pytrace=False)
            pytest.skip(f"{need}: {reason}")


@pytest.fixture(scope="session")
def docker_engine() -> "Iterator[Docker]":
    """A Docker Engine: the machine's own if one answers, else one started for the tests and stopped after them."""
    from tests.node.engine import running_engine

    with running_engine() as docker:
        yield docker
