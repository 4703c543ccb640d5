"""The plan: every step with what it will change, as data, confirmed by its digest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bai_wizard.core.codec import KEPT, SHOWN, Codec
from bai_wizard.core.step import Blocked, Pending, Step, Unchanged, Verdict, step_from_json

PLAN_VERSION = 1


@dataclass(frozen=True)
class PlannedStep:
    """A step with the verdict of planning and, for answers from several places, where they came from."""

    step: Step
    verdict: Verdict

    @property
    def is_pending(self) -> bool:
        """True when the run has something to do here."""
        return isinstance(self.verdict, Pending)


@dataclass(frozen=True)
class Plan:
    """All steps of the chosen pages in the order in which they will be done."""

    host: str
    steps: tuple[PlannedStep, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def pending(self) -> tuple[PlannedStep, ...]:
        """The steps that have something to do."""
        return tuple(planned for planned in self.steps if planned.is_pending)

    def blocked(self) -> tuple[PlannedStep, ...]:
        """The steps that must not be done here and are not optional."""
        return tuple(
            planned for planned in self.steps if isinstance(planned.verdict, Blocked) and not planned.step.optional
        )

    def is_empty(self) -> bool:
        """True when there is nothing to do."""
        return not self.pending()

    def without(self, ids: frozenset[str]) -> Plan:
        """This plan without the steps that somebody unticked."""
        kept = tuple(planned for planned in self.steps if planned.step.id not in ids)
        return Plan(self.host, kept, self.notes)

    def to_json(self, codec: Codec = SHOWN) -> dict[str, Any]:
        """JSON values; secrets masked unless the codec keeps them."""
        return {
            "version": PLAN_VERSION,
            "host": self.host,
            "notes": list(self.notes),
            "steps": [
                {"step": codec.encode(planned.step), "verdict": codec.encode(planned.verdict)}
                for planned in self.steps
            ],
        }

    @staticmethod
    def from_json(data: dict[str, Any], codec: Codec = KEPT) -> Plan:
        """Reads what `to_json` wrote. Raises ValueError on another version or an unknown kind of step."""
        if data.get("version") != PLAN_VERSION:
            raise ValueError(f"plan of version {data.get('version')!r}, this wizard reads {PLAN_VERSION}")
        verdict_hint: Any = Unchanged | Pending | Blocked
        return Plan(
            host=data["host"],
            steps=tuple(
                PlannedStep(step_from_json(codec, item["step"]), codec.decode(verdict_hint, item["verdict"]))
                for item in data["steps"]
            ),
            notes=tuple(data["notes"]),
        )

    def digest(self) -> str:
        """sha256 over the whole plan with its secrets: what was confirmed is what is done."""
        import json
        from hashlib import sha256

        canonical = json.dumps(self.to_json(KEPT), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return sha256(canonical.encode()).hexdigest()
