"""Small parts of the docker page: sources of apt, flags of dockerd, networks, the daemon's reasons."""

from __future__ import annotations

import pytest

from bai_wizard.core.facts import Known
from bai_wizard.core.state import Entry, Key
from bai_wizard.machine.simulated import SimulatedMachine, Surroundings
from bai_wizard.pages.docker.networks import overlaps, own_networks, parse_routes, parse_routes_6
from bai_wizard.steps.apt_pin import major_pattern
from bai_wizard.steps.apt_sources import Source, read_deb822, read_list
from bai_wizard.steps.docker_flags import Flag, flags
from bai_wizard.steps.docker_service import why


def test_one_line_sources() -> None:
    text = """# deb http://off.test/ x main
deb [arch=amd64,arm64 signed-by=/k.gpg] https://download.docker.com/linux/ubuntu/ noble stable # ours
deb-src http://a.test/ubuntu noble main
deb [ trusted=yes ] file:///srv ./
deb-nonsense
"""
    assert list(read_list("f", text)) == [
        Source("f", "https://download.docker.com/linux/ubuntu", "noble", "/k.gpg"),
        Source("f", "http://a.test/ubuntu", "noble"),
        Source("f", "file:///srv", "./"),
    ]


def test_deb822_sources() -> None:
    text = """# comment
Types: deb
URIs: http://a.test/ http://b.test
Suites: noble noble-updates
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc

Enabled: no
Types: deb
URIs: http://off.test
Suites: x

types: deb
uris: http://c.test
suites: y
signed-by: /c.asc
"""
    found = list(read_deb822("f", text))
    assert [(source.uri, source.suite) for source in found] == [
        ("http://a.test", "noble"),
        ("http://a.test", "noble-updates"),
        ("http://b.test", "noble"),
        ("http://b.test", "noble-updates"),
        ("http://c.test", "y"),
    ]
    assert found[0].signed_by.startswith("-----BEGIN")
    assert found[-1].signed_by == "/c.asc"


def unit(**files: str) -> SimulatedMachine:
    return SimulatedMachine(
        {Key("file", path): Entry("file", 0, 0, 0o644, text.encode()) for path, text in files.items()}
    )


SERVICE = "/usr/lib/systemd/system/docker.service"
DROP_IN = "/etc/systemd/system/docker.service.d/a.conf"


def test_flags_of_the_unit_as_systemd_puts_it_together() -> None:
    debian = "[Service]\nEnvironmentFile=-/etc/default/docker\nExecStart=/usr/sbin/dockerd -H fd:// $DOCKER_OPTS\n"
    assert flags(unit(**{SERVICE: debian})) == ()
    options = unit(**{SERVICE: debian, "/etc/default/docker": 'DOCKER_OPTS="--data-root /d --debug"\n'})
    assert flags(options) == (Flag("data-root", "--data-root", "/etc/default/docker"),)
    replaced = "[Service]\nExecStart=\nExecStart=/usr/bin/dockerd \\\n  --log-driver=local --insecure-registry x\n"
    assert flags(unit(**{SERVICE: debian.replace("$DOCKER_OPTS", "-g /old"), DROP_IN: replaced})) == (
        Flag("log-driver", "--log-driver", DROP_IN),
        Flag("insecure-registries", "--insecure-registry", DROP_IN),
    )


def test_a_drop_in_of_the_same_name_hides_the_packages_and_comments_are_none() -> None:
    theirs = "/usr/lib/systemd/system/docker.service.d/a.conf"
    given = "[Service]\nExecStart=\nExecStart=/usr/bin/dockerd --data-root /x\n"
    ours = "[Service]\n# a comment \\\nExecStart=\nExecStart=/usr/bin/dockerd \\\n# another\n  --add-runtime x=y\n"
    assert flags(unit(**{theirs: given, DROP_IN: ours})) == (Flag("runtimes", "--add-runtime", DROP_IN),)


