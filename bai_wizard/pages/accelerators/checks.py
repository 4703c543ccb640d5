"""Whether accelerators of other vendors than NVIDIA have everything that they need."""

from __future__ import annotations

import re
import sys
import tomllib

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.machine import Machine
from bai_wizard.core.page import Context, Evidence
from bai_wizard.core.parse import whole
from bai_wizard.pages.accelerators import check_containers, check_driver, check_gpus
from bai_wizard.pages.accelerators.check_containers import register_runtime, restart_docker
from bai_wizard.pages.accelerators.check_driver import DEADLINE, ask_engine, engine_version, facts_of, vendor_check
from bai_wizard.pages.accelerators.facts import Card, VendorFacts, vendor_of
from bai_wizard.pages.accelerators.plan import configured
from bai_wizard.pages.accelerators.probe import matching
from bai_wizard.pages.accelerators.steps import RESERVED
from bai_wizard.pages.check import Outcome, check, checks_in, not_applicable, ok, problem, warning
from bai_wizard.steps.accounts import Groups
from bai_wizard.steps.docker import engine_major
from bai_wizard.steps.kernel import LiveSysctl
from bai_wizard.steps.packages import Packages

KERNEL = "/proc/sys/kernel/osrelease"
# The first engine whose default seccomp profile does not allow io_uring (moby release notes 25.0).
FILTERS_IO_URING = 25


@check("accelerators.lacking", deadline=DEADLINE, cost="shared")
def complete(machine: Machine, context: Context) -> Outcome | tuple[Outcome, ...]:
    """Nothing is missing, with one finding per vendor except NVIDIA."""
    outcomes = []
    for vendor in facts_of(machine, context).vendors:
        known = vendor_of(vendor.key)
        if not vendor.missing:
            continue
        first, *more = vendor.missing
        outcomes.append(
            problem(
                *(Evidence(known.name, "this node", each.what, "nothing missing") for each in vendor.missing),
                variant="several" if more else first.variant,
                vendor=known.name,
                missing=first.what,
                page=known.page,
                plugin=known.wheels[0],
            )
        )
    return tuple(outcomes) or ok()


@vendor_check("accelerators.amd-kfd-missing", "amd")
def amd_driver(machine: Machine, context: Context, vendor: VendorFacts, cards: tuple[Card, ...]) -> Outcome:
    """/dev/kfd exists, which ROCm uses for computing."""
    if matching(machine, "/dev/kfd"):
        return ok(Evidence("device node", "/dev/kfd", "present", "present"))
    return problem(
        Evidence("device node", "/dev/kfd", "missing", "present"),
        Evidence("module", "/sys/module/amdgpu", "loaded" if vendor.has_module else "not loaded", "loaded"),
    )


@vendor_check("accelerators.amd-kfd-permission", "amd")
def amd_groups(machine: Machine, context: Context, vendor: VendorFacts, cards: tuple[Card, ...]) -> Outcome:
    """The account is a member of render and video; containers need the host's GIDs."""
    account = machine.account(context.account)
    if account is None or not vendor.groups:
        return not_applicable("the account or the groups of AMD's driver do not exist yet")
    absent = tuple(
        name
        for name in vendor.groups
        if (group := machine.group(name)) is not None
        and group.gid != account.gid
        and not machine.is_member(account.name, name)
    )
    if not absent:
        return ok()
    return problem(
        *(Evidence(account.name, f"group {name}", "not a member", "member") for name in absent),
        remedy=(Groups(id="accelerators.amd-groups", account=account.name, groups=absent),),
        account=account.name,
    )


@vendor_check("accelerators.gaudi-version-mismatch", "gaudi")
def gaudi_release(machine: Machine, context: Context, vendor: VendorFacts, cards: tuple[Card, ...]) -> Outcome:
    driver = machine.kernel_text("/sys/module/habanalabs/version") or ""
    release = re.match(r"\d+\.\d+", driver)
    images = machine.engine("/images/json")
    if release is None or not isinstance(images, list):
        return not_applicable("the driver is not loaded, or Docker is not running")
    tags = [str(tag) for image in images for tag in image.get("RepoTags") or () if "gaudi-docker/" in str(tag)]
    others = [tag for tag in tags if (match := re.search(r"gaudi-docker/(\d+\.\d+)", tag)) and match[1] != release[0]]
    return warning(*(Evidence("image", tag, "another release", release[0]) for tag in others), driver=driver)


@vendor_check("accelerators.gaudi-ib-module", "gaudi")
def gaudi_modules(machine: Machine, context: Context, vendor: VendorFacts, cards: tuple[Card, ...]) -> Outcome:
    """ib_uverbs is loaded: habanalabs_ib needs its symbols."""
    modules = machine.names("/sys/module")
    if "habanalabs" not in modules:
        return not_applicable("Gaudi's driver is not loaded; another check reports that")
    absent = [
        name for name in ("ib_uverbs", "habanalabs_cn", "habanalabs_en", "habanalabs_ib") if name not in modules
    ]
    if not absent:
        return ok()
    return problem(
        *(Evidence("module", f"/sys/module/{name}", "not loaded", "loaded") for name in absent),
        remedy=configured(vendor, context),
        modules=", ".join(absent),
    )


