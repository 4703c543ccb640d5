"""A machine with a real accelerator: what is found, what the driver tells, and that healthy cards raise no alarm.

These tests only look. Run them on any such machine: `./test tests/gpu`; then write into TESTED.md what and when.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time

import pytest

from bai_wizard.core.context import Context
from bai_wizard.core.facts import Known
from bai_wizard.core.finding import Finding
from bai_wizard.machine.local import LocalMachine
from bai_wizard.machine.pci import DEVICES, scan
from bai_wizard.pages.accelerators.checks import CHECKS
from bai_wizard.pages.accelerators.facts import AcceleratorsFacts
from bai_wizard.pages.accelerators.page import PAGE

pytestmark = pytest.mark.needs_gpu


@pytest.fixture(scope="module")
def machine() -> LocalMachine:
    return LocalMachine()


@pytest.fixture(scope="module")
def facts(machine: LocalMachine) -> AcceleratorsFacts:
    found = PAGE.probe(machine, PAGE.settings(), Context(host=machine.host))
    assert isinstance(found, AcceleratorsFacts)
    return found


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
    found = set(os.listdir(DEVICES)) if os.path.isdir(DEVICES) else set()
    if not found:
        pytest.skip("this machine shows no PCI bus (a sandboxed container)")
    return found


def test_the_bus_is_read_completely(machine: LocalMachine, on_the_bus: set[str]) -> None:
    assert {device.address for device in scan(machine)} == on_the_bus


def test_cards_are_found_where_the_bus_shows_them(facts: AcceleratorsFacts, on_the_bus: set[str]) -> None:
    assert isinstance(facts.cards, Known)
    assert facts.cards.value


def test_nvml_says_what_nvidia_smi_says(machine: LocalMachine) -> None:
    from bai_wizard.pages.accelerators.vendors.nvidia.probe import nvml

    told = nvml(machine)
    assert isinstance(told, Known)
    rows = smi("name", "memory.total", "driver_version", "uuid")
    assert [gpu.name for gpu in told.value.gpus] == [row[0] for row in rows]
    assert [gpu.memory >> 20 for gpu in told.value.gpus] == [int(row[1]) for row in rows]
    assert {told.value.driver} == {row[2] for row in rows}
    assert [gpu.uuid for gpu in told.value.gpus] == [row[3] for row in rows]
    assert not any(gpu.lost for gpu in told.value.gpus)


@pytest.mark.parametrize("query, name", [("persistence_mode", "persistence"), ("ecc.mode.current", "ecc")])
def test_modes_are_those_of_nvidia_smi(machine: LocalMachine, query: str, name: str) -> None:
    from bai_wizard.pages.accelerators.vendors.nvidia.probe import nvml

    told = nvml(machine)
    assert isinstance(told, Known)
    words = {"Enabled": True, "Disabled": False}
    assert [getattr(gpu, name) for gpu in told.value.gpus] == [words.get(row[0]) for row in smi(query)]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.id)
def test_no_check_crashes_and_none_takes_long(machine: LocalMachine, check: object) -> None:
    from bai_wizard.core.errors import CannotTell
    from bai_wizard.core.finding import Check

    assert isinstance(check, Check)
    begun = time.monotonic()
    try:
        result = check.look(machine, Context(host=machine.host))
    except CannotTell:
        result = ()
    assert time.monotonic() - begun < check.deadline
    for finding in result if isinstance(result, tuple) else (result,):
        assert isinstance(finding, Finding)


@pytest.mark.parametrize("id", ["nvidia-lib-mismatch", "nvidia-xid79", "nvidia-open-vs-closed", "nvidia-false-vbios"])
def test_healthy_gpus_raise_no_alarm(machine: LocalMachine, id: str) -> None:
    if any(row[0] == "[N/A]" for row in smi("name")):
        pytest.skip("a GPU of this machine is not well")
    check = next(one for one in CHECKS if one.id == id)
    result = check.look(machine, Context(host=machine.host))
    assert isinstance(result, Finding)
    assert result.result in ("ok", "not-applicable"), result
