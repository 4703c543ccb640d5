"""What the executor's unit forbids, and that steps, maintainer scripts and their tools can still do what they do."""

from __future__ import annotations

from collections.abc import Mapping
from shlex import quote

from bai_wizard.core.programs import HARDENING
from tests.node.api import Node
from tests.node.conftest import NodeFactory

LIBC = "python3 -c 'import ctypes, sys; sys.exit(ctypes.CDLL(None).{call} == -1)'"
ALLOWED = {
    "mount for the whole node": "mkdir -p /mnt/probe; mount -t tmpfs probe /mnt/probe;"
    " nsenter -t 1 -m mountpoint -q /mnt/probe; umount /mnt/probe",
    "a mount namespace of its own": "unshare --mount true",
    "accounts": "useradd -m probe; echo probe:correct-horse | chpasswd; su probe -c id; userdel -f -r probe",
    "kernel parameters": "sysctl -w net.ipv4.ip_forward=1",
    "setuid programs": "cp /usr/bin/id /root/id; chmod 4755 /root/id; rm /root/id",
    "devices": "mknod /root/null c 1 3; : >/root/null; rm /root/null",
    "owners": "touch /root/probe; chown 1000:1000 /root/probe; rm /root/probe",
    "services": "systemctl daemon-reload; systemctl restart systemd-journald",
    "network and netlink": "ip link show lo; getent hosts localhost",
    "another user's rights": "setpriv --reuid 65534 --regid 65534 --clear-groups true",
}
# Each works in a unit without these properties, and changes nothing of the machine that the node runs on.
FORBIDDEN = {
    "the clock (here only read)": LIBC.format(call="adjtimex(ctypes.create_string_buffer(512))"),
    "read the kernel's log": "dmesg --syslog",
    "another personality": "setarch i686 true",
    "a user namespace": "unshare --user true",
    "the host name": 'hostname "$(hostname)"',
    "packet sockets": "python3 -c 'import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)'",
    "a core": 'test "$(ulimit -H -c)" != 0',
    "trace": LIBC.format(call="ptrace(0, 0, 0, 0)"),
}


def succeeding(node: Node, scripts: Mapping[str, str], *, hardened: bool = True) -> set[str]:
    """Those of the shell scripts that succeed in a unit with the executor's properties, or without."""
    properties = [f"--property={name}={value}" for name, value in HARDENING.items() if hardened]
    script = "".join(f"sh -euc {quote(each)} >&2 && echo {quote(what)}\n" for what, each in scripts.items())
    command = ["systemd-run", "--quiet", "--wait", "--pipe", "--collect", *properties, "sh", "-c", f"{script}exit 0"]
    return set(node.run(command, check=True, timeout=120).out.splitlines())


def check_suite(node: Node) -> None:
    assert succeeding(node, ALLOWED) == set(ALLOWED)
    assert succeeding(node, FORBIDDEN, hardened=False) == set(FORBIDDEN)
    assert succeeding(node, FORBIDDEN) == set()


def test_permissions_of_the_executors_unit(node: Node) -> None:
    check_suite(node)


def test_debian_12s_systemd_knows_every_property(node_factory: NodeFactory) -> None:
    check_suite(node_factory("bookworm"))
