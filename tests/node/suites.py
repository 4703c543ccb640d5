"""The distributions of test nodes: their packages and their Python."""

from dataclasses import dataclass

# Packages that the pages need, and two small programs that tests use.
COMMON_PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "sudo", "openssh-server", "python3", "python3-venv", "iproute2", "adduser",
    "procps", "ca-certificates", "libpam-systemd", "kmod", "udev", "iputils-ping", "acl",
)  # fmt: skip
# The programs that unit tests run, where the suite has them (see tests/needs.py).
TEST_PACKAGES = (
    "zsh", "fish", "mandoc", "groff", "git", "openssl", "gcc", "libc6-dev", "gnupg", "apt-utils", "tmux", "file",
    "man-db", "bash-completion", "curl",
)  # fmt: skip


@dataclass(frozen=True)
class Suite:
    """One Debian release: its codename, its ``python3`` and the name of its Docker Engine.

    ``downloaded``: what the pages install, in apt's cache of the variant of this name, so that tests that apply all
    pages often do not download it each time.
    """

    name: str
    python: str
    docker_packages: tuple[str, ...]
    downloaded: tuple[str, ...]
    packages: tuple[str, ...] = COMMON_PACKAGES
    test_packages: tuple[str, ...] = TEST_PACKAGES


SUITES = {
    "trixie": Suite(
        "trixie",
        "3.13",
        ("docker.io", "docker-cli", "iptables"),
        ("docker.io", "docker-cli", "docker-buildx", "docker-compose"),
    ),
    "bookworm": Suite("bookworm", "3.11", ("docker.io", "iptables"), ("docker.io",)),
}
