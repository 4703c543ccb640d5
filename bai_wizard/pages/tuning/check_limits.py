"""The checks of the Tuning page: limits of logins and services."""

from __future__ import annotations

import re
from math import inf

from msgspec import Struct

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.machine import Machine, NodeView
from bai_wizard.core.page import Context, Evidence
from bai_wizard.core.parse import whole
from bai_wizard.core.step import Step
from bai_wizard.pages.check import Outcome, check, not_applicable, ok, problem, unknown, warning
from bai_wizard.pages.node_state import is_ours, processes_of, read_sshd_rules
from bai_wizard.pages.tuning.files import commented, edits, read_own_file, recorded_limits
from bai_wizard.pages.tuning.limits import (
    LIMITS_PATH,
    SessionLimit,
    hard_limits,
    inherited,
    restart_for,
    shown,
    ungranted,
)
from bai_wizard.pages.tuning.login_session import too_low
from bai_wizard.pages.tuning.pam_limits import (
    KERNEL_WORDS,
    LimitType,
    Login,
    logins,
    parse_kernel,
    parse_limits,
    read_lines,
    session,
)
from bai_wizard.pages.tuning.sysctl import NR_OPEN, live_step
from bai_wizard.steps.files import DropIn
from bai_wizard.steps.services import ServiceLimit, ServiceLimits

DIRECTORY = "/etc/pam.d"
PROFILES = "/etc/profile.d"
# The services by which people and jobs log in.
LOGINS = ("login", "sshd", "su", "su-l", "cron")
MAX_INCLUDES = 8
# The limit on open files that containers get (lablup/backend.ai #5488).
CONTAINER_FILES = 1048576
# The largest fs.nr_open that the kernel accepts (31 bits, in steps of 64).
MAX_OPEN = 2**31 - 64
# Read before the tuning page's own file, which may set a higher value.
NR_OPEN_FILE = "/etc/sysctl.d/98-bai-wizard-nr-open.conf"
# The share of a limit from which on it is almost reached.
NEARLY = 0.8
# Evidence lists this many processes at limit.
MAX_SESSIONS = 5


def _effective(
    machine: Machine, context: Context, user: str, sort: LimitType, item: str
) -> tuple[float | None, str, str]:
    """The limit of the user's logins (None: no limit is known), where it comes from, and the text of that line."""
    lines, _ = read_lines(machine)
    given = session(lines, next(login for login in logins(machine, context, lines) if login.name == user))
    nr_open = machine.sysctl(NR_OPEN)
    value = given.limit(item, sort, inherited(machine), inf if nr_open is None else whole(nr_open.value))
    line = given.lines.get((item, sort)) or given.exempt
    return value, line.place if line else "inherited from sshd or login", line.text if line else ""


class LimitStatement(Struct, frozen=True):
    """A limit of a user's logins that has to be at least `value`."""

    user: str
    sort: str
    item: str
    value: float


def limit_statements(view: NodeView) -> tuple[LimitStatement, ...]:
    """Return what our limits file demands, including kept limits."""
    result = []
    lines = read_own_file(view.text(LIMITS_PATH)).upper
    recorded = dict(recorded_limits(lines))
    for index, line in enumerate(lines):
        if kept := recorded.get(index):
            wanted = parse_limits(LIMITS_PATH, f"{kept.user} {kept.sort} {kept.item} {kept.wanted}")
            result += [LimitStatement(kept.user, kept.sort, kept.item, limit.value) for limit in wanted]
        for limit in parse_limits(LIMITS_PATH, line):
            sorts = ("hard", "soft") if limit.sort == "-" else (limit.sort,)
            result += [LimitStatement(limit.domain, kind, limit.item, limit.value) for kind in sorts]
    return tuple(result)


