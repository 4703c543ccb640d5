"""NVIDIA's part of the plan: decisions, applied steps, and what takes effect after a reboot."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bai_wizard.core.errors import StepFailed
from bai_wizard.core.machine import Completed
from bai_wizard.core.operation import Offer, Operation
from bai_wizard.core.page import Context
from bai_wizard.core.state import Key, Library, Package, State, Unit
from bai_wizard.core.step import Blocked, Pending, Plan, StepStatus
from bai_wizard.engine.result import Result
from bai_wizard.node.hardware import Nvml
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.pages.accelerators.nvidia.driver import HOOK
from bai_wizard.pages.accelerators.nvidia.driver_steps import (
    FABRIC_MANAGER,
    MODULE_VERSION,
    PERSISTENCED,
    PERSISTENCED_FILE,
)
from bai_wizard.pages.accelerators.nvidia.probe import SECURE_BOOT
from bai_wizard.pages.accelerators.nvidia.steps import PROOF_MARK
from bai_wizard.pages.accelerators.plan import PAGE
from bai_wizard.resources.commands import RunCommand
from bai_wizard.resources.packages import InstallPackages
from bai_wizard.resources.units import RestartUnit
from bai_wizard.steps.docker import DAEMON_JSON
from tests.pages.accelerators.buses import (
    DRIVER,
    KERNEL,
    NEWER,
    NVIDIA_PACKAGES,
    TOOLKIT,
    VERSION,
    healthy,
    installed,
    node,
    nvml,
    offers,
    with_kernel,
)
from tests.pages.storage.lifecycle import plan_of, run, shown, undo
from tests.pages.ubuntu import file
from tests.settings import settings_from

NVIDIA: dict[str, Any] = {"nvidia": {}}
BUILT = {f"/lib/modules/{KERNEL}/modules.dep": "kernel/nvidia-580srv-open/nvidia.ko.zst:\n"}
CONVERGED = {
    **installed({**dict.fromkeys(TOOLKIT, "1.18.0-1"), "libcudart12": "12.0.146"}),
    Key("file", DAEMON_JSON): file('{"runtimes": {"nvidia": {"path": "nvidia-container-runtime", "args": []}}}\n'),
    Key("library", "cudart"): Library("12.0", "libcudart.so.12"),
}


def verdict(plan: Plan, step: str) -> StepStatus:
    return next(item.verdict for item in plan.steps if item.step.id == f"accelerators.{step}")


def reason(plan: Plan, step: str = "driver") -> str:
    status = verdict(plan, step)
    assert isinstance(status, Blocked), shown(plan)
    return status.reason


def changed(plan: Plan, step: str) -> list[str]:
    status = verdict(plan, step)
    return [change.subject for change in status.changes] if isinstance(status, Pending) else []


def steps(plan: Plan) -> list[str]:
    return [item.step.id.removeprefix("accelerators.") for item in plan.steps]


def planned(machine: SimulatedMachine, **nvidia: object) -> Plan:
    return plan_of(PAGE, {"nvidia": nvidia}, machine)


def applied(machine: SimulatedMachine, directory: Path, table: Mapping[str, Any] = NVIDIA) -> Result:
    plan = plan_of(PAGE, table, machine)
    assert not plan.blocked(), shown(plan)
    return run(machine, plan, directory)[1]


def performed(machine: SimulatedMachine, kind: type[Operation]) -> list[Any]:
    return [operation for operation in machine.performed if isinstance(operation, kind)]


# ── a bare node ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_plan_of_a_bare_node_is_complete() -> None:
    plan = planned(node("l4-bare", files=BUILT))
    assert changed(plan, "driver") == [f"package {name}" for name in NVIDIA_PACKAGES]
    assert changed(plan, "toolkit") == [f"package {name}" for name in TOOLKIT]
    assert changed(plan, "cuda") == ["package libcudart12"]
    assert changed(plan, "docker-config")[-1] == DAEMON_JSON
    assert "package linux-image-generic" in changed(plan, "hold")
    assert isinstance(verdict(plan, "load"), Pending)


def test_a_bare_node_is_set_up_and_stays_so(tmp_path: Path) -> None:
    machine = with_kernel(node("l4-bare", files=BUILT, offers=_with_cudart()), "l4-bare")
    assert applied(machine, tmp_path).code() == 0
    assert machine.text(MODULE_VERSION) == f"{DRIVER}\n"
    assert machine.package(TOOLKIT[0]) == Package(VERSION, held=True)
    assert machine.text(PROOF_MARK) == "not proven\n"
    # What the kernel and dpkg do by themselves is told to the probe, then nothing is left.
    for name in (*NVIDIA_PACKAGES, *TOOLKIT):
        machine.set_state(Key("file", f"/var/lib/dpkg/info/{name}.list"), file(""))
    again = planned(machine)
    assert again.is_empty(), shown(again)


def _with_cudart() -> dict[str, Offer]:
    return {**offers(), "libcudart12": Offer("12.0.146", brings=((Key("library", "cudart"), Library("12.0", "x")),))}


def test_undo_restores_files_and_lets_packages_go(tmp_path: Path) -> None:
    machine = with_kernel(node("l4-bare", files=BUILT, offers=_with_cudart()), "l4-bare")
    before = {
        key: state
        for key, state in machine.snapshot().items()
        if key.kind == "file" and not key.name.startswith("/sys/")
    }
    plan = plan_of(PAGE, NVIDIA, machine)
    done, result = run(machine, plan, tmp_path)
    assert result.code() == 0
    assert any("stay installed" in line for line in result.lasting)
    undo(machine, done, tmp_path)
    after = {key: state for key, state in machine.snapshot().items() if key.kind == "file"}
    # The loaded module stays until the next boot, as was told.
    assert {key: state for key, state in after.items() if not key.name.startswith("/sys/")} == before
    assert machine.package(TOOLKIT[0]) == Package(VERSION, held=False)


def test_a_library_that_cannot_be_loaded_is_a_failure(tmp_path: Path) -> None:
    machine = with_kernel(node("l4-bare", files=BUILT), "l4-bare")
    result = applied(machine, tmp_path)
    assert result.code() == 4
    assert "programs cannot load libcudart" in str(result)


def test_management_nodes_get_no_cuda() -> None:
    machine = node("l4-bare", files=BUILT)
    plan = plan_of(PAGE, NVIDIA, machine, Context(host=machine.host, roles=("management",)))
    assert "cuda" not in steps(plan)


# ── the driver that is there ───────────────────────────────────────────────────────────────────────────────────────


def test_a_healthy_driver_is_kept() -> None:
    plan = planned(node("l4-bare", {**healthy("l4-bare"), **CONVERGED}), hold=False)
    assert not {"driver", "load", "other-driver", "lists"} & set(steps(plan))


def test_a_vendors_own_driver_is_kept_and_not_mixed() -> None:
    runfile = {"/usr/bin/nvidia-uninstall": ""}
    states = nvml(Nvml(driver=DRIVER, cuda=(13, 0))) | {Key("file", MODULE_VERSION): file(DRIVER)}
    assert "driver" not in steps(planned(node("l4-bare", states, files=runfile)))
    broken = planned(node("l4-bare", nvml(Nvml(error=9, message="Driver Not Loaded")), files=runfile))
    assert "nvidia-uninstall" in reason(broken)
    assert "driver" not in steps(planned(node("l4-bare", files=runfile), driver="keep"))


def test_a_hanging_driver_is_not_touched() -> None:
    unknown = {"library:nvml": "NVIDIA's driver: no answer within 10 s"}
    machine = node("l4-bare", {Key("file", MODULE_VERSION): file(DRIVER)}, unknown=unknown)
    assert "no answer within 10 s" in reason(planned(machine))


def test_another_branch_replaces_the_packages_of_the_old_one() -> None:
    old = {name.replace("580", "570"): "570.86.15-0ubuntu1" for name in NVIDIA_PACKAGES}
    states = {
        **nvml(Nvml(driver="570.86.15", cuda=(12, 8))),
        **installed(old),
        Key("file", MODULE_VERSION): file("570.86.15"),
    }
    plan = planned(node("l4-bare", states, files=BUILT), driver="580")
    assert changed(plan, "other-driver") == [f"package {name}" for name in sorted(old)]
    assert changed(plan, "driver") == [f"package {name}" for name in NVIDIA_PACKAGES]


def test_installed_packages_decide_the_branch() -> None:
    """A node that someone began to set up with 570 is finished with 570."""
    names = {name.replace("580", "570"): "570.86.15-0ubuntu1" for name in NVIDIA_PACKAGES}
    states = {**nvml(Nvml(error=9, message="Driver Not Loaded")), **installed(names)}
    plan = planned(node("l4-bare", states, files=BUILT))
    assert "other-driver" not in steps(plan)
    assert not changed(plan, "driver")
    assert changed(plan, "load") == ["load NVIDIA's kernel module"]


@pytest.mark.parametrize(
    "name, table, message",
    [
        ("v100-b200", {}, "no driver supports both"),
        ("v100", {"flavour": "server-open"}, "closed kernel modules"),
        ("b200x2", {"flavour": "server"}, "open kernel modules"),
        ("b200x2", {"driver": "550"}, "need driver branch 570"),
        ("v100", {"driver": "590"}, 'set driver = "580"'),
    ],
)
def test_unsupported_settings_are_reported_before_any_change(name: str, table: dict[str, Any], message: str) -> None:
    plan = planned(node(name, files=BUILT), **table)
    assert message in reason(plan)
    assert steps(plan) == ["driver"]


def test_closed_modules_for_old_generations() -> None:
    names = [name.replace("-open", "") for name in NVIDIA_PACKAGES]
    plan = planned(node("v100", files=BUILT, offers=offers(*names)))
    assert changed(plan, "driver") == [f"package {name}" for name in names]


# ── kernels, Secure Boot, nouveau ──────────────────────────────────────────────────────────────────────────────────


def _dkms() -> dict[str, Offer]:
    """Without prebuilt modules, with headers."""
    names = [name for name in offers() if not name.startswith("linux-modules")]
    more = [
        "nvidia-dkms-580-server-open",
        f"linux-headers-{KERNEL}",
        f"linux-headers-{NEWER}",
        "linux-headers-generic",
    ]
    return {name: Offer(VERSION) for name in (*names, *more)}


def test_without_prebuilt_modules_they_are_built_for_both_kernels() -> None:
    machine = node("l4-bare", files={f"/boot/vmlinuz-{NEWER}": "", **BUILT}, offers=_dkms())
    assert changed(planned(machine), "driver")[3:] == [
        "package nvidia-dkms-580-server-open",
        f"package linux-headers-{KERNEL}",
        f"package linux-headers-{NEWER}",
        "package linux-headers-generic",
    ]


def test_no_headers_for_the_next_kernel_is_reported_before() -> None:
    packages = _dkms()
    del packages[f"linux-headers-{NEWER}"]
    machine = node("l4-bare", files={f"/boot/vmlinuz-{NEWER}": ""}, offers=packages)
    assert f"linux-headers-{NEWER}" in reason(planned(machine))


SECURE = {SECURE_BOOT: "\x06\0\0\0\x01"}


def test_secure_boot_blocks_modules_that_no_one_signed() -> None:
    assert "Secure Boot is enabled" in reason(planned(node("l4-bare", kernel=SECURE, offers=_dkms())))


@pytest.mark.parametrize("state", ["prebuilt", "off", "enrolled"])
def test_secure_boot_does_not_block_a_trusted_signature(state: str) -> None:
    key = "/var/lib/shim-signed/mok/MOK.der"
    asked = {("mokutil", "--test-key", key): Completed(1, f"{key} is already enrolled\n", "")}
    machine = node(
        "l4-bare",
        kernel={SECURE_BOOT: "\x06\0\0\0\x00"} if state == "off" else SECURE,
        files={key: ""} if state == "enrolled" else {},
        offers=offers() if state == "prebuilt" else _dkms(),
        looks=asked,
    )
    assert changed(planned(machine), "driver")


@pytest.mark.parametrize("program", ["update-initramfs", "dracut"])
def test_nouveau_leaves_at_the_next_boot_and_resume_continues(program: str, tmp_path: Path) -> None:
    """Code 5; then, as after a reboot: nouveau gone, the rest is done."""
    held = {"/sys/bus/pci/drivers/nouveau/0000:17:00.0/x": ""}
    theirs = {"/usr/bin/dracut": ""} if program == "dracut" else {}
    machine = with_kernel(node("l4-nouveau", files={**BUILT, **held, **theirs}, offers=_with_cudart()), "l4-nouveau")
    result = applied(machine, tmp_path)
    assert result.code() == 5
    assert "nouveau controls GPU 0000:17:00.0" in str(result)
    assert machine.package(TOOLKIT[0]) is not None, "what needs no driver is done before the reboot"
    for path in held:
        machine.set_state(Key("file", path), None)
    machine.set_state(Key("file", "/sys/bus/pci/drivers/nouveau/0000:17:00.0"), None)
    assert applied(machine, tmp_path).code() == 0
    assert machine.text(MODULE_VERSION) == f"{DRIVER}\n"
    (update,) = [command for command in performed(machine, RunCommand) if command.argv[0] == program]
    assert update.undo == update.argv


def test_modules_for_the_next_kernel_only_need_a_reboot(tmp_path: Path) -> None:
    newer = [name.replace(KERNEL, NEWER) for name in NVIDIA_PACKAGES]
    machine = node("l4-bare", files={f"/boot/vmlinuz-{NEWER}": ""}, offers={**offers(*newer), **_with_cudart()})
    result = applied(with_kernel(machine, "l4-bare"), tmp_path)
    assert result.code() == 5
    assert f"the next boot's kernel {NEWER} has one" in str(result)
    assert machine.package(f"linux-modules-nvidia-580-server-open-{NEWER}") is not None


def test_a_module_that_was_not_built_is_reported_with_the_place_of_its_log(tmp_path: Path) -> None:
    states = {**nvml(Nvml(error=9)), **installed(dict.fromkeys(NVIDIA_PACKAGES, VERSION))}
    assert "make.log" in reason(planned(node("l4-bare", states)), "load")


def test_an_updated_driver_is_reloaded_or_waits_for_a_reboot(tmp_path: Path) -> None:
    """Libraries 580.95.05, module 580.65.06: the mismatch that unattended upgrades leave behind."""
    states = {
        **nvml(Nvml(error=18, message="RM has detected an NVML/RM version mismatch.")),
        **installed(dict.fromkeys(NVIDIA_PACKAGES, VERSION)),
        **CONVERGED,
        Key("file", MODULE_VERSION): file("580.65.06\n"),
    }
    machine = node("l4-bare", {**states, Key("library", "cudart"): None}, files=BUILT)
    plan = planned(machine, cuda_toolkit="none", hold=False)
    assert changed(plan, "load") == ["unload NVIDIA's old kernel modules", "load NVIDIA's kernel module"]

    def in_use(operation: Operation, moment: str) -> None:
        if moment == "before" and isinstance(operation, RunCommand) and "--remove" in operation.argv:
            raise StepFailed("modprobe: FATAL: Module nvidia is in use.")

    machine.fault = in_use
    _, result = run(machine, plan, tmp_path)
    assert result.code() == 5
    with_kernel(machine, "l4-bare")
    assert run(machine, planned(machine, cuda_toolkit="none", hold=False), tmp_path)[1].code() == 0
    assert machine.text(MODULE_VERSION) == f"{DRIVER}\n"


# ── fabric manager, persistence, container toolkit ─────────────────────────────────────────────────────────────────


def test_the_fabric_manager_has_exactly_the_drivers_version(tmp_path: Path) -> None:
    fabric = {FABRIC_MANAGER: Unit("disabled", "inactive")}
    brings = tuple((Key("unit", name), unit) for name, unit in fabric.items())
    packages = {**_with_cudart(), "nvidia-fabricmanager-580": Offer(VERSION, brings=brings)}
    machine = node("h100x8", {**healthy("h100x8"), **CONVERGED}, offers=packages)
    assert applied(machine, tmp_path, {"nvidia": {"cuda_toolkit": "none"}}).code() == 0
    (install,) = performed(machine, InstallPackages)
    assert install.versions == (f"{DRIVER}-*", f"{DRIVER}-*")
    assert machine.unit(FABRIC_MANAGER) == Unit("enabled", "active")


def test_a_fabric_manager_of_another_version_is_replaced_although_held() -> None:
    wrong: dict[Key, State | None] = {
        **installed({"nvidia-fabricmanager-580": "580.65.06-1", "libnvidia-nscq-580": VERSION}),
        Key("package", "nvidia-fabricmanager-580"): Package("580.65.06-1", held=True),
        Key("unit", FABRIC_MANAGER): Unit("enabled", "failed"),
    }
    plan = planned(node("h100x8", {**healthy("h100x8"), **CONVERGED, **wrong}))
    assert changed(plan, "fabric") == ["package nvidia-fabricmanager-580", "package nvidia-fabricmanager-580"]
    assert "package libnvidia-nscq-580" not in changed(plan, "fabric")


def test_no_fabric_manager_without_switches() -> None:
    plan = planned(node("l4-bare", {**healthy("l4-bare"), **CONVERGED}))
    assert not {"fabric", "fabric-manager"} & set(steps(plan))


def test_hgx_b200_has_a_fabric_although_no_switch_is_on_the_bus() -> None:
    assert "fabric" in steps(planned(node("b200x2", files=BUILT)))


def test_persistence_mode_is_switched_on_where_the_unit_switches_it_off(tmp_path: Path) -> None:
    unit = (
        "[Service]\nType=forking\n"
        "ExecStart=/usr/bin/nvidia-persistenced --user nvidia-persistenced --no-persistence-mode --verbose\n"
    )
    states = {**healthy("l4-bare"), **CONVERGED, Key("unit", PERSISTENCED): Unit("static", "active", 100.0)}
    machine = node("l4-bare", states, files={PERSISTENCED_FILE: unit})
    table = {"nvidia": {"cuda_toolkit": "none"}}
    assert applied(machine, tmp_path, table).code() == 0
    written = machine.text(f"/etc/systemd/system/{PERSISTENCED}.d/bai-wizard.conf") or ""
    assert (
        "ExecStart=\nExecStart=/usr/bin/nvidia-persistenced --user nvidia-persistenced --persistence-mode" in written
    )
    assert plan_of(PAGE, table, machine).is_empty()


@pytest.mark.parametrize(
    "runtime",
    [
        {"path": "nvidia-container-runtime", "runtimeArgs": []},
        {"path": "nvidia-container-runtime"},
        {"path": "/usr/bin/nvidia-container-runtime", "runtimeArgs": []},
    ],
)
def test_the_file_of_nvidia_docker2_is_kept_and_docker_is_not_restarted(runtime: dict[str, object]) -> None:
    states = {**healthy("l4-bare"), **CONVERGED, Key("unit", "docker.service"): Unit("enabled", "active", 100.0)}
    states[Key("file", DAEMON_JSON)] = file(json.dumps({"runtimes": {"nvidia": runtime}}))
    plan = planned(node("l4-bare", states, affected={"docker.restart": ("session-1",)}), hold=False)
    assert changed(plan, "docker-config") == []
    assert changed(plan, "docker-restart") == []


def test_docker_is_restarted_once_and_only_where_it_has_not_read_its_file(tmp_path: Path) -> None:
    states = {**healthy("l4-bare"), **CONVERGED, Key("unit", "docker.service"): Unit("enabled", "active", 100.0)}
    states[Key("file", DAEMON_JSON)] = file('{"log-driver": "local"}\n')
    machine = node("l4-bare", states, affected={"docker.restart": ("session-1",)})
    plan = planned(machine, cuda_toolkit="none", hold=False)
    assert "restart docker.service" in changed(plan, "docker-restart")
    (step,) = [item.step for item in plan.steps if item.step.id.endswith("docker-restart")]
    assert step.interrupts == ("docker.restart",)
    assert '"log-driver": "local"' in shown(plan), "other people's keys stay"


def test_the_proof_uses_an_image_at_hand(tmp_path: Path) -> None:
    images = [
        {"RepoTags": ["alpine:3"], "Size": 1},
        {"RepoTags": ["cr.backend.ai/stable/python:3.13-ubuntu24.04-amd64"], "Size": 900},
        {"RepoTags": None, "Size": 5},
    ]
    states = {**healthy("l4-bare"), **CONVERGED}
    states |= {Key("file", DAEMON_JSON): None, Key("unit", "docker.service"): Unit("enabled", "active", 100.0)}
    machine = node("l4-bare", states, engine={"/images/json": images, "/info": {"Runtimes": {"runc": {}}}})
    table = {"nvidia": {"cuda_toolkit": "none"}}
    assert applied(machine, tmp_path, table).code() == 0
    (cache,) = performed(machine, RunCommand)
    assert cache.argv[:3] == ("docker", "run", "--rm")
    assert cache.argv[-3:] == ("nvidia-smi", images[1]["RepoTags"][0], "-L")  # type: ignore[index]
    assert plan_of(PAGE, table, machine).is_empty()


def test_cdi_is_enabled_in_addition_to_the_runtime() -> None:
    plan = planned(node("l4-bare", {**healthy("l4-bare"), **CONVERGED}), cdi=True)
    assert '"cdi": true' in shown(plan)
    assert changed(plan, "cdi") == ["generate the CDI specification"]


def test_a_mirror_replaces_nvidias_address() -> None:
    plan = planned(node("l4-bare", healthy("l4-bare")), apt_url="https://mirror.corp/nvidia")
    assert "URIs: https://mirror.corp/nvidia" in shown(plan)


def test_a_wrong_key_file_blocks() -> None:
    key = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n-----END PGP PUBLIC KEY BLOCK-----\n"
    machine = node("l4-bare", healthy("l4-bare"), files={"/root/key.asc": key})
    plan = planned(machine, key_file="/root/key.asc")
    assert "not the expected one" in reason(plan, "nvidia-container-toolkit-key")


def test_nvidias_own_repository_wants_its_key() -> None:
    machine = node("l4-bare", files=BUILT)
    settings = settings_from(PAGE.settings, {"nvidia": {"source": "nvidia"}})
    context = Context(host="gpu01", demo=True)
    plan = plan_of(PAGE, {"nvidia": {"source": "nvidia"}}, machine, context)
    assert settings.nvidia.source == "nvidia"
    assert "3bf863cc.pub" in reason(plan, "nvidia-cuda-key")


def test_a_container_gets_no_driver() -> None:
    """Its kernel belongs to the host; the toolkit's configuration is its own."""
    result = steps(planned(node("l4-bare", container=True)))
    assert not {"driver", "load", "persistence", "fabric"} & set(result)


