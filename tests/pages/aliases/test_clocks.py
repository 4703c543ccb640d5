"""Clock comparison with other nodes: real queries over loopback, and conclusions from the responses."""

from __future__ import annotations

import os
import time

import pytest

from bai_wizard.core.machine import Completed
from bai_wizard.core.page import Context, Finding
from bai_wizard.core.state import Entry, Key
from bai_wizard.doctor.run import run_check
from bai_wizard.node.simulated import Environment, SimulatedMachine
from bai_wizard.pages import network_probes
from bai_wizard.pages.aliases.checks import CHECKS, clock_query
from bai_wizard.pages.network_probes import DAY, FORM, REPLY, clock_offsets
from tests.pages.aliases.test_hosts_file import MANUAL_BLOCK
from tests.waiting import ends

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="raw sockets are root's")
PEERS = ["10.20.30.10", "10.20.30.20"]


@needs_root
@pytest.mark.parametrize("fast", [0.0, 40.0, -1000.0])
def test_the_kernel_itself_reports_its_time(fast: float) -> None:
    """Our own clock is what is wrong here, so that the true one of loopback is seen the other way round."""
    result = clock_offsets(["127.0.0.1", "127.0.0.2"], 5.0, lambda: time.time() + fast)
    assert set(result) == {"127.0.0.1", "127.0.0.2"}
    assert all(abs(ahead + fast) < 5 for ahead in result.values()), result


@needs_root
def test_no_response_times_out_and_is_not_an_answer() -> None:
    with ends("the query"):
        assert clock_offsets(["240.0.0.1", "::1"], 0.2) == {}


def packet(*fields: int, words: int = 5) -> bytes:
    """An IP header of so many words, and the answer."""
    return bytes([0x40 | words]) + bytes(words * 4 - 1) + FORM.pack(*fields)


@pytest.mark.parametrize(
    "result, ahead",
    [
        ((REPLY, 0, 0, 7, 2, 1000, 3000, 3000), 1.5),
        # Midnight lies between the two clocks, either way round.
        ((REPLY, 0, 0, 7, 2, DAY - 500, 500, 500), 0.5),
        ((REPLY, 0, 0, 7, 2, 500, DAY - 500, DAY - 500), -1.5),
    ],
)
def test_the_way_there_and_back_is_halved(result: tuple[int, ...], ahead: float) -> None:
    came = (result[5] + 1000) % DAY
    for words in (5, 6):
        assert network_probes._reply(packet(*result, words=words), 7, came) == (2, ahead)


@pytest.mark.parametrize(
    "result",
    [
        packet(0, 0, 0, 7, 2, 0, 0, 0),
        packet(REPLY, 0, 0, 8, 2, 0, 0, 0),
        packet(REPLY, 0, 0, 7, 2, 0, 1 << 31, 0),
        packet(REPLY, 0, 0, 7, 2, 0, 0, 0)[:30],
    ],
    ids=["echo", "another asker", "another clock", "cut"],
)
def test_unrelated_packets_are_not_answers(result: bytes) -> None:
    assert network_probes._reply(result, 7, 0) is None


def findings_of(output: str, hosts: str = MANUAL_BLOCK, code: int = 0) -> Finding:
    machine = SimulatedMachine(
        {Key("file", "/etc/hosts"): Entry("file", 0, 0, 0o644, hosts.encode())},
        Environment(looks={tuple(clock_query([])): Completed(code, output, "no raw sockets" if code else "")}),
    )
    (check,) = [check for check in CHECKS if check.id == "aliases.clocks"]
    (finding,) = run_check(check, machine, Context())
    assert finding.owner == "site"
    assert finding.remedy == ()
    return finding


@pytest.mark.parametrize(
    "output, result",
    [
        ("10.20.30.10 0.012\n10.20.30.20 -0.3\n", "ok"),
        ("10.20.30.10 0.012\n10.20.30.20 -7.5\n", "warning"),
        ("10.20.30.10 3600.1\n10.20.30.20 3600.0\n", "problem"),
        # A firewall in between: no clock is reported as wrong, and none as right.
        ("", "cannot-tell"),
    ],
)
def test_nodes_that_are_apart_are_reported(output: str, result: str) -> None:
    finding = findings_of(output)
    assert finding.result == result
    if result == "warning":
        assert [(each.what, each.found) for each in finding.evidence] == [("bai-a01", "7.5 s behind this node")]
    assert ("all other nodes" in finding.title) == (result == "problem"), "this node is the odd one"


def test_a_program_that_cannot_ask_reports_nothing() -> None:
    assert findings_of("", code=1).result == "cannot-tell"


def test_a_node_without_other_nodes_is_not_accused() -> None:
    assert findings_of("", hosts="127.0.0.1 localhost\n").result == "not-applicable"
