"""The formats of the kernel and of tools that tell what a node is."""

from __future__ import annotations

import json
import re

from bai_wizard.pages.node.facts import Disk, Network, Processor, Release

# Names of interfaces that the kernel makes for containers, shaping and tests.
VIRTUAL = ("veth", "ifb", "dummy", "docker", "br-")


def parse_release(text: str) -> Release:
    """os-release(5)."""
    values = dict(re.findall(r"^([A-Z_]+)=[\"']?(.*?)[\"']?$", text, re.MULTILINE))
    return Release(
        values.get("ID", ""),
        values.get("VERSION_ID", ""),
        values.get("PRETTY_NAME", ""),
        values.get("VERSION_CODENAME", ""),
    )


def parse_cpuinfo(text: str) -> Processor | None:
    """/proc/cpuinfo; the model stays empty where the kernel names none. None where it lists no processor."""
    blocks = [dict(re.findall(r"^(.+?)\s*:\s*(.*)$", block, re.MULTILINE)) for block in text.split("\n\n")]
    processors = [block for block in blocks if "processor" in block]
    if not processors:
        return None
    sockets = {block.get("physical id", "0") for block in processors}
    cores = {(block.get("physical id", "0"), block.get("core id", block["processor"])) for block in processors}
    return Processor(processors[0].get("model name", ""), len(sockets), len(cores), len(processors))


def parse_lscpu(text: str) -> Processor | None:
    """`lscpu -J`. None where it does not say how many processors there are."""
    values = {item["field"].rstrip(":"): item.get("data") or "" for item in _flat(json.loads(text)["lscpu"])}
    if not values.get("CPU(s)", "").isdecimal():
        return None
    threads = int(values["CPU(s)"])
    sockets = _number(values.get("Socket(s)", ""), 1)
    cores = sockets * _number(values.get("Core(s) per socket", ""), threads)
    return Processor(values.get("Model name", ""), sockets, cores, threads)


def _flat(items: list[dict[str, object]]) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    for item in items:
        found.append({key: str(value) for key, value in item.items() if isinstance(value, str)})
        children = item.get("children")
        found += _flat(children) if isinstance(children, list) else []
    return found


def _number(text: str, default: int) -> int:
    return int(text) if text.isdecimal() else default


def parse_df(text: str) -> tuple[Disk, ...]:
    """`df --block-size=1 --output=source,fstype,size,avail,target`; one entry for each source.

    Overlays are the containers' own, except for the root of a node that is a container itself.
    """
    found: dict[str, Disk] = {}
    for line in text.split("\n")[1:]:
        words = line.split(None, 4)
        if len(words) == 5 and words[2].isdecimal() and words[3].isdecimal() and int(words[2]):
            disk = Disk(words[0], words[1], words[4], int(words[2]), int(words[3]))
            if disk.fstype != "overlay" or disk.target == "/":
                found.setdefault(disk.source, disk)
    return tuple(found.values())


def parse_ip(text: str) -> tuple[Network, ...]:
    """`ip -j address`, without the loopback and the virtual ends of containers. Raises ValueError for other text."""
    found = (
        Network(
            item["ifname"],
            item.get("operstate", "UNKNOWN"),
            tuple(
                f"{address['local']}/{address['prefixlen']}"
                for address in item.get("addr_info", ())
                if address.get("scope") != "link" and "local" in address
            ),
        )
        for item in json.loads(text)
    )
    return tuple(net for net in found if net.addresses or not net.name.startswith(VIRTUAL) if net.name != "lo")