def test_without_its_table_nvidia_is_only_shown() -> None:
    assert plan_of(PAGE, {}, node("l4-bare")).steps == ()


def test_the_restart_after_the_toolkit_is_planned_as_it_comes(tmp_path: Path) -> None:
    """The hook is a file of packages: a plan that did not expect it would be refused as changed since review."""
    brings = ((Key("file", HOOK), file("")),)
    packages = {**offers(), TOOLKIT[0]: Offer("1.18.0-1", brings=brings)}
    states = {**healthy("l4-bare"), Key("unit", "docker.service"): Unit("enabled", "active", 100.0)}
    machine = node("l4-bare", states, offers=packages)
    assert applied(machine, tmp_path, {"nvidia": {"cuda_toolkit": "none"}}).code() == 0
    (restart,) = performed(machine, RestartUnit)
    assert HOOK in restart.reason


def test_a_module_that_the_kernel_refuses_is_a_failure_and_no_reboot(tmp_path: Path) -> None:
    """Nothing was loaded before, so a restart would change nothing."""

    def refuse(operation: Operation, moment: str) -> None:
        if moment == "before" and isinstance(operation, RunCommand) and operation.argv[0] == "modprobe":
            raise StepFailed("modprobe: ERROR: could not insert 'nvidia': Key was rejected by service")

    machine = node("l4-bare", files=BUILT, offers=_with_cudart())
    machine.fault = refuse
    result = applied(machine, tmp_path)
    assert result.code() == 4
    assert "Key was rejected" in str(result)


