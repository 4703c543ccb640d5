"""What engines and registries say when a pull goes wrong, turned into a cause, and whether trying again can help."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Sort = Literal[
    "not-found",
    "denied",
    "rate-limit",
    "certificate",
    "clock",
    "no-space",
    "platform",
    "unreachable",
    "cut",
    "engine",
    "other",
]


@dataclass(frozen=True)
class Cause:
    """`sentence` says what and what to do next. `again`: another try may succeed without anybody's help."""

    sort: Sort
    sentence: str
    again: bool = False


# Texts of moby, containerd and distribution; the first that fits counts. See tests/pages/images for where each
# was seen.
CAUSES: tuple[tuple[str, Cause], ...] = (
    (
        # The last two are what a daemon says of its pulls when it is asked to end.
        r"^Docker (?:does not answer|gave no answer|is installed but)|client connection is closing|context canceled",
        Cause("engine", "Docker was stopped or restarted meanwhile: see «systemctl status docker»", again=True),
    ),
    (
        r"no space left on device",
        Cause("no-space", "the disk is full: make room below Docker's data directory, then repeat"),
    ),
    (
        r"certificate has expired or is not yet valid",
        Cause(
            "clock", "the registry's certificate is not valid today: check this node's clock, then the certificate"
        ),
    ),
    (
        r"x509|certificate signed by unknown authority|tls: failed to verify|CERTIFICATE_VERIFY_FAILED",
        Cause(
            "certificate",
            "the registry's certificate is not trusted: name its authority in docker.registry_ca (and in"
            " images.registries for looking things up)",
        ),
    ),
    (
        r"server gave HTTP response to HTTPS client",
        Cause("certificate", "the registry speaks no TLS: name it in docker.insecure_registries if that is meant"),
    ),
    (
        r"no matching manifest for (?P<what>\S+)|does not match the specified platform|image operating system",
        Cause("platform", "the image does not exist for this node's architecture: choose another tag"),
    ),
    (
        r"toomanyrequests|429 Too Many Requests|rate limit",
        Cause(
            "rate-limit",
            "the registry limits how much may be pulled: log in (images.registries), use a mirror"
            " (docker.registry_mirrors), or wait",
            again=True,
        ),
    ),
    (
        r"manifest unknown|manifest for \S+ not found|not found: manifest|name unknown|repository name not known",
        Cause("not-found", "there is no such image in the registry: check name and tag"),
    ),
    (
        r"pull access denied|unauthorized|authentication required|no basic auth credentials|denied:|403 Forbidden",
        Cause(
            "denied",
            "the registry wants a login, the login is wrong or may not read this, or there is no such image: see"
            " images.registries",
        ),
    ),
    (
        r"no such host|name resolution|server misbehaving|Failed to resolve|Name or service not known",
        Cause("unreachable", "the registry's name cannot be resolved: check DNS, or the proxy (network.proxy)"),
    ),
    (
        r"connection reset|unexpected EOF|broken pipe|connection broken|IncompleteRead|http2: |stream error"
        r"|filesystem layer verification failed|unexpected end|short read|size validation failed"
        r"|use of closed network",
        Cause("cut", "the connection broke off again and again", again=True),
    ),
    (
        r"TLS handshake timeout|i/o timeout|context deadline exceeded|Client\.Timeout|timed out|request canceled",
        Cause("unreachable", "the registry does not answer in time: check firewall, route and proxy", again=True),
    ),
    (
        r"connection refused|network is unreachable|no route to host|proxyconnect",
        Cause("unreachable", "the registry cannot be reached: check firewall, route and proxy", again=True),
    ),
    (
        r"\b50[0-4]\b|Internal Server Error|Bad Gateway|Service Unavailable|Gateway Timeout",
        Cause("other", "the registry has a problem of its own: ask its owner, or repeat later", again=True),
    ),
)


def cause_of(said: str) -> Cause:
    """The cause of a failed pull or look-up by what was said."""
    for pattern, cause in CAUSES:
        if re.search(pattern, said, re.IGNORECASE):
            return cause
    return Cause("other", "an error that the wizard does not know")


def plain(subject: str, said: str) -> str:
    """A sentence: what, why, what to do, and the words that were said."""
    cause = cause_of(said)
    return f"{subject}: {cause.sentence} ({' '.join(said.split())[:300]})"
