"""Root causes on the node (each makes many other things fail), packages, proxy, certificates, locale and ports."""

from __future__ import annotations

import re
import sys

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.machine import Machine
from bai_wizard.core.page import Context, Evidence
from bai_wizard.core.parse import whole
from bai_wizard.core.step import Pending
from bai_wizard.pages.check import Outcome, check, checks_in, not_applicable, ok, problem, unknown, warning
from bai_wizard.pages.node import check_advisories, check_sources
from bai_wizard.pages.node.probe import SUPPORTED, release, waiting_for_reboot
from bai_wizard.pages.node.steps import Trust
from bai_wizard.pages.node_state import hosts_to_resolve, named_ports
from bai_wizard.steps.packages import completion

MIB, GIB = 2**20, 2**30
# Package installations fail midway with less. Docker and its images need far more; their pages check that.
MIN_ROOM = 2 * GIB
# One kernel with its initrd, including NVIDIA's modules (130 MiB more in one report).
MIN_BOOT = 250 * MIB
FEW_INODES = 0.05
TMP = "/tmp"  # noqa: S108 - read only, never written to
# Names to look up at most; one that resolves is enough.
MAX_NAMES = 3
# Seconds; glibc asks the next server after five, and gives up after ten (resolv.conf(5)).
RESOLVER_PATIENCE = 8.0


@check("node.release")
def release_supported(machine: Machine, context: Context) -> Outcome:
    result = release(machine)
    if result is None:
        return unknown("/etc/os-release does not exist")
    if result.is_supported:
        return ok(Evidence("release", "/etc/os-release", result.name, result.name))
    known = ", ".join(f"{name} {version}" for name, version in SUPPORTED)
    return warning(Evidence("release", "/etc/os-release", result.name or result.id, known))


@check("node.clock-skew", root_cause=True)
def clock(machine: Machine, context: Context) -> Outcome:
    """The clock is synchronized: a wrong one shows as rejected repositories and certificates."""
    if machine.in_container():
        return not_applicable("a container uses the clock of its host")
    answer = machine.query(("timedatectl", "show", "--property=NTPSynchronized", "--property=NTP"))
    values = {name: value for name, _, value in (line.partition("=") for line in answer.out.split("\n"))}
    if values.get("NTPSynchronized") == "yes":
        return ok()
    if "NTPSynchronized" not in values:
        raise StateUnknown(f"timedatectl: {answer.err.strip()}")
    evidence = Evidence("NTPSynchronized", "timedatectl", "no", "yes")
    return warning(evidence, variant="" if values.get("NTP") == "yes" else "disabled")


@check("node.dns-broken", root_cause=True, deadline=12.0, cost="expensive")
def dns(machine: Machine, context: Context) -> Outcome:
    """The name of the proxy can be resolved, or without one, that of any package source."""
    hosts = hosts_to_resolve(machine, context)[:MAX_NAMES]
    if not hosts:
        return not_applicable("no package source is addressed by host name")
    queried = []
    for host in hosts:
        try:
            answer = machine.query(("getent", "ahosts", host), deadline=RESOLVER_PATIENCE)
        except StateUnknown as error:
            # The name servers drop the query; the other names would wait for the same servers.
            queried.append(Evidence(host, "getent ahosts", str(error), "an address"))
            break
        if answer.code == 0:
            return ok(Evidence(host, "getent ahosts", answer.out.split()[0], "an address"))
        queried.append(Evidence(host, "getent ahosts", "no address", "an address"))
    return problem(*queried, host=hosts[0])


@check("node.disk-space", root_cause=True)
def disk_space(machine: Machine, context: Context) -> Outcome:
    full = []
    for path in ("/", "/var", "/home", TMP):
        free = machine.free_bytes(path)
        least = MIN_ROOM if path in ("/", "/var") else MIN_ROOM // 4
        if free < least:
            full.append(Evidence(path, "statvfs", f"{free // MIB} MiB free", f"{least // MIB} MiB"))
    return problem(*full)


@check("node.inodes-exhausted", root_cause=True)
def inodes(machine: Machine, context: Context) -> Outcome:
    """There are free inodes: a disk may have space left and still accept no file."""
    result = []
    for path in ("/", "/var", "/home"):
        answer = machine.query(("stat", "--file-system", "--format=%c %d", path))
        if answer.code != 0 or len(answer.out.split()) != 2:
            continue
        total, free = map(whole, answer.out.split())
        if free < total * FEW_INODES:
            result.append(Evidence(path, "statfs", f"{free} of {total} free", "at least 5 %"))
    return problem(*result)


