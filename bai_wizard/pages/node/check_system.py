"""What the doctor looks at in packages, proxy, trust, language and ports of a node."""

from __future__ import annotations

import re

from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.finding import Evidence, Finding
from bai_wizard.core.machine import Machine
from bai_wizard.core.step import Pending
from bai_wizard.pages.known_ports import ports
from bai_wizard.pages.subject import Subject
from bai_wizard.steps.trust import Trust

PAGE = "node"
LOCKS = (
    "/var/lib/dpkg/lock-frontend",
    "/var/lib/dpkg/lock",
    "/var/lib/apt/lists/lock",
    "/var/cache/apt/archives/lock",
)
# A range of so many ports is one for containers, whose programs can be anything.
WIDE = 100
# Programs that may hold Backend.AI's ports because they are Backend.AI, or what it runs on.
OWN_PROGRAMS = ("python", "backend", "bai-", "docker-proxy", "postgres", "redis", "valkey", "etcd", "node", "traefik")
DPKG = Subject("apt-dpkg-interrupted", PAGE, "No package install was cut off")
LOCK = Subject("apt-lock-held", PAGE, "Nobody else uses the package manager")
PROXY = Subject("apt-proxy", PAGE, "apt uses the proxy of the answers")
RESTART = Subject("apt-needrestart-hang", PAGE, "Package installs ask no hidden question")
TRUST = Subject("node.trust", PAGE, "The system trusts the site's own authorities")
LOCALE = Subject("locale-broken", PAGE, "The language that is set is installed")
PORTS = Subject("port-in-use", PAGE, "The ports of Backend.AI are free, or its own")


def dpkg(machine: Machine, context: Context) -> Finding:
    """Packages left half-way, and journals of dpkg that were never worked off."""
    updates = [name for name in machine.names("/var/lib/dpkg/updates") if name.isdecimal()]
    answer = machine.look(("dpkg", "--audit"))
    named = re.findall(r"^ (\S+)", answer.out, re.MULTILINE)
    if not updates and not named:
        return DPKG.ok()
    found = ", ".join(named) or f"{len(updates)} unfinished updates"
    return DPKG.problem(
        "A package install was cut off",
        (Evidence("dpkg --audit", "/var/lib/dpkg", found, "nothing"),),
        cause="A power cut, a killed installer, or a package's own script that failed.",
        guidance="dpkg --configure -a; then apt-get -f install. A script that fails again names the cause.",
    )


def lock(machine: Machine, context: Context) -> Finding:
    """Who holds apt's locks; seen in the kernel's list, so that no lock is taken for looking."""
    held = {}
    for line in (machine.kernel_text("/proc/locks") or "").split("\n"):
        words = line.split()
        if len(words) >= 6 and words[1] == "POSIX" and words[3] == "WRITE":
            held[words[5].rpartition(":")[2]] = words[4]
    paths = [path for path in LOCKS if machine.entry(path) is not None] if held else []
    if not paths:
        return LOCK.ok()
    answer = machine.look(("stat", "--format=%i %n", *paths))
    found = []
    for line in answer.out.split("\n"):
        inode, _, path = line.partition(" ")
        if inode in held:
            name = machine.kernel_text(f"/proc/{held[inode]}/comm") or "a process"
            found.append(Evidence("lock", path, f"{name} ({held[inode]})", "nobody"))
    if not found:
        return LOCK.ok()
    return LOCK.warning(
        f"The package manager is in use by {found[0].found}",
        found,
        cause="Updates by themselves (unattended-upgrades, apt-daily) or cloud-init run soon after the first boot.",
        guidance="Wait, as the wizard does. On a fresh node: cloud-init status --wait. Never delete the lock files.",
    )


def proxy(machine: Machine, context: Context) -> Finding:
    """What apt will really use, whatever file says so."""
    wanted = {"http": context.proxy_http, "https": context.proxy_https}
    if not any(wanted.values()):
        return PROXY.not_applicable("the answers name no proxy")
    answer = machine.look(("apt-config", "dump"))
    if answer.code != 0:
        raise CannotTell(f"apt-config: {answer.err.strip()}")
    evidence = []
    for scheme, value in wanted.items():
        match = re.search(rf'^Acquire::{scheme}::Proxy "(.*)";$', answer.out, re.MULTILINE)
        found = match.group(1) if match else ""
        if value and "@" not in value and found.rstrip("/") != value.rstrip("/"):
            evidence.append(Evidence(f"Acquire::{scheme}::Proxy", "apt-config dump", found or "none", value))
    if not evidence:
        return PROXY.ok()
    return PROXY.problem(
        "apt does not use the proxy of the answers",
        evidence,
        cause="The proxy was never written, or a file in /etc/apt/apt.conf.d that is read later names another one.",
        guidance="grep -r Proxy /etc/apt/apt.conf /etc/apt/apt.conf.d; then apply the network settings again.",
    )