def test_own_networks_leave_out_engines_and_the_default_route() -> None:
    text = """Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	0101A8C0	0003	0	0	100	00000000	0	0	0
eth0	0001A8C0	00000000	0001	0	0	100	00FFFFFF	0	0	0
docker0	000011AC	00000000	0001	0	0	0	0000FFFF	0	0	0
br-1a2b3c4d5e6f	000012AC	00000000	0001	0	0	0	0000FFFF	0	0	0
br-mgmt	000012AC	00000000	0001	0	0	0	00FFFFFF	0	0	0
*	0000000A	00000000	0200	0	0	0	000000FF	0	0	0
tun0	0000000A	00000000	0001	0	0	0	000000FF	0	0	0
"""
    assert [str(network) for network in parse_routes(text)] == [
        "192.168.1.0/24",
        "172.18.0.0/24",
        "10.0.0.0/8",
    ]


ROUTES_6 = """fd000000000000000000000000000000 40 {z} 00 {z} 00000100 00000001 00000000 00000001     eth0
fe800000000000000000000000000000 40 {z} 00 {z} 00000100 00000002 00000000 00000001     eth0
{z} 00 {z} 00 fd000000000000000000000000000001 00000400 00000002 00000000 00000003     eth0
00000000000000000000000000000001 80 {z} 00 {z} 00000000 00000003 00000000 80200001       lo
fd000000000000000000000000000002 80 {z} 00 {z} 00000000 00000003 00000000 80200001     eth0
fd110000000000000000000000000000 30 {z} 00 {z} 00000400 00000002 00000000 00000003     eth1
fd220000000000000000000000000000 40 {z} 00 {z} 00000100 00000001 00000000 00000001  docker0
fd330000000000000000000000000000 40 {z} 00 {z} 00000100 00000001 00000000 00000200     eth1
ff000000000000000000000000000000 08 {z} 00 {z} 00000100 00000002 00000000 00000001     eth0
""".replace("{z}", "0" * 32)


def test_own_networks_of_version_6() -> None:
    assert [str(network) for network in parse_routes_6(ROUTES_6)] == ["fd00::/64", "fd11::/48"]
    machine = SimulatedMachine(
        {}, Surroundings(kernel={"/proc/net/route": "head\n", "/proc/net/ipv6_route": ROUTES_6})
    )
    assert own_networks(machine) == Known(("fd00::/64", "fd11::/48"))


@pytest.mark.parametrize(
    "ranges, networks, met",
    [
        (("172.17.0.0/16",), ("172.17.5.0/24",), 1),
        (("172.18.0.0/16",), ("172.17.5.0/24",), 0),
        (("fd00::/64",), ("10.0.0.0/8",), 0),
        (("10.0.0.0/8", "10.1.0.0/16"), ("10.1.2.0/24",), 2),
    ],
)
def test_overlaps(ranges: tuple[str, ...], networks: tuple[str, ...], met: int) -> None:
    assert len(overlaps(ranges, networks)) == met


@pytest.mark.parametrize(
    "version, pattern",
    [
        ("5:28.5.1-1~debian.13~trixie", "5:28.*"),
        ("26.1.5+dfsg1-9+deb13u1", "26.*"),
        ("28.2.2-0ubuntu1~24.04.1", "28.*"),
        ("odd", "odd"),
    ],
)
def test_major_version(version: str, pattern: str) -> None:
    assert major_pattern(version) == pattern


def test_the_daemons_own_reason() -> None:
    said = (
        "systemctl restart docker.service: Job failed\n2026-11-23 node dockerd[642]: time=x level=error"
        ' msg="first \\"one\\""\n'
        "2026-11-23 node dockerd[642]: failed to start daemon: invalid mirror: query\n2026-11-23 node"
        " systemd[1]: Failed.\n"
    )
    assert (
        why("docker.service", said) == "docker.service does not start: failed to start daemon: invalid mirror: query"
    )
    assert "first" in why("docker.service", said.replace("failed to start daemon", "x"))
    assert why("docker.service", "nothing known") == "nothing known"