@check("node.boot-full")
def boot(machine: Machine, context: Context) -> Outcome:
    """A separate /boot has space for another kernel; otherwise kernel and driver installations stop midway."""
    if machine.mount("/boot") is None:
        return not_applicable("/boot is not a separate file system")
    free = machine.free_bytes("/boot")
    if free >= MIN_BOOT:
        return ok()
    return warning(Evidence("/boot", "statvfs", f"{free // MIB} MiB free", f"{MIN_BOOT // MIB} MiB"))


@check("node.reboot-pending", root_cause=True)
def reboot(machine: Machine, context: Context) -> Outcome:
    waiting = waiting_for_reboot(machine)
    if waiting is None:
        return ok()
    return warning(Evidence("packages", "/run/reboot-required.pkgs", ", ".join(waiting), "none"))


@check("node.tmp-noexec")
def noexec(machine: Machine, context: Context) -> Outcome:
    mount = machine.mount(TMP)
    if mount is None or "noexec" not in mount.options.split(","):
        return ok()
    return warning(Evidence(TMP, "mountinfo", mount.options, "without noexec"))


@check("node.low-entropy")
def entropy(machine: Machine, context: Context) -> Outcome:
    """The kernel has enough entropy; only old kernels wait for it at boot."""
    version = f"{machine.kernel_text('/proc/sys/kernel/osrelease') or '0'}.0".split(".")
    if (whole(version[0]), whole(version[1].partition("-")[0])) >= (5, 18):
        return not_applicable("kernels since 5.18 do not wait for entropy")
    return unknown("`journalctl -k -b | grep 'crng init done'` shows when entropy was available")


PAGE = "node"
APT_LOCKS = (
    "/var/lib/dpkg/lock-frontend",
    "/var/lib/dpkg/lock",
    "/var/lib/apt/lists/lock",
    "/var/cache/apt/archives/lock",
)
# A range this wide belongs to containers, which can run any program.
WIDE = 100
# Programs that are allowed to use Backend.AI's ports: its own, and those that it depends on.
OWN_PROGRAMS = ("python", "backend", "bai-", "docker-proxy", "postgres", "redis", "valkey", "etcd", "node", "traefik")


@check("node.dpkg-interrupted", root_cause=True)
def dpkg(machine: Machine, context: Context) -> Outcome:
    """No package is half-installed, and dpkg has applied all of its journals."""
    updates = [name for name in machine.names("/var/lib/dpkg/updates") if name.isdecimal()]
    answer = machine.query(("dpkg", "--audit"))
    named = re.findall(r"^ (\S+)", answer.out, re.MULTILINE)
    unfinished = machine.unfinished()
    if not updates and not named and unfinished is None:
        return ok()
    result = ", ".join(dict.fromkeys(named)) or f"{len(updates)} unfinished updates"
    evidence = Evidence("dpkg --audit", "/var/lib/dpkg", result, "nothing")
    if unfinished is None:
        return problem(evidence)
    return problem(evidence, variant="fixable", remedy=(completion(unfinished, PAGE),))


@check("node.apt-lock-held", root_cause=True, needs_root=True)
def lock(machine: Machine, context: Context) -> Outcome:
    """No other process holds apt's locks; the kernel's list is read, so that no lock is acquired."""
    held = {}
    for line in (machine.kernel_text("/proc/locks") or "").split("\n"):
        words = line.split()
        if len(words) >= 6 and words[1] == "POSIX" and words[3] == "WRITE":
            held[words[5].rpartition(":")[2]] = words[4]
    paths = [path for path in APT_LOCKS if machine.entry(path) is not None] if held else []
    if not paths:
        return ok()
    answer = machine.query(("stat", "--format=%i %n", *paths))
    result = []
    for line in answer.out.split("\n"):
        inode, _, path = line.partition(" ")
        if inode in held:
            name = machine.kernel_text(f"/proc/{held[inode]}/comm") or "a process"
            result.append(Evidence("lock", path, f"{name} ({held[inode]})", "no process"))
    return warning(*result, holder=result[0].found) if result else ok()


