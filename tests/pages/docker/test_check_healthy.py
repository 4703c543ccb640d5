"""Checks of Docker on nodes that look like the failing ones and are all right: no alarm."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bai_wizard.core.context import Context
from bai_wizard.core.finding import Finding
from bai_wizard.core.machine import Completed
from bai_wizard.core.state import Mount, Package
from bai_wizard.machine.simulated import SimulatedMachine, Surroundings
from bai_wizard.pages.docker import catalogue, check_apt, check_clients, check_config, check_engine, check_network
from tests.pages.docker.nodes import (
    CONTEXT,
    DAEMON,
    JOURNAL,
    KEYRING,
    LISTED,
    PROXY,
    SOURCE,
    SOURCES,
    Look,
    file,
    network,
    node,
)  # fmt: skip

HEALTHY: list[tuple[str, Look, SimulatedMachine, Context]] = [
    ("engine 28", check_engine.release, node(), CONTEXT),
    (
        "engine 29 with its release",
        check_engine.release,
        node(engine={"/version": {"Version": "28"}}),
        replace(CONTEXT, backend_ai="26.8"),
    ),
    ("quiet journal", check_clients.api, node(), CONTEXT),
    (
        "pinned, and new enough; an old one in a comment",
        check_clients.api,
        node(
            {"file:/etc/environment": file("DOCKER_API_VERSION=1.44\n# DOCKER_API_VERSION=1.24\n")},
            engine={"/version": {"Version": "29.0.1", "MinAPIVersion": "1.44"}},
        ),
        CONTEXT,
    ),
    (
        "the first docker-compose with an engine of its time",
        check_clients.api,
        node(
            {"package:docker-compose": Package("1.29.2-6")},
            engine={"/version": {"Version": "28.5.1", "MinAPIVersion": "1.24"}},
        ),
        CONTEXT,
    ),
    (
        "journal without entries",
        check_clients.api,
        node(
            looks={
                (*JOURNAL, "--grep=client version .* is too old", "--lines=5"): Completed(1, "-- No entries --\n", "")
            }
        ),
        CONTEXT,
    ),
    ("compose", check_engine.compose, node(), CONTEXT),
    (
        "other plugins",
        check_engine.shadowed,
        node({"file:/home/bai/.docker/cli-plugins/docker-scan": file("")}),
        CONTEXT,
    ),
    ("one plugin", check_engine.compose_twice, node({"package:docker-compose-plugin": Package("2")}), CONTEXT),
    ("member", check_engine.member, node(), CONTEXT),
    ("new session", check_engine.stale, node(), CONTEXT),
    (
        "kernel thread",
        check_engine.stale,
        node(looks={("ps", "-o", "pid=,supgid=,comm=", "-u", "1100"): Completed(1, "", "")}),
        CONTEXT,
    ),
    ("live-restore alone", check_engine.swarm, node(info={"LiveRestoreEnabled": True}), CONTEXT),
    ("known keys", check_config.unknown, node({DAEMON: file("{}")}), CONTEXT),
    ("proxy", check_config.proxy, node(info={"HttpProxy": "http://proxy:3128"}), PROXY),
    ("ext4", check_config.backing, node({"mount:/var/lib/docker": Mount("/dev/x", "ext4")}), CONTEXT),
    ("tls", check_config.insecure, node({DAEMON: file("{}")}), CONTEXT),
    (
        "rotated",
        check_config.logs,
        node({DAEMON: file('{"log-opts": {"max-size": "1m"}}')}, info={"LoggingDriver": "json-file"}),
        CONTEXT,
    ),
    ("local driver", check_config.logs, node(), CONTEXT),
    ("cgroups", check_config.cgroups, node(), CONTEXT),
    ("chains", check_network.chains, node(), CONTEXT),
    (
        "private port",
        check_network.ufw,
        node(
            {"file:/etc/ufw/ufw.conf": file("ENABLED=yes\n")},
            engine={"/containers/json": [{"Ports": [{"IP": "10.0.0.1", "PublicPort": 8080}]}]},
        ),
        CONTEXT,
    ),
    (
        "resolved",
        check_network.names,
        node(
            {
                "file:/etc/resolv.conf": file("nameserver 127.0.0.53\n"),
                "file:/run/systemd/resolve/resolv.conf": file("nameserver 10.0.0.2\n"),
            }
        ),
        CONTEXT,
    ),
    (
        "own dns",
        check_network.names,
        node({"file:/etc/resolv.conf": file("nameserver 127.0.0.1\n"), DAEMON: file('{"dns": ["10.0.0.2"]}')}),
        CONTEXT,
    ),
    ("jumbo outside", check_network.mtu, node(kernel={"/sys/class/net/eth0/mtu": "9000"}), CONTEXT),
    ("few networks", check_network.pools, node(engine={"/networks": [network("bridge", "172.17.0.0/16")]}), CONTEXT),
    ("key", check_apt.missing, node({SOURCES: SOURCE, KEYRING: file(catalogue.key())}), CONTEXT),
    ("readable key", check_apt.unreadable, node({SOURCES: SOURCE, KEYRING: file(catalogue.key())}), CONTEXT),
    (
        "other suites",
        check_apt.twice,
        node({SOURCES: SOURCE, "file:/etc/apt/sources.list.d/docker.list": file(LISTED.replace("noble", "jammy"))}),
        CONTEXT,
    ),
    ("stopped well", check_engine.apparmor, node(looks={JOURNAL: Completed(0, "", "")}), CONTEXT),
    ("known suite", check_apt.suite, node({SOURCES: SOURCE}), CONTEXT),
]


@pytest.mark.parametrize("name, look, machine, context", HEALTHY, ids=[row[0] for row in HEALTHY])
def test_healthy(name: str, look: Look, machine: SimulatedMachine, context: Context) -> None:
    assert look(machine, context).result == "ok"


def test_every_check_says_not_applicable_on_a_node_without_docker() -> None:
    bare = SimulatedMachine({}, Surroundings())
    checks = (*check_engine.CHECKS, *check_config.CHECKS, *check_network.CHECKS)
    found = [check.look(bare, CONTEXT) for check in checks]
    assert {one.result for one in found if isinstance(one, Finding)} <= {"not-applicable", "ok"}
