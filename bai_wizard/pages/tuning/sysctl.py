"""Kernel parameters: desired values, the decision for each, and the wizard's sysctl file."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from math import inf

from msgspec import Struct, convert
from msgspec.structs import replace

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.machine import Machine
from bai_wizard.core.page import Absent, Fact, Known
from bai_wizard.core.parse import comment, sysctl_line
from bai_wizard.core.state import Sysctl
from bai_wizard.data import read_toml
from bai_wizard.pages.tuning.boot_sysctl import BootFile, Deciding, boot_of, parse
from bai_wizard.pages.tuning.files import (
    OwnFile,
    RecordedParameter,
    line_of,
    lines_of_others,
    own_file_text,
    recorded_parameters,
)
from bai_wizard.pages.tuning.settings import LimitSettings, TuningSettings
from bai_wizard.resources.sysctl import normal
from bai_wizard.steps.kernel import Better, LiveSysctl, merge_values, satisfies


class Parameter(Struct, frozen=True):
    """What is known about a kernel parameter, independent of profiles. `kernel` are the kernel's own defaults."""

    name: str
    better: Better = "exact"
    what: str = ""
    kernel: tuple[str, ...] = ()
    module: str = ""


class ProfileValue(Struct, frozen=True):
    """A profile's value. `manual` is the value printed in the source if we use a different one; `reason` is why."""

    value: str
    manual: str = ""
    reason: str = ""
    better: Better | None = None


class Profile(Struct, frozen=True):
    """A set of values. `label` is the word in comments: `kept 4096 (manual: 1024)`."""

    name: str
    label: str
    title: str
    source: str
    sysctl: dict[str, ProfileValue]


@cache
def known_parameters() -> dict[str, Parameter]:
    """Return every parameter that a profile may contain."""
    table = read_toml("tuning.toml")["key"]
    return {name: convert({"name": name, **body}, Parameter) for name, body in table.items()}


def parameter(key: str) -> Parameter:
    """Return what is known about a parameter; one that no profile contains has no direction."""
    return known_parameters().get(key, Parameter(key))


@cache
def profile(name: str) -> Profile:
    """Return a profile by name. Raises KeyError for an unknown name."""
    body = read_toml("tuning.toml")["profile"][name]
    values = {
        key: ProfileValue(value) if isinstance(value, str) else ProfileValue(**value)
        for key, value in body["sysctl"].items()
    }
    return Profile(name, body["label"], body["title"], body["source"], values)


@cache
def role_values(role: str) -> dict[str, ProfileValue]:
    """Return the values that nodes with a role need with every profile."""
    table = read_toml("tuning.toml")["role"].get(role, {"sysctl": {}})
    return {key: ProfileValue(**value) for key, value in table["sysctl"].items()}


# In a new network namespace these have the kernel's own defaults, whatever the node's are set to.
PER_NAMESPACE = ("net.core.somaxconn", "net.ipv4.tcp_max_syn_backlog")


def own_defaults(machine: Machine) -> dict[str, str]:
    """Return defaults of this kernel by key; nothing unless this process may create a network namespace."""
    paths = (f"/proc/sys/{key.replace('.', '/')}" for key in PER_NAMESPACE)
    try:
        answer = machine.query(("unshare", "--net", "--", "cat", *paths)) if machine.is_root else None
    except StateUnknown:
        return {}
    values = answer.out.split() if answer is not None and answer.code == 0 else []
    return dict(zip(PER_NAMESPACE, values, strict=True)) if len(values) == len(PER_NAMESPACE) else {}


def with_default(about: Parameter, defaults: Mapping[str, str]) -> Parameter:
    """Return a parameter with the default of this kernel rather than those of all supported ones."""
    return replace(about, kernel=(defaults[about.name],)) if about.name in defaults else about


PORT_RANGE = "net.ipv4.ip_local_port_range"
RESERVED_PORTS = "net.ipv4.ip_local_reserved_ports"
NR_OPEN = "fs.nr_open"


class DesiredValue(Struct, frozen=True):
    """One parameter. `source` is the origin of the value and `printed` the value given there, for the comment."""

    about: Parameter
    value: str
    better: Better
    source: str
    printed: str
    reason: str = ""

    @property
    def key(self) -> str:
        """The name of the parameter."""
        return self.about.name


