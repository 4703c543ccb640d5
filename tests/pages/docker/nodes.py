"""A healthy simulated node with Docker, and variations of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from bai_wizard.core.machine import Completed
from bai_wizard.core.page import Context
from bai_wizard.core.state import Account, Entry, Group, Key, Membership, Package, State, Unit
from bai_wizard.node.simulated import Environment, SimulatedMachine

CONTEXT = Context(host="gpu01", backend_ai="26.4")
INFO: dict[str, Any] = {
    "DockerRootDir": "/var/lib/docker", "CgroupVersion": "2", "LoggingDriver": "local", "Driver": "overlay2",
    "DriverStatus": [["Backing Filesystem", "extfs"], ["Supports d_type", "true"]], "LiveRestoreEnabled": False,
    "Swarm": {"LocalNodeState": "inactive"}, "HttpProxy": "", "HttpsProxy": "",
}  # fmt: skip
ROUTES = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n" + (
    "eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
)
JOURNAL = ("journalctl", "--no-pager", "--output=cat", "--boot", "--unit=docker.service")
STATES: dict[Key, State | None] = {
    Key("unit", "docker.service"): Unit("enabled", "active", 1000.0),
    Key("package", "docker-ce"): Package("5:28.5.1-1~x"),
    Key("user", "bai"): Account("bai", 1100, 1100, "", "/home/bai", "/bin/bash"),
    Key("group", "docker"): Group("docker", 988),
    Key("member", "docker:bai"): Membership(),
    Key("file", "/etc/resolv.conf"): Entry("file", 0, 0, 0o644, b"nameserver 10.0.0.2\n"),
}
LOOKS: dict[tuple[str, ...], Completed] = {
    ("docker", "compose", "version"): Completed(0, "Docker Compose version v2.40.3", ""),
    ("pgrep", "-u", "bai"): Completed(0, "77\n", ""),
    ("dockerd", "--validate", "--config-file", "/etc/docker/daemon.json"): Completed(0, "", "configuration OK"),
    ("iptables", "--wait", "2", "-t", "nat", "-S", "DOCKER"): Completed(0, "-N DOCKER", ""),
    ("iptables", "--wait", "2", "-t", "filter", "-S", "DOCKER-USER"): Completed(0, "-N DOCKER-USER", ""),
}
KERNEL = {
    "/proc/net/route": ROUTES,
    "/sys/class/net/eth0/mtu": "1500",
    "/sys/class/net/docker0/mtu": "1500",
    "/proc/77/status": "Name:\tbash\nPPid:\t1\nGroups:\t988 1100\nNSpid:\t77",
}


def file(text: str, mode: int = 0o644) -> Entry:
    return Entry("file", 0, 0, mode, text.encode())


def node(
    states: Mapping[str, State | None] | None = None,
    *,
    info: Mapping[str, Any] | None = None,
    engine: Mapping[str, Any] | None = None,
    looks: Mapping[tuple[str, ...], Completed] | None = None,
    kernel: Mapping[str, str] | None = None,
    container: bool = False,
) -> SimulatedMachine:
    """A healthy node with Docker, and what the test changes of it."""
    changed = {Key(*key.split(":", 1)): state for key, state in (states or {}).items()}
    answers = {
        "/info": {**INFO, **(info or {})},
        "/version": {"Version": "28.5.1"},
        "/networks": [],
        "/containers/json": [],
    }
    around = Environment(
        engine={**answers, **(engine or {})}, looks={**LOOKS, **(looks or {})}, kernel={**KERNEL, **(kernel or {})},
        container=container,
    )  # fmt: skip
    return SimulatedMachine({**STATES, **changed}, around)


def network(name: str, subnet: str) -> dict[str, Any]:
    return {"Name": name, "IPAM": {"Config": [{"Subnet": subnet}]}}


DAEMON = "file:/etc/docker/daemon.json"
PROXY = replace(CONTEXT, proxy_http="http://proxy:3128")
MISSING_CHAIN = Completed(1, "", "iptables v1.8.10 (nf_tables): Chain 'DOCKER' does not exist")
OLD_CLIENT = Completed(0, 'level=error msg="Handler returned error: client version 1.30 is too old. Minimum"\n', "")
KEYRING = "file:/etc/apt/keyrings/docker.asc"
SOURCES = "file:/etc/apt/sources.list.d/docker.sources"
SOURCE = file(
    "Types: deb\nURIs: https://download.docker.com/linux/ubuntu\nSuites: noble\nComponents: stable\n"
    "Signed-By: /etc/apt/keyrings/docker.asc\n"
)
LISTED = "deb [signed-by=/usr/share/keyrings/docker.gpg] https://download.docker.com/linux/ubuntu noble stable\n"
