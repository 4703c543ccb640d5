"""What several pages read about a node: the system, services, sessions, ports, and the lookup order of names."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterator, Sequence
from functools import cache, partial
from typing import Any

from msgspec import Struct

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.machine import Machine, NodeView
from bai_wizard.core.page import Absent, Context, Fact, Known, Role, Unknown, read_fact, value_or
from bai_wizard.core.parse import is_user_manager, os_release, toml_table, whole
from bai_wizard.core.state import Account
from bai_wizard.data import read_toml
from bai_wizard.pages import network_probes
from bai_wizard.steps.kernel import Interval, intervals, union
from bai_wizard.steps.services import unit_file, unit_settings

# The second, better known path is a link to the first.
OS_RELEASE = ("/usr/lib/os-release", "/etc/os-release")
# uname's name of the architecture → dpkg's.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class System(Struct, frozen=True):
    """The operating system: `os` is ubuntu or debian, also for their derivatives; `architecture` is dpkg's name."""

    os: str
    name: str
    codename: str
    architecture: str
    version: str = ""


def system_of(machine: Machine) -> Fact[System]:
    """Return the operating system, with the names that Docker's repository uses."""
    release = os_release_of(machine)
    if not isinstance(release, Known):
        return Unknown(f"{OS_RELEASE[1]} cannot be read, so the operating system is unknown")
    fields = release.value
    families = [fields.get("ID", ""), *fields.get("ID_LIKE", "").split()]
    os = next((family for family in families if family in ("ubuntu", "debian")), "")
    codename = fields.get("UBUNTU_CODENAME" if os == "ubuntu" else "DEBIAN_CODENAME") or fields.get(
        "VERSION_CODENAME", ""
    )
    if not os:
        return Unknown(f"{fields.get('PRETTY_NAME', 'this system')} is neither Ubuntu nor Debian")
    name, version = fields.get("PRETTY_NAME", os), fields.get("VERSION_ID", "")
    return Known(System(os, name, codename, architecture_of(machine), version))


def hosts_to_resolve(machine: Machine, context: Context) -> list[str]:
    """Return host names that the node has to resolve: only the proxy's if there is one: it resolves the others."""
    urls = [url for url in (context.proxy_http, context.proxy_https) if url]
    directory = "/etc/apt/sources.list.d"
    lists = [f"{directory}/{name}" for name in machine.names(directory) if name.endswith((".list", ".sources"))]
    for path in ("/etc/apt/sources.list", *lists) if not urls else ():
        lines = [line for line in (machine.text(path) or "").split("\n") if not line.lstrip().startswith("#")]
        urls += [word for line in lines for word in line.split() if word.startswith(("http://", "https://"))]
    hosts = (url.partition("://")[2].partition("/")[0].rpartition("@")[2].partition(":")[0] for url in urls)
    return [host for host in dict.fromkeys(hosts) if host and not host.replace(".", "").isdecimal()]


def is_package_before(view: NodeView, name: str, version: tuple[int, int]) -> bool:
    """Whether an older upstream version of a package is installed; not if that is unknown."""
    try:
        package = view.package(name)
    except StateUnknown:
        return False
    match = re.match(r"(?:\d+:)?(\d{1,4})\.(\d{1,4})", package.version) if package is not None else None
    return match is not None and (whole(match[1]), whole(match[2])) < version


def os_release_of(machine: Machine) -> Fact[dict[str, str]]:
    """Return the fields of os-release(5), from the first of its files that can be read."""
    texts = (read_fact(partial(machine.text, path)) for path in OS_RELEASE)
    return next((Known(os_release(text.value)) for text in texts if isinstance(text, Known)), Absent())


def uname_architecture(machine: Machine) -> str:
    """Return uname's name of the architecture; empty if unknown."""
    arch = value_or(read_fact(lambda: machine.kernel_text("/proc/sys/kernel/arch")), "")
    return arch or value_or(read_fact(lambda: machine.query(("uname", "-m")).out.strip()), "")


def architecture_of(machine: Machine) -> str:
    """Return dpkg's name of the architecture; empty if unknown."""
    name = uname_architecture(machine)
    return ARCHITECTURES.get(name, name)


