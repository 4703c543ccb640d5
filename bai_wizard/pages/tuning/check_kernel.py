"""What the doctor looks at in kernel parameters: now, and at the next boot."""

from __future__ import annotations

from bai_wizard.core.context import Context
from bai_wizard.core.finding import Evidence, Finding
from bai_wizard.core.machine import Machine
from bai_wizard.pages.known_ports import ports_of
from bai_wizard.pages.subject import Subject
from bai_wizard.pages.tuning.boot import Assignment, read_files, winner
from bai_wizard.pages.tuning.data import Parameter, catalogue, profile
from bai_wizard.pages.tuning.statements import commented, edits, statements, target_of
from bai_wizard.pages.tuning.sysctl_file import OTHER_NAME, PATH
from bai_wizard.pages.tuning.wanted import PORT_RANGE, RESERVED_PORTS, dotted
from bai_wizard.steps.better import at_least_as_good, intervals, port_list, union, within
from bai_wizard.steps.removable import RemovableDropIn
from bai_wizard.steps.sysctl import LiveSysctl

PAGE = "tuning"
AGAIN = "Apply the tuning page again: it rewrites its file and sets the values."
OVERRIDDEN = Subject("sysctl-overridden", PAGE, "No other file takes our kernel parameters back at the next boot")
QUOTED = Subject("sysctl-quoted-value", PAGE, "No kernel parameter is written with quotes")
LIVE = Subject("tuning.live", PAGE, "The kernel parameters that our file sets are in effect")
FAILED = Subject("tuning.systemd-sysctl", PAGE, "systemd sets the kernel parameters at boot")
LOWERED = Subject("sysctl-lowers-better-value", PAGE, "No file makes a kernel parameter worse than the kernel's own")
LOST = Subject("sysctl-not-persistent", PAGE, "Good kernel parameters outlive a boot")
UNKNOWN_KEY = Subject("sysctl-unknown-key", PAGE, "Every kernel parameter that our file sets exists")
PORTS = Subject("sysctl-port-range-overlap", PAGE, "Outgoing connections leave Backend.AI's ports alone")
OTHER_FILE = Subject("tuning.other-name", PAGE, "There is one file of kernel parameters for Backend.AI")


def overridden(machine: Machine, context: Context) -> Finding:
    """Lines elsewhere that win over ours at the next boot."""
    wanted = statements(machine)
    if not wanted:
        return OVERRIDDEN.not_applicable(f"{PATH} sets nothing")
    files = read_files(machine)
    unreadable = [file.unreadable for file in files if file.unreadable]
    evidence, losers = [], []
    for statement in wanted:
        deciding = winner(files, statement.key)
        if deciding is None or deciding.value is None or deciding.path == PATH:
            continue
        if not at_least_as_good(statement.better, deciding.value, statement.value):
            evidence.append(Evidence(statement.key, deciding.place, deciding.value, statement.value))
            losers.append(deciding)
    if unreadable and not losers:
        return OVERRIDDEN.cannot_tell("; ".join(unreadable))
    if not losers:
        return OVERRIDDEN.ok()
    targets = {line.path: target_of(line) for line in losers}
    lines = [(line.path, line.text, commented(line.text)) for line in losers]
    return OVERRIDDEN.problem(
        f"{len(losers)} kernel parameter{'s' if len(losers) > 1 else ''} will change at the next boot",
        evidence,
        cause="systemd reads all sysctl.d directories by file name, and the last line for a parameter wins.",
        guidance="The remedy comments these lines out. If the other value is meant, put the parameter into exclude.",
        risk="Somebody set these values on purpose, perhaps.",
        remedy=edits(OVERRIDDEN.id, lines, "lines that take our values back", targets),
    )


def quoted(machine: Machine, context: Context) -> Finding:
    """Values in the quotes of a shell: the kernel refuses them, and systemd-sysctl fails at each boot."""
    lines = [item for file in read_files(machine) for item in file.assignments if item.is_quoted]
    if not lines:
        return QUOTED.ok()
    evidence = [Evidence(dotted(line.key), line.place, str(line.value), _plain(line)) for line in lines]
    fixed = [(line.path, line.text, f"{line.text.partition('=')[0].rstrip()} = {_plain(line)}") for line in lines]
    return QUOTED.problem(
        "A kernel parameter is written with quotes, which the kernel refuses",
        evidence,
        cause="Quotes belong to a shell, not to the file; Backend.AI's manual itself prints such a line.",
        guidance="Take the quotes away and set the value.",
        remedy=edits(QUOTED.id, fixed, "no quotes", {line.path: target_of(line) for line in lines}),
    )


def _plain(line: Assignment) -> str:
    return str(line.value).strip("\"'")


def live(machine: Machine, context: Context) -> Finding:
    """What our file says, against what the kernel says."""
    wanted = statements(machine)
    if not wanted:
        return LIVE.not_applicable(f"{PATH} sets nothing")
    evidence, remedy = [], []
    for statement in wanted:
        now = machine.sysctl(statement.key)
        if now is None or not now.writable or at_least_as_good(statement.better, now.value, statement.value):
            continue
        evidence.append(Evidence(statement.key, "/proc/sys", now.value, statement.value))
        remedy.append(
            LiveSysctl(
                id=f"tuning.live.{statement.key}",
                key=statement.key,
                value=statement.value,
                least=statement.value,
                better=statement.better,
            )
        )
    if not evidence:
        return LIVE.ok()
    return LIVE.problem(
        "Kernel parameters are not what our file sets",
        evidence,
        cause="Somebody set them since (sysctl -w, a service, tuned), or the file was never applied.",
        guidance="Set them again; if they change back, find out who sets them: journalctl, tuned-adm active.",
        remedy=remedy,
    )


