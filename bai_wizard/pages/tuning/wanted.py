"""What the answers want of each kernel parameter, before the node is looked at."""

from __future__ import annotations

from dataclasses import dataclass

from bai_wizard.pages.tuning.data import Parameter, catalogue, profile
from bai_wizard.pages.tuning.settings import TuningSettings
from bai_wizard.steps.better import Better

PORT_RANGE = "net.ipv4.ip_local_port_range"
RESERVED_PORTS = "net.ipv4.ip_local_reserved_ports"
NR_OPEN = "fs.nr_open"
# The label of values that the answers name themselves: `was 60 (answers: 15)`.
ANSWERS = "answers"


@dataclass(frozen=True)
class Wanted:
    """One parameter. `source` is where the value comes from and `printed` what stands there, for the comment."""

    key: str
    value: str
    better: Better
    what: str = ""
    reason: str = ""
    source: str = ANSWERS
    printed: str = ""
    kernel: tuple[str, ...] = ()
    module: str = ""


def wanted(settings: TuningSettings) -> tuple[Wanted, ...]:
    """The profile's parameters without the excluded ones, then the answers' own; reserved ports come apart."""
    chosen = profile(settings.profile)
    excluded = {dotted(key) for key in settings.exclude}
    own = {dotted(key): str(value) for key, value in settings.sysctl.items()}
    known = catalogue()
    found = []
    for key, value in chosen.sysctl.items():
        if key in own or key in excluded:
            continue
        about = known[key]
        better: Better = (value.better or about.better) if settings.keep_better else "exact"
        printed = value.manual or value.value
        found.append(_wanted(about, value.value, better, value.reason, chosen.label, printed))
    for key, text in own.items():
        found.append(_wanted(known.get(key, Parameter(key)), text, "exact", "", ANSWERS, text))
    return tuple(found)


def _wanted(about: Parameter, value: str, better: Better, reason: str, source: str, printed: str) -> Wanted:
    return Wanted(about.name, value, better, about.what, reason, source, printed, about.kernel, about.module)


def derived(key: str, value: str, reason: str = "") -> Wanted:
    """A parameter that follows from other answers: reserved ports, the kernel's limit of open files."""
    about = catalogue()[key]
    return _wanted(about, value, about.better, reason, "bai-wizard", value)


def dotted(key: str) -> str:
    """A key as the catalogue names it: `net/ipv4/tcp_rmem` is `net.ipv4.tcp_rmem`."""
    first = next((sign for sign in key if sign in "./"), ".")
    return key.translate(str.maketrans("/.", "./")) if first == "/" else key
