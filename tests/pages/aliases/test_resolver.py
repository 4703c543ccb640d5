"""The parser of /etc/hosts against glibc, on generated lines, in a mount namespace of its own."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address
from pathlib import Path

import pytest

from bai_wizard.pages.aliases.steps import MARKERS
from bai_wizard.steps.files import outside
from bai_wizard.steps.hosts_lines import HostsLine, folded, parse_lines, without_names
from tests.sampling import is_soak, seed

# A program that answers queries by /etc/hosts alone: [file's text, names] per line, answered by addresses per name.
RESOLVER = """
import ctypes, json, socket, sys
libc = ctypes.CDLL(None)
assert libc.unshare(0x20000) == 0, "unshare"
assert libc.mount(b"none", b"/", None, ctypes.c_ulong(0x4000 | 1 << 18), None) == 0, "unshare"
directory = sys.argv[1]
for name in ("hosts", "nsswitch.conf"):
    own, etc = f"{directory}/{name}".encode(), f"/etc/{name}".encode()
    assert libc.mount(own, etc, None, ctypes.c_ulong(0x1000), None) == 0, name

def ask(name, family):
    try:
        found = socket.getaddrinfo(name.encode("utf-8", "surrogateescape"), None, family, socket.SOCK_STREAM)
    except socket.gaierror as error:
        assert error.errno in (socket.EAI_NONAME, socket.EAI_NODATA, -5), error
        return []
    return sorted({each[4][0] for each in found})

for line in sys.stdin:
    text, names = json.loads(line)
    with open("/etc/hosts", "wb") as file:
        file.write(text.encode("utf-8", "surrogateescape"))
    print(json.dumps([[ask(name, socket.AF_UNSPEC), ask(name, socket.AF_INET)] for name in names]))
"""
NAMES = (
    "bai-m1", "n1", "n1.site-a.example", "n1.site-b.example", "gpu01.ib", "bai-m1.", "BAI-A01", "kelvin", "x_y",
)  # fmt: skip
# getaddrinfo looks up no such names, but they stand in files.
STRANGE = ("café", "\u212aelvin", "bai\u00a0m1", "bai-m1\u00a0", "n\udcff1")
ADDRESSES = (
    "10.1.0.9", "10.9.0.1", "127.0.0.1", "127.0.1.1", "::1", "fd00::9", "::ffff:10.1.0.9", "FD00:0:0::9", "fe80::1",
    "fe80::1%lo", "10.9", "010.1.0.9", "10.1.0.009", "0x0a.1.0.9", "167838217", "10.1.0.256", "10.1.0.9.",
    "10.1.0.9/24", "1:2:3:4:5:6:7::", "::1.2.3.4", "[::1]", "::ffff:127.0.1.1", "host", "255.255.255.255", "0.0.0.0",
    "1.1.1.1\u00a0", "\u0661.1.1.1", "1::2::3", ":::1", "12345::1", "1:2:3:4:5:6:7:8:9",
)  # fmt: skip
BLANKS = (
    " ",
    "\t",
    "  ",
    " \t ",
    "\v",
    "\f",
    "\r",
    "\u00a0",
    "\u3000",
    "\u2003",
    "\u0085",
    "\x1c",
    "\x1f",
    "\\ ",
    ",",
)
TAILS = (
    "",
    "",
    "",
    " ",
    "\t",
    "\r",
    "#",
    " # x",
    "#n1",
    " #",
    ";",
    "\0",
    "\0 n1",
    " \0n1",
    "\udcff",
    " \udce9",
    "\ufeff",
)


def line(chance: random.Random) -> str:
    def blank() -> str:
        return chance.choice(BLANKS) if chance.random() < 0.4 else " "

    head = chance.choice(("", "", "", "", " ", "\t", "\u00a0", "\ufeff", "#", "\v", "\0"))
    address = chance.choice(ADDRESSES) if chance.random() < 0.5 else "10.1.0.9"
    names = "".join(
        blank() + any_case(chance, chance.choice((*NAMES, *NAMES, *STRANGE)))
        for _ in range(chance.choice((0, 1, 1, 1, 2, 3, 200)))
    )
    tail = chance.choice(TAILS)
    # After leading blanks glibc 2.36 reads on behind a NUL, and behind a last line without newline: not modeled.
    return head + address + names + ("" if head and "\0" in tail else tail)


def any_case(chance: random.Random, name: str) -> str:
    return chance.choice((name, name, name.upper(), name.title()))


def files(chance: random.Random, count: int) -> list[str]:
    result: list[str] = []
    while sum(text.count("\n") + 1 for text in result) < count:
        lines = [line(chance) for _ in range(chance.randint(1, 4))]
        result.append("\n".join(lines) + chance.choice(("\n", "\r\n", "\n\n")))
    return result


def resolved(lines: Sequence[HostsLine], name: str) -> set[str]:
    return {str(each.address) for each in lines if folded(name) in map(folded, each.names)}


def by_glibc(directory: Path, texts: Sequence[str]) -> list[list[tuple[list[str], list[str]]]]:
    (directory / "hosts").write_text("")
    (directory / "nsswitch.conf").write_text("hosts: files\n")
    asked = "".join(json.dumps([text if text.endswith("\n") else text + "\n", NAMES]) + "\n" for text in texts)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", RESOLVER, str(directory)],
        input=asked,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and "unshare" in done.stderr:
        pytest.skip("this machine lets nobody make a mount namespace")
    assert done.returncode == 0, done.stderr
    return [json.loads(answer) for answer in done.stdout.splitlines()]


def plain(addresses: Sequence[str]) -> set[str]:
    """Mapped addresses as IPv4, as the parser has them; a zone is of the socket and not of the file."""
    every = [ip_address(each.partition("%")[0]) for each in addresses]
    return {str((isinstance(each, IPv6Address) and each.ipv4_mapped) or each) for each in every}


@pytest.mark.needs_root
def test_names_have_the_addresses_that_glibc_finds(tmp_path: Path) -> None:
    chance = random.Random(f"{seed()}:hosts")
    texts = files(chance, 5000 if is_soak() else 300)
    named = 0
    for text, answers in zip(texts, by_glibc(tmp_path, texts), strict=True):
        lines = parse_lines(outside(text, MARKERS))
        for name, (every, of_ipv4) in zip(NAMES, answers, strict=True):
            ours = resolved(lines, name)
            named += bool(ours)
            assert ours == plain(every), (text, name)
            # To a program that looks for IPv4, ::1 is 127.0.0.1.
            assert {each for each in ours if ":" not in each} | (
                {"127.0.0.1"} & plain(of_ipv4) if "::1" in ours else set()
            ) == plain(of_ipv4), (text, name)
    assert named > len(texts) / 2


@pytest.mark.needs_root
def test_a_removed_name_is_gone_and_the_others_stay(tmp_path: Path) -> None:
    chance = random.Random(f"{seed()}:removed")
    before = [line(chance) for _ in range(300)]
    before = [text for text in before if parse_lines([(1, text)])]
    after = [without_names(text, lambda name: folded(name) == "n1") for text in before]
    found, kept = by_glibc(tmp_path, before), by_glibc(tmp_path, after)
    for text, one, other in zip(before, found, kept, strict=True):
        assert not any(other[NAMES.index("n1")]), text
        for name, was, now in zip(NAMES, one, other, strict=True):
            if name != "n1":
                assert was == now, (text, name)