@check("tuning.pam-limits")
def at_login(machine: Machine, context: Context) -> Outcome:
    """The session stack of every login service runs pam_limits."""
    return warning(
        *(
            Evidence("pam_limits.so", f"{DIRECTORY}/{name}", "missing", "session required pam_limits.so")
            for name in LOGINS
            if machine.entry(f"{DIRECTORY}/{name}") is not None and not reads_limits(machine, name)
        )
    )


def reads_limits(view: NodeView, name: str, depth: int = 0) -> bool:
    """Whether a service's session stack, with everything it includes, runs pam_limits on the default files."""
    if depth > MAX_INCLUDES or "/" in name:
        return False
    for line in (view.text_behind_links(f"{DIRECTORY}/{name}") or "").replace("\\\n", " ").splitlines():
        words = line.partition("#")[0].split()
        if words[:1] == ["@include"] and len(words) > 1:
            if reads_limits(view, words[1], depth + 1):
                return True
        elif len(words) > 2 and words[0].lstrip("-").lower() == "session":
            if words[1] in ("include", "substack") and reads_limits(view, words[2], depth + 1):
                return True
            if words[1] == "sufficient" and words[2].endswith("pam_permit.so"):
                return False  # the stack ends here
            module = next((at for at, word in enumerate(words) if word.endswith("pam_limits.so")), 0)
            # `conf=` makes it read another file instead.
            if module and not any(word.startswith("conf=") for word in words[module + 1 :]):
                return True
    return False


@check("tuning.limits-overridden")
def not_lowered(machine: Machine, context: Context) -> Outcome:
    wanted = [item for item in limit_statements(machine) if item.user in ("root", context.account)]
    if not wanted:
        return not_applicable(f"{LIMITS_PATH} sets no limits for root or {context.account}")
    evidence, lines = [], []
    for item in wanted:
        sort: LimitType = "hard" if item.sort == "hard" else "soft"
        value, location, text = _effective(machine, context, item.user, sort, item.item)
        if value is None or value >= item.value:
            continue
        evidence.append(Evidence(f"{item.user} {item.sort} {item.item}", location, shown(value), shown(item.value)))
        if text and not location.startswith(LIMITS_PATH):
            lines.append((location.rpartition(":")[0], text, commented(text)))
    remedy = edits("tuning.limits-overridden", dict.fromkeys(lines), "lines that lower the wizard's limits")
    return problem(*evidence, remedy=remedy)


@check("tuning.limits-above-kernel-max")
def below_kernel_maximum(machine: Machine, context: Context) -> Outcome:
    """No limit on open files exceeds fs.nr_open: the sessions that it applies to keep the limits they inherit."""
    limit = machine.sysctl("fs.nr_open")
    if limit is None:
        return not_applicable("this kernel does not have fs.nr_open")
    above = [x for x in read_lines(machine)[0] if x.item == "nofile" and whole(limit.value) < x.value < inf]
    if not above:
        return ok()
    evidence = (Evidence(f"{x.domain} {x.sort} nofile", x.place, shown(x.value), limit.value) for x in above)
    return problem(*evidence, remedy=_raise_nr_open(whole(max(line.value for line in above))))


def _raise_nr_open(wanted: int) -> tuple[Step, ...]:
    """Raise it now and at every boot; otherwise, logins would lose the limits at the next boot."""
    if wanted > MAX_OPEN:
        return ()
    value = str(wanted)
    return (
        DropIn(
            id="tuning.nr-open",
            path=NR_OPEN_FILE,
            text=f"# Logins do not get a limit on open files above this.\nfs.nr_open = {value}\n",
            why="logins get their limits on open files after the next boot as well",
        ),
        live_step(NR_OPEN, value, "higher"),
    )


