"""What this machine lacks for a kind of test, as text; None if nothing is missing."""

import os
import re
import shutil
from collections.abc import Iterable

# Program → the Debian package that provides it. Docker's registry serves images; gpg and apt-ftparchive create signed
# repositories, openssl private authorities, gcc substitutes for vendors' libraries.
NODE_PROGRAMS = {
    "docker": "docker.io", "dockerd": "docker.io", "containerd": "containerd", "docker-registry": "docker-registry",
    "debootstrap": "debootstrap", "iptables": "iptables", "ip": "iproute2", "ssh": "openssh-client",
    "sshpass": "sshpass", "apt-ftparchive": "apt-utils", "gpg": "gnupg", "openssl": "openssl", "gcc": "gcc",
    "tmux": "tmux",
}  # fmt: skip
VM_PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86", "qemu-img": "qemu-utils", "mkfs.ext4": "e2fsprogs",
    "ssh-keygen": "openssh-client",
}  # fmt: skip
# Readers of completions, the man page and files with their own grammars, and a faked clock; tests without
# their program are skipped.
OTHER_PROGRAMS = {
    "zsh": "zsh", "fish": "fish", "mandoc": "mandoc", "groff": "groff", "visudo": "sudo", "cvtsudoers": "sudo",
    "git": "git", "make": "make",
    "findmnt": "util-linux", "sqv": "sqv", "faketime": "faketime",
    "lintian": "lintian", "dpkg-parsechangelog": "dpkg-dev",
    "chromium-headless-shell": "chromium-headless-shell",
}  # fmt: skip
# Needed with gcc, which only recommends it.
HEADERS = "libc6-dev"


def root_obstacle() -> str | None:
    """Return why tests marked needs_root cannot run here."""
    return None if os.geteuid() == 0 else "has to run as root"


def node_obstacle() -> str | None:
    """Return why container nodes cannot be started here."""
    return root_obstacle() or _missing(NODE_PROGRAMS)


def vm_obstacle() -> str | None:
    """Return why virtual machines cannot be started here; their disks are built from a container node's tree."""
    return node_obstacle() or _missing(VM_PROGRAMS)


def gpu_obstacle() -> str | None:
    """Return why tests of a real accelerator cannot run here."""
    return None if os.path.exists("/dev/nvidiactl") else "no accelerator in this machine"


OBSTACLES = {
    "needs_root": root_obstacle,
    "needs_node": node_obstacle,
    "needs_vm": vm_obstacle,
    "needs_gpu": gpu_obstacle,
}

# Reasons to skip a test with --all as well: what no package provides, because it depends on the kernel, the file
# system or the hardware of this machine.
MAY_BE_SKIPPED = re.compile(
    r"by \./test --soak|needs_gpu: |a GPU of this machine|no nvidia-smi|this machine shows no PCI bus"
    r"|this machine has no /dev/|this machine lets nobody make a mount namespace|mounts are not allowed here"
    r"|this file system has no|setuid programs have no effect here|not on this machine: "
    r"|an answer to HEAD has no body|made by a shared function"
)


def packages() -> tuple[str, ...]:
    """Return the Debian packages that provide the missing programs."""
    every = {**NODE_PROGRAMS, **VM_PROGRAMS, **OTHER_PROGRAMS}
    wanted = {every[name] for name in _absent(every)}
    return tuple(sorted(wanted | {HEADERS} if "gcc" in wanted else wanted))


def _missing(programs: Iterable[str]) -> str | None:
    absent = _absent(programs)
    return f"not installed: {', '.join(absent)}" if absent else None


def _absent(programs: Iterable[str]) -> list[str]:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return [name for name in programs if shutil.which(name, path=path) is None]
