"""Sources of apt and their OpenPGP signing keys."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error as BadBase64
from collections.abc import Iterator
from posixpath import dirname, join, normpath
from typing import ClassVar

from msgspec.structs import replace

from bai_wizard.core.errors import StateUnknown, StepBlocked
from bai_wizard.core.machine import NodeView
from bai_wizard.core.operation import Below, Operation, Scope
from bai_wizard.core.parse import comment, deb822_words, whole
from bai_wizard.core.state import file_key
from bai_wizard.core.step import Step
from bai_wizard.node.error_hints import find_hint
from bai_wizard.resources.files import MakeDirectory, RemovePath, WriteFile
from bai_wizard.steps.apt_grammar import ARCHITECTURE, TOLERANT, Fault, Reader, Source, same_repository

SIGNATURE = 2
PRIVATE_KEYS = (5, 7)
PUBLIC_KEY = 6
USER_ID = 13
PUBLIC_SUBKEY = 14
USER_ATTRIBUTE = 17
# The packets of a public key and their order (RFC 4880, section 11.1).
TAGS = {PUBLIC_KEY: "K", SIGNATURE: "S", USER_ID: "U", USER_ATTRIBUTE: "U", PUBLIC_SUBKEY: "B"}
ORDER = re.compile("KS*(US*)+(BS+)*")
BEGIN = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
END = "-----END PGP PUBLIC KEY BLOCK-----"
HEADER = re.compile(r"(?:Version|Comment|MessageID|Hash|Charset):(?: .*)?")
NO_KEY_FILE = "it is not an OpenPGP key file"
# Bytes; keys with hundreds of third-party signatures are smaller.
LARGEST = 1 << 20


def public_key(data: bytes) -> tuple[str, bytes]:
    """Return the fingerprint of the only key in a file, in upper-case hex, and its packets, serialized by us.

    Raises ValueError for a file that contains anything else: a second key, a secret key, another packet, an armor
    block of another kind, text before or after the block. RFC 4880, sections 4.2 (packets), 6.2 (armor) and 12.2.
    """
    if len(data) > LARGEST:
        raise ValueError(f"it is larger than {LARGEST >> 10} KiB")
    packets = list(key_packets(data))
    for number, (tag, body) in enumerate(packets):
        if tag in PRIVATE_KEYS:
            raise ValueError("it contains a private key")
        if tag not in TAGS:
            raise ValueError(f"it contains a packet of type {tag}, which a public key does not have")
        if tag in (PUBLIC_KEY, PUBLIC_SUBKEY) and body[:1] != b"\x04":
            raise ValueError("it contains a key of a version other than 4")
        if tag == PUBLIC_KEY and number:
            raise ValueError(f"it contains a second key, {key_fingerprint(body)}; exactly one is expected")
    if not packets or packets[0][0] != PUBLIC_KEY:
        raise ValueError("it does not start with a public key")
    if not ORDER.fullmatch("".join(TAGS[tag] for tag, _ in packets)):
        raise ValueError("its packets are not in the order required for a public key")
    return key_fingerprint(packets[0][1]), b"".join(_serialized(tag, body) for tag, body in packets)


def key_packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the type and the content of each packet of a binary or armored file. Raises ValueError if damaged."""
    return _packets(data if is_binary(data) else _dearmored(data))


def is_binary(data: bytes) -> bool:
    """Whether a file begins with a packet instead of armor."""
    return bool(data[:1]) and bool(data[0] & 0x80)


def armored(data: bytes) -> str:
    """Return packets as text (RFC 4880, section 6.2), as apt requires for a key file called `.asc`."""
    text = b64encode(data).decode()
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return "\n".join([BEGIN, "", *lines, f"={_checksum(data)}", f"{END}\n"])


def key_fingerprint(body: bytes) -> str:
    """Compute the fingerprint of a version 4 key (section 12.2)."""
    from hashlib import sha1

    return sha1(b"\x99" + len(body).to_bytes(2, "big") + body, usedforsecurity=False).hexdigest().upper()


def _checksum(data: bytes) -> str:
    """Compute the CRC-24 as written in armor (section 6.1)."""
    crc = 0xB704CE
    for byte in data:
        crc ^= byte << 16
        for _ in range(8):
            crc <<= 1
            if crc & 0x1000000:
                crc ^= 0x1864CFB
    return b64encode(crc.to_bytes(3, "big")).decode()


