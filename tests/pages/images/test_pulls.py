"""Pulls over an engine that is played: what it says, what is told of it, when trying again is worth it."""

from __future__ import annotations

import json
import random
import socket
import threading
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from bai_wizard.core.errors import CannotTell, StepFailed
from bai_wizard.core.event import silent
from bai_wizard.core.primitives import LoadImages, PullImages, TagImage
from bai_wizard.core.state import Image
from bai_wizard.machine.perform import images
from bai_wizard.machine.perform.pull_progress import ImageProgress, PullProgress, duration, megabytes
from bai_wizard.machine.registry_causes import cause_of, plain

SAID = [
    ("failed to register layer: write /x: no space left on device", "no-space", False),
    ('Get "https://r/v2/": x509: certificate signed by unknown authority', "certificate", False),
    ("x509: certificate has expired or is not yet valid: current time 2020", "clock", False),
    ("http: server gave HTTP response to HTTPS client", "certificate", False),
    ("no matching manifest for linux/arm64/v8 in the manifest list entries", "platform", False),
    ("toomanyrequests: You have reached your unauthenticated pull rate limit.", "rate-limit", True),
    ("manifest for r/a:1 not found: manifest unknown: manifest unknown", "not-found", False),
    ("pull access denied for a, repository does not exist or may require 'docker login'", "denied", False),
    ('Head "https://r/v2/a/manifests/1": no basic auth credentials', "denied", False),
    ("dial tcp: lookup cr.backend.ai: no such host", "unreachable", False),
    ("Failed to resolve 'cr.backend.ai' ([Errno -2] Name or service not known)", "unreachable", False),
    ("read tcp 10.0.0.1:1->10.0.0.2:443: read: connection reset by peer", "cut", True),
    ("unexpected EOF", "cut", True),
    ("filesystem layer verification failed for digest sha256:1", "cut", True),
    ("net/http: TLS handshake timeout", "unreachable", True),
    ("dial tcp 10.0.0.2:443: connect: connection refused", "unreachable", True),
    ("received unexpected HTTP status: 503 Service Unavailable", "other", True),
    ("Docker does not answer: ('Connection broken: IncompleteRead(0 bytes read)')", "engine", True),
    ("error creating lease: grpc: the client connection is closing: context canceled", "engine", True),
    ("something new", "other", False),
]


@pytest.mark.parametrize("said, sort, again", SAID, ids=[said[:25] for said, _, _ in SAID])
def test_causes(said: str, sort: str, again: bool) -> None:
    assert (cause_of(said).sort, cause_of(said).again) == (sort, again)
    assert said in plain("r/a:1", said)


class PlayedEngine:
    """Answers each pull with the next list of items, an exception among them raised; keeps what it was asked."""

    def __init__(self, *pulls: list[Any]) -> None:
        self.pulls = list(pulls)
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.here: dict[str, Image] = {}
        self.is_asked_to_stop = False

    def pull(self, name: str, **options: Any) -> Iterator[dict[str, Any]]:
        self.asked.append((name, options))
        for item in self.pulls.pop(0):
            if isinstance(item, Exception):
                raise item
            yield item
        self.here[f"{name}:{options['tag']}"] = Image("sha256:1")

    def inspect_image(self, reference: str) -> dict[str, Any]:
        return {"Id": "sha256:" + "1" * 64, "Architecture": "amd64", "Size": 5_000_000, "Config": {"Labels": LABELS}}

    def should_stop(self) -> bool:
        return self.is_asked_to_stop

    def image(self, reference: str) -> Image | None:
        return self.here.get(reference)


