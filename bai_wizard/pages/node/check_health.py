"""Root causes: while one of these is wrong, half of everything else looks broken too."""

from __future__ import annotations

from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.finding import Evidence, Finding
from bai_wizard.core.machine import Machine
from bai_wizard.pages.node.facts import SUPPORTED
from bai_wizard.pages.node.probe import release, waiting_for_reboot
from bai_wizard.pages.subject import Subject

PAGE = "node"
MIB, GIB = 2**20, 2**30
# Room below which package installs fail in the middle: Docker and its images need far more, asked by their pages.
LEAST_ROOM = 2 * GIB
# One kernel with its initrd, NVIDIA's modules included (130 MiB more in one report).
LEAST_BOOT = 250 * MIB
FEW_INODES = 0.05
TMP = "/tmp"  # noqa: S108 - looked at, never written to
# Names asked for, at most: one that answers is enough.
MOST_NAMES = 3
# Seconds; glibc asks the next server after five, and gives up after ten (resolv.conf(5)).
RESOLVER_PATIENCE = 8.0
RELEASE = Subject("node.release", PAGE, "The wizard is made for this release")
CLOCK = Subject("apt-clock-skew", PAGE, "The clock is kept right", owner="site")
DNS = Subject("dns-broken", PAGE, "Host names can be resolved", owner="site")
ROOM = Subject("node.disk-space", PAGE, "There is room on the disks")
INODES = Subject("inodes-exhausted", PAGE, "There are free file entries")
BOOT = Subject("boot-full", PAGE, "There is room for another kernel")
REBOOT = Subject("reboot-pending", PAGE, "No reboot is pending", owner="site")
NOEXEC = Subject("tmp-noexec", PAGE, f"Programs may run in {TMP}")
ENTROPY = Subject("low-entropy", PAGE, "The kernel has randomness at boot")


def supported(machine: Machine, context: Context) -> Finding:
    """The release against the ones the wizard is tested with."""
    found = release(machine)
    if found is None:
        return RELEASE.cannot_tell("there is no os-release file")
    if found.is_supported:
        return RELEASE.ok(Evidence("release", "/etc/os-release", found.name, found.name))
    known = ", ".join(f"{name} {version}" for name, version in SUPPORTED)
    return RELEASE.warning(
        "The wizard is not made for this release",
        (Evidence("release", "/etc/os-release", found.name or found.id, known),),
        cause="Package names and defaults differ between releases.",
        guidance="Look at every difference in the plan closely, or install one of the releases named.",
    )


def clock(machine: Machine, context: Context) -> Finding:
    """Whether something keeps the clock right. A wrong one shows as refused repositories and certificates."""
    if machine.in_container():
        return CLOCK.not_applicable("a container has its host's clock")
    answer = machine.look(("timedatectl", "show", "--property=NTPSynchronized", "--property=NTP"))
    values = dict(line.partition("=")[::2] for line in answer.out.split("\n"))
    if values.get("NTPSynchronized") == "yes":
        return CLOCK.ok()
    if "NTPSynchronized" not in values:
        raise CannotTell(f"timedatectl: {answer.err.strip()}")
    off = values.get("NTP") != "yes"
    return CLOCK.warning(
        "Nothing keeps the clock right" if off else "The clock has not been set by the network yet",
        (Evidence("NTPSynchronized", "timedatectl", "no", "yes"),),
        cause="No time daemon runs."
        if off
        else "The time server does not answer (UDP port 123), or the boot is young.",
        guidance="timedatectl set-ntp true; in a closed network put the site's server into"
        " /etc/systemd/timesyncd.conf.d. Backend.AI refuses requests when clocks are 15 minutes apart.",
    )


def dns(machine: Machine, context: Context) -> Finding:
    """The name of the proxy, or those of package sources; one that has an address is enough."""
    hosts = _hosts(machine, context)[:MOST_NAMES]
    if not hosts:
        return DNS.not_applicable("no source of packages has a host name")
    asked = []
    for host in hosts:
        try:
            answer = machine.look(("getent", "ahosts", host), deadline=RESOLVER_PATIENCE)
        except CannotTell as error:
            # A black hole: the resolver itself waits longer. The other names would wait for the same servers.
            asked.append(Evidence(host, "getent ahosts", str(error), "an address"))
            break
        if answer.code == 0:
            return DNS.ok(Evidence(host, "getent ahosts", answer.out.split()[0], "an address"))
        asked.append(Evidence(host, "getent ahosts", "no address", "an address"))
    return DNS.problem(
        f"The name {hosts[0]} cannot be resolved",
        asked,
        cause="The name server does not answer, or /etc/resolv.conf is stale.",
        guidance="resolvectl status; ls -l /etc/resolv.conf (on Ubuntu a link to"
        " ../run/systemd/resolve/stub-resolv.conf); then ask the site for its name server.",
    )


