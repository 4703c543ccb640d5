"""What this machine lacks for a kind of test, in words; None where it lacks nothing."""

import os
import shutil

# With those of the repositories and stand-ins that some nodes are given: apt-ftparchive, gpg, gcc.
NODE_PROGRAMS = (
    "docker", "dockerd", "containerd", "debootstrap", "sshpass", "ssh", "iptables", "apt-ftparchive", "gpg", "gcc",
)  # fmt: skip
NODE_PACKAGES = (
    "docker.io", "debootstrap", "sshpass", "openssh-client", "iptables", "apt-utils", "gnupg", "gcc", "libc6-dev",
)  # fmt: skip
# What completions and the man page are read by; without them those tests are left out.
SHELL_PACKAGES = ("zsh", "fish", "mandoc", "groff")
VM_PROGRAMS = ("qemu-system-x86_64", "qemu-img", "mkfs.ext4", "ssh-keygen")
VM_PACKAGES = ("qemu-system-x86", "qemu-utils", "e2fsprogs", "openssh-client")


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


def _missing(programs: tuple[str, ...]) -> str | None:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    absent = [name for name in programs if shutil.which(name, path=path) is None]
    return f"not installed: {', '.join(absent)}" if absent else None
