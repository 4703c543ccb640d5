"""Whether the registries that this node is set up for can be reached, and their certificates are trusted.

Asked are those that files of this node name: directories of authorities, logins, mirrors. Nobody else is bothered: a
node in a closed network is not accused of not reaching a public registry.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor

from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.finding import Evidence, Finding
from bai_wizard.core.machine import Machine
from bai_wizard.pages.images import greet
from bai_wizard.pages.images.daemon import config, insecure_of
from bai_wizard.pages.images.probe import trusted
from bai_wizard.pages.subject import Subject
from bai_wizard.steps.registry_ca import CERTS

PAGE = "images"
X509 = Subject("pull-x509", PAGE, "The certificates of this node's registries are trusted")
UNREACHABLE = Subject("registry-unreachable", PAGE, "This node's registries can be reached", owner="site")
# Docker Hub's name in old logins; it is the registry of every node and not this one's own.
HUB = ("index.docker.io", "docker.io", "registry-1.docker.io")
MOST_REGISTRIES = 8
DEADLINE = 10.0
SAID = {
    "name": "its name has no address",
    "connection": "nobody answers",
    "certificate": "its certificate is not trusted",
    "clock": "its certificate is not valid today",
    "answer": "it speaks something else",
}


def registries(machine: Machine, context: Context) -> tuple[str, ...]:
    """`HOST[:PORT]` of the registries that files of this node name, those without TLS left out."""
    found = list(machine.names(CERTS))
    for home in ("/root", context.home):
        found += _logins(machine, f"{home}/.docker/config.json")
    mirrors = config(machine).get("registry-mirrors")
    for mirror in mirrors if isinstance(mirrors, list) else ():
        scheme, _, host = str(mirror).partition("://")
        found += [host.partition("/")[0]] if scheme == "https" else []
    insecure = insecure_of(machine)
    wanted = [host for host in dict.fromkeys(found) if host and host not in HUB and host not in insecure]
    return tuple(wanted[:MOST_REGISTRIES])


def _logins(machine: Machine, path: str) -> list[str]:
    """The names of registries that somebody is logged in to; never a login itself."""
    try:
        known = json.loads(machine.text(path) or "{}")
    except (CannotTell, ValueError):
        return []
    logins = known.get("auths") if isinstance(known, dict) else None
    return [name.partition("://")[2].partition("/")[0] or name for name in logins] if isinstance(logins, dict) else []


def _greeted(machine: Machine, context: Context) -> tuple[tuple[str, str, str], ...]:
    """(registry, rung, words) of each, all asked at once. Raises CannotTell where one cannot even be asked."""
    if context.demo:
        raise CannotTell("a simulated node reaches no registry")
    from bai_wizard.machine.registry import bypasses

    def ask(host: str) -> tuple[str, str, str]:
        proxy = (
            "" if bypasses(host.partition(":")[0], context.no_proxy) else context.proxy_https or context.proxy_http
        )
        own = trusted(machine, f"{CERTS}/{host}")
        argv = (sys.executable, "-I", "-S", greet.__file__, host, proxy, *own)
        answer = machine.look(argv, deadline=DEADLINE - 1)
        rung, _, words = answer.out.strip().partition(" ")
        if answer.code != 0 or rung not in ("ok", *SAID):
            raise CannotTell(f"{host}: {answer.err.strip()[-200:] or answer.out[:200]}")
        return host, rung, words

    with ThreadPoolExecutor(MOST_REGISTRIES, thread_name_prefix="greet") as pool:
        return tuple(pool.map(ask, registries(machine, context)))


def x509(machine: Machine, context: Context) -> Finding:
    """TLS as Docker does it: the system's trust and the authorities below certs.d."""
    greeted = _greeted(machine, context)
    if not greeted:
        return X509.not_applicable("no file of this node names a registry")
    bad = [(host, rung, words) for host, rung, words in greeted if rung in ("certificate", "clock")]
    if not bad:
        return X509.ok()
    is_time = all(rung == "clock" for _, rung, _ in bad)
    return X509.problem(
        f"The certificate of {bad[0][0]} is {'not valid today' if is_time else 'not trusted'}",
        [Evidence(host, "TLS, as Docker does it", f"{SAID[rung]}: {words}", "trusted") for host, rung, words in bad],
        cause="It has run out, or this node's clock is wrong."
        if is_time
        else "The site's own authority signed it and this node does not know that authority, or a proxy opens TLS.",
        guidance="date; then ask whoever runs the registry for a new certificate."
        if is_time
        else "Get the authority's certificate from whoever runs the registry, compare its fingerprint with them, and"
        " name the file under [docker] registry_ca or [network] ca_certificates. Pulls without TLS are no way out.",
    )


def unreachable(machine: Machine, context: Context) -> Finding:
    """The rungs below TLS: a name, a connection, an answer."""
    greeted = _greeted(machine, context)
    if not greeted:
        return UNREACHABLE.not_applicable("no file of this node names a registry")
    bad = [(host, rung, words) for host, rung, words in greeted if rung in ("name", "connection", "answer")]
    if not bad:
        return UNREACHABLE.ok()
    host = bad[0][0]
    return UNREACHABLE.problem(
        f"The registry {host} cannot be reached",
        [Evidence(each, "GET /v2/", f"{SAID[rung]} ({words})", "an answer") for each, rung, words in bad],
        cause="No name, no route, a firewall between, or the registry does not run.",
        guidance=f"Try each rung: getent hosts {host.partition(':')[0]}; curl -sS https://{host}/v2/. In a closed"
        " network use a mirror ([images] registry) or archives ([images] archives).",
    )


CHECKS = (
    X509.check(x509, needs=("apt-clock-skew", "dns-broken"), deadline=DEADLINE, needs_root=True, cost="dear"),
    UNREACHABLE.check(unreachable, needs=("dns-broken",), deadline=DEADLINE, needs_root=True, cost="dear"),
)
