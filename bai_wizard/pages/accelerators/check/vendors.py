"""What the doctor looks at in accelerators of other vendors."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from bai_wizard.core.context import Context
from bai_wizard.core.finding import Check, Evidence, Finding
from bai_wizard.core.machine import Machine
from bai_wizard.core.step import Step
from bai_wizard.pages.accelerators import catalogue
from bai_wizard.pages.accelerators.check.look import AGAIN, DEADLINE, PAGE, facts_of, vendor_check
from bai_wizard.pages.accelerators.facts import Card, VendorFacts
from bai_wizard.pages.accelerators.vendors import gaudi, tenstorrent
from bai_wizard.pages.accelerators.vendors.common import HUGE_1G, matching
from bai_wizard.pages.subject import Subject
from bai_wizard.steps.apt import Packages
from bai_wizard.steps.docker_config import DAEMON_JSON, DockerConfig
from bai_wizard.steps.docker_service import DockerService
from bai_wizard.steps.membership import Groups
from bai_wizard.steps.sysctl import LiveSysctl

LACKING = Subject("accelerators.lacking", PAGE, "Every accelerator has what it needs on the node")
KFD = Subject("amd-kfd-missing", PAGE, "AMD's compute driver is loaded")
KFD_RIGHT = Subject("amd-kfd-permission", PAGE, "The operation account may use the AMD GPUs")
GAUDI_VERSION = Subject("gaudi-version-mismatch", PAGE, "Gaudi's driver and container images are of one release")
GAUDI_MODULE = Subject("gaudi-ib-module", PAGE, "Gaudi's network module is loaded")
GAUDI_RUNTIME = Subject("gaudi-runtime-unknown", PAGE, "The runtime habana is registered with Docker")
IO_URING = Subject("furiosa-iouring", PAGE, "Containers may use io_uring, which RNGD's driver needs")
RBLN = Subject("rbln-kernel", PAGE, "Rebellions' driver is built for the kernel")
PAGES = Subject("tenstorrent-hugepages", PAGE, "Huge pages of 1 GiB are reserved for Tenstorrent cards")
KERNEL = "/proc/sys/kernel/osrelease"
# The first engine whose own filter of system calls leaves io_uring out (moby, release notes 25.0).
FILTERS_IO_URING = 25


def lacking(machine: Machine, context: Context) -> tuple[Finding, ...]:
    """What is missing for each vendor but NVIDIA, named exactly."""
    found = []
    for vendor in facts_of(machine, context).vendors:
        known = catalogue.vendor(vendor.key)
        if not vendor.lacking:
            continue
        evidence = [Evidence(known.name, "this node", lack.what, "there") for lack in vendor.lacking]
        found.append(
            LACKING.problem(
                f"{known.name}: {vendor.lacking[0].what}" + (", and more" if len(vendor.lacking) > 1 else ""),
                evidence,
                cause="The vendor's driver or tools are not installed, or not complete.",
                guidance=f"Follow the vendor's instructions: {known.page} (Backend.AI's plug-in: {known.wheels[0]}).",
            )
        )
    return tuple(found) or (LACKING.ok(),)


def kfd(machine: Machine, context: Context, vendor: VendorFacts, cards: tuple[Card, ...]) -> Finding:
    """/dev/kfd is what ROCm computes through."""
    if matching(machine, "/dev/kfd"):
        return KFD.ok(Evidence("device node", "/dev/kfd", "there", "there"))
    module = "loaded" if vendor.has_module else "not loaded"
    return KFD.problem(
        "AMD's compute driver is not loaded: there is no /dev/kfd",
        [
            Evidence("device node", "/dev/kfd", "not there", "there"),
            Evidence("module", "/sys/module/amdgpu", module, "loaded"),
        ],
        cause="amdgpu was not built for this kernel (headers missing), or a virtual machine has no IOMMU.",
        guidance="amdgpu-install --usecase=rocm,dkms for this kernel, then restart the node.",
        risk="The initial ramdisk grows; see that /boot has room.",
    )


def kfd_right(machine: Machine, context: Context, vendor: VendorFacts, cards: tuple[Card, ...]) -> Finding:
    """Members of render and video may; containers need the groups' numbers of the host."""
    account = machine.account(context.account)
    if account is None or not vendor.groups:
        return KFD_RIGHT.not_applicable("no operation account, or no groups of AMD's driver yet")
    absent = tuple(
        name
        for name in vendor.groups
        if (group := machine.group(name)) is not None
        and group.gid != account.gid
        and not machine.is_member(account.name, name)
    )
    if not absent:
        return KFD_RIGHT.ok()
    return KFD_RIGHT.problem(
        f"{account.name} may not use the AMD GPUs",
        [Evidence(account.name, f"group {name}", "not in it", "in it") for name in absent],
        cause="Device nodes of AMD's driver belong to these groups.",
        guidance="Add the account; it takes effect at the next login. Containers need the groups by number: their"
        " names may mean other numbers inside.",
        remedy=(Groups(id="accelerators.amd-groups", account=account.name, groups=absent),),
    )


