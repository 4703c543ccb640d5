"""The settings of an existing installation are recovered from the node as answers."""

from __future__ import annotations

from bai_wizard.answers.load import loads
from bai_wizard.answers.save import answers_from, from_node
from bai_wizard.core.secret import Secret
from bai_wizard.core.state import (
    Account,
    Entry,
    Group,
    Key,
    Membership,
    Mount,
    Package,
    Password,
    State,
)
from bai_wizard.node.simulated import Environment, SimulatedMachine
from bai_wizard.pages.fields import dump

HOSTS = """127.0.0.1 localhost
10.9.9.9 not-ours
##### BEGIN for Backend.AI services #####
10.20.30.10 bai-m1   # management node 01
10.20.30.11 bai-vip bai-vip.corp  # moves (virtual)
# a remark
10.20.30.10 bai-manager
##### END for Backend.AI services #####
"""
SYSCTL = (
    'net.core.somaxconn=1024\n# vm.x = 1\nnet.ipv4.ip_local_port_range="10000 65000"\n-vm.overcommit_memory = 1\n'
)
HASH = "$6$saltsalt$abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz"


def directory(mode: int = 0o755) -> Entry:
    return Entry("directory", 0, 0, mode)


def file(text: str) -> Entry:
    return Entry("file", 0, 0, 0o644, text.encode())


def ready_node() -> dict[Key, State | None]:
    return {
        Key("user", "ops"): Account("ops", 1100, 1200, "", "/srv/ops", "/bin/zsh"),
        Key("password", "ops"): Password(Secret(HASH)),
        **{
            Key("group", name): Group(name, gid)
            for name, gid in (("ops", 1200), ("sudo", 27), ("adm", 4), ("docker", 999))
        },
        **{Key("member", f"{name}:ops"): Membership() for name in ("sudo", "adm", "docker")},
        Key("package", "docker-ce"): Package("5:28.5.1"),
        Key("file", "/etc/docker/daemon.json"): file(
            '{"log-opts": {"max-size": "10m", "max-file": "3"}, "data-root": "/data/docker", "debug": true}'
        ),
        Key("file", "/etc/hosts"): file(HOSTS),
        Key("file", "/etc/sysctl.d/99-backendai.conf"): file(SYSCTL),
        Key("file", "/srv/ops/.static-python/versions/3.9.9"): directory(),
        Key("file", "/srv/ops/.static-python/versions/3.13.7"): directory(),
        Key("file", "/srv/ops/manager/.venv"): directory(),
        Key("file", "/srv/ops/notes"): directory(),
        Key("file", "/vfroot/local"): directory(0o2775),
        Key("file", "/vfroot/vol1"): directory(),
        Key("mount", "/vfroot/vol1"): Mount("10.20.30.50:/export/vol1", "nfs4", "rw,hard"),
        Key("file", "/vfroot/disk"): directory(),
        Key("mount", "/vfroot/disk"): Mount("/dev/sdb1", "xfs", "rw,prjquota"),
        Key("file", "/vfroot/weka"): directory(),
        Key("mount", "/vfroot/weka"): Mount("weka/vol", "wekafs"),
        Key("file", "/vfroot/link"): Entry("link", 0, 0, 0o777, target="/data"),
    }


def test_a_ready_node() -> None:
    read = from_node(SimulatedMachine(ready_node()))
    assert read.remarks == ()
    plain = {name: dump(settings) for name, settings in read.tables.items()}
    assert plain == {
        "account": {
            "username": "ops",
            "gid": 1200,
            "home": "/srv/ops",
            "shell": "/bin/zsh",
            "groups": ["adm"],
            "password": {"prompt": True},
        },
        "docker": {"data_root": "/data/docker", "log": {"max_size": "10m", "max_file": 3}},
        "tuning": {
            "sysctl": {
                "net.core.somaxconn": 1024,
                "net.ipv4.ip_local_port_range": "10000 65000",
                "vm.overcommit_memory": 1,
            }
        },
        "python": {"version": "3.13.7", "venvs": [{"service": "manager"}]},
        "aliases": {
            "hosts": [
                {"ip": "10.20.30.10", "names": ["bai-m1", "bai-manager"], "comment": "management node 01"},
                {"ip": "10.20.30.11", "names": ["bai-vip", "bai-vip.corp"], "comment": "moves", "virtual": True},
            ]
        },
        "storage": {
            "volumes": [
                {"name": "disk", "type": "xfs", "device": "/dev/sdb1"},
                {"name": "local", "type": "local", "mode": "2775"},
                {"name": "vol1", "type": "nfs", "source": "10.20.30.50:/export/vol1"},
                {"name": "weka", "type": "existing"},
            ]
        },
    }


def test_the_file_made_from_it_is_valid_and_reports_no_hash() -> None:
    machine = SimulatedMachine(ready_node())
    text = answers_from(machine)
    assert dict(loads(text, "node.toml", "h").tables) == dict(from_node(machine).tables)
    assert HASH not in text


def test_a_bare_node_gives_an_empty_desired() -> None:
    read = from_node(SimulatedMachine({}))
    assert (dict(read.tables), read.remarks) == ({}, ())


def test_an_unreadable_value_is_reported_and_omitted_alone() -> None:
    states = ready_node()
    states[Key("file", "/etc/docker/daemon.json")] = file('{"data-root": "relative", "log-driver": "local"}')
    states[Key("file", "/etc/sudoers.d/90-ops")] = file("ops ALL=(ALL:ALL) NOPASSWD: ALL\n")
    hidden = Environment(unknown={"file:/etc/hosts": "timed out"})
    read = from_node(SimulatedMachine(states, hidden))
    assert "aliases" not in read.tables
    assert dump(read.tables["docker"]) == {"log": {"driver": "local"}}
    assert dump(read.tables["account"], defaults=True)["sudo"] == "nopasswd"
    states[Key("file", "/etc/sudoers.d/90-ops")] = file("# The account ops.\n#1100 ALL=(ALL:ALL) NOPASSWD: ALL\n")
    assert dump(from_node(SimulatedMachine(states)).tables["account"], defaults=True)["sudo"] == "nopasswd"
    states[Key("file", "/etc/sudoers.d/90-ops")] = file("#11000 ALL=(ALL:ALL) NOPASSWD: ALL\n")
    assert dump(from_node(SimulatedMachine(states)).tables["account"], defaults=True)["sudo"] == "password"
    assert any("[aliases]" in remark and "timed out" in remark for remark in read.remarks)
    assert any(remark.startswith("docker.data_root of this node was left out") for remark in read.remarks)


def test_broken_daemon_json_is_reported() -> None:
    states = ready_node()
    states[Key("file", "/etc/docker/daemon.json")] = file("{ // comment\n}")
    read = from_node(SimulatedMachine(states))
    assert dump(read.tables["docker"], defaults=True)["source"] == "docker-ce"
    assert any("not valid JSON" in remark for remark in read.remarks)
