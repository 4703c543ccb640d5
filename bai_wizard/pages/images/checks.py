"""Whether the registries used by this node can be reached and their certificates are trusted.

Only registries that appear in files on this node are contacted: certificate directories, logins, mirrors. An
air-gapped node is not reported for being unable to reach a public registry.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.machine import Machine
from bai_wizard.core.page import Context, Evidence
from bai_wizard.core.parse import json_object
from bai_wizard.core.secret import has_credentials
from bai_wizard.pages import network_probes
from bai_wizard.pages.check import NotApplicable, Outcome, check, checks_in, ok, problem
from bai_wizard.pages.images.probe import daemon_config, insecure_of, trusted
from bai_wizard.steps.docker import CERTS

# Docker Hub's name in old logins; it is the default registry of every node and not specific to this one.
HUB = ("index.docker.io", "docker.io", "registry-1.docker.io")
MAX_REGISTRIES = 8
DEADLINE = 10.0
SAID = {
    "name": "the name cannot be resolved",
    "connection": "no response",
    "certificate": "the certificate is not trusted",
    "clock": "the certificate is expired or not yet valid",
    "answer": "not a registry",
}


def registries(machine: Machine, context: Context) -> tuple[str, ...]:
    """Return `HOST[:PORT]` of the registries in this node's files, without those that do not use TLS."""
    result = list(machine.names(CERTS))
    for home in ("/root", context.home):
        result += _logins(machine, f"{home}/.docker/config.json")
    mirrors = daemon_config(machine).get("registry-mirrors")
    for mirror in mirrors if isinstance(mirrors, list) else ():
        scheme, _, host = str(mirror).partition("://")
        result += [host.partition("/")[0]] if scheme == "https" else []
    insecure = insecure_of(machine)
    wanted = [host for host in dict.fromkeys(result) if host and host not in HUB and host not in insecure]
    return tuple(wanted[:MAX_REGISTRIES])


def _logins(machine: Machine, path: str) -> list[str]:
    """The names of registries with a stored login; never the login itself."""
    try:
        known = json_object(machine.text(path) or "{}")
    except (StateUnknown, ValueError):
        return []
    logins = known.get("auths")
    return [name.partition("://")[2].partition("/")[0] or name for name in logins] if isinstance(logins, dict) else []


def _failed_at(machine: Machine, context: Context, *stages: str) -> list[tuple[str, str, str]]:
    """(registry, stage, message) of those that fail at one of these stages, all queried concurrently.

    Raises StateUnknown if one cannot be queried, NotApplicable if none is configured.
    """
    if context.demo:
        raise StateUnknown("a simulated node cannot reach registries")
    from bai_wizard.node.registry import bypasses

    def ask(host: str) -> tuple[str, str, str]:
        proxy = (
            "" if bypasses(host.partition(":")[0], context.no_proxy) else context.proxy_https or context.proxy_http
        )
        if has_credentials(proxy):
            # The login would appear on the child's command line, which every user can read.
            raise StateUnknown(
                f"{host} is reached through a proxy that requires a login, which this check does not support"
            )
        own = trusted(machine, f"{CERTS}/{host}")
        argv = (sys.executable, "-I", "-S", network_probes.__file__, "registry", host, proxy, *own)
        answer = machine.query(argv, deadline=DEADLINE - 1)
        stage, _, words = answer.out.strip().partition(" ")
        if answer.code != 0 or stage not in ("ok", *SAID):
            raise StateUnknown(f"{host}: {answer.err.strip()[-200:] or answer.out[:200]}")
        return host, stage, words

    configured = registries(machine, context)
    if not configured:
        raise NotApplicable("no registry is configured on this node")
    with ThreadPoolExecutor(MAX_REGISTRIES, thread_name_prefix="greet") as pool:
        return [result for result in pool.map(ask, configured) if result[1] in stages]


@check(
    "images.pull-x509",
    needs=("node.clock-skew", "node.dns-broken"),
    deadline=DEADLINE,
    needs_root=True,
    cost="expensive",
)
def certificates(machine: Machine, context: Context) -> Outcome:
    """TLS succeeds as for Docker: with the system's trust store and the certificates below certs.d."""
    bad = _failed_at(machine, context, "certificate", "clock")
    if not bad:
        return ok()
    evidence = [
        Evidence(host, "TLS as in Docker", f"{SAID[stage]}: {words}", "trusted") for host, stage, words in bad
    ]
    expired = all(stage == "clock" for _, stage, _ in bad)
    return problem(*evidence, variant="not-valid-today" if expired else "", registry=bad[0][0])


@check(
    "images.registry-unreachable", needs=("node.dns-broken",), deadline=DEADLINE, needs_root=True, cost="expensive"
)
def reachable(machine: Machine, context: Context) -> Outcome:
    """The layers below TLS work: name resolution, connection, response."""
    bad = _failed_at(machine, context, "name", "connection", "answer")
    if not bad:
        return ok()
    evidence = [Evidence(each, "GET /v2/", f"{SAID[stage]} ({words})", "a response") for each, stage, words in bad]
    registry = bad[0][0]
    return problem(*evidence, registry=registry, host=registry.partition(":")[0])


CHECKS = checks_in(sys.modules[__name__])
