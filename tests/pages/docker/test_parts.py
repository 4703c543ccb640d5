"""Helpers of the docker page: apt sources, dockerd flags, networks, the daemon's errors."""

from __future__ import annotations

import pytest

from bai_wizard.core.page import Known
from bai_wizard.core.state import Entry, Key
from bai_wizard.core.step import Blocked, Unchanged
from bai_wizard.node.simulated import Environment, SimulatedMachine
from bai_wizard.pages.docker.packages import major_pattern
from bai_wizard.pages.docker.probe import overlaps, own_networks, parse_routes, parse_routes_6
from bai_wizard.steps.docker import DockerConfig, start_failure
from bai_wizard.steps.docker_flags import Flag, config_file, flags


def unit(**files: str) -> SimulatedMachine:
    return SimulatedMachine(
        {Key("file", path): Entry("file", 0, 0, 0o644, text.encode()) for path, text in files.items()}
    )


SERVICE = "/usr/lib/systemd/system/docker.service"
DROP_IN = "/etc/systemd/system/docker.service.d/a.conf"
DEFAULT = "[Service]\nEnvironmentFile=-/etc/default/docker\n"


def test_flags_of_the_unit_as_systemd_puts_it_together() -> None:
    debian = "[Service]\nEnvironmentFile=-/etc/default/docker\nExecStart=/usr/sbin/dockerd -H fd:// $DOCKER_OPTS\n"
    assert flags(unit(**{SERVICE: debian})) == (Flag("hosts", "-H", SERVICE, "fd://"),)
    options = unit(**{SERVICE: debian, "/etc/default/docker": 'DOCKER_OPTS="--data-root /d --debug"\n'})
    assert flags(options) == (
        Flag("hosts", "-H", SERVICE, "fd://"),
        Flag("data-root", "--data-root", "/etc/default/docker", "/d"),
        Flag("debug", "--debug", "/etc/default/docker", "true"),
    )
    replaced = "[Service]\nExecStart=\nExecStart=/usr/bin/dockerd \\\n  --log-driver=local --insecure-registry x\n"
    assert flags(unit(**{SERVICE: debian.replace("$DOCKER_OPTS", "-g /old"), DROP_IN: replaced})) == (
        Flag("log-driver", "--log-driver", DROP_IN, "local"),
        Flag("insecure-registries", "--insecure-registry", DROP_IN, "x"),
    )


def test_a_drop_in_hides_the_packages_one_and_comments_are_ignored() -> None:
    theirs = "/usr/lib/systemd/system/docker.service.d/a.conf"
    given = "[Service]\nExecStart=\nExecStart=/usr/bin/dockerd --data-root /x\n"
    ours = "[Service]\n# a comment \\\nExecStart=\nExecStart=/usr/bin/dockerd \\\n# another\n  --add-runtime x=y\n"
    assert flags(unit(**{theirs: given, DROP_IN: ours})) == (Flag("runtimes", "--add-runtime", DROP_IN, "x=y"),)


@pytest.mark.parametrize(
    ("command", "opts", "result"),
    [
        ("/usr/sbin/dockerd -H fd://", "", None),
        ("/usr/sbin/dockerd --config-file=/o.json", "", Flag("config-file", "--config-file", SERVICE, "/o.json")),
        ("/usr/sbin/dockerd --config-file /o.json -D", "", Flag("config-file", "--config-file", SERVICE, "/o.json")),
        (
            "/usr/sbin/dockerd $DOCKER_OPTS",
            "--config-file=/o.json",
            Flag("config-file", "--config-file", "/etc/default/docker", "/o.json"),
        ),
        ("/usr/sbin/dockerd --config-file=/a.json\nExecStart=\nExecStart=/usr/sbin/dockerd", "", None),
    ],
)
def test_which_file_dockerd_reads(command: str, opts: str, result: Flag | None) -> None:
    files = {SERVICE: f"{DEFAULT}ExecStart={command}\n", "/etc/default/docker": f'DOCKER_OPTS="{opts}"\n'}
    assert config_file(unit(**files)) == result


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--log-driver=local", "sets 'log-driver' as well"),
        ("--insecure-registry=x", "sets 'insecure-registries' as well"),
        ("--config-file=/o.json", "does not read /etc/docker/daemon.json"),
        ("--config-file=/etc/docker/daemon.json", ""),
        ("--add-runtime=x=y", ""),
        ("--data-root=/d", ""),
    ],
)
def test_flags_that_came_after_the_file_was_written(flag: str, message: str) -> None:
    """The file is as it was written: that says nothing of what Docker will do with it at its next start."""
    written = '{"insecure-registries": ["r:5000"], "log-driver": "local", "runtimes": {}}'
    node = unit(**{SERVICE: f"[Service]\nExecStart=/usr/sbin/dockerd {flag}\n", "/etc/docker/daemon.json": written})
    step = DockerConfig(id="docker.config", wanted='{"insecure-registries": ["r:5000"]}')
    verdict = step.inspect(node)
    assert isinstance(verdict, Blocked if message else Unchanged)
    assert message in getattr(verdict, "reason", "")


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


RUNTIME = '{"runtimes": {"nvidia": {"path": "nvidia-container-runtime", "args": []}}}'


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        ('{"path": "nvidia-container-runtime", "runtimeArgs": []}', "unchanged"),
        ('{"path": "nvidia-container-runtime"}', "unchanged"),
        ('{"path": "/usr/bin/nvidia-container-runtime", "args": null}', "unchanged"),
        ('{"PATH": "/bin/nvidia-container-runtime", "RuntimeArgs": ["--debug"]}', "unchanged"),
        ('{"path": "/usr/local/bin/nvidia-container-runtime"}', "unchanged"),
        (
            '{"runtimeType": "io.containerd.runc.v2", "options": {"BinaryName": "nvidia-container-runtime"}}',
            "unchanged",
        ),
        ('{"path": "/usr/local/sbin/nvidia-container-runtime"}', "pending"),
        ('{"path": "/opt/nvidia-container-runtime"}', "pending"),
        ('{"path": "nvidia-container-runtime.cdi"}', "pending"),
        ('{"runtimeType": "io.containerd.kata.v2"}', "blocked"),
    ],
)
def test_runtimes_that_mean_the_same_are_left(entry: str, kind: str) -> None:
    text = f'{{"runtimes": {{"other": {{"path": "/x"}}, "nvidia": {entry}}}, "debug": true}}'
    node = unit(**{"/etc/docker/daemon.json": text, "/usr/local/bin/nvidia-container-runtime": ""})
    assert DockerConfig(id="docker.config", wanted=RUNTIME).inspect(node).kind == kind


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
        {}, Environment(kernel={"/proc/net/route": "head\n", "/proc/net/ipv6_route": ROUTES_6})
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
    output = (
        "systemctl restart docker.service: Job failed\n2026-11-23 node dockerd[642]: time=x level=error"
        ' msg="first \\"one\\""\n'
        "2026-11-23 node dockerd[642]: failed to start daemon: invalid mirror: query\n2026-11-23 node"
        " systemd[1]: Failed.\n"
    )
    assert (
        start_failure("docker.service", output)
        == "docker.service does not start: failed to start daemon: invalid mirror: query"
    )
    assert "first" in start_failure("docker.service", output.replace("failed to start daemon", "x"))
    assert start_failure("docker.service", "nothing known") == "nothing known"
