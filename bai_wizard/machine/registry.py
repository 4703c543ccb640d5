"""Looks an image up in its registry: is it there, for which architectures, how large. Pulls nothing.

The protocol is the OCI distribution specification 1.1, with the token login of distribution's auth specification.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from bai_wizard.core.errors import CannotTell
from bai_wizard.core.secret import Secret
from bai_wizard.machine.docker_engine import full_reference, split_tag

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
HUB_API = "registry-1.docker.io"
DEADLINE = 5.0
LARGEST_ANSWER = 8 << 20


class NotOffered(CannotTell):
    """The registry answered: there is no such image."""


class Denied(CannotTell):
    """The registry answered: not for this login, or not without one."""


@dataclass(frozen=True)
class Offer:
    """An image as a registry offers it: `digest` of what the tag names, platforms, compressed bytes, labels."""

    digest: str
    platforms: tuple[str, ...]
    size: int
    image_id: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Access:
    """How to reach registries: login for each host, authorities in PEM, proxies, and who is asked without TLS."""

    logins: Mapping[str, tuple[str, Secret]] = field(default_factory=dict)
    authorities: tuple[str, ...] = ()
    proxy_http: str = ""
    proxy_https: str = ""
    no_proxy: str = ""
    insecure: tuple[str, ...] = ()


class Registry:
    """One registry. Raises NotOffered, Denied, and CannotTell for everything else that goes wrong."""

    def __init__(self, host: str, access: Access) -> None:
        self._host = host
        self._access = access
        self._api = HUB_API if host == "docker.io" else host
        self._authorization: dict[str, str] = {}
        self._plain = False

    def offer(self, reference: str, platform: str) -> Offer:
        """What the registry offers under a reference, for `linux/amd64` and the like."""
        name, tag = split_tag(full_reference(reference).partition("/")[2])
        manifest, digest = self._manifest(name, tag)
        if str(manifest.get("mediaType", "")) in INDEXES or "manifests" in manifest:
            return self._from_index(name, manifest, digest, platform)
        return self._from_manifest(name, manifest, digest, ())

    def _from_index(self, name: str, index: dict[str, Any], digest: str, platform: str) -> Offer:
        entries = [entry for entry in index.get("manifests", []) if _platform(entry) not in ("", "unknown/unknown")]
        platforms = tuple(dict.fromkeys(_platform(entry) for entry in entries))
        chosen = next((entry for entry in entries if _fits(_platform(entry), platform)), None)
        if chosen is None:
            return Offer(digest, platforms, 0)
        manifest, _ = self._manifest(name, str(chosen["digest"]))
        return self._from_manifest(name, manifest, digest, platforms)

    def _from_manifest(self, name: str, manifest: dict[str, Any], digest: str, platforms: tuple[str, ...]) -> Offer:
        layers = manifest.get("layers") or []
        config = manifest.get("config") or {}
        if not layers or not config:
            raise CannotTell("the registry's manifest is of a kind that the wizard does not know")
        size = sum(int(layer.get("size") or 0) for layer in layers)
        blob = self._json(f"/v2/{name}/blobs/{config['digest']}", ())[0]
        own = "/".join(str(blob.get(key)) for key in ("os", "architecture", "variant") if blob.get(key))
        labels = (blob.get("config") or {}).get("Labels") or {}
        return Offer(digest, platforms or (own,), size, str(config["digest"]), labels)

    def _manifest(self, name: str, tag: str) -> tuple[dict[str, Any], str]:
        return self._json(f"/v2/{name}/manifests/{tag}", (*INDEXES, *MANIFESTS))

    def _json(self, path: str, accept: tuple[str, ...]) -> tuple[dict[str, Any], str]:
        headers = {"Accept": ", ".join(accept)} if accept else {}
        response = self._get(path, headers)
        if response.status == 401 and not self._authorization:
            self._log_in(response.headers.get("WWW-Authenticate", ""))
            response = self._get(path, headers)
        _refuse(response)
        try:
            found = json.loads(response.data)
        except ValueError as error:
            raise CannotTell(f"{self._host} answered something that is no JSON") from error
        if not isinstance(found, dict):
            raise CannotTell(f"{self._host} answered something that is no object")
        return found, response.headers.get("Docker-Content-Digest", "")

    def _get(self, path: str, headers: dict[str, str]) -> BaseHTTPResponse:
        from urllib3.exceptions import HTTPError, SSLError

        scheme = "http" if self._plain else "https"
        url = f"{scheme}://{self._api}{path}"
        try:
            return self._pool(url).request("GET", url, headers={**headers, **self._authorization}, redirect=True)
        except HTTPError as error:
            if (
                isinstance(getattr(error, "reason", error), SSLError)
                and not self._plain
                and self._may_go_plain(error)
            ):
                self._plain = True
                return self._get(path, headers)
            raise CannotTell(_words(error)) from error

    def _may_go_plain(self, error: Exception) -> bool:
        """Where Docker would go without TLS too, or where no TLS is spoken and there is no password to protect."""
        speaks_none = "CERTIFICATE" not in str(error).upper() and self._host not in self._access.logins
        return speaks_none or is_insecure(self._api, self._access.insecure)

    def _log_in(self, challenge: str) -> None:
        login = self._access.logins.get(self._host)
        scheme, _, rest = challenge.partition(" ")
        basic = _basic(*login) if login else {}
        if scheme.lower() == "basic":
            self._authorization = basic
            return
        fields = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        if scheme.lower() != "bearer" or "realm" not in fields:
            return
        query = urlencode({name: fields[name] for name in ("service", "scope") if name in fields})
        url = f"{fields['realm']}?{query}"
        if basic and urlsplit(url).scheme != "https" and not self._plain:
            raise CannotTell(f"{self._host} wants the password sent without TLS; it was not sent")
        from urllib3.exceptions import HTTPError

        try:
            response = self._pool(url).request("GET", url, headers=basic)
        except HTTPError as error:
            raise CannotTell(_words(error)) from error
        _refuse(response)
        try:
            answer = json.loads(response.data)
            self._authorization = {"Authorization": f"Bearer {answer.get('token') or answer['access_token']}"}
        except (ValueError, KeyError, AttributeError) as error:
            raise CannotTell(f"{urlsplit(url).hostname} answered no token") from error

    def _pool(self, url: str) -> PoolManager:
        from urllib3 import PoolManager, ProxyManager, Retry, Timeout

        parts = urlsplit(url)
        options: dict[str, Any] = {
            "timeout": Timeout(connect=DEADLINE, read=DEADLINE),
            # One more try for a connection that breaks off; a limit or a fault of the server's is told at once.
            "retries": Retry(total=3, connect=1, read=1, status=0, redirect=3, other=0, raise_on_status=False),
        }
        if parts.scheme == "https":
            context = ssl.create_default_context()
            # Python 3.13 is stricter about authorities of one's own than Docker is, which will do the pull.
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
            for authority in self._access.authorities:
                context.load_verify_locations(cadata=authority)
            options["ssl_context"] = context
        proxy = self._access.proxy_https if parts.scheme == "https" else self._access.proxy_http
        if proxy and not bypasses(parts.hostname or "", self._access.no_proxy):
            return ProxyManager(proxy, **options)
        return PoolManager(**options)


def bypasses(host: str, no_proxy: str) -> bool:
    """True when `host` is reached without the proxy: by name, by domain, by address in a network, or with `*`."""
    for part in (one.strip().lower() for one in no_proxy.split(",")):
        if part == "*" or (part and (host == part.lstrip(".") or host.endswith("." + part.lstrip(".")))):
            return True
        try:
            if "/" in part and ip_address(host) in ip_network(part, strict=False):
                return True
        except ValueError:
            continue
    return host == "localhost" or host.startswith("127.")


def is_insecure(host: str, insecure: tuple[str, ...]) -> bool:
    """True where Docker itself would go without TLS: this node's own addresses, and what daemon.json names."""
    name = host.rpartition(":")[0] or host
    if name == "localhost" or name.startswith("127.") or host in insecure or name in insecure:
        return True
    try:
        return any("/" in one and ip_address(name) in ip_network(one, strict=False) for one in insecure)
    except ValueError:
        return False


