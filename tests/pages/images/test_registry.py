"""Image lookups in a simulated HTTP registry: tokens, indexes, refusals, proxies."""

from __future__ import annotations

import gzip
import json
import re
import socket
import threading
import tracemalloc
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from bai_wizard.answers.load import loads
from bai_wizard.compose import desired_from_answers
from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.secret import Secret
from bai_wizard.node.registry import Access, Denied, NotOffered, Registry, bypasses, is_insecure
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.pages.images.probe import access_of
from bai_wizard.pages.images.settings import ImagesSettings
from tests.node.registry import INDEX, MANIFEST, make_image
from tests.waiting import PATIENCE

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


BOMB = gzip.compress(bytes(64 << 20))
LAYER = b'{"layers": [{"size": "x"}], "config": {"digest": "sha256:0"}}'
HOSTILE: dict[str, tuple[dict[str, str], bytes]] = {
    "an endless answer": ({}, b" " * (9 << 20)),
    "an answer that unpacks to a large one": ({"Content-Encoding": "gzip"}, BOMB),
    "an answer that is not packed as it says": ({"Content-Encoding": "gzip"}, b"{}"),
    "deep JSON": ({}, b"[" * 200_000),
    "a list": ({}, b"[]"),
    "manifests that are none": ({}, b'{"manifests": [1]}'),
    "manifests that are no list": ({}, b'{"manifests": 7}'),
    "a manifest without a digest": (
        {}, b'{"manifests": [{"platform": {"os": "linux", "architecture": "amd64"}}]}'
    ),
    "a platform that is none": ({}, b'{"manifests": [{"platform": "linux"}]}'),
    "layers that are none": ({}, b'{"layers": ["x"], "config": {"digest": "sha256:0"}}'),
    "a size that is none": ({}, LAYER),
    "a configuration that is none": ({}, b'{"layers": [{}], "config": "x"}'),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_answer_costs_little_and_is_reported(what: str) -> None:
    headers, body = HOSTILE[what]
    tracemalloc.start()
    try:
        with played({"/v2/a/manifests/1": (200, headers, body)}) as (host, _), pytest.raises(StateUnknown):
            Registry(host, Access()).offer(f"{host}/a:1", "linux/amd64")
        assert tracemalloc.get_traced_memory()[1] < 48 << 20
    finally:
        tracemalloc.stop()


def test_an_answer_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bai_wizard.node.registry.LONGEST_ANSWER", 0.0)
    with played(stored(IMAGE)) as (host, _), pytest.raises(StateUnknown, match="slowly"):
        Registry(host, Access()).offer(f"{host}/a:1", "linux/amd64")


@pytest.mark.parametrize("host", ["127.0.0.1:9", "registry.invalid"])
def test_the_reason_of_a_failed_connection_names_no_object(host: str) -> None:
    with pytest.raises(StateUnknown) as failure:
        Registry(host, Access()).offer(f"{host}/a:1", "linux/amd64")
    assert not re.search(r"\w\(|<|>", str(failure.value)), failure.value


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
def test_a_digest_takes_precedence_over_a_tag(tag: str) -> None:
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
    "answer, error, output",
    [
        ((404, {}, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}'), NotOffered, "MANIFEST_UNKNOWN"),
        ((403, {}, b"no"), Denied, "403"),
        ((429, {}, b"slow"), StateUnknown, "429 Too Many Requests"),
        ((500, {}, b"oops"), StateUnknown, "500"),
        ((200, {}, b"<html>"), StateUnknown, "not valid JSON"),
        ((200, {}, b"[]"), StateUnknown, "not a JSON object"),
        ((200, {}, b'{"schemaVersion": 1}'), StateUnknown, "unknown type"),
    ],
)
def test_refusals(answer: tuple[int, dict[str, str], bytes], error: type[Exception], output: str) -> None:
    with played({"/v2/a/manifests/1": answer}) as (host, _), pytest.raises(error) as raised:
        Registry(host, Access()).offer(f"{host}/a:1", "linux/amd64")
    assert output in str(raised.value)


def test_an_unreachable_registry_is_explained() -> None:
    with pytest.raises(StateUnknown) as raised:
        Registry("127.0.0.1:9", Access()).offer("127.0.0.1:9/a:1", "")
    assert "refused" in str(raised.value)
    assert "<urllib3" not in str(raised.value)


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
def test_hosts_that_bypass_the_proxy(host: str, no_proxy: str, past: bool) -> None:
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
        ("127.1.2.3", (), True),
        ("[::1]:5000", (), True),
        ("[::1]", (), True),
        ("[fd00::5]:5000", ("fd00::/8",), True),
        ("[fd00::5]:5000", ("nonsense/x", "10.0.0.0/8"), False),
        ("10.1.2.3", ("nonsense/x", "10.0.0.0/8"), True),
        ("127.0.0.1.evil.test", (), False),
        ("127.evil.test:5000", (), False),
        ("localhost.evil.test", (), False),
        ("notlocalhost", (), False),
        ("harbor.corp:5000", ("harbor.corp",), True),
        ("harbor.corp.evil.test", ("harbor.corp",), False),
    ],
)
def test_registries_that_docker_treats_as_insecure(host: str, listed: tuple[str, ...], insecure: bool) -> None:
    assert is_insecure(host, listed) is insecure