def installed_kernels(view: NodeView) -> list[str]:
    """Return the releases of the kernels in /boot, the one that boots next last. Raises StateUnknown."""
    names = (name.removeprefix("vmlinuz-") for name in view.names("/boot") if name.startswith("vmlinuz-"))
    return sorted(names, key=kernel_order)


def kernel_order(release: str) -> tuple[tuple[int, ...], str]:
    """Sort kernels as boot loaders do: by the numbers in their names."""
    return tuple(whole(number) for number in re.findall(r"\d+", release)), release


# Where the services look for their configuration, as in the manual (facts: backend.ai, configuration).
CONFIGURATION_FILES = (
    "{home}/{service}/{service}.toml",
    "{home}/.config/backend.ai/{service}.toml",
    "/etc/backend.ai/{service}.toml",
)


def service_configuration(view: NodeView, context: Context, service: str) -> Fact[tuple[str, dict[str, Any]]]:
    """Return path and content of a service's configuration; Absent if it has none."""
    for pattern in CONFIGURATION_FILES:
        path = pattern.format(home=context.home, service=service)
        try:
            text = view.text(path)
            if text is not None:
                return Known((path, toml_table(text)))
        except StateUnknown as error:
            return Unknown(f"{path}: {error}")
    return Absent()


def service_ids(view: NodeView, unit: str) -> tuple[int, int] | None:
    """Return the UID and GID that a service runs with; None if the node has no such service or they are unknown."""
    if unit_file(view, unit) is None:
        return None
    user, group = (_last(view, unit, name) for name in ("User", "Group"))
    account = view.account(user or "root")
    uid = whole(user) if user.isdecimal() else account.uid if account else None if user else 0
    of_group = view.group(group) if group else None
    by_user = account.gid if account else None if user else 0
    gid = whole(group) if group.isdecimal() else of_group.gid if of_group else None if group else by_user
    return None if uid is None or gid is None else (uid, gid)


def _last(view: NodeView, unit: str, name: str) -> str:
    given = unit_settings(view, unit, "Service", name)
    return given[-1].value if given else ""


def container_ids(view: NodeView, context: Context) -> Fact[tuple[int, int]]:
    """Return `kernel-uid` and `kernel-gid` of agent.toml. Absent without the file; -1 means the agent's own user."""
    result = service_configuration(view, context, "agent")
    if not isinstance(result, Known):
        return result
    table = result.value[1].get("container", {})
    if not isinstance(table, dict):
        return Unknown(f"{result.value[0]}: container is not a table")
    try:
        return Known((whole(table.get("kernel-uid", -1)), whole(table.get("kernel-gid", -1))))
    except (TypeError, ValueError) as error:
        return Unknown(f"{result.value[0]}: {error}")


class Ports(Struct, frozen=True):
    """Ports on which Backend.AI listens on nodes with these roles."""

    ports: tuple[Interval, ...]
    what: str
    roles: tuple[Role, ...]


@cache
def ports() -> tuple[Ports, ...]:
    """Return all ports of Backend.AI."""
    return tuple(
        Ports(intervals(entry["ports"]), entry["what"], tuple(entry["roles"]))
        for entry in read_toml("ports.toml")["port"]
    )


def named_ports(roles: Collection[Role]) -> tuple[tuple[Interval, str], ...]:
    """Return the ports of nodes with these roles, each with what listens there."""
    entries = (entry for entry in ports() if set(entry.roles).intersection(roles))
    return tuple((interval, entry.what) for entry in entries for interval in entry.ports)


def ports_of(roles: Collection[Role]) -> tuple[Interval, ...]:
    """Return the ports of nodes with these roles."""
    return union(tuple(interval for interval, _ in named_ports(roles)), ())


# The maximum number of processes to read: a session older than a setting shows up in the first ones.
MAX_PROCESSES = 100
# The maximum number of parents to follow when determining whether the wizard started a process.
MAX_PARENTS = 8

Status = dict[str, str]


