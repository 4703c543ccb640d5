"""Other vendors: what the wizard does, what only the vendor can do, and what takes effect after a reboot."""

from __future__ import annotations

from pathlib import Path

import pytest

from bai_wizard.core.operation import Operation
from bai_wizard.core.page import Context, Finding
from bai_wizard.core.state import Group, Key, State, Unit
from bai_wizard.core.step import Blocked, Pending, Plan
from bai_wizard.node.hardware import DEVICES
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.pages.accelerators.checks import CHECKS
from bai_wizard.pages.accelerators.plan import PAGE
from bai_wizard.pages.accelerators.probe import probe
from bai_wizard.pages.accelerators.settings import AcceleratorsSettings
from bai_wizard.pages.accelerators.steps import BOOT, MOUNT, MOUNT_FILE, RESERVED
from bai_wizard.resources.commands import RunCommand
from bai_wizard.steps.docker import DAEMON_JSON
from tests.pages.accelerators.buses import node
from tests.pages.storage.lifecycle import assert_cycle, plan_of, run, shown
from tests.pages.ubuntu import file

AMD_DRIVER = {"/sys/module/amdgpu/x": "", "/dev/kfd": "", "/dev/dri/renderD128": ""}
AMD_GROUPS: dict[Key, State | None] = {
    Key("group", "video"): Group("video", 44),
    Key("group", "render"): Group("render", 992),
}
GAUDI_DRIVER = {
    **{f"/sys/module/{name}/x": "" for name in ("habanalabs", "habanalabs_cn", "habanalabs_en")},
    "/dev/accel/accel0": "",
    "/dev/accel/accel_controlD0": "",
}
TENSTORRENT_DRIVER = {"/sys/module/tenstorrent/x": "", "/dev/tenstorrent/0": ""}


def planned(machine: SimulatedMachine) -> Plan:
    return plan_of(PAGE, {}, machine)


def subjects(plan: Plan) -> list[str]:
    return [change.subject for item in plan.pending() for change in getattr(item.verdict, "changes", ())]


@pytest.mark.parametrize(
    "name", ["mi300x", "gaudi3", "rebellions", "furiosa", "graphcore", "tenstorrent", "tpu", "hyperaccel"]
)
def test_a_missing_driver_is_the_vendors_and_holds_nothing_up(name: str) -> None:
    """One optional step, blocked, with what is missing and the vendor's page: code 6, not 3."""
    bare = node(name)
    plan = planned(bare)
    drivers = [item for item in plan.steps if item.step.id.endswith("-driver")]
    lacks_driver = any(lack.is_driver for vendor in PAGE.probe(bare, PAGE.settings(), _context()).vendors
                       for lack in vendor.missing)  # fmt: skip
    assert bool(drivers) == lacks_driver
    for item in drivers:
        assert item.step.optional
        assert isinstance(item.verdict, Blocked)
        assert "https://" in item.verdict.reason


def _context() -> Context:
    return Context(host="gpu01")


def test_amds_groups_take_the_account(tmp_path: Path) -> None:
    plan = assert_cycle(PAGE, {}, node("mi300x", AMD_GROUPS, files=AMD_DRIVER), tmp_path)
    assert subjects(plan) == ["add bai to group video", "add bai to group render"]


def test_gaudis_first_module_and_runtime(tmp_path: Path) -> None:
    runtime = {"/usr/bin/habana-container-runtime": ""}
    machine = node("gaudi3", files={**GAUDI_DRIVER, **runtime, DAEMON_JSON: '{"live-restore": true}\n'})

    def kernel(operation: Operation, moment: str) -> None:
        if moment == "after" and isinstance(operation, RunCommand) and operation.argv[0] == "modprobe":
            machine.set_state(Key("file", f"/sys/module/{operation.argv[-1]}/x"), file(""))

    machine.fault = kernel
    plan = planned(machine)
    assert "load the kernel module ib_uverbs" in subjects(plan)
    assert '"habana"' in shown(plan)
    assert "live-restore" in shown(plan)
    assert run(machine, plan, tmp_path)[1].code() == 0
    assert "ib_uverbs" in (machine.text("/etc/modules-load.d/bai-wizard-gaudi.conf") or "")
    assert planned(machine).is_empty()


def test_rebellions_description_switches_cdi_on() -> None:
    files = {"/dev/rbln0": "", "/dev/rsd0": "", "/etc/cdi/rebellions.yaml": "kind: rebellions.ai/npu\n"}
    assert '"cdi": true' in shown(planned(node("rebellions", files=files)))


def tenstorrent(pages: str, states: dict[Key, State | None] | None = None) -> SimulatedMachine:
    return node(
        "tenstorrent", states, files={**TENSTORRENT_DRIVER, RESERVED: f"{pages}\n", "/proc/stat": "btime 5\n"}
    )


def with_memory(machine: SimulatedMachine, pages: int) -> SimulatedMachine:
    """Lets systemd-tmpfiles reserve as many pages as memory has in one piece."""

    def kernel(operation: Operation, moment: str) -> None:
        if moment == "after" and isinstance(operation, RunCommand) and operation.argv[0] == "systemd-tmpfiles":
            machine.set_state(Key("file", RESERVED), file(f"{pages}\n"))
        if moment == "after" and operation.kind == "reload-units":
            machine.set_state(Key("unit", MOUNT), Unit("disabled", "inactive"))

    machine.fault = kernel
    return machine


