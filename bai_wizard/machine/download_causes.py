"""Why a download failed, in words an operator can act on."""

from __future__ import annotations

import re
from urllib.parse import urlsplit


class Refused(Exception):
    """An answer that is not what was asked for. `may_pass`: another attempt may fare better."""

    def __init__(self, text: str, *, may_pass: bool) -> None:
        super().__init__(text)
        self.may_pass = may_pass


class Cause(str):
    """A sentence; `may_pass` says whether another attempt may fare better."""

    may_pass: bool

    def __new__(cls, text: str, *, may_pass: bool) -> Cause:
        cause = super().__new__(cls, text)
        cause.may_pass = may_pass
        return cause


def refuse_answer(status: int, location: str) -> None:
    """Raises Refused for every status but 200, with what it means for the operator."""
    if status == 200:
        return
    meanings = {
        401: "the server wants a login (401)",
        403: "the server refuses this file (403): a firewall or the mirror's rules",
        404: "there is no such file on the server (404): the mirror lacks this build, or its address is wrong",
        407: "the proxy wants a name and a password (407): put them into network.proxy",
        410: "the server has removed this file (410)",
        429: "the server is asked too often (429)",
    }
    if 300 <= status < 400:
        raise Refused(f"the server sends on to {location or 'nowhere'} ({status}), too often or in a circle",
                      may_pass=False)  # fmt: skip
    passing = status in (408, 425, 429) or status >= 500
    meaning = meanings.get(
        status, f"the server answered {status}" + (", a fault of its own" if status >= 500 else "")
    )
    raise Refused(meaning, may_pass=passing)


def cause_of(error: Exception, url: str, proxy: str) -> Cause:
    """What an error of urllib3 means for the operator."""
    from urllib3 import exceptions

    host = urlsplit(url).hostname or url
    if isinstance(error, exceptions.ProxyError):
        detail = str(error.original_error) if error.original_error else str(error)
        where = _without_login(proxy)
        if "407" in detail:
            return Cause(
                f"the proxy {where} wants a name and a password: put them into network.proxy", may_pass=False
            )
        return Cause(f"the proxy {where} does not work: {_last(detail)}", may_pass=True)
    if isinstance(error, exceptions.NameResolutionError):
        return Cause(f"the name {host} cannot be resolved: no network, no DNS, or a proxy is needed", may_pass=True)
    if isinstance(error, exceptions.SSLError):
        return Cause(
            f"the certificate of {host} is not trusted ({_last(str(error))}): add the authority that signed it to "
            "network.ca_certificates",
            may_pass=False,
        )
    if isinstance(error, exceptions.NewConnectionError):
        return Cause(f"no connection to {host}: {_last(str(error))}", may_pass=True)
    if isinstance(error, exceptions.ConnectTimeoutError):
        return Cause(f"no connection to {host}: a firewall, or a proxy is needed", may_pass=True)
    if isinstance(error, exceptions.ReadTimeoutError):
        return Cause(f"{host} sent nothing more: the line is stalled", may_pass=True)
    if isinstance(error, exceptions.IncompleteRead | exceptions.ProtocolError):
        return Cause(f"{host} cut the line in the middle", may_pass=True)
    if isinstance(error, exceptions.MaxRetryError):
        return Cause(f"{host} sends on too often or in a circle", may_pass=False)
    return Cause(f"{host}: {_last(str(error))}", may_pass=True)


def _last(text: str) -> str:
    """The part of urllib3's sentence that people need: what the kernel or OpenSSL said."""
    return re.sub(r"\[Errno \d+\] ", "", text.rsplit(": ", 1)[-1]).strip(" ()'\"")


def _without_login(proxy: str) -> str:
    parts = urlsplit(proxy)
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