def processes_of(machine: Machine, account: str) -> Iterator[tuple[str, Status]]:
    """Yield the PID of each running process of an account, and the fields of its `/proc/PID/status`.

    Processes in containers are skipped: they may have the same UID, but groups and limits of their own. So is the
    account's systemd manager, which outlives sessions; what it starts is not. Raises StateUnknown.
    """
    for pid in machine.query(("pgrep", "-u", account)).out.split()[:MAX_PROCESSES]:
        status = _process_status(machine, pid)
        # One PID per nested PID namespace, starting with this one. Without a status the process has exited.
        is_contained = not status or len(status.get("NSpid", "").split()) > 1
        if not is_contained and not is_user_manager(machine.kernel_text(f"/proc/{pid}/cgroup") or ""):
            yield pid, status


def is_ours(machine: Machine, pid: str) -> bool:
    """Whether the wizard started this process, or the process has exited.

    The wizard reads the account's files and runs programs as the account. Such a process has the wizard's limits, and
    for a moment its groups too: setpriv(1) sets the UID first.
    """
    for _ in range(MAX_PARENTS):
        if re.search(r"bai[_-]wizard", machine.kernel_text(f"/proc/{pid}/cmdline") or ""):
            return True
        status = _process_status(machine, pid)
        if not status:
            return True
        pid = status.get("PPid", "0")
        if pid in ("0", "1"):
            return False
    return False


def _process_status(machine: Machine, pid: str) -> Status:
    lines = (machine.kernel_text(f"/proc/{pid}/status") or "").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def acting_as(account: Account) -> tuple[str, ...]:
    """Return the start of a command line that gives a program the ids of an account, and no privileges."""
    ids = ("--reuid", str(account.uid), "--regid", str(account.gid), "--init-groups")
    return ("setpriv", *ids, "--no-new-privs", "--bounding-set=-all")


NSSWITCH = "/etc/nsswitch.conf"


def read_sshd_rules(machine: Machine, name: str) -> dict[str, list[str]]:
    """Return the settings of sshd for an account, by lowercase name; empty if it prints none. Raises StateUnknown."""
    answer = machine.query(("sshd", "-T", "-C", f"user={name},host=localhost,addr=127.0.0.1"))
    result: dict[str, list[str]] = {}
    for line in answer.out.splitlines() if answer.code == 0 else ():
        key, _, value = line.partition(" ")
        result.setdefault(key.lower(), []).extend(value.split())
    return result


def lookup_order(text: str, database: str) -> tuple[str, ...]:
    """Return the sources of a database, including bracketed actions; the last line that names it counts."""
    result: tuple[str, ...] = ()
    for line in text.splitlines():
        name, colon, rest = line.partition("#")[0].partition(":")
        if colon and name.strip() == database:
            result = tuple(re.findall(r"\[[^\]]*\]|[^\s\[]+", rest))
    return result


def ends_before(order: tuple[str, ...], wanted: Collection[str]) -> str:
    """Return why a lookup never reaches one of the sources `wanted`; empty if it does."""
    if not set(wanted) & set(order):
        return "files is missing"
    for source in order:
        if source in wanted:
            return ""
        action = source.lower()
        if source.startswith("[") and "return" in action and "success" not in action:
            return f"{source} ends the lookup before files"
    return ""


TCP_SECONDS = 2.0
# An interpreter on a node whose processors are all busy takes seconds to start.
START_SECONDS = 5.0
# The answers that show that a host exists at the address.
TCP_ANSWERS = ("open", "refused")


def probe_tcp(machine: Machine, addresses: Sequence[str], port: int) -> dict[str, str]:
    """`open`, `refused`, `silent` or `unreachable` for each address. Raises StateUnknown if the child cannot run."""
    answer = machine.query(tcp_probe_command(addresses, port), deadline=TCP_SECONDS + START_SECONDS)
    if answer.code != 0:
        raise StateUnknown(f"cannot probe the addresses: {answer.err.strip() or answer.code}")
    lines = (line.split() for line in answer.out.splitlines())
    return {words[0]: words[1] for words in lines if len(words) == 2}


def tcp_probe_command(addresses: Sequence[str], port: int) -> list[str]:
    """Return the child's command line."""
    return [sys.executable, "-I", "-S", network_probes.__file__, "tcp", str(port), str(TCP_SECONDS), *addresses]
