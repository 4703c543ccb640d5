"""The proxy in the words of each program that needs to be told: apt, logins (curl, pip, uv), git."""

from __future__ import annotations

import re

from bai_wizard.core.blocks import Markers

APT = "/etc/apt/apt.conf.d/95bai-wizard-proxy"
ENVIRONMENT = "/etc/environment"
GITCONFIG = "/etc/gitconfig"
MARKERS = Markers("# BEGIN bai-wizard", "# END bai-wizard")
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


def apt_text(http: str, https: str, no_proxy: str) -> str:
    """apt.conf(5); empty without a proxy. apt knows exceptions by exact host name only."""
    if not http and not https:
        return ""
    lines = ["// Written by bai-wizard."]
    for scheme, proxy in (("http", http), ("https", https)):
        if proxy:
            lines.append(f'Acquire::{scheme}::Proxy "{proxy}";')
            lines += [f'Acquire::{scheme}::Proxy::{host} "DIRECT";' for host in plain_hosts(no_proxy)]
    return "\n".join(lines) + "\n"


def plain_hosts(no_proxy: str) -> tuple[str, ...]:
    """The entries that are host names, not domains, networks or addresses of this node."""
    entries = (entry.strip() for entry in no_proxy.split(","))
    return tuple(entry for entry in entries if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*(\.[A-Za-z0-9-]+)*", entry))


def environment_lines(http: str, https: str, no_proxy: str, *, trust: bool, others: str) -> tuple[str, ...]:
    """Lines of /etc/environment. A variable that somebody else sets there, in either case, is left to them."""
    wanted = {"http_proxy": http, "https_proxy": https, "no_proxy": no_proxy if http or https else ""}
    taken = {match.lower() for match in re.findall(r"^\s*(?:export\s+)?(\w+)\s*=", others, re.MULTILINE)}
    lines = []
    for name, value in wanted.items():
        if value and name not in taken:
            # curl reads the small names only, many other programs the capital ones first.
            lines += [f"{name}={value}", f"{name.upper()}={value}"]
    if trust and "ssl_cert_file" not in taken:
        # uv brings a list of authorities of its own, and so do other Rust and Go programs.
        lines.append(f"SSL_CERT_FILE={BUNDLE}")
    return tuple(lines)


def git_lines(http: str, https: str, others: str) -> tuple[str, ...]:
    """Lines of git's system-wide configuration; none where somebody else names a proxy there."""
    proxy = https or http
    section = ""
    for raw in others.split("\n"):
        line = raw.strip()
        if line.startswith("["):
            section = line.lower()
        elif section == "[http]" and line.partition("=")[0].strip().lower() == "proxy":
            return ()
    return ("[http]", f"\tproxy = {proxy}") if proxy else ()


def has_password(proxy: str) -> bool:
    """True when a user and a password stand in the address."""
    return "@" in proxy
