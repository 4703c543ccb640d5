"""Live kernel parameters: written, then read back, for the kernel's word counts and not the tool's."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from bai_wizard.core.errors import StepFailed
from bai_wizard.core.event import Log
from bai_wizard.core.primitives import SetSysctl
from bai_wizard.machine.readers.kernel import normal, sysctl_path

if TYPE_CHECKING:
    from bai_wizard.machine.local import LocalMachine
    from bai_wizard.machine.perform import Performers

REASONS: dict[int, str] = {
    errno.EINVAL: "the kernel does not accept this value",
    errno.ERANGE: "the value is out of the kernel's range",
    errno.EACCES: "this kernel does not let this node set it",
    errno.EPERM: "this kernel does not let this node set it",
    errno.EROFS: "/proc/sys is read-only here",
    errno.ENOENT: "this kernel does not have it; a module may have to be loaded first",
    errno.EBUSY: "it is in use",
}


def set_sysctl(machine: LocalMachine, primitive: SetSysctl, log: Log) -> None:
    """Sets one parameter. Raises StepFailed naming key and value where the kernel does not take it."""
    path = machine.prefix + sysctl_path(primitive.key)
    try:
        # One write of the whole value, as the kernel wants it; truncation is for a root of plain files.
        descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
        try:
            os.write(descriptor, f"{primitive.value}\n".encode())
        finally:
            os.close(descriptor)
        with open(path, encoding="utf-8", errors="replace") as file:
            found = normal(file.read())
    except OSError as error:
        reason = REASONS.get(error.errno or 0, (error.strerror or str(error)).lower())
        raise StepFailed(f"{primitive.key} = {primitive.value}: {reason}") from error
    if found != primitive.value:
        raise StepFailed(f"{primitive.key} = {primitive.value}: the kernel took it as {found!r}")


PERFORMERS: Performers = {SetSysctl.kind: set_sysctl}