def _hosts(machine: Machine, context: Context) -> list[str]:
    """Host names, each once: the proxy's alone where there is one, for then it resolves the others."""
    urls = [url for url in (context.proxy_http, context.proxy_https) if url]
    for path in ("/etc/apt/sources.list", *_sources(machine)) if not urls else ():
        lines = [line for line in (machine.text(path) or "").split("\n") if not line.lstrip().startswith("#")]
        urls += [word for line in lines for word in line.split() if word.startswith(("http://", "https://"))]
    hosts = (url.partition("://")[2].partition("/")[0].rpartition("@")[2].partition(":")[0] for url in urls)
    return [host for host in dict.fromkeys(hosts) if host and not host.replace(".", "").isdecimal()]


def _sources(machine: Machine) -> list[str]:
    directory = "/etc/apt/sources.list.d"
    return [f"{directory}/{name}" for name in machine.names(directory) if name.endswith((".list", ".sources"))]


def room(machine: Machine, context: Context) -> Finding:
    """Room where packages and the wizard write."""
    full = []
    for path in ("/", "/var", "/home", TMP):
        free = machine.free_bytes(path)
        least = LEAST_ROOM if path in ("/", "/var") else LEAST_ROOM // 4
        if free < least:
            full.append(Evidence(path, "statvfs", f"{free // MIB} MiB free", f"{least // MIB} MiB"))
    if not full:
        return ROOM.ok()
    return ROOM.problem(
        "A file system is nearly full",
        full,
        cause="Logs, old kernels, caches of packages and container images fill a disk first.",
        guidance="du -xh --max-depth=2 / | sort -h | tail; apt-get clean; journalctl --vacuum-size=200M",
    )


def inodes(machine: Machine, context: Context) -> Finding:
    """File entries: a disk may have room and still take no file."""
    found = []
    for path in ("/", "/var", "/home"):
        answer = machine.look(("stat", "--file-system", "--format=%c %d", path))
        words = answer.out.split()
        if answer.code == 0 and len(words) == 2 and int(words[0]) and int(words[1]) < int(words[0]) * FEW_INODES:
            found.append(Evidence(path, "statfs", f"{words[1]} of {words[0]} free", "5 % at least"))
    if not found:
        return INODES.ok()
    return INODES.problem(
        "A file system has hardly any file entries left",
        found,
        cause="Their number is fixed when an ext4 file system is made; many small files use them up.",
        guidance="Find the directories with the most entries: du --inodes -x / | sort -n | tail",
    )


def boot(machine: Machine, context: Context) -> Finding:
    """A separate /boot that is full stops kernel and driver installs half-way."""
    if machine.mount("/boot") is None:
        return BOOT.not_applicable("/boot is no file system of its own")
    free = machine.free_bytes("/boot")
    if free >= LEAST_BOOT:
        return BOOT.ok()
    return BOOT.warning(
        "/boot is too full for another kernel",
        (Evidence("/boot", "statvfs", f"{free // MIB} MiB free", f"{LEAST_BOOT // MIB} MiB"),),
        cause="Old kernels are kept there, and drivers make each initrd larger.",
        guidance="apt-get --purge autoremove removes old kernels; look at its list first. Then: dpkg --configure -a",
    )


def reboot(machine: Machine, context: Context) -> Finding:
    """What asks for a restart of the node."""
    waiting = waiting_for_reboot(machine)
    if waiting is None:
        return REBOOT.ok()
    return REBOOT.warning(
        "A reboot is pending",
        (Evidence("packages", "/run/reboot-required.pkgs", ", ".join(waiting), "none"),),
        cause="A kernel, a driver or the C library was updated; the old one still runs.",
        guidance="Reboot before drivers are installed. `bai-wizard resume` goes on after that.",
    )


def noexec(machine: Machine, context: Context) -> Finding:
    """A hardened /tmp: builds and installers run programs from there."""
    mount = machine.mount(TMP)
    if mount is None or "noexec" not in mount.options.split(","):
        return NOEXEC.ok()
    return NOEXEC.warning(
        f"{TMP} forbids running programs",
        (Evidence(TMP, "mountinfo", mount.options, "without noexec"),),
        cause="The node is hardened (CIS).",
        guidance="Builds need another place: TMPDIR on a disk that allows programs. Leave /tmp as it is.",
    )


def entropy(machine: Machine, context: Context) -> Finding:
    """Only old kernels wait for randomness."""
    version = (machine.kernel_text("/proc/sys/kernel/osrelease") or "0.0").split(".")
    if (int(version[0]), int(version[1].partition("-")[0])) >= (5, 18):
        return ENTROPY.not_applicable("kernels since 5.18 do not wait")
    return ENTROPY.cannot_tell("journalctl -k -b | grep 'crng init done' tells when randomness was there")


CHECKS = (
    RELEASE.check(supported),
    CLOCK.check(clock, root_cause=True),
    DNS.check(dns, root_cause=True, deadline=12.0, cost="dear"),
    ROOM.check(room, root_cause=True),
    INODES.check(inodes, root_cause=True),
    BOOT.check(boot),
    REBOOT.check(reboot, root_cause=True),
    NOEXEC.check(noexec),
    ENTROPY.check(entropy),
)
