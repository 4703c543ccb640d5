"""Checks of Docker's clients, configuration, networks and keys on nodes with one failure each."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from bai_wizard.core.machine import Completed
from bai_wizard.core.page import Check, Context
from bai_wizard.core.state import Key, Mount, Package
from bai_wizard.doctor.run import run_check
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.pages.docker import check_config, check_names, check_system, checks, packages
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
    file,
    network,
    node,
)  # fmt: skip

PLANTED: list[tuple[str, Check, SimulatedMachine, Context, str]] = [
    (
        "engine 29",
        checks.release,
        node(
            engine={
                "/version": {"Version": "29.1"},
                "/images/json": [{"RepoTags": ["stable/python:3"], "Labels": {"ai.backend.kernelspec": "1"}}],
            }
        ),
        replace(CONTEXT, backend_ai="26.8.3"),
        "backend.ai#14264",
    ),
    ("containerd's store", checks.image_store, node(info={"Driver": "overlayfs"}), CONTEXT, "always differ"),
    (
        "old client",
        checks.api,
        node(looks={(*JOURNAL, "--grep=client version .* is too old", "--lines=5"): OLD_CLIENT}),
        CONTEXT,
        "older Docker",
    ),
    (
        "pinned for a unit",
        checks.api,
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
        checks.api,
        node(
            {"package:docker-compose": Package("1.29.2-6")},
            engine={"/version": {"Version": "29.1.0", "MinAPIVersion": "1.40"}},
        ),
        CONTEXT,
        "older Docker",
    ),
    (
        "no compose",
        checks.compose,
        node(looks={("docker", "compose", "version"): Completed(1, "", "unknown")}),
        CONTEXT,
        "plugin is missing",
    ),
    (
        "shadowed",
        checks.shadowed,
        node({"file:/home/bai/.docker/cli-plugins/docker-compose": file("")}),
        CONTEXT,
        "take precedence",
    ),
    (
        "plugin twice",
        checks.compose_twice,
        node({"package:docker-compose-v2": Package("2"), "package:docker-compose-plugin": Package("2")}),
        CONTEXT,
        "same file",
    ),
    ("no member", checks.member, node({"member:docker:bai": None}), CONTEXT, "not listed"),
    (
        "old session",
        checks.stale,
        node(kernel={"/proc/77/status": "Name:\ttmux: server\nPPid:\t1\nGroups:\t1100\nNSpid:\t77"}),
        CONTEXT,
        "login only",
    ),
    (
        "swarm",
        checks.swarm,
        node(info={"LiveRestoreEnabled": True, "Swarm": {"LocalNodeState": "active"}}),
        CONTEXT,
        "refuses to start",
    ),
    (
        "unknown key",
        check_config.unknown_key,
        node(
            {DAEMON: file('{"defalt-runtime": "x"}')},
            looks={
                ("dockerd", "--validate", "--config-file", "/etc/docker/daemon.json"): Completed(
                    1, "", "the following directives don't match any configuration option: defalt-runtime"
                )
            },
        ),
        CONTEXT,
        "misspelled",
    ),
    ("no proxy", check_config.proxy, node(), PROXY, "its own setting"),
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
    ("vfs", check_config.backing, node(info={"Driver": "vfs", "DriverStatus": []}), CONTEXT, "fell back"),
    (
        "insecure",
        check_config.insecure,
        node({DAEMON: file('{"insecure-registries": ["r:5000"]}')}),
        CONTEXT,
        "replace images",
    ),
    ("logs", check_config.logs, node(info={"LoggingDriver": "json-file"}), CONTEXT, "keeps everything"),
    ("cgroups", check_config.cgroups, node(info={"CgroupVersion": "1"}), CONTEXT, "configured for cgroup v1"),
    (
        "chains",
        check_config.chains,
        node(looks={("iptables", "--wait", "2", "-t", "nat", "-S", "DOCKER"): MISSING_CHAIN}),
        CONTEXT,
        "flushed",
    ),
    (
        "ufw",
        check_config.ufw,
        node(
            {"file:/etc/ufw/ufw.conf": file("ENABLED=yes\n")},
            engine={"/containers/json": [{"Ports": [{"IP": "0.0.0.0", "PublicPort": 8080, "Type": "tcp"}]}]},
        ),
        CONTEXT,
        "forwarded",
    ),
    (
        "loopback dns",
        check_names.servers,
        node({"file:/etc/resolv.conf": file("nameserver 127.0.0.1\n")}),
        CONTEXT,
        "leaves out",
    ),
    (
        "ipv6 dns only",
        check_names.servers,
        node(
            {
                "file:/etc/resolv.conf": file("nameserver 127.0.0.53\n"),
                "file:/run/systemd/resolve/resolv.conf": file("nameserver fe80::1%eth0\nnameserver 2001:db8::53\n"),
            }
        ),
        CONTEXT,
        "unless IPv6 is enabled",
    ),
    ("mtu", check_config.mtu, node(kernel={"/sys/class/net/eth0/mtu": "1450"}), CONTEXT, "smaller MTU"),
    (
        "pools",
        check_config.pools,
        node(engine={"/networks": [network(f"n{n}", f"172.{16 + n % 16}.{n}.0/24") for n in range(30)]}),
        CONTEXT,
        "ranges",
    ),
    ("no key", check_system.keys_present, node({SOURCES: SOURCE}), CONTEXT, "removed"),
    (
        "wrong key",
        check_system.keys_present,
        node({SOURCES: SOURCE, KEYRING: file("<html>404</html>")}),
        CONTEXT,
        "error page",
    ),
    (
        "unreadable key",
        check_system.keys_readable,
        node({SOURCES: SOURCE, KEYRING: file(packages.docker_key(), 0o600)}),
        CONTEXT,
        "strict umask",
    ),
    (
        "two keys",
        check_system.one_key,
        node({SOURCES: SOURCE, "file:/etc/apt/sources.list.d/docker.list": file(LISTED)}),
        CONTEXT,
        "Two guides",
    ),
    (
        "forbidden stop",
        checks.apparmor,
        node(looks={JOURNAL: Completed(0, 'msg="cannot stop container: c1: permission denied"\n', "")}),
        CONTEXT,
        "AppArmor",
    ),
    (
        "derivative",
        check_system.suite,
        node(
            {
                SOURCES: file(
                    "Types: deb\nURIs: https://download.docker.com/linux/ubuntu\nSuites: wilma\nComponents: stable\n"
                )
            }
        ),
        CONTEXT,
        "derivative",
    ),
]


@pytest.mark.parametrize("name, check, machine, context, cause", PLANTED, ids=[row[0] for row in PLANTED])
def test_seeded(name: str, check: Check, machine: SimulatedMachine, context: Context, cause: str) -> None:
    (finding,) = run_check(check, machine, context)
    assert finding.result in ("problem", "warning")
    assert cause in finding.cause
    assert finding.evidence
    assert finding.guidance


@pytest.mark.parametrize(
    ("apt", "without_key", "result"),
    [
        ("3.0.4", "a.list", "ok"),
        ("3.0.4", "z.list", "ok"),
        ("2.6.1", "a.list", "ok"),
        ("2.6.1", "z.list", "problem"),
    ],
)
def test_one_source_with_a_key_and_one_without(apt: str, without_key: str, result: str) -> None:
    listed = file("deb https://download.docker.com/linux/ubuntu noble stable\n")
    states = {SOURCES: SOURCE, f"file:/etc/apt/sources.list.d/{without_key}": listed, "package:apt": Package(apt)}
    (finding,) = run_check(check_system.one_key, node(states), CONTEXT)
    assert finding.result == result


def test_a_fallback_to_vfs_is_a_warning_about_the_copies_it_makes() -> None:
    machine = node(info={"Driver": "vfs", "DriverStatus": []})
    (finding,) = run_check(check_config.backing, machine, CONTEXT)
    assert finding.result == "warning"
    assert "full copy" in finding.title


def test_a_data_directory_behind_a_link_is_judged_where_the_engine_has_it() -> None:
    states = {DAEMON: file('{"data-root": "/srv/data"}'), "mount:/root/data": Mount("s:/x", "nfs4")}
    (finding,) = run_check(check_config.backing, node(states, info={"DockerRootDir": "/root/data"}), CONTEXT)
    assert finding.result == "problem"
    assert [each.where for each in finding.evidence] == ["/root/data"]


def test_a_restart_that_was_lost_is_found_and_its_remedy_is_the_restart() -> None:
    machine = node()
    (finding,) = run_check(check_config.restart_pending, machine, CONTEXT)
    assert finding.result == "ok"
    machine.set_state(Key("file", "/etc/docker/daemon.json"), file('{"debug": true}'))
    (finding,) = run_check(check_config.restart_pending, machine, CONTEXT)
    assert finding.result == "problem"
    assert finding.remedy[0].interrupts == ("docker.restart",)


def test_never_offered() -> None:
    """The design's list: no chmod of the socket, no signature or TLS check off, no prune of everything."""
    for _, check, machine, context, _ in PLANTED:
        (finding,) = run_check(check, machine, context)
        output = f"{finding.guidance} {finding.cause} {finding.risk}".lower()
        for word in ("chmod 666", "trusted=yes", "allow-unauthenticated", "prune -a", "rm /var/lib/dpkg/lock"):
            assert word not in output
