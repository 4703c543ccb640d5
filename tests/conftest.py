"""Options, requirements and the seed of a test run."""

import os
import secrets
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.needs import MAY_BE_SKIPPED, OBSTACLES
from tests.sampling import is_soak

if TYPE_CHECKING:
    from tests.node.docker import Docker

# The duration of an example depends on the machine and its load. The profile that Hypothesis loads in CI would draw
# the same examples in each run, whatever the seed.
settings.register_profile(
    "any machine",
    derandomize=False,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("any machine")

# What a caller sets for its own terminal; programs would draw for that one instead of for the terminal of a test.
OF_A_TERMINAL = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "COLORTERM")

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


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Set seed and soak before any test module is imported; worker processes inherit both, and the environment."""
    for name in OF_A_TERMINAL:
        os.environ.pop(name, None)
    os.umask(0o022)
    given = config.getoption("--seed")
    seed = given if given is not None else int(os.environ.get("BAI_WIZARD_SEED") or secrets.randbelow(10**6))
    os.environ["BAI_WIZARD_SEED"] = str(seed)
    if config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = seed
    if config.getoption("--soak"):
        os.environ["BAI_WIZARD_SOAK"] = "1"


@pytest.fixture(autouse=True)
def own_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets of one test are neither redacted nor looked up in the next one of the same process."""
    monkeypatch.setattr("bai_wizard.core.secret._registered", set())
    monkeypatch.setattr("bai_wizard.core.secret._resolver", None)


@pytest.fixture(autouse=True)
def own_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore PATH, which the command line sets for its process."""
    monkeypatch.setenv("PATH", os.environ.get("PATH", os.defpath))


@pytest.fixture(autouse=True, scope="session")
def own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Store drafts of wizards that tests start in a directory of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


def pytest_report_header() -> str:
    size = "full matrices" if os.environ.get("BAI_WIZARD_SOAK") == "1" else "sampled matrices"
    return f"bai-wizard: seed {os.environ['BAI_WIZARD_SEED']} (repeat with --seed), {size}"


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark tests that use a container node or a virtual machine."""
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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With --all, a test that is skipped for something that could be installed fails."""
    report = yield
    if report.skipped and isinstance(report.longrepr, tuple) and item.config.getoption("--all"):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if not MAY_BE_SKIPPED.match(reason):
            report.outcome = "failed"
            report.longrepr = f"--all, but this test was skipped: {reason}"
    return report


@pytest.fixture(scope="session")
def docker_engine() -> "Iterator[Docker]":
    """A separate Docker Engine for the tests, stopped after them."""
    from tests.node.engine import running_engine

    with running_engine() as docker:
        yield docker
