"""Fingerprints of the OpenPGP keys in a key file, armoured or binary, without gpg."""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as BadBase64
from collections.abc import Iterator
from hashlib import sha1

PUBLIC_KEY = 6
PRIVATE_KEY = 5
END = "-----END PGP PUBLIC KEY BLOCK-----"


def fingerprints(data: bytes) -> tuple[str, ...]:
    """The fingerprints of the primary keys, upper-case hex, in the order of the file.

    Raises ValueError on what is no file of public keys. RFC 4880, sections 4.2 (packets), 6.2 (armour) and 12.2.
    """
    binary = data if is_binary(data) else b"".join(_unarmoured(data))
    found = []
    for tag, body in _packets(binary):
        if tag == PRIVATE_KEY:
            raise ValueError("it holds a private key")
        if tag == PUBLIC_KEY:
            if body[:1] != b"\x04":
                raise ValueError("it holds a key of a version other than 4")
            digest = sha1(b"\x99" + len(body).to_bytes(2, "big") + body, usedforsecurity=False)
            found.append(digest.hexdigest().upper())
    if not found:
        raise ValueError("it holds no public key")
    return tuple(found)


def is_binary(data: bytes) -> bool:
    """True for a file that begins with a packet instead of armour."""
    return bool(data[:1]) and bool(data[0] & 0x80)


def armoured(data: bytes) -> str:
    """Packets as text (RFC 4880, section 6.2), as apt wants a key whose file is called `.asc`."""
    text = b64encode(data).decode()
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    check = b64encode(_crc24(data).to_bytes(3, "big")).decode()
    return "\n".join(["-----BEGIN PGP PUBLIC KEY BLOCK-----", "", *lines, f"={check}", f"{END}\n"])


def _crc24(data: bytes) -> int:
    """Section 6.1."""
    crc = 0xB704CE
    for byte in data:
        crc ^= byte << 16
        for _ in range(8):
            crc <<= 1
            if crc & 0x1000000:
                crc ^= 0x1864CFB
    return crc


def _unarmoured(data: bytes) -> Iterator[bytes]:
    lines = iter(data.decode("ascii", errors="replace").splitlines())
    blocks = 0
    for line in lines:
        if line.strip() != "-----BEGIN PGP PUBLIC KEY BLOCK-----":
            continue
        blocks += 1
        body = []
        for inner in lines:
            if inner.startswith("-----END") or inner.startswith("="):
                break
            if ":" in inner:
                continue
            body.append(inner.strip())
        try:
            yield b64decode("".join(body), validate=True)
        except BadBase64 as error:
            raise ValueError("its armour is damaged") from error
    if not blocks:
        raise ValueError("it is no OpenPGP key file")


def _packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        header = data[at]
        if not header & 0x80:
            raise ValueError("it is damaged: a packet without its mark")
        at += 1
        if header & 0x40:
            tag = header & 0x3F
            length, at = _new_length(data, at)
        else:
            tag = (header >> 2) & 0x0F
            width = (1, 2, 4, 0)[header & 0x03]
            if not width:
                raise ValueError("it holds a packet of unknown length")
            length, at = int.from_bytes(data[at : at + width], "big"), at + width
        if at + length > len(data):
            raise ValueError("it is cut off")
        yield tag, data[at : at + length]
        at += length


def _new_length(data: bytes, at: int) -> tuple[int, int]:
    first = data[at] if at < len(data) else 0
    if first < 192:
        return first, at + 1
    if first < 224 and at + 1 < len(data):
        return ((first - 192) << 8) + data[at + 1] + 192, at + 2
    if first == 255:
        return int.from_bytes(data[at + 1 : at + 5], "big"), at + 5
    raise ValueError("it holds a packet in pieces")
