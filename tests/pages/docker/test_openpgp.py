"""Repository keys: parsed without gpg, compared with gpg, and only the pinned key is trusted."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bai_wizard.core.page import Known
from bai_wizard.core.state import Entry
from bai_wizard.data import read_toml
from bai_wizard.pages.accelerators import nvidia
from bai_wizard.pages.docker import packages
from bai_wizard.pages.docker.plan import PAGE
from bai_wizard.pages.docker.settings import DockerSettings
from bai_wizard.steps.apt_sources import armored, key_fault, pinned_key, public_key
from tests.node.apt_repository import AptRepository, gpg, make_key
from tests.pages.docker.nodes import CONTEXT
from tests.pages.docker.nodes import node as with_engine
from tests.sampling import seed

BLOCK = "PGP PUBLIC KEY BLOCK"
KINDS = (
    "PGP MESSAGE", "PGP SIGNATURE", "PGP PRIVATE KEY BLOCK", "PGP PUBLIC KEY BLOCK ", " PGP PUBLIC KEY BLOCK",
    "PGP MESSAGE, PART 1/2", "PGP SIGNED MESSAGE", "PGP public key block", "PGP ARMORED FILE", "ANYTHING",
)  # fmt: skip


def test_the_keys_that_come_with_the_wizard_are_the_pinned_ones() -> None:
    toolkit = nvidia.toolkit_repository()
    for text, fingerprint in (
        (packages.docker_key(), packages.docker_ce().fingerprint),
        (toolkit.key, toolkit.fingerprint),
    ):
        assert public_key(text.encode())[0] == fingerprint
        assert key_fault(text.encode(), fingerprint) == ""


def test_every_repository_has_a_pinned_key() -> None:
    """Also those whose key is fetched from the network."""
    cuda = read_toml("accelerators.toml")["nvidia"]["repository"]["cuda"]["keys"].values()
    pinned = [
        packages.docker_ce().fingerprint,
        nvidia.toolkit_repository().fingerprint,
        *(key["fingerprint"] for key in cuda),
    ]
    assert [one for one in pinned if not re.fullmatch("[0-9A-F]{40}", one)] == []


@dataclass(frozen=True)
class Ring:
    """A key ring: its directory, the public key as gpg exports it, armored and not, and its fingerprint."""

    home: Path
    text: str
    binary: bytes
    fingerprint: str


@pytest.fixture(scope="module")
def rings(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ring, Ring]:
    """The repository's key, with a subkey, and that of an attacker."""
    made = []
    for name in ("pinned", "attacker"):
        home = tmp_path_factory.mktemp(name)
        _, fingerprint = make_key(home, f"{name} <{name}@example.test>")
        gpg(home, "--passphrase", "", "--quick-add-key", fingerprint, "rsa2048", "sign", "2d")
        made.append(Ring(home, gpg(home, "--armor", "--export"), exported(home, "--export"), fingerprint))
    return made[0], made[1]


def exported(home: Path, *words: str) -> bytes:
    argv = ["gpg", "--homedir", str(home), "--batch", "--pinentry-mode", "loopback", *words]
    return subprocess.run(argv, capture_output=True, check=True).stdout


def test_as_gpg_says(rings: tuple[Ring, Ring]) -> None:
    ring = rings[0]
    assert public_key(ring.text.encode()) == (ring.fingerprint, ring.binary)
    assert public_key(ring.binary) == (ring.fingerprint, ring.binary)
    assert armored(ring.binary) == ring.text, "gpg makes the same text of it"
    machine = with_engine({"file:/root/docker.gpg": Entry("file", 0, 0, 0o644, ring.binary)})
    assert PAGE.probe(machine, DockerSettings(key_file="/root/docker.gpg"), CONTEXT).key == Known(ring.text)


def test_a_private_key_is_refused(rings: tuple[Ring, Ring]) -> None:
    for words in (("--export-secret-keys",), ("--export-secret-subkeys",)):
        assert "private" in key_fault(exported(rings[0].home, *words), rings[0].fingerprint)


