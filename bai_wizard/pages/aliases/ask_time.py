"""Run as a program of its own: asks other nodes what time they have, all at once, within one deadline.

`ask_time.py SECONDS ADDRESS…` prints `ADDRESS SECONDS` for each that tells: how far its clock is ahead of this one's.
It asks by ICMP (RFC 792, timestamp), which Linux answers by itself: no service has to run over there. Raw sockets are
root's. A child of its own, because network calls may block longer than anybody wants to wait.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import sys
import time
from collections.abc import Callable

DAY = 86_400_000
# Type, code, checksum, number of the asker, number of the question; then three times in milliseconds of the day.
FORM = struct.Struct("!BBHHHIII")
REQUEST, REPLY = 13, 14
# Set in times that are not milliseconds since midnight UTC.
OTHER_CLOCK = 1 << 31


def ask(addresses: list[str], seconds: float, now: Callable[[], float] = time.time) -> dict[str, float]:
    """Seconds that each clock is ahead of ours; those that do not tell are left out."""
    asker, told = int.from_bytes(os.urandom(2)), dict[str, float]()
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as line:
        asked = {}
        for number, address in enumerate(address for address in addresses if ":" not in address):
            try:
                line.sendto(_request(asker, number, _of_day(now())), (address, 0))
            except OSError:
                # No route, or a rule of this node's own forbids it.
                continue
            asked[number] = address
        end = time.monotonic() + seconds
        while len(told) < len(asked) and select.select([line], [], [], max(0.0, end - time.monotonic()))[0]:
            found = _reply(line.recv(2048), asker, _of_day(now()))
            if found is not None and found[0] in asked:
                told[asked[found[0]]] = found[1]
    return told


def _of_day(moment: float) -> int:
    return int(moment * 1000) % DAY


def _request(asker: int, number: int, sent: int) -> bytes:
    plain = FORM.pack(REQUEST, 0, 0, asker, number, sent, 0, 0)
    total = sum(struct.unpack(f"!{len(plain) // 2}H", plain))
    total = (total & 0xFFFF) + (total >> 16)
    return FORM.pack(REQUEST, 0, ~(total + (total >> 16)) & 0xFFFF, asker, number, sent, 0, 0)


def _reply(packet: bytes, asker: int, came: int) -> tuple[int, float] | None:
    """(number of the question, seconds ahead); None for what is no answer to us."""
    body = packet[(packet[0] & 0x0F) * 4 :]
    if len(body) < FORM.size:
        return None
    kind, _, _, who, number, sent, received, answered = FORM.unpack(body[: FORM.size])
    if kind != REPLY or who != asker or (received | answered) & OTHER_CLOCK:
        return None
    # The way there and the way back are taken to be equally long; midnight may lie between any two of the times.
    ahead = (_nearest(received - sent) + _nearest(answered - came)) / 2
    return number, ahead / 1000


def _nearest(apart: int) -> int:
    return (apart + DAY // 2) % DAY - DAY // 2


if __name__ == "__main__":
    for _address, _ahead in ask(sys.argv[2:], float(sys.argv[1])).items():
        print(_address, f"{_ahead:.3f}")
