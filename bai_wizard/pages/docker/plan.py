"""From the wished-for engine to steps."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from bai_wizard.core.context import Context
from bai_wizard.core.facts import Absent, Known, Unknown, value_or
from bai_wizard.core.step import Step
from bai_wizard.pages.docker.configuration import DROP_INS, config_step, drop_ins, registry_authorities
from bai_wizard.pages.docker.facts import DockerFacts
from bai_wizard.pages.docker.sources import ENGINES, LEAVE_SNAP, known_fault, package_steps
from bai_wizard.steps.directory import Directory
from bai_wizard.steps.docker_config import DAEMON_JSON
from bai_wizard.steps.docker_service import DockerService
from bai_wizard.steps.docker_users import DockerUsers
from bai_wizard.steps.refusal import Refusal
from bai_wizard.steps.service import Service

if TYPE_CHECKING:
    from bai_wizard.pages.docker.settings import DockerSettings


PODMAN = "podman-docker"


def steps(settings: DockerSettings, facts: DockerFacts, context: Context) -> tuple[Step, ...]:
    """Packages, configuration, service, users. On a fresh node the configuration comes first.

    So the first start of the daemon makes its data directory, its image store and its networks where they are to
    be, and nothing has to be restarted for it.
    """
    refused = _refusals(settings, facts)
    if refused:
        return refused
    if _is_podman(facts):
        facts = replace(facts, engine=Absent())
    drops = drop_ins(settings, context)
    directory = (Directory(id="docker.drop-ins", path=DROP_INS),) if drops else ()
    configuration = (*registry_authorities(facts), *directory, *drops, config_step(settings, facts, context))
    packages = package_steps(settings, facts, context)
    ordered = (*configuration, *packages) if facts.is_fresh else (*packages, *configuration)
    reads = (DAEMON_JSON, *(drop.path for drop in drops))
    warned = known_fault(settings, facts, context)
    keeps = settings.source == "keep"
    return (*ordered, *_services(facts, reads, warned, keeps), _users(settings, context))


def _is_podman(facts: DockerFacts) -> bool:
    return isinstance(facts.engine, Known) and facts.engine.value.product == "podman"


def _refusals(settings: DockerSettings, facts: DockerFacts) -> tuple[Step, ...]:
    """What this page does not deal with, said once, instead of steps that would break something."""
    if isinstance(facts.system, Unknown):
        return (
            Refusal(
                id="docker.system", title="the system is one that Docker is set up on", reason=facts.system.reason
            ),
        )
    if settings.source == "keep" and facts.snap and not any(facts.version_of(name) for name in ENGINES):
        reason = (
            "the Docker that is here is a snap, which reads another daemon.json and sees neither /vfroot nor NVIDIA's"
            f" libraries: it cannot serve Backend.AI. {LEAVE_SNAP}"
        )
        return (Refusal(id="docker.snap", title="the engine that is here stays", reason=reason),)
    goes = bool(facts.version_of(PODMAN)) and settings.source != "keep"
    if _is_podman(facts) and not (goes and settings.remove_conflicts):
        by_package = f"docker.remove_conflicts = true removes {PODMAN} (Podman, its images and containers stay)"
        by_hand = f'remove {PODMAN}, or the link /run/docker.sock, and take another source than "keep"'
        reason = (
            "what answers on the Docker socket is Podman, and Backend.AI's Docker backend needs Docker:"
            f" {by_package if goes else by_hand}; or leave [docker] out of the answers"
        )
        return (Refusal(id="docker.podman", title="the engine on the Docker socket is Docker", reason=reason),)
    if isinstance(facts.engine, Known) and facts.engine.value.rootless:
        reason = (
            "the Docker that answers is a rootless one; Backend.AI's agent needs the system's. Stop it for its user"
            " («systemctl --user disable --now docker») and unset DOCKER_HOST, then repeat"
        )
        return (Refusal(id="docker.rootless", title="the engine is the system's", reason=reason),)
    return ()


def _services(facts: DockerFacts, reads: tuple[str, ...], warned: str, keeps: bool) -> tuple[Step, ...]:
    """Enabled and running first, which hits nobody; then, if a file is newer than the daemon, the restart.

    The service brings its socket along; an engine that is kept may have none, and listen by itself.
    """
    # A fresh engine is not to begin with other directories and stores than were asked for.
    before = None if facts.is_fresh or isinstance(facts.daemon_json, Unknown) else value_or(facts.daemon_json, "")
    return (
        Service(id="docker.socket", unit="docker.socket", active=None, if_running=keeps),
        DockerService(id="docker.service", before=before, interrupts=(), warned=warned),
        DockerService(
            id="docker.restart",
            before=before,
            reads=reads,
            enabled=None,
            active=None,
            interrupts=() if _outlive(facts) else ("docker.restart",),
        ),
    )


def _outlive(facts: DockerFacts) -> bool:
    """Whether containers run on while the daemon is restarted: it has to know so before, and after."""
    if not (isinstance(facts.engine, Known) and facts.engine.value.live_restore):
        return False
    try:
        return json.loads(value_or(facts.daemon_json, "{}")).get("live-restore") is True
    except (ValueError, AttributeError):
        return False


def _users(settings: DockerSettings, context: Context) -> Step:
    return DockerUsers(id="docker.users", accounts=settings.users or (context.account,))
