"""Packages of several driver branches side by side, and GPUs that are kept for virtual machines."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from bai_wizard.core.page import Check, Context, Finding, Known
from bai_wizard.core.state import Key, Package, Unit
from bai_wizard.node.hardware import DEVICES, Nvml
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.pages.accelerators.checks import CHECKS
from bai_wizard.pages.accelerators.facts import Card, NvidiaFacts
from bai_wizard.pages.accelerators.nvidia import Generation, data, generations, names
from bai_wizard.pages.accelerators.nvidia.driver import Install, _misfit, decide, installed_branch, others
from bai_wizard.pages.accelerators.nvidia.driver_steps import FABRIC_MANAGER, MODULE_VERSION, NvidiaDriver
from bai_wizard.pages.accelerators.nvidia.plan import parts
from bai_wizard.pages.accelerators.plan import PAGE
from bai_wizard.pages.accelerators.probe import probe
from bai_wizard.pages.accelerators.settings import AcceleratorsSettings, NvidiaSettings
from bai_wizard.pages.node_state import System
from tests.pages.accelerators.buses import (
    DRIVER,
    KERNEL,
    NVIDIA_PACKAGES,
    VERSION,
    bus,
    healthy,
    installed,
    node,
    nvml,
    offers,
)
from tests.pages.storage.lifecycle import plan_of, shown
from tests.pages.ubuntu import file

BUILT = {f"/lib/modules/{KERNEL}/modules.dep": "kernel/nvidia-580srv-open/nvidia.ko.zst:\n"}
FABRIC = {"nvidia-fabricmanager-580": VERSION, "libnvidia-nscq-580": VERSION}


def results(machine: SimulatedMachine, *ids: str) -> dict[str, str]:
    context = Context(host=machine.host)
    wanted = [check for check in CHECKS if check.id.removeprefix("accelerators.") in ids]
    assert len(wanted) == len(ids)
    return {check.id.removeprefix("accelerators."): finding_of(check, machine, context).result for check in wanted}


def finding_of(check: Check, machine: SimulatedMachine, context: Context) -> Finding:
    finding = check.run(machine, context)
    assert isinstance(finding, Finding)
    return finding


def steps(machine: SimulatedMachine, **nvidia: Any) -> list[str]:
    return [item.step.id.removeprefix("accelerators.") for item in plan_of(PAGE, {"nvidia": nvidia}, machine).steps]


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("nvidia-fabricmanager-565", "565.57.01-0ubuntu1"),
        ("nvidia-fabricmanager-470", "580.95.05-0ubuntu1"),
        ("nvidia-fabricmanager-590", "595.91.07-0ubuntu1"),
        ("libnvidia-nscq-565", "565.57.01-0ubuntu1"),
    ],
)
def test_a_transitional_package_of_another_branch_is_nobody(name: str, version: str) -> None:
    states = {
        **healthy("h100x8", fabric="completed"),
        **installed({**FABRIC, name: version}),
        Key("unit", FABRIC_MANAGER): Unit("enabled", "active", 100.0),
    }
    machine = node("h100x8", states, files=BUILT)
    ids = ("nvidia-package-conflict", "nvidia-fabricmanager-version", "nvidia-fabricmanager-missing")
    assert results(machine, *ids) == dict.fromkeys(ids, "ok")
    assert "fabric" not in steps(machine)


def test_a_fabric_manager_of_another_branch_alone_is_a_problem() -> None:
    states = {**healthy("h100x8"), **installed({"nvidia-fabricmanager-570": "570.86.15-0ubuntu1"})}
    machine = node("h100x8", states, files=BUILT)
    assert results(machine, "nvidia-fabricmanager-version") == {"nvidia-fabricmanager-version": "problem"}
    assert "fabric" in steps(machine)


def test_a_package_with_documentation_only_is_no_fabric_manager() -> None:
    name = "nvidia-fabricmanager-570"
    states = {**healthy("h100x8"), **installed({name: "570.86.15-0ubuntu1"})}
    states[Key("file", f"/var/lib/dpkg/info/{name}.list")] = file(f"/.\n/usr\n/usr/share/doc/{name}/copyright\n")
    machine = node("h100x8", states, files=BUILT)
    assert results(machine, "nvidia-fabricmanager-version") == {"nvidia-fabricmanager-version": "not-applicable"}
    assert "fabric" in steps(machine)


def test_the_new_driver_of_two_is_kept_without_a_module() -> None:
    old = {"libnvidia-compute-470-server": "470.256.02-0ubuntu1"}
    current = dict.fromkeys(NVIDIA_PACKAGES, VERSION)
    states = {**nvml(Nvml(error=9, message="Driver Not Loaded")), **installed({**old, **current})}
    plan = plan_of(PAGE, {"nvidia": {}}, node("l4-bare", states, files=BUILT))
    removed = [item for item in plan.steps if item.step.id == "accelerators.other-driver"]
    assert [item.step.names for item in removed] == [tuple(old)], shown(plan)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("packages", "branch"),
    [
        ({"libnvidia-compute-570": "570.86.15-1", "libnvidia-compute-580": "580.95.05-1"}, "580"),
        ({"libnvidia-compute-595": "595.91.07-1", "libnvidia-compute-580": "580.95.05-1",
          "nvidia-dkms-580-open": "580.95.05-1"}, "580"),
        ({"libnvidia-compute-565": "570.86.15-1", "libnvidia-compute-570": "570.86.15-1"}, "570"),
        ({"libnvidia-compute-580": "580.95.05-1", "libnvidia-compute": "595.91.07-1"}, "595"),
        ({}, ""),
    ],
)  # fmt: skip
def test_the_branch_is_that_of_the_modules_then_the_newest(packages: dict[str, str], branch: str) -> None:
    for order in (list(packages.items()), list(reversed(packages.items()))):
        assert installed_branch(NvidiaFacts(packages=tuple(order))) == branch


@pytest.mark.parametrize("driver", ["vfio-pci", "pci-stub"])
def test_a_gpu_of_a_virtual_machine_is_left_alone(driver: str) -> None:
    machine = node("l4-bare", kernel=_bound("l4-bare", driver, "0000:17:00.0"), files=BUILT)
    assert steps(machine) == ["left-alone"]
    plan = plan_of(PAGE, {"nvidia": {}}, machine)
    assert plan.is_empty()
    assert f"0000:17:00.0 ({driver})" in shown(plan)
    facts = probe(machine, AcceleratorsSettings(), Context(host=machine.host))
    assert any("0000:17:00.0" in text and driver in text for _, text in PAGE.now(facts))
    ids = ("nvidia-module-missing", "nvidia-nouveau")
    assert results(machine, *ids) == dict.fromkeys(ids, "not-applicable")


def test_some_of_several_gpus_belong_to_a_virtual_machine() -> None:
    first = "0000:17:00.0"
    kernel = _bound("l4-bare", "vfio-pci", first)
    second = kernel[f"{DEVICES}/{first}/uevent"].replace("DRIVER=vfio-pci\n", "").replace("17:00", "18:00")
    kernel[f"{DEVICES}/0000:18:00.0/uevent"] = second
    machine = node("l4-bare", kernel=kernel, files=BUILT)
    plan = plan_of(PAGE, {"nvidia": {}}, machine)
    load = next(item.step for item in plan.steps if item.step.id == "accelerators.load")
    assert load.devices == ("0000:18:00.0",)  # type: ignore[attr-defined]


def _bound(name: str, driver: str, address: str) -> dict[str, str]:

    path = f"{DEVICES}/{address}/uevent"
    return {path: f"DRIVER={driver}\n{bus(name)[path]}"}


@pytest.mark.parametrize("flavor", ["nvidia-hwe-24.04", "nvidia-64k-hwe-24.04", "oem-24.04", "aws-lts-24.04", "ibm"])
def test_any_flavor_of_kernel_gets_its_modules_and_a_hold(flavor: str) -> None:
    states = installed({f"linux-image-{flavor}": "6.8.0-60.63", f"linux-image-{KERNEL}": "6.8.0-60.63"})
    modules = f"linux-modules-nvidia-580-server-open-{flavor}"
    plan = plan_of(PAGE, {"nvidia": {}}, node("l4-bare", states, files=BUILT, offers=offers(modules)))
    changes = {item.step.id: str(item.verdict) for item in plan.steps}
    assert modules in changes["accelerators.driver"]
    assert f"linux-image-{flavor}" in changes["accelerators.hold"]


@pytest.mark.parametrize(
    ("device", "branch", "fits"),
    [(0x2335, 535, False), (0x2335, 550, True), (0x2BB5, 570, False), (0x3182, 575, False), (0x2E12, 580, True)],
)
def test_the_first_driver_of_a_device_counts(device: int, branch: int, fits: bool) -> None:
    assert all(one.first <= branch for one in generations([device])) is fits


def test_nvlink_5_needs_its_subnet_manager_and_modules() -> None:
    states = {**healthy("b200x2", fabric="in progress"), **installed(FABRIC)}
    check = next(each for each in CHECKS if each.id == "accelerators.nvidia-fabricmanager-missing")
    machine = node("b200x2", states, files=BUILT)
    lacking = str(finding_of(check, machine, Context(host=machine.host)))
    assert all(name in lacking for name in ("nvlsm is not", "ib_umad is not", "mlx5_ib is not"))
    modules = {f"/sys/module/{name}/x": "" for name in ("ib_umad", "mlx5_ib")}
    machine = node("b200x2", {**states, **installed({"nvlsm": "2025.06-1"})}, files={**BUILT, **modules})
    assert "nvlsm is not" not in str(finding_of(check, machine, Context(host=machine.host)))


def nvidia_facts(machine: SimulatedMachine) -> NvidiaFacts:
    facts = probe(machine, AcceleratorsSettings(), Context(host=machine.host)).nvidia
    assert facts is not None
    return facts


def changes(machine: SimulatedMachine, step: str, **nvidia: Any) -> str:
    plan = plan_of(PAGE, {"nvidia": nvidia}, machine)
    return next(str(item.verdict) for item in plan.steps if item.step.id == f"accelerators.{step}")


@pytest.mark.parametrize(
    ("source", "branch", "driver", "fabric", "pinning"),
    [
        ("ubuntu", "595", "libnvidia-compute-595-server", "nvidia-fabricmanager-595", ""),
        ("nvidia-ubuntu", "575", "libnvidia-compute-575", "nvidia-fabricmanager-575", ""),
        ("nvidia-ubuntu", "580", "libnvidia-compute-580", "nvidia-fabricmanager", ""),
        ("nvidia-ubuntu", "590", "libnvidia-compute", "nvidia-fabricmanager", "nvidia-driver-pinning-590"),
        ("nvidia-ubuntu", "610", "libnvidia-compute", "nvidia-fabricmanager", "nvidia-driver-pinning-610"),
        ("nvidia-debian", "570", "nvidia-driver-cuda", "nvidia-fabricmanager-570", "nvidia-driver-pinning-570"),
        ("nvidia-debian", "595", "nvidia-driver-cuda", "nvidia-fabricmanager", "nvidia-driver-pinning-595"),
    ],
)
def test_names_lose_their_number_where_nvidia_drops_it(
    source: str, branch: str, driver: str, fabric: str, pinning: str
) -> None:
    of = names(source, branch, "server-open")
    assert (of.version_of, of.fabric[0], of.pinning) == (driver, fabric, pinning)
    numbered = [name for name in (*of.fabric, *of.imex, *of.sdm) if branch in name]
    assert bool(numbered) is (branch in fabric)


OWN = {"source": "nvidia", "driver": "595", "key_file": "/root/nvidia.asc"}
UNNUMBERED = ("libnvidia-compute", "nvidia-headless-no-dkms-open", "nvidia-persistenced", "nvidia-dkms-open")


def test_the_pinning_package_comes_before_a_driver_without_a_number() -> None:
    headers = (f"linux-headers-{KERNEL}", "linux-headers-generic")
    sources = {"/etc/apt/sources.list.d/nvidia-cuda.sources": ""}
    more = offers("nvidia-driver-pinning-595", *UNNUMBERED, *headers)
    machine = node("l4-bare", files={**BUILT, **sources}, offers=more)
    ids = steps(machine, **OWN)
    assert ids.index("pinning") < ids.index("driver")
    plan = plan_of(PAGE, {"nvidia": OWN}, machine)
    driver = next(item.step for item in plan.steps if item.step.id == "accelerators.driver")
    assert isinstance(driver, NvidiaDriver)
    chosen = driver.chosen(lambda name: name in more)
    assert dict(zip(chosen, driver.versions(chosen), strict=True)) == {
        **dict.fromkeys(UNNUMBERED, "595.*"),
        **dict.fromkeys(headers, ""),
    }


def test_packages_of_the_same_branch_stay_and_those_of_others_go() -> None:
    own = {**dict.fromkeys(UNNUMBERED, "590.48.01-1ubuntu1"), "nvidia-driver-pinning-590": "590-1ubuntu1"}
    facts = nvidia_facts(node("l4-bare", installed(own), files=BUILT))
    assert others(facts, Install("nvidia-ubuntu", "590", "server-open")) == ()
    assert others(facts, Install("nvidia-ubuntu", "595", "server-open")) == ("nvidia-driver-pinning-590",)
    closed = others(facts, Install("nvidia-ubuntu", "590", "server"))
    assert closed == ("nvidia-dkms-open", "nvidia-headless-no-dkms-open")


def test_a_driver_from_nvidias_repository_keeps_its_names_whatever_the_answers_say() -> None:
    version = "595.91.07"
    own = dict.fromkeys(("libnvidia-compute", "nvidia-dkms-open"), f"{version}-1ubuntu1")
    states = {
        **nvml(Nvml(driver=version, cuda=(13, 2))),
        **installed(own),
        Key("file", MODULE_VERSION): file(f"{version}\n"),
    }
    machine = node("h100x8", states, files=BUILT, offers=offers("nvidia-fabricmanager", "libnvidia-nscq"))
    planned = changes(machine, "fabric")
    assert "package nvidia-fabricmanager'" in planned
    assert f"{version}-*" in planned


def test_the_desktop_flavor_gets_no_fabric_manager_and_is_told_why() -> None:
    desktop = {"libnvidia-compute-580": VERSION, "nvidia-kernel-common-580": VERSION, "nvidia-dkms-580-open": VERSION}
    states = {
        **nvml(Nvml(driver=DRIVER, cuda=(13, 0))),
        **installed(desktop),
        Key("file", MODULE_VERSION): file(f"{DRIVER}\n"),
    }
    machine = node("h100x8", states, files=BUILT)
    assert "nvidia-kernel-common-580-server" in changes(machine, "fabric")
    fixes = next(each for each in CHECKS if each.id == "accelerators.nvidia-fabricmanager-missing")
    assert finding_of(fixes, machine, Context(host=machine.host)).remedy == ()
    assert "desktop" not in changes(machine, "fabric", source="nvidia")


@pytest.mark.parametrize(
    ("metas", "kernel", "held"),
    [
        ((), KERNEL, True),
        (("generic-hwe-24.04",), KERNEL, False),
        (("virtual-hwe-24.04",), KERNEL, False),
        (("aws-lts-24.04",), "6.8.0-1021-aws", False),
        (("nvidia-64k-hwe-24.04",), "6.11.0-1010-nvidia-64k", False),
        (("oem-24.04b",), "6.11.0-1016-oem", False),
        (("generic",), "6.8.1-1015-realtime", True),
    ],
)
def test_a_kernel_without_a_metapackage_is_held(metas: tuple[str, ...], kernel: str, held: bool) -> None:
    image = f"linux-image-{kernel}"
    states = installed({**dict.fromkeys((f"linux-image-{meta}" for meta in metas), "1"), image: "1"})
    states[Key("package", "linux-image-generic")] = Package("1") if "generic" in metas else None
    proc = {"/proc/sys/kernel/osrelease": kernel}
    files = {f"/boot/vmlinuz-{kernel}": "", f"/boot/initrd.img-{kernel}": ""}
    modules = f"linux-modules-nvidia-580-server-open-{kernel}"
    machine = node("l4-bare", states, proc, {**files, **BUILT}, offers=offers(modules))
    plan = plan_of(PAGE, {"nvidia": {}}, machine)
    hold = next(item for item in plan.steps if item.step.id == "accelerators.hold")
    assert (image in hold.step.names) is held  # type: ignore[attr-defined]
    assert "stops security updates" in hold.step.describe()


@pytest.mark.parametrize(
    ("version", "driver", "branch", "cuda"),
    [("24.04", "auto", "580", "13-0"), ("26.04", "auto", "595", "13-3"), ("26.04", "580", "", "")],
)
def test_nvidias_repository_for_a_new_system_has_new_branches_only(
    version: str, driver: str, branch: str, cuda: str
) -> None:
    facts = replace(
        nvidia_facts(node("l4-bare", files=BUILT)), system=Known(System("ubuntu", "x", "x", "amd64", version))
    )
    settings = NvidiaSettings(source="nvidia", driver=driver)
    decision = decide(settings, facts, [0x27B8])
    assert getattr(decision, "branch", "") == branch
    if branch:
        card = Card("nvidia", "0000:17:00.0", 0x27B8, "L4", "")
        shown_steps = parts(settings, facts, (card,), Context(host="gpu01", roles=("compute",))).packages
        assert f"cuda-cudart-{cuda}" in str([step.describe() for step in shown_steps])
    else:
        assert "from 595 on" in str(decision)


@pytest.mark.parametrize("bus_of", ["none", "l4-bare"])
def test_a_jetson_is_recognized_and_left_to_jetpack(bus_of: str) -> None:
    tree = {
        "/proc/device-tree/compatible": "nvidia,p3701\0nvidia,tegra234\0",
        "/proc/device-tree/model": "NVIDIA Jetson AGX Orin\0",
    }
    machine = node(bus_of, kernel=tree, files=BUILT)
    assert "JetPack" in changes(machine, "driver")
    plan = plan_of(PAGE, {"nvidia": {}}, machine)
    assert [item.step.id for item in plan.steps] == ["accelerators.driver"]
    facts = probe(machine, AcceleratorsSettings(), Context(host=machine.host))
    assert "NVIDIA Jetson AGX Orin: integrated GPU" in dict(PAGE.now(facts))["NVIDIA"] or bus_of != "none"
    ids = ("nvidia-module-missing", "nvidia-nouveau", "nvidia-docker-no-driver")
    assert results(machine, *ids) == dict.fromkeys(ids, "not-applicable")
    assert plan_of(PAGE, {}, machine).steps == ()


@pytest.mark.parametrize(("branch", "fits"), [("569", False), ("570", True), ("580", True), ("581", False)])
def test_the_first_and_the_last_branch_of_a_generation_fit(branch: str, fits: bool) -> None:
    generation = Generation("Example", (), "yes", first=570, last=580)
    source = next(name for name, each in data().source.items() if not each.branch)
    assert (_misfit(source, branch, (generation,)) is None) is fits
