"""Looking images up, in a registry that is played over HTTP: tokens, indexes, refusals, proxies."""

from __future__ import annotations

import json
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from bai_wizard.core.errors import CannotTell
from bai_wizard.core.secret import Secret
from bai_wizard.machine.registry import Access, Denied, NotOffered, Registry, bypasses, is_insecure
from tests.node.registry import INDEX, MANIFEST, make_image

IMAGE = make_image([100, 200], labels={"ai.backend.role": "COMPUTE"})
ARM = make_image([100], architecture="arm64")
Answers = dict[str, tuple[int, dict[str, str], bytes]]


@contextmanager
def played(answers: Answers, *, login: str = "", token: bool = False) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """A registry on loopback; its host, and (path, authorization) of each request."""
    asked: list[tuple[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            sent = self.headers.get("Authorization", "")
            asked.append((self.path, sent))
            host = self.headers["Host"]
            right = "Basic " + b64encode(login.encode()).decode()
            if token and self.path.startswith("/token"):
                body = json.dumps({"token": "abc"}).encode()
                self._say(200 if not login or sent == right else 401, {}, body)
            elif token and sent != "Bearer abc":
                challenge = f'Bearer realm="http://{host}/token",service="s",scope="repository:a:pull"'
                self._say(401, {"WWW-Authenticate": challenge}, b"{}")
            elif login and not token and sent != right:
                self._say(401, {"WWW-Authenticate": 'Basic realm="x"'}, b"{}")
            else:
                self._say(*answers.get(self.path, (404, {}, b'{"errors": []}')))

        def _say(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()


def stored(image: Any, tag: str = "1") -> Answers:
    """An image under /v2/a."""
    answer = (200, {"Content-Type": MANIFEST, "Docker-Content-Digest": image.manifest.digest}, image.manifest.data)
    return {
        f"/v2/a/manifests/{tag}": answer,
        f"/v2/a/manifests/{image.manifest.digest}": answer,
        f"/v2/a/blobs/{image.config.digest}": (200, {}, image.config.data),
    }


def index(*entries: tuple[Any, str, str]) -> Answers:
    """Several platforms under one tag."""
    body = {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [
            {
                "digest": image.manifest.digest,
                "platform": {"os": "linux", "architecture": architecture, "variant": variant},
            }
            for image, architecture, variant in entries
        ]
        + [{"digest": "sha256:x", "platform": {"os": "unknown", "architecture": "unknown"}}],
    }
    made: Answers = {}
    for image, _, _ in entries:
        made |= stored(image, "other")
    return made | {"/v2/a/manifests/1": (200, {"Docker-Content-Digest": "sha256:index"}, json.dumps(body).encode())}


def test_one_manifest() -> None:
    with played(stored(IMAGE)) as (host, _):
        offer = Registry(host, Access()).offer(f"{host}/a:1", "linux/amd64")
    assert offer.size == sum(len(layer.data) for layer in IMAGE.layers)
    assert (offer.image_id, offer.platforms) == (IMAGE.config.digest, ("linux/amd64",))
    assert offer.labels == {"ai.backend.role": "COMPUTE"}


def test_an_index_is_followed_to_this_platform() -> None:
    with played(index((IMAGE, "amd64", ""), (ARM, "arm64", "v8"))) as (host, _):
        registry = Registry(host, Access())
        assert registry.offer(f"{host}/a:1", "linux/arm64").image_id == ARM.config.digest
        other = registry.offer(f"{host}/a:1", "linux/s390x")
    assert other.platforms == ("linux/amd64", "linux/arm64/v8")
    assert other.image_id == ""


@pytest.mark.parametrize("tag", ["", ":1"])
def test_a_digest_counts_whatever_tag_stands_before_it(tag: str) -> None:
    digest = IMAGE.manifest.digest
    with played(stored(IMAGE)) as (host, asked):
        assert Registry(host, Access()).offer(f"{host}/a{tag}@{digest}", "linux/amd64").size
    assert asked[0][0] == f"/v2/a/manifests/{digest}"


@pytest.mark.parametrize("token", [False, True])
def test_logins(token: bool) -> None:
    with played(stored(IMAGE), login="bob:word", token=token) as (host, _):
        right = Access(logins={host: ("bob", Secret("word"))}, insecure=(host,))
        assert Registry(host, right).offer(f"{host}/a:1", "linux/amd64").size
        wrong = Access(logins={host: ("bob", Secret("other"))}, insecure=(host,))
        with pytest.raises(Denied):
            Registry(host, wrong).offer(f"{host}/a:1", "linux/amd64")
        with pytest.raises(Denied):
            Registry(host, Access()).offer(f"{host}/a:1", "linux/amd64")


def test_a_token_without_a_password() -> None:
    with played(stored(IMAGE), token=True) as (host, asked):
        assert Registry(host, Access()).offer(f"{host}/a:1", "linux/amd64").size
    assert ("/token?service=s&scope=repository%3Aa%3Apull", "") in asked


@pytest.mark.parametrize(
    "answer, error, said",
    [
        ((404, {}, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}'), NotOffered, "MANIFEST_UNKNOWN"),
        ((403, {}, b"no"), Denied, "403"),
        ((429, {}, b"slow"), CannotTell, "429 Too Many Requests"),
        ((500, {}, b"oops"), CannotTell, "500"),
        ((200, {}, b"<html>"), CannotTell, "no JSON"),
        ((200, {}, b"[]"), CannotTell, "no object"),
        ((200, {}, b'{"schemaVersion": 1}'), CannotTell, "of a kind"),
    ],
)
def test_refusals(answer: tuple[int, dict[str, str], bytes], error: type[Exception], said: str) -> None:
    with played({"/v2/a/manifests/1": answer}) as (host, _), pytest.raises(error) as found:
        Registry(host, Access()).offer(f"{host}/a:1", "linux/amd64")
    assert said in str(found.value)


def test_nobody_there_is_said_in_words() -> None:
    with pytest.raises(CannotTell) as found:
        Registry("127.0.0.1:9", Access()).offer("127.0.0.1:9/a:1", "")
    assert "refused" in str(found.value)
    assert "<urllib3" not in str(found.value)


def test_a_proxy_is_used_and_bypassed() -> None:
    with played({}) as (proxy, asked):
        access = Access(proxy_http=f"http://{proxy}", proxy_https=f"http://{proxy}", no_proxy=".corp")
        registry = Registry("registry.test:5000", access)
        registry._plain = True
        with pytest.raises(NotOffered):
            registry.offer("registry.test:5000/a:1", "")
    assert asked[0][0] == "http://registry.test:5000/v2/a/manifests/1"


@pytest.mark.parametrize(
    "host, no_proxy, past",
    [
        ("harbor.corp", ".corp", True),
        ("harbor.corp", "corp", True),
        ("harbor.corp", "harbor.corp", True),
        ("xcorp", "corp", False),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("11.1.2.3", "10.0.0.0/8, nonsense/x", False),
        ("anything", "*", True),
        ("127.0.0.1", "", True),
        ("harbor.corp", "", False),
    ],
)
def test_who_is_reached_without_the_proxy(host: str, no_proxy: str, past: bool) -> None:
    assert bypasses(host, no_proxy) is past


@pytest.mark.parametrize(
    "host, listed, insecure",
    [
        ("127.0.0.1:5000", (), True),
        ("localhost", (), True),
        ("harbor.corp:5000", ("harbor.corp:5000",), True),
        ("harbor.corp:5001", ("harbor.corp:5000",), False),
        ("10.1.2.3:5000", ("10.0.0.0/8",), True),
        ("harbor.corp", (), False),
    ],
)
def test_who_is_insecure_as_docker_sees_it(host: str, listed: tuple[str, ...], insecure: bool) -> None:
    assert is_insecure(host, listed) is insecure


def test_a_password_never_goes_out_without_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bai_wizard.machine.registry.is_insecure", lambda *_: False)
    with played(stored(IMAGE), login="bob:word", token=True) as (host, asked):
        access = Access(logins={"registry.test": ("bob", Secret("word"))})
        registry = Registry("registry.test", access)
        registry._api = host
        with pytest.raises(CannotTell):
            registry.offer("registry.test/a:1", "")
    assert all(not sent for _, sent in asked)
