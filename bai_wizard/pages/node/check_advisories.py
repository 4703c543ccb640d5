"""Advisories: Backend.AI needs these, but the site is responsible. The doctor never changes them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.machine import Machine
from bai_wizard.core.page import Context, Evidence, Known
from bai_wizard.core.parse import Malformed, json_object, json_value, whole
from bai_wizard.core.paths import parents
from bai_wizard.pages.check import Outcome, check, not_applicable, ok, problem, unknown, warning
from bai_wizard.pages.node_state import installed_kernels, named_ports, service_configuration
from bai_wizard.steps.kernel import Interval

ALL_PORTS: Interval = (1, 65535)
# Matches on source, destination or interface, which do not restrict the port.
SOURCE_FIELDS = ("saddr", "daddr", "iifname", "iif", "iifgroup")
ChainName = tuple[str, str, str]


def allowed_by(text: str) -> list[Interval] | None:
    """Return TCP ports that some rule accepts, from any source; None if no chain drops input by default."""
    try:
        items = json_value(text)["nftables"]
        ruleset = _Ruleset(items)
        dropping = [
            (chain["family"], chain["table"], chain["name"])
            for chain in (item["chain"] for item in items if "chain" in item)
            if chain.get("hook") == "input" and chain.get("policy") == "drop"
        ]
        return [port for chain in dropping for port in ruleset.accepted(chain, frozenset())] if dropping else None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StateUnknown(f"cannot parse the output of nft: {type(error).__name__}: {error}") from error


class _Ruleset:
    """Rules by chain, and named sets."""

    def __init__(self, items: list[dict[str, Any]]) -> None:
        self._rules: dict[ChainName, list[list[dict[str, Any]]]] = {}
        self._sets: dict[ChainName, Any] = {}
        for item in items:
            if "rule" in item:
                rule = item["rule"]
                self._rules.setdefault((rule["family"], rule["table"], rule["chain"]), []).append(rule["expr"])
            elif "set" in item:
                result = item["set"]
                self._sets[result["family"], result["table"], result["name"]] = {"set": result.get("elem", [])}

    def accepted(self, chain: ChainName, seen: frozenset[ChainName]) -> Iterator[Interval]:
        """Yield the ports accepted by the rules of a chain and of the chains that it jumps to."""
        for parts in self._rules.get(chain, []):
            matches = [part["match"] for part in parts if "match" in part]
            with_ports = [match for match in matches if _is_port(match)]
            if any(not _says_nothing(match) for match in matches if match not in with_ports):
                continue
            for part in parts:
                inner = (*chain[:2], str((part.get("jump") or part.get("goto") or {}).get("target", "")))
                if inner[2] and inner not in seen:
                    yield from self.accepted(inner, seen | {chain})
                if "vmap" in part and _field(part["vmap"].get("key")) == "dport":
                    for key, verdict in part["vmap"]["data"]["set"]:
                        yield from self._intervals(key, chain) if "accept" in verdict else ()
                if "accept" in part and not with_ports:
                    yield ALL_PORTS
                elif "accept" in part:
                    yield from (port for match in with_ports for port in self._intervals(match["right"], chain))

    def _intervals(self, right: Any, chain: ChainName) -> Iterator[Interval]:
        if isinstance(right, int):
            yield (right, right)
        elif isinstance(right, str) and right.startswith("@"):
            yield from self._intervals(self._sets.get((*chain[:2], right[1:])), chain)
        elif isinstance(right, dict) and "range" in right:
            first, last = right["range"]
            yield (whole(first), whole(last))
        elif isinstance(right, dict):
            for item in right.get("set", []):
                yield from self._intervals(item, chain)


def _is_port(match: dict[str, Any]) -> bool:
    left = match.get("left")
    protocol = str((left.get("payload") or {}).get("protocol", "")) if isinstance(left, dict) else ""
    return _field(left) == "dport" and protocol in ("tcp", "th") and match.get("op") in ("==", "in")


def _says_nothing(match: dict[str, Any]) -> bool:
    """Whether the match does not restrict the TCP port. Loopback does not admit other nodes."""
    field, right = _field(match.get("left")), match.get("right")
    if field in ("l4proto", "protocol"):
        return right in ("tcp", 6)
    if field == "state":
        return "new" in right if isinstance(right, str | list) else "new" in (right or {}).get("set", ())
    return field in SOURCE_FIELDS and right != "lo"


def _field(left: Any) -> str:
    """`dport` of a payload, `iifname` of a meta, `state` of a connection."""
    if not isinstance(left, dict):
        return ""
    inside = left.get("payload") or left.get("meta") or left.get("ct") or {}
    return str(inside.get("field") or inside.get("key") or "")


DAEMONS = ("systemd-timesyncd", "chrony", "chronyd", "ntp", "ntpd", "ntpsec", "openntpd")
RUNS = "/var/lib/bai-wizard/runs"
GIB = 2**30
# A smaller root disk that also contains Docker's images, or the data of sessions, fills up within weeks.
SMALL_ROOT = 64 * GIB


@check("node.two-clocks", cost="expensive")
def time_daemons(machine: Machine, context: Context) -> Outcome:
    units = machine.units([f"{name}.service" for name in DAEMONS])
    # Some names are aliases: the same unit has the same start time.
    active = {
        unit.since: name.removesuffix(".service")
        for name, unit in units.items()
        if unit is not None and unit.active == "active"
    }
    names = sorted(active.values()) if len(active) > 1 else []
    evidence = [Evidence(name, "systemctl is-active", "active", "one of them") for name in names]
    return warning(*evidence, names=", ".join(names))


@check("node.unattended")
def unattended(machine: Machine, context: Context) -> Outcome:
    """Automatic updates do not replace a driver under running jobs: it is held, or excluded from them."""
    if machine.package("unattended-upgrades") is None:
        return not_applicable("unattended-upgrades is not installed")
    config = machine.query(("apt-config", "dump")).out
    if not re.search(r'^APT::Periodic::Unattended-Upgrade "[1-9]', config, re.MULTILINE):
        return ok()
    skipped = re.findall(r'^Unattended-Upgrade::Package-Blacklist:: "(.*)";', config, re.MULTILINE)
    origins = "\n".join(
        re.findall(r'^Unattended-Upgrade::(?:Allowed-Origins|Origins-Pattern):: "(.*)"', config, re.M)
    )
    names = ["nvidia-driver-*", "libnvidia-compute-*", "docker.io", "containerd"]
    names += ["docker-ce", "containerd.io"] if "Docker" in origins else []
    listed = machine.query(("dpkg-query", "--show", "--showformat=${db:Status-Want} ${Package}\\n", *names)).out
    unprotected = []
    for line in listed.split("\n"):
        want, _, name = line.partition(" ")
        if want == "install" and not any(_matches(pattern, name) for pattern in skipped):
            unprotected.append(
                Evidence(name, "dpkg", "not held", "held, or in Unattended-Upgrade::Package-Blacklist")
            )
    return warning(*unprotected, packages=" ".join(each.what for each in unprotected))


def _matches(pattern: str, name: str) -> bool:
    try:
        return re.match(pattern, name) is not None
    except re.error:
        return False


@check("node.hostname", needs_root=True)
def hostname(machine: Machine, context: Context) -> Outcome:
    """The host name is stable: the agent's id is derived from it."""
    written = (machine.text("/etc/hostname") or "").strip()
    earlier = _host_of_last_run(machine)
    evidence = []
    if written and written.partition(".")[0] != machine.host.partition(".")[0]:
        evidence.append(Evidence("host name", "/etc/hostname", written, f"{machine.host}, the running one"))
    if earlier and earlier.partition(".")[0] != machine.host.partition(".")[0]:
        evidence.append(Evidence("host name", "last run of the wizard", earlier, f"{machine.host}, the running one"))
    return warning(*evidence)