LABELS = {"ai.backend.role": "COMPUTE", "maintainer": "x", "ai.backend.resource.min.cpu": "1"}
LAYER: list[dict[str, Any]] = [
    {"status": "Pulling from a", "id": "1"},
    {"status": "Pulling fs layer", "progressDetail": {}, "id": "l1"},
    {"status": "Downloading", "progressDetail": {"current": 500, "total": 1000}, "id": "l1"},
]
END: list[dict[str, Any]] = [
    {"status": "Download complete", "progressDetail": {}, "id": "l1"},
    {"status": "Extracting", "progressDetail": {"current": 1000, "total": 1000}, "id": "l1"},
    {"status": "Pull complete", "progressDetail": {}, "id": "l1"},
    {"status": "Digest: sha256:2"},
]
CUT: dict[str, Any] = {"error": "unexpected EOF", "errorDetail": {"message": "unexpected EOF"}}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any, Any]]:
    """What is logged: text, done, total. Nobody waits between tries."""
    monkeypatch.setattr(images, "LONGEST_WAIT", 0.0)
    return []


def pull(
    engine: PlayedEngine,
    told: list[tuple[str, Any, Any]],
    monkeypatch: pytest.MonkeyPatch,
    connect: Any = None,
    **more: Any,
) -> None:
    monkeypatch.setattr(images, "open_sdk", connect or (lambda *_: engine))
    primitive = PullImages(references=("r.corp/a:1",), platform="linux/amd64", **more)
    log: Any = lambda text, done=None, total=None, **_: told.append((text, done, total))  # noqa: E731
    images.pull_images(engine, primitive, log)  # type: ignore[arg-type]


