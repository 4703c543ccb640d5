"""The Tuning page: steps for kernel parameters, login limits and limits of services."""

from __future__ import annotations

from collections.abc import Collection
from math import inf

from msgspec.structs import replace

from bai_wizard.core.page import Absent, Context, Known, Page, Unsupported, refusals
from bai_wizard.core.parse import module_name, whole
from bai_wizard.core.step import Interrupt, Step
from bai_wizard.pages import TITLES, checks_of
from bai_wizard.pages.node_state import ports_of
from bai_wizard.pages.tuning.boot_sysctl import Boot, boot_of
from bai_wizard.pages.tuning.files import OwnFile, RecordedParameter, read_own_file
from bai_wizard.pages.tuning.limits import (
    LIMITS_PATH,
    LimitDecision,
    decide_limit,
    limit_overrides,
    limits_text,
    restart_for,
    session_limits,
    with_our_limits,
    without_our_limits,
)
from bai_wizard.pages.tuning.login_session import LoginLimits
from bai_wizard.pages.tuning.probe import TuningFacts, probe
from bai_wizard.pages.tuning.rows import ROWS, items, now
from bai_wizard.pages.tuning.settings import ServiceLimits, TuningSettings
from bai_wizard.pages.tuning.sysctl import (
    NR_OPEN,
    PORT_RANGE,
    RESERVED_PORTS,
    SYSCTL_PATH,
    Decision,
    DesiredValue,
    decide_parameter,
    derived,
    desired_values,
    dotted,
    items_of,
    live_step,
    live_value,
    profile,
    records,
    role_values,
    sysctl_overrides,
    sysctl_text,
    with_default,
    with_our_sysctl,
    without_our_sysctl,
)
from bai_wizard.steps.kernel import (
    Interval,
    KernelModules,
    LiveSysctl,
    SysctlFile,
    intervals,
    port_list,
    union,
    within,
)
from bai_wizard.steps.services import ServiceLimit
from bai_wizard.steps.services import ServiceLimits as ServiceLimitsStep

ABSENT = Absent()


def remembered(result: OwnFile) -> Collection[str]:
    """Return the keys that were ours: our part records each."""
    return records(result.upper).keys() if result.is_ours else ()


def decisions(
    settings: TuningSettings, facts: TuningFacts, context: Context, open_files: int
) -> tuple[Decision, ...]:
    """Decide on each parameter. `open_files` is the largest limit on open files that is written."""
    boot = boot_of(without_our_sysctl(facts.sysctl_files))
    value = read_own_file(facts.own_sysctl)
    known: dict[str, RecordedParameter] = records(value.upper) if value.is_ours else {}

    def decided(item: DesiredValue) -> Decision:
        item = replace(item, about=with_default(item.about, facts.own_defaults))
        live = facts.live.get(item.key, ABSENT)
        other = boot.deciding(item.key, live_value(live))
        return decide_parameter(item, live, other, known.get(item.key), loadable=not facts.in_container)

    result = [decided(item) for item in desired_values(settings)]
    named = {item.wanted.key for item in result} | {dotted(key) for key in settings.exclude}
    for role in context.roles:
        needed = role_values(role).items()
        result += [decided(derived(key, each.value, each.reason)) for key, each in needed if key not in named]
    if NR_OPEN not in named and _is_too_low(facts, boot, known.get(NR_OPEN), open_files):
        why = "Required by the limits of open files below; logins do not get a limit above it."
        result.append(decided(derived(NR_OPEN, str(open_files), why)))
    if RESERVED_PORTS not in named:
        ports = reserved_ports(settings, context, _port_range(result, facts))
        if ports:
            result.append(decided(derived(RESERVED_PORTS, port_list(ports))))
    return tuple(result)


