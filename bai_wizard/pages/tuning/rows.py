"""The table of the Tuning page: each kernel parameter and limit, now and desired."""

from __future__ import annotations

from bai_wizard.core.page import Context, Item, Known, Row, Unknown, cannot_tell
from bai_wizard.locale import N_
from bai_wizard.pages.tuning.limits import shown
from bai_wizard.pages.tuning.probe import TuningFacts
from bai_wizard.pages.tuning.settings import TuningSettings
from bai_wizard.pages.tuning.sysctl import desired_values

LIMITS = ("tuning.limits-file", "tuning.limits.")
ROWS = (
    Row("tuning.profile", steps=("tuning.sysctl-file", "tuning.modules")),
    Row("tuning.keep_better"),
    Row("tuning.limits.nofile", now=("nofile",), steps=LIMITS),
    Row("tuning.limits.nproc", now=("nproc",), steps=LIMITS),
    Row("tuning.services", steps=("tuning.service.", "tuning.restart.")),
    Row("tuning.reserved_ports", is_advanced=True),
    Row("tuning.limits.memlock", now=("memlock",), default=N_("not changed"), is_advanced=True),
    Row("tuning.sysctl", is_advanced=True),
    Row("tuning.exclude", is_advanced=True),
)


def now(facts: TuningFacts) -> tuple[tuple[str, str], ...]:
    """Summarize the current parameters and PID 1's limits."""
    live = [(key, fact.value.value) for key, fact in facts.live.items() if isinstance(fact, Known)]
    limits = [(item, f"{shown(soft)} : {shown(hard)}") for item, (soft, hard) in facts.inherited.items()]
    return (*live, *limits)


def items(settings: TuningSettings, facts: TuningFacts, context: Context) -> tuple[Item, ...]:
    """Each kernel parameter; its desired value is that of its step."""
    about = {wanted.key: wanted for wanted in desired_values(settings)}
    result = []
    for key, fact in facts.live.items():
        wanted = about.get(key)
        note = f"{wanted.source}: {wanted.printed}. {wanted.reason}".rstrip() if wanted is not None else ""
        value = (
            fact.value.value if isinstance(fact, Known) else cannot_tell(fact) if isinstance(fact, Unknown) else ""
        )
        result.append(Item(key, value, "", (f"tuning.live.{key}",), about=note))
    return tuple(result)
