"""Look up an image in its registry: whether it exists, for which platforms, and its size. Pulls nothing.

The protocol is the OCI distribution specification 1.1, with the token login of distribution's auth specification.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from msgspec import Struct, field

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.parse import whole
from bai_wizard.core.secret import Secret
from bai_wizard.node.docker import full_reference, split_tag
from bai_wizard.node.http import Pace, TooMuch, TooSlow, paced

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
HUB_API = "registry-1.docker.io"
# Time limit in seconds for one read, and for one request with its redirects and its retry.
DEADLINE = 5.0
LONGEST_ANSWER = 20.0
LARGEST_ANSWER = 8 << 20
# Maximum characters of a text and entries of a list that are kept from an answer.
LONGEST_TEXT = 300
MAX_PLATFORMS = 100
# Exceptions raised when parsing a document with an unexpected structure.
MALFORMED = (AttributeError, IndexError, KeyError, TypeError, ValueError, RecursionError)


class NotOffered(StateUnknown):
    """The registry answered that the image does not exist."""


class Unreachable(StateUnknown):
    """The registry did not answer at all: it will not answer for other images either."""


class Denied(StateUnknown):
    """The registry answered that this login is not allowed, or that a login is required."""


class Offer(Struct, frozen=True):
    """An image in a registry: the `digest` that the tag refers to, platforms, compressed bytes, labels."""

    digest: str
    platforms: tuple[str, ...]
    size: int
    image_id: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


class Access(Struct, frozen=True):
    """How to reach registries: login per host, CA certificates in PEM, proxies, and hosts allowed without TLS."""

    logins: Mapping[str, tuple[str, Secret]] = field(default_factory=dict)
    authorities: tuple[str, ...] = ()
    proxy_http: str = ""
    proxy_https: str = ""
    no_proxy: str = ""
    insecure: tuple[str, ...] = ()


class Answer(NamedTuple):
    """A server's answer; `body` is truncated after LARGEST_ANSWER."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Registry:
    """One registry. Raises NotOffered, Denied, and StateUnknown for all other failures."""

    def __init__(self, host: str, access: Access) -> None:
        self._host = host
        self._access = access
        self._api = HUB_API if host == "docker.io" else host
        self._authorization: dict[str, str] = {}
        self._plain = False

    def offer(self, reference: str, platform: str) -> Offer:
        """Return what the registry offers for a reference and a platform such as `linux/amd64`."""
        name, tag = split_tag(full_reference(reference).partition("/")[2])
        try:
            manifest, digest = self._manifest(name, tag)
            if str(manifest.get("mediaType", "")) in INDEXES or "manifests" in manifest:
                return self._from_index(name, manifest, digest, platform)
            return self._from_manifest(name, manifest, digest, ())
        except MALFORMED as error:
            raise StateUnknown(f"the answer of {self._host} is not a manifest") from error

    def _from_index(self, name: str, index: dict[str, Any], digest: str, platform: str) -> Offer:
        entries = [entry for entry in index.get("manifests", []) if _platform(entry) not in ("", "unknown/unknown")]
        platforms = tuple(dict.fromkeys(_platform(entry) for entry in entries))[:MAX_PLATFORMS]
        chosen = next((entry for entry in entries if _fits(_platform(entry), platform)), None)
        if chosen is None:
            return Offer(digest, platforms, 0)
        manifest, _ = self._manifest(name, str(chosen["digest"]))
        return self._from_manifest(name, manifest, digest, platforms)

    def _from_manifest(self, name: str, manifest: dict[str, Any], digest: str, platforms: tuple[str, ...]) -> Offer:
        layers = manifest.get("layers") or []
        config = manifest.get("config") or {}
        if not layers or not config:
            raise StateUnknown("the registry's manifest is of an unknown type")
        size = sum(whole(layer.get("size") or 0) for layer in layers)
        if not 0 <= size < 1 << 60:
            raise StateUnknown(f"{self._host} reports an impossible size")
        blob = self._json(f"/v2/{name}/blobs/{config['digest']}", ())[0]
        own = "/".join(str(blob.get(key)) for key in ("os", "architecture", "variant") if blob.get(key))[
            :LONGEST_TEXT
        ]
        result = (blob.get("config") or {}).get("Labels") or {}
        labels = {str(name): str(value) for name, value in result.items()}
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
            result = json.loads(response.body)
        except (ValueError, RecursionError) as error:
            raise StateUnknown(f"the answer of {self._host} is not valid JSON") from error
        if not isinstance(result, dict):
            raise StateUnknown(f"the answer of {self._host} is not a JSON object")
        return result, response.headers.get("Docker-Content-Digest", "")[:LONGEST_TEXT]

    def _get(self, path: str, headers: dict[str, str]) -> Answer:
        from urllib3.exceptions import HTTPError, SSLError

        scheme = "http" if self._plain else "https"
        url = f"{scheme}://{self._api}{path}"
        try:
            answer = self._answer(url, {**headers, **self._authorization})
        except HTTPError as error:
            is_tls = isinstance(getattr(error, "reason", error), SSLError)
            if is_tls and not self._plain and self._is_insecure(self._api):
                self._plain = True
                return self._get(path, headers)
            raise Unreachable(_words(error)) from error
        return answer

    def _answer(self, url: str, headers: Mapping[str, str]) -> Answer:
        """Send a request, within the limits for an answer.

        Raises TooMuch, urllib3's exceptions, and StateUnknown for an answer that came without TLS.
        """
        pace = Pace(LONGEST_ANSWER)
        pool = self._pool(url)
        paced(pool, pace)
        pace.begin()
        try:
            # Compressed bodies are never requested, and a small one could expand to any size.
            plain = {"Accept-Encoding": "identity", **headers}
            response = pool.request("GET", url, headers=plain, redirect=True, preload_content=False)
            self._refuse_downgrade(response)
            pace.allow(2 * LARGEST_ANSWER)
            body = response.read(LARGEST_ANSWER + 1, decode_content=False)
            return Answer(response.status, response.headers, body)
        finally:
            pool.clear()

    def _is_insecure(self, host: str) -> bool:
        return is_insecure(host, self._access.insecure)

    def _refuse_downgrade(self, response: BaseHTTPResponse) -> None:
        """Raise StateUnknown if a registry that uses TLS redirects to a host without it."""
        history = response.retries.history if response.retries is not None else ()
        for step in history:
            to = urlsplit(step.redirect_location or "")
            if to.scheme.lower() == "http" and not self._is_insecure(to.netloc):
                raise StateUnknown(f"{self._host} redirects to {to.hostname} without TLS; its answer was discarded")

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
        realm = urlsplit(url)
        if realm.scheme.lower() != "https" and not self._is_insecure(realm.netloc):
            raise StateUnknown(f"{self._host} sends logins to {realm.hostname} without TLS; no login was sent")
        from urllib3.exceptions import HTTPError

        try:
            response = self._answer(url, basic)
        except HTTPError as error:
            raise StateUnknown(_words(error)) from error
        _refuse(response)
        try:
            answer = json.loads(response.body)
            self._authorization = {"Authorization": f"Bearer {answer.get('token') or answer['access_token']}"}
        except MALFORMED as error:
            raise StateUnknown(f"{urlsplit(url).hostname} did not return a token") from error

    def _pool(self, url: str) -> PoolManager:
        from urllib3 import PoolManager, ProxyManager, Retry, Timeout

        parts = urlsplit(url)
        options: dict[str, Any] = {
            "timeout": Timeout(connect=DEADLINE, read=DEADLINE),
            # Retry a broken connection once; a rate limit or server error is reported immediately.
            "retries": Retry(total=3, connect=1, read=1, status=0, redirect=3, other=0, raise_on_status=False),
        }
        if parts.scheme == "https":
            context = ssl.create_default_context()
            # Python 3.13 is stricter about private CAs than Docker, which does the pull.
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
            for authority in self._access.authorities:
                context.load_verify_locations(cadata=authority)
            options["ssl_context"] = context
        proxy = self._access.proxy_https if parts.scheme == "https" else self._access.proxy_http
        if proxy and not bypasses(parts.hostname or "", self._access.no_proxy):
            return ProxyManager(proxy, **options)
        return PoolManager(**options)


