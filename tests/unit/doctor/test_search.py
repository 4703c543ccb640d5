"""Symptom search: error messages lead to their causes despite varying details, and messages with several causes."""

from __future__ import annotations

import errno
import os
import re
import time
import tomllib
from pathlib import Path

import pytest

from bai_wizard.core.page import Finding
from bai_wizard.core.step import Plan
from bai_wizard.doctor.run import known_checks
from bai_wizard.doctor.search import (
    Match,
    candidate_lines,
    candidates,
    decide,
    deciding,
    known_failures,
    likely,
    rank,
)

SAID = {
    "could not select device driver": "accelerators.nvidia-docker-no-driver",
    'docker: Error response from daemon: could not select device driver "nvidia" with capabilities: [[gpu]].': (
        "accelerators.nvidia-docker-no-driver"
    ),
    "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 570.86": (
        "accelerators.nvidia-lib-mismatch"
    ),
    "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 4242 (apt-get)": "node.apt-lock-held",
    "mount.nfs: access denied by server while mounting nas7:/export/vol9": "storage.nfs-access-denied",
    "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem.": (
        "node.dpkg-interrupted"
    ),
    "[  12.3] NVRM: Xid (PCI:0000:0a:00): 79, pid=1, GPU has fallen off the bus.": "accelerators.nvidia-xid79",
    'unable to configure the Docker daemon with file /opt/d.json: invalid character "]" looking for beginning of'
    " object key string": "docker.daemon-json-syntax",
    "client version 1.41 is too old. Minimum supported API version is 1.44": "docker.api-too-old",
    "error: externally-managed-environment": "python.pip-externally-managed",
    "RuntimeError: cudaErrorSystemNotReady": "accelerators.nvidia-fabricmanager-missing",
    "x509: certificate signed by unknown authority": "images.pull-x509",
}


@pytest.mark.parametrize("text, id", SAID.items())
def test_pasted_messages_find_their_failure(text: str, id: str) -> None:
    result = likely(text)
    assert result is not None
    assert result.id == id


HERE = Path(__file__).parent
PRINTED = {
    id: tuple(table["texts"])
    for id, table in tomllib.loads((HERE / "error_texts.toml").read_text(encoding="utf-8")).items()
}
HEALTHY = (HERE / "healthy_logs.txt").read_text(encoding="utf-8")


def first(text: str) -> str:
    return next((match.failure.id for match in rank(text)), "nothing")


def in_a_journal(text: str) -> str:
    """The same message as a colored journal of another node has it."""
    prefix = "\x1b[31m2026-11-30T23:59:58+0900 node-7.example.org prog[31337]: "
    return "\n".join(f"{prefix}{line}\x1b[0m" for line in text.splitlines())


@pytest.mark.parametrize("id", PRINTED)
def test_what_programs_print_finds_its_failure_or_nothing(id: str) -> None:
    assert [(text, first(text)) for text in PRINTED[id] if first(text) != id] == []


@pytest.mark.parametrize("id", sorted(PRINTED.keys() - {"nothing"}))
def test_a_message_is_found_in_the_log_of_a_healthy_node(id: str) -> None:
    missing = []
    for text in PRINTED[id]:
        log = f"{HEALTHY}\n{in_a_journal(re.sub(r'(?<=[ /])gpu01', 'node-7', text))}\n{HEALTHY}"
        if first(log) != id:
            missing.append((text, first(log)))
    assert missing == []


def test_logs_of_healthy_nodes_match_nothing() -> None:
    lines = HEALTHY.splitlines()
    assert len(lines) >= 200
    assert [(line, first(line)) for line in lines if rank(line)] == []
    assert first(HEALTHY) == "nothing"


def test_the_sentence_of_an_error_number_alone_matches_nothing() -> None:
    telling = {
        "Too many open files in system",
        "No space left on device",
        "Stale file handle",
        "Too many open files",
        "Address already in use",
    }
    telling |= {
        "Disk quota exceeded",
        "Exec format error",
        "Required key not available",
        "Key was rejected by service",
    }
    for number in errno.errorcode:
        sentence = os.strerror(number)
        for text in (sentence, sentence.lower(), f"open /x/y: {sentence}", f"prog: [Errno {number}] {sentence}: 'f'"):
            if sentence not in telling:
                assert first(text) == "nothing", text


@pytest.mark.parametrize("text", ["", "everything is fine", "Starting Docker Application Container Engine…", "error"])
def test_ordinary_words_match_nothing(text: str) -> None:
    assert rank(text) == ()


def test_every_known_text_finds_its_own_failure() -> None:
    missing = [
        (failure.id, text)
        for failure in known_failures()
        for text in failure.texts
        if failure.id not in {match.failure.id for match in rank(text.replace("<…>", "thing"))}
    ]
    assert missing == []