@pytest.mark.parametrize(
    "data, output",
    [
        (b"", "not an OpenPGP key file"),
        (b"gpg (GnuPG) 2.4.7\n", "not an OpenPGP key file"),
        (b"<html>404</html>", "not an OpenPGP key file"),
        (b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n????\n-----END PGP PUBLIC KEY BLOCK-----\n", "armor is damaged"),
        (
            b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n-----END PGP PUBLIC KEY BLOCK-----\n",
            "does not start with a public key",
        ),
        (b"\x99\x01", "truncated"),
        (b"\x99\xff\xffabc", "truncated"),
        (b"\x9b", "indeterminate length"),
        (b"\xc6\xe1abc", "partial lengths"),
        (b"\xb4\x03abc", "does not start with a public key"),
        (b"\xb0\x03abc", "packet of type 12"),
        (b"\x98\x03\x06bc", "version other than 4"),
        (b"\x98\x01\x04" * (1 << 20), "larger than"),
    ],
)
def test_invalid_keys(data: bytes, output: str) -> None:
    assert output in key_fault(data, "F" * 40)


def packet(tag: int, body: bytes, *, partial: bool = False) -> bytes:
    """One packet with a header of the new format; `partial` cuts it into two pieces."""
    if not partial:
        return bytes((0xC0 | tag, 0xFF)) + len(body).to_bytes(4, "big") + body
    return bytes((0xC0 | tag, 0xE1)) + body[:2] + b"\xff" + (len(body) - 2).to_bytes(4, "big") + body[2:]


def split(binary: bytes) -> list[bytes]:
    """The packets of a key as gpg exports it: headers of the old format, lengths of one or two bytes."""
    result, at = [], 0
    while at < len(binary):
        width = 1 << (binary[at] & 3)
        end = at + 1 + width + int.from_bytes(binary[at + 1 : at + 1 + width], "big")
        result.append(binary[at:end])
        at = end
    return result


def block(data: bytes, kind: str = BLOCK, *, end: str = "", headers: str = "", checksum: str | None = None) -> str:
    """An armor block with whatever an attacker puts into it."""
    text = b64encode(data).decode()
    lines = "\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    crc = armored(data).splitlines()[-2] if checksum is None else checksum
    return f"-----BEGIN {kind}-----\n{headers}\n{lines}\n{crc}\n-----END {end or kind}-----\n"


def hostile_files(pinned: Ring, attacker: Ring) -> Iterator[tuple[str, bytes]]:
    """Key files that begin like the pinned key and bring the attacker's along in some way."""
    mine, theirs = pinned.text, attacker.text
    for kind in KINDS:
        more = block(attacker.binary, kind)
        yield f"{kind!r} after the key", (mine + more).encode()
        yield f"{kind!r} before the key", (more + mine).encode()
    yield "a second block", (mine + theirs).encode()
    yield "the attacker's block first", (theirs + mine).encode()
    yield "blocks without a line between them", (mine.rstrip("\n") + theirs).encode()
    yield "blocks divided by carriage returns", (mine + theirs).replace("\n", "\r").encode()
    yield "a block behind a form feed", (mine + "\f" + theirs).encode()
    yield "a block behind a line separator", (mine + "\u2028" + theirs).encode()
    yield "a block behind a NUL byte", (mine + "\0\n" + theirs).encode()
    yield "packets after the block", mine.encode() + attacker.binary
    yield "a block after packets", pinned.binary + theirs.encode()
    yield "one block of both", block(pinned.binary + attacker.binary).encode()
    yield "packets of both", pinned.binary + attacker.binary
    yield "after the checksum", mine.replace("-----END", f"{b64encode(attacker.binary).decode()}\n-----END").encode()
    body = "\n".join(theirs.splitlines()[2:-1])
    inside = f"\n{body}\n-----END {BLOCK}-----"
    yield "after the end, without a beginning", f"{mine}{inside}\n".encode()
    comment = f"-----\nComment: -----BEGIN {BLOCK}-----{inside}\n\n"
    yield "in a comment", mine.replace("-----\n\n", comment, 1).encode()
    yield "dash-escaped", f"{mine}- -----BEGIN {BLOCK}-----\n{inside}\n".encode()
    yield "a block that ends as another", (mine + block(attacker.binary, end="PGP MESSAGE")).encode()
    yield "headers that are none", (block(pinned.binary, headers="Signed: no\n") + theirs).encode()
    yield "a wrong checksum", (block(pinned.binary, checksum="=AAAA") + theirs).encode()
    foreign = split(attacker.binary)
    for tag in (*range(64),):
        if tag not in (2, 13, 14, 17):
            yield f"wrapped in packet type {tag}", pinned.binary + packet(tag, attacker.binary)
    yield "partial lengths", pinned.binary + packet(6, foreign[0][3:], partial=True) + b"".join(foreign[1:])
    yield "of indeterminate length", pinned.binary + b"\x9b" + foreign[0][3:]
    yield "a longer length than there is", pinned.binary[:1] + b"\xff\xff" + pinned.binary[3:] + attacker.binary
    for number in range(1, len(split(pinned.binary)) + 1):
        own = split(pinned.binary)
        subkey = packet(14, foreign[0][3:])
        yield f"its key as a subkey without a signature, {number}", b"".join([*own[:number], subkey, *own[number:]])
        copied = [*own[:number], subkey, own[-1], *own[number:]]
        yield f"its key as a subkey with a copied signature, {number}", b"".join(copied)
        yield f"its packets as subkeys, {number}", b"".join([*own[:number], subkey, *foreign[1:], *own[number:]])


def tools() -> dict[str, Callable[[Path, Path, Path], bool]]:
    """The programs that apt has signatures checked by: does one take (key file, signature, text) for good?"""

    def run(*argv: str) -> bool:
        return subprocess.run(argv, capture_output=True, check=False).returncode == 0

    result: dict[str, Callable[[Path, Path, Path], bool]] = {}
    if shutil.which("gpgv"):
        result["gpgv"] = lambda key, signature, text: run("gpgv", "--keyring", str(key), str(signature), str(text))
    if shutil.which("sqv"):
        # How the signature is named depends on sqv's release.
        result["sqv"] = lambda key, signature, text: any(
            run("sqv", "--keyring", str(key), *option, str(signature), str(text))
            for option in ((), ("--signature-file",))
        )
    return result


def test_whatever_a_key_file_brings_along_is_not_trusted(rings: tuple[Ring, Ring], tmp_path: Path) -> None:
    """Each file is refused, or what is written of it is good for the pinned key and for nothing else."""
    pinned, attacker = rings
    text = tmp_path / "text"
    text.write_text("what apt would be told\n")
    for name, ring in (("good", pinned), ("bad", attacker)):
        gpg(ring.home, "--detach-sign", "--output", str(tmp_path / f"{name}.sig"), str(text))
    checkers = tools()
    assert checkers, "gpg brings gpgv along"
    key = tmp_path / "key.gpg"

    def trusts(signature: str) -> list[str]:
        return [name for name, check in checkers.items() if check(key, tmp_path / f"{signature}.sig", text)]

    key.write_bytes(public_key(pinned_key(pinned.text.encode(), pinned.fingerprint))[1])
    assert (trusts("good"), trusts("bad")) == (list(checkers), [])
    key.write_bytes(attacker.binary)
    assert trusts("bad") == list(checkers), "the check of this test does not work"
    kept = 0
    for what, file in hostile_files(pinned, attacker):
        try:
            written = pinned_key(file, pinned.fingerprint)
        except ValueError:
            continue
        kept += 1
        key.write_bytes(public_key(written)[1])
        assert trusts("bad") == [], what
    assert 0 < kept < 20, "only subkeys that are not bound to the key are left to gpgv and sqv"


def test_only_subkeys_of_a_hostile_file_are_ever_written(rings: tuple[Ring, Ring]) -> None:
    pinned, attacker = rings
    taken = [what for what, file in hostile_files(pinned, attacker) if not key_fault(file, pinned.fingerprint)]
    assert all("subkey" in what for what in taken), taken


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: f"\n\n{text}\n \n",
        lambda text: text.replace("\n\n", "\nVersion: GnuPG v2.0.22 (GNU/Linux)\nComment: a: b\n\n", 1),
        lambda text: "\n".join(line for line in text.splitlines() if not line.startswith("=")),
        lambda text: text.replace("\n", " \n"),
    ],
)
def test_the_same_key_is_written_however_it_was_armored(
    rings: tuple[Ring, Ring], change: Callable[[str], str]
) -> None:
    ring = rings[0]
    assert pinned_key(change(ring.text).encode(), ring.fingerprint).decode() == ring.text


