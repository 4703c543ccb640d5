"""Which names are this node's own, and that they are never given to the address of another machine."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from bai_wizard.core.page import Absent, Fact, Known, Unknown
from bai_wizard.pages.aliases.plan import own_alias
from bai_wizard.pages.aliases.steps import MARKERS, HostsBlock
from bai_wizard.steps.files import outside
from bai_wizard.steps.hosts_lines import Alias, own_names, parse_lines

SITE_A = "127.0.1.1 n1.site-a.example n1\n"
ADDRESSES = ("10.1.0.5", "192.168.100.5", "fd00::5")
HERE = Alias("10.1.0.5", ("bai-a01",))
SITE_B = Alias("10.9.0.1", ("n1.site-b.example",))


def moved(text: str, *aliases: Alias, host: str = "n1", addresses: Fact[tuple[str, ...]] = Known(ADDRESSES)) -> Any:  # noqa: B008
    """Each name's addresses after `own_name = "move"`."""
    others = parse_lines(outside(text, MARKERS))
    own_ip, stays = own_alias(aliases, host, others, addresses)
    block = HostsBlock(id="aliases.hosts", aliases=aliases, host=host, own_ip=own_ip, stays=stays)
    new = block.text_after(text)
    again = parse_lines(outside(new, MARKERS))
    assert own_alias(aliases, host, again, addresses)[0] == own_ip
    assert block.text_after(new) == new
    result: dict[str, list[str]] = {}
    for line in parse_lines(enumerate(new.split("\n"))):
        for name in line.names:
            result.setdefault(name, []).append(str(line.address))
    return result


def test_another_sites_node_of_the_same_short_name_is_an_alias_like_any_other() -> None:
    found = moved(SITE_A, SITE_B, Alias("10.1.0.9", ("bai-m1",)))
    assert found["n1"] == found["n1.site-a.example"] == ["127.0.1.1"]
    assert found["n1.site-b.example"] == ["10.9.0.1"]
    found = moved(SITE_A, SITE_B, HERE)
    assert found["n1"] == found["n1.site-a.example"] == ["10.1.0.5"]
    assert found["n1.site-b.example"] == ["10.9.0.1"]


@pytest.mark.parametrize(
    "aliases",
    [
        (Alias("10.9.0.1", ("n1",)),),
        (Alias("10.9.0.1", ("N1",)), HERE),
        (Alias("10.9.0.1", ("N1.Site-A.example",)), HERE),
        (Alias("fd00::9", ("n1",)), HERE),
        (Alias("10.1.0.5", ("n1",), "(virtual)"),),
        (Alias("10.1.0.5", ("bai-api",), "(virtual)"),),
    ],
)
def test_names_stay_if_their_address_is_not_this_nodes_alone(aliases: tuple[Alias, ...]) -> None:
    found = moved(SITE_A, *aliases)
    assert "127.0.1.1" in found["n1"]
    assert "127.0.1.1" in found["n1.site-a.example"]


def test_names_stay_if_another_line_gives_them_to_another_machine() -> None:
    found = moved("10.9.0.1 n1.site-b.example n1\n" + SITE_A, HERE)
    assert "127.0.1.1" in found["n1"]


@pytest.mark.parametrize("addresses", [Unknown("no answer"), Absent(), Known(())])
def test_names_stay_if_no_address_is_known_to_be_this_nodes(addresses: Fact[tuple[str, ...]]) -> None:
    found = moved(SITE_A, Alias("10.1.0.5", ("n1",)), addresses=addresses)
    assert found["n1"] == ["127.0.1.1", "10.1.0.5"]


def test_names_go_to_the_address_that_is_named_for_them_however_it_is_written() -> None:
    ib = Alias("192.168.100.5", ("n1.ib",))
    found = moved("::1 localhost\n" + SITE_A, ib, Alias("FD00:0::5", ("N1",)))
    assert found["n1.site-a.example"] == ["fd00::5"]
    assert found["n1.ib"] == ["192.168.100.5"]
    assert found["localhost"] == ["::1"]


@pytest.mark.parametrize(
    ("host", "lines", "expected"),
    [
        ("n1", "", {"n1"}),
        ("N1", SITE_A, {"n1", "n1.site-a.example"}),
        ("n1", "127.0.1.1 n1.a n1.b n10 n1-x m.n1\n::1 n1.c\n", {"n1", "n1.a", "n1.b", "n1.c"}),
        ("n1", "10.9.0.1 n1.site-b.example n1\n10.9.0.2 n1.ib\n", {"n1"}),
        ("n1", "10.1.0.5 n1.corp\n", {"n1", "n1.corp"}),
        ("n1", "127.0.1.1\u00a0n1.a\n", {"n1"}),
        ("n1.site-a.example", SITE_A, {"n1.site-a.example", "n1"}),
        ("n1.site-a.example", "127.0.1.1 n1.site-b.example\n10.9.0.1 n1\n", {"n1.site-a.example"}),
        ("localhost", "127.0.0.1 localhost localhost.localdomain\n", set()),
        ("", SITE_A, set()),
    ],
)
def test_own_names_are_compared_in_full(host: str, lines: str, expected: set[str]) -> None:
    mine = [ip_address("10.1.0.5")]
    assert own_names(host, parse_lines(enumerate(lines.split("\n"))), mine) == expected