@contextmanager
def broken_tls(answer: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """A machine in the middle: no TLS, and any answer to a hello; what came in on each connection."""
    heard: list[bytes] = []
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                heard.append(connection.recv(4096))
                connection.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.getsockname()[1]}", heard
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(PATIENCE)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x28",  # handshake_failure
        b"\x15\x03\x01\x00\x02\x02\x46",  # protocol_version
        b"\x15\x03\x01\x00\x02\x02\x70",  # unrecognized_name
        b"",
        b"garbage",
    ],
)
def test_a_broken_tls_handshake_never_falls_back_to_plain_http(
    monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    monkeypatch.setattr("bai_wizard.node.registry.is_insecure", lambda *_: False)
    with broken_tls(answer) as (host, heard):
        registry = Registry("registry.test", Access())
        registry._api = host
        with pytest.raises(StateUnknown):
            registry.offer("registry.test/a:1", "")
    assert heard
    assert not [data for data in heard if data.startswith(b"GET")], "asked without TLS"


def test_an_insecure_registry_is_asked_without_tls() -> None:
    with played(stored(IMAGE)) as (host, _):
        registry = Registry("harbor.corp", Access(insecure=(host,)))
        registry._api = host
        assert registry.offer("harbor.corp/a:1", "linux/amd64").size


@pytest.mark.parametrize("token", [False, True])
def test_a_registry_cannot_send_us_elsewhere_without_tls(monkeypatch: pytest.MonkeyPatch, token: bool) -> None:
    """A redirect, or a realm for logins."""
    with played({}) as (other, asked):
        monkeypatch.setattr("bai_wizard.node.registry.is_insecure", lambda host, _: host != other)
        away = (307, {"Location": f"http://{other}/v2/a/manifests/1"}, b"")
        realm = (401, {"WWW-Authenticate": f'Bearer realm="HTTP://{other}/token",service="s"'}, b"")
        with (
            played({"/v2/a/manifests/1": realm if token else away}) as (host, _),
            pytest.raises(StateUnknown, match="TLS"),
        ):
            Registry(host, Access(logins={host: ("bob", Secret("word"))})).offer(f"{host}/a:1", "")
    assert not asked if token else all(not sent for _, sent in asked)


def test_a_server_for_logins_cannot_send_us_elsewhere_without_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    with played({"/v2/token": (200, {}, b'{"token": "abc"}')}) as (other, asked):
        monkeypatch.setattr("bai_wizard.node.registry.is_insecure", lambda host, _: host != other)
        answers: Answers = {"/realm?service=s": (307, {"Location": f"http://{other}/v2/token"}, b"")}
        with played(answers) as (host, _):
            challenge = f'Bearer realm="http://{host}/realm",service="s"'
            answers["/v2/a/manifests/1"] = (401, {"WWW-Authenticate": challenge}, b"")
            with pytest.raises(StateUnknown, match="without TLS"):
                Registry(host, Access(logins={host: ("bob", Secret("word"))})).offer(f"{host}/a:1", "")
    assert all(not sent for _, sent in asked), "the login was sent to another server"


def test_a_password_never_goes_out_without_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bai_wizard.node.registry.is_insecure", lambda *_: False)
    with played(stored(IMAGE), login="bob:word", token=True) as (host, asked):
        access = Access(logins={"registry.test": ("bob", Secret("word"))})
        registry = Registry("registry.test", access)
        registry._api = host
        with pytest.raises(StateUnknown):
            registry.offer("registry.test/a:1", "")
    assert all(not sent for _, sent in asked)


@pytest.mark.parametrize(
    ("docker", "skip", "insecure"),
    [
        ('[docker]\ninsecure_registries = ["reg.corp:5000"]\n', (), ("reg.corp:5000",)),
        ('[docker]\ninsecure_registries = ["reg.corp:5000"]\n', ("docker",), ()),
        ('[docker]\napply = false\ninsecure_registries = ["reg.corp:5000"]\n', (), ()),
        ("", (), ()),
    ],
)
def test_a_registry_that_the_same_run_declares_insecure_is_one(
    docker: str, skip: tuple[str, ...], insecure: tuple[str, ...]
) -> None:
    """What daemon.json will say when the images are pulled counts, but only if this run writes it."""
    answers = loads(f"version = 1\n{docker}[images]\npull = ['reg.corp:5000/a:1']\n", "answers.toml", "gpu01")
    context = desired_from_answers(answers, skip=skip).context
    assert context.insecure_registries == insecure
    settings = answers.tables["images"]
    assert isinstance(settings, ImagesSettings)
    assert access_of(SimulatedMachine({}), settings, context).insecure == insecure
