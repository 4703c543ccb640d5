"""NVLink 5 (HGX B200 and its like) and NVLink between the nodes of a rack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from bai_wizard.core.operation import Operation
from bai_wizard.core.page import Known
from bai_wizard.core.state import Key, Unit
from bai_wizard.node.hardware import DEVICES
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.pages.accelerators.nvidia import names
from bai_wizard.pages.accelerators.nvidia.driver_steps import FABRIC_MANAGER
from bai_wizard.pages.accelerators.nvidia.nvlink_steps import monitoring
from bai_wizard.pages.accelerators.plan import PAGE
from bai_wizard.pages.node_state import System
from bai_wizard.resources.commands import RunCommand
from bai_wizard.resources.units import RestartUnit
from tests.pages.accelerators.buses import DRIVER, KERNEL, bus, healthy, installed, node, offers
from tests.pages.accelerators.test_branches import BUILT, FABRIC, changes, nvidia_facts, steps
from tests.pages.accelerators.test_nvidia_plan import CONVERGED
from tests.pages.storage.lifecycle import plan_of, run, shown
from tests.pages.ubuntu import file

LINKED = ("nvlsm", "infiniband-diags", "libnvsdm", f"linux-modules-extra-{KERNEL}", "linux-modules-extra-aws")
BRIDGES = "/lib/modules/{}/modules.dep"
WITH_BRIDGES = "".join(
    f"kernel/{name}.ko.zst:\n" for name in ("nvidia-580srv-open/nvidia", "core/ib_umad", "hw/mlx5_ib")
)
VPD = "/sys/class/infiniband/mlx5_0/device/vpd"


def linked(name: str = "b200x2", **about: Any) -> SimulatedMachine:
    about.setdefault("files", {BRIDGES.format(KERNEL): WITH_BRIDGES})
    return node(name, about.pop("states", None), offers={**offers(*about.pop("more", LINKED))}, **about)


def test_nvlink_5_is_planned_before_the_fabric_manager() -> None:
    ids = steps(linked())
    assert ids.index("nvlink-modules") < ids.index("nvlink") < ids.index("fabric") < ids.index("fabric-manager")
    assert "nvlink-extra" not in ids
    for name in ("nvlsm", "infiniband-diags"):
        assert f"package {name}" in changes(linked(), "nvlink")
    modules = changes(linked(), "nvlink-modules")
    assert "/etc/modules-load.d/bai-wizard-nvlink.conf" in modules
    assert all(f"load the kernel module {name}" in modules for name in ("ib_umad", "mlx5_ib"))
    assert "nvlink" not in steps(linked(), fabric_manager="no")
    assert "nvlink" not in steps(linked(container=True))


@pytest.mark.parametrize(("fabric", "restarts"), [("in progress", True), ("completed", False)])
def test_a_fabric_manager_without_its_modules_restarts_once(fabric: str, restarts: bool, tmp_path: Path) -> None:
    states = {**healthy("b200x2", fabric=fabric), **CONVERGED, **installed(FABRIC)}
    machine = linked(states={**states, Key("unit", FABRIC_MANAGER): Unit("enabled", "active", 100.0)})

    def kernel(operation: Operation, moment: str) -> None:
        if moment == "after" and isinstance(operation, RunCommand) and operation.argv[0] == "modprobe":
            machine.set_state(Key("file", f"/sys/module/{operation.argv[-1]}/x"), file(""))

    machine.fault = kernel
    plan = plan_of(PAGE, {"nvidia": {"cuda_toolkit": "none"}}, machine)
    assert run(machine, plan, tmp_path)[1].code() == 0
    units = [operation.unit for operation in machine.performed if isinstance(operation, RestartUnit)]
    assert units == [FABRIC_MANAGER] * restarts
    again = plan_of(PAGE, {"nvidia": {"cuda_toolkit": "none"}}, machine)
    assert again.is_empty(), shown(again)


@pytest.mark.parametrize(
    "where", [{}, {"files": {VPD: "\x82VPD: SW_MNG \x90"}}, {"kernel": {f"{DEVICES}/0000:05:00.0/vpd": "V3 SW_MNG"}}]
)
def test_nvlink_5_is_known_by_the_mark_of_its_bridges(where: dict[str, dict[str, str]]) -> None:
    files = {BRIDGES.format(KERNEL): WITH_BRIDGES, **where.get("files", {})}
    bridge = {f"{DEVICES}/0000:05:00.0/uevent": "PCI_CLASS=20700\nPCI_ID=15B3:1021\nPCI_SLOT_NAME=0000:05:00.0"}
    ids = steps(linked("l4-bare", files=files, kernel={**bridge, **where.get("kernel", {})}))
    assert ("nvlink" in ids) is ("fabric" in ids) is ("nvlink-modules" in ids) is bool(where)


def test_a_kernel_without_the_bridges_modules_gets_them() -> None:
    aws = installed({"linux-image-aws": "6.8.0-60.63"})
    assert "nvlink-extra" not in steps(linked(states=aws))
    added = changes(linked(states=aws, files=BUILT), "nvlink-extra")
    assert f"package linux-modules-extra-{KERNEL}" in added
    assert "package linux-modules-extra-aws" in added
    assert "full and newest kernel" in changes(linked(files=BUILT, more=LINKED[:2]), "nvlink-extra")


def test_nvlink_5_without_nvidias_repository_is_refused_with_the_way_out() -> None:
    assert 'source = "nvidia"' in changes(linked(more=()), "nvlink")


@pytest.mark.parametrize(("architecture", "there"), [("amd64", True), ("arm64", False)])
def test_the_library_for_switches_exists_for_amd64_only(architecture: str, there: bool) -> None:
    machine = linked(states=healthy("b200x2"))
    facts = replace(nvidia_facts(machine), system=Known(System("ubuntu", "24.04", "noble", architecture)))
    assert bool(monitoring(facts, names("nvidia-ubuntu", "570", "server-open"))) is there
    assert "package libnvsdm" in changes(machine, "fabric")
    assert "package libnvsdm" not in changes(linked(states=healthy("b200x2"), more=LINKED[:2]), "fabric")


def test_racks_get_imex_in_the_drivers_version() -> None:
    rack = {path: text.replace("10DE:2901", "10DE:2941") for path, text in bus("b200x2").items()}
    machine = linked(states=healthy("b200x2"), kernel=rack, more=(*LINKED, "nvidia-imex-580"))
    assert f"{DRIVER}-*" in changes(machine, "imex")
    assert not {"fabric", "nvlink"} & set(steps(machine))
    assert "imex" not in steps(linked())