def _dearmored(data: bytes) -> bytes:
    """Return the content of the only block in the text."""
    try:
        lines = [line.strip(" \t\r") for line in data.decode("ascii").strip(" \t\r\n").split("\n")]
    except UnicodeDecodeError:
        raise ValueError(NO_KEY_FILE) from None
    if BEGIN not in lines:
        raise ValueError(NO_KEY_FILE)
    if lines[0] != BEGIN or lines[-1] != END or any("-----" in line for line in lines[1:-1]):
        raise ValueError("it contains more than one block, or text before or after the key block")
    inner = lines[1:-1]
    while inner and HEADER.fullmatch(inner[0]):
        inner.pop(0)
    if not inner or inner.pop(0):
        raise ValueError("its armor is damaged: the empty line before the key is missing")
    checksum = inner.pop() if inner and inner[-1].startswith("=") else ""
    try:
        result = b64decode("".join(inner), validate=True)
    except BadBase64 as error:
        raise ValueError("its armor is damaged") from error
    if checksum and checksum != f"={_checksum(result)}":
        raise ValueError("its armor is damaged: the checksum does not match")
    return result


def _packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        header = data[at]
        if not header & 0x80:
            raise ValueError("it is damaged: a packet without its tag")
        at += 1
        if header & 0x40:
            tag = header & 0x3F
            length, at = _new_length(data, at)
        else:
            tag = (header >> 2) & 0x0F
            width = (1, 2, 4, 0)[header & 0x03]
            if not width:
                raise ValueError("it contains a packet of indeterminate length")
            length, at = int.from_bytes(data[at : at + width], "big"), at + width
        if at + length > len(data):
            raise ValueError("it is truncated")
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
    raise ValueError("it contains a packet with partial lengths")


def _serialized(tag: int, body: bytes) -> bytes:
    """Serialize a packet with the shortest old-format header, like gpg; the new format if the tag requires it."""
    size = len(body)
    if tag > 15:
        return bytes((0xC0 | tag, 0xFF)) + size.to_bytes(4, "big") + body
    kind, width = (0, 1) if size < 1 << 8 else (1, 2) if size < 1 << 16 else (2, 4)
    return bytes((0x80 | tag << 2 | kind,)) + size.to_bytes(width, "big") + body


MAIN_LIST = "/etc/apt/sources.list"
DIRECTORY = "/etc/apt/sources.list.d"
# A file may contain the product of its URIs and suites.
MAX_SOURCES = 10_000
# dpkg's names of those that Backend.AI supports, by the kernel's.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
# The names that apt reads in the directory.
NAME = re.compile(r"[A-Za-z0-9_:-][A-Za-z0-9_:.-]*\.(?:list|sources)")


def apt_version(view: NodeView) -> tuple[int, ...]:
    """Return the installed version of apt; a current one if that cannot be told."""
    package = view.package("apt")
    number = re.match(r"\d+(?:\.\d+)*", package.version) if package is not None else None
    return tuple(map(whole, number[0].split("."))) if number else TOLERANT


def native_architecture(view: NodeView) -> str:
    """Return the architecture that apt substitutes for $(ARCH), which is that of dpkg; empty if unknown."""
    return next((name for name in ARCHITECTURES.values() if view.package(f"dpkg:{name}") is not None), "")


def read_all_sources(view: NodeView) -> Reader:
    """Return all enabled repositories, and why apt reads none of them if it does not."""
    version = apt_version(view)
    names = sorted(name for name in view.names(DIRECTORY) if NAME.fullmatch(name))
    reader = Reader(native_architecture(view), version)
    for path in (MAIN_LIST, *(f"{DIRECTORY}/{name}" for name in names)):
        entry = view.entry(path)
        if entry is not None and entry.type == "link" and entry.target:
            entry = view.entry(normpath(join(dirname(path), entry.target)))
        if entry is not None and entry.type == "file":
            reader.read(path, entry.content or b"")
        if len(reader.sources) > MAX_SOURCES:
            raise StateUnknown(f"{path} lists more than {MAX_SOURCES} repositories")
    return reader


def apt_sources(view: NodeView) -> tuple[Source, ...]:
    """Return all enabled repositories."""
    return tuple(replace(source, uri=normal_uri(source.uri)) for source in read_all_sources(view).sources)


def why_unreadable(fault: Fault) -> str:
    """Explain in one sentence why apt reads no list at all."""
    hint = find_hint("apt", fault.text)
    return f"{fault.path}, line {fault.line}: {hint.text if hint else fault.text}"


def normal_uri(uri: str) -> str:
    """Normalize an address as apt compares it: without the trailing slash."""
    return uri.rstrip("/")