def gaudi_version(machine: Machine, context: Context, vendor: VendorFacts, cards: tuple[Card, ...]) -> Finding:
    """Driver, firmware and image have to be of one release."""
    driver = machine.kernel_text("/sys/module/habanalabs/version") or ""
    release = re.match(r"\d+\.\d+", driver)
    images = machine.engine("/images/json")
    if release is None or not isinstance(images, list):
        return GAUDI_VERSION.not_applicable("no driver is loaded, or no Docker runs")
    tags = [str(tag) for image in images for tag in image.get("RepoTags") or () if "gaudi-docker/" in str(tag)]
    others = [tag for tag in tags if (found := re.search(r"gaudi-docker/(\d+\.\d+)", tag)) and found[1] != release[0]]
    if not others:
        return GAUDI_VERSION.ok()
    return GAUDI_VERSION.warning(
        f"{len(others)} images are of another release than Gaudi's driver {driver}",
        [Evidence("image", tag, "another release", release[0]) for tag in others],
        cause="The driver was upgraded, or images of another release were pulled.",
        guidance="Take driver, firmware and images of one release.",
        risk="A firmware update resets the cards.",
    )


def gaudi_module(machine: Machine, context: Context, vendor: VendorFacts, cards: tuple[Card, ...]) -> Finding:
    """habanalabs_ib looks for symbols of ib_uverbs when it is loaded."""
    loaded = machine.names("/sys/module")
    if "habanalabs" not in loaded:
        return GAUDI_MODULE.not_applicable("Gaudi's driver is not loaded; accelerators.lacking says so")
    absent = [name for name in ("ib_uverbs", "habanalabs_cn", "habanalabs_en", "habanalabs_ib") if name not in loaded]
    if not absent:
        return GAUDI_MODULE.ok()
    return GAUDI_MODULE.problem(
        f"Gaudi's network does not work: {', '.join(absent)} is not loaded",
        [Evidence("module", f"/sys/module/{name}", "not loaded", "loaded") for name in absent],
        cause="ib_uverbs was not there when habanalabs_ib was loaded.",
        guidance="Load ib_uverbs, now and at boot, then: modprobe habanalabs_ib.",
        remedy=gaudi.steps(vendor, context),
    )


def gaudi_runtime(machine: Machine, context: Context, vendor: VendorFacts, cards: tuple[Card, ...]) -> Finding:
    """Only where its package is installed."""
    if not vendor.has_runtime:
        return GAUDI_RUNTIME.not_applicable("habanalabs-container-runtime is not installed")
    info = machine.engine("/info")
    if not isinstance(info, dict):
        return GAUDI_RUNTIME.not_applicable("no Docker runs on this node")
    known = sorted(info.get("Runtimes") or {})
    if "habana" in known:
        return GAUDI_RUNTIME.ok()
    path = catalogue.vendor("gaudi").runtime_path
    wanted = json.dumps({"runtimes": {"habana": {"path": path, "args": []}}})
    restart = DockerService(
        id="accelerators.docker-restart", reads=(DAEMON_JSON,), enabled=None, active=None, if_running=True
    )
    return GAUDI_RUNTIME.problem(
        "The container runtime habana is installed, but Docker does not know it",
        [Evidence("runtimes", "docker info", ", ".join(known), "habana")],
        cause="daemon.json lacks it, or another tool has rewritten the file.",
        guidance="Register it and restart Docker.",
        risk="A restart ends running containers, unless live-restore is on.",
        remedy=(DockerConfig(id="accelerators.docker-config", wanted=wanted), restart),
    )


