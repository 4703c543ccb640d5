"""Messages of apt 2.6 and 3.0 and dpkg 1.21, and the hints that users get."""

from __future__ import annotations

from pathlib import Path

import pytest

from bai_wizard.core.errors import StepFailed
from bai_wizard.core.machine import Completed
from bai_wizard.resources import packages_apply
from bai_wizard.resources.local import LocalMachine
from bai_wizard.resources.packages import RefreshPackages
from bai_wizard.resources.packages_apply import AptStatus, complaints, is_failure, plain_failure, read_status

SAID = [
    (
        "E: dpkg was interrupted, you must manually run 'sudo dpkg --configure -a' to correct the problem.",
        "`bai-wizard resume` or a new run completes its work (dpkg --configure -a)",
    ),
    (
        "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 4711 (apt-get)",
        "lock (/var/lib/apt/lists/lock.). Wait until it finishes",
    ),
    (
        "E: Conflicting values set for option Signed-By regarding source"
        " https://download.docker.com/linux/ubuntu/ noble:"
        " /etc/apt/keyrings/docker.gpg != /etc/apt/keyrings/docker.asc\nE: The list of sources could not be read.",
        "https://download.docker.com/linux/ubuntu/ noble) with different keys (/etc/apt/keyrings/docker.gpg != ",
    ),
    (
        "W: GPG error: http://x trixie InRelease: The following signatures couldn't be verified because the"
        " public key is"
        " not available: NO_PUBKEY 7EA0A9C3F273FCD8\nE: The repository 'http://x trixie InRelease' is not signed.",
        "7EA0A9C3F273FCD8",
    ),
    (
        "Err:1 http://x trixie InRelease\n  Sub-process /usr/bin/sqv returned an error code (1), error message"
        " is: Missing key 0123456789ABCDEF0123, which is needed to verify signature.",
        "0123456789ABCDEF0123",
    ),
    (
        "E: Release file for http://x/dists/trixie/InRelease is not valid yet (invalid for another 8h 59min"
        " 50s). Updates for this repository will not be applied.",
        "clock is behind (8h 59min 50s)",
    ),
    (
        "E: Release file for http://x/dists/trixie/InRelease is expired (invalid since 3d). Updates for this"
        " repository will not be applied.",
        "has passed its expiry date",
    ),
    (
        "E: The repository 'https://download.docker.com/linux/ubuntu wilma Release' does not have a Release file.",
        "no repository was found at https://download.docker.com/linux/ubuntu wilma Release",
    ),
    ("E: Failed to fetch http://x/p.deb  Hash Sum mismatch", "the mirror is being updated or a proxy"),
    (
        "E: Failed to fetch http://x/Packages.gz  File has unexpected size (1 != 2). Mirror sync in progress?",
        "mirror",
    ),
    ("E: Failed to fetch http://x/p.deb  404  Not Found [IP: 10.0.0.1 80]", "Run `apt-get update`"),
    ("W: Failed to fetch http://x  Temporary failure resolving 'archive.ubuntu.com'", "archive.ubuntu.com cannot be"),
    ("E: Failed to fetch http://x  Could not connect to x:80 (10.0.0.1). - connect (111)", "no connection to x:80"),
    ("E: Failed to fetch http://x  407  Proxy Authentication Required", "network.proxy"),
    ("dpkg: error processing archive: cannot copy: No space left on device", "the disk is full"),
    ("E: You don't have enough free space in /var/cache/apt/archives/.", "full (/var/cache/apt/archives/.)"),
    (
        "dpkg: error: trying to overwrite '/usr/libexec/docker/cli-plugins/docker-compose', which is also in package"
        " docker-compose-v2 2.24",
        "already belongs to docker-compose-v2",
    ),
    ("E: Packages need to be removed but remove is disabled.", "never does unless you ask for it"),
    (
        "The following packages have unmet dependencies:\n containerd.io : Conflicts: containerd\nE: Unable to"
        " correct problems, you have held broken packages.",
        "have unmet dependencies: containerd.io : Conflicts: containerd.",
    ),
    (
        "E: Packages were downgraded and -y was used without --allow-downgrades.",
        "replace a newer version",
    ),
    ("E: Unable to locate package docker-ce", "offers docker-ce."),
    ("E: Version '5:1.*' for 'docker-ce' was not found", "offers version 5:1.* of docker-ce"),
    ("E: Sub-process /usr/bin/dpkg returned an error code (1)", "or a new run then completes the packages"),
    ("E: Sub-process /usr/bin/dpkg received signal 9.", "dpkg was killed (signal 9)"),
    ("E: Sub-process dpkg exited unexpectedly", "dpkg was killed."),
    ("Reinstallation of runc is not possible, it cannot be downloaded.", "the package runc is damaged"),
    ("E: The package runc needs to be reinstalled, but I can't find an archive for it.", "remove-reinstreq runc"),
    (
        "W: OpenPGP signature verification failed: http://x y InRelease: Sub-process /usr/bin/sqv returned an error"
        " code (1), error message is: Signing key on ABCD is not bound: because: Policy rejected signature"
        " because: SHA1 is not considered secure since 2026-02-01T00:00:00Z\nE: The repository 'http://x y InRelease'"
        " is not signed.",
        "key is installed, but apt rejects it",
    ),
    (
        "E: Type '<!DOCTYPE' is not known on line 1 in source list /etc/apt/sources.list.d/x.list\n"
        "E: The list of sources could not be read.",
        "line 1 in source list /etc/apt/sources.list.d/x.list begins with <!DOCTYPE: a web page",
    ),
    ("E: Malformed entry 2 in list file /etc/apt/sources.list.d/x.list (Component)", "entry 2 in list file /etc/apt"),
    ("E: Malformed stanza 1 in source list /etc/apt/sources.list.d/x.sources (type)", "stanza 1 in source list /etc"),
    ("E: Held packages were changed and -y was used without --allow-change-held-packages.", "apt-mark unhold"),
    ("dpkg: error: dpkg frontend lock was locked by another process with pid 7", "never delete"),
]