def desired_values(settings: TuningSettings) -> tuple[DesiredValue, ...]:
    """Return the profile's parameters without excluded ones, then the answers' own; reserved ports are separate."""
    chosen = profile(settings.profile)
    excluded = {dotted(key) for key in settings.exclude}
    own = {dotted(key): str(value) for key, value in settings.sysctl.items()}
    result = []
    for key, value in chosen.sysctl.items():
        if key not in own and key not in excluded:
            about = known_parameters()[key]
            better: Better = (value.better or about.better) if settings.keep_better else "exact"
            printed = value.manual or value.value
            result.append(DesiredValue(about, value.value, better, chosen.label, printed, value.reason))
    # As in comments: `was 60 (answers: 15)`.
    result += [DesiredValue(parameter(key), text, "exact", "answers", text) for key, text in own.items()]
    return tuple(result)


def derived(key: str, value: str, reason: str = "") -> DesiredValue:
    """Return a parameter derived from other answers: reserved ports, the kernel's limit on open files."""
    about = known_parameters()[key]
    return DesiredValue(about, value, about.better, "bai-wizard", value, reason)


def live_step(key: str, value: str, better: Better) -> LiveSysctl:
    """Return the step that gives the running kernel a value."""
    return LiveSysctl(id=f"tuning.live.{key}", key=key, value=value, least=value, better=better)


def dotted(key: str) -> str:
    """Return a key as in the catalogue: `net.ipv4.tcp_rmem` for `net/ipv4/tcp_rmem`."""
    first = next((sign for sign in key if sign in "./"), ".")
    return key.translate(str.maketrans("/.", "./")) if first == "/" else key


def items_of(limits: LimitSettings) -> dict[str, float]:
    """Return the limits of the answers by item, in the unit of limits.conf."""
    items: dict[str, float] = {"nofile": limits.nofile, "nproc": limits.nproc}
    if limits.memlock is not None:
        items["memlock"] = inf if limits.memlock == "unlimited" else limits.memlock
    return items


class Decision(Struct, frozen=True):
    """`value` is what applies at the next boot. `before` is the value without us, None if unknown.

    `is_kept`: the value is the node's own, better one. `has_line`: our file assigns it; otherwise it comes from the
    kernel's default or the file `origin`. `is_missing`: this kernel does not have the parameter.
    """

    wanted: DesiredValue
    value: str
    before: str | None = None
    origin: str = ""
    is_kept: bool = False
    has_line: bool = True
    is_missing: bool = False

    def baseline(self) -> RecordedParameter | None:
        """Return what our file records; None for a parameter that this kernel does not have."""
        if self.is_missing:
            return None
        return RecordedParameter(self.wanted.key, self.before, self.origin, self.wanted.value, self.is_kept)

    def comment(self) -> str:
        """Return a comment on the decision: `net.core.somaxconn: kept 4096 (manual: 1024)`."""
        against = f"({self.wanted.source}: {self.wanted.printed or self.wanted.value})"
        if self.is_missing:
            return f"{self.wanted.key}: this kernel does not have it {against}"
        before = "unknown" if self.before is None else self.before or "nothing"
        origin = f" of {self.origin}" if self.origin else ""
        return f"{self.wanted.key}: {'kept' if self.is_kept else 'was'} {before}{origin} {against}"


def records(lines: Iterable[str]) -> dict[str, RecordedParameter]:
    """Return what our file records, by key."""
    return {dotted(entry.key): entry for _, entry in recorded_parameters(lines)}


def decide_parameter(
    wanted: DesiredValue,
    live: Fact[Sysctl],
    other: Deciding | None,
    record: RecordedParameter | None,
    *,
    loadable: bool = False,
) -> Decision:
    """Decide on one parameter.

    `other` is the assignment that decides at the next boot without our file; `loadable`: its module can be loaded.
    The value before our change is the one that our file records, or the live one if our file records none. A recorded
    value that came from a file which no longer exists does not count.
    """
    if isinstance(live, Absent) and not (wanted.about.module and loadable):
        return Decision(wanted, wanted.value, is_missing=True, has_line=False)
    theirs = None if other is None else other.value
    if theirs is not None and theirs != normal(wanted.value) and satisfies(wanted.better, theirs, wanted.value):
        origin = other.path if other is not None else ""
        return Decision(wanted, theirs, theirs, origin, is_kept=True, has_line=False)
    before = _before(live, record)
    value = normal(wanted.value) if before is None else merge_values(wanted.better, wanted.value, before)
    if theirs is not None:
        value = merge_values(wanted.better, value, theirs)
    if isinstance(live, Known) and live.value.writable and wanted.about.kernel:
        # It may have been lowered before: what the kernel has of its own must not get worse.
        value = merge_values(wanted.better, value, wanted.about.kernel[0])
    is_kept = before is not None and value == before and value != normal(wanted.value)
    # Only a value that is the kernel's own default, and that no file sets, needs no line.
    has_line = not (is_kept and other is None and value in wanted.about.kernel)
    return Decision(wanted, value, before, "", is_kept, has_line)


