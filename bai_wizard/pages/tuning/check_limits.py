"""What the doctor looks at in limits: of logins, of the sessions that run, of services."""

from __future__ import annotations

import re
from math import inf

from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.finding import Evidence, Finding
from bai_wizard.core.machine import Machine
from bai_wizard.core.step import Step
from bai_wizard.pages.subject import Subject
from bai_wizard.pages.tuning.inherited import inherited
from bai_wizard.pages.tuning.limits_file import PATH
from bai_wizard.pages.tuning.pam_limits import Sort, deciding, parse_kernel, read_lines, shown
from bai_wizard.pages.tuning.probe import account_groups
from bai_wizard.pages.tuning.statements import LimitStatement, commented, edits, limit_statements
from bai_wizard.steps.service_limits import RestartForLimits, ServiceLimit, ServiceLimits
from bai_wizard.steps.sysctl import LiveSysctl
from bai_wizard.steps.write_file import DropIn

PAGE = "tuning"
# What containers are given as their limit of open files (lablup/backend.ai #5488).
CONTAINER_FILES = 1048576
# The kernel's own bound of fs.nr_open (31 bits, in steps of 64).
MOST_OPEN = 2**31 - 64
# Read before the tuning page's own file, which may ask for more.
NR_OPEN_FILE = "/etc/sysctl.d/98-bai-wizard-nr-open.conf"
# Processes looked at, at most: a session that is older than the limits shows in the first ones.
MOST_PROCESSES = 100
NEARLY = 0.8
OVERRIDDEN = Subject("limits-overridden", PAGE, "No other file lowers our limits of logins")
TOO_HIGH = Subject("limits-above-kernel-max", PAGE, "No limit of open files is above what the kernel allows")
WILDCARD = Subject("limits-root-wildcard", PAGE, "Limits for everybody have a line for root too")
OLD_SESSION = Subject("limits-session-old", PAGE, "The account's sessions run with the limits that are configured")
PAM = Subject("tuning.pam-limits", PAGE, "Logins read the limits files")
SERVICES = Subject("limits-not-for-services", PAGE, "The container engine may open enough files")
PROCESSES = Subject("tuning.process-count", PAGE, "The account is far from its limit of processes", owner="site")
INOTIFY = Subject("inotify-limits", PAGE, "There are enough file watchers for containers", owner="site")
MEMORY = Subject("swap-thp-advice", PAGE, "Swap and huge pages")


def _effective(machine: Machine, context: Context, user: str, sort: Sort, item: str) -> tuple[float | None, str, str]:
    """What a login of the user gets, where that is decided, and the line's text."""
    lines, _ = read_lines(machine)
    groups = () if user == "root" else account_groups(machine, context.account, lines)
    line = deciding(lines, user, groups, item, sort)
    if line is not None:
        return line.value, line.place, line.text
    pair = inherited(machine).get(item)
    return (pair[0 if sort == "soft" else 1] if pair else None), "what sshd and login hand on", ""


def overridden(machine: Machine, context: Context) -> Finding:
    """What a login will really get, against what our file asks for."""
    wanted = [item for item in limit_statements(machine) if item.user in ("root", context.account)]
    if not wanted:
        return OVERRIDDEN.not_applicable(f"{PATH} sets nothing for root and {context.account}")
    evidence, lines = [], []
    for item in wanted:
        sort: Sort = "hard" if item.sort == "hard" else "soft"
        value, place, text = _effective(machine, context, item.user, sort, item.item)
        if value is None or value >= item.value:
            continue
        evidence.append(Evidence(f"{item.user} {item.sort} {item.item}", place, shown(value), shown(item.value)))
        if text and not place.startswith(PATH):
            lines.append((place.rpartition(":")[0], text, commented(text)))
    if not evidence:
        return OVERRIDDEN.ok()
    return OVERRIDDEN.problem(
        "A login will get lower limits than our file asks for",
        evidence,
        cause="Of several lines for one user the last one read wins; files below limits.d are read by name.",
        guidance="The remedy comments the other lines out. Where no file is named, apply the tuning page again.",
        remedy=edits(OVERRIDDEN.id, dict.fromkeys(lines), "lines that lower our limits"),
    )


def too_high(machine: Machine, context: Context) -> Finding:
    """Limits of open files above fs.nr_open: with these nobody can log in."""
    most = machine.sysctl("fs.nr_open")
    if most is None:
        return TOO_HIGH.not_applicable("this kernel has no fs.nr_open")
    lines, _ = read_lines(machine)
    above = [line for line in lines if line.item == "nofile" and int(most.value) < line.value < inf]
    if not above:
        return TOO_HIGH.ok()
    return TOO_HIGH.problem(
        "A limit of open files is above fs.nr_open: logins are refused",
        [Evidence(f"{line.domain} {line.sort} nofile", line.place, shown(line.value), most.value) for line in above],
        cause="The kernel grants no process more than fs.nr_open, and pam_limits then refuses the session.",
        guidance="Keep this session open until a second login works. Raise fs.nr_open, or lower the lines named.",
        risk="Closing the last session locks you out.",
        remedy=_raise_nr_open(int(max(line.value for line in above))),
    )


