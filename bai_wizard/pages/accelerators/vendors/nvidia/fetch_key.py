"""Fetches the key of NVIDIA's repository; what comes is worth nothing until its fingerprint was compared."""

from __future__ import annotations

import os

from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.facts import Fact, Known, Unknown

# Seconds for the whole look-up, and the largest answer that can be a key.
DEADLINE = 15.0
LARGEST = 1 << 18
TRUSTED = "/etc/ssl/certs/ca-certificates.crt"


def fetch_key(url: str, context: Context) -> Fact[str]:
    """The key's text, or why it could not be had."""
    from bai_wizard.machine.deadline import within

    try:
        return Known(within(DEADLINE, url, lambda: _get(url, context)))
    except CannotTell as error:
        return Unknown(f"{error}. Fetch it elsewhere and name the file in accelerators.nvidia.key_file")


def _get(url: str, context: Context) -> str:
    import urllib3

    proxy = context.proxy_https if url.startswith("https:") else context.proxy_http
    trusted = TRUSTED if os.path.exists(TRUSTED) else None
    manager = urllib3.ProxyManager(proxy, ca_certs=trusted) if proxy else urllib3.PoolManager(ca_certs=trusted)
    try:
        answer = manager.request("GET", url, timeout=10.0, retries=1, preload_content=False)
        body = answer.read(LARGEST)
        answer.release_conn()
    except urllib3.exceptions.HTTPError as error:
        raise CannotTell(f"{url} cannot be reached: {error}") from error
    if answer.status != 200:
        raise CannotTell(f"{url}: the server answered {answer.status}")
    return str(body.decode("ascii", "replace"))
