"""The Node page: network access and trusted certificates, and the page itself."""

from __future__ import annotations

from typing import TypeVar

from bai_wizard.core.page import Context, Page, Unsupported
from bai_wizard.core.secret import has_credentials
from bai_wizard.core.step import Step
from bai_wizard.pages import TITLES, checks_of
from bai_wizard.pages.node.probe import NodeFacts, probe, probe_telling
from bai_wizard.pages.node.rows import ROWS, now
from bai_wizard.pages.node.settings import NetworkSettings
from bai_wizard.pages.node.steps import (
    APT_PROXY,
    BUNDLE,
    ENVIRONMENT,
    GITCONFIG,
    MARKERS,
    PipConfig,
    Trust,
    apt_text,
    environment_lines,
    git_lines,
)
from bai_wizard.steps.files import EditBlock, OptionalDropIn


def steps(settings: NetworkSettings, facts: NodeFacts, context: Context) -> tuple[Step, ...]:
    """Return the steps; certificates come first, because a proxy may intercept TLS."""
    return (*_trust(settings), *_proxy(settings, facts))


def _trust(settings: NetworkSettings) -> tuple[Step, ...]:
    bundle = BUNDLE if settings.ca_certificates else ""
    return (Trust(id="node.trust", sources=settings.ca_certificates), PipConfig(id="node.trust-pip", cert=bundle))


def _proxy(settings: NetworkSettings, facts: NodeFacts) -> tuple[Step, ...]:
    http, https, no_proxy = settings.proxy.http, settings.proxy.https, settings.proxy.no_proxy
    secret = has_credentials(http) or has_credentials(https)
    planned: list[Step] = []
    if secret:
        http = https = ""
        planned.append(
            Unsupported(
                id="node.proxy-password",
                optional=True,
                title="write the proxy to the configuration of apt, git and logins",
                reason="the proxy URL contains a password, and every user can read these files. The wizard itself"
                " uses the proxy; for other programs, run a local proxy that adds the password (cntlm, squid)",
            )
        )
    environment = environment_lines(
        http, https, no_proxy, trust=bool(settings.ca_certificates), others=facts.environment
    )
    return (
        *planned,
        OptionalDropIn(
            id="node.proxy-apt", path=APT_PROXY, text=apt_text(http, https, no_proxy), why="proxy for apt"
        ),
        _logins(environment, is_cut=facts.is_environment_cut),
        EditBlock(
            id="node.proxy-git",
            path=GITCONFIG,
            begin=MARKERS.begin,
            end=MARKERS.end,
            lines=git_lines(http, https, facts.gitconfig),
            why="proxy for git",
            create=True,
        ),
    )


def _logins(lines: tuple[str, ...], *, is_cut: bool) -> Step:
    if lines and is_cut:
        return Unsupported(
            id="node.environment",
            optional=True,
            title="set the proxy and trusted certificates for logins",
            reason=f"logins do not read what is added to {ENVIRONMENT}: a line in it ends in a backslash, contains a"
            " NUL byte, or is longer than 8190 bytes; correct that line",
        )
    return EditBlock(
        id="node.environment",
        path=ENVIRONMENT,
        begin=MARKERS.begin,
        end=MARKERS.end,
        lines=lines,
        why="proxy and trusted certificates for logins (curl, pip, uv)",
        effect="next-login",
        create=True,
    )


T = TypeVar("T")
GIB = 2**30


PAGE = Page(
    name="node",
    title=TITLES["node"],
    summary="Roles, network access and trusted certificates of this node.",
    settings=NetworkSettings,
    probe=probe,
    steps=steps,
    checks=checks_of("node"),
    now=now,
    rows=ROWS,
    unset=lambda _settings, _facts, context: "" if context.backend_ai else "no Backend.AI release is selected",
    probe_telling=probe_telling,
    table="network",
)
