"""The lines of a hosts file as glibc reads them, this node's own names, and how to remove names from a line."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Collection, Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from msgspec import Struct

from bai_wizard.core.parse import hosts_line

Address = IPv4Address | IPv6Address
# Ends the comment of an address that moves between nodes, to explain why it may not answer.
VIRTUAL = "(virtual)"
# isspace() of the C locale: to the resolver, a no-break space and other blanks of Unicode are part of a word.
_WORD = re.compile(r"[^ \t\n\v\f\r]+")
_END = re.compile(r"[#\0]")


class Alias(Struct, frozen=True):
    """One line of our block: the names of one address, the canonical one first."""

    ip: str
    names: tuple[str, ...]
    comment: str = ""

    @property
    def is_virtual(self) -> bool:
        """Whether the address moves between nodes."""
        return self.comment.endswith(VIRTUAL)


class HostsLine(Struct, frozen=True):
    """A line that assigns names to an address. `number` is 1-based; `text` is the original line."""

    number: int
    address: Address
    names: tuple[str, ...]
    text: str


def parse_line(number: int, text: str) -> HostsLine | None:
    """Parse a line as nss_files does; None for blank lines, comments, and lines that it ignores.

    A comment begins at any `#`, also within a word, and a NUL ends the line.
    """
    words = _WORD.findall(_END.split(text, maxsplit=1)[0])
    address = _address(words[0]) if len(words) > 1 else None
    return HostsLine(number, address, tuple(words[1:]), text) if address else None


def _address(word: str) -> Address | None:
    """Return the address; None for one that inet_pton rejects: `10.9`, `010.0.0.1`, `fe80::1%eth0`.

    An IPv4-mapped IPv6 address is its IPv4 address, as it is for programs that look up IPv4 addresses.
    """
    if not word.isascii():
        return None
    for kind, made in ((socket.AF_INET, IPv4Address), (socket.AF_INET6, IPv6Address)):
        try:
            address = made(socket.inet_pton(kind, word))
        except OSError:
            continue
        return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address
    return None


def parse_lines(lines: Iterable[tuple[int, str]]) -> tuple[HostsLine, ...]:
    """Return every line that names an address."""
    return tuple(line for line in (parse_line(number, text) for number, text in lines if text) if line)


def folded(name: str) -> str:
    """Return a name as the resolver compares it (strcasecmp): only ASCII letters have two cases."""
    return name.lower() if name.isascii() else re.sub(r"[A-Z]", lambda match: match[0].lower(), name)


def own_names(host: str, lines: Iterable[HostsLine], mine: Collection[Address] = ()) -> frozenset[str]:
    """Return this node's names, folded: the host name, and what this node's own lines call it beside that.

    Only a line of a loopback address, or of one in `mine`, can tell: a machine in another domain may have the same
    short name, and `gpu01.ib` may be anybody's. `localhost` is never a node's name.
    """
    whole = folded(host)
    short, dot, _domain = whole.partition(".")
    if not short or _is_localhost(whole):
        return frozenset()
    names = {
        folded(name) for line in lines if line.address.is_loopback or line.address in mine for name in line.names
    }
    also = {name for name in names if name == short or (not dot and name.startswith(f"{short}."))}
    return frozenset({whole, *also})


def _is_localhost(name: str) -> bool:
    return name.partition(".")[0] in ("localhost", "ip6-localhost", "ip6-loopback")


def names_one_of(line: HostsLine | Alias, names: Collection[str]) -> bool:
    """Whether a line assigns one of these folded names."""
    return any(folded(name) in names for name in line.names)


def render(aliases: Sequence[Alias]) -> tuple[str, ...]:
    """Return the lines of our block, with aligned comments as in the manual."""
    width = max((len(" ".join(alias.names)) for alias in aliases), default=0)
    return tuple(hosts_line(alias.ip, alias.names, alias.comment, width) for alias in aliases)


def without_names(text: str, unwanted: Callable[[str], bool]) -> str:
    """Return a hosts line without the names for which `unwanted` holds; other bytes stay.

    If no name would be left, the line becomes a comment, so that its previous content remains visible.
    """
    end = _END.search(text)
    body = text[: end.start()] if end else text
    words = list(_WORD.finditer(body))
    removed = [word for word in words[1:] if unwanted(word[0])]
    if len(removed) >= len(words) - 1:
        return f"# {text.lstrip()}"
    for word in reversed(removed):
        # With the blanks before it: a word before it always stays, which is at least the address.
        before = max(other.end() for other in words if other.end() <= word.start())
        body = body[:before] + body[word.end() :]
    return body + (text[end.start() :] if end else "")


def shadows(line: HostsLine, alias: Alias, own: Collection[str]) -> tuple[str, ...]:
    """Return names of `alias` that `line`, outside our block, assigns to another address.

    A name can have an IPv4 and an IPv6 address. This node's `own` names on a loopback address are not reported here:
    the operator decides about them.
    """
    wanted = ip_address(alias.ip)
    common = {folded(name) for name in line.names} & {folded(name) for name in alias.names}
    if line.address == wanted or not common:
        return ()
    if line.address.is_loopback:
        return tuple(sorted(common.difference(own)))
    return tuple(sorted(common)) if line.address.version == wanted.version else ()
