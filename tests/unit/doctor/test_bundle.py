"""No secret of any kind we know gets into a bundle; names get one stand-in each; what is written can be read back."""

from __future__ import annotations

import json
import tarfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bai_wizard.compose import Wish
from bai_wizard.core.context import Context
from bai_wizard.core.errors import PreflightError
from bai_wizard.core.finding import Evidence, Finding
from bai_wizard.core.secret import Secret
from bai_wizard.core.state import Account, Key
from bai_wizard.doctor.asked import Asked
from bai_wizard.doctor.bundle import BundleRefused, listing, read_bundle, scan, write_bundle
from bai_wizard.doctor.collect import collect
from bai_wizard.doctor.mask import Masker
from bai_wizard.doctor.secrets import KINDS, find
from bai_wizard.engine.run.places import Places
from bai_wizard.machine.simulated import SimulatedMachine, Surroundings
from tests.unit.doctor.planted import BY_KIND, logs, pieces, without

HOST = "gpu-node-17"
# Logs in one bundle: each is an event, a finding and a part of the journal of its own; 500 logs in all.
AT_ONCE = 10


def made(root: Path, *logs: str) -> dict[str, str]:
    """The contents of a bundle whose events, journal and findings hold each of the logs."""
    from bai_wizard.core.machine import Completed

    machine = SimulatedMachine(
        {Key("user", "alice"): Account("alice", 1000, 1000, "", "/home/alice", "/bin/sh")},
        Surroundings(host=HOST, looks={("journalctl",): Completed(0, "".join(logs), "")}),
    )
    run = root / "var/lib/bai-wizard/runs/20260101T000000Z-abcd"
    run.mkdir(parents=True, exist_ok=True)
    (run / "run.json").write_text('{"kind": "apply"}')
    (run / "settings.json").write_text(json.dumps({"never": "read"}))
    (run / "events.jsonl").write_text("".join(json.dumps({"kind": "log", "text": log}) + "\n" for log in logs))
    findings = [
        Finding("x", "problem", "title", "node", (Evidence("log", "/var/log", log, ""),), cause=log) for log in logs
    ]
    about = Asked(Wish({}, (), Context(host=HOST)), {})
    contents, _ = collect(machine, Places(root), about, findings)
    return contents


# Ten logs at once are found again by their seed; making them smaller takes longer than it tells.
@settings(
    max_examples=500 // AT_ONCE,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
@given(st.lists(logs(), min_size=AT_ONCE, max_size=AT_ONCE))
def test_no_planted_secret_is_in_any_bundle(tmp_path: Path, drawn: list[tuple[str, tuple[str, ...]]]) -> None:
    contents = made(tmp_path, *(log for log, _ in drawn))
    scan(contents)
    everything = "\n".join(contents.values())
    # Chance may draw a word that stands there anyway («containers»): found again, it tells nothing.
    ordinary = "\n".join((*made(tmp_path, "").values(), *(without(log, secrets) for log, secrets in drawn)))
    for _, secrets in drawn:
        for secret in secrets:
            for piece in pieces(secret):
                assert piece not in everything or piece in ordinary, piece


def test_every_kind_that_is_known_is_planted() -> None:
    assert set(BY_KIND) == {kind.name for kind in KINDS} | {"random letters"}


@pytest.mark.parametrize("kind", BY_KIND)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_each_is_known_for_what_it_is(kind: str, data: st.DataObject) -> None:
    """By its own pattern: another kind may find the same one as well, and none of them is there in vain."""
    secret, line = data.draw(BY_KIND[kind])
    assert any(found.kind == kind for found in find(line)), line
    assert secret not in Masker([]).text(line)


def test_long_words_are_looked_through_in_time() -> None:
    """A log may hold a word, or a line, of half a megabyte."""
    begun = time.monotonic()
    for piece in ("a", "aB1/", "a.", "-", "a:", '"', "docker login ", "password ", " ", "://a@", "\\", " -u a"):
        list(find(piece * (200_000 // len(piece))))
    assert time.monotonic() - begun < 30


def test_secrets_of_the_answers_have_no_form_of_their_own(tmp_path: Path) -> None:
    word = 'corn "flakes" ümlaut'
    Secret(word)
    contents = made(tmp_path, f"said {word} and {json.dumps(word)}")
    everything = "\n".join(contents.values())
    assert "flakes" not in everything
    assert "2 × secret of the answers" in json.loads(contents["redactions.json"])["logs/docker.log"]


def test_a_secret_that_slipped_through_stops_the_writing(tmp_path: Path) -> None:
    file = tmp_path / "bundle.tar.gz"
    with pytest.raises(BundleRefused) as refused:
        write_bundle(str(file), {"facts.json": "fine\npassword=hunter2hunter2\n"})
    assert "facts.json, line 2" in str(refused.value)
    assert "hunter2" not in str(refused.value)
    assert not file.exists()


def test_the_same_name_gets_the_same_stand_in_everywhere() -> None:
    masker = Masker([(HOST, "host"), ("alice", "user"), ("harbor.corp", "registry")])
    text = f"{HOST}: alice from 10.20.30.40 pulled harbor.corp/a; {HOST.upper()} asked 10.20.30.40 and fe80::1:2"
    masked = masker.text(text)
    assert masked == ("host-1: user-1 from address-1 pulled registry-1/a; host-1 asked address-1 and address-2")
    assert masker.text("alice at 127.0.0.1, version 5:29.1.2-1, at 12:00:01") == (
        "user-1 at 127.0.0.1, version 5:29.1.2-1, at 12:00:01"
    )


@pytest.mark.parametrize(
    "line",
    [
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "Setting up linux-modules-nvidia-580-server-open-6.8.0-45-generic (6.8.0-45.45) ...",
        "/usr/lib/python3/dist-packages/CommandNotFound/db/__pycache__/DbCreator.cpython-312.pyc",
        "docker.service: Main process exited, code=exited, status=1/FAILURE",
        "authentication is not configured",
        "the password of alice has expired in 12 days, the token is over",
        "docker run -u 1100:1100 --name x harbor.corp/x",
        "docker login succeeded; community edition 5.1.2",
        "mysql is already the newest version (8.0.40-0ubuntu0.24.04.1).",
        "https://download.docker.com/linux/ubuntu noble InRelease",
        '{"password": "***"}',
    ],
)
def test_ordinary_lines_stay_readable(line: str) -> None:
    assert [found.kind for found in find(line)] == []


def test_written_for_its_owner_and_read_back(tmp_path: Path) -> None:
    file = tmp_path / "bundle.tar.gz"
    contents = made(tmp_path, f"{HOST} failed: token=abcdefghijkl123")
    write_bundle(str(file), contents)
    assert file.stat().st_mode & 0o777 == 0o600
    bundle = read_bundle(str(file))
    assert bundle.contents == contents
    assert bundle.findings[0].id == "x"
    assert bundle.about["host"] == "host-1"
    assert any("hidden" in line for line in listing(contents))
    with pytest.raises(PreflightError, match="exists"):
        write_bundle(str(file), contents)


@pytest.mark.parametrize("form", ["text", "link", "other-archive"])
def test_what_is_no_bundle_is_refused(tmp_path: Path, form: str) -> None:
    file = tmp_path / "b.tar.gz"
    if form == "text":
        file.write_text("hello")
    else:
        with tarfile.open(file, "w:gz") as archive:
            entry = tarfile.TarInfo("bai-wizard-bundle/about.json")
            if form == "link":
                entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/shadow"
            archive.addfile(entry)
    with pytest.raises(PreflightError, match="no bundle"):
        read_bundle(str(file))
