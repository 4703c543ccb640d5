"""The lines of a hosts file: which names stand at which address, and how to take names off a line."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

Address = IPv4Address | IPv6Address
# Ends the comment of an address that moves between nodes: nobody is to wonder when it does not answer.
VIRTUAL = "(virtual)"


@dataclass(frozen=True)
class Alias:
    """One line of our block: names of one address, the first of them canonical."""

    ip: str
    names: tuple[str, ...]
    comment: str = ""


@dataclass(frozen=True)
class HostsLine:
    """A line that gives names to an address. `number` counts from 1; `text` is the line as it stands."""

    number: int
    address: Address
    names: tuple[str, ...]
    text: str


def parse_line(number: int, text: str) -> HostsLine | None:
    """The line's meaning; None for blank lines, comments, and what the resolver would not understand either."""
    words = text.partition("#")[0].split()
    if len(words) < 2:
        return None
    try:
        # A zone (fe80::1%eth0) is part of an IPv6Address; a leading zero is refused, as the resolver's result varies.
        address = ip_address(words[0])
    except ValueError:
        return None
    return HostsLine(number, address, tuple(words[1:]), text)


def parse_lines(lines: Sequence[tuple[int, str]]) -> tuple[HostsLine, ...]:
    """Every line that names an address."""
    return tuple(line for line in (parse_line(number, text) for number, text in lines) if line)


def is_own(name: str, host: str) -> bool:
    """True when `name` is this node's own: its short name is the host's."""
    return bool(host) and name.partition(".")[0].lower() == host.partition(".")[0].lower()


def render(aliases: Sequence[Alias]) -> tuple[str, ...]:
    """The lines of our block, comments in one column as in the manual."""
    width = max((len(" ".join(alias.names)) for alias in aliases), default=0)
    return tuple(
        f"{alias.ip} {' '.join(alias.names):<{width}}  # {alias.comment}"
        if alias.comment
        else f"{alias.ip} {' '.join(alias.names)}"
        for alias in aliases
    )


def without_names(text: str, unwanted: Callable[[str], bool]) -> str:
    """A hosts line without the names for which `unwanted` holds; other bytes stay.

    A line that would be left without any name becomes a comment, so that people see what stood there.
    """
    body, hash_sign, comment = text.partition("#")
    pieces = re.split(r"(\s+)", body)
    kept: list[str] = []
    names_left = 0
    address_seen = False
    for piece in pieces:
        is_word = bool(piece.strip())
        if is_word and address_seen and unwanted(piece):
            if kept and not kept[-1].strip():
                kept.pop()
            continue
        if is_word and address_seen:
            names_left += 1
        address_seen = address_seen or is_word
        kept.append(piece)
    if not names_left:
        return f"# {text.lstrip()}"
    return "".join(kept) + hash_sign + comment


def shadows(line: HostsLine, alias: Alias, host: str) -> tuple[str, ...]:
    """Names of `alias` which `line`, standing outside our block, gives to another address.

    IPv4 and IPv6 addresses of one name live side by side. This node's own name on a loopback address is not
    told here: what happens to it is the operator's choice.
    """
    wanted = ip_address(alias.ip)
    common = {name.lower() for name in line.names} & {name.lower() for name in alias.names}
    if line.address == wanted or not common:
        return ()
    if line.address.is_loopback:
        return tuple(sorted(name for name in common if not is_own(name, host)))
    return tuple(sorted(common)) if line.address.version == wanted.version else ()
