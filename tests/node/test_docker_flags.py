"""Our reader of dockerd's flags compared with dockerd itself: which flags it refuses beside daemon.json."""

from __future__ import annotations

import json
import random

from bai_wizard.core.state import Entry, Key
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.steps.docker_flags import flag_table, flags, set_twice
from tests.node.conftest import NodeFactory
from tests.sampling import is_soak, seed

CASES = 1000 if is_soak() else 60
UNIT = "/usr/lib/systemd/system/docker.service"
# (flag with its value, key of daemon.json with its value); both are valid for dockerd.
PAIRS = [
    ("--dns 10.0.0.2", "dns", ["10.0.0.2"]), ("--dns=10.0.0.2", "dns", []),
    ("--dns-search a.b", "dns-search", ["a.b"]),
    ("--dns-opt ndots:1", "dns-opts", ["ndots:1"]), ("--bip 172.30.0.1/16", "bip", "172.30.0.1/16"),
    ("--exec-opt native.cgroupdriver=systemd", "exec-opts", ["native.cgroupdriver=systemd"]),
    ("--default-runtime=runc", "default-runtime", "runc"), ("-D", "debug", True), ("--debug=false", "debug", True),
    ("-l info", "log-level", "info"), ("-linfo", "log-level", "info"), ("-Dlinfo", "log-level", "info"),
    ("-H fd://", "hosts", ["fd://"]), ("--host=fd://", "hosts", ["fd://"]), ("-G docker", "group", "docker"),
    ("-s overlay2", "storage-driver", "overlay2"), ("--insecure-registry r:5", "insecure-registries", ["r:5"]),
    ("--registry-mirror https://m.test", "registry-mirrors", ["https://m.test"]), ("--label a=b", "labels", ["c=d"]),
    ("--log-opt max-size=1m", "log-opts", {"max-size": "1m"}), ("--log-driver local", "log-driver", "local"),
    ("--default-ulimit nofile=1:1", "default-ulimits", {"nofile": {"Name": "nofile", "Soft": 1, "Hard": 1}}),
    ("--add-runtime x=/bin/true", "runtimes", {"y": {"path": "/bin/true"}}), ("--mtu 1400", "mtu", 1400),
    ("--icc=false", "icc", True), ("--live-restore", "live-restore", True), ("--data-root /d", "data-root", "/e"),
    ("--default-address-pool base=10.9.0.0/16,size=24", "default-address-pools",
     [{"base": "10.8.0.0/16", "size": 24}]),
    ("--http-proxy http://p.test", "proxies", {"http-proxy": "http://p.test"}), ("-b docker0", "bridge", "docker0"),
    ("--node-generic-resource a=1", "node-generic-resources", ["b=1"]), ("-p /run/x.pid", "pidfile", "/run/y.pid"),
    ("--cdi-spec-dir /etc/cdi", "cdi-spec-dirs", ["/etc/cdi"]), ("--storage-opt a=b", "storage-opts", ["a=b"]),
    ("--authorization-plugin a", "authorization-plugins", ["b"]),
    ("--max-download-attempts 9", "max-download-attempts", 9),
]  # fmt: skip
ASK = """
import json, subprocess, sys
def ask(case):
    with open("/tmp/daemon.json", "w") as file:
        json.dump(case[1], file)
    argv = ["dockerd", "--validate", "--config-file", "/tmp/daemon.json", *case[0].split()]
    return subprocess.run(argv, capture_output=True, text=True).stderr
print(json.dumps([*map(ask, json.load(sys.stdin))]))
"""


def test_the_flags_that_dockerd_refuses(node_factory: NodeFactory) -> None:
    node = node_factory("trixie-docker")
    draw = random.Random(seed())
    cases = [(flag, {key: value}) for flag, key, value in PAIRS]
    while len(cases) < CASES:
        given = " ".join(flag for flag, _, _ in draw.sample(PAIRS, draw.randint(1, 3)))
        cases.append((given, {key: value for _, key, value in draw.sample(PAIRS, draw.randint(0, 4))}))
    done = node.run(["/usr/bin/python3", "-I", "-c", ASK], input=json.dumps(cases), timeout=300, check=True)
    refused = 0
    for (given, config), said in zip(cases, json.loads(done.out), strict=True):
        text = f"[Service]\nExecStart=/usr/sbin/dockerd {given}\n"
        view = SimulatedMachine({Key("file", UNIT): Entry("file", 0, 0, 0o644, text.encode())})
        twice = {flag.key for flag in set_twice(flags(view), config)}
        is_refused = "specified both as a flag and in the configuration file" in said
        assert bool(twice) == is_refused, (given, config, said)
        assert all(f"{key}: (from flag" in said for key in twice), (given, config, said)
        refused += is_refused
    assert refused >= len(PAIRS) - len(flag_table().repeatable)


def test_every_flag_of_dockerd_is_read_with_or_without_a_value(node_factory: NodeFactory) -> None:
    text = node_factory("trixie-docker").run(["dockerd", "--help"], check=True).out
    for line in text.splitlines():
        words = line.replace(",", " ").split()
        names = [word for word in words[:2] if word.startswith("-")]
        if not names or not line.startswith("  "):
            continue
        long = names[-1].removeprefix("--")
        has_value = line.split(f"--{long}", 1)[1].startswith(" ") and not line.split(f"--{long}", 1)[1].startswith(
            "  "
        )
        if line.rstrip().endswith(f"--{long}"):
            continue  # pflag puts the description on the next line
        assert (long in flag_table().switches) != has_value, line
        if len(names) == 2:
            assert flag_table().short[names[0][1:]] == long
