"""Each failure of the catalog, reproduced on a node, and a similar state that must not be reported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bai_wizard.core.machine import Completed
from bai_wizard.core.page import Context, Finding
from bai_wizard.core.state import Entry, Group, Key, Library, Membership, Mount, State, Sysctl, Unit
from bai_wizard.core.step import Blocked
from bai_wizard.node.hardware import Gpu, Nvml
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.pages.accelerators.check_containers import RUNTIME_CONFIG
from bai_wizard.pages.accelerators.check_gpus import satisfied
from bai_wizard.pages.accelerators.checks import CHECKS
from bai_wizard.pages.accelerators.nvidia.driver import HOOK
from bai_wizard.pages.accelerators.nvidia.driver_steps import FABRIC_MANAGER, MODULE_VERSION, PERSISTENCED
from bai_wizard.pages.accelerators.nvidia.probe import SECURE_BOOT
from bai_wizard.pages.check import check_texts
from bai_wizard.steps.docker import DAEMON_JSON
from tests.pages.accelerators.buses import (
    DRIVER,
    KERNEL,
    NEWER,
    NVIDIA_PACKAGES,
    VERSION,
    gpus,
    healthy,
    installed,
    nvml,
)
from tests.pages.accelerators.buses import node as made
from tests.pages.ubuntu import file

BY_ID = {check.id: check for check in CHECKS}
BUILT = {f"/lib/modules/{KERNEL}/modules.dep": "kernel/nvidia-580srv-open/nvidia.ko.zst:\n"}
DOCKER: dict[Key, State | None] = {Key("unit", "docker.service"): Unit("enabled", "active", 100.0)}
ENGINE: dict[str, Any] = {
    "/info": {"Runtimes": {"runc": {}, "nvidia": {}}, "CgroupDriver": "systemd"},
    "/version": {"Version": "28.5.1"},
    "/containers/json": [],
    "/images/json": [],
}
REGISTERED = '{"runtimes": {"nvidia": {"path": "nvidia-container-runtime"}}}'
TOOLKIT = installed({"nvidia-container-toolkit": "1.18.0-1"})
LOG = ("journalctl", "-k", "-b", "--no-pager", "-q", "-o", "cat", "-g", "NVRM")
LOG_OF_KEYS = (*LOG[:-1], "key")
SMI = ("docker", "exec", "s1", "nvidia-smi", "-L")
SPEC = f"""cdiVersion: 0.5.0
kind: nvidia.com/gpu
devices:
- name: "0"
  containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
    mounts:
    - hostPath: /usr/lib/x86_64-linux-gnu/libcuda.so.{DRIVER}
