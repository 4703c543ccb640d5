"""From the wished-for engine to steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bai_wizard.core.context import Context
from bai_wizard.core.facts import Known, Unknown, value_or
from bai_wizard.core.step import Step
from bai_wizard.pages.docker.configuration import DROP_INS, config_step, drop_ins, registry_authorities
from bai_wizard.pages.docker.facts import DockerFacts
from bai_wizard.pages.docker.sources import known_fault, package_steps
from bai_wizard.steps.directory import Directory
from bai_wizard.steps.docker_config import DAEMON_JSON
from bai_wizard.steps.docker_service import DockerService
from bai_wizard.steps.docker_users import DockerUsers
from bai_wizard.steps.refusal import Refusal
from bai_wizard.steps.service import Service

if TYPE_CHECKING:
    from bai_wizard.pages.docker.settings import DockerSettings


def steps(settings: DockerSettings, facts: DockerFacts, context: Context) -> tuple[Step, ...]:
    """Packages, configuration, service, users. On a fresh node the configuration comes first.

    So the first start of the daemon makes its data directory, its image store and its networks where they are to
    be, and nothing has to be restarted for it.
    """
    refused = _refusals(facts)
    if refused:
        return refused
    drops = drop_ins(settings, context)
    directory = (Directory(id="docker.drop-ins", path=DROP_INS),) if drops else ()
    configuration = (*registry_authorities(facts), *directory, *drops, config_step(settings, facts, context))
    packages = package_steps(settings, facts, context)
    ordered = (*configuration, *packages) if facts.is_fresh else (*packages, *configuration)
    reads = (DAEMON_JSON, *(drop.path for drop in drops))
    warned = known_fault(settings, facts, context)
    return (*ordered, *_services(facts, reads, warned), _users(settings, context))


def _refusals(facts: DockerFacts) -> tuple[Step, ...]:
    """What this page does not deal with, said once, instead of steps that would break something."""
    if isinstance(facts.system, Unknown):
        return (
            Refusal(
                id="docker.system", title="the system is one that Docker is set up on", reason=facts.system.reason
            ),
        )
    if isinstance(facts.engine, Known) and facts.engine.value.product == "podman":
        reason = (
            "what answers on the Docker socket is Podman. Backend.AI's Docker backend needs Docker: remove"
            " podman-docker and disable podman.socket, or leave [docker] out of the answers"
        )
        return (Refusal(id="docker.podman", title="the engine on the Docker socket is Docker", reason=reason),)
    if isinstance(facts.engine, Known) and facts.engine.value.rootless:
        reason = (
            "the Docker that answers is a rootless one; Backend.AI's agent needs the system's. Stop it for its user"
            " («systemctl --user disable --now docker») and unset DOCKER_HOST, then repeat"
        )
        return (Refusal(id="docker.rootless", title="the engine is the system's", reason=reason),)
    return ()


def _services(facts: DockerFacts, reads: tuple[str, ...], warned: str) -> tuple[Step, ...]:
    """Enabled and running first, which hits nobody; then, if a file is newer than the daemon, the restart."""
    # A fresh engine is not to begin with other directories and stores than were asked for.
    before = None if facts.is_fresh or isinstance(facts.daemon_json, Unknown) else value_or(facts.daemon_json, "")
    return (
        Service(id="docker.socket", unit="docker.socket"),
        DockerService(id="docker.service", before=before, interrupts=(), warned=warned),
        DockerService(id="docker.restart", before=before, reads=reads, enabled=None, active=None),
    )


def _users(settings: DockerSettings, context: Context) -> Step:
    return DockerUsers(id="docker.users", accounts=settings.users or (context.account,))