def bypasses(host: str, no_proxy: str) -> bool:
    """Whether `host` is reached without the proxy: by name, by domain, by address in a network, or with `*`."""
    for part in (one.strip().lower() for one in no_proxy.split(",")):
        if part == "*" or (part and (host == part.lstrip(".") or host.endswith("." + part.lstrip(".")))):
            return True
        try:
            if "/" in part and ip_address(host) in ip_network(part, strict=False):
                return True
        except ValueError:
            continue
    return host in ("localhost", "::1") or host.startswith("127.")


def is_insecure(host: str, insecure: tuple[str, ...]) -> bool:
    """Whether Docker itself would omit TLS: loopback (127.0.0.0/8, ::1), and the hosts in daemon.json.

    Docker also resolves a name and compares its addresses with the networks; here the name itself has to be listed,
    so a lookup is never less strict than the pull.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name == "localhost" or host in insecure or name in insecure:
        return True
    try:
        address = ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or any(_is_in(address, one) for one in insecure if "/" in one)


def _is_in(address: IPv4Address | IPv6Address, network: str) -> bool:
    try:
        return address in ip_network(network, strict=False)
    except ValueError:
        return False


def _refuse(response: Answer) -> None:
    if len(response.body) > LARGEST_ANSWER:
        raise TooMuch(f"the registry's answer is larger than {LARGEST_ANSWER} bytes")
    if response.status < 300:
        return
    output = response.body[:LONGEST_TEXT].decode(errors="replace")
    if response.status == 404:
        raise NotOffered(f"not found: {output}")
    if response.status in (401, 403):
        raise Denied(f"{response.status} unauthorized: {output}")
    if response.status == 429:
        raise StateUnknown(f"429 Too Many Requests: {output}")
    raise StateUnknown(f"the registry answered {response.status}: {output}")


def _platform(entry: Mapping[str, Any]) -> str:
    platform = entry.get("platform") or {}
    return "/".join(str(platform[key]) for key in ("os", "architecture", "variant") if platform.get(key))[
        :LONGEST_TEXT
    ]


def _fits(offered: str, wanted: str) -> bool:
    """`linux/arm64/v8` matches `linux/arm64`."""
    return offered == wanted or offered.startswith(f"{wanted}/")


def _basic(username: str, password: Secret) -> dict[str, str]:
    from base64 import b64encode

    token = b64encode(f"{username}:{password.reveal()}".encode()).decode()
    return {"Authorization": f"Basic {token}"}


def _words(error: Exception) -> str:
    """Return the innermost reason of a urllib3 error, without object representations."""
    reason = getattr(error, "reason", None)
    if isinstance(cause := getattr(reason or error, "__cause__", None), TooSlow):
        return f"the registry answers too slowly: {cause}"
    text = str(reason if reason is not None else error)
    return re.sub(r"<[^>]*>:?\s*|\w+\(host=[^)]*\):?\s*", "", text)[:300]