def _raise_nr_open(wanted: int) -> tuple[Step, ...]:
    """Now, and at the next boot: else that one would lock everybody out."""
    if wanted > MOST_OPEN:
        return ()
    value = str(wanted)
    return (
        DropIn(
            id="tuning.nr-open",
            path=NR_OPEN_FILE,
            text=f"# Logins whose limit of open files is above this are refused.\nfs.nr_open = {value}\n",
            why="logins work after the next boot, too",
        ),
        LiveSysctl(id="tuning.live.fs.nr_open", key="fs.nr_open", value=value, least=value, better="higher"),
    )


def wildcard(machine: Machine, context: Context) -> Finding:
    """`*` does not hold for root."""
    lines, _ = read_lines(machine)
    everybody = [line for line in lines if line.domain == "*" and line.item in ("nofile", "nproc")]
    alone = [line for line in everybody if not any(x.domain == "root" and x.item == line.item for x in lines)]
    if not alone:
        return WILDCARD.ok()
    return WILDCARD.warning(
        "Limits for everybody leave root out",
        [
            Evidence(f"* {line.sort} {line.item}", line.place, shown(line.value), "a line for root too")
            for line in alone
        ],
        cause="In limits.conf `*` does not hold for root, and the agent runs as root.",
        guidance="Apply the tuning page: it writes lines for root and for the account.",
    )


def _is_ours(machine: Machine, pid: str) -> bool:
    """True for what this wizard started: it looks at the account's files, and asks programs, as the account."""
    for _ in range(8):
        if re.search(r"bai[_-]wizard", machine.kernel_text(f"/proc/{pid}/cmdline") or ""):
            return True
        parent = re.search(r"^PPid:\s*(\d+)", machine.kernel_text(f"/proc/{pid}/status") or "", re.MULTILINE)
        if parent is None or parent.group(1) in ("0", "1"):
            return False
        pid = parent.group(1)
    return False


def old_session(machine: Machine, context: Context) -> Finding:
    """Running processes of the account that started before the limits were raised."""
    wanted: LimitStatement | None = next(
        (x for x in limit_statements(machine) if (x.user, x.sort, x.item) == (context.account, "soft", "nofile")),
        None,
    )
    if wanted is None:
        return OLD_SESSION.not_applicable(f"{PATH} sets nothing for {context.account}")
    answer = machine.look(("pgrep", "-u", context.account))
    old = []
    for pid in answer.out.split()[:MOST_PROCESSES]:
        if _is_ours(machine, pid):
            continue
        try:
            soft, _ = parse_kernel(machine.kernel_text(f"/proc/{pid}/limits")).get("nofile", (inf, inf))
        except CannotTell:
            continue
        if soft < wanted.value:
            old.append(Evidence(f"process {pid}", f"/proc/{pid}/limits", shown(soft), shown(wanted.value)))
    if not old:
        return OLD_SESSION.ok()
    return OLD_SESSION.warning(
        f"{context.account} has processes with limits of before",
        old[:5],
        cause="Limits are given when a session starts. Processes of services have those of their unit.",
        guidance="Log out of all sessions of the account and in again. A service needs a drop-in: [tuning] services.",
    )


def pam(machine: Machine, context: Context) -> Finding:
    """The session stacks that must name pam_limits."""
    shared = "".join(
        machine.text(f"/etc/pam.d/{name}") or "" for name in ("common-session", "common-session-noninteractive")
    )
    missing = [
        name
        for name in ("login", "sshd", "su", "cron")
        if (text := machine.text(f"/etc/pam.d/{name}")) is not None
        and not _has_limits(text)
        and not _has_limits(shared)
    ]
    if not missing:
        return PAM.ok()
    return PAM.warning(
        "Some logins do not read the limits files",
        [
            Evidence("pam_limits.so", f"/etc/pam.d/{name}", "missing", "session required pam_limits.so")
            for name in missing
        ],
        cause="The line was taken out, or the files come from another system.",
        guidance="Add `session required pam_limits.so` to the files named.",
    )


def _has_limits(text: str) -> bool:
    return any("pam_limits.so" in line for line in text.split("\n") if not line.lstrip().startswith("#"))


