"""Docker's service: enabled, running, and running with its files as they are now."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from bai_wizard.core.errors import StepFailed
from bai_wizard.core.primitives import RemovePath, RestartUnit, WriteFile
from bai_wizard.core.step import Interrupt, Node, Unchanged, register
from bai_wizard.core.view import NodeView
from bai_wizard.steps.docker_config import DAEMON_JSON
from bai_wizard.steps.service import Service


@register
@dataclass(frozen=True, kw_only=True)
class DockerService(Service):
    """Like any service; but when the daemon does not start with a daemon.json that this plan changed, it gets the
    old one back, so that the containers run again.

    `before` is the text from before the plan, empty where there was no file; None where there is no going back.
    `warned` is what people should know of the engine; it is told with the plan and changes nothing.
    """

    kind: ClassVar[str] = "docker-service"
    unit: str = "docker.service"
    interrupts: tuple[Interrupt, ...] = ("docker.restart",)
    before: str | None = None
    config: str = DAEMON_JSON
    warned: str = ""

    def describe(self) -> str:
        told = f"; please check: {self.warned}" if self.warned else ""
        return f"{super().describe()}{told}"

    def note(self, view: NodeView) -> Unchanged:
        return Unchanged(f"please check: {self.warned}" if self.warned else "")

    def apply(self, node: Node) -> None:
        """Raises StepFailed with the daemon's reason, after putting the old daemon.json back where there was one."""
        try:
            super().apply(node)
        except StepFailed as failure:
            error = StepFailed(why(self.unit, str(failure)))
            now = node.view.entry(self.config)
            if self.before is None or now is None or now.content == self.before.encode():
                raise error from failure
            old = WriteFile(self.config, self.before.encode(), now.uid, now.gid, now.mode)
            node.do(old if self.before else RemovePath(self.config))
            try:
                node.do(RestartUnit(self.unit, f"{self.config} is back as it was"))
            except StepFailed as second:
                raise StepFailed(
                    f"{error}. {self.config} is back as it was, but Docker does not start with it either:"
                    f" {why(self.unit, str(second))}"
                ) from second
            raise StepFailed(
                f"{error}. {self.config} is back as it was and Docker runs with it. Correct the answers, then repeat"
            ) from failure


# What dockerd writes last before it gives up (moby, daemon/command); else its first line of level error or fatal.
REASONS = (
    re.compile(r"dockerd\[\d+\]: ((?:failed to start daemon|unable to configure the Docker daemon).*)"),
    re.compile(r'level=(?:fatal|error) msg="((?:[^"\\]|\\.)*)"'),
)


def why(unit: str, said: str) -> str:
    """Why the daemon does not start, by what its journal says; all of it stands in the run's log."""
    for pattern in REASONS:
        found = pattern.findall(said)
        if found:
            return f"{unit} does not start: {found[-1]}"
    return said
