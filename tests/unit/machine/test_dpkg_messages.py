"""Messages of failing maintainer scripts as printed by apt 2.6 and 3.0 with dpkg 1.19 to 1.23."""

from __future__ import annotations

import pytest

from bai_wizard.resources.packages_apply import QUOTED_CHARACTERS, plain_failure, script_failure

HEAD = """Reading package lists...
Building dependency tree...
The following additional packages will be installed:
  containerd runc
Suggested packages:
  aufs-tools cgroupfs-mount | cgroup-lite debootstrap rinse rootlesskit zfs-fuse
The following NEW packages will be installed:
  containerd docker.io runc
Get:1 http://deb.example.test trixie/main amd64 runc amd64 1.1 [1 kB]
Fetched 1 kB in 0s (1 kB/s)
Selecting previously unselected package runc.
(Reading database ... 8492 files and directories currently installed.)
Preparing to unpack .../runc_1.1_amd64.deb ...
Unpacking runc (1.1) ...
Setting up runc (1.1) ...
of another package
Setting up docker.io (26.1.5) ...
"""
TAIL = """Errors were encountered while processing:
 docker.io
E: Sub-process /usr/bin/dpkg returned an error code (1)
"""


def message_for(words: str, error: str, reason: str) -> str:
    return f"{HEAD}{words}dpkg: error processing {error}:\n{reason}\n{TAIL}"


CASES = {
    "dpkg 1.19 to 1.22": (
        message_for("starting\nno such device\n", "package docker.io (--configure)",
             " installed docker.io package post-installation script subprocess returned error exit status 3"),
        "the postinst script of the package docker.io returned error exit status 3."
        " Its last output: starting; no such device",
    ),
    "dpkg 1.23": (
        message_for("no\n", "package docker.io (--configure)",
             " installed docker.io package post-installation script subprocess failed with exit status 1"),
        "the postinst script of the package docker.io failed with exit status 1. Its last output: no",
    ),
    "dpkg 1.18": (
        message_for("no\n", "package docker.io (--configure)",
             " subprocess installed post-installation script returned error exit status 1"),
        "the postinst script of the package docker.io returned error exit status 1. Its last output: no",
    ),
    "silent": (
        message_for("", "package docker.io (--configure)",
             " installed docker.io package post-installation script subprocess returned error exit status 1"),
        "the postinst script of the package docker.io returned error exit status 1, and printed nothing",
    ),
    "killed": (
        message_for("", "package docker.io (--configure)",
             " installed docker.io package post-installation script subprocess was killed by signal (Killed)"),
        "the postinst script of the package docker.io was killed by signal (Killed), and printed nothing",
    ),
    "an archive": (
        message_for("full\n", "archive /var/cache/apt/archives/docker.io_26%3a1.5_amd64.deb (--unpack)",
             " new docker.io package pre-installation script subprocess returned error exit status 2"),
        "the preinst script of the package docker.io returned error exit status 2. Its last output: full",
    ),
    "a removal": (
        HEAD + "Removing docker.io (26.1.5) ...\nbusy\ndpkg: error processing package docker.io (--remove):\n"
        " installed docker.io package pre-removal script subprocess returned error exit status 1\n" + TAIL,
        "the prerm script of the package docker.io returned error exit status 1. Its last output: busy",
    ),
    "another architecture": (
        message_for("no\n", "package libx:i386 (--configure)",
             " installed libx:i386 package post-installation script subprocess returned error exit status 1"),
        "the postinst script of the package libx:i386 returned error exit status 1. Its last output: no",
    ),
    "consequences first": (
        HEAD + "dpkg: dependency problems prevent configuration of x:\n x depends on docker.io; however:\n"
        "  Package docker.io is not configured yet.\n\ndpkg: error processing package x (--configure):\n"
        " dependency problems - leaving unconfigured\nSetting up docker.io (26.1.5) ...\nno\n"
        "dpkg: error processing package docker.io (--configure):\n"
        " installed docker.io package post-installation script subprocess returned error exit status 1\n" + TAIL,
        "the postinst script of the package docker.io returned error exit status 1. Its last output: no",
    ),
    "words that apt's causes know as well": (
        message_for("curl: 404  Not Found\n", "package docker.io (--configure)",
             " installed docker.io package post-installation script subprocess returned error exit status 1"),
        "the postinst script of the package docker.io returned error exit status 1."
        " Its last output: curl: 404  Not Found",
    ),
    "triggers": (
        HEAD + "Processing triggers for initramfs-tools (0.1) ...\nupdate-initramfs: cannot\n"
        "dpkg: error processing package initramfs-tools (--configure):\n"
        " installed initramfs-tools package post-installation script subprocess returned error exit status 1\n",
        "the postinst script of the package initramfs-tools returned error exit status 1."
        " Its last output: update-initramfs: cannot",
    ),
    "control characters": (
        message_for("\x1b[31mred\n", "package docker.io (--configure)",
             " installed docker.io package post-installation script subprocess returned error exit status 1"),
        "Its last output: \\x1b[31mred",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_output_of_the_script_is_quoted(case: str) -> None:
    text, sentence = CASES[case]
    message = plain_failure("installing docker.io", text, 100)
    assert sentence in message
    assert "bai-wizard resume" in message
    for foreign in ("zfs-fuse", "of another package", "Setting up", "E: Sub-process"):
        assert foreign not in message


def test_only_the_end_is_quoted() -> None:
    lines = "".join(f"{number} {'x' * 400}\n" for number in range(50))
    text = message_for(
        lines, "package x (--configure)", " installed x package post-installation script subprocess failed"
    )
    failure = script_failure(text)
    assert failure is not None
    assert len(failure.words) <= QUOTED_CHARACTERS + 3
    assert failure.words.endswith("x" * 100)
    assert "49 " in failure.words


@pytest.mark.parametrize(
    "text, message",
    [
        (HEAD, "exit code 100: no error message"),
        (f"{HEAD}E: something new\n", "exit code 100: E: something new"),
        (message_for("", "package x (--configure)", " package is in a very bad inconsistent state"),
         "dpkg failed: error processing package x (--configure): package is in a very bad inconsistent state"),
        (message_for("", "archive /x.deb (--unpack)", " cannot copy: No space left on device"), "the disk is full"),
    ],
)  # fmt: skip
def test_suggested_packages_are_not_quoted_as_the_error(text: str, message: str) -> None:
    assert script_failure(text) is None
    failure = plain_failure("installing x", text, 100)
    assert message in failure
    assert "zfs-fuse" not in failure


def test_a_killed_tool_is_called_so() -> None:
    assert "installing x: it was killed by signal 9. " in plain_failure("installing x", HEAD, -9)
