"""The system log: one record with fields to journald, or as text to syslog on nodes without journald."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Mapping

JOURNAL = "/run/systemd/journal/socket"
SYSLOG = "/dev/log"
IDENTIFIER = "bai-wizard"
# Messages about security and authorization, as those of sudo: readable by root and the group adm.
AUTHPRIV = 10
# How long to wait for a log daemon that does not take the record, in seconds.
DEADLINE = 2.0


def write_record(message: str, fields: Mapping[str, str], *, priority: int) -> str:
    """Write one record; returns why it was not written, empty on success. `priority` as in syslog(3).

    The names of journal fields are capital letters, digits and underscores.
    """
    try:
        if os.path.exists(JOURNAL):
            _send(JOURNAL, journal_record(message, fields, priority))
        else:
            _send(SYSLOG, syslog_record(message, fields, priority))
    except OSError as error:
        return f"the system log cannot be written: {(error.strerror or str(error)).lower()}"
    return ""


def _send(path: str, data: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
        connection.settimeout(DEADLINE)
        connection.connect(path)
        connection.sendall(data)


def journal_record(message: str, fields: Mapping[str, str], priority: int) -> bytes:
    """The record in journald's native protocol, which allows any text in a value."""
    every = {
        "MESSAGE": message,
        "PRIORITY": str(priority),
        "SYSLOG_FACILITY": str(AUTHPRIV),
        "SYSLOG_IDENTIFIER": IDENTIFIER,
        **fields,
    }
    return b"".join(_field(name, value.encode(errors="backslashreplace")) for name, value in every.items())


def _field(name: str, value: bytes) -> bytes:
    if b"\n" not in value:
        return b"%s=%s\n" % (name.encode(), value)
    return b"%s\n%s%s\n" % (name.encode(), struct.pack("<Q", len(value)), value)


def syslog_record(message: str, fields: Mapping[str, str], priority: int) -> bytes:
    """The record as one line in the format of RFC 3164, the fields after the message as `NAME="value"`."""
    values = " ".join(f'{name}="{_escaped(value)}"' for name, value in fields.items())
    text = f"<{AUTHPRIV * 8 + priority}>{IDENTIFIER}[{os.getpid()}]: {_escaped(message)} {values}"
    return text.encode(errors="backslashreplace")


def _escaped(text: str) -> str:
    """Text without quotes and control characters: a value cannot look like another field or another line."""
    return "".join(
        f"\\{character}"
        if character in '"\\'
        else character
        if character.isprintable()
        else f"\\x{ord(character):02x}"
        for character in text
    )
