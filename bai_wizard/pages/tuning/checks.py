"""The checks of the Tuning page: kernel parameters, and the unit that sets them at boot."""

from __future__ import annotations

import sys
from posixpath import basename

from msgspec import Struct

from bai_wizard.core.machine import Machine, NodeView
from bai_wizard.core.page import Context, Evidence
from bai_wizard.pages.check import Outcome, check, checks_in, not_applicable, ok, problem, unknown, warning
from bai_wizard.pages.node_state import ports_of
from bai_wizard.pages.tuning import check_limits
from bai_wizard.pages.tuning.boot_sysctl import Assignment, boot_of, parse, parse_procps, read_files
from bai_wizard.pages.tuning.files import commented, edits, read_own_file, recorded_parameters
from bai_wizard.pages.tuning.sysctl import (
    OTHER_SYSCTL_PATH,
    PORT_RANGE,
    RESERVED_PORTS,
    SYSCTL_PATH,
    dotted,
    known_parameters,
    live_step,
    own_defaults,
    parameter,
    profile,
    with_default,
)
from bai_wizard.steps.files import EditLines, OptionalDropIn
from bai_wizard.steps.kernel import Better, intervals, port_list, satisfies, union, within
from bai_wizard.steps.services import UnitSetting, drop_ins, unit_settings

UNIT = "systemd-sysctl.service"
OLD_FILE = "/etc/sysctl.conf"
WANTS = ("/etc/systemd/system/sysinit.target.wants", "/usr/lib/systemd/system/sysinit.target.wants",
         "/lib/systemd/system/sysinit.target.wants")  # fmt: skip
# Directories of drop-ins that packages do not write to.
LOCAL = ("/etc/", "/run/")


class Statement(Struct, frozen=True):
    """A parameter that has to be at least as good as `value`."""

    key: str
    value: str
    better: Better


def statements(view: NodeView) -> tuple[Statement, ...]:
    """Return what our sysctl file demands, including kept values; nothing if the file does not exist."""
    values: dict[str, str] = {}
    lines = read_own_file(view.text(SYSCTL_PATH)).upper
    recorded = dict(recorded_parameters(lines))
    for index, line in enumerate(lines):
        if index in recorded and recorded[index].kept:
            values[recorded[index].key] = recorded[index].wanted
        for assignment in parse(SYSCTL_PATH, SYSCTL_PATH, line):
            if assignment.value is not None:
                values[dotted(assignment.key)] = assignment.unquoted
    return tuple(Statement(key, value, parameter(key).better) for key, value in values.items())


@check("tuning.sysctl-quoted-value", root_cause=True)
def unquoted(machine: Machine, context: Context) -> Outcome:
    """No value has the quotes of a shell: the kernel rejects them, and systemd-sysctl fails at every boot."""
    lines = [item for file in read_files(machine) for item in file.assignments if item.is_quoted]
    evidence = (Evidence(dotted(line.key), line.place, str(line.value), line.unquoted) for line in lines)
    fixed = [(line, f"{line.text.partition('=')[0].rstrip()} = {line.unquoted}") for line in lines]
    return problem(*evidence, remedy=_edits("tuning.sysctl-quoted-value", fixed, "values without quotes"))


def _edits(id: str, lines: list[tuple[Assignment, str]], why: str) -> tuple[EditLines, ...]:
    """Return steps that replace lines. One outside /etc is replaced in a file of the same name in /etc/sysctl.d."""
    targets = {
        line.path: line.path if line.path.startswith("/etc/") else f"/etc/sysctl.d/{basename(line.file)}"
        for line, _ in lines
    }
    return edits(id, [(line.path, line.text, new) for line, new in lines], why, targets)


