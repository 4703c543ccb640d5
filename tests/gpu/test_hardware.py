"""A machine with a real accelerator: detection, the driver's report, and no findings on healthy cards.

These tests only look. Run them on any such machine: `./test tests/gpu`; then write into TESTED.md what and when.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time

import pytest

from bai_wizard.core.page import Context, Finding, Known
from bai_wizard.node.hardware import DEVICES, scan_pci
from bai_wizard.pages.accelerators.checks import CHECKS
from bai_wizard.pages.accelerators.facts import AcceleratorsFacts
from bai_wizard.pages.accelerators.plan import PAGE
from bai_wizard.resources.local import LocalMachine

pytestmark = pytest.mark.needs_gpu


@pytest.fixture(scope="module")
def machine() -> LocalMachine:
    return LocalMachine()


@pytest.fixture(scope="module")
def facts(machine: LocalMachine) -> AcceleratorsFacts:
    result = PAGE.probe(machine, PAGE.settings(), Context(host=machine.host))
    assert isinstance(result, AcceleratorsFacts)
    return result


def smi(*query: str) -> list[list[str]]:
    """What the driver's own tool says, a row for each GPU."""
    if shutil.which("nvidia-smi") is None:
        pytest.skip("no nvidia-smi on this machine")
    argv = ["nvidia-smi", f"--query-gpu={','.join(query)}", "--format=csv,noheader,nounits"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    return [[cell.strip() for cell in line.split(",")] for line in done.stdout.strip().split("\n")]


@pytest.fixture
def on_the_bus() -> set[str]:
    """The addresses of all PCI devices."""
    result = set(os.listdir(DEVICES)) if os.path.isdir(DEVICES) else set()
    if not result:
        pytest.skip("this machine shows no PCI bus (a sandboxed container)")
    return result


def test_the_bus_is_read_completely(machine: LocalMachine, on_the_bus: set[str]) -> None:
    assert {device.address for device in scan_pci(machine)} == on_the_bus


def test_cards_are_found_where_the_bus_shows_them(facts: AcceleratorsFacts, on_the_bus: set[str]) -> None:
    assert isinstance(facts.cards, Known)
    assert facts.cards.value


def test_nvml_agrees_with_nvidia_smi(machine: LocalMachine) -> None:
    from bai_wizard.pages.accelerators.nvidia.probe import nvml

    result = nvml(machine)
    assert isinstance(result, Known)
    rows = smi("name", "memory.total", "driver_version", "uuid")
    assert [gpu.name for gpu in result.value.gpus] == [row[0] for row in rows]
    assert [gpu.memory >> 20 for gpu in result.value.gpus] == [int(row[1]) for row in rows]
    assert {result.value.driver} == {row[2] for row in rows}
    assert [gpu.uuid for gpu in result.value.gpus] == [row[3] for row in rows]
    assert not any(gpu.lost for gpu in result.value.gpus)


@pytest.mark.parametrize("query, name", [("persistence_mode", "persistence"), ("ecc.mode.current", "ecc")])
def test_modes_are_those_of_nvidia_smi(machine: LocalMachine, query: str, name: str) -> None:
    from bai_wizard.pages.accelerators.nvidia.probe import nvml

    result = nvml(machine)
    assert isinstance(result, Known)
    words = {"Enabled": True, "Disabled": False}
    assert [getattr(gpu, name) for gpu in result.value.gpus] == [words.get(row[0]) for row in smi(query)]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.id)
def test_no_check_crashes_and_none_takes_long(machine: LocalMachine, check: object) -> None:
    from bai_wizard.core.errors import StateUnknown
    from bai_wizard.core.page import Check

    assert isinstance(check, Check)
    begun = time.monotonic()
    try:
        result = check.run(machine, Context(host=machine.host))
    except StateUnknown:
        result = ()
    assert time.monotonic() - begun < check.deadline
    for finding in result if isinstance(result, tuple) else (result,):
        assert isinstance(finding, Finding)


@pytest.mark.parametrize(
    "id",
    [
        "accelerators.nvidia-lib-mismatch",
        "accelerators.nvidia-xid79",
        "accelerators.nvidia-open-vs-closed",
        "accelerators.nvidia-false-vbios",
    ],
)
def test_healthy_gpus_raise_no_alarm(machine: LocalMachine, id: str) -> None:
    if any(row[0] == "[N/A]" for row in smi("name")):
        pytest.skip("a GPU of this machine is not well")
    check = next(one for one in CHECKS if one.id == id)
    result = check.run(machine, Context(host=machine.host))
    assert isinstance(result, Finding)
    assert result.result in ("ok", "not-applicable"), result
