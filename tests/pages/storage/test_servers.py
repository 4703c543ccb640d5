"""Preflight checks of an NFS server on a simulated node."""

from __future__ import annotations

import errno
import json
import sys

from bai_wizard.core.machine import Completed
from bai_wizard.node.simulated import Environment, SimulatedMachine
from bai_wizard.pages.node_state import tcp_probe_command
from bai_wizard.pages.storage import volume_probes
from bai_wizard.pages.storage.sources import refuse_nfs

TWO = Completed(0, "fd00::1 STREAM filer\nfd00::1 DGRAM\n10.0.0.1 STREAM\n", "")


def trying(address: str, *versions: str, extra: str = "") -> tuple[str, ...]:
    return (
        sys.executable,
        "-I",
        "-S",
        volume_probes.__file__,
        "trial",
        address,
        "/e",
        extra,
        *(versions or ("4.2", "4.1", "4.0", "3")),
    )


def node(knocked: str, **tried: dict[str, int]) -> SimulatedMachine:
    """A node for which `filer` has two addresses. `tried`: what the trial says, by the address's first letter."""
    looks = {
        ("getent", "ahosts", "filer"): TWO,
        tuple(tcp_probe_command(["fd00::1", "10.0.0.1"], 2049)): Completed(0, knocked, ""),
    }
    for first, answer in tried.items():
        address = "fd00::1" if first == "f" else "10.0.0.1"
        looks[trying(address)] = Completed(0, json.dumps(answer), "")
    return SimulatedMachine({}, Environment(looks=looks))


def test_the_address_that_answers_is_the_one_that_is_tried() -> None:
    """A name with an IPv6 address that leads nowhere: the client would go on to the next one, and so do we."""
    machine = node("fd00::1 silent\n10.0.0.1 open\n", f={"4.2": errno.ETIMEDOUT}, v={"4.2": 0})
    assert refuse_nfs(machine, "filer:/e", ("hard",)) == ""
    denied = node("fd00::1 silent\n10.0.0.1 open\n", v={"4.2": errno.EACCES, "3": errno.EACCES})
    assert "10.0.0.1 does not allow this node to mount /e" in refuse_nfs(denied, "filer:/e", ("hard",))


def test_a_server_that_is_named_by_its_ipv6_address() -> None:
    def literal(knocked: str, code: int) -> SimulatedMachine:
        looks = {tuple(tcp_probe_command(["fd00::1"], 2049)): Completed(0, knocked, "")}
        looks[trying("fd00::1")] = Completed(0, json.dumps({"4.2": code, "3": code}), "")
        return SimulatedMachine({}, Environment(looks=looks))

    assert refuse_nfs(literal("fd00::1 open\n", 0), "[fd00::1]:/e", ("hard",)) == ""
    silent = refuse_nfs(literal("fd00::1 silent\n", 0), "[fd00::1]:/e", ("hard",))
    assert silent.startswith("fd00::1 does not respond on TCP port 2049")
    denied = refuse_nfs(literal("fd00::1 open\n", errno.EACCES), "[fd00::1]:/e", ("hard",))
    assert "fd00::1 does not allow this node to mount /e" in denied


def test_no_one_answers() -> None:
    output = refuse_nfs(node("fd00::1 silent\n10.0.0.1 silent\n"), "filer:/e", ("hard",))
    assert output.startswith("fd00::1, 10.0.0.1 does not respond on TCP port 2049")
    assert "is not running there" in refuse_nfs(node("fd00::1 silent\n10.0.0.1 refused\n"), "filer:/e", ("hard",))


def test_kerberos_is_not_tried_without_the_clients_daemon() -> None:
    """A refusal would not mean anything about the export: there may be no Kerberos ticket yet."""
    machine = node("10.0.0.1 open\n", v={"4.2": errno.EACCES, "3": errno.EACCES})
    assert refuse_nfs(machine, "filer:/e", ("hard",))
    assert refuse_nfs(machine, "filer:/e", ("hard", "sec=krb5p")) == ""


def test_a_kernel_without_the_client() -> None:
    machine = node("10.0.0.1 open\n", v={"4.2": errno.ENODEV, "3": errno.ENODEV})
    assert "linux-modules-extra" in refuse_nfs(machine, "filer:/e", ("hard",))
    container = node("10.0.0.1 open\n", v={"4.2": errno.EPERM, "3": errno.EPERM})
    assert refuse_nfs(container, "filer:/e", ("hard",)) == ""


def test_rdma_has_no_port_to_knock_at() -> None:
    assert refuse_nfs(node("10.0.0.1 silent\n"), "filer:/e", ("proto=rdma",)) == ""