def failed(machine: Machine, context: Context) -> Finding:
    """The unit that sets the parameters at boot."""
    unit = machine.unit("systemd-sysctl.service")
    if unit is None:
        return FAILED.not_applicable("no systemd-sysctl on this node")
    if unit.active != "failed":
        return FAILED.ok()
    return FAILED.warning(
        "systemd-sysctl failed at boot",
        (Evidence("systemd-sysctl.service", "systemctl", "failed", "active"),),
        cause="A line of some file was refused; the other lines were set.",
        guidance="journalctl -b -u systemd-sysctl names the line. Then: systemctl restart systemd-sysctl.",
    )


def lowered(machine: Machine, context: Context) -> Finding:
    """Lines that make a parameter worse than the kernel's own value."""
    files = read_files(machine)
    evidence = []
    for key, about in catalogue().items():
        deciding = winner(files, key)
        now = machine.sysctl(key)
        if deciding is None or not deciding.value or not about.kernel or now is None or not now.writable:
            continue
        if not at_least_as_good(about.better, deciding.value, about.kernel[0]):
            evidence.append(Evidence(key, deciding.place, deciding.value, f"{about.kernel[0]}, the kernel's own"))
    if not evidence:
        return LOWERED.ok()
    return LOWERED.warning(
        "A file makes kernel parameters worse than they would be without it",
        evidence,
        cause="An old guide's values met a newer kernel, whose own are better.",
        guidance=f"Delete these lines. In {PATH} the tuning page does that with keep_better = true.",
    )


def lost(machine: Machine, context: Context) -> Finding:
    """Values that are good now and that nobody sets at boot."""
    files = read_files(machine)
    stated = {statement.key for statement in statements(machine)}
    evidence = []
    for key, value in profile("official").sysctl.items():
        now, about = machine.sysctl(key), catalogue().get(key, Parameter(key))
        # Without a known default nobody can tell whether a good value is the kernel's own.
        if now is None or not now.writable or not about.kernel or now.value in about.kernel:
            continue
        if key in stated or winner(files, key):
            continue
        if about.better in ("higher", "each-field") and at_least_as_good(about.better, now.value, value.value):
            evidence.append(Evidence(key, "/proc/sys", now.value, "a line in a file below /etc/sysctl.d"))
    if not evidence:
        return LOST.ok()
    return LOST.warning(
        "Kernel parameters are set until the next boot only",
        evidence,
        cause="No file sets them, and the kernel does not have them by itself: somebody used sysctl -w.",
        guidance=AGAIN,
    )


def unknown_key(machine: Machine, context: Context) -> Finding:
    """Parameters of our file that this kernel does not have."""
    absent = [statement.key for statement in statements(machine) if machine.sysctl(statement.key) is None]
    if not absent:
        return UNKNOWN_KEY.ok()
    return UNKNOWN_KEY.warning(
        "Our file sets kernel parameters that this kernel does not have",
        [Evidence(key, "/proc/sys", "missing", "present") for key in absent],
        cause="The kernel dropped them, or the module that brings them is not loaded (nf_conntrack).",
        guidance=AGAIN,
    )


def ports(machine: Machine, context: Context) -> Finding:
    """Backend.AI's ports inside the range for outgoing connections."""
    range_now, reserved = machine.sysctl(PORT_RANGE), machine.sysctl(RESERVED_PORTS)
    if range_now is None or reserved is None:
        return PORTS.not_applicable("this kernel has no such parameters")
    bounds = intervals(range_now.value)[0]
    wanted = within(ports_of(context.roles), bounds)
    present = intervals(reserved.value)
    if union(wanted, present) == present:
        return PORTS.ok()
    both = port_list(union(wanted, present))
    return PORTS.warning(
        "An outgoing connection may take a port of Backend.AI before its service starts",
        (Evidence(RESERVED_PORTS, "/proc/sys", reserved.value or "nothing", both),),
        cause=f"The range for outgoing connections ({range_now.value}) holds ports of this node's roles.",
        guidance=AGAIN + " The remedy reserves them until the next boot.",
        remedy=(
            LiveSysctl(
                id=f"tuning.live.{RESERVED_PORTS}", key=RESERVED_PORTS, value=both, least=both, better="superset"
            ),
        ),
    )


def other_file(machine: Machine, context: Context) -> Finding:
    """The name that Backend.AI's deployment scripts once used."""
    if machine.entry(OTHER_NAME) is None:
        return OTHER_FILE.ok()
    return OTHER_FILE.warning(
        "A second file of kernel parameters for Backend.AI is there",
        (Evidence("file", OTHER_NAME, "present", "absent"),),
        cause="Backend.AI's deployment scripts of 26.4.0 to 26.4.3 wrote this name. Ours is read later and wins.",
        guidance="Compare the two, put what you need into [tuning] sysctl, then remove the older one.",
        remedy=(
            RemovableDropIn(
                id="tuning.other-name", path=OTHER_NAME, text="", why="one file for Backend.AI is enough"
            ),
        ),
    )


CHECKS = (
    # A refused line overrides nothing; whether it would without its quotes is asked once they are gone.
    QUOTED.check(quoted, root_cause=True),
    OVERRIDDEN.check(overridden, needs=(QUOTED.id,)),
    LIVE.check(live),
    FAILED.check(failed),
    LOWERED.check(lowered),
    LOST.check(lost),
    UNKNOWN_KEY.check(unknown_key),
    PORTS.check(ports),
    OTHER_FILE.check(other_file),
)