def _is_too_low(facts: TuningFacts, boot: Boot, record: RecordedParameter | None, open_files: int) -> bool:
    """Whether fs.nr_open without us, now or as set by another file at boot, is below `open_files`."""
    live = facts.live.get(NR_OPEN)
    at_boot = boot.deciding(NR_OPEN, live_value(live))
    values = [at_boot.value] if at_boot is not None and at_boot.value else []
    if record is not None:
        values.append(record.before or "0")
    elif isinstance(live, Known):
        values.append(live.value.value)
    return any(value.isdecimal() and whole(value) < open_files for value in values)


def _port_range(decided: list[Decision], facts: TuningFacts) -> Interval | None:
    """The future range for outgoing connections; None if unknown."""
    for decision in decided:
        if decision.wanted.key == PORT_RANGE and not decision.is_missing:
            return _interval(decision.value)
    live = facts.live.get(PORT_RANGE)
    return _interval(live.value.value) if isinstance(live, Known) else None


def _interval(text: str) -> Interval | None:
    try:
        result = intervals(text)
    except ValueError:
        return None
    return result[0] if len(result) == 1 else None


def reserved_ports(settings: TuningSettings, context: Context, bounds: Interval | None) -> tuple[Interval, ...]:
    """Return the ports to reserve: those of the roles and the answers that outgoing connections could use."""
    if bounds is None:
        return ()
    asked: tuple[Interval, ...] = ()
    for entry in settings.reserved_ports:
        asked = union(asked, ports_of(context.roles) if entry == "auto" else intervals(entry))
    return within(asked, bounds)


MODULES_PATH = "/etc/modules-load.d/99-backendai.conf"
MODULES_STEP = "tuning.modules"


def steps(settings: TuningSettings, facts: TuningFacts, context: Context) -> tuple[Step, ...]:
    """Return all steps of the page."""
    limits = login_limits(settings, facts)
    kernel = decisions(settings, facts, context, most_open_files(settings, facts, limits))
    return (
        *_modules(kernel, facts),
        *_sysctl(settings, facts, kernel),
        *_limits(settings, facts, limits),
        *_services(settings, facts, context),
        *refusals(facts.unfixed),
    )


def login_limits(settings: TuningSettings, facts: TuningFacts) -> tuple[LimitDecision, ...]:
    """Decide on the limits of logins of root and of the account."""
    lines = without_our_limits(facts.limit_lines)
    return decide_limit(items_of(settings.limits), facts.logins, lines, facts.inherited, _nr_open(facts))


def _nr_open(facts: TuningFacts) -> float:
    live = facts.live.get(NR_OPEN)
    return whole(live.value.value) if isinstance(live, Known) else inf


def most_open_files(settings: TuningSettings, facts: TuningFacts, limits: tuple[LimitDecision, ...]) -> int:
    """Return the largest limit on open files that we write, or that the agent's unit has."""
    services = [service.nofile for service in settings.services.values() if service.nofile is not None]
    agent = 0 if facts.agent_files == inf else whole(facts.agent_files)
    return max((*_open_files(limits), *services, agent), default=0)


def _open_files(limits: tuple[LimitDecision, ...]) -> tuple[int, ...]:
    return tuple(whole(limit.wanted) for limit in limits if limit.item == "nofile" and limit.has_line)


def _modules(kernel: tuple[Decision, ...], facts: TuningFacts) -> tuple[Step, ...]:
    modules = tuple(dict.fromkeys(item.wanted.about.module for item in kernel if item.wanted.about.module))
    if not modules or facts.in_container:
        return ()
    text = "\n".join(
        ("# Written by bai-wizard: they bring parameters of 99-backendai.conf.", *map(module_name, modules), "")
    )
    step = KernelModules(
        id=MODULES_STEP, path=MODULES_PATH, text=text, why="modules that provide kernel parameters", modules=modules
    )
    return (step,)


def _sysctl(settings: TuningSettings, facts: TuningFacts, kernel: tuple[Decision, ...]) -> tuple[Step, ...]:
    result = read_own_file(facts.own_sysctl)
    text = sysctl_text(profile(settings.profile), kernel, result, remembered(result))
    file = SysctlFile(id="tuning.sysctl-file", path=SYSCTL_PATH, text=text, why="set kernel parameters at every boot")
    planned = (file, *map(_live, kernel))
    overrides = [
        item.tell() for item in sysctl_overrides(with_our_sysctl(facts.sysctl_files, text), kernel, facts.live)
    ]
    title = "kernel parameters that another file overrides at the next boot"
    return (*planned, *_overridden("tuning.sysctl-overridden", title, overrides))


