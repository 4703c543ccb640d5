"""The distributions that test nodes are made of: what is in them, and which Python they bring."""

from dataclasses import dataclass

# What section 8 of the design lists, and two small programs that tests look through.
COMMON_PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "sudo", "openssh-server", "python3", "python3-venv", "iproute2", "adduser",
    "procps", "ca-certificates", "libpam-systemd", "kmod", "udev", "iputils-ping", "acl",
)  # fmt: skip


@dataclass(frozen=True)
class Suite:
    """One Debian release: its code name, its ``python3`` and how its Docker Engine is called."""

    name: str
    python: str
    docker_packages: tuple[str, ...]
    packages: tuple[str, ...] = COMMON_PACKAGES


SUITES = {
    "trixie": Suite("trixie", "3.13", ("docker.io", "docker-cli", "iptables")),
    "bookworm": Suite("bookworm", "3.11", ("docker.io", "iptables")),
}
