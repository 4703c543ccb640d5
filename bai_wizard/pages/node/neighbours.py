"""Neighbours of the manual: looked at because Backend.AI needs them, never changed because the site owns them."""

from __future__ import annotations

import json
import re

from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.finding import Evidence, Finding
from bai_wizard.core.machine import Machine
from bai_wizard.pages.node import check_disks, check_firewall
from bai_wizard.pages.subject import Subject

PAGE = "node"
DAEMONS = ("systemd-timesyncd", "chrony", "chronyd", "ntp", "ntpd", "ntpsec", "openntpd")
RUNS = "/var/lib/bai-wizard/runs"
CLOCKS = Subject("node.two-clocks", PAGE, "One time daemon keeps the clock", owner="site")
UPGRADES = Subject("node.unattended", PAGE, "Nothing updates Docker or drivers by itself", owner="site")
HOSTNAME = Subject("node.hostname", PAGE, "The host name is the one that the agent was registered with", owner="site")
KERNEL = Subject("node.next-kernel", PAGE, "The kernel of the next boot has the driver's module", owner="site")


def clocks(machine: Machine, context: Context) -> Finding:
    """Two daemons pull the clock back and forth."""
    units = [(name, machine.unit(f"{name}.service")) for name in DAEMONS]
    # Some are aliases of others: the same unit began at the same instant.
    active = {unit.since: name for name, unit in units if unit is not None and unit.active == "active"}
    if len(active) < 2:
        return CLOCKS.ok()
    names = sorted(active.values())
    return CLOCKS.warning(
        "Two time daemons set the clock",
        [Evidence(name, "systemctl is-active", "active", "one of them") for name in names],
        cause="A second one was installed beside the one that the distribution starts.",
        guidance=f"Keep the one that the site uses and disable the others ({', '.join(names)}).",
        risk="A step of the clock upsets databases that run.",
    )


def unattended(machine: Machine, context: Context) -> Finding:
    """Updates by themselves replace a driver under running jobs; a hold or the list of exceptions prevents that."""
    if machine.package("unattended-upgrades") is None:
        return UPGRADES.not_applicable("unattended-upgrades is not installed")
    config = machine.look(("apt-config", "dump")).out
    if not re.search(r'^APT::Periodic::Unattended-Upgrade "[1-9]', config, re.MULTILINE):
        return UPGRADES.ok()
    skipped = re.findall(r'^Unattended-Upgrade::Package-Blacklist:: "(.*)";', config, re.MULTILINE)
    origins = "\n".join(
        re.findall(r'^Unattended-Upgrade::(?:Allowed-Origins|Origins-Pattern):: "(.*)"', config, re.M)
    )
    names = ["nvidia-driver-*", "libnvidia-compute-*", "docker.io", "containerd"]
    names += ["docker-ce", "containerd.io"] if "Docker" in origins else []
    listed = machine.look(("dpkg-query", "--show", "--showformat=${db:Status-Want} ${Package}\\n", *names)).out
    open_ones = []
    for line in listed.split("\n"):
        want, _, name = line.partition(" ")
        if want == "install" and not any(_matches(pattern, name) for pattern in skipped):
            open_ones.append(Evidence(name, "dpkg", "not held", "held, or in Unattended-Upgrade::Package-Blacklist"))
    if not open_ones:
        return UPGRADES.ok()
    return UPGRADES.warning(
        "Updates by themselves may replace Docker or a driver while jobs run",
        open_ones,
        cause="unattended-upgrades is on, and these packages are neither held nor excepted.",
        guidance=f"apt-mark hold {' '.join(each.what for each in open_ones)}; update them when nothing runs.",
        risk="A hold keeps security updates away too: somebody has to make them.",
    )


def _matches(pattern: str, name: str) -> bool:
    try:
        return re.match(pattern, name) is not None
    except re.error:
        return False


def hostname(machine: Machine, context: Context) -> Finding:
    """The agent's id comes from the host name: after a change the manager sees another agent."""
    written = (machine.text("/etc/hostname") or "").strip()
    earlier = _host_of_last_run(machine)
    evidence = []
    if written and written.partition(".")[0] != machine.host.partition(".")[0]:
        evidence.append(Evidence("host name", "/etc/hostname", written, f"{machine.host}, the running one"))
    if earlier and earlier.partition(".")[0] != machine.host.partition(".")[0]:
        evidence.append(
            Evidence("host name", "the last run of this wizard", earlier, f"{machine.host}, the running one")
        )
    if not evidence:
        return HOSTNAME.ok()
    return HOSTNAME.warning(
        "The host name has changed, or will at the next boot",
        evidence,
        cause="It was set by hand, by DHCP or by cloud-init.",
        guidance="Decide for one name (hostnamectl). An agent registered under the old one becomes another.",
    )


def _host_of_last_run(machine: Machine) -> str:
    for run in reversed(machine.names(RUNS)):
        text = machine.text(f"{RUNS}/{run}/run.json")
        if text is not None:
            try:
                return str(json.loads(text).get("host", ""))
            except (json.JSONDecodeError, AttributeError) as error:
                raise CannotTell(f"{RUNS}/{run}/run.json: {error}") from error
    return ""


def next_kernel(machine: Machine, context: Context) -> Finding:
    """The newest installed kernel is what starts at the next boot, unless somebody changed the boot loader."""
    if machine.kernel_text("/sys/module/nvidia/version") is None:
        return KERNEL.not_applicable("NVIDIA's driver is not loaded")
    kernels = [name.removeprefix("vmlinuz-") for name in machine.names("/boot") if name.startswith("vmlinuz-")]
    if not kernels:
        return KERNEL.cannot_tell("there is no kernel below /boot")
    newest = max(kernels, key=_version)
    answer = machine.look(("find", f"/lib/modules/{newest}/", "-name", "nvidia.ko*", "-print", "-quit"))
    if answer.out.strip():
        return KERNEL.ok(Evidence(newest, "/lib/modules", answer.out.strip(), "a module"))
    return KERNEL.problem(
        "After the next boot the GPUs are gone",
        (
            Evidence(
                f"nvidia.ko for {newest}", f"/lib/modules/{newest}", "not there", "there, as for the running kernel"
            ),
        ),
        cause="The kernel was updated and its driver module was neither installed nor built.",
        guidance=f"Do not reboot yet. Install linux-modules-nvidia-…-{newest}, or linux-headers-{newest} and run dkms"
        " autoinstall.",
    )


def _version(release: str) -> list[tuple[int, str]]:
    return [(int(part) if part.isdecimal() else -1, part) for part in re.split(r"[.-]", release)]


CHECKS = (
    CLOCKS.check(clocks, cost="dear"),
    *check_firewall.CHECKS,
    UPGRADES.check(unattended),
    HOSTNAME.check(hostname, needs_root=True),
    *check_disks.CHECKS,
    KERNEL.check(next_kernel),
)
