"""Checks of apt's source lists, and of the keys that they name, whatever repository it is."""

from __future__ import annotations

from datetime import UTC, datetime

from bai_wizard.core.errors import ProgramMissing
from bai_wizard.core.machine import Machine
from bai_wizard.core.page import Context, Evidence
from bai_wizard.pages.check import Outcome, check, ok, problem
from bai_wizard.steps.apt_key_policy import FIRST_WITH_SQV, inline_key, why_rejected
from bai_wizard.steps.apt_sources import apt_sources, apt_version, read_all_sources

# The check docker.apt-signed-by-conflict explains these.
SETTINGS = "/etc/apt"
TWO_KEYS = "Conflicting values set for option Signed-By"


@check("node.apt-source", root_cause=True)
def sources_readable(machine: Machine, context: Context) -> Outcome:
    """apt can read all source lists, preferences and settings; otherwise it reads no list."""
    faults = [fault for fault in read_all_sources(machine).faults if not fault.text.startswith(TWO_KEYS)]
    if not faults:
        return settings_readable(machine)
    evidence = (Evidence(f"line {fault.line}", fault.path, fault.text, "readable for apt") for fault in faults)
    return problem(*evidence, path=faults[0].path, line=faults[0].line)


def settings_readable(machine: Machine) -> Outcome:
    """apt itself can start with its preferences and settings, which it reads before any list."""
    try:
        answer = machine.query(("apt-cache", "policy", "apt"))
    except ProgramMissing:
        return ok()  # no apt that could read them
    errors = [line[3:] for line in answer.err.splitlines() if line.startswith("E: ")]
    evidence = (Evidence("apt-cache policy", SETTINGS, line, "no error") for line in errors if TWO_KEYS not in line)
    return problem(*evidence, variant="settings") if answer.code else ok()


@check("node.apt-key-rejected")
def keys_accepted(machine: Machine, context: Context) -> Outcome:
    """No key in place has expired or is bound by a hash that apt no longer accepts."""
    with_sqv = machine.package("sqv") is not None and apt_version(machine) >= FIRST_WITH_SQV
    today = datetime.now(UTC).date()
    for source in apt_sources(machine):
        entry = machine.entry(source.signed_by) if source.signed_by.startswith("/") else None
        data = (entry.content or b"") if entry is not None else inline_key(source.signed_by)
        reason = why_rejected(data, today, with_sqv)
        if reason:
            path = source.path if entry is None else source.signed_by
            evidence = Evidence("key", path, reason, "accepted by apt")
            return problem(evidence, uri=source.uri, path=path, reason=reason)
    return ok()
