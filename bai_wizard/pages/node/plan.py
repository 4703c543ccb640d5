"""The steps of page 0: how the node reaches the outside, and whom it trusts. Nothing else is changed by this page."""

from __future__ import annotations

from bai_wizard.core.context import Context
from bai_wizard.core.step import Step
from bai_wizard.pages.node import proxy
from bai_wizard.pages.node.facts import NodeFacts
from bai_wizard.pages.node.settings import NetworkSettings
from bai_wizard.steps.edit_block import EditBlock
from bai_wizard.steps.pip_config import PipConfig
from bai_wizard.steps.refusal import Refusal
from bai_wizard.steps.removable import RemovableDropIn
from bai_wizard.steps.trust import Trust


def steps(settings: NetworkSettings, facts: NodeFacts, context: Context) -> tuple[Step, ...]:
    """Trust first: a proxy may be one that opens TLS."""
    return (*_trust(settings), *_proxy(settings, facts))


def _trust(settings: NetworkSettings) -> tuple[Step, ...]:
    bundle = proxy.BUNDLE if settings.ca_certificates else ""
    return (
        Trust(id="node.trust", sources=settings.ca_certificates),
        PipConfig(id="node.trust-pip", cert=bundle),
    )


def _proxy(settings: NetworkSettings, facts: NodeFacts) -> tuple[Step, ...]:
    http, https, no_proxy = settings.proxy.http, settings.proxy.https, settings.proxy.no_proxy
    secret = proxy.has_password(http) or proxy.has_password(https)
    planned: list[Step] = []
    if secret:
        http = https = ""
        planned.append(
            Refusal(
                id="node.proxy-password",
                optional=True,
                title="the proxy in the files of apt, git and logins",
                reason="the proxy's address holds a password, and everybody can read these files; the wizard uses the"
                " proxy itself, for the others run a local proxy that adds the password (cntlm, squid)",
            )
        )
    environment = proxy.environment_lines(
        http, https, no_proxy, trust=bool(settings.ca_certificates), others=facts.environment
    )
    return (
        *planned,
        RemovableDropIn(
            id="node.proxy-apt", path=proxy.APT, text=proxy.apt_text(http, https, no_proxy), why="apt's proxy"
        ),
        EditBlock(
            id="node.environment",
            path=proxy.ENVIRONMENT,
            begin=proxy.MARKERS.begin,
            end=proxy.MARKERS.end,
            lines=environment,
            why="proxy and trust of logins (curl, pip, uv)",
            effect="next-login",
            create=True,
        ),
        EditBlock(
            id="node.proxy-git",
            path=proxy.GITCONFIG,
            begin=proxy.MARKERS.begin,
            end=proxy.MARKERS.end,
            lines=proxy.git_lines(http, https, facts.gitconfig),
            why="git's proxy",
            create=True,
        ),
    )
