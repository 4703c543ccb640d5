"""TCP probes of real ports on loopback."""

from __future__ import annotations

import socket
from pathlib import Path

from bai_wizard.pages.network_probes import tcp_probe
from bai_wizard.pages.node_state import probe_tcp
from bai_wizard.resources.local import LocalMachine
from tests.waiting import ends


def test_open_and_refused_are_distinguished_by_a_child() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert probe_tcp(LocalMachine(), ["127.0.0.1", "127.0.0.2"], port) == {
            "127.0.0.1": "open",
            "127.0.0.2": "refused",
        }


def test_silence_ends_at_the_deadline() -> None:
    # A full queue of a listener that never accepts answers nothing, like a firewall that drops.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        port = server.getsockname()[1]
        waiting = [socket.socket() for _ in range(3)]
        for door in waiting:
            door.setblocking(False)
            door.connect_ex(("127.0.0.1", port))
        with ends("the probe"):
            assert tcp_probe(["127.0.0.1"], port, 0.4) == {"127.0.0.1": "silent"}
        for door in waiting:
            door.close()


def test_the_program_does_not_import_the_wizard() -> None:
    source = Path(tcp_probe.__code__.co_filename).read_text()
    assert "bai_wizard" not in source
