"""A booted machine, saved once with its memory, so that tests get a fresh one in seconds."""

import subprocess
from pathlib import Path

from tests.cache import digest, locked
from tests.node.docker import Docker
from tests.vm import machine
from tests.vm.disk import WIZARD_SIZE, RootDisk, root_disk, wizard_disk
from tests.vm.machine import VirtualMachine


def fresh_machine(docker: Docker, shape: str = "") -> VirtualMachine:
    """A machine just after its first boot, on its own disk; `shape`: like an Ubuntu (tests.node.ubuntu)."""
    root = root_disk(docker, shape)
    return VirtualMachine(root, wizard_disk(docker), booted_disk(root))


def booted_disk(root: RootDisk) -> Path:
    """The disk of a machine saved after its first boot; made once per root disk, qemu and way to start it."""
    version = subprocess.run(["qemu-system-x86_64", "--version"], capture_output=True, text=True, check=True).stdout
    recipe = digest(version, Path(machine.__file__).read_text())
    saved = root.image.with_name(f"booted-{recipe}.qcow2")
    with locked("booted"):
        if not saved.exists():
            for old in root.image.parent.glob("booted-*"):
                old.unlink()
            _boot_and_save(root, saved)
    return saved


def _boot_and_save(root: RootDisk, saved: Path) -> None:
    """Boot with an empty disk, of the same size, in place of the wizard's: what is on that one changes too often."""
    empty = root.image.with_name("no-wizard.img")
    subprocess.run(["truncate", "--size", WIZARD_SIZE, str(empty)], check=True)
    first = VirtualMachine(root, empty)
    try:
        first.save()
        first.disk.rename(saved)
    finally:
        first.close()