def _overridden(id: str, title: str, lines: list[str]) -> tuple[Unsupported, ...]:
    """Lines of other files that override ours, and the check that can comment them out."""
    reason = f"{'; '.join(lines)}. `bai-wizard doctor --fix {id}` shows the diff and comments out such lines"
    return (Unsupported(id=id, optional=True, title=title, reason=reason),) if lines else ()


def _live(decision: Decision) -> LiveSysctl:
    desired, module = decision.wanted, decision.wanted.about.module
    return replace(
        live_step(desired.key, decision.value, desired.better),
        least=desired.value,
        module="" if decision.is_missing else module,
        loaded_by=MODULES_STEP if module else "",
    )


def _limits(settings: TuningSettings, facts: TuningFacts, limits: tuple[LimitDecision, ...]) -> tuple[Step, ...]:
    text = limits_text(limits, read_own_file(facts.own_limits))
    all_lines = with_our_limits(facts.limit_lines, text)
    nr_open = max(_nr_open(facts), most_open_files(settings, facts, limits))
    refused = {each.item for each in facts.ungranted}
    verified = [each for each in limits if facts.opens_sessions and each.item not in refused]
    file = LoginLimits(
        id="tuning.limits-file",
        path=LIMITS_PATH,
        text=text,
        why="set limits for logins",
        effect="next-login",
        open_files=max(_open_files(limits), default=0),
        warned=_warned(facts),
        sessions=session_limits(verified, all_lines, facts.logins, facts.inherited, nr_open),
    )
    lines = limit_overrides(all_lines, limits, facts.logins, nr_open)
    overrides = [f"{line.place} contains `{' '.join(line.text.split())}`" for line in lines]
    title = "limits for logins that another file lowers"
    return (file, *_overridden("tuning.limits-overridden", title, overrides))


def _warned(facts: TuningFacts) -> str:
    message = ", ".join(each.tell() for each in facts.ungranted)
    return f"{message}: this node cannot raise it; its host sets it" if message else ""


def _services(settings: TuningSettings, facts: TuningFacts, context: Context) -> tuple[Step, ...]:
    planned: list[Step] = []
    processes = facts.inherited.get("nproc", (0.0, 0.0))[1]
    for name, wanted in settings.services.items():
        unit = name if name.endswith(".service") else f"{name}.service"
        is_docker = unit == "docker.service"
        limits = ServiceLimitsStep(
            id=f"tuning.service.{name}",
            unit=unit,
            limits=_directives(wanted),
            expected=is_docker and "docker" in context.applied,
            processes=0 if processes == inf else whole(processes),
        )
        interrupts: tuple[Interrupt, ...] = ("docker.restart", "gpu.reload") if is_docker else ("gpu.reload",)
        planned += [limits, restart_for(name, limits, interrupts)]
    return tuple(planned)


def _directives(wanted: ServiceLimits) -> tuple[ServiceLimit, ...]:
    result = []
    if wanted.nofile is not None:
        result.append(ServiceLimit("LimitNOFILE", wanted.nofile))
    if wanted.nproc is not None:
        result.append(ServiceLimit("LimitNPROC", wanted.nproc))
    if wanted.memlock is not None:
        result.append(ServiceLimit("LimitMEMLOCK", -1 if wanted.memlock == "unlimited" else wanted.memlock * 1024))
    return tuple(result)


PAGE = Page(
    name="tuning",
    title=TITLES["tuning"],
    summary="Kernel parameters and limits for large numbers of connections, files and processes.",
    settings=TuningSettings,
    probe=probe,
    steps=steps,
    checks=checks_of("tuning"),
    now=now,
    rows=ROWS,
    items=items,
)