@check("node.apt-proxy")
def proxy(machine: Machine, context: Context) -> Outcome:
    """apt uses the configured proxy, whichever file sets it."""
    wanted = {"http": context.proxy_http, "https": context.proxy_https}
    if not any(wanted.values()):
        return not_applicable("no proxy is configured")
    answer = machine.query(("apt-config", "dump"))
    if answer.code != 0:
        raise StateUnknown(f"apt-config: {answer.err.strip()}")
    evidence = []
    for scheme, value in wanted.items():
        match = re.search(rf'^Acquire::{scheme}::Proxy "(.*)";$', answer.out, re.MULTILINE)
        result = match.group(1) if match else ""
        if value and "@" not in value and result.rstrip("/") != value.rstrip("/"):
            evidence.append(Evidence(f"Acquire::{scheme}::Proxy", "apt-config dump", result or "none", value))
    return problem(*evidence)


@check("node.needrestart-hang")
def needrestart(machine: Machine, context: Context) -> Outcome:
    """Informational: needrestart may ask full-screen questions; the wizard's own installations suspend it."""
    if machine.entry("/usr/lib/needrestart/apt-pinvoke") is None:
        return not_applicable("needrestart is not installed")
    suspended = "suspended during runs; by hand: NEEDRESTART_SUSPEND=1"
    return ok(Evidence("needrestart", "/usr/lib/needrestart", "installed", suspended))


@check("node.trust")
def trust(machine: Machine, context: Context) -> Outcome:
    if not context.ca_certificates:
        return not_applicable("no certificates are configured")
    step = Trust(id="node.trust", sources=context.ca_certificates)
    verdict = step.inspect(machine)
    if not isinstance(verdict, Pending):
        reason = getattr(verdict, "reason", "")
        return unknown(reason) if reason else ok()
    changes = [
        Evidence(change.subject, "the system's trust store", "missing or changed", "present")
        for change in verdict.changes
    ]
    return problem(*changes, remedy=(step,))


UNITS = "/etc/systemd/system"
UNIT_TYPES = (".service", ".socket", ".timer", ".mount", ".automount", ".slice", ".path")


@check("node.units-changed")
def units_loaded(machine: Machine, context: Context) -> Outcome:
    """systemd has read the current files of every unit that has local files.

    Of a masked unit it reads no drop-ins, so it would report them as changed for good.
    """
    names = dict.fromkeys(name.removesuffix(".d") for name in machine.names(UNITS))
    local = [name for name in names if name.endswith(UNIT_TYPES) and "@." not in name]
    units = machine.units(local) if local else {}
    changed = [
        name
        for name, unit in units.items()
        if unit is not None and unit.needs_reload and not unit.enabled.startswith("masked")
    ]
    evidence = (Evidence(name, "systemctl show", "NeedDaemonReload=yes", "no") for name in changed)
    return warning(*evidence, units=" ".join(changed))


@check("node.locale-broken")
def locale(machine: Machine, context: Context) -> Outcome:
    text = "\n".join(_file_text(machine, path) for path in ("/etc/default/locale", "/etc/locale.conf"))
    match = re.search(r"^LANG=[\"']?([^\"'\s]+)", text, re.MULTILINE)
    if match is None or match.group(1) in ("C", "POSIX", "C.UTF-8"):
        return ok()
    installed = {_plain(name) for name in machine.query(("locale", "-a")).out.split()}
    if _plain(match.group(1)) in installed:
        return ok()
    evidence = Evidence("LANG", "/etc/default/locale", match.group(1), "one of `locale -a`")
    return warning(evidence, locale=match.group(1))


def _file_text(machine: Machine, path: str) -> str:
    """The file's text. On Debian 13 the first file is a link to the second, which is read anyway."""
    entry = machine.entry(path)
    return "" if entry is None or entry.type == "link" else machine.text(path) or ""


def _plain(name: str) -> str:
    return name.lower().replace("-", "")


@check("node.port-in-use", needs_root=True)
def ports_in_use(machine: Machine, context: Context) -> Outcome:
    """No other program listens on the ports of this node's roles; wide ranges belong to containers."""
    wanted = {
        port: what
        for (first, last), what in named_ports(context.roles)
        if last - first < WIDE
        for port in range(first, last + 1)
    }
    answer = machine.query(("ss", "--listening", "--tcp", "--numeric", "--processes", "--no-header"))
    if answer.code != 0:
        raise StateUnknown(f"ss: {answer.err.strip()}")
    result = []
    for line in answer.out.split("\n"):
        words = line.split()
        port = words[3].rpartition(":")[2] if len(words) > 3 else ""
        program = re.search(r'"([^"]+)"', line)
        if port.isdecimal() and whole(port) in wanted and program and not program.group(1).startswith(OWN_PROGRAMS):
            result.append(Evidence(f"port {port}", "ss", program.group(1), wanted[whole(port)]))
    return warning(*result)


CHECKS = checks_in(sys.modules[__name__], check_sources, check_advisories)