@vendor_check("accelerators.gaudi-runtime-unknown", "gaudi")
def gaudi_runtime(machine: Machine, context: Context, vendor: VendorFacts, cards: tuple[Card, ...]) -> Outcome:
    """The runtime is registered, if its package is installed."""
    if not vendor.has_runtime:
        return not_applicable("habanalabs-container-runtime is not installed")
    registered = sorted(ask_engine(machine, "/info", dict).get("Runtimes") or {})
    if "habana" in registered:
        return ok()
    return problem(
        Evidence("runtimes", "docker info", ", ".join(registered), "habana"),
        remedy=(register_runtime("habana", vendor_of("gaudi").runtime_path), restart_docker()),
    )


@vendor_check("accelerators.furiosa-iouring", "furiosa")
def io_uring(machine: Machine, context: Context, vendor: VendorFacts, cards: tuple[Card, ...]) -> Outcome:
    """io_uring is neither disabled in the kernel nor blocked by the container engine."""
    key = "kernel.io_uring_disabled"
    value = machine.sysctl(key)
    if value is not None and value.value != "0":
        return problem(
            Evidence(key, "/proc/sys", value.value, "0"),
            variant="disabled",
            remedy=(LiveSysctl(id="accelerators.io-uring", key=key, value="0", least="0"),),
        )
    number = engine_version(machine)
    if engine_major(number) < FILTERS_IO_URING or "seccomp-profile" in facts_of(machine, context).daemon_json:
        return ok()
    evidence = Evidence("system calls", "Docker's default seccomp profile", "without io_uring_*", "with them")
    return warning(evidence, version=number)


@vendor_check("accelerators.rbln-kernel", "rebellions")
def rebellions_driver(machine: Machine, context: Context, vendor: VendorFacts, cards: tuple[Card, ...]) -> Outcome:
    """Kernel headers are installed: the vendor's installer builds a module for the running kernel."""
    kernel = machine.kernel_text(KERNEL) or ""
    if matching(machine, "/dev/rbln[0-9]*"):
        return ok()
    if machine.entry(f"/lib/modules/{kernel}/build") is not None:
        return not_applicable("the kernel headers are installed; another check reports what is missing")
    name = f"linux-headers-{kernel}"
    return problem(
        Evidence("headers", f"/lib/modules/{kernel}/build", "missing", "present"),
        remedy=(
            Packages(id="accelerators.headers", names=(name,), why="install kernel headers for Rebellions' driver"),
        ),
        package=name,
        page=vendor_of("rebellions").page,
    )


RBLN_STAT = ("/usr/bin/rbln-stat", "/usr/local/bin/rbln-stat")
RBLN_SMI = ("/usr/bin/rbln-smi", "/usr/local/bin/rbln-smi")


@vendor_check("accelerators.rbln-smi", "rebellions")
def rebellions_tool(machine: Machine, context: Context, vendor: VendorFacts, cards: tuple[Card, ...]) -> Outcome:
    """The plug-in finds the driver's tool, which it calls by the name used up to driver 2."""
    smi = next((path for path in RBLN_SMI if machine.entry(path) is not None), "")
    if not smi or any(machine.entry(path) is not None for path in RBLN_STAT):
        return not_applicable("the driver's tool has the name that the plug-in calls, or is not installed")
    account = machine.account(context.account)
    home = [f"{account.home}/.config/backend.ai/atom.toml"] if account is not None else []
    named = [(path, _stat_path(machine, path)) for path in (*home, "/etc/backend.ai/atom.toml")]
    good = next(((path, tool) for path, tool in named if tool and machine.entry(tool) is not None), None)
    if good is not None:
        return ok(Evidence("tool", good[0], good[1], "a program of this node"))
    return problem(Evidence("tool", "/usr/bin/rbln-stat", "missing", "present, or another in atom.toml"), tool=smi)


def _stat_path(machine: Machine, path: str) -> str:
    """The tool that the plug-in's configuration names; empty if it names none or cannot be read."""
    try:
        general = tomllib.loads(machine.text(path) or "").get("general")
    except (StateUnknown, tomllib.TOMLDecodeError):
        return ""
    return str(general.get("rbln_stat_path") or "") if isinstance(general, dict) else ""


@vendor_check("accelerators.tenstorrent-hugepages", "tenstorrent")
def huge_pages(machine: Machine, context: Context, vendor: VendorFacts, cards: tuple[Card, ...]) -> Outcome:
    """Huge pages are reserved, and mounted where the driver's library expects them."""
    wanted = vendor_of(vendor.key).pages_for(tuple(card.device for card in cards))
    reserved = whole(machine.kernel_text(RESERVED) or 0)
    mounted = machine.mount("/dev/hugepages-1G") is not None
    if reserved >= wanted and mounted:
        return ok()
    return problem(
        Evidence("reserved", RESERVED, str(reserved), str(wanted)),
        Evidence("mounted", "/dev/hugepages-1G", "yes" if mounted else "no", "yes"),
        remedy=configured(vendor, context),
        gibibytes=wanted,
    )


CHECKS = checks_in(check_driver, check_gpus, check_containers, sys.modules[__name__])