@check("tuning.limits-not-granted", needs_root=True)
def granted(machine: Machine, context: Context) -> Outcome:
    """Logins can get the hard limits that the wizard's file sets.

    In a container this depends on the host and is not a fault of the node; the run that sets the limits reports it.
    """
    users = ("root", context.account)
    wanted = hard_limits((x.sort, x.item, x.value) for x in limit_statements(machine) if x.user in users)
    if not wanted:
        return not_applicable(f"{LIMITS_PATH} sets no hard limits for root or {context.account}")
    refused = ungranted(machine, wanted)
    if not refused:
        return ok()
    if machine.in_container():
        lower = ", ".join(f"hard {each.item} {shown(each.most)} instead of {shown(each.wanted)}" for each in refused)
        return not_applicable(f"the host of this container sets hard limits: {lower}")
    return warning(
        *(Evidence(f"hard {each.item}", "/proc/1/limits", shown(each.most), shown(each.wanted)) for each in refused)
    )


@check(
    "tuning.limits-not-in-effect",
    needs=("tuning.pam-limits", "tuning.limits-overridden", "tuning.limits-above-kernel-max"),
    deadline=25.0,
    needs_root=True,
)
def in_new_sessions(machine: Machine, context: Context) -> Outcome:
    """Sessions of root and of the account, opened through PAM, have the limits of the wizard's file."""
    stated = [x for x in limit_statements(machine) if x.user in ("root", context.account) and x.item in KERNEL_WORDS]
    if not stated:
        return not_applicable(f"{LIMITS_PATH} sets no limits for root or {context.account}")
    refused = {each.item for each in ungranted(machine, hard_limits((x.sort, x.item, x.value) for x in stated))}
    wanted = [
        SessionLimit(x.user, "hard" if x.sort == "hard" else "soft", x.item, shown(x.value))
        for x in stated
        if x.item not in refused
    ]
    lacking = too_low(machine, wanted)
    if lacking:
        return problem(*(Evidence(x.limit.name, "a new session (su)", x.found, x.limit.least) for x in lacking))
    scripts = _scripts_with_limits(machine)
    lacking = too_low(machine, wanted, with_profile=True) if scripts else ()
    if lacking:
        return problem(
            *(Evidence(x.limit.name, "a login shell", x.found, x.limit.least) for x in lacking),
            variant="profile",
            scripts=", ".join(scripts),
        )
    if "sshd" in machine.names("/usr/sbin") and read_sshd_rules(machine, context.account).get("usepam") == ["no"]:
        return problem(Evidence("UsePAM", "sshd -T", "no", "yes"), variant="ssh")
    return ok()


def _scripts_with_limits(machine: Machine) -> list[str]:
    """The scripts of login shells that mention ulimit."""
    paths = ["/etc/profile", *(f"{PROFILES}/{name}" for name in machine.names(PROFILES) if name.endswith(".sh"))]
    return [
        path
        for path in paths
        if re.search(r"^[^#\n]*\bulimit\b", machine.text_behind_links(path) or "", re.MULTILINE)
    ]


@check("tuning.limits-root-wildcard")
def covers_root(machine: Machine, context: Context) -> Outcome:
    """Where `*` has a limit, root has one too: `*` does not match root."""
    lines, _ = read_lines(machine)
    root = session(lines, Login("root", 0, 0))
    everybody = [line for line in lines if line.domain == "*" and line.item in ("nofile", "nproc")]
    covered = {item for item, _ in root.lines}
    without_root = [line for line in everybody if line.item not in covered and root.exempt is None]
    evidence = (
        Evidence(f"* {line.sort} {line.item}", line.place, shown(line.value), "a line for root as well")
        for line in without_root
    )
    return warning(*evidence)


@check("tuning.limits-session-old")
def sessions_current(machine: Machine, context: Context) -> Outcome:
    limit = (context.account, "soft", "nofile")
    wanted = next((x for x in limit_statements(machine) if (x.user, x.sort, x.item) == limit), None)
    if wanted is None:
        return not_applicable(f"{LIMITS_PATH} sets no limit on open files for {context.account}")
    old = []
    for pid, _ in processes_of(machine, context.account):
        try:
            soft, _ = parse_kernel(machine.kernel_text(f"/proc/{pid}/limits")).get("nofile", (inf, inf))
        except StateUnknown:
            continue
        if soft < wanted.value and not is_ours(machine, pid):
            old.append(Evidence(f"process {pid}", f"/proc/{pid}/limits", shown(soft), shown(wanted.value)))
    return warning(*old[:MAX_SESSIONS], account=context.account) if old else ok()