def restart(machine: Machine, context: Context) -> Finding:
    """needrestart's full-screen question; the wizard's own installs suspend it."""
    if machine.entry("/usr/lib/needrestart/apt-pinvoke") is None:
        return RESTART.not_applicable("needrestart is not installed")
    return RESTART.ok(
        Evidence(
            "needrestart",
            "/usr/lib/needrestart",
            "installed",
            "suspended in our runs; by hand: NEEDRESTART_SUSPEND=1",
        )
    )


def trust(machine: Machine, context: Context) -> Finding:
    """The certificates of the answers in the system's list."""
    if not context.ca_certificates:
        return TRUST.not_applicable("the answers name no certificates")
    step = Trust(id="node.trust", sources=context.ca_certificates)
    verdict = step.inspect(machine)
    if not isinstance(verdict, Pending):
        reason = getattr(verdict, "reason", "")
        return TRUST.cannot_tell(reason) if reason else TRUST.ok()
    changes = [
        Evidence(change.subject, "the system's trust", "missing or changed", "present") for change in verdict.changes
    ]
    return TRUST.problem(
        "The system does not trust the site's own authorities",
        changes,
        cause="They were never added, or update-ca-certificates was not run.",
        guidance="The remedy adds them.",
        remedy=(step,),
    )


def locale(machine: Machine, context: Context) -> Finding:
    """The system's language against those that are installed."""
    text = "\n".join(_file_text(machine, path) for path in ("/etc/default/locale", "/etc/locale.conf"))
    match = re.search(r"^LANG=[\"']?([^\"'\s]+)", text, re.MULTILINE)
    if match is None or match.group(1) in ("C", "POSIX", "C.UTF-8"):
        return LOCALE.ok()
    installed = {_plain(name) for name in machine.look(("locale", "-a")).out.split()}
    if _plain(match.group(1)) in installed:
        return LOCALE.ok()
    return LOCALE.warning(
        f"The language {match.group(1)} is set and not installed",
        (Evidence("LANG", "/etc/default/locale", match.group(1), "one of `locale -a`"),),
        cause="The package of languages was never generated on this image.",
        guidance=f"locale-gen {match.group(1)}, or put LANG=C.UTF-8 into /etc/default/locale.",
    )


def _file_text(machine: Machine, path: str) -> str:
    """On Debian 13 the first of the two places is a link to the second, which is looked at anyway."""
    entry = machine.entry(path)
    return "" if entry is None or entry.type == "link" else machine.text(path) or ""


def _plain(name: str) -> str:
    return name.lower().replace("-", "")


def in_use(machine: Machine, context: Context) -> Finding:
    """Programs of others that listen on ports of this node's roles; the wide ranges are for containers."""
    wanted = {
        port: entry.what
        for entry in ports()
        if set(entry.roles) & set(context.roles)
        for first, last in entry.ports
        if last - first < WIDE
        for port in range(first, last + 1)
    }
    answer = machine.look(("ss", "--listening", "--tcp", "--numeric", "--processes", "--no-header"))
    if answer.code != 0:
        raise CannotTell(f"ss: {answer.err.strip()}")
    found = []
    for line in answer.out.split("\n"):
        words = line.split()
        port = words[3].rpartition(":")[2] if len(words) > 3 else ""
        program = re.search(r'"([^"]+)"', line)
        if port.isdecimal() and int(port) in wanted and program and not program.group(1).startswith(OWN_PROGRAMS):
            found.append(Evidence(f"port {port}", "ss", program.group(1), wanted[int(port)]))
    if not found:
        return PORTS.ok()
    return PORTS.warning(
        "Another program listens on a port of Backend.AI",
        found,
        cause="An earlier install, or a service of the distribution.",
        guidance="Stop that program (systemctl disable --now …), or give Backend.AI another port.",
    )


CHECKS = (
    DPKG.check(dpkg, root_cause=True),
    LOCK.check(lock, root_cause=True, needs_root=True),
    PROXY.check(proxy),
    RESTART.check(restart),
    TRUST.check(trust),
    LOCALE.check(locale),
    PORTS.check(in_use, needs_root=True),
)