@pytest.mark.parametrize("output, message", SAID, ids=[told[:30] for _, told in SAID])
def test_causes(output: str, message: str) -> None:
    assert message in plain_failure("installing x", output, 100)


REJECTED = """\
Hit:1 http://mirror.example/debian trixie InRelease
Err:2 http://stranger.example y InRelease
  Sub-process /usr/bin/sqv returned an error code (1), error message is: Signing key on ABCD is not bound: because: \
Policy rejected signature because: SHA1 is not considered secure since 2026-02-01T00:00:00Z
W: OpenPGP signature verification failed: http://stranger.example y InRelease: Sub-process /usr/bin/sqv returned an \
error code (1), error message is: Signing key on ABCD is not bound: because: Policy rejected signature because: SHA1 \
is not considered secure since 2026-02-01T00:00:00Z
E: The repository 'http://stranger.example y InRelease' is not signed.
"""


def test_a_key_that_apt_rejects_is_its_owners_to_renew() -> None:
    message = plain_failure("reading the package lists", REJECTED, 100)
    assert "key is installed, but apt rejects it" in message
    assert "remove the source" in message
    assert "NO_PUBKEY" not in message


@pytest.mark.parametrize("has_candidate", [True, False])
def test_a_strangers_rejected_key_stops_only_what_it_provides(
    has_candidate: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = LocalMachine(str(tmp_path))
    (tmp_path / "var/lib/apt/lists").mkdir(parents=True)
    monkeypatch.setattr(packages_apply, "_apt_raw", lambda *_: Completed(100, REJECTED, ""))
    monkeypatch.setattr(machine, "candidate", lambda _: "26.1" if has_candidate else None)
    logged: list[str] = []
    refresh = RefreshPackages("docker.io is not offered yet", packages=("docker.io",))
    if has_candidate:
        packages_apply.refresh_packages(machine, refresh, lambda text, **_: logged.append(text))
        assert any("stranger.example" in line for line in logged)
    else:
        with pytest.raises(StepFailed, match="apt rejects it"):
            packages_apply.refresh_packages(machine, refresh, lambda text, **_: logged.append(text))


def test_unknown_messages_are_quoted() -> None:
    assert "E: something new" in plain_failure("installing x", "E: something new", 100)
    assert complaints("Get:1 x\nW: a\nE: b\nErr:2 http://c\n") == ("W: a", "E: b", "Err:2 http://c")


@pytest.mark.parametrize(
    "line, failed",
    [
        ("W: Failed to fetch http://x/dists/y/InRelease  Could not connect to x:80", True),
        ("W: GPG error: http://x y InRelease: The following signatures couldn't be verified", True),
        ("W: Some index files failed to download. They have been ignored, or old ones used instead.", True),
        ("E: The repository 'http://x y InRelease' is not signed.", True),
        ("Err:1 http://x y InRelease", True),
        ("W: OpenPGP signature verification failed: http://x y InRelease: Sub-process /usr/bin/sqv returned", True),
        ("W: http://x/dists/y/InRelease: Policy will reject signature within a year, see --audit for details", False),
        ("W: Conflicting distribution: http://x y InRelease (expected y but got z)", False),
        ("W: Target Packages (stable/binary-amd64/Packages) is configured multiple times in a:1 and b:1", False),
    ],
)
def test_a_warning_with_readable_lists_is_not_a_failure(line: str, failed: bool) -> None:
    assert is_failure(line) is failed


@pytest.mark.parametrize(
    "line, kind, percent, text, done",
    [
        ("dlstatus:3:50.0:Retrieving file 3 of 6", "dlstatus", 50, "Retrieving file 3 of 6", 25),
        ("pmstatus:docker.io:25.5:Unpacking docker.io (amd64)", "pmstatus", 25.5, "Unpacking docker.io (amd64)", 63),
        ("pmstatus:libc6:amd64:100.0:Installed libc6:amd64", "pmstatus", 100, "Installed libc6:amd64", 100),
        ("pmerror:/x.deb:40.0:trying to overwrite '/y'", "pmerror", 40, "trying to overwrite '/y'", 70),
    ],
)
def test_status_lines(line: str, kind: str, percent: float, text: str, done: int) -> None:
    status = read_status(line)
    assert status == AptStatus(kind, percent, text)
    assert status.done() == done


@pytest.mark.parametrize("line", ["", "pmstatus:x", "media-change:y:z:w", "pmstatus:a:b:c"])
def test_other_lines_are_nothing(line: str) -> None:
    assert read_status(line) is None
