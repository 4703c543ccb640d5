"""Knocking at real doors of this machine's loopback."""

from __future__ import annotations

import socket
import time
from pathlib import Path

from bai_wizard.machine.local import LocalMachine
from bai_wizard.pages.knock import knock
from bai_wizard.pages.knocking import knock_at


def test_open_and_refused_are_told_apart_by_a_child() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert knock_at(LocalMachine(), ["127.0.0.1", "127.0.0.2"], port) == {
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
        begun = time.monotonic()
        assert knock(["127.0.0.1"], port, 0.4) == {"127.0.0.1": "silent"}
        assert 0.3 < time.monotonic() - begun < 2.0
        for door in waiting:
            door.close()


def test_the_program_needs_nothing_of_ours() -> None:
    source = Path(knock.__code__.co_filename).read_text()
    assert "bai_wizard" not in source
