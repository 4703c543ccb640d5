"""The steps of tuning: the file first, then the live values, then limits of logins and of services."""

from __future__ import annotations

from math import inf

from bai_wizard.core.context import Context
from bai_wizard.core.step import Interrupt, Step
from bai_wizard.pages.tuning import limits_file, sysctl_file
from bai_wizard.pages.tuning.data import profile
from bai_wizard.pages.tuning.decide import Decision
from bai_wizard.pages.tuning.facts import TuningFacts
from bai_wizard.pages.tuning.kernel import decisions, remembered
from bai_wizard.pages.tuning.own_file import read
from bai_wizard.pages.tuning.pam_limits import LimitDecision, decide
from bai_wizard.pages.tuning.settings import LimitSettings, ServiceLimits, TuningSettings
from bai_wizard.steps.kernel_module import KernelModules
from bai_wizard.steps.limits import LoginLimits
from bai_wizard.steps.refusal import Refusal
from bai_wizard.steps.service_limits import RestartForLimits, ServiceLimit
from bai_wizard.steps.service_limits import ServiceLimits as ServiceLimitsStep
from bai_wizard.steps.sysctl import LiveSysctl, SysctlFile

MODULES_PATH = "/etc/modules-load.d/99-backendai.conf"
MODULES_STEP = "tuning.modules"
KIB = 1024
_OFFER = "`bai-wizard doctor --fix {}` comments such lines out, after their diff was shown"


def steps(settings: TuningSettings, facts: TuningFacts, context: Context) -> tuple[Step, ...]:
    """All steps of the page."""
    limits = login_limits(settings, facts, context)
    kernel = decisions(settings, facts, context, most_open_files(settings, limits))
    return (
        *_modules(kernel, facts),
        *_sysctl(settings, facts, kernel),
        *_limits(settings, facts, context, limits),
        *_services(settings, facts, context),
    )


def login_limits(settings: TuningSettings, facts: TuningFacts, context: Context) -> tuple[LimitDecision, ...]:
    """What logins of root and of the account are to get."""
    lines = limits_file.without_ours(facts.limit_lines)
    return decide(_items(settings.limits), _users(facts, context), lines, facts.inherited)


def _users(facts: TuningFacts, context: Context) -> dict[str, tuple[str, ...]]:
    return {"root": (), context.account: facts.groups}


def _items(limits: LimitSettings) -> dict[str, float]:
    items: dict[str, float] = {"nofile": limits.nofile, "nproc": limits.nproc}
    if limits.memlock is not None:
        items["memlock"] = inf if limits.memlock == "unlimited" else limits.memlock
    return items


def most_open_files(settings: TuningSettings, limits: tuple[LimitDecision, ...]) -> int:
    """The largest limit of open files that we write anywhere."""
    logins = [int(limit.wanted) for limit in limits if limit.item == "nofile" and limit.has_line]
    services = [service.nofile for service in settings.services.values() if service.nofile is not None]
    return max((*logins, *services), default=0)


def _modules(kernel: tuple[Decision, ...], facts: TuningFacts) -> tuple[Step, ...]:
    modules = tuple(dict.fromkeys(item.wanted.module for item in kernel if item.wanted.module))
    if not modules or facts.in_container:
        return ()
    text = "\n".join(("# Written by bai-wizard: they bring parameters of 99-backendai.conf.", *modules, ""))
    step = KernelModules(
        id=MODULES_STEP, path=MODULES_PATH, text=text, why="modules that bring parameters", modules=modules
    )
    return (step,)


def _sysctl(settings: TuningSettings, facts: TuningFacts, kernel: tuple[Decision, ...]) -> tuple[Step, ...]:
    found = read(facts.own_sysctl)
    text = sysctl_file.render(profile(settings.profile), kernel, found, remembered(found))
    file = SysctlFile(
        id="tuning.sysctl-file", path=sysctl_file.PATH, text=text, why="kernel parameters, set at every boot"
    )
    planned: list[Step] = [file, *(_live(item) for item in kernel)]
    beaten = sysctl_file.overrides(sysctl_file.with_ours(facts.sysctl_files, text), kernel)
    if beaten:
        told = "; ".join(item.tell() for item in beaten)
        planned.append(
            Refusal(
                id="tuning.sysctl-overridden",
                optional=True,
                title="kernel parameters that another file takes back at the next boot",
                reason=f"{told}. {_OFFER.format('sysctl-overridden')}",
            )
        )
    return tuple(planned)


def _live(decision: Decision) -> LiveSysctl:
    wanted = decision.wanted
    return LiveSysctl(
        id=f"tuning.live.{wanted.key}",
        key=wanted.key,
        value=decision.value,
        least=wanted.value,
        better=wanted.better,
        module="" if decision.is_missing else wanted.module,
        loaded_by=MODULES_STEP if wanted.module else "",
    )


def _limits(
    settings: TuningSettings, facts: TuningFacts, context: Context, limits: tuple[LimitDecision, ...]
) -> tuple[Step, ...]:
    text = limits_file.render(limits, read(facts.own_limits))
    open_files = max((int(limit.wanted) for limit in limits if limit.item == "nofile" and limit.has_line), default=0)
    planned: list[Step] = [
        LoginLimits(
            id="tuning.limits-file",
            path=limits_file.PATH,
            text=text,
            why="limits of logins",
            effect="next-login",
            open_files=open_files,
        )
    ]
    lines = limits_file.with_ours(facts.limit_lines, text)
    beaten = limits_file.overrides(lines, limits, _users(facts, context))
    if beaten:
        told = "; ".join(f"{line.place} says `{' '.join(line.text.split())}`" for line in beaten)
        planned.append(
            Refusal(
                id="tuning.limits-overridden",
                optional=True,
                title="limits of logins that another file lowers again",
                reason=f"{told}. {_OFFER.format('limits-overridden')}",
            )
        )
    return tuple(planned)


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
            processes=0 if processes == inf else int(processes),
        )
        interrupts: tuple[Interrupt, ...] = ("docker.restart", "gpu.reload") if is_docker else ("gpu.reload",)
        restart = RestartForLimits(
            id=f"tuning.restart.{name}",
            unit=unit,
            enabled=None,
            active=None,
            reads=(limits.path,),
            if_running=True,
            interrupts=interrupts,
        )
        planned += [limits, restart]
    return tuple(planned)


def _directives(wanted: ServiceLimits) -> tuple[ServiceLimit, ...]:
    found = []
    if wanted.nofile is not None:
        found.append(ServiceLimit("LimitNOFILE", wanted.nofile))
    if wanted.nproc is not None:
        found.append(ServiceLimit("LimitNPROC", wanted.nproc))
    if wanted.memlock is not None:
        found.append(ServiceLimit("LimitMEMLOCK", -1 if wanted.memlock == "unlimited" else wanted.memlock * KIB))
    return tuple(found)
