"""Why apt rejects a key that is in place: it expired, or it is bound by a hash that sqv no longer accepts.

Only what is certain counts. Signatures are not verified, and signing subkeys are not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime

from msgspec import Struct

from bai_wizard.steps.apt_grammar import KEY_BLOCK
from bai_wizard.steps.apt_sources import (
    BEGIN,
    END,
    LARGEST,
    PUBLIC_KEY,
    PUBLIC_SUBKEY,
    SIGNATURE,
    is_binary,
    key_fingerprint,
    key_packets,
)

# Hash algorithms by their number in a signature (RFC 9580, section 9.5).
WEAK = {1: "MD5", 2: "SHA-1", 3: "RIPEMD-160"}
# The day from which apt's configuration of sqv (default-sequoia.config of apt 3.0) rejects SHA-1 in keys.
SHA1_ENDS = date(2026, 2, 1)
# The first version of apt that verifies with sqv where it is installed.
FIRST_WITH_SQV = (2, 9, 19)
# Signatures that bind an identity or the key itself.
BINDING = (0x10, 0x11, 0x12, 0x13, 0x1F)
CREATED, KEY_EXPIRES, ISSUER, ISSUER_FINGERPRINT = 2, 9, 16, 33
_BLOCK = re.compile(f"{BEGIN}.*?{END}".encode(), re.DOTALL)


class _Binding(Struct, frozen=True):
    hash: int
    created: int
    expires: int


def why_rejected(data: bytes, today: date, with_sqv: bool) -> str:
    """Explain why apt rejects every key of a file; empty if it accepts one, or if that cannot be told."""
    reasons = []
    try:
        for key, signatures in _certificates(data):
            bindings = [binding for body in signatures if (binding := _binding(body, key)) is not None]
            reasons.append(_why(key, bindings, today, with_sqv))
    except (ValueError, IndexError):
        return ""
    return reasons[0] if reasons and all(reasons) else ""


def inline_key(signed_by: str) -> bytes:
    """Return the key that a deb822 source contains: indented, with a period for an empty line."""
    if KEY_BLOCK not in signed_by:
        return b""
    lines = (line.strip() for line in signed_by.split("\n"))
    return "\n".join("" if line == "." else line for line in lines).encode("latin-1")


def _certificates(data: bytes) -> Iterator[tuple[bytes, list[bytes]]]:
    """Yield the primary keys with the signatures before their subkeys."""
    if len(data) > LARGEST:
        raise ValueError("too large")
    blocks = [data] if is_binary(data) else _BLOCK.findall(data)
    key, is_open = b"", False
    signatures: list[bytes] = []
    for tag, body in (packet for block in blocks for packet in key_packets(block)):
        if tag == PUBLIC_KEY:
            if key:
                yield key, signatures
            key, signatures, is_open = body, [], True
        elif tag == PUBLIC_SUBKEY:
            is_open = False
        elif tag == SIGNATURE and is_open:
            signatures.append(body)
    if key:
        yield key, signatures


def _why(key: bytes, bindings: list[_Binding], today: date, with_sqv: bool) -> str:
    rejected = {1, 3, *({2} if today >= SHA1_ENDS else ())} if with_sqv else set()
    accepted = [each for each in bindings if each.hash not in rejected]
    if bindings and not accepted:
        return f"its own signature uses {WEAK[bindings[-1].hash]}, which is no longer considered secure"
    newest = max(accepted, key=lambda each: each.created, default=None)
    if newest is None or not newest.expires:
        return ""
    end = datetime.fromtimestamp(int.from_bytes(key[1:5], "big") + newest.expires, UTC).date()
    return f"it expired on {end}" if end < today else ""


def _binding(body: bytes, key: bytes) -> _Binding | None:
    """Read a signature of version 4 that the key made on itself; None for any other."""
    if key[0] != 4 or body[0] != 4:
        raise ValueError("a version that is not read here")
    if body[1] not in BINDING:
        return None
    fields: dict[int, bytes] = {}
    at = 4
    for _ in range(2):  # the hashed subpackets, then the others, which may name the issuer only
        end = at + 2 + int.from_bytes(body[at : at + 2], "big")
        at += 2
        while at < end:
            size, at = _length(body, at)
            fields.setdefault(body[at] & 0x7F, body[at + 1 : at + size])
            at += size
    fingerprint = key_fingerprint(key)
    issuer = fields.get(ISSUER_FINGERPRINT, b"")[1:].hex().upper() or fields.get(ISSUER, b"").hex().upper()
    if not issuer or not fingerprint.endswith(issuer):
        return None
    created, expires = (int.from_bytes(fields.get(name, b""), "big") for name in (CREATED, KEY_EXPIRES))
    return _Binding(body[3], created, expires)


def _length(body: bytes, at: int) -> tuple[int, int]:
    if body[at] < 192:
        return body[at], at + 1
    if body[at] < 255:
        return ((body[at] - 192) << 8) + body[at + 1] + 192, at + 2
    return int.from_bytes(body[at + 1 : at + 5], "big"), at + 5
