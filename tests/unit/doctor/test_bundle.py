"""Support bundles contain no known kind of secret, use one pseudonym per name, and can be read back."""

from __future__ import annotations

import json
import tarfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bai_wizard.compose import DesiredState
from bai_wizard.core.errors import AnswersError, PreflightError
from bai_wizard.core.page import Context, Evidence, Finding
from bai_wizard.core.secret import Secret
from bai_wizard.core.state import Account, Key
from bai_wizard.doctor.allowed import allowed
from bai_wizard.doctor.bundle import BundleRefused, collect, listing, read_bundle, scan, write_bundle
from bai_wizard.doctor.drift import DoctorScope
from bai_wizard.doctor.mask import KINDS, Masker, find_secrets
from bai_wizard.engine.lock import StatePaths
from bai_wizard.node.simulated import Environment, SimulatedMachine
from tests.unit.doctor.seeded_failures import BY_KIND, logs, pieces, without

HOST = "gpu-node-17"
# Logs in one bundle: each is an event, a finding and a part of the journal of its own; 500 logs in all.
AT_ONCE = 10


def journal(*logs: str) -> str:
    """The logs as journalctl prints what dockerd said."""
    head = f"2026-01-01T10:00:00+0000 {HOST} dockerd[711]: "
    return "".join(f"{head}{line}\n" for log in logs for line in log.splitlines())


def made(root: Path, *logs: str) -> dict[str, str]:
    """The contents of a bundle whose events, journal and findings hold each of the logs."""
    from bai_wizard.core.machine import Completed

    machine = SimulatedMachine(
        {Key("user", "alice"): Account("alice", 1000, 1000, "", "/home/alice", "/bin/sh")},
        Environment(host=HOST, looks={("journalctl",): Completed(0, journal(*logs), "")}),
    )
    run = root / "var/lib/bai-wizard/runs/20260101T000000Z-abcd"
    run.mkdir(parents=True, exist_ok=True)
    (run / "run.json").write_text('{"kind": "apply"}')
    (run / "settings.json").write_text(json.dumps({"never": "read"}))
    (run / "events.jsonl").write_text("".join(json.dumps({"kind": "log", "text": log}) + "\n" for log in logs))
    findings = [
        Finding("x", "problem", "title", "node", (Evidence("log", "/var/log", log, ""),), cause=log) for log in logs
    ]
    about = DoctorScope(DesiredState({}, (), Context(host=HOST)), {})
    contents, _ = collect(machine, StatePaths(root), about, findings)
    return contents


# Ten logs at once are found again by their seed; making them smaller takes longer than it tells.
@settings(
    max_examples=500 // AT_ONCE,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
@given(st.lists(logs(), min_size=AT_ONCE, max_size=AT_ONCE))
def test_no_seeded_secret_is_in_any_bundle(tmp_path: Path, drawn: list[tuple[str, tuple[str, ...]]]) -> None:
    contents = made(tmp_path, *(log for log, _ in drawn))
    scan(contents)
    everything = "\n".join(contents.values())
    # Chance may draw a word that every bundle may show (`containers`): it tells nothing. Passphrases of such words
    # are the subject of test_a_passphrase_of_ordinary_words_is_hidden.
    ordinary = "\n".join((*made(tmp_path, "").values(), *(without(log, secrets) for log, secrets in drawn)))
    for _, secrets in drawn:
        for secret in secrets:
            for chunk in pieces(secret):
                assert chunk not in everything or chunk in ordinary or allowed(chunk) == (chunk, 0), chunk


def test_every_kind_that_is_known_is_seeded() -> None:
    assert set(BY_KIND) == {*KINDS, "random letters"}


@pytest.mark.parametrize("kind", BY_KIND)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_each_kind_is_recognized(kind: str, data: st.DataObject) -> None:
    """By its own pattern: another kind may find the same one as well, and none of them is there in vain."""
    secret, line = data.draw(BY_KIND[kind])
    assert any(result.kind == kind for result in find_secrets(line)), line
    assert secret not in Masker([]).text(line)


def test_long_words_are_searched_in_time() -> None:
    """A log may hold a word, or a line, of half a megabyte."""
    begun = time.process_time()
    for piece in ("a", "aB1/", "a.", "-", "a:", '"', "docker login ", "password ", " ", "://a@", "\\", " -u a"):
        list(find_secrets(piece * (200_000 // len(piece))))
    assert time.process_time() - begun < 30


def test_secrets_of_the_answers_are_masked_in_any_form(tmp_path: Path) -> None:
    word = 'corn "flakes" ümlaut'
    Secret(word)
    contents = made(tmp_path, f"said {word} and {json.dumps(word)}")
    everything = "\n".join(contents.values())
    assert "flakes" not in everything
    assert "2 × secret from the answers" in json.loads(contents["redactions.json"])["logs/docker.log"]


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
    assert [result.kind for result in find_secrets(line)] == []


def test_written_for_its_owner_and_read_back(tmp_path: Path) -> None:
    file = tmp_path / "bundle.tar.gz"
    contents = made(tmp_path, f"{HOST} failed: token=abcdefghijkl123")
    write_bundle(str(file), contents)
    assert file.stat().st_mode & 0o777 == 0o600
    with tarfile.open(file) as archive:
        assert {member.mode for member in archive} == {0o600}
    bundle = read_bundle(str(file))
    assert bundle.contents == contents
    assert bundle.findings[0].id == "x"
    assert bundle.about["host"] == "host-1"
    assert any("hidden" in line for line in listing(contents))
    with pytest.raises(PreflightError, match="exists"):
        write_bundle(str(file), contents)


@pytest.mark.parametrize("form", ["text", "link", "other-archive"])
def test_an_invalid_bundle_is_refused(tmp_path: Path, form: str) -> None:
    file = tmp_path / "b.tar.gz"
    if form == "text":
        file.write_text("hello")
    else:
        with tarfile.open(file, "w:gz") as archive:
            entry = tarfile.TarInfo("bai-wizard-bundle/about.json")
            if form == "link":
                entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/shadow"
            archive.addfile(entry)
    with pytest.raises(AnswersError, match="is not a support bundle"):
        read_bundle(str(file))
