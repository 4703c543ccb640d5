"""Run as a program of its own: knocks at a TCP port of many addresses at once, within one deadline.

`knock.py PORT SECONDS ADDRESS…` prints a line for each address: `ADDRESS open`, `refused` (somebody is there and
said no), `silent` (nobody answered in time) or `unreachable` (the network said so). It changes nothing and sends
no data. A child of its own, because name and network calls may block longer than anybody wants to wait.
"""

from __future__ import annotations

import errno
import selectors
import socket
import sys
import time

_UNREACHABLE = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


def knock(addresses: list[str], port: int, seconds: float) -> dict[str, str]:
    """The answer of each address."""
    answers = dict.fromkeys(addresses, "silent")
    waiting = selectors.DefaultSelector()
    for address in answers:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            door = socket.socket(family, socket.SOCK_STREAM)
        except OSError:
            answers[address] = "unreachable"
            continue
        door.setblocking(False)
        code = door.connect_ex((address, port))
        if code == errno.EINPROGRESS:
            waiting.register(door, selectors.EVENT_WRITE, address)
        else:
            answers[address] = _word(code)
    end = time.monotonic() + seconds
    while waiting.get_map() and (left := end - time.monotonic()) > 0:
        for key, _events in waiting.select(left):
            door = key.fileobj  # type: ignore[assignment]
            answers[key.data] = _word(door.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
            waiting.unregister(door)
            door.close()
    return answers


def _word(code: int) -> str:
    if code == 0:
        return "open"
    if code == errno.ECONNREFUSED:
        return "refused"
    return "unreachable" if code in _UNREACHABLE else "silent"


if __name__ == "__main__":
    for _address, _answer in knock(sys.argv[3:], int(sys.argv[1]), float(sys.argv[2])).items():
        print(_address, _answer)
