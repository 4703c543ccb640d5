"""Standalone program: what other hosts answer. It is a child process, because network calls may outlast a timeout.

    network_probes.py tcp PORT SECONDS ADDRESS…
        One line per address: `ADDRESS open`, `refused` (a host exists and rejected the connection), `silent` (no
        answer in time) or `unreachable` (reported by the network). No data is sent.
    network_probes.py clocks SECONDS ADDRESS…
        `ADDRESS SECONDS` for each node that answers: how far its clock is ahead of this one's. Uses ICMP timestamps
        (RFC 792), which Linux answers without any service. Raw sockets need root.
    network_probes.py registry HOST[:PORT] PROXY AUTHORITY…
        Connect to a registry as Docker would, and print the stage reached (`name`, `connection`, `certificate`,
        `clock`, `answer`, `ok`) and the message.

It changes nothing, and uses only the standard library: it runs with `-I -S`.
"""

from __future__ import annotations

import errno
import os
import select
import selectors
import socket
import struct
import sys
import time
from collections.abc import Callable

_UNREACHABLE = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


def tcp_probe(addresses: list[str], port: int, seconds: float) -> dict[str, str]:
    """Return the answer of each address."""
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
            waiting.register(door, selectors.EVENT_WRITE, (address, door))
        else:
            answers[address] = _word(code)
    end = time.monotonic() + seconds
    while waiting.get_map():
        result = waiting.select(max(0.0, end - time.monotonic())) or waiting.select(0)
        if not result and time.monotonic() >= end:
            break
        for key, _events in result:
            address, door = key.data
            answers[address] = _word(door.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
            waiting.unregister(door)
            door.close()
    return answers


def _word(code: int) -> str:
    if code == 0:
        return "open"
    if code == errno.ECONNREFUSED:
        return "refused"
    return "unreachable" if code in _UNREACHABLE else "silent"


DAY = 86_400_000
# Type, code, checksum, identifier, sequence number; then three times in milliseconds since midnight.
FORM = struct.Struct("!BBHHHIII")
REQUEST, REPLY = 13, 14
# Set in times that are not milliseconds since midnight UTC.
OTHER_CLOCK = 1 << 31


def clock_offsets(addresses: list[str], seconds: float, now: Callable[[], float] = time.time) -> dict[str, float]:
    """Return how many seconds each clock is ahead of ours; nodes that do not answer are left out."""
    asker, result = int.from_bytes(os.urandom(2)), dict[str, float]()
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as line:
        asked = {}
        for number, address in enumerate(address for address in addresses if ":" not in address):
            try:
                line.sendto(_request(asker, number, _of_day(now())), (address, 0))
            except OSError:
                # No route, or blocked by a local firewall rule.
                continue
            asked[number] = address
        end = time.monotonic() + seconds
        while len(result) < len(asked) and select.select([line], [], [], max(0.0, end - time.monotonic()))[0]:
            results = _reply(line.recv(2048), asker, _of_day(now()))
            if results is not None and results[0] in asked:
                result[asked[results[0]]] = results[1]
    return result


def _of_day(moment: float) -> int:
    return int(moment * 1000) % DAY


def _request(asker: int, number: int, sent: int) -> bytes:
    plain = FORM.pack(REQUEST, 0, 0, asker, number, sent, 0, 0)
    total = sum(struct.unpack(f"!{len(plain) // 2}H", plain))
    total = (total & 0xFFFF) + (total >> 16)
    return FORM.pack(REQUEST, 0, ~(total + (total >> 16)) & 0xFFFF, asker, number, sent, 0, 0)


def _reply(packet: bytes, asker: int, came: int) -> tuple[int, float] | None:
    """(sequence number, seconds ahead); None for a packet that is not a reply to us."""
    body = packet[(packet[0] & 0x0F) * 4 :]
    if len(body) < FORM.size:
        return None
    kind, _, _, who, number, sent, received, answered = FORM.unpack(body[: FORM.size])
    if kind != REPLY or who != asker or (received | answered) & OTHER_CLOCK:
        return None
    # Both directions are assumed to take equally long; midnight may fall between any two of the times.
    ahead = (_nearest(received - sent) + _nearest(answered - came)) / 2
    return number, ahead / 1000


def _nearest(apart: int) -> int:
    return (apart + DAY // 2) % DAY - DAY // 2


REGISTRY_SECONDS = 6.0
# OpenSSL's error codes for a certificate that is not yet valid, or has expired.
NOT_TODAY = (9, 10)


def registry_probe(host: str, proxy: str, authorities: list[str]) -> tuple[str, str]:
    """Return the stage and the message. A request for a login is a valid response too."""
    import http.client
    import ssl
    from urllib.parse import urlsplit

    name, _, port = host.partition(":")
    trust = ssl.create_default_context()
    # Python 3.13 is stricter than Docker about private certificate authorities.
    trust.verify_flags &= ~ssl.VERIFY_X509_STRICT
    for file in authorities:
        try:
            trust.load_verify_locations(cafile=file)
        except (ssl.SSLError, OSError) as error:
            return "certificate", f"{file}: {error}"
    at = urlsplit(proxy)
    first, first_port = (at.hostname or "", at.port or 3128) if proxy else (name, int(port or 443))
    connection = http.client.HTTPSConnection(first, first_port, timeout=REGISTRY_SECONDS, context=trust)
    if proxy:
        connection.set_tunnel(name, int(port or 443))
    try:
        connection.request("GET", "/v2/")
        return "ok", str(connection.getresponse().status)
    except ssl.SSLCertVerificationError as error:
        return ("clock" if error.verify_code in NOT_TODAY else "certificate"), error.verify_message
    except ssl.SSLError as error:
        return "answer", str(error.reason or error)
    except socket.gaierror as error:
        return "name", f"{first}: {error.strerror}"
    except OSError as error:
        return "connection", error.strerror or str(error)
    except http.client.HTTPException as error:
        return "answer", str(error) or type(error).__name__
    finally:
        connection.close()


if __name__ == "__main__":
    if sys.argv[1] == "registry":
        print(*registry_probe(sys.argv[2], sys.argv[3], sys.argv[4:]))
    elif sys.argv[1] == "clocks":
        for _address, _ahead in clock_offsets(sys.argv[3:], float(sys.argv[2])).items():
            print(_address, f"{_ahead:.3f}")
    else:
        for _address, _answer in tcp_probe(sys.argv[4:], int(sys.argv[2]), float(sys.argv[3])).items():
            print(_address, _answer)
