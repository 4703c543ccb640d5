"""Docker checks on healthy nodes that resemble failing ones: nothing is reported."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from bai_wizard.core.machine import Completed
from bai_wizard.core.page import Check, Context
from bai_wizard.core.state import Mount, Package
from bai_wizard.doctor.run import run_check
from bai_wizard.node.simulated import Environment, SimulatedMachine
from bai_wizard.pages.check import checks_in
from bai_wizard.pages.docker import check_config, check_names, check_system, packages
from bai_wizard.pages.docker import checks as check_engine
from tests.pages.docker.nodes import (
    CONTEXT,
    DAEMON,
    JOURNAL,
    KEYRING,
    LISTED,
    PROXY,
    SOURCE,
    SOURCES,
    file,
    network,
    node,
)  # fmt: skip

HEALTHY: list[tuple[str, Check, SimulatedMachine, Context]] = [
    ("engine 28", check_engine.release, node(), replace(CONTEXT, backend_ai="26.8.3")),
    ("overlay2", check_engine.image_store, node(), CONTEXT),
    (
        "engine 29 with its release",
        check_engine.release,
        node(engine={"/version": {"Version": "28"}}),
        replace(CONTEXT, backend_ai="26.8"),
    ),
    ("quiet journal", check_engine.api, node(), CONTEXT),
    (
        "pinned, and new enough; an old one in a comment",
        check_engine.api,
        node(
            {"file:/etc/environment": file("DOCKER_API_VERSION=1.44\n# DOCKER_API_VERSION=1.24\n")},
            engine={"/version": {"Version": "29.0.1", "MinAPIVersion": "1.44"}},
        ),
        CONTEXT,
    ),
    (
        "the first docker-compose with an engine of its time",
        check_engine.api,
        node(
            {"package:docker-compose": Package("1.29.2-6")},
            engine={"/version": {"Version": "28.5.1", "MinAPIVersion": "1.24"}},
        ),
        CONTEXT,
    ),
    (
        "journal without entries",
        check_engine.api,
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
    ("no session", check_engine.stale, node(looks={("pgrep", "-u", "bai"): Completed(1, "", "")}), CONTEXT),
    ("live-restore alone", check_engine.swarm, node(info={"LiveRestoreEnabled": True}), CONTEXT),
    ("known keys", check_config.unknown_key, node({DAEMON: file("{}")}), CONTEXT),
    ("proxy", check_config.proxy, node(info={"HttpProxy": "http://proxy:3128"}), PROXY),
    ("ext4", check_config.backing, node({"mount:/var/lib/docker": Mount("/dev/x", "ext4")}), CONTEXT),
    (
        "vfs on purpose",
        check_config.backing,
        node({DAEMON: file('{"storage-driver": "vfs"}')}, info={"Driver": "vfs"}),
        CONTEXT,
    ),
    ("tls", check_config.insecure, node({DAEMON: file("{}")}), CONTEXT),
    (
        "rotated",
        check_config.logs,
        node({DAEMON: file('{"log-opts": {"max-size": "1m"}}')}, info={"LoggingDriver": "json-file"}),
        CONTEXT,
    ),
    ("local driver", check_config.logs, node(), CONTEXT),
    ("cgroups", check_config.cgroups, node(), CONTEXT),
    ("chains", check_config.chains, node(), CONTEXT),
    (
        "private port",
        check_config.ufw,
        node(
            {"file:/etc/ufw/ufw.conf": file("ENABLED=yes\n")},
            engine={"/containers/json": [{"Ports": [{"IP": "10.0.0.1", "PublicPort": 8080}]}]},
        ),
        CONTEXT,
    ),
    (
        "resolved",
        check_names.servers,
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
        check_names.servers,
        node({"file:/etc/resolv.conf": file("nameserver 127.0.0.1\n"), DAEMON: file('{"dns": ["10.0.0.2"]}')}),
        CONTEXT,
    ),
    (
        "ipv6 on the bridge",
        check_names.servers,
        node({"file:/etc/resolv.conf": file("nameserver 2001:db8::53\n"), DAEMON: file('{"ipv6": true}')}),
        CONTEXT,
    ),
    (
        "both versions",
        check_names.servers,
        node({"file:/etc/resolv.conf": file("nameserver 2001:db8::53\nnameserver 10.0.0.2\n")}),
        CONTEXT,
    ),
    ("jumbo outside", check_config.mtu, node(kernel={"/sys/class/net/eth0/mtu": "9000"}), CONTEXT),
    ("few networks", check_config.pools, node(engine={"/networks": [network("bridge", "172.17.0.0/16")]}), CONTEXT),
    ("key", check_system.keys_present, node({SOURCES: SOURCE, KEYRING: file(packages.docker_key())}), CONTEXT),
    (
        "readable key",
        check_system.keys_readable,
        node({SOURCES: SOURCE, KEYRING: file(packages.docker_key())}),
        CONTEXT,
    ),
    (
        "other suites",
        check_system.one_key,
        node({SOURCES: SOURCE, "file:/etc/apt/sources.list.d/docker.list": file(LISTED.replace("noble", "jammy"))}),
        CONTEXT,
    ),
    ("stopped well", check_engine.apparmor, node(looks={JOURNAL: Completed(0, "", "")}), CONTEXT),
    ("known suite", check_system.suite, node({SOURCES: SOURCE}), CONTEXT),
]


@pytest.mark.parametrize("name, check, machine, context", HEALTHY, ids=[row[0] for row in HEALTHY])
def test_healthy(name: str, check: Check, machine: SimulatedMachine, context: Context) -> None:
    assert [finding.result for finding in run_check(check, machine, context)] == ["ok"]


def test_every_check_is_not_applicable_on_a_node_without_docker() -> None:
    bare = SimulatedMachine({}, Environment())
    checks = checks_in(check_engine, check_config, check_config)
    findings = [finding for check in checks for finding in run_check(check, bare, CONTEXT)]
    assert {finding.result for finding in findings} <= {"not-applicable", "ok"}
