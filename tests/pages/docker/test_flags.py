"""dockerd's flags wherever a site sets them, and the same key in daemon.json: each such node is named.

tests/node/test_docker_flags.py compares the readers used here with systemd and dockerd themselves.
"""

from __future__ import annotations

import pytest

from bai_wizard.core.state import Key, Package, State
from bai_wizard.doctor.run import run_check
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.pages.docker import checks
from bai_wizard.steps.docker_flags import environment_file, flags, split_words
from tests.pages.docker.nodes import CONTEXT, file

UNIT = "/usr/lib/systemd/system/docker.service"
SITE = "/etc/systemd/system/docker.service.d/site.conf"
DEFAULT = "/etc/default/docker"
DEBIAN = "[Service]\nEnvironmentFile=-/etc/default/docker\nExecStart=/usr/sbin/dockerd -H fd:// $DOCKER_OPTS\n"
UPSTREAM = "[Service]\nExecStart=/usr/bin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock\n"


def drop_in(command: str) -> dict[str, str]:
    return {UNIT: UPSTREAM, SITE: f"[Service]\nExecStart=\nExecStart={command}\n"}


def options(text: str) -> dict[str, str]:
    return {UNIT: DEBIAN, DEFAULT: text}


# (files, daemon.json, keys that are set twice, the file with the flag)
CONFLICTS: list[tuple[dict[str, str], str, set[str], str]] = [
    (
        drop_in("/usr/sbin/dockerd -H fd:// --exec-opt native.cgroupdriver=systemd"),
        '{"exec-opts": ["native.cgroupdriver=systemd"]}',
        {"exec-opts"},
        SITE,
    ),
    (options('DOCKER_OPTS="--dns 10.0.0.2"\n'), '{"dns": ["10.0.0.2"]}', {"dns"}, DEFAULT),
    (options("DOCKER_OPTS=--dns 10.0.0.2 --bip=172.30.0.1/16\n"), '{"bip": "172.30.0.1/16"}', {"bip"}, DEFAULT),
    (options("DOCKER_OPTS='--default-runtime=runc'\r\n"), '{"default-runtime": "x"}', {"default-runtime"}, DEFAULT),
    (options('# old\nDOCKER_OPTS="-D \\\n  -l debug"\n'), '{"log-level": "info"}', {"log-level"}, DEFAULT),
    (drop_in("/usr/bin/dockerd -Ds overlay2"), '{"storage-driver": "overlay2"}', {"storage-driver"}, SITE),
    (drop_in("/usr/bin/dockerd --insecure-registry=r"), '{"insecure-registries": []}', {"insecure-registries"}, SITE),
    (drop_in("/usr/bin/dockerd --label a=b --icc=false"), '{"labels": [], "icc": true}', {"labels", "icc"}, SITE),
    (drop_in("/usr/bin/dockerd --http-proxy x"), '{"proxies": {"http-proxy": "y"}}', {"http-proxy"}, SITE),
    (drop_in("/bin/sh -c 'exec /usr/bin/dockerd --mtu 1400'"), '{"mtu": 1450}', {"mtu"}, SITE),
    (drop_in('@/usr/bin/dockerd dockerd "--data-root=/d e"'), '{"data-root": "/d"}', {"data-root"}, SITE),
    ({UNIT: UPSTREAM}, '{"hosts": ["fd://", "tcp://127.0.0.1:2375"]}', {"hosts"}, UNIT),
    (
        {UNIT: DEBIAN, SITE: '[Service]\nEnvironment=X=1 "DOCKER_OPTS=--log-opt max-size=1m"\n'},
        '{"log-opts": {"max-size": "2m"}}',
        {"log-opts"},
        SITE,
    ),
    (
        {
            **drop_in("/usr/bin/dockerd --bip=${BIP}"),
            "/etc/systemd/system/docker.service.d/t.conf": "[Service]\nEnvironmentFile=/etc/site.env\n",
            "/etc/site.env": "BIP=1\n",
        },
        '{"bip": "172.30.0.1/16"}',
        {"bip"},
        "/etc/site.env",
    ),
    (
        {**drop_in("/usr/bin/dockerd --config-file /etc/site.json --debug"), "/etc/site.json": '{"debug": true}'},
        "{}",
        {"debug"},
        SITE,
    ),
]  # fmt: skip
HEALTHY: list[tuple[dict[str, str], str]] = [
    (drop_in("/usr/bin/dockerd --add-runtime x=/x"), '{"runtimes": {}}'),
    (drop_in("/usr/bin/dockerd --label --dns"), '{"dns": []}'),
    (drop_in("/usr/bin/dockerd -- --dns x"), '{"dns": []}'),
    (drop_in("/usr/bin/dockerd --debug"), '{"log-opts": {"debug": "x"}}'),
    (options("#DOCKER_OPTS=--dns 10.0.0.2\nexport DOCKER_OPTS=--dns 10.0.0.2\n"), '{"dns": []}'),
    (options('DOCKER_OPTS=""\nDOCKER_OPT="--dns x"\n'), '{"dns": []}'),
    ({UNIT: UPSTREAM, DEFAULT: 'DOCKER_OPTS="--dns 10.0.0.2"\n'}, '{"dns": []}'),
    ({UNIT: UPSTREAM}, ""),
]


def node(files: dict[str, str], config: str) -> SimulatedMachine:
    states: dict[Key, State] = {Key("file", path): file(text) for path, text in files.items()}
    states |= {Key("package", "docker.io"): Package("26.1.5"), Key("file", "/etc/docker/daemon.json"): file(config)}
    return SimulatedMachine(states)


@pytest.mark.parametrize(("files", "config", "keys", "path"), CONFLICTS)
def test_a_flag_and_its_key(files: dict[str, str], config: str, keys: set[str], path: str) -> None:
    (finding,) = run_check(checks.flag_conflict, node(files, config), CONTEXT)
    assert finding.result == "problem"
    assert {evidence.what for evidence in finding.evidence} == keys
    assert all(path in evidence.where for evidence in finding.evidence)
    assert path in finding.guidance


@pytest.mark.parametrize(("files", "config"), HEALTHY)
def test_no_key_is_set_twice(files: dict[str, str], config: str) -> None:
    (finding,) = run_check(checks.flag_conflict, node(files, config), CONTEXT)
    assert finding.result == "ok"


def test_without_an_engine_there_is_no_conflict() -> None:
    (finding,) = run_check(checks.flag_conflict, SimulatedMachine({}), CONTEXT)
    assert finding.result == "not-applicable"


def test_values_of_flags() -> None:
    given = flags(node(drop_in("/usr/bin/dockerd -DH=fd:// -s=vfs -ldebug --tls --dns=1 --dns 2"), ""))
    assert [(flag.key, flag.value) for flag in given] == [
        ("debug", "true"), ("hosts", "fd://"), ("storage-driver", "vfs"), ("log-level", "debug"), ("tls", "true"),
        ("dns", "1"), ("dns", "2"),
    ]  # fmt: skip


def test_words_and_variables_of_odd_texts() -> None:
    assert split_words('a "b c" d\\ e \'f"g\' "h') == ["a", "b c", "d e", 'f"g', "h"]
    assert split_words('a\\tb \\q "\\x"', escapes=True) == ["a\tb", "\\q", "\\x"]
    text = 'A=1\n B = x y \\\n z  \n;C=3\nD=\'a\nb\'  "c\\"d" e\n=F=1\nG\nH="open'
    assert dict(environment_file(text)) == {"A": "1", "B": "x y  z", "D": 'a\nbc"de', "H": "open"}