class AptKey(Step, frozen=True, kw_only=True):
    """Put a repository's key where the _apt user can read it. An existing file with the pinned fingerprint stays.

    `text` is the armored key; empty if it could not be obtained, in which case `missing` explains why.
    """

    kind: ClassVar[str] = "apt-key"
    path: str
    text: str
    fingerprint: str
    missing: str = ""

    def describe(self) -> str:
        return f"{self.path}: signing key {short_fingerprint(self.fingerprint)} of the repository"

    def scope(self) -> tuple[Scope, ...]:
        return (file_key(self.path), file_key(dirname(self.path)))

    def operations(self, view: NodeView) -> Iterator[Operation]:
        content = self._content(view)
        yield MakeDirectory(dirname(self.path))
        yield WriteFile(self.path, content)

    def _content(self, view: NodeView) -> bytes:
        existing = view.entry(self.path)
        if existing is not None and existing.type != "file":
            raise StepBlocked(f"{self.path} is a {existing.type}, not a key file")
        kept = existing.content if existing is not None else None
        # apt goes by the file name: a file called `.asc` has to be armored.
        if kept is not None and not is_binary(kept) and key_fault(kept, self.fingerprint) == "":
            return kept
        if not self.text:
            raise StepBlocked(f"the key {short_fingerprint(self.fingerprint)} is not available: {self.missing}")
        try:
            return pinned_key(self.text.encode(), self.fingerprint)
        except ValueError as error:
            reason = f"the key for {self.path} is not the expected one: {error}"
            raise StepBlocked(reason) from error


def pinned_key(data: bytes, fingerprint: str) -> bytes:
    """Return the pinned key from a key file, armored by us: nothing else in the file gets to where apt reads it.

    Raises ValueError, with the reason, if the file is not exactly the pinned key.
    """
    result, packets = public_key(data)
    if result != fingerprint:
        raise ValueError(
            f"it contains the key {short_fingerprint(result)} instead of {short_fingerprint(fingerprint)}"
        )
    return armored(packets).encode()


def key_fault(data: bytes, fingerprint: str) -> str:
    """Explain why a key file is not exactly the pinned key; empty if it is."""
    try:
        pinned_key(data, fingerprint)
    except ValueError as error:
        return str(error)
    return ""


def short_fingerprint(fingerprint: str) -> str:
    """Return the last 16 digits in groups of four."""
    tail = fingerprint[-16:]
    return " ".join(tail[at : at + 4] for at in range(0, len(tail), 4))


class AptSource(Step, frozen=True, kw_only=True):
    """Define one repository in the wizard's own deb822 file.

    apt would refuse all sources if another file named the same repository with a different key. Such a file is
    removed if it names nothing else (undo restores it); otherwise this blocks and says which line to remove.
    """

    kind: ClassVar[str] = "apt-source"
    path: str
    uri: str
    suite: str
    components: tuple[str, ...]
    architectures: tuple[str, ...]
    signed_by: str
    why: str

    def describe(self) -> str:
        return f"{self.path}: {self.why}"

    def scope(self) -> tuple[Scope, ...]:
        return (file_key(self.path), Below(file_key("/etc/apt/sources.list.d")))

    def operations(self, view: NodeView) -> Iterator[Operation]:
        for path in self._superseded(view):
            yield RemovePath(path)
        yield WriteFile(self.path, self.text().encode())

    def text(self) -> str:
        """Return the content of the file."""
        lines = [
            f"# Written by bai-wizard: {comment(self.why)}.",
            "Types: deb",
            f"URIs: {deb822_words([self.uri])}",
            f"Suites: {deb822_words([self.suite])}",
            *([f"Components: {deb822_words(self.components)}"] if self.components else []),
            *([f"Architectures: {deb822_words(self.architectures)}"] if self.architectures else []),
            f"Signed-By: {deb822_words([self.signed_by])}",
        ]
        return "\n".join(lines) + "\n"

    def _superseded(self, view: NodeView) -> tuple[str, ...]:
        everything = apt_sources(view)
        uri = self.uri.replace(ARCHITECTURE, native_architecture(view))
        accepts_no_key = apt_version(view) >= TOLERANT
        same = [
            source
            for source in everything
            if source.path != self.path
            and same_repository(source, normal_uri(uri), self.suite)
            and source.signed_by != self.signed_by
            and (source.signed_by or not accepts_no_key)
        ]
        removable = []
        for path in dict.fromkeys(source.path for source in same):
            others = [source for source in everything if source.path == path and source not in same]
            if others or path == MAIN_LIST:
                raise StepBlocked(
                    f"{path} lists {self.uri} {self.suite} with another key, and other repositories too. Remove that"
                    " entry, then try again"
                )
            removable.append(path)
        return tuple(removable)
