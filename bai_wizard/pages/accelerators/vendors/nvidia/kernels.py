"""Which kernel runs, which one starts at the next boot, and what the firmware lets into it."""

from __future__ import annotations

import re

from bai_wizard.core.errors import CannotTell
from bai_wizard.core.facts import Absent, Fact, Known, Unknown
from bai_wizard.core.machine import Machine
from bai_wizard.pages.accelerators.vendors.nvidia.facts import Kernels

RELEASE = "/proc/sys/kernel/osrelease"
EFI = "/sys/firmware/efi"
SECURE_BOOT = f"{EFI}/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
# Where DKMS keeps the key that it signs with: Ubuntu's, Debian's.
OWN_KEYS = ("/var/lib/shim-signed/mok/MOK.der", "/var/lib/dkms/mok.pub")
# Flavours of Ubuntu's kernels that have prebuilt modules of NVIDIA's (linux-modules-nvidia-*), then Debian's kernels.
FLAVOURS = (
    "generic", "generic-hwe-24.04", "generic-hwe-26.04", "generic-64k", "generic-64k-hwe-24.04", "lowlatency",
    "lowlatency-hwe-24.04", "aws", "azure", "gcp", "oracle", "nvidia", "nvidia-64k",
    "amd64", "cloud-amd64", "arm64", "cloud-arm64",
)  # fmt: skip


def kernels(machine: Machine) -> Kernels:
    """The running kernel and the one that the next boot starts; empty where nobody can tell."""
    running = _text(machine, RELEASE)
    try:
        found = [name.removeprefix("vmlinuz-") for name in machine.names("/boot") if name.startswith("vmlinuz-")]
        metas = tuple(name for name in FLAVOURS if machine.package(f"linux-image-{name}") is not None)
    except CannotTell:
        found, metas = [], ()
    return Kernels(running, max(found, key=sort_key, default=running), metas)


def sort_key(release: str) -> tuple[tuple[int, ...], str]:
    """Sorts kernels as boot loaders do: by the numbers in their names."""
    return tuple(int(number) for number in re.findall(r"\d+", release)), release


def secure_boot(machine: Machine) -> Fact[bool]:
    """Whether the firmware refuses modules that nobody it trusts has signed; Absent without EFI."""
    try:
        if not machine.names(EFI):
            return Absent()
        text = machine.kernel_text(SECURE_BOOT)
    except CannotTell as error:
        return Unknown(str(error))
    # Four bytes of attributes, then one that is 1 where it is on.
    return Known(bool(text) and text.endswith("\x01")) if text is not None else Known(False)


def may_sign(machine: Machine) -> Fact[bool]:
    """Whether the firmware trusts the key that DKMS signs with; Absent where there is no such key."""
    try:
        key = next((path for path in OWN_KEYS if machine.entry(path) is not None), "")
        if not key:
            return Absent()
        answer = machine.look(("mokutil", "--test-key", key))
    except CannotTell as error:
        return Unknown(str(error))
    # Its exit code says the opposite of what one would think, so its words count.
    return Known("already enrolled" in answer.out + answer.err)


def _text(machine: Machine, path: str) -> str:
    try:
        return machine.kernel_text(path) or ""
    except CannotTell:
        return ""
