"""The ways to packages and archives: indexes, wheel directories, proxies."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bai_wizard.core.context import Context
from bai_wizard.core.primitives.pythons import Environment, PackageSources
from bai_wizard.pages.python.facts import PythonFacts

if TYPE_CHECKING:
    from bai_wizard.pages.python.settings import PythonSettings


def package_sources(settings: PythonSettings, facts: PythonFacts, context: Context) -> PackageSources:
    """As the answers say; where they say nothing, as pip is configured on this node."""
    said = (settings.index_url, tuple(settings.extra_index_urls), tuple(settings.find_links))
    pip = (facts.pip.index_url, facts.pip.extra_index_urls, facts.pip.find_links)
    index, extra, links = said if any(said) else pip
    # Wheel directories in the answers and no index are for nodes that reach none; pip's own settings ask both.
    no_index = bool(settings.find_links) and not settings.index_url and not settings.extra_index_urls
    return PackageSources(index, extra, links, no_index, environment(context))


def environment(context: Context) -> Environment:
    """The proxy settings for programs."""
    pairs = (("http_proxy", context.proxy_http), ("https_proxy", context.proxy_https), ("no_proxy", context.no_proxy))
    return tuple((name, value) for name, value in pairs if value)


def proxy_for(url: str, context: Context) -> str:
    """The proxy that an address is reached through; empty for directly."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or _is_direct(host, context.no_proxy):
        return ""
    return context.proxy_https if parts.scheme == "https" else context.proxy_http


def _is_direct(host: str, no_proxy: str) -> bool:
    if host in ("localhost", "::1") or host.startswith("127."):
        return True
    for entry in (part.strip() for part in no_proxy.split(",")):
        if entry == "*" or (entry and (host == entry.lstrip(".") or host.endswith(f".{entry.lstrip('.')}"))):
            return True
        if "/" in entry and _is_in(host, entry):
            return True
    return False


def _is_in(host: str, network: str) -> bool:
    from ipaddress import ip_address, ip_network

    try:
        return ip_address(host) in ip_network(network, strict=False)
    except ValueError:
        return False


def with_login(settings: PythonSettings, sources: PackageSources) -> str:
    """The first address that carries a password; empty where none does. It would stand in plans and process lists.

    pip's own configuration counts as well: what it names is handed on to uv.
    """
    said = (settings.mirror, settings.pyenv_url, settings.index_url, *settings.extra_index_urls, *settings.find_links)
    for url in (*said, sources.index_url, *sources.extra_index_urls, *sources.find_links):
        if urlsplit(url).password:
            where = "" if url in said else " in pip's configuration"
            return f"{urlsplit(url).scheme}://…@{urlsplit(url).hostname}{where}"
    return ""