def _refuse(response: BaseHTTPResponse) -> None:
    if response.status < 300 and len(response.data) <= LARGEST_ANSWER:
        return
    said = response.data[:300].decode(errors="replace")
    if response.status == 404:
        raise NotOffered(f"not found: {said}")
    if response.status in (401, 403):
        raise Denied(f"{response.status} unauthorized: {said}")
    if response.status == 429:
        raise CannotTell(f"429 Too Many Requests: {said}")
    raise CannotTell(f"the registry answered {response.status}: {said}")


def _platform(entry: Mapping[str, Any]) -> str:
    platform = entry.get("platform") or {}
    return "/".join(str(platform[key]) for key in ("os", "architecture", "variant") if platform.get(key))


def _fits(offered: str, wanted: str) -> bool:
    """`linux/arm64/v8` fits `linux/arm64`."""
    return offered == wanted or offered.startswith(f"{wanted}/")


def _basic(username: str, password: Secret) -> dict[str, str]:
    from base64 import b64encode

    token = b64encode(f"{username}:{password.reveal()}".encode()).decode()
    return {"Authorization": f"Basic {token}"}


def _words(error: Exception) -> str:
    """The innermost reason of an error of urllib3, without the objects that stand around it."""
    reason = getattr(error, "reason", None)
    text = str(reason if reason is not None else error)
    return re.sub(r"<[^>]*>:?\s*|HTTPS?ConnectionPool\([^)]*\):?\s*", "", text)[:300]
