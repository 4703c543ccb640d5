"""The audit trail: a record in the system log when a run begins and when it ends, with stable fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bai_wizard.core.secret import redact
from bai_wizard.engine.directory import RunDirectory
from bai_wizard.engine.result import Result
from bai_wizard.exit_codes import ExitCode

# Public: what `journalctl MESSAGE_ID=…` selects.
BEGIN_ID = "e5d4cbd271cdf28cd1d1e4bbb21fbf12"
END_ID = "c7f8e16566e7f3b3809379cf64b7784e"
# Priorities of syslog(3).
NOTICE, WARNING = 5, 4
# Message, fields and priority of a record.
Record = Callable[[str, Mapping[str, str], int], None]


def discard(_message: str, _fields: Mapping[str, str], _priority: int) -> None:
    """Write no record: for simulated nodes, and nodes below another root."""


class Audit:
    """The records of one attempt. Without a result at its end, it ended by a bug."""

    def __init__(self, run: RunDirectory, record: Record) -> None:
        self._run = run
        self._record = record
        self.result: Result | None = None

    def begin(self) -> None:
        """Record that the attempt begins: who, what, and what was approved."""
        fields = {"MESSAGE_ID": BEGIN_ID, **_fields_of(self._run)}
        self._record(f"run {self._run.id} ({self._run.kind}) begins", fields, NOTICE)

    def end(self) -> None:
        """Record how the attempt ended."""
        code = self.result.code() if self.result is not None else ExitCode.BUG
        fields = {
            "MESSAGE_ID": END_ID,
            **_fields_of(self._run),
            **_named(
                {"OUTCOME": code.name.lower().replace("_", "-"), "EXIT_CODE": int(code), **_counts(self.result)}
            ),
        }
        text = f"run {self._run.id} ({self._run.kind}) ended: exit code {int(code)}"
        self._record(text, fields, NOTICE if code == ExitCode.OK else WARNING)


def _counts(result: Result | None) -> dict[str, int]:
    return {} if result is None else {"CHANGED": result.count("changed"), "FAILED": result.count("failed")}


def _fields_of(run: RunDirectory) -> dict[str, str]:
    about = run.metadata
    actor, approval = _table(about.get("resumed_by") or about.get("actor")), _table(about.get("approval"))
    values = {
        "RUN": run.id,
        "NUMBER": about.get("number"),
        "KIND": run.kind,
        "UNDOES": about["undoes"],
        "VERSION": about.get("wizard"),
        "PLAN_DIGEST": about["digest"],
        "ANSWERS_DIGEST": about.get("answers_digest"),
        "ACTOR_UID": actor.get("uid"),
        "ACTOR_SUDO_USER": actor.get("sudo_user"),
        "ACTOR_LOGINUID": actor.get("loginuid"),
        "PLAN_FILE_DIGEST": approval.get("plan_file"),
        "APPROVED_BY": approval.get("approved_by"),
        "TICKET": approval.get("ticket"),
        "SIGNED_BY": approval.get("signed_by"),
    }
    return _named(values)


def _named(values: Mapping[str, Any]) -> dict[str, str]:
    """Journal fields, without those that are empty or unknown."""
    return {f"BAI_WIZARD_{name}": redact(str(value)) for name, value in values.items() if value not in (None, "")}


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