def test_it_ends_complete_and_is_described(told: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    engine = PlayedEngine([*LAYER, *END])
    pull(engine, told, monkeypatch, sizes=(1000,))
    assert engine.asked[0][0] == "r.corp/a"
    assert engine.asked[0][1]["tag"] == "1"
    assert ("complete", 1000, 1000) in told
    assert "role=COMPUTE" in told[-1][0]


def test_cuts_are_tried_again_for_as_long_as_bytes_come(told: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    growing = [
        [{"status": "Downloading", "progressDetail": {"current": number * 10, "total": 1000}, "id": "l1"}, CUT]
        for number in range(1, 30)
    ]
    engine = PlayedEngine(*growing, END)
    pull(engine, told, monkeypatch)
    assert len(engine.asked) == 30, "more tries than are made without any progress"


def test_tries_without_progress_come_to_an_end(told: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    engine = PlayedEngine(*[[CUT]] * 50)
    with pytest.raises(StepFailed, match="broke off again and again"):
        pull(engine, told, monkeypatch)
    assert len(engine.asked) == images.TRIES


def test_an_error_that_stays_is_not_tried_again(told: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    engine = PlayedEngine([{"error": "manifest unknown", "errorDetail": {"message": "manifest unknown"}}])
    with pytest.raises(StepFailed, match="check name and tag"):
        pull(engine, told, monkeypatch)
    assert len(engine.asked) == 1


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("rest", [b"", b"2", b'20\r\n{"stat', b"4\r\n}}}}\r\n0\r\n\r\n", b"nonsense"])
def test_a_daemon_that_goes_away_while_it_pulls(
    told: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rest: bytes
) -> None:
    """The SDK itself on a socket that breaks off, in every place of an answer, and is not there for a while."""
    import docker

    item = json.dumps(LAYER[2]).encode() + b"\r\n"
    begun = HEAD + f"{len(item):x}\r\n".encode() + item + b"\r\n"
    tries: list[int] = []

    def connect(timeout: int = 60) -> Any:
        tries.append(1)
        if len(tries) == 2:
            raise CannotTell("Docker does not answer: connection refused")
        if len(tries) > 2:
            return PlayedEngine([*LAYER, *END])
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(tmp_path / "socket"))
        server.listen()
        threading.Thread(target=answer, args=(server,), daemon=True).start()
        return docker.APIClient(base_url=f"unix://{tmp_path}/socket", version="1.45", timeout=timeout)

    def answer(server: socket.socket) -> None:
        connection, _ = server.accept()
        connection.recv(65536)
        connection.sendall(begun + rest)
        connection.close()
        server.close()

    pull(PlayedEngine(), told, monkeypatch, connect)
    assert len(tries) == 4, "broken off, not there, complete, and asked what came"
    assert any("Docker does not answer" in text for text, _, _ in told)


def test_an_engine_that_refuses_or_is_gone_is_a_failure_and_no_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    from docker.errors import APIError
    from requests.exceptions import ConnectionError

    gone = [ConnectionError("refused"), APIError("500", explanation="no space left on device"), CannotTell("x")]
    machine: Any = None
    for error in gone:
        engine = PlayedEngine()
        for name in ("tag", "load_image"):
            monkeypatch.setattr(engine, name, raising(error), raising=False)
        monkeypatch.setattr(images, "open_sdk", lambda *_, engine=engine: engine)
        with pytest.raises(StepFailed):
            images.tag_image(machine, TagImage("a:1", "b:1"), silent)
        with pytest.raises(StepFailed):
            images.load_images(machine, LoadImages(("a:1",), "/dev/null", NOTHING), silent)


NOTHING = sha256(b"").hexdigest()


def raising(error: Exception) -> Any:
    """A call that fails."""

    def call(*_: Any, **__: Any) -> None:
        raise error

    return call


def test_a_run_that_is_asked_to_stop_begins_no_further_image(
    told: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = PlayedEngine([*LAYER, *END])
    engine.is_asked_to_stop = True
    with pytest.raises(StepFailed, match="a later run pulls it"):
        pull(engine, told, monkeypatch)
    assert engine.asked == []


def test_a_run_that_is_asked_to_stop_waits_for_no_further_try(
    told: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "LONGEST_WAIT", 1000.0)
    monkeypatch.setattr(random, "uniform", lambda *_: 1000.0)
    engine = PlayedEngine(*[[CUT]] * 8)
    monkeypatch.setattr(engine, "should_stop", lambda: bool(told))
    with pytest.raises(StepFailed, match="broke off"):
        pull(engine, told, monkeypatch)
    assert len(engine.asked) == 1
    assert "trying again in 1000 s" in told[0][0]


def test_an_image_that_is_here_is_not_asked_for(told: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    engine = PlayedEngine()
    engine.here["r.corp/a:1"] = Image("sha256:1")
    pull(engine, told, monkeypatch)
    assert engine.asked == []


def test_another_architecture_is_a_failure(told: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    engine = PlayedEngine([*LAYER, *END])
    monkeypatch.setattr(engine, "inspect_image", lambda _: {"Id": "sha256:1", "Architecture": "arm64"})
    with pytest.raises(StepFailed, match="what came is for arm64"):
        pull(engine, told, monkeypatch)


def test_one_image_adds_up_its_layers() -> None:
    image = ImageProgress("r/a:1", expected=3000)
    assert image.total == 3000
    for item in LAYER:
        image.take(item)
    assert (image.fetched, image.total) == (500, 3000)
    image.take({"status": "Retrying in 5 seconds", "progressDetail": {}, "id": "l1"})
    assert image.fetched == 0
    for item in END:
        image.take(item)
    image.take({"status": "Already exists", "progressDetail": {}, "id": "l2"})
    assert image.total == 1000, "what is here already is not waited for"
    assert image.words() == "a:1 2 of 2 layers"


def test_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    said: list[str] = []
    log: Any = lambda text, **_: said.append(text)  # noqa: E731
    progress = PullProgress(log, {"r/a:1": 100_000_000})
    for number in range(1, 9):
        clock[0] += 1
        detail = {"current": number * 10_000_000, "total": 100_000_000}
        progress.take("r/a:1", {"status": "Downloading", "progressDetail": detail, "id": "l1"})
    assert said[-1] == "a:1 0 of 1 layers; 10 MB/s, 2 s left"
    assert len(said) == 8


@pytest.mark.parametrize(
    "seconds, text", [(0.4, "0 s"), (89, "89 s"), (100, "2 min"), (3599, "1 h 0 min"), (4800, "1 h 20 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_sizes() -> None:
    assert [megabytes(size) for size in (1_500_000, 912_000_000, 1_440_000_000)] == ["1.5 MB", "912 MB", "1.4 GB"]
