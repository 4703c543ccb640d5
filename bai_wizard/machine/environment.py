"""The environment of every child: a short list of names, and never a secret."""

from __future__ import annotations

import os
from collections.abc import Mapping

# Taken over from the wizard's own environment where set. A proxy is a way, not a secret, and tools need it.
PASSED_ON = (
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "TZ",
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "all_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "DOCKER_HOST",
)
FIXED = {"LC_ALL": "C.UTF-8", "LANG": "C.UTF-8", "TERM": "dumb", "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0"}
# A login by `su` has no sbin in its path, and the tools that make accounts live there.
PROGRAM_DIRECTORIES = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


def child_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for a child, `extra` laid over it."""
    result = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    own = [part for part in result.get("PATH", "").split(":") if part.startswith("/")]
    result["PATH"] = ":".join(dict.fromkeys([*own, *PROGRAM_DIRECTORIES]))
    result.update(FIXED)
    result.update(extra or {})
    return result
