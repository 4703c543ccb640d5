"""Each of the failures that matter most has a check, a node that has it, and one that only looks like it."""

from __future__ import annotations

import ast
from pathlib import Path

from bai_wizard.doctor.run import all_checks
from bai_wizard.doctor.symptoms import failures
from bai_wizard.pages import load
from tests.pages.accelerators import test_checks as accelerators
from tests.pages.account import test_checks as account
from tests.pages.docker import test_check_daemon as daemon
from tests.pages.docker.test_check_healthy import HEALTHY
from tests.pages.docker.test_check_planted import PLANTED
from tests.pages.node import test_checks as node
from tests.pages.node import test_neighbours as neighbours
from tests.pages.storage import test_checks as storage
from tests.pages.tuning import test_drift as tuning

# The failures of the list stand in the order of what matters most.
FIRST = 60
# Failures that a check of another name decides.
OTHER_NAME = {"firewall-ports": "node.ports"}
# Tests that are no rows of a table: id → (file below tests/, the test that plants it, the one that stays silent, or
# nothing where the same test does both).
WRITTEN = {
    "hosts-loopback-alias": (
        "pages/aliases/test_checks.py",
        "test_a_remedy_heals_and_leaves_a_node_that_is_well",
        "",
    ),
    "hosts-duplicate": ("pages/aliases/test_checks.py", "test_a_remedy_heals_and_leaves_a_node_that_is_well", ""),
    "hosts-cloud-init": (
        "pages/aliases/test_checks.py",
        "test_cloud_init_is_healed_by_drop_in_and_template",
        "test_a_node_without_the_block_is_not_accused",
    ),
    "apt-proxy": ("pages/node/test_checks.py", "test_apts_proxy_is_what_apt_says", ""),
    "apt-needrestart-hang": (
        "pages/node/test_checks.py",
        "test_needrestart_is_no_fault_but_a_word_of_warning_by_hand",
        "",
    ),
    "limits-not-for-services": (
        "pages/tuning/test_check_limits.py",
        "test_a_dockerd_that_may_open_few_files_gets_a_drop_in",
        "test_a_container_cannot_have_more_than_its_host_gives_it",
    ),
    "sysctl-port-range-overlap": (
        "pages/tuning/test_check_limits.py",
        "test_ports_that_an_outgoing_connection_may_take",
        "",
    ),
    "sysctl-lowers-better-value": (
        "pages/tuning/test_check_limits.py",
        "test_a_line_that_is_worse_than_the_kernels_own",
        "",
    ),
    "nfs-hung": (
        "pages/storage/test_checks.py",
        "test_a_share_that_does_not_answer",
        "test_a_healthy_share_gives_no_finding",
    ),
    "pyenv-missing-libs": (
        "node/test_python_checks.py",
        "test_silent_on_a_healthy_node_and_loud_on_a_broken_one",
        "",
    ),
    "python-tls-ca": ("node/test_python_checks.py", "test_an_interpreter_that_trusts_nobody", ""),
    "pull-x509": (
        "pages/images/test_check_registries.py",
        "test_each_rung_is_told_by_its_own_check",
        "test_a_node_that_names_no_registry_is_not_accused",
    ),
    "registry-unreachable": (
        "pages/images/test_check_registries.py",
        "test_each_rung_is_told_by_its_own_check",
        "test_a_node_that_names_no_registry_is_not_accused",
    ),
}
TESTS = Path(__file__).parents[2]


def first() -> list[str]:
    """The ids of the checks that decide the failures that matter most."""
    return [OTHER_NAME.get(failure.id, failure.id) for failure in failures()[:FIRST]]


def rows() -> tuple[set[str], set[str]]:
    """(ids that a row of a table plants, ids that a row of a table keeps silent)."""
    planted = {look(machine, context).id for _, look, machine, context, _ in PLANTED}
    silent = {look(machine, context).id for _, look, machine, context in HEALTHY}
    for id, _, _ in daemon.CASES:
        planted.add(id)
        silent.add(id)
    planted |= {id for _, expected in node.CASES.values() for id in expected}
    silent |= {check.id for check in load("node").checks()}
    planted |= {id for _, _, expected in account.CASES.values() for id in expected}
    silent |= {check.id for check in load("account").checks()}
    planted |= set(neighbours.WRONG)
    silent |= set(neighbours.RIGHT)
    planted |= set(accelerators.FAILURES)
    silent |= {id for id, (_, quiet) in accelerators.FAILURES.items() if quiet}
    planted |= {id for id, *_ in storage.problems()}
    silent |= {id for id, *_ in storage.problems()}
    planted |= set(tuning.FOUND_BY_DOCTOR.values())
    silent |= {check.id for check in load("tuning").checks()}
    return planted, silent


def test_each_has_a_check() -> None:
    assert [id for id in first() if id not in {check.id for check in all_checks()}] == []


def test_each_is_planted_and_has_a_counterpart() -> None:
    planted, silent = rows()
    assert [id for id in first() if id not in planted | set(WRITTEN)] == []
    assert [id for id in first() if id not in silent | set(WRITTEN)] == []


def test_the_written_ones_are_there() -> None:
    for id, (file, planting, quiet) in WRITTEN.items():
        tree = ast.parse((TESTS / file).read_text())
        functions = {item.name for item in tree.body if isinstance(item, ast.FunctionDef)}
        assert planting in functions, id
        assert not quiet or quiet in functions, id
        assert id in (TESTS / file).read_text(), id


def test_the_list_names_no_check_in_vain() -> None:
    """A failure whose own check is missing is decided by its words alone: none of the first may be."""
    known = {check.id for check in all_checks()}
    assert [failure.id for failure in failures()[:FIRST] if not set(failure.checks) & known] == []