def test_prebuilt_modules_for_the_running_kernel_alone_are_not_enough() -> None:
    """The next boot would have none: they are built for both."""
    packages = {**_dkms(), f"linux-modules-nvidia-580-server-open-{KERNEL}": Offer(VERSION)}
    machine = node("l4-bare", files={f"/boot/vmlinuz-{NEWER}": "", **BUILT}, offers=packages)
    assert "package nvidia-dkms-580-server-open" in changed(planned(machine), "driver")
    assert f"package linux-modules-nvidia-580-server-open-{KERNEL}" not in changed(planned(machine), "driver")


def test_modules_of_the_wrong_kind_are_replaced_although_the_driver_answers() -> None:
    """Closed modules load on Blackwell and find no device."""
    closed = {name.replace("-open", ""): VERSION for name in NVIDIA_PACKAGES}
    states = {
        **nvml(Nvml(driver=DRIVER, cuda=(13, 0))),
        **installed(closed),
        Key("file", MODULE_VERSION): file(DRIVER),
    }
    plan = planned(node("b200x2", states, files=BUILT))
    gone = changed(plan, "other-driver")
    assert "package nvidia-headless-no-dkms-580-server" in gone
    assert "package linux-modules-nvidia-580-server-generic" in gone
    assert "package libnvidia-compute-580-server" not in gone, "the libraries serve both kinds"
    assert "package nvidia-headless-no-dkms-580-server-open" in changed(plan, "driver")
    right = {"/proc/driver/nvidia/version": "NVIDIA UNIX Open Kernel Module for x86_64  580.95.05"}
    assert "driver" not in steps(planned(node("b200x2", states, kernel=right)))