def _host_of_last_run(machine: Machine) -> str:
    for run in reversed(machine.names(RUNS)):
        text = machine.text(f"{RUNS}/{run}/run.json")
        if text is not None:
            try:
                return str(json_object(text).get("host", ""))
            except (Malformed, AttributeError) as error:
                raise StateUnknown(f"{RUNS}/{run}/run.json: {error}") from error
    return ""


@check("node.next-kernel")
def next_kernel(machine: Machine, context: Context) -> Outcome:
    if machine.kernel_text("/sys/module/nvidia/version") is None:
        return not_applicable("the NVIDIA driver is not loaded")
    kernels = installed_kernels(machine)
    if not kernels:
        return unknown("/boot contains no kernel")
    newest = kernels[-1]
    answer = machine.query(("find", f"/lib/modules/{newest}/", "-name", "nvidia.ko*", "-print", "-quit"))
    if answer.out.strip():
        return ok(Evidence(newest, "/lib/modules", answer.out.strip(), "a module"))
    evidence = Evidence(f"nvidia.ko for {newest}", f"/lib/modules/{newest}", "missing", "present")
    return problem(evidence, kernel=newest)


@check("node.ports", needs_root=True, cost="expensive")
def firewall(machine: Machine, context: Context) -> Outcome:
    """ufw, or else nftables, accepts connections to the ports of this node's roles, at least from some sources."""
    needed = named_ports(context.roles)
    where, rules = "ufw status", _ufw(machine)
    if rules is None:
        where, rules = "nft list ruleset (input: drop)", _nft(machine)
    if rules is None:
        return ok(*(Evidence(_shown(interval), "data/ports.toml", "open", what) for interval, what in needed))
    closed = [(interval, what) for interval, what in needed if not _covered(interval, rules)]
    return warning(
        *(Evidence(f"TCP {_shown(interval)}", where, "no rule accepts it", what) for interval, what in closed)
    )


