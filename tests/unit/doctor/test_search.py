"""From an error text to the failure behind it, whatever varies: a text of several causes, and the reverse."""

from __future__ import annotations

import time

import pytest

from bai_wizard.core.finding import Finding
from bai_wizard.core.plan import Plan
from bai_wizard.doctor.candidates import candidate_lines
from bai_wizard.doctor.rank import Match, rank
from bai_wizard.doctor.run import all_checks
from bai_wizard.doctor.search import candidates, decide, deciding, likely
from bai_wizard.doctor.symptoms import failures

SAID = {
    "could not select device driver": "nvidia-docker-no-driver",
    'docker: Error response from daemon: could not select device driver "nvidia" with capabilities: [[gpu]].': (
        "nvidia-docker-no-driver"
    ),
    "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 570.86": "nvidia-lib-mismatch",
    "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 4242 (apt-get)": "apt-lock-held",
    "mount.nfs: access denied by server while mounting nas7:/export/vol9": "nfs-access-denied",
    "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem.": (
        "apt-dpkg-interrupted"
    ),
    "[  12.3] NVRM: Xid (PCI:0000:0a:00): 79, pid=1, GPU has fallen off the bus.": "nvidia-xid79",
    'unable to configure the Docker daemon with file /opt/d.json: invalid character "]" looking for beginning of'
    " object key string": "docker-daemon-json-syntax",
    "client version 1.41 is too old. Minimum supported API version is 1.44": "docker-api-too-old",
    "error: externally-managed-environment": "pip-externally-managed",
    "RuntimeError: cudaErrorSystemNotReady": "nvidia-fabricmanager-missing",
    "x509: certificate signed by unknown authority": "pull-x509",
}


@pytest.mark.parametrize("text, id", SAID.items())
def test_what_people_paste_finds_its_failure(text: str, id: str) -> None:
    found = likely(text)
    assert found is not None
    assert found.id == id


@pytest.mark.parametrize("text", ["", "everything is fine", "Starting Docker Application Container Engine…", "error"])
def test_ordinary_words_mean_nothing(text: str) -> None:
    assert rank(text) == ()


def test_every_known_text_finds_its_own_failure() -> None:
    missing = [
        (failure.id, text)
        for failure in failures()
        for text in failure.texts
        if failure.id not in {match.failure.id for match in rank(text.replace("<…>", "thing"))}
    ]
    assert missing == []


def test_one_text_several_causes_decided_by_probes() -> None:
    matches = candidates("write /srv/x: no space left on device")
    assert {"disk-full", "inodes-exhausted"} <= {match.failure.id for match in matches}
    full = [
        Finding("inodes-exhausted", "problem", "no entries left"),
        Finding("node.disk-space", "ok", "room"),
        Finding("disk-full", "ok", "room"),
    ]
    decided = decide(matches, full)
    assert (decided[0].failure.id, decided[0].state) == ("inodes-exhausted", "confirmed")
    other = [Finding(finding.id, "ok", "") for finding in full]
    other[1] = Finding("node.disk-space", "problem", "full")
    assert decide(matches, other)[0].failure.id == "disk-full"


@pytest.mark.parametrize(
    "page, id", [("images", "disk-full"), ("docker", "node.disk-space"), ("", "node.disk-space")]
)
def test_of_equal_causes_the_one_of_the_failing_page_is_likely(page: str, id: str) -> None:
    found = likely("apt-get: No space left on device: /var/cache/apt/archives", page)
    assert found is not None
    assert found.id == id


def test_one_cause_several_texts_is_named_once() -> None:
    text = "failed to create fsnotify watcher: too many open files"
    text += "\nFailed to allocate directory watch: Too many open files"
    found = [match.failure.id for match in rank(text)]
    assert found.count("inotify-limits") == 1
    assert found[0] == "inotify-limits"


def test_a_probe_that_cannot_tell_excludes_nothing() -> None:
    matches = [match for match in candidates("no space left on device") if match.failure.id == "inodes-exhausted"]
    assert decide(matches, [Finding("inodes-exhausted", "cannot-tell", "")])[0].state == "open"
    assert decide(matches, [Finding("inodes-exhausted", "ok", "")])[0].state == "excluded"


def test_what_comes_first_is_told_with_what_waits_for_it() -> None:
    """Nobody can compare versions while no module is loaded: that is what to mend."""
    matches = candidates("Failed to initialize NVML: Driver/library version mismatch")
    asked = {check.id for check in deciding(matches, all_checks())}
    assert {"nvidia-lib-mismatch", "nvidia-module-missing", "nvidia-nouveau"} <= asked
    assert not {"sysctl-quoted-value", "docker-not-running"} & asked, "just the probes that decide"
    match = matches[0]
    assert match.failure.id == "nvidia-lib-mismatch"
    silent = Finding("nvidia-lib-mismatch", "not-applicable", "", suppressed_by="nvidia-module-missing")
    cause = Finding("nvidia-module-missing", "problem", "The module is not loaded", cause="A new kernel.")
    (found,) = decide([match], [silent, cause])
    assert (found.state, found.findings) == ("waits", (silent, cause))
    told = "\n".join(candidate_lines([found, found], lambda finding: Plan("")))
    assert told.count("A new kernel.") == 1
    assert "something else comes first" in told


def test_needs_of_needs_are_asked_too() -> None:
    checks = all_checks()
    known = {check.id: check for check in checks}
    for failure in failures():
        asked = {check.id for check in deciding([Match(failure, 1.0, 1.0, "", 1)], checks)}
        for id in asked:
            assert set(known[id].needs) <= asked, (failure.id, id)


def test_a_whole_log_is_ranked_in_time_and_names_the_line() -> None:
    noise = [f"Nov 23 10:00:{number % 60:02d} gpu01 kernel: veth{number}: entered promiscuous mode {number}"
             for number in range(40_000)]  # fmt: skip
    noise[31_337] = "Nov 23 10:01:01 gpu01 dockerd[812]: all predefined address pools have been fully subnetted"
    begun = time.monotonic()
    found = rank("\n".join(noise))
    assert [match.failure.id for match in found] == ["docker-address-pool"]
    assert found[0].number == 31_338
    assert time.monotonic() - begun < 5


def test_the_list_is_well_formed() -> None:
    from bai_wizard.pages import ORDER

    known = {check.id for check in all_checks()}
    owners = {check.id: check.owner for check in all_checks()}
    ids = [failure.id for failure in failures()]
    assert len(ids) == len(set(ids)) >= 140
    for failure in failures():
        assert failure.page in ORDER, failure.id
        # A failure's own check may be one that no page has yet; then its words alone decide.
        assert set(failure.checks) <= known | {failure.id}, failure.id
        assert owners.get(failure.id, failure.owner) == failure.owner, failure.id
        assert failure.cause, failure.id
        assert failure.remedy, failure.id
        assert failure.texts or failure.checks, failure.id