def test_one_text_several_causes_decided_by_probes() -> None:
    matches = candidates("write /srv/x: no space left on device")
    assert {"docker.disk-full", "node.inodes-exhausted"} <= {match.failure.id for match in matches}
    full = [
        Finding("node.inodes-exhausted", "problem", "no entries left"),
        Finding("node.disk-space", "ok", "room"),
        Finding("docker.disk-full", "ok", "room"),
    ]
    decided = decide(matches, full)
    assert (decided[0].failure.id, decided[0].state) == ("node.inodes-exhausted", "confirmed")
    other = [Finding(finding.id, "ok", "") for finding in full]
    other[1] = Finding("node.disk-space", "problem", "full")
    confirmed = [each.failure.id for each in decide(matches, other) if each.state == "confirmed"]
    assert confirmed == ["node.disk-space", "docker.disk-full"]


@pytest.mark.parametrize(
    "page, id", [("images", "docker.disk-full"), ("docker", "node.disk-space"), ("", "node.disk-space")]
)
def test_of_equal_causes_the_one_of_the_failing_page_is_likely(page: str, id: str) -> None:
    result = likely("apt-get: No space left on device: /var/cache/apt/archives", page)
    assert result is not None
    assert result.id == id


def test_one_cause_several_texts_is_named_once() -> None:
    text = "failed to create fsnotify watcher: too many open files"
    text += "\nFailed to allocate directory watch: Too many open files"
    result = [match.failure.id for match in rank(text)]
    assert result.count("tuning.inotify-limits") == 1
    assert result[0] == "tuning.inotify-limits"


def test_a_probe_that_cannot_tell_excludes_nothing() -> None:
    matches = [
        match for match in candidates("no space left on device") if match.failure.id == "node.inodes-exhausted"
    ]
    assert decide(matches, [Finding("node.inodes-exhausted", "cannot-tell", "")])[0].state == "open"
    assert decide(matches, [Finding("node.inodes-exhausted", "ok", "")])[0].state == "excluded"


def test_a_root_cause_is_reported_with_its_dependents() -> None:
    """Versions cannot be compared while no module is loaded: that has to be fixed first."""
    matches = candidates("Failed to initialize NVML: Driver/library version mismatch")
    asked = {check.id for check in deciding(matches, known_checks())}
    assert {
        "accelerators.nvidia-lib-mismatch",
        "accelerators.nvidia-module-missing",
        "accelerators.nvidia-nouveau",
    } <= asked
    assert not {"tuning.sysctl-quoted-value", "docker.not-running"} & asked, "just the probes that decide"
    match = matches[0]
    assert match.failure.id == "accelerators.nvidia-lib-mismatch"
    silent = Finding(
        "accelerators.nvidia-lib-mismatch", "not-applicable", "", suppressed_by="accelerators.nvidia-module-missing"
    )
    cause = Finding(
        "accelerators.nvidia-module-missing", "problem", "The module is not loaded", cause="A new kernel."
    )
    (result,) = decide([match], [silent, cause])
    assert (result.state, result.findings) == ("waits", (silent, cause))
    message = "\n".join(candidate_lines([result, result], lambda finding: Plan("")))
    assert message.count("A new kernel.") == 1
    assert "blocked by another problem" in message


def test_needs_of_needs_are_asked_too() -> None:
    checks = known_checks()
    known = {check.id: check for check in checks}
    for failure in known_failures():
        asked = {check.id for check in deciding([Match(failure, 1.0, 1.0, "", 1)], checks)}
        for id in asked:
            assert set(known[id].needs) <= asked, (failure.id, id)


def test_a_whole_log_is_ranked_in_time_and_names_the_line() -> None:
    noise = [f"Nov 23 10:00:{number % 60:02d} gpu01 kernel: veth{number}: entered promiscuous mode {number}"
             for number in range(40_000)]  # fmt: skip
    noise[31_337] = "Nov 23 10:01:01 gpu01 dockerd[812]: all predefined address pools have been fully subnetted"
    begun = time.process_time()
    result = rank("\n".join(noise))
    assert [match.failure.id for match in result] == ["docker.address-pool"]
    assert result[0].number == 31_338
    assert time.process_time() - begun < 5


def test_the_list_is_well_formed() -> None:
    from bai_wizard.pages import ORDER

    known = {check.id for check in known_checks()}
    owners = {check.id: check.owner for check in known_checks()}
    ids = [failure.id for failure in known_failures()]
    assert len(ids) == len(set(ids)) >= 140
    for failure in known_failures():
        assert failure.page in (*ORDER, "upgrade"), failure.id
        # A failure's own check may be one that no page has yet; then its words alone decide.
        assert set(failure.checks) <= known | {failure.id}, failure.id
        assert owners.get(failure.id, failure.owner) == failure.owner, failure.id
        assert failure.cause, failure.id
        assert failure.remedy, failure.id
        assert failure.texts or failure.checks, failure.id