# The kernel rejects a quoted line, so it overrides nothing; whether it does without its quotes shows after the fix.
@check("tuning.sysctl-overridden", needs=("tuning.sysctl-quoted-value",))
def not_overridden(machine: Machine, context: Context) -> Outcome:
    wanted = statements(machine)
    if not wanted:
        return not_applicable(f"{SYSCTL_PATH} sets no parameters")
    files = read_files(machine)
    unreadable = [file.unreadable for file in files if file.unreadable]
    evidence, overriding = [], []
    boot = boot_of(files)
    for statement in wanted:
        deciding = boot.deciding(statement.key, _live(machine, statement.key))
        if deciding is None or deciding.path == SYSCTL_PATH:
            continue
        if not deciding.is_enough(statement.better, statement.value, parameter(statement.key).kernel):
            found = str(deciding.line.value) if deciding.value is None else deciding.value
            evidence.append(Evidence(statement.key, deciding.line.place, found, statement.value))
            overriding.append(deciding.line)
    if unreadable and not overriding:
        return unknown("; ".join(unreadable))
    lines = [(line, commented(line.text)) for line in overriding]
    remedy = _edits("tuning.sysctl-overridden", lines, "lines that override the wizard's values")
    return problem(*evidence, remedy=remedy)


def _live(machine: Machine, key: str) -> str | None:
    now = machine.sysctl(key)
    return now.value if now is not None else None


@check("tuning.live")
def in_effect(machine: Machine, context: Context) -> Outcome:
    wanted = statements(machine)
    if not wanted:
        return not_applicable(f"{SYSCTL_PATH} sets no parameters")
    evidence, remedy = [], []
    for statement in wanted:
        now = machine.sysctl(statement.key)
        if now is None or not now.writable or satisfies(statement.better, now.value, statement.value):
            continue
        evidence.append(Evidence(statement.key, "/proc/sys", now.value, statement.value))
        remedy.append(live_step(statement.key, statement.value, statement.better))
    return problem(*evidence, remedy=remedy)


@check("tuning.systemd-sysctl")
def sysctl_service(machine: Machine, context: Context) -> Outcome:
    unit = machine.unit(UNIT)
    if unit is None:
        return not_applicable(f"{UNIT} is not installed")
    return warning(Evidence(UNIT, "systemctl", "failed", "active")) if unit.active == "failed" else ok()


@check("tuning.sysctl-lowers-better-value")
def not_worse_than_default(machine: Machine, context: Context) -> Outcome:
    evidence = []
    boot, defaults = boot_of(read_files(machine)), own_defaults(machine)
    for key, known in known_parameters().items():
        about = with_default(known, defaults)
        now = machine.sysctl(key)
        if not about.kernel or now is None or not now.writable:
            continue
        deciding = boot.deciding(key, now.value)
        if deciding is None or deciding.value is None:
            continue
        if not satisfies(about.better, deciding.value, about.kernel[0]):
            evidence.append(Evidence(key, deciding.line.place, deciding.value, f"{about.kernel[0]} (the default)"))
    return warning(*evidence, file=SYSCTL_PATH)


@check("tuning.sysctl-not-persistent")
def persistent(machine: Machine, context: Context) -> Outcome:
    stated = {statement.key for statement in statements(machine)}
    boot, defaults = boot_of(read_files(machine)), own_defaults(machine)
    evidence = []
    for key, value in profile("official").sysctl.items():
        now, about = machine.sysctl(key), with_default(parameter(key), defaults)
        # If the default is not known, a good value may be the default.
        if now is None or not now.writable or not about.kernel or now.value in about.kernel:
            continue
        if key in stated or boot.deciding(key, now.value):
            continue
        if about.better in ("higher", "each-field") and satisfies(about.better, now.value, value.value):
            evidence.append(Evidence(key, "/proc/sys", now.value, "a line in a file in /etc/sysctl.d"))
    return warning(*evidence)


@check("tuning.sysctl-unknown-key")
def parameters_exist(machine: Machine, context: Context) -> Outcome:
    absent = [statement.key for statement in statements(machine) if machine.sysctl(statement.key) is None]
    return warning(*(Evidence(key, "/proc/sys", "missing", "present") for key in absent))


@check("tuning.sysctl-port-range-overlap")
def ports_reserved(machine: Machine, context: Context) -> Outcome:
    range_now, reserved = machine.sysctl(PORT_RANGE), machine.sysctl(RESERVED_PORTS)
    if range_now is None or reserved is None:
        return not_applicable(f"this kernel does not have {PORT_RANGE} or {RESERVED_PORTS}")
    if not intervals(range_now.value):
        return unknown(f"{PORT_RANGE} is empty")
    present = intervals(reserved.value)
    needed = union(within(ports_of(context.roles), intervals(range_now.value)[0]), present)
    if needed == present:
        return ok()
    evidence = Evidence(RESERVED_PORTS, "/proc/sys", reserved.value or "none", port_list(needed))
    reserve = live_step(RESERVED_PORTS, port_list(needed), "superset")
    return warning(evidence, remedy=(reserve,), range=range_now.value)


