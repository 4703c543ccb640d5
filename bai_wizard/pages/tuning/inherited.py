"""What a login inherits where no limits file names it: not PID 1's own limits, but what systemd gives to sshd.

systemd raises its own open files to the kernel's maximum and hands 1024:524288 on to every service
(systemd-system.conf(5), DefaultLimitNOFILE; seen on Debian 13). Some pam_limits start from PID 1 instead, so the
lower of the two is what may be relied on.
"""

from __future__ import annotations

from bai_wizard.core.errors import CannotTell
from bai_wizard.core.machine import Machine
from bai_wizard.core.view import NodeView
from bai_wizard.pages.tuning.pam_limits import amount, parse_kernel

# systemd's compiled-in default for services since version 240.
SERVICE_NOFILE = (1024.0, 524288.0)
CONFIGURATION = "/etc/systemd/system.conf"
Pair = tuple[float, float]


def inherited(machine: Machine) -> dict[str, Pair]:
    """Soft and hard limits by item; nothing where the kernel does not tell PID 1's."""
    try:
        found = parse_kernel(machine.kernel_text("/proc/1/limits"))
    except CannotTell:
        return {}
    if "nofile" in found:
        soft, hard = service_nofile(machine)
        found["nofile"] = (min(found["nofile"][0], soft), min(found["nofile"][1], hard))
    return found


def service_nofile(view: NodeView) -> Pair:
    """DefaultLimitNOFILE of the configuration, its drop-ins last; systemd's own default where none says it."""
    directory = f"{CONFIGURATION}.d"
    pair = SERVICE_NOFILE
    for path in (CONFIGURATION, *(f"{directory}/{name}" for name in view.names(directory) if name.endswith(".conf"))):
        try:
            text = view.text(path) or ""
        except CannotTell:
            continue  # a link or no text: systemd may read it, we keep what is known
        for line in text.splitlines():
            name, _, value = line.partition("=")
            if name.strip() == "DefaultLimitNOFILE":
                pair = _pair(value.strip()) or pair
    return pair


def _pair(value: str) -> Pair | None:
    soft, _, hard = value.partition(":")
    low, high = amount(soft), amount(hard or soft)
    return (low, high) if low is not None and high is not None else None
