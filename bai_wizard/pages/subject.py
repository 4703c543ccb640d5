"""What a check is about: its id and page, and the findings it can come to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bai_wizard.core.context import Context
from bai_wizard.core.finding import PATIENT, Check, Cost, Evidence, Finding
from bai_wizard.core.machine import Machine
from bai_wizard.core.step import Step


@dataclass(frozen=True)
class Subject:
    """A check's own part of its findings. `title` says what is right when all is well."""

    id: str
    page: str
    title: str
    owner: str = "bai-wizard"

    def check(
        self,
        look: Callable[[Machine, Context], Finding],
        *,
        needs: tuple[str, ...] = (),
        deadline: float = PATIENT,
        root_cause: bool = False,
        needs_root: bool = False,
        cost: Cost = "cheap",
    ) -> Check:
        """The check that looks at this subject."""
        return Check(self.id, self.page, self.title, look, needs, deadline, root_cause, needs_root, self.owner, cost)

    def ok(self, *evidence: Evidence) -> Finding:
        """All is well."""
        return Finding(self.id, "ok", self.title, self.page, evidence=evidence, owner=self.owner)

    def not_applicable(self, cause: str) -> Finding:
        """Nothing to look at on this node."""
        return Finding(self.id, "not-applicable", self.title, self.page, cause=cause, owner=self.owner)

    def cannot_tell(self, cause: str) -> Finding:
        """No answer: not to be taken for «all is well»."""
        return Finding(self.id, "cannot-tell", self.title, self.page, cause=cause, owner=self.owner)

    def problem(
        self,
        title: str,
        evidence: Sequence[Evidence] = (),
        *,
        cause: str,
        guidance: str,
        risk: str = "",
        remedy: Sequence[Step] = (),
    ) -> Finding:
        """Something does not work, or will not after the next boot. `title` says what, in one sentence."""
        return Finding(
            self.id,
            "problem",
            title,
            self.page,
            tuple(evidence),
            cause,
            guidance,
            risk,
            self.owner,
            remedy=tuple(remedy),
        )

    def warning(
        self,
        title: str,
        evidence: Sequence[Evidence] = (),
        *,
        cause: str,
        guidance: str,
        risk: str = "",
        remedy: Sequence[Step] = (),
    ) -> Finding:
        """Something works and could be better, or works by luck."""
        return Finding(
            self.id,
            "warning",
            title,
            self.page,
            tuple(evidence),
            cause,
            guidance,
            risk,
            self.owner,
            remedy=tuple(remedy),
        )
