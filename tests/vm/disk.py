"""The disks of a virtual machine: Debian with its own kernel, and the wizard on a second, read-only disk."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cache import cache_directory, digest, locked
from tests.node import payload
from tests.node.docker import Docker
from tests.node.images import node_image, shaped, with_packages
from tests.node.suites import SUITES
from tests.node.ubuntu import SHAPES
from tests.vm.keys import public_key

SUITE = SUITES["trixie"]
KERNEL = "linux-image-cloud-amd64"
PACKAGES = (KERNEL, "initramfs-tools", "nfs-kernel-server", "nfs-common", "xfsprogs", "e2fsprogs")
ROOT_SIZE = "6G"
WIZARD_SERIAL = "bai-wizard"
WIZARD_SIZE = "768M"
HOSTNAME = "machine"

# Files that a container does not have: configuration of disks, network and ssh access.
FILES = {
    "etc/hostname": f"{HOSTNAME}\n",
    "etc/hosts": f"127.0.0.1\tlocalhost\n127.0.1.1\t{HOSTNAME}\n",
    "etc/resolv.conf": "nameserver 10.0.2.3\n",
    "etc/fstab": f"/dev/vda / ext4 defaults 0 1\n"
    f"/dev/disk/by-id/virtio-{WIZARD_SERIAL} {payload.HOME} ext4 ro,nofail 0 0\n",
    "etc/systemd/network/80-wired.network": "[Match]\nName=en* eth*\n[Network]\nDHCP=ipv4\n",
    "etc/ssh/sshd_config.d/10-tests.conf": "PermitRootLogin prohibit-password\nUseDNS no\n",
}
ENABLED = ("systemd-networkd.service",)
# The server is installed for tests that start it; other boots are faster without it.
DISABLED = (
    "nfs-server.service",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "man-db.timer",
)


@dataclass(frozen=True)
class RootDisk:
    """A raw image with an ext4 file system, and the kernel and initial file system that boot it."""

    image: Path
    kernel: Path
    initrd: Path


def root_disk(docker: Docker, shape: str = "") -> RootDisk:
    """The machine's Debian, or one shaped like Ubuntu; made once per recipe (about a minute and a half)."""
    tag = shaped(docker, SHAPES[shape], (KERNEL,)) if shape else with_packages(docker, SUITE, "vm", PACKAGES)
    recipe = digest(tag, Path(__file__).read_text(), public_key(), payload.LAUNCHER)
    name = f"machine.{shape}" if shape else "machine"
    directory = cache_directory() / f"{name}-{recipe}"
    with locked("machine"):
        if not directory.exists():
            for old in cache_directory().glob(f"{name}-*/"):
                shutil.rmtree(old)
            with _unpacked(docker, tag, "/") as root:
                _customise(root)
                _make_root(root, directory)
    return RootDisk(directory / "root.img", directory / "vmlinuz", directory / "initrd.img")


def wizard_disk(docker: Docker) -> Path:
    """A read-only image of ``/opt/bai-wizard`` as container nodes have it; made once per state of the checkout."""
    tag = node_image(docker, SUITE.name)
    image = cache_directory() / f"wizard-{digest(tag)}.img"
    with locked("wizard"):
        if not image.exists():
            for old in cache_directory().glob("wizard-*.img"):
                old.unlink()
            with _unpacked(docker, tag, f"{payload.HOME}/.") as root:
                _make_ext4(root, image, WIZARD_SIZE)
    return image


@contextmanager
def _unpacked(docker: Docker, tag: str, path: str) -> Iterator[Path]:
    """The files of an image below ``path``, with their owners, for the time of the block."""
    root = cache_directory() / "work-disk"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    container = docker("create", tag, "/bin/true")
    try:
        if path == "/":
            archive = root.with_suffix(".tar")
            docker("export", "--output", str(archive), container)
            _run("tar", "--numeric-owner", "-xpf", str(archive), "-C", str(root))
            archive.unlink()
        else:
            docker("cp", "--archive", f"{container}:{path}", str(root))
        yield root
    finally:
        docker("rm", "--force", container)
        shutil.rmtree(root)


def _customise(root: Path) -> None:
    """Turn a container's tree into a machine's."""
    (root / ".dockerenv").unlink(missing_ok=True)
    (root / "usr/local/sbin/node-init").unlink()
    files = {name: (0o644, content.encode()) for name, content in FILES.items()}
    files["root/.ssh/authorized_keys"] = (0o600, public_key().encode())
    for name, (mode, content) in {**files, **payload.launcher(SUITE.python)}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        path.unlink(missing_ok=True)
        path.write_bytes(content)
        path.chmod(mode)
    (root / "root/.ssh").chmod(0o700)
    (root / payload.HOME[1:]).mkdir(exist_ok=True)
    _run("systemctl", f"--root={root}", "enable", *ENABLED)
    _run("systemctl", f"--root={root}", "mask", *DISABLED[1:])
    if (root / "usr/lib/systemd/system" / DISABLED[0]).exists():
        _run("systemctl", f"--root={root}", "disable", DISABLED[0])


def _make_root(root: Path, directory: Path) -> None:
    """Create kernel, initial file system and image together or not at all."""
    partial = cache_directory() / "work-machine"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    (kernel,) = root.glob("boot/vmlinuz-*")
    (initrd,) = root.glob("boot/initrd.img-*")
    shutil.copy(kernel, partial / "vmlinuz")
    shutil.copy(initrd, partial / "initrd.img")
    _make_ext4(root, partial / "root.img", ROOT_SIZE)
    partial.rename(directory)


def _make_ext4(root: Path, image: Path, size: str) -> None:
    partial = image.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    _run("mkfs.ext4", "-q", "-d", str(root), str(partial), size)
    partial.rename(image)


def _run(*argv: str) -> None:
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{argv[0]} ended with {done.returncode}: {(done.stdout + done.stderr)[-3000:]}")