def test_huge_pages_are_reserved_and_mounted_now_and_at_boot(tmp_path: Path) -> None:
    """Two Wormholes: eight pages."""
    machine = with_memory(tenstorrent("0"), 8)
    assert run(machine, planned(machine), tmp_path)[1].code() == 0
    assert machine.text(BOOT) == (
        f"# Written by bai-wizard: through which Tenstorrent cards exchange data.\nw {RESERVED} - - - - 8\n"
    )
    assert "pagesize=1G" in (machine.text(MOUNT_FILE) or "")
    assert machine.unit(MOUNT) == Unit("enabled", "active")
    assert planned(machine).is_empty(), shown(planned(machine))


def test_memory_in_pieces_waits_for_the_next_boot(tmp_path: Path) -> None:
    machine = with_memory(tenstorrent("0"), 3)
    _, result = run(machine, planned(machine), tmp_path)
    assert result.code() == 5
    assert "3 of 8 huge pages" in str(result)
    assert machine.text(BOOT) is not None, "the next boot finds it"


def test_too_little_memory_at_boot_is_a_failure_and_not_another_reboot(tmp_path: Path) -> None:
    """The file is older than the boot, and still there are too few."""
    machine = with_memory(tenstorrent("0"), 3)
    run(machine, planned(machine), tmp_path)
    machine.set_state(Key("file", "/proc/stat"), file(f"btime {int(machine.now) + 100}\n"))
    _, result = run(machine, planned(machine), tmp_path)
    assert result.code() == 4
    assert "hugepages=8" in str(result)


def test_the_vendors_own_set_up_is_left_to_do_it() -> None:
    link = "/etc/systemd/system/multi-user.target.wants/tenstorrent-hugepages.service"
    machine = node("tenstorrent", files={**TENSTORRENT_DRIVER, RESERVED: "0\n", link: ""})
    assert planned(machine).steps == ()


def test_a_node_without_huge_pages_of_that_size_is_reported() -> None:
    machine = node("tenstorrent", files=TENSTORRENT_DRIVER)
    (item,) = [item for item in planned(machine).steps if item.step.id == "accelerators.huge-pages"]
    assert isinstance(item.verdict, Blocked)


def test_containers_get_no_kernel_settings() -> None:
    assert planned(node("gaudi3", files=GAUDI_DRIVER, container=True)).steps == ()


def test_cards_of_two_vendors_share_one_restart() -> None:
    from tests.pages.accelerators.buses import bus, healthy

    states = {**healthy("l4-bare"), Key("unit", "docker.service"): Unit("enabled", "active", 100.0)}
    files = {**GAUDI_DRIVER, "/usr/bin/habana-container-runtime": ""}
    machine = node("l4-bare", states, kernel=bus("gaudi3"), files=files)
    plan = plan_of(PAGE, {"nvidia": {"hold": False, "cuda_toolkit": "none"}}, machine)
    ids = [item.step.id for item in plan.steps]
    assert ids.count("accelerators.docker-config") == ids.count("accelerators.docker-restart") == 1
    config = next(item.verdict for item in plan.steps if item.step.id == "accelerators.docker-config")
    assert isinstance(config, Pending)
    text = shown(plan)
    assert '"habana"' in text
    assert '"nvidia"' in text


@pytest.mark.parametrize(("release", "old"), [("5.15.0-130-generic", True), ("6.3.0", False), ("6.14.0-1-x", False)])
def test_a_kernel_that_is_too_old_for_the_driver_is_named(release: str, old: bool) -> None:
    files = {"/dev/rngd/npu0": "", "/sys/module/rngd/x": ""}
    machine = node("furiosa", kernel={"/proc/sys/kernel/osrelease": release}, files=files)
    assert ("RNGD needs Linux 6.3 or later" in shown(planned(machine))) is old
    outcome = {check.id: check for check in CHECKS}["accelerators.lacking"].run(machine, Context(host=machine.host))
    finding = outcome if isinstance(outcome, Finding) else outcome[0]
    assert ("newer kernel" in finding.guidance) is old


@pytest.mark.parametrize(
    ("name", "found"), [("1e52:401e", ""), ("1e52:b140", "Blackhole"), ("1eff:2030", "RBLN-CR03"), ("1eff:1250", "")]
)
def test_a_model_without_a_slot_is_named(name: str, found: str) -> None:
    text = f"PCI_CLASS=120000\nPCI_ID={name.upper()}\nPCI_SLOT_NAME=0000:01:00.0\nDRIVER=tenstorrent"
    ready = (
        {"/sys/module/tenstorrent/x": "", "/dev/tenstorrent/0": "", RESERVED: "8\n"} if found == "Blackhole" else {}
    )
    machine = node("none", kernel={f"{DEVICES}/0000:01:00.0/uevent": text}, files=ready)
    facts = probe(machine, AcceleratorsSettings(), Context(host="gpu01"))
    without = [lack.what for vendor in facts.vendors for lack in vendor.missing if lack.variant == "no-slot"]
    assert len(without) == bool(found)
    assert not found or f"no resource slot for {found}" in without[0]
    assert not name.startswith("1e52") or "n300 boards only" in str(PAGE.now(facts))
    (lacking,) = (check for check in CHECKS if check.id == "accelerators.lacking")
    outcome = lacking.run(machine, Context(host=machine.host))
    finding = outcome if isinstance(outcome, Finding) else outcome[0]
    assert ("Do not enable the plug-in" in finding.guidance) is bool(ready)