def _before(live: Fact[Sysctl], record: RecordedParameter | None) -> str | None:
    if record is not None:
        return None if record.origin else record.before
    return normal(live.value.value) if isinstance(live, Known) else None


SYSCTL_PATH = "/etc/sysctl.d/99-backendai.conf"
# Backend.AI's own deployment scripts of 26.4.0 to 26.4.3 wrote this name.
OTHER_SYSCTL_PATH = "/etc/sysctl.d/99-backend-ai.conf"


def sysctl_text(profile: Profile, decisions: Sequence[Decision], result: OwnFile, remembered: Collection[str]) -> str:
    """Return the file's text. `remembered` are the keys that our part records, which were ours."""
    head = (
        f"(profile {profile.name}: {profile.title}). The next run reverts changes to this part.",
        '"was" is the previous value; "kept" marks values that are at least as good as the desired ones.',
    )
    body: list[str] = []
    for decision in decisions:
        wanted = decision.wanted
        lines = (wanted.about.what, wanted.reason, decision.comment())
        body += ["", *(f"# {comment(line)}" for line in lines if line)]
        baseline = decision.baseline()
        if baseline is not None:
            body.append(line_of(baseline))
        if decision.has_line:
            body.append(sysctl_line(wanted.key, decision.value))
    managed = {decision.wanted.key for decision in decisions} | set(remembered)
    others = lines_of_others(result, _is_assignment, lambda line: _key(line) in managed)
    return own_file_text(head, body, [_unquoted(line) for line in others])


def _is_assignment(line: str) -> bool:
    return bool(parse(SYSCTL_PATH, SYSCTL_PATH, line))


def _key(line: str) -> str:
    return dotted(parse(SYSCTL_PATH, SYSCTL_PATH, line)[0].key)


def _unquoted(line: str) -> str:
    for assignment in parse(SYSCTL_PATH, SYSCTL_PATH, line):
        if assignment.is_quoted:
            return f"{line.partition('=')[0].rstrip()} = {assignment.unquoted}"
    return line


def with_our_sysctl(files: Iterable[BootFile], text: str) -> tuple[BootFile, ...]:
    """Return the files with our text in place."""
    ours = BootFile(SYSCTL_PATH, SYSCTL_PATH, parse(SYSCTL_PATH, SYSCTL_PATH, text))
    others = [file for file in files if file.is_late or file.name != ours.name]
    return tuple(
        sorted((*others, ours), key=lambda file: (file.is_late, b"" if file.is_late else os.fsencode(file.name)))
    )


def without_our_sysctl(files: Iterable[BootFile]) -> tuple[BootFile, ...]:
    """Return the files that are not ours."""
    return tuple(file for file in files if file.file != SYSCTL_PATH)


class Override(Struct, frozen=True):
    """A line elsewhere that decides a parameter at the next boot with a value that is not good enough."""

    deciding: Deciding
    wanted: str

    def tell(self) -> str:
        """Return a one-line description."""
        line = self.deciding.line
        quotes = " because of its quotes" if line.is_quoted else ""
        refused = f" (rejected by the kernel{quotes})" if self.deciding.value is None else ""
        return f"{line.place} sets {dotted(line.key)} = {line.value}{refused} instead of {self.wanted}"


def sysctl_overrides(
    files: Iterable[BootFile], decisions: Iterable[Decision], live: Mapping[str, Fact[Sysctl]]
) -> tuple[Override, ...]:
    """Return lines of other files that override ours at the next boot; `files` include ours."""
    boot = boot_of(files)
    result = []
    for decision in decisions:
        wanted = decision.wanted
        deciding = None if decision.is_missing else boot.deciding(wanted.key, live_value(live.get(wanted.key)))
        if deciding is None or deciding.path == SYSCTL_PATH:
            continue
        if not deciding.is_enough(wanted.better, wanted.value, wanted.about.kernel):
            result.append(Override(deciding, wanted.value))
    return tuple(result)


def live_value(fact: Fact[Sysctl] | None) -> str | None:
    """Return the live value; None without one or if it is unknown."""
    return fact.value.value if isinstance(fact, Known) else None
