"""Checks of Docker's clients, configuration, networks and keys on nodes with one failure each."""

from __future__ import annotations

import pytest

from bai_wizard.core.context import Context
from bai_wizard.core.machine import Completed
from bai_wizard.core.state import Key, Mount, Package
from bai_wizard.machine.simulated import SimulatedMachine
from bai_wizard.pages.docker import catalogue, check_apt, check_clients, check_config, check_engine, check_network
from tests.pages.docker.nodes import (
    CONTEXT,
    DAEMON,
    JOURNAL,
    KEYRING,
    LISTED,
    MISSING_CHAIN,
    OLD_CLIENT,
    PROXY,
    SOURCE,
    SOURCES,
    Look,
    file,
    network,
    node,
)  # fmt: skip

PLANTED: list[tuple[str, Look, SimulatedMachine, Context, str]] = [
    ("engine 29", check_engine.release, node(engine={"/version": {"Version": "29.1"}}), CONTEXT, "backend.ai#14264"),
    (
        "old client",
        check_clients.api,
        node(looks={(*JOURNAL, "--grep=client version .* is too old", "--lines=5"): OLD_CLIENT}),
        CONTEXT,
        "older Docker",
    ),
    (
        "pinned for a unit",
        check_clients.api,
        node(
            {
                "file:/etc/systemd/system/agent.service.d/x.conf": file(
                    "[Service]\nEnvironment=DOCKER_API_VERSION=1.43\n"
                )
            },
            engine={"/version": {"Version": "29.0.1", "MinAPIVersion": "1.44"}},
        ),
        CONTEXT,
        "older Docker",
    ),
    (
        "the first docker-compose",
        check_clients.api,
        node(
            {"package:docker-compose": Package("1.29.2-6")},
            engine={"/version": {"Version": "29.1.0", "MinAPIVersion": "1.40"}},
        ),
        CONTEXT,
        "older Docker",
    ),
    (
        "no compose",
        check_engine.compose,
        node(looks={("docker", "compose", "version"): Completed(1, "", "unknown")}),
        CONTEXT,
        "plugin is missing",
    ),
    (
        "shadowed",
        check_engine.shadowed,
        node({"file:/home/bai/.docker/cli-plugins/docker-compose": file("")}),
        CONTEXT,
        "go first",
    ),
    (
        "plugin twice",
        check_engine.compose_twice,
        node({"package:docker-compose-v2": Package("2"), "package:docker-compose-plugin": Package("2")}),
        CONTEXT,
        "same file",
    ),
    ("no member", check_engine.member, node({"member:docker:bai": None}), CONTEXT, "not listed"),
    (
        "old session",
        check_engine.stale,
        node(looks={("ps", "-o", "pid=,supgid=,comm=", "-u", "1100"): Completed(0, " 77 1100 tmux\n", "")}),
        CONTEXT,
        "login only",
    ),
    (
        "swarm",
        check_engine.swarm,
        node(info={"LiveRestoreEnabled": True, "Swarm": {"LocalNodeState": "active"}}),
        CONTEXT,
        "refuses to start",
    ),
    (
        "unknown key",
        check_config.unknown,
        node(
            {DAEMON: file('{"defalt-runtime": "x"}')},
            looks={
                ("dockerd", "--validate", "--config-file", "/etc/docker/daemon.json"): Completed(
                    1, "", "the following directives don't match any configuration option: defalt-runtime"
                )
            },
        ),
        CONTEXT,
        "misspelt",
    ),
    ("no proxy", check_config.proxy, node(), PROXY, "setting of its own"),
    (
        "on nfs",
        check_config.backing,
        node({"mount:/var/lib/docker": Mount("s:/x", "nfs4")}),
        CONTEXT,
        "local file system",
    ),
    (
        "no d_type",
        check_config.backing,
        node(info={"DriverStatus": [["Supports d_type", "false"]]}),
        CONTEXT,
        "ftype=0",
    ),
    (
        "insecure",
        check_config.insecure,
        node({DAEMON: file('{"insecure-registries": ["r:5000"]}')}),
        CONTEXT,
        "exchange an image",
    ),
    ("logs", check_config.logs, node(info={"LoggingDriver": "json-file"}), CONTEXT, "keeps everything"),
    ("cgroups", check_config.cgroups, node(info={"CgroupVersion": "1"}), CONTEXT, "set so"),
    (
        "chains",
        check_network.chains,
        node(looks={("iptables", "--wait", "2", "-t", "nat", "-S", "DOCKER"): MISSING_CHAIN}),
        CONTEXT,
        "flushed",
    ),
    (
        "ufw",
        check_network.ufw,
        node(
            {"file:/etc/ufw/ufw.conf": file("ENABLED=yes\n")},
            engine={"/containers/json": [{"Ports": [{"IP": "0.0.0.0", "PublicPort": 8080, "Type": "tcp"}]}]},
        ),
        CONTEXT,
        "forwarded",
    ),
    (
        "loopback dns",
        check_network.names,
        node({"file:/etc/resolv.conf": file("nameserver 127.0.0.1\n")}),
        CONTEXT,
        "leaves out",
    ),
    ("mtu", check_network.mtu, node(kernel={"/sys/class/net/eth0/mtu": "1450"}), CONTEXT, "smaller packets"),
    (
        "pools",
        check_network.pools,
        node(engine={"/networks": [network(f"n{n}", f"172.{16 + n % 16}.{n}.0/24") for n in range(30)]}),
        CONTEXT,
        "ranges",
    ),
    ("no key", check_apt.missing, node({SOURCES: SOURCE}), CONTEXT, "removed"),
    (
        "wrong key",
        check_apt.missing,
        node({SOURCES: SOURCE, KEYRING: file("<html>404</html>")}),
        CONTEXT,
        "error page",
    ),
    (
        "unreadable key",
        check_apt.unreadable,
        node({SOURCES: SOURCE, KEYRING: file(catalogue.key(), 0o600)}),
        CONTEXT,
        "strict umask",
    ),
    (
        "two keys",
        check_apt.twice,
        node({SOURCES: SOURCE, "file:/etc/apt/sources.list.d/docker.list": file(LISTED)}),
        CONTEXT,
        "Two guides",
    ),
    (
        "forbidden stop",
        check_engine.apparmor,
        node(looks={JOURNAL: Completed(0, 'msg="cannot stop container: c1: permission denied"\n', "")}),
        CONTEXT,
        "AppArmor",
    ),
    (
        "derivative",
        check_apt.suite,
        node({SOURCES: file("Types: deb\nURIs: https://download.docker.com/linux/ubuntu\nSuites: wilma\n")}),
        CONTEXT,
        "derivative",
    ),
]


@pytest.mark.parametrize("name, look, machine, context, cause", PLANTED, ids=[row[0] for row in PLANTED])
def test_planted(name: str, look: Look, machine: SimulatedMachine, context: Context, cause: str) -> None:
    finding = look(machine, context)
    assert finding.result in ("problem", "warning")
    assert cause in finding.cause
    assert finding.evidence
    assert finding.guidance


def test_a_restart_that_was_lost_is_found_and_its_remedy_is_the_restart() -> None:
    machine = node()
    assert check_config.restart_pending(machine, CONTEXT).result == "ok"
    machine.set_state(Key("file", "/etc/docker/daemon.json"), file('{"debug": true}'))
    finding = check_config.restart_pending(machine, CONTEXT)
    assert finding.result == "problem"
    assert finding.remedy[0].interrupts == ("docker.restart",)


def test_never_offered() -> None:
    """The design's list: no chmod of the socket, no signature or TLS check off, no prune of everything."""
    for _, look, machine, context, _ in PLANTED:
        finding = look(machine, context)
        said = f"{finding.guidance} {finding.cause} {finding.risk}".lower()
        for word in ("chmod 666", "trusted=yes", "allow-unauthenticated", "prune -a", "rm /var/lib/dpkg/lock"):
            assert word not in said
