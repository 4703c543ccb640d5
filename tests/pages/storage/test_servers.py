"""What is asked of an NFS server before anything is changed, over a simulated node."""

from __future__ import annotations

import errno
import json
import sys

from bai_wizard.core.machine import Completed
from bai_wizard.machine.simulated import SimulatedMachine, Surroundings
from bai_wizard.pages.knocking import program
from bai_wizard.pages.storage import trial
from bai_wizard.pages.storage.servers import refuse_nfs

TWO = Completed(0, "fd00::1 STREAM filer\nfd00::1 DGRAM\n10.0.0.1 STREAM\n", "")


def trying(address: str, *versions: str, extra: str = "") -> tuple[str, ...]:
    return (
        sys.executable,
        "-I",
        "-S",
        trial.__file__,
        address,
        "/e",
        extra,
        *(versions or ("4.2", "4.1", "4.0", "3")),
    )


def node(knocked: str, **tried: dict[str, int]) -> SimulatedMachine:
    """A node for which `filer` has two addresses. `tried`: what the trial says, by the address's first letter."""
    looks = {
        ("getent", "ahosts", "filer"): TWO,
        tuple(program(["fd00::1", "10.0.0.1"], 2049)): Completed(0, knocked, ""),
    }
    for first, answer in tried.items():
        address = "fd00::1" if first == "f" else "10.0.0.1"
        looks[trying(address)] = Completed(0, json.dumps(answer), "")
    return SimulatedMachine({}, Surroundings(looks=looks))


def test_the_address_that_answers_is_the_one_that_is_tried() -> None:
    """A name with an IPv6 address that leads nowhere: the client would go on to the next one, and so do we."""
    machine = node("fd00::1 silent\n10.0.0.1 open\n", f={"4.2": errno.ETIMEDOUT}, v={"4.2": 0})
    assert refuse_nfs(machine, "filer:/e", ("hard",)) == ""
    denied = node("fd00::1 silent\n10.0.0.1 open\n", v={"4.2": errno.EACCES, "3": errno.EACCES})
    assert "10.0.0.1 does not let this node mount /e" in refuse_nfs(denied, "filer:/e", ("hard",))


def test_nobody_answers() -> None:
    said = refuse_nfs(node("fd00::1 silent\n10.0.0.1 silent\n"), "filer:/e", ("hard",))
    assert said.startswith("fd00::1, 10.0.0.1 gives no answer at TCP port 2049")
    assert "does not run there" in refuse_nfs(node("fd00::1 silent\n10.0.0.1 refused\n"), "filer:/e", ("hard",))


def test_kerberos_is_not_tried_without_the_clients_daemon() -> None:
    """A refusal would say nothing of the export: there may be no ticket yet, or nobody who brings one."""
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
