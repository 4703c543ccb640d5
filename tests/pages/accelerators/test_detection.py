"""Detection of cards on the PCI bus and their descriptions, without vendor tools."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bai_wizard.core.machine import Completed, Machine
from bai_wizard.core.page import Context, Known, Unknown
from bai_wizard.node.hardware import DEVICES, Nvml
from bai_wizard.pages.accelerators import facts as catalogue
from bai_wizard.pages.accelerators.facts import AcceleratorsFacts
from bai_wizard.pages.accelerators.plan import PAGE
from bai_wizard.pages.accelerators.probe import ALL_SMI
from bai_wizard.resources.local import LocalMachine
from tests.pages.accelerators.buses import gpus, healthy, node, nvml, tree
from tests.settings import settings_from

CARDS = {
    "h100x8": [("nvidia", "H100 SXM5 80GB")] * 8,
    "l4-bare": [("nvidia", "L4")],
    "mi300x": [("amd", "MI300X")] * 2,
    "gaudi3": [("gaudi", "Gaudi3")] * 2,
    "rebellions": [("rebellions", "RBLN-CA22"), ("rebellions", "RBLN-CR03")],
    "furiosa": [("furiosa", "RNGD")],
    "graphcore": [("graphcore", "Colossus GC2 (C2)")],
    "tenstorrent": [("tenstorrent", "Wormhole (n150/n300)")] * 2,
    "tpu": [("tpu", "TPU v5e")],
    "hyperaccel": [("hyperaccel", "10ee:5008")],
    "none": [],
}


def probed(machine: Machine) -> AcceleratorsFacts:
    facts = PAGE.probe(machine, PAGE.settings(), Context(host="gpu01"))
    assert isinstance(facts, AcceleratorsFacts)
    return facts


def rows(machine: Machine) -> dict[str, str]:
    return dict(PAGE.now(probed(machine)))


@pytest.mark.parametrize("name", CARDS)
def test_cards_of_every_vendor(name: str, tmp_path: Path) -> None:
    """In memory and as files below a root, where the bus's directory is full of links."""
    for machine in (node(name), LocalMachine(str(tree(name, tmp_path)))):
        facts = probed(machine)
        assert isinstance(facts.cards, Known)
        assert [(card.vendor, card.model) for card in facts.cards.value] == CARDS[name]


def test_no_accelerator_is_one_line_and_no_step() -> None:
    machine = node("none")
    assert PAGE.now(probed(machine)) == (("Accelerators", "none"),)
    settings = settings_from(PAGE.settings, {"nvidia": {}})
    assert PAGE.steps(settings, PAGE.probe(machine, settings, Context()), Context()) == ()


def test_a_bus_that_cannot_be_read_is_not_an_empty_one() -> None:
    machine = node("none", kernel={f"{DEVICES}/0000:05:00.0/uevent": "PCI_ID=nonsense"})
    facts = probed(machine)
    assert isinstance(facts.cards, Unknown)
    (step,) = PAGE.steps(PAGE.settings(), facts, Context())
    assert step.optional
    assert "0000:05:00.0" in getattr(step, "reason", "")


def test_unknown_models_have_the_name_of_the_nodes_own_list() -> None:
    extra = {f"{DEVICES}/0000:99:00.0/uevent": "PCI_CLASS=30200\nPCI_ID=10DE:2322"}
    listed = "10dc  Other\n\t2322  not this one\n10de  NVIDIA Corporation\n\t2322  H800 PCIe\n\t\t10de 1 x\n"
    assert rows(node("none", kernel=extra))["NVIDIA"] == "1 × 10de:2322 (no driver)"
    with_list = node("none", kernel=extra, files={"/usr/share/misc/pci.ids": listed})
    assert rows(with_list)["NVIDIA"] == "1 × H800 PCIe (no driver)"


def test_facts_from_nvml() -> None:
    result = rows(node("h100x8", healthy("h100x8", fabric="completed")))
    assert result["NVIDIA"] == "8 × H100 SXM5 80GB (nvidia)"
    assert result["Driver"] == "580.95.05 (closed modules), supports CUDA 13.0"
    assert result["GPUs"] == "8 × NVIDIA H100 80GB HBM3, 80 GiB, ECC on, persistence on, fabric completed"
    assert result["NVSwitches"] == "4, fabric manager: none"


def test_mig_and_open_modules() -> None:
    version = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build"
    result = rows(
        node(
            "h100x8",
            healthy("h100x8", mig=(True, True), slices=("MIG-1", "MIG-2")),
            {"/proc/driver/nvidia/version": version},
        )
    )
    assert "MIG with 2 devices" in result["GPUs"]
    assert "(open modules)" in result["Driver"]