@check("tuning.sysctl-conf-unread")
def old_file_read(machine: Machine, context: Context) -> Outcome:
    """systemd reads /etc/sysctl.conf only by a link in a sysctl.d directory, which Debian 13 no longer has."""
    entry = machine.entry(OLD_FILE)
    if entry is None or entry.type != "file":
        return not_applicable(f"{OLD_FILE} does not exist")
    files = read_files(machine)
    if any(file.path == OLD_FILE for file in files):
        return ok()
    boot, evidence = boot_of(files), []
    for line in parse_procps(OLD_FILE, entry.content or b""):
        key = dotted(line.key)
        deciding = boot.deciding(key)
        if line.value is not None and (deciding is None or deciding.value != line.value):
            set_by = f"{deciding.value} ({deciding.line.place})" if deciding else "not set"
            evidence.append(
                Evidence(f"{key} = {line.value}", line.place, f"at boot: {set_by}", "a file in /etc/sysctl.d")
            )
    return warning(*evidence)


@check("tuning.other-name")
def one_file(machine: Machine, context: Context) -> Outcome:
    if machine.entry(OTHER_SYSCTL_PATH) is None:
        return ok()
    remove = OptionalDropIn(id="tuning.other-name", path=OTHER_SYSCTL_PATH, text="", why="one file is enough")
    return warning(Evidence("file", OTHER_SYSCTL_PATH, "present", "absent"), remedy=(remove,))


@check("tuning.boot")
def at_boot(machine: Machine, context: Context) -> Outcome:
    """systemd starts the unit at boot, and nothing changes what it runs."""
    unit = machine.unit(UNIT)
    if unit is None:
        return not_applicable(f"{UNIT} is not installed")
    started = {name for directory in WANTS for name in machine.names(directory)}
    if unit.enabled.startswith("masked"):
        state, command = "masked", f"systemctl unmask {UNIT}"
    elif started and UNIT not in started:
        state, command = "not started at boot", f"systemctl add-wants sysinit.target {UNIT}"
    elif overridden := _overridden(machine):
        return problem(Evidence("state", UNIT, overridden, "started at boot"), variant="overridden")
    else:
        return ok()
    return problem(Evidence("state", UNIT, state, "started at boot"), command=command)


def _overridden(machine: Machine) -> str:
    """What keeps the unit from running its own program although it is started; empty if nothing does."""
    programs: list[UnitSetting] = []
    for setting in unit_settings(machine, UNIT, "Service", "ExecStart"):
        programs = [*programs, setting] if setting.value else []
    if programs and not any("systemd-sysctl" in setting.value for setting in programs):
        return f"{programs[-1].path} runs {programs[-1].value}"
    for path in drop_ins(machine, UNIT):
        for line in (machine.text(path) or "").splitlines() if path.startswith(LOCAL) else ():
            name, _, value = line.strip().partition("=")
            if name.strip().startswith(("Condition", "Assert")) and value.strip():
                return f"{path} starts it only with {line.strip()}"
    return ""


@check("tuning.swap-thp-advice")
def memory_settings(machine: Machine, context: Context) -> Outcome:
    """Swap and huge pages, for information: the wizard never changes them."""
    swaps = [line.split()[0] for line in (machine.kernel_text("/proc/swaps") or "").split("\n")[1:] if line]
    pages = machine.kernel_text("/sys/kernel/mm/transparent_hugepage/enabled") or "not available"
    return ok(
        Evidence("swap", "/proc/swaps", ", ".join(swaps) or "none", "none on compute nodes, unless intended"),
        Evidence("transparent huge pages", "/sys/kernel/mm", pages, "madvise is best for databases"),
    )


CHECKS = checks_in(sys.modules[__name__], check_limits)