"""
SPEC_FILES = {"/dev/nvidia0": "", f"/usr/lib/x86_64-linux-gnu/libcuda.so.{DRIVER}": ""}


def well(name: str = "l4-bare", states: Any = None, files: Any = None, **about: Any) -> SimulatedMachine:
    """A node whose driver, Docker and container toolkit are all right, with changes laid over it."""
    there = {**healthy(name), **DOCKER, **TOOLKIT, Key("file", DAEMON_JSON): file(REGISTERED), **(states or {})}
    right = {**BUILT, HOOK: "", "/dev/char/195:0": "", **(files or {})}
    engine = {**ENGINE, **about.pop("engine", {})}
    looks = {LOG: Completed(1, "", ""), LOG_OF_KEYS: Completed(1, "", ""), **about.pop("looks", {})}
    return made(name, there, files=right, engine=engine, looks=looks, **about)


def answering(*result: Gpu, name: str = "l4-bare", states: Any = None, **about: Any) -> SimulatedMachine:
    return well(name, {**nvml(Nvml(driver=DRIVER, cuda=(13, 0), gpus=result)), **(states or {})}, **about)


def broken(error: int, states: Any = None, files: Any = None, **about: Any) -> SimulatedMachine:
    """A node whose driver is installed and says why it does not work."""
    there = {**nvml(Nvml(error=error, message="told by NVML")), Key("file", MODULE_VERSION): None, **(states or {})}
    return well("l4-bare", there, files, **about)


def image(require: str) -> dict[str, Any]:
    return {
        "/images/json": [{"Id": "sha256:1", "RepoTags": ["nvcr.io/nvidia/pytorch:25.08-py3"]}],
        "/images/sha256:1/json": {"Config": {"Env": ["PATH=/bin", f"NVIDIA_REQUIRE_CUDA={require}"]}},
    }


def container(host: dict[str, Any]) -> dict[str, Any]:
    return {"/containers/json": [{"Id": "1", "Names": ["/s1"]}], "/containers/1/json": {"HostConfig": host}}


def dkms(log: str, **about: Any) -> SimulatedMachine:
    """A node where the module is built, for a next kernel that has none yet."""
    packages = installed({"nvidia-dkms-580-server-open": VERSION})
    files = {
        f"/boot/vmlinuz-{NEWER}": "",
        f"/var/lib/dkms/nvidia/{DRIVER}/build/make.log": log,
        f"/boot/config-{NEWER}": 'CONFIG_CC_VERSION_TEXT="x86_64-linux-gnu-gcc-14 (Ubuntu 14.2.0) 14.2.0"\n',
        f"/lib/modules/{NEWER}/build/Makefile": "",
        **about.pop("files", {}),
    }
    return well("l4-bare", packages, files, **about)


def other(name: str, files: Any = None, states: Any = None, **about: Any) -> SimulatedMachine:
    return made(
        name, {**DOCKER, **(states or {})}, files=files, engine={**ENGINE, **about.pop("engine", {})}, **about
    )


AMD = {Key("group", "render"): Group("render", 992), Key("group", "video"): Group("video", 44)}
HUGE = "/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages"
GAUDI = {f"/sys/module/{name}/x": "" for name in ("habanalabs", "habanalabs_cn", "habanalabs_en", "ib_uverbs")}
ONE = gpus("l4-bare")[0]
MISMATCH = {Key("file", MODULE_VERSION): file("580.65.06\n"), **nvml(Nvml(error=18, message="version mismatch"))}


# Id of the failure → a node that has it, and nodes that only look as if.
def atom(tool: str) -> dict[str, str]:
    """The configuration of the Rebellions plug-in."""
    return {"/etc/backend.ai/atom.toml": f'[general]\nrbln_stat_path = "{tool}"\n'}


FAILURES: dict[str, tuple[Callable[[], SimulatedMachine], list[Callable[[], SimulatedMachine]]]] = {
    "accelerators.nvidia-lib-mismatch": (
        lambda: well("l4-bare", MISMATCH),
        [well, lambda: well("l4-bare", installed({"libnvidia-compute-580-server": "580.95.05-0ubuntu9"}))],
    ),
    "accelerators.nvidia-module-missing": (
        lambda: broken(9),
        [well, lambda: broken(9, container=True), lambda: made("none")],
    ),
    "accelerators.nvidia-libnvidia-ml-missing": (
        lambda: well("l4-bare", {Key("library", "nvml"): None}),
        [well, lambda: well("l4-bare", MISMATCH), lambda: broken(9)],
    ),
    "accelerators.nvidia-package-conflict": (
        lambda: well("l4-bare", installed({"nvidia-utils-570-server": "570.86.15-1"})),
        [well, lambda: well("l4-bare", installed({"nvidia-modprobe": "570.86.15-1"}))],
    ),
    "accelerators.nvidia-nouveau": (lambda: made("l4-nouveau"), [well, lambda: made("l4-bare")]),
    "accelerators.nvidia-secure-boot": (
        lambda: broken(
            9,
            kernel={SECURE_BOOT: "\x06\0\0\0\x01"},
            looks={LOG_OF_KEYS: Completed(0, "Loading of module with unavailable key is rejected\n", "")},
        ),
        [
            lambda: well(kernel={SECURE_BOOT: "\x06\0\0\0\x01"}),
            lambda: broken(9, kernel={SECURE_BOOT: "\x06\0\0\0\x01"}),
            lambda: broken(9, kernel={SECURE_BOOT: "\x06\0\0\0\x00"}),
        ],
    ),
    "accelerators.nvidia-open-vs-closed": (
        lambda: well("b200x2"),
        [
            lambda: well(
                "b200x2", kernel={"/proc/driver/nvidia/version": "NVIDIA UNIX Open Kernel Module for x86_64"}
            ),
            lambda: well("v100"),
            well,
        ],
    ),
    "accelerators.nvidia-smi-shadowed": (
        lambda: well(files={"/usr/local/bin/nvidia-smi": ""}),
        [well, lambda: well(files={"/usr/bin/nvidia-smi": ""})],
    ),
    "accelerators.nvidia-headers-missing": (
        lambda: dkms("", files={f"/lib/modules/{NEWER}/build/Makefile": None}),
        [lambda: dkms(""), well],
    ),
    "accelerators.nvidia-dkms-compiler": (
        lambda: dkms("gcc: error: unrecognized command-line option '-ftrivial-auto-var-init=zero'\n"),
        [
            lambda: dkms("LD [M] nvidia.ko\n"),
            lambda: dkms(
                "unrecognized command-line option\n",
                files={f"/lib/modules/{NEWER}/modules.dep": "updates/nvidia.ko:\n"},
            ),
        ],
    ),
    "accelerators.nvidia-dkms-too-new-kernel": (
        lambda: dkms("nv-mmap.c:1: error: implicit declaration of function 'x'\n"),
        [
            lambda: dkms("unrecognized command-line option\nimplicit declaration\n"),
            lambda: dkms("CC [M] conftest\n", files={f"/lib/modules/{NEWER}/modules.dep": "updates/nvidia.ko:\n"}),
        ],
    ),
    "accelerators.nvidia-fabricmanager-missing": (
        lambda: well("h100x8"),
        [
            lambda: answering(
                *gpus("h100x8", fabric="completed"),
                name="h100x8",
                states={Key("unit", FABRIC_MANAGER): Unit("enabled", "active")},
            ),
            well,
        ],
    ),
    "accelerators.nvidia-fabricmanager-version": (
        lambda: well(
            "h100x8",
            {
                **installed({"nvidia-fabricmanager-580": "580.65.06-1"}),
                Key("unit", FABRIC_MANAGER): Unit("enabled", "failed"),
            },
        ),
        [
            lambda: well("h100x8", installed({"nvidia-fabricmanager-580": f"{DRIVER}-1"})),
            lambda: well("l4-bare", installed({"nvidia-fabricmanager-580": "580.65.06-1"})),
        ],
    ),
    "accelerators.nvidia-fabricmanager-not-needed": (
        lambda: well("l4-bare", {Key("unit", FABRIC_MANAGER): Unit("enabled", "failed")}),
        [
            lambda: well("h100x8", {Key("unit", FABRIC_MANAGER): Unit("enabled", "failed")}),
            lambda: well("l4-bare", {Key("unit", FABRIC_MANAGER): Unit("disabled", "inactive")}),
            lambda: well("l4-bare", {Key("unit", FABRIC_MANAGER): Unit("disabled", "failed")}),
        ],
    ),
    "accelerators.nvidia-xid79": (
        lambda: answering(
            *gpus("h100x8")[1:],
            name="h100x8",
            looks={LOG: Completed(0, "NVRM: Xid (PCI:0000:19:00.0): 79, GPU has fallen off the bus.\n", "")},
        ),
        [
            lambda: well("h100x8"),
            # An old line about a GPU that answers again.
            lambda: well("h100x8", looks={LOG: Completed(0, "NVRM: Xid (PCI:0000:19:00.0): 79, gone\n", "")}),
        ],
    ),
    "accelerators.nvidia-ecc": (
        lambda: answering(*gpus("l4-bare", uncorrected=4, remap=(True, False))),
        [
            well,
            lambda: well(looks={LOG: Completed(0, "NVRM: Xid (PCI:0000:17:00.0): 31, MMU fault\n", "")}),
        ],
    ),
    "accelerators.nvidia-mig-pending": (
        lambda: answering(*gpus("l4-bare", mig=(False, True))),
        [lambda: answering(*gpus("l4-bare", mig=(True, True), slices=("MIG-1",))), well],
    ),
    "accelerators.nvidia-mig-lost": (
        lambda: answering(*gpus("l4-bare", mig=(True, True))),
        [lambda: answering(*gpus("l4-bare", mig=(True, True), slices=("MIG-1",))), well],
    ),
    "accelerators.nvidia-persistence": (
        lambda: answering(
            *gpus("l4-bare", persistence=False), states={Key("unit", PERSISTENCED): Unit("static", "active")}
        ),
        [well, lambda: answering(*gpus("l4-bare", persistence=None))],
    ),
    "accelerators.nvidia-require-cuda": (
        lambda: answering(
            ONE,
            states=nvml(Nvml(driver="570.86.15", cuda=(12, 8), gpus=(ONE,))),
            engine=image("cuda>=13.0"),
        ),
        [
            lambda: well(engine=image("cuda>=12.8 brand=tesla,driver>=470,driver<471")),
            lambda: well(engine=image("brand=tesla,driver>=580,driver<581")),
            well,
        ],
    ),
    "accelerators.nvidia-forward-compat": (
        lambda: well(files={"/etc/ld.so.conf.d/cuda.conf": "/usr/local/cuda/compat\n"}),
        [lambda: well(files={"/etc/ld.so.conf.d/cuda.conf": "/usr/local/cuda/lib64\n"}), well],
    ),
    "accelerators.nvidia-nvcc-missing": (
        lambda: well("l4-bare", {Key("file", "/etc/profile.d/x.sh"): file("")}, {"/usr/local/cuda/bin/nvcc": ""}),
        [
            well,
            lambda: well(files={"/usr/local/cuda/bin/nvcc": "", "/etc/profile.d/c.sh": "PATH=$PATH:/opt/cuda/bin\n"}),
        ],
    ),
    "accelerators.nvidia-docker-no-driver": (
        lambda: well(files={HOOK: None}),
        [well, lambda: well("l4-bare", {Key("unit", "docker.service"): None})],
    ),
    "accelerators.nvidia-no-cgroups": (
        lambda: well(files={RUNTIME_CONFIG: "[nvidia-container-cli]\nno-cgroups = true # rootless\n"}),
        [
            well,
            lambda: well(files={RUNTIME_CONFIG: "[nvidia-container-cli]\n#no-cgroups = true\n"}),
            lambda: well(files={RUNTIME_CONFIG: "no-cgroups = true\n[nvidia-container-cli]\nno-cgroups = false\n"}),
        ],
    ),
    "accelerators.nvidia-docker-no-cdi-vendor": (
        lambda: well(files={HOOK: None}, engine={"/version": {"Version": "29.0.1"}}),
        [
            lambda: well(files={HOOK: None}),
            lambda: well(engine={"/version": {"Version": "29.0.1"}}),
            lambda: well(files={HOOK: None, "/run/cdi/amd.json": "{}"}, engine={"/version": {"Version": "29.0.1"}}),
        ],
    ),
    "accelerators.nvidia-runtime-unknown": (
        lambda: well(engine={"/info": {"Runtimes": {"runc": {}}}}),
        [well, lambda: well("l4-bare", {Key("unit", "docker.service"): None})],
    ),
    "accelerators.nvidia-legacy-docker2": (
        lambda: well("l4-bare", installed({"nvidia-docker2": "2.13.0-1"})),
        [well, lambda: well(files={"/etc/apt/sources.list.d/libnvidia-container.list": "deb x /\n"})],
    ),
    "accelerators.nvidia-nvml-unknown-error": (
        lambda: well(
            engine=container({"Runtime": "nvidia"}),
            looks={SMI: Completed(255, "Failed to initialize NVML: Unknown Error\n", "")},
        ),
        [
            well,
            lambda: well(engine=container({"Runtime": "nvidia"}), looks={SMI: Completed(0, "GPU 0: L4\n", "")}),
            lambda: well(engine=container({"Runtime": "runc"}), files={"/dev/char/195:0": None}),
        ],
    ),
    "accelerators.nvidia-cdi-unresolvable": (
        lambda: well("l4-bare", {Key("file", DAEMON_JSON): file('{"features": {"cdi": true}}')}),
        [
            well,
            lambda: well(
                "l4-bare",
                {Key("file", DAEMON_JSON): file('{"features": {"cdi": true}}')},
                {"/run/cdi/nvidia.yaml": SPEC},
            ),
        ],
    ),
    "accelerators.nvidia-cdi-stale": (
        lambda: well(files={"/etc/cdi/nvidia.yaml": SPEC.replace(DRIVER, "570.86.15"), **SPEC_FILES}),
        [lambda: well(files={"/etc/cdi/nvidia.yaml": SPEC, **SPEC_FILES}), well],
    ),
    "accelerators.amd-kfd-missing": (
        lambda: other("mi300x"),
        [lambda: other("mi300x", {"/dev/kfd": ""}), lambda: other("none")],
    ),
    "accelerators.amd-kfd-permission": (
        lambda: other("mi300x", states=AMD),
        [
            lambda: other("mi300x"),
            lambda: other(
                "mi300x", states={**AMD, **{Key("member", f"{one}:bai"): _member() for one in ("render", "video")}}
            ),
        ],
    ),
    "accelerators.gaudi-version-mismatch": (
        lambda: other(
            "gaudi3",
            kernel={"/sys/module/habanalabs/version": "1.16.0-abc"},
            engine={"/images/json": [{"RepoTags": ["vault.habana.ai/gaudi-docker/1.15.1/ubuntu22.04/x:latest"]}]},
        ),
        [
            lambda: other(
                "gaudi3",
                kernel={"/sys/module/habanalabs/version": "1.15.0-abc"},
                engine={"/images/json": [{"RepoTags": ["vault.habana.ai/gaudi-docker/1.15.1/ubuntu22.04/x:latest"]}]},
            ),
            lambda: other("gaudi3"),
        ],
    ),
    "accelerators.gaudi-ib-module": (
        lambda: other("gaudi3", GAUDI),
        [lambda: other("gaudi3", {**GAUDI, "/sys/module/habanalabs_ib/x": ""}), lambda: other("gaudi3")],
    ),
    "accelerators.gaudi-runtime-unknown": (
        lambda: other("gaudi3", {"/usr/bin/habana-container-runtime": ""}),
        [
            lambda: other("gaudi3"),
            lambda: other(
                "gaudi3",
                {"/usr/bin/habana-container-runtime": ""},
                engine={"/info": {"Runtimes": {"habana": {}, "runc": {}}}},
            ),
        ],
    ),
    "accelerators.furiosa-iouring": (
        lambda: other("furiosa", states={Key("sysctl", "kernel.io_uring_disabled"): Sysctl("2")}),
        [
            lambda: other("furiosa", {DAEMON_JSON: '{"seccomp-profile": "/etc/docker/npu.json"}'}),
            lambda: other("furiosa", engine={"/version": {"Version": "24.0.7"}}),
        ],
    ),
    "accelerators.rbln-kernel": (
        lambda: other("rebellions"),
        [
            lambda: other("rebellions", {"/dev/rbln0": ""}),
            lambda: other("rebellions", {f"/lib/modules/{KERNEL}/build/Makefile": ""}),
        ],
    ),
    "accelerators.rbln-smi": (
        lambda: other("rebellions", {"/usr/bin/rbln-smi": "", **atom("/usr/bin/rbln-gone")}),
        [
            lambda: other("rebellions", {"/usr/bin/rbln-smi": "", "/usr/local/bin/rbln-stat": ""}),
            lambda: other("rebellions", {"/usr/bin/rbln-smi": "", **atom("/usr/bin/rbln-smi")}),
            lambda: other("rebellions"),
        ],
    ),
    "accelerators.tenstorrent-hugepages": (
        lambda: other("tenstorrent", {HUGE: "4\n"}),
        [
            lambda: other(
                "tenstorrent", {HUGE: "8\n"}, {Key("mount", "/dev/hugepages-1G"): Mount("hugetlbfs", "hugetlbfs")}
            )
        ],
    ),
    "accelerators.lacking": (
        lambda: other("graphcore"),
        [
            lambda: other("tpu", {"/dev/vfio/0": ""}),
            lambda: other("none"),
        ],
    ),
    "accelerators.cuda-runtime": (
        well,
        [lambda: well("l4-bare", {Key("library", "cudart"): _library()}), lambda: made("none")],
    ),
}
# Rules that keep harmless things from being reported: nothing makes them a problem.
NEVER = ("accelerators.nvidia-false-vbios", "accelerators.nvidia-gid-warning")
BAD = ("problem", "warning")


def _member() -> State:
    return Membership()


def _library() -> State:
    return Library("12.0", "libcudart.so.12")


def findings_of(id: str, machine: SimulatedMachine) -> Finding:
    result = BY_ID[id].run(machine, Context(host="gpu01"))
    return result if isinstance(result, Finding) else result[0]


@pytest.mark.parametrize("id", FAILURES)
def test_a_failure_is_found(id: str) -> None:
    finding = findings_of(id, FAILURES[id][0]())
    assert finding.result in BAD, finding
    assert finding.id == id
    assert finding.evidence, "a finding says what was seen and where"
    assert finding.cause
    assert finding.guidance


@pytest.mark.parametrize("id, number", [(id, n) for id, (_, quiet) in FAILURES.items() for n in range(len(quiet))])
def test_similar_conditions_are_not_reported(id: str, number: int) -> None:
    finding = findings_of(id, FAILURES[id][1][number]())
    assert finding.result not in BAD, finding


@pytest.mark.parametrize("id", [id for id in FAILURES if findings_of(id, FAILURES[id][0]()).remedy])
def test_a_remedy_can_be_planned(id: str) -> None:
    """It is a list of steps that a plan can hold; none of them is blocked on the node that has the failure."""
    machine = FAILURES[id][0]()
    for step in findings_of(id, machine).remedy:
        verdict = step.inspect(machine)
        missing_package = isinstance(verdict, Blocked) and "no package source of this node offers" in verdict.reason
        assert not isinstance(verdict, Blocked) or missing_package, verdict


def test_every_check_is_tried_and_every_text_with_a_title_has_one() -> None:
    assert set(BY_ID) == {*FAILURES, *NEVER}
    texts = check_texts().items()
    titled = {id for id, text in texts if text.page == "accelerators" and text.title}
    assert set(BY_ID) == titled - {"accelerators.drift"}


def test_rules_against_false_alarms() -> None:
    unset = {"/proc/driver/nvidia/gpus/0000:17:00.0/information": "Model: L4\nVideo BIOS: ??.??.??.??.??"}
    assert findings_of("accelerators.nvidia-false-vbios", well(kernel=unset)).result == "ok"
    assert findings_of("accelerators.nvidia-false-vbios", broken(9, kernel=unset)).result == "not-applicable"
    assert findings_of("accelerators.nvidia-gid-warning", well()).result == "ok"


def test_the_next_kernels_module_is_missed_in_time() -> None:
    """The driver runs now, and would be gone after the next boot."""
    finding = findings_of("accelerators.nvidia-module-missing", well(files={f"/boot/vmlinuz-{NEWER}": ""}))
    assert finding.result == "warning"
    assert NEWER in finding.title


def test_a_default_runtime_that_is_gone_stops_every_container() -> None:
    config = '{"default-runtime": "nvidia", "runtimes": {"nvidia": {"path": "/usr/bin/nvidia-container-runtime"}}}'
    finding = findings_of(
        "accelerators.nvidia-runtime-unknown", well("l4-bare", {Key("file", DAEMON_JSON): file(config)})
    )
    assert "default runtime nvidia does not exist" in finding.title


def test_a_hook_that_is_newer_than_docker_asks_for_a_restart() -> None:
    machine = well()
    machine.set_state(Key("file", HOOK), Entry("file", 0, 0, 0o755, b""))
    finding = findings_of("accelerators.nvidia-docker-no-driver", machine)
    assert finding.result == "problem"
    assert [step.id for step in finding.remedy] == ["accelerators.docker-restart"]


def test_containers_that_would_lose_their_gpus_are_a_warning() -> None:
    machine = well(engine=container({"Runtime": "nvidia"}), files={"/dev/char/195:0": None})
    assert findings_of("accelerators.nvidia-nvml-unknown-error", machine).result == "warning"


def test_a_driver_that_hangs_is_cannot_tell_and_not_absent() -> None:
    machine = made(
        "l4-bare", {Key("file", MODULE_VERSION): file(DRIVER)}, unknown={"library:nvml": "no answer within 20 s"}
    )
    assert findings_of("accelerators.nvidia-persistence", machine).result == "cannot-tell"
    assert findings_of("accelerators.nvidia-libnvidia-ml-missing", machine).result == "cannot-tell"


def test_the_driver_is_asked_once_for_all_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    machine, asked = well(), list[str]()
    original = machine.library

    def library(name: str) -> Library | None:
        asked.append(name)
        return original(name)

    monkeypatch.setattr(machine, "library", library)
    for check in CHECKS:
        check.run(machine, Context(host="gpu01"))
    assert asked.count("nvml") == 1


@pytest.mark.parametrize(
    "expression, cuda, branch, fits",
    [
        ("cuda>=12.8", (12, 8), "570", True),
        ("cuda>=12.8", (12, 4), "550", False),
        ("cuda>=12.8 brand=tesla,driver>=470,driver<471", (11, 4), "470", True),
        ("cuda>=12.8 brand=tesla,driver>=470,driver<471", (12, 2), "535", False),
        ("cuda>=9.0,cuda<13", (13, 0), "580", False),
        ("nonsense", (13, 0), "580", False),
    ],
)
def test_requirements_are_evaluated_as_the_toolkit_does(
    expression: str, cuda: tuple[int, int], branch: str, fits: bool
) -> None:
    assert satisfied(expression, cuda, branch) is fits


def test_no_node_without_gpus_is_bothered() -> None:
    machine = made("none", DOCKER, engine=ENGINE)
    for check in CHECKS:
        result = check.run(machine, Context(host="mgmt01"))
        for finding in result if isinstance(result, tuple) else (result,):
            assert finding.result in ("ok", "not-applicable"), finding


def test_packages_of_the_fixture_are_of_one_version() -> None:
    """Else half of the counterparts above would prove nothing."""
    assert all(package.count("580") == 1 for package in NVIDIA_PACKAGES)
    assert VERSION.startswith(DRIVER)


def test_a_gpu_that_is_given_to_a_virtual_machine_is_not_lost() -> None:
    passed = {"/sys/bus/pci/devices/0000:17:00.0/uevent": "DRIVER=vfio-pci\nPCI_CLASS=30200\nPCI_ID=10DE:27B8"}
    only = findings_of("accelerators.nvidia-xid79", answering(kernel=passed))
    assert (only.result, "vfio-pci" in only.cause) == ("not-applicable", True)
    first = {"/sys/bus/pci/devices/0000:19:00.0/uevent": "DRIVER=vfio-pci\nPCI_CLASS=30200\nPCI_ID=10DE:2330"}
    some = answering(*gpus("h100x8")[1:], name="h100x8", kernel=first)
    assert findings_of("accelerators.nvidia-xid79", some).result == "ok"


def test_a_description_of_another_drivers_libraries_is_stale_although_they_are_there() -> None:
    spec = SPEC.replace(DRIVER, "570.86.15")
    old = {"/dev/nvidia0": "", "/usr/lib/x86_64-linux-gnu/libcuda.so.570.86.15": ""}
    finding = findings_of("accelerators.nvidia-cdi-stale", well(files={"/etc/cdi/nvidia.yaml": spec, **old}))
    assert [(one.found, one.expected) for one in finding.evidence] == [("570.86.15", DRIVER)]


def test_removed_mig_slices_make_a_specification_stale() -> None:
    spec = SPEC + "- name: MIG-0000-1\n"
    machine = well(files={"/etc/cdi/nvidia.yaml": spec, **SPEC_FILES})
    assert findings_of("accelerators.nvidia-cdi-stale", machine).evidence[0].found == "MIG-0000-1"


def test_containers_that_systemd_does_not_manage_keep_their_gpus() -> None:
    engine = {**container({"Runtime": "nvidia"}), "/info": {**ENGINE["/info"], "CgroupDriver": "cgroupfs"}}
    assert (
        findings_of(
            "accelerators.nvidia-nvml-unknown-error", well(engine=engine, files={"/dev/char/195:0": None})
        ).result
        == "ok"
    )