def test_a_driver_that_does_not_answer_is_unknown() -> None:
    machine = node("l4-bare", unknown={"library:nvml": "NVIDIA's driver: no answer within 10 s"})
    assert rows(machine)["Driver"] == "unknown: NVIDIA's driver: no answer within 10 s"
    states = nvml(Nvml(error=18, message="RM has detected an NVML/RM version mismatch."))
    assert rows(node("l4-bare", states))["Driver"].endswith("version mismatch. (NVML 18)")


def test_lost_gpus_are_counted_apart() -> None:
    answer = Nvml(driver="580.95.05", cuda=(13, 0), gpus=(*gpus("h100x8")[1:], gpus("h100x8", lost="GPU is lost")[0]))
    assert rows(node("h100x8", nvml(answer)))["Lost"] == "1 GPU does not respond"


def test_missing_parts_of_other_vendors_are_named_exactly() -> None:
    lines = [value for key, value in PAGE.now(probed(node("mi300x"))) if key.endswith("missing")]
    assert lines == [
        "the kernel module amdgpu is not loaded",
        "the device node /dev/kfd is missing",
        "the device node /dev/dri/renderD* is missing",
        "/opt/rocm/lib/librocm_smi64.so is missing",
        "/opt/rocm/lib/libamdhip64.so is missing",
        "the group video does not exist",
        "the group render does not exist",
    ]


def test_a_complete_node_of_another_vendor_lacks_nothing() -> None:
    files = dict.fromkeys(["/sys/module/tenstorrent/x", "/dev/tenstorrent/0", "/dev/tenstorrent/1"], "") | {
        "/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages": "8\n"
    }
    (vendor,) = probed(node("tenstorrent", files=files)).vendors
    assert vendor.missing == ()


@pytest.mark.parametrize(
    "limit,message", [("", "8 MiB"), ("LimitMEMLOCK=64M:1G\n", "1024 MiB"), ("LimitMEMLOCK=infinity\n", "")]
)
def test_locked_memory_is_the_limit_of_the_agents_service(limit: str, message: str) -> None:
    unit = "/etc/systemd/system/backendai-agent.service"
    machine = node("rebellions", files={unit: f"[Service]\nExecStart=/x\n{limit}"})
    lacks = [value for key, value in PAGE.now(probed(machine)) if key.endswith("missing")]
    result = [lack for lack in lacks if "lock" in lack]
    assert len(result) == bool(message)
    assert not message or f"can lock only {message} of memory" in result[0]
    assert "Rebellions sessions" not in rows(machine)


def test_without_the_agent_its_limit_is_reported_beforehand() -> None:
    assert "LimitMEMLOCK=infinity" in rows(node("rebellions"))["Rebellions sessions"]
    assert "AMD Instinct sessions" not in rows(node("mi300x"))


def test_plug_in_and_slots_are_named() -> None:
    result = rows(node("rebellions"))
    assert result["Rebellions plug-in"] == (
        "backend.ai-accelerator-rebellions: atom.device, atom-plus.device, atom-max.device"
    )


def test_all_smi_is_asked_where_it_is() -> None:
    gpu = {"name": "RBLN-CA22", "total_memory": 17179869184, "uuid": "u-1", "detail": {"driver_version": "1.2"}}
    answer = Completed(0, json.dumps({"schema": 1, "gpus": [gpu]}), "")
    assert rows(node("rebellions", looks={ALL_SMI: answer}))["RBLN-CA22"] == "16 GiB, driver 1.2, u-1"
    assert "RBLN-CA22" not in rows(node("rebellions", looks={ALL_SMI: Completed(1, "not json", "")}))


def test_every_vendor_of_the_data_file_is_complete() -> None:
    """Each has a page of its own, plug-ins and slots, and a fixture that finds it."""
    result = {vendor for cards in CARDS.values() for vendor, _ in cards}
    assert result == {vendor.key for vendor in catalogue.all_vendors()}
    for vendor in catalogue.all_vendors():
        assert vendor.page.startswith("https://"), vendor.key
        assert vendor.wheels, vendor.key
        assert vendor.slots, vendor.key


def test_a_copy_of_sys_without_uevent_reports_the_same() -> None:
    one = f"{DEVICES}/0000:17:00.0"
    kernel = {f"{one}/vendor": "0x10de", f"{one}/device": "0x27b8", f"{one}/class": "0x030200"}
    held = {"/sys/bus/pci/drivers/nvidia/0000:17:00.0": "", "/sys/bus/pci/drivers/ast/new_id": ""}
    assert rows(node("none", kernel=kernel))["NVIDIA"] == "1 × L4 (no driver)"
    assert rows(node("none", kernel={**kernel, **held}))["NVIDIA"] == "1 × L4 (nvidia)"