@check("tuning.limits-not-for-services")
def dockerd_limit(machine: Machine, context: Context) -> Outcome:
    unit = machine.unit("docker.service")
    if unit is None or unit.active != "active":
        return not_applicable("docker.service is not running")
    pid = machine.query(("systemctl", "show", "--property=MainPID", "--value", "docker.service")).out.strip()
    limits = parse_kernel(machine.kernel_text(f"/proc/{pid}/limits")).get("nofile")
    if limits is None:
        return unknown(f"/proc/{pid}/limits does not name the limit on open files")
    if limits[1] >= CONTAINER_FILES:
        return ok()
    limit = parse_kernel(machine.kernel_text("/proc/1/limits")).get("nofile", (inf, inf))[1]
    if machine.in_container() and limits[1] >= limit:
        return not_applicable(f"the host of this container allows {shown(limit)} open files")
    step = ServiceLimits(
        id="tuning.service.docker",
        unit="docker.service",
        limits=(ServiceLimit("LimitNOFILE", CONTAINER_FILES),),
        expected=True,
    )
    restart = restart_for("docker", step, ("docker.restart", "gpu.reload"))
    evidence = Evidence("Max open files (hard)", f"/proc/{pid}/limits", shown(limits[1]), str(CONTAINER_FILES))
    return warning(evidence, remedy=(step, restart))


# Prints the UID of the process for each open inotify instance, without descending into the rest of /proc.
FIND_WATCHERS = (
    "find", "/proc", "-mindepth", "1", "-maxdepth", "3",
    "(", "-path", "/proc/[!0-9]*", "-prune", ")",
    "-o", "(", "-path", "/proc/[0-9]*/*", "-type", "d", "!", "-name", "fd", "-prune", ")",
    "-o", "(", "-path", "/proc/[0-9]*/fd/*", "-lname", "anon_inode:inotify", "-printf", "%U\\n", ")",
)  # fmt: skip


@check("tuning.process-count")
def process_count(machine: Machine, context: Context) -> Outcome:
    """The account's threads, including those of containers with its UID, are far below its limit."""
    soft, location, _ = _effective(machine, context, context.account, "soft", "nproc")
    if soft is None or soft == inf:
        return not_applicable("the account has no process limit")
    threads = len(machine.query(("ps", "-L", "-o", "lwp=", "-u", str(context.uid))).out.split())
    evidence = Evidence(f"threads of UID {context.uid}", "ps", str(threads), f"fewer than {shown(soft)} ({location})")
    return ok(evidence) if threads < soft * NEARLY else warning(evidence, uid=context.uid)


@check("tuning.inotify-limits", deadline=9.0, needs_root=True)
def inotify_instances(machine: Machine, context: Context) -> Outcome:
    """inotify instances are counted per UID over all containers; a low limit is fine while few are in use."""
    key = "fs.inotify.max_user_instances"
    now = machine.sysctl(key)
    if now is None or "compute" not in context.roles:
        return not_applicable("this node does not run user containers")
    uids = machine.query(FIND_WATCHERS, deadline=8.0).out.split()
    uid, used = max(((each, uids.count(each)) for each in set(uids)), key=lambda pair: pair[1], default=("", 0))
    what = f"inotify instances of UID {uid}" if uid else "inotify instances"
    evidence = Evidence(what, "/proc/*/fd", str(used), f"below {now.value}")
    if used < whole(now.value) * NEARLY:
        return ok(evidence)
    return warning(evidence, Evidence(key, "/proc/sys", now.value, "8192"))