def io_uring(machine: Machine, context: Context, vendor: VendorFacts, cards: tuple[Card, ...]) -> Finding:
    """Switched off in the kernel, or filtered by the container engine."""
    key = "kernel.io_uring_disabled"
    value = machine.sysctl(key)
    if value is not None and value.value != "0":
        remedy: tuple[Step, ...] = (LiveSysctl(id="accelerators.io-uring", key=key, value="0", least="0"),)
        return IO_URING.problem(
            "io_uring is switched off in the kernel: RNGD cards cannot be used",
            [Evidence(key, "/proc/sys", value.value, "0")],
            cause="A hardened configuration switches it off.",
            guidance=f"Set {key} = 0; to keep it, put it into tuning.sysctl.",
            risk="A wider surface for attacks on the kernel.",
            remedy=remedy,
        )
    version = machine.engine("/version")
    number = str(version.get("Version", "")) if isinstance(version, dict) else ""
    filters = number and int(number.split(".")[0] or 0) >= FILTERS_IO_URING
    if not filters or "seccomp-profile" in facts_of(machine, context).daemon_json:
        return IO_URING.ok()
    return IO_URING.warning(
        f"Docker {number} filters io_uring, so sessions with RNGD cards end with «Operation not permitted»",
        [Evidence("system calls", "Docker's own filter", "without io_uring_*", "with them")],
        cause="Docker's own profile has left these calls out since version 25.",
        guidance="Give sessions with NPUs a profile that adds io_uring_setup, io_uring_enter and io_uring_register;"
        " not «unconfined», and not for all sessions.",
        risk="A wider surface for attacks on the kernel, for these sessions only.",
    )


def rbln(machine: Machine, context: Context, vendor: VendorFacts, cards: tuple[Card, ...]) -> Finding:
    """The vendor's installer builds a module, for which it needs the running kernel's headers."""
    kernel = machine.kernel_text(KERNEL) or ""
    if matching(machine, "/dev/rbln[0-9]*"):
        return RBLN.ok()
    if machine.entry(f"/lib/modules/{kernel}/build") is not None:
        return RBLN.not_applicable("the headers are there; accelerators.lacking says what is missing")
    name = f"linux-headers-{kernel}"
    return RBLN.problem(
        "Rebellions' driver is not there, and cannot be built: the kernel's headers are missing",
        [Evidence("headers", f"/lib/modules/{kernel}/build", "not there", "there")],
        cause="The vendor's installer builds a module for the running kernel.",
        guidance=f"Install {name}, then the vendor's driver: {catalogue.vendor('rebellions').page}",
        remedy=(Packages(id="accelerators.headers", names=(name,), why="headers for Rebellions' driver"),),
    )


def pages(machine: Machine, context: Context, vendor: VendorFacts, cards: tuple[Card, ...]) -> Finding:
    """Reserved, and mounted where the driver's library looks for them."""
    wanted = catalogue.vendor(vendor.key).pages_for(tuple(card.device for card in cards))
    reserved = int(machine.kernel_text(HUGE_1G) or 0)
    mounted = machine.mount("/dev/hugepages-1G") is not None
    if reserved >= wanted and mounted:
        return PAGES.ok()
    return PAGES.problem(
        "Tenstorrent cards lack their huge pages of 1 GiB",
        [
            Evidence("reserved", HUGE_1G, str(reserved), str(wanted)),
            Evidence("mounted", "/dev/hugepages-1G", "yes" if mounted else "no", "yes"),
        ],
        cause="The vendor's set-up is not installed, or memory was in pieces when they were asked for.",
        guidance=f"{AGAIN} If too few can be reserved now, the next boot reserves them first.",
        risk=f"{wanted} GiB of memory belong to the cards from then on.",
        remedy=tenstorrent.steps(vendor, context),
    )


def _checks() -> Iterator[Check]:
    yield LACKING.check(lacking, deadline=DEADLINE, cost="shared")  # type: ignore[arg-type]  # several findings, as Check allows
    yield vendor_check(KFD, "amd", "AMD accelerator", kfd)
    yield vendor_check(KFD_RIGHT, "amd", "AMD accelerator", kfd_right)
    yield vendor_check(GAUDI_VERSION, "gaudi", "Gaudi card", gaudi_version)
    yield vendor_check(GAUDI_MODULE, "gaudi", "Gaudi card", gaudi_module)
    yield vendor_check(GAUDI_RUNTIME, "gaudi", "Gaudi card", gaudi_runtime)
    yield vendor_check(IO_URING, "furiosa", "Furiosa card", io_uring)
    yield vendor_check(RBLN, "rebellions", "Rebellions card", rbln)
    yield vendor_check(PAGES, "tenstorrent", "Tenstorrent card", pages)


CHECKS = tuple(_checks())
