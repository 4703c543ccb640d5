"""Fingerprints without gpg, checked against gpg's own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bai_wizard.core.facts import Known
from bai_wizard.core.state import Entry
from bai_wizard.pages.docker import catalogue
from bai_wizard.pages.docker.page import PAGE
from bai_wizard.pages.docker.settings import DockerSettings
from bai_wizard.steps.apt_source import key_fault
from bai_wizard.steps.openpgp import armoured, fingerprints
from tests.node.apt_repository import gpg, make_key
from tests.pages.docker.nodes import CONTEXT
from tests.pages.docker.nodes import node as with_engine


def test_dockers_key_that_comes_with_the_wizard_is_the_pinned_one() -> None:
    assert fingerprints(catalogue.key().encode()) == (catalogue.fingerprint(),)
    assert key_fault(catalogue.key().encode(), catalogue.fingerprint()) == ""


@pytest.fixture(scope="module")
def rings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, str, str]]:
    """Two key rings: directory, armoured key, fingerprint as gpg says it."""
    made = {}
    for name in ("one", "two"):
        home = tmp_path_factory.mktemp(name)
        text, fingerprint = make_key(home, f"{name} <{name}@example.test>")
        made[name] = (home, text, fingerprint)
    return made


def test_as_gpg_says(rings: dict[str, tuple[Path, str, str]]) -> None:
    home, text, fingerprint = rings["one"]
    assert fingerprints(text.encode()) == (fingerprint,)
    binary = subprocess.run(["gpg", "--homedir", str(home), "--export"], capture_output=True, check=True).stdout
    assert fingerprints(binary) == (fingerprint,)
    assert armoured(binary) == text, "gpg makes the same text of it"
    machine = with_engine({"file:/root/docker.gpg": Entry("file", 0, 0, 0o644, binary)})
    assert PAGE.probe(machine, DockerSettings(key_file="/root/docker.gpg"), CONTEXT).key == Known(text)


def test_a_second_key_in_the_file_is_not_let_in(rings: dict[str, tuple[Path, str, str]]) -> None:
    both = rings["one"][1] + rings["two"][1]
    assert fingerprints(both.encode()) == (rings["one"][2], rings["two"][2])
    assert "and no other" in key_fault(both.encode(), rings["one"][2])


def test_a_private_key_is_refused(rings: dict[str, tuple[Path, str, str]]) -> None:
    home, _, fingerprint = rings["one"]
    argv = ["gpg", "--homedir", str(home), "--batch", "--pinentry-mode", "loopback", "--export-secret-keys"]
    secret = subprocess.run(argv, capture_output=True, check=True).stdout
    assert "private" in key_fault(secret, fingerprint)
    assert "no OpenPGP key file" in key_fault(gpg(home, "--version").encode(), fingerprint)


@pytest.mark.parametrize(
    "data, said",
    [
        (b"", "no OpenPGP key file"),
        (b"<html>404</html>", "no OpenPGP key file"),
        (b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n????\n-----END PGP PUBLIC KEY BLOCK-----\n", "armour is damaged"),
        (b"\x99\x01", "cut off"),
        (b"\x99\xff\xffabc", "cut off"),
        (b"\x9b", "unknown length"),
        (b"\xb4\x03abc", "no public key"),
    ],
)
def test_what_is_no_key(data: bytes, said: str) -> None:
    assert said in key_fault(data, "F" * 40)