def _ufw(machine: Machine) -> list[Interval] | None:
    """The port ranges that ufw allows; None if it is not active."""
    try:
        answer = machine.query(("ufw", "status"))
    except StateUnknown:
        return None
    if answer.code != 0 or "Status: active" not in answer.out:
        return None
    allowed: list[Interval] = []
    for line in answer.out.split("\n"):
        target, allows, source = line.partition(" ALLOW ")
        if not allows or "(v6)" in line:
            continue
        name = target.split()[0] if target.split() else ""
        if name == "Anywhere" and source.strip():
            allowed.append((1, 65535))
        for part in name.partition("/")[0].split(",") if "/udp" not in name else ():
            first, _, last = part.partition(":")
            if first.isdecimal() and (last or first).isdecimal():
                allowed.append((whole(first), whole(last or first)))
    return allowed


def _nft(machine: Machine) -> list[Interval] | None:
    """The port ranges that nftables accepts; None if nothing is dropped by default or nft is not installed."""
    try:
        answer = machine.query(("nft", "--json", "list", "ruleset"))
    except StateUnknown:
        return None
    return allowed_by(answer.out) if answer.code == 0 else None


def _covered(interval: Interval, rules: list[Interval]) -> bool:
    port = interval[0]
    for first, last in sorted(rules):
        if first <= port <= last:
            port = last + 1
    return port > interval[1]


def _shown(interval: Interval) -> str:
    first, last = interval
    return str(first) if first == last else f"{first}-{last}"


@check("node.disk-layout")
def disks(machine: Machine, context: Context) -> Outcome:
    if machine.in_container():
        return not_applicable("a container uses the disks of its host")
    growing = {
        "Docker's images": _data_root(machine),
        "the sessions' scratch directories": _scratch_root(machine, context),
    }
    paths = dict.fromkeys(_existing(machine, path) for path in ("/", "/var", "/vfroot", *growing.values()) if path)
    answer = machine.query(("df", "--block-size=1", "--output=target,size,avail", *paths))
    evidence, mounts = [], {}
    for path, line in zip(paths, answer.out.strip().split("\n")[1:], strict=False):
        words = line.split()
        if len(words) == 3 and words[1].isdecimal():
            mounts[path] = (words[0], whole(words[1]))
            room = f"on {words[0]}, {whole(words[1]) // GIB} GiB, {whole(words[2]) // GIB} GiB free"
            evidence.append(Evidence(path, "df", room, ""))
    narrow = []
    for what, path in growing.items():
        target, size = mounts.get(_existing(machine, path), ("", 0)) if path else ("", 0)
        if target == "/" and size < SMALL_ROOT:
            narrow.append(what)
    if not narrow:
        return ok(*evidence)
    return warning(*evidence, what=" and ".join(narrow))


def _existing(machine: Machine, path: str) -> str:
    """The directory, or its nearest existing parent."""
    return next((each for each in (path, *parents(path)) if machine.entry(each) is not None), "/")


def _data_root(machine: Machine) -> str:
    try:
        result = json_object(machine.text("/etc/docker/daemon.json") or "{}").get("data-root")
    except (ValueError, AttributeError):
        result = None
    return result if isinstance(result, str) and result.startswith("/") else "/var/lib/docker"


def _scratch_root(machine: Machine, context: Context) -> str:
    """The directory in which the agent lets sessions write; empty if it is not configured."""
    agent = service_configuration(machine, context, "agent")
    container = agent.value[1].get("container") if isinstance(agent, Known) else None
    result = container.get("scratch-root") if isinstance(container, dict) else None
    return result if isinstance(result, str) and result.startswith("/") else ""