def test_damaged_bytes_never_bring_another_key(rings: tuple[Ring, Ring]) -> None:
    """Changed, cut and repeated pieces of a file of two keys: refused, or the pinned key and its own packets."""
    pinned, attacker = rings
    chance = random.Random(f"{seed()}:damaged keys")
    files = [(pinned.text + attacker.text).encode(), pinned.binary + attacker.binary]
    own, others = set(split(pinned.binary)), set(split(attacker.binary))
    for _ in range(2000):
        file = bytearray(chance.choice(files))
        for _ in range(chance.randint(1, 3)):
            at, end = sorted(chance.randrange(len(file)) for _ in range(2))
            if chance.random() < 0.4:
                del file[at:end]
            else:
                file[at : at + 1] = bytes(chance.randrange(256) for _ in range(chance.randint(1, 3)))
        try:
            written = pinned_key(bytes(file), pinned.fingerprint)
        except ValueError:
            continue
        packets = split(public_key(written)[1])
        assert packets[0] == split(pinned.binary)[0]
        assert not any(each[0] >> 2 & 15 == 6 for each in packets[1:])
        # A cut from the one key into the other may leave subkeys of the attacker's, which nothing binds to this key:
        # gpgv and sqv do not take those (see above).
        assert len(set(packets) - own - others) <= 2, "more than what was damaged is neither key's"


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="no apt here")
def test_apt_does_not_trust_a_repository_of_the_attackers(rings: tuple[Ring, Ring], tmp_path: Path) -> None:
    """End to end: apt took the second block of the file for a key, whatever its heading said."""
    pinned = rings[0]
    theirs = AptRepository(tmp_path / "theirs")
    theirs.publish(())
    tmp_path.chmod(0o755)
    binary = public_key(theirs.key.encode())[1]
    file = (pinned.text + block(binary, "PGP MESSAGE")).encode()
    state = tmp_path / "state"
    (state / "lists/partial").mkdir(parents=True)
    key, source = state / "docker.asc", state / "docker.list"

    def is_trusted() -> bool:
        source.write_text(f"deb [signed-by={key}] file:{theirs.root} trixie stable\n")
        settings = {
            "Dir::State": state, "Dir::State::Lists": state / "lists", "Dir::Cache": state, "Dir::Etc": state,
            "Dir::Etc::SourceList": source, "Dir::Etc::SourceParts": "/dev/null",
            "Dir::Etc::TrustedParts": "/dev/null", "APT::Sandbox::User": "root", "Acquire::Languages": "none",
        }  # fmt: skip
        options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
        done = subprocess.run(["apt-get", *options, "update"], capture_output=True, text=True, check=False)
        return done.returncode == 0 and "W: " not in done.stderr

    key.write_text(theirs.key)
    assert is_trusted(), "the check of this test does not work"
    key.write_bytes(file)
    raw = is_trusted()
    key.write_text(pinned.text)
    assert not is_trusted()
    assert raw, "apt does not read such a file as a key any more: find another proof"
    with pytest.raises(ValueError, match="more than one block"):
        pinned_key(file, pinned.fingerprint)
