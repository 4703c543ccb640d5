"""What this machine lacks for a kind of test, in words; None where it lacks nothing."""

import os
import shutil
from collections.abc import Iterable

# Program → the Debian package that brings it. Docker's registry serves images; gpg and apt-ftparchive make signed
# repositories, openssl authorities of our own, gcc stand-ins of vendors' libraries.
NODE_PROGRAMS = {
    "docker": "docker.io", "dockerd": "docker.io", "containerd": "containerd", "docker-registry": "docker-registry",
    "debootstrap": "debootstrap", "iptables": "iptables", "ssh": "openssh-client", "sshpass": "sshpass",
    "apt-ftparchive": "apt-utils", "gpg": "gnupg", "openssl": "openssl", "gcc": "gcc", "tmux": "tmux",
}  # fmt: skip
VM_PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86", "qemu-img": "qemu-utils", "mkfs.ext4": "e2fsprogs",
    "ssh-keygen": "openssh-client",
}  # fmt: skip
# What completions, the man page and sudoers are read by; without them those tests are left out.
OTHER_PROGRAMS = {"zsh": "zsh", "fish": "fish", "mandoc": "mandoc", "groff": "groff", "visudo": "sudo"}
# Needed with gcc, which only recommends it.
HEADERS = "libc6-dev"


def root_obstacle() -> str | None:
    """Why tests marked needs_root cannot run here."""
    return None if os.geteuid() == 0 else "has to run as root"


def node_obstacle() -> str | None:
    """Why container nodes cannot be started here."""
    return root_obstacle() or _missing(NODE_PROGRAMS)


def vm_obstacle() -> str | None:
    """Why virtual machines cannot be started here; their disks are made from a container node's tree."""
    return node_obstacle() or _missing(VM_PROGRAMS)


def gpu_obstacle() -> str | None:
    """Why tests of a real accelerator cannot run here."""
    return None if os.path.exists("/dev/nvidiactl") else "no accelerator in this machine"


OBSTACLES = {
    "needs_root": root_obstacle,
    "needs_node": node_obstacle,
    "needs_vm": vm_obstacle,
    "needs_gpu": gpu_obstacle,
}


def packages() -> tuple[str, ...]:
    """The Debian packages that bring whatever program is missing here; empty when none is."""
    every = {**NODE_PROGRAMS, **VM_PROGRAMS, **OTHER_PROGRAMS}
    wanted = {every[name] for name in _absent(every)}
    return tuple(sorted(wanted | {HEADERS} if "gcc" in wanted else wanted))


def _missing(programs: Iterable[str]) -> str | None:
    absent = _absent(programs)
    return f"not installed: {', '.join(absent)}" if absent else None


def _absent(programs: Iterable[str]) -> list[str]:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return [name for name in programs if shutil.which(name, path=path) is None]