def services(machine: Machine, context: Context) -> Finding:
    """What the running dockerd may open."""
    unit = machine.unit("docker.service")
    if unit is None or unit.active != "active":
        return SERVICES.not_applicable("docker.service does not run")
    pid = machine.look(("systemctl", "show", "--property=MainPID", "--value", "docker.service")).out.strip()
    limits = parse_kernel(machine.kernel_text(f"/proc/{pid}/limits")).get("nofile")
    if limits is None:
        raise CannotTell(f"/proc/{pid}/limits says nothing of open files")
    if limits[1] >= CONTAINER_FILES:
        return SERVICES.ok()
    most = parse_kernel(machine.kernel_text("/proc/1/limits")).get("nofile", (inf, inf))[1]
    if machine.in_container() and limits[1] >= most:
        return SERVICES.not_applicable(f"this node is a container, whose host allows it {shown(most)} open files")
    step = ServiceLimits(
        id="tuning.service.docker",
        unit="docker.service",
        limits=(ServiceLimit("LimitNOFILE", CONTAINER_FILES),),
        expected=True,
    )
    restart = RestartForLimits(
        id="tuning.restart.docker",
        unit="docker.service",
        enabled=None,
        active=None,
        reads=(step.path,),
        if_running=True,
        interrupts=("docker.restart", "gpu.reload"),
    )
    return SERVICES.warning(
        "dockerd may open fewer files than containers ask for",
        (Evidence("Max open files (hard)", f"/proc/{pid}/limits", shown(limits[1]), str(CONTAINER_FILES)),),
        cause="The limits of logins do not reach services; these have LimitNOFILE= of their own.",
        guidance="The remedy writes a drop-in and restarts dockerd, which stops containers without live-restore.",
        risk="Running containers stop.",
        remedy=(step, restart),
    )


# Open watchers by the uid of their process, without walking into what else /proc holds.
FIND_WATCHERS = (
    "find", "/proc", "-mindepth", "1", "-maxdepth", "3",
    "(", "-path", "/proc/[!0-9]*", "-prune", ")",
    "-o", "(", "-path", "/proc/[0-9]*/*", "-type", "d", "!", "-name", "fd", "-prune", ")",
    "-o", "(", "-path", "/proc/[0-9]*/fd/*", "-lname", "anon_inode:inotify", "-printf", "%U\\n", ")",
)  # fmt: skip


def processes(machine: Machine, context: Context) -> Finding:
    """Threads of the account's uid; those of containers that run under it count as well."""
    soft, place, _ = _effective(machine, context, context.account, "soft", "nproc")
    if soft is None or soft == inf:
        return PROCESSES.not_applicable("the account has no such limit")
    threads = len(machine.look(("ps", "-L", "-o", "lwp=", "-u", str(context.uid))).out.split())
    found = Evidence(f"threads of uid {context.uid}", "ps", str(threads), f"fewer than {shown(soft)} ({place})")
    if threads < soft * NEARLY:
        return PROCESSES.ok(found)
    return PROCESSES.warning(
        "The account is near its limit of processes",
        (found,),
        cause=f"All threads under uid {context.uid} count, also those of containers that run as this uid.",
        guidance="Raise [tuning] limits.nproc.",
    )


def inotify(machine: Machine, context: Context) -> Finding:
    """Watchers are counted per uid over all containers; few are no fault as long as few are used."""
    key = "fs.inotify.max_user_instances"
    now = machine.sysctl(key)
    if now is None or "compute" not in context.roles:
        return INOTIFY.not_applicable("this node runs no containers of users")
    uids = machine.look(FIND_WATCHERS, deadline=8.0).out.split()
    uid, used = max(((each, uids.count(each)) for each in set(uids)), key=lambda pair: pair[1], default=("", 0))
    found = Evidence(f"watchers of uid {uid}" if uid else "watchers", "/proc/*/fd", str(used), f"below {now.value}")
    if used < int(now.value) * NEARLY:
        return INOTIFY.ok(found)
    return INOTIFY.warning(
        "A user is near its limit of file watchers",
        (found, Evidence(key, "/proc/sys", now.value, "8192")),
        cause="The kernel's 128 watchers are for one user of a desktop; containers of one uid share them.",
        guidance=f'Raise {key} on all nodes alike: [tuning] profile = "compute" does, or [tuning] sysctl.',
        risk="Each watcher takes memory of the kernel that no container's limit counts.",
    )


def memory(machine: Machine, context: Context) -> Finding:
    """Told, never changed."""
    swaps = [line.split()[0] for line in (machine.kernel_text("/proc/swaps") or "").split("\n")[1:] if line]
    pages = machine.kernel_text("/sys/kernel/mm/transparent_hugepage/enabled") or "not there"
    return MEMORY.ok(
        Evidence("swap", "/proc/swaps", ", ".join(swaps) or "none", "none on compute nodes, or the site's choice"),
        Evidence("transparent huge pages", "/sys/kernel/mm", pages, "madvise suits databases"),
    )


CHECKS = (
    OVERRIDDEN.check(overridden),
    TOO_HIGH.check(too_high),
    WILDCARD.check(wildcard),
    OLD_SESSION.check(old_session),
    PAM.check(pam),
    SERVICES.check(services),
    PROCESSES.check(processes),
    INOTIFY.check(inotify, deadline=9.0, needs_root=True),
    MEMORY.check(memory),
)
