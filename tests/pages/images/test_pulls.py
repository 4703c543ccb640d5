"""Pulls through a simulated engine: its messages, their explanations, and when a retry makes sense."""

from __future__ import annotations

import io
import json
import os
import random
import socket
import tarfile
import threading
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from bai_wizard.core.errors import StateUnknown, StepFailed
from bai_wizard.core.event import silent
from bai_wizard.core.page import Unknown
from bai_wizard.core.state import Image
from bai_wizard.node.docker import EngineSilent, Silence, explain_registry_error, with_explanation
from bai_wizard.pages.images.probe import archive_of
from bai_wizard.resources import images_apply
from bai_wizard.resources.images import LoadImages, PullImages, TagImage
from bai_wizard.resources.images_apply import ImageProgress, PullProgress, duration, megabytes
from bai_wizard.resources.local import LocalMachine
from tests.waiting import PATIENCE, ends

SAID = [
    ("failed to register layer: write /x: no space left on device", "the disk is full", False),
    ('Get "https://r/v2/": x509: certificate signed by unknown authority', "certificate is not trusted", False),
    ("x509: certificate has expired or is not yet valid: current time 2020", "clock", False),
    ("http: server gave HTTP response to HTTPS client", "does not use TLS", False),
    ("no matching manifest for linux/arm64/v8 in the manifest list entries", "this node's architecture", False),
    ("toomanyrequests: You have reached your unauthenticated pull rate limit.", "rate limit", True),
    (
        "manifest for r/a:1 not found: manifest unknown: manifest unknown",
        "does not have this image",
        False,
    ),
    ("pull access denied for a, repository does not exist or may require 'docker login'", "requires a login", False),
    ('Head "https://r/v2/a/manifests/1": no basic auth credentials', "requires a login", False),
    ("dial tcp: lookup cr.backend.ai: no such host", "cannot be resolved", False),
    ("Failed to resolve 'cr.backend.ai' ([Errno -2] Name or service not known)", "cannot be resolved", False),
    ("read tcp 10.0.0.1:1->10.0.0.2:443: read: connection reset by peer", "interrupted repeatedly", True),
    ("unexpected EOF", "interrupted repeatedly", True),
    ("filesystem layer verification failed for digest sha256:1", "interrupted repeatedly", True),
    ("net/http: TLS handshake timeout", "in time", True),
    ("dial tcp 10.0.0.2:443: connect: connection refused", "is unreachable", True),
    ("received unexpected HTTP status: 503 Service Unavailable", "internal error", True),
    (
        Silence("Docker does not respond: ('Connection broken: IncompleteRead(0 bytes read)')"),
        "restarted",
        True,
    ),
    (
        "manifest unknown: Docker does not answer is the name of this tag",
        "does not have this image",
        False,
    ),
    (
        "error creating lease: grpc: the client connection is closing: context canceled",
        "restarted",
        True,
    ),
    ("something new", "unknown error", False),
]


@pytest.mark.parametrize("output, message, retry", SAID, ids=[said[:25] for said, _, _ in SAID])
def test_causes(output: str, message: str, retry: bool) -> None:
    assert message in explain_registry_error(output).text
    assert explain_registry_error(output).retry is retry
    assert output in with_explanation("r/a:1", output)


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
def reported(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any, Any]]:
    """Return the log: text, done, total. Retries do not wait."""
    monkeypatch.setattr(images_apply, "LONGEST_WAIT", 0.0)
    return []


def pull(
    engine: PlayedEngine,
    lines: list[tuple[str, Any, Any]],
    monkeypatch: pytest.MonkeyPatch,
    connect: Any = None,
    **more: Any,
) -> None:
    monkeypatch.setattr(images_apply, "open_sdk", connect or (lambda *_: engine))
    operation = PullImages(references=("r.corp/a:1",), platform="linux/amd64", **more)
    log: Any = lambda text, done=None, total=None, **_: lines.append((text, done, total))  # noqa: E731
    images_apply.pull_images(engine, operation, log)  # type: ignore[arg-type]


def test_it_ends_complete_and_is_described(reported: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    engine = PlayedEngine([*LAYER, *END])
    pull(engine, reported, monkeypatch, sizes=(1000,))
    assert engine.asked[0][0] == "r.corp/a"
    assert engine.asked[0][1]["tag"] == "1"
    assert ("complete", 1000, 1000) in reported
    assert "role=COMPUTE" in reported[-1][0]


def test_interrupted_pulls_are_retried_while_there_is_progress(
    reported: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    growing = [
        [{"status": "Downloading", "progressDetail": {"current": number * 10, "total": 1000}, "id": "l1"}, CUT]
        for number in range(1, 30)
    ]
    engine = PlayedEngine(*growing, END)
    pull(engine, reported, monkeypatch)
    assert len(engine.asked) == 30, "more tries than are made without any progress"


def test_tries_without_progress_come_to_an_end(reported: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    engine = PlayedEngine(*[[CUT]] * 50)
    with pytest.raises(StepFailed, match="interrupted repeatedly"):
        pull(engine, reported, monkeypatch)
    assert len(engine.asked) == images_apply.TRIES


def test_an_error_that_stays_is_not_tried_again(reported: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    engine = PlayedEngine([{"error": "manifest unknown", "errorDetail": {"message": "manifest unknown"}}])
    with pytest.raises(StepFailed, match="Check its name and tag"):
        pull(engine, reported, monkeypatch)
    assert len(engine.asked) == 1


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("rest", [b"", b"2", b'20\r\n{"stat', b"4\r\n}}}}\r\n0\r\n\r\n", b"nonsense"])
def test_a_daemon_that_goes_away_while_it_pulls(
    reported: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rest: bytes
) -> None:
    """The SDK itself on a socket that breaks off, in every place of an answer, and is not there for a while."""
    import docker

    item = json.dumps(LAYER[2]).encode() + b"\r\n"
    begun = HEAD + f"{len(item):x}\r\n".encode() + item + b"\r\n"
    tries: list[int] = []

    def connect(timeout: int = 60) -> Any:
        tries.append(1)
        if len(tries) == 2:
            raise EngineSilent("Docker does not respond: connection refused")
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

    pull(PlayedEngine(), reported, monkeypatch, connect)
    assert len(tries) == 4, "broken off, not there, complete, and asked what came"
    assert any("Docker does not respond" in text for text, _, _ in reported)


def test_an_engine_that_refuses_or_is_gone_is_a_failure_and_no_bug(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from docker.errors import APIError
    from requests.exceptions import ConnectionError

    gone = [ConnectionError("refused"), APIError("500", explanation="no space left on device"), StateUnknown("x")]
    machine: Any = None
    monkeypatch.setattr(images_apply, "CACHE", str(tmp_path / "cache"))
    archive = tmp_path / "archive.tar"
    archive.touch()
    for error in gone:
        engine = PlayedEngine()
        for name in ("tag", "load_image"):
            monkeypatch.setattr(engine, name, raising(error), raising=False)
        monkeypatch.setattr(images_apply, "open_sdk", lambda *_, engine=engine: engine)
        with pytest.raises(StepFailed):
            images_apply.tag_image(machine, TagImage("a:1", "b:1"), silent)
        with pytest.raises(StepFailed):
            images_apply.load_images(machine, LoadImages(("a:1",), str(archive), NOTHING), silent)


NOTHING = sha256(b"").hexdigest()


@pytest.mark.parametrize("change", ["in place", "renamed"])
def test_the_engine_gets_the_bytes_that_were_hashed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, change: str
) -> None:
    """The archive's owner changes it once it was compared, before the engine has read it."""
    content = b"an image" * 1000
    archive = tmp_path / "archive.tar"
    archive.write_bytes(content)
    monkeypatch.setattr(images_apply, "CACHE", str(tmp_path / "cache"))
    given: list[bytes] = []

    def load_image(file: Any, quiet: bool) -> list[dict[str, str]]:
        if change == "in place":
            archive.write_bytes(b"others")
        else:
            (tmp_path / "others").write_bytes(b"others")
            (tmp_path / "others").rename(archive)
        given.append(file.read())
        return [{"stream": "Loaded image: a:1"}]

    engine = PlayedEngine()
    engine.here["a:1"] = Image("sha256:1")
    monkeypatch.setattr(engine, "load_image", load_image, raising=False)
    monkeypatch.setattr(images_apply, "open_sdk", lambda *_: engine)
    machine: Any = engine
    images_apply.load_images(machine, LoadImages(("a:1",), str(archive), sha256(content).hexdigest()), silent)
    assert given == [content]
    assert list((tmp_path / "cache").iterdir()) == [], "the copy has no name, so that nothing is left after a kill"


@pytest.mark.parametrize("kind", ["other", "FIFO", "device", "directory", "gone"])
def test_an_archive_that_is_not_the_one_meant_does_not_reach_the_engine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    archive = tmp_path / "archive.tar"
    monkeypatch.setattr(images_apply, "CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(images_apply, "open_sdk", raising(AssertionError("the engine was asked")))
    if kind == "other":
        archive.write_bytes(b"others")
    elif kind == "FIFO":
        os.mkfifo(archive)
    elif kind == "device":
        archive.symlink_to("/dev/zero")
    elif kind == "directory":
        archive.mkdir()
    machine: Any = None
    with pytest.raises(StepFailed, match=r"archive\.tar"):
        images_apply.load_images(machine, LoadImages(("a:1",), str(archive), NOTHING), silent)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_only_regular_files_are_opened(tmp_path: Path, make: Callable[[str], None]) -> None:
    make(f"{tmp_path}/archive.tar")
    with ends("reading what is no regular file"):
        assert archive_of(LocalMachine(), f"{tmp_path}/archive.tar", NOTHING) == Unknown(
            f"{tmp_path}/archive.tar is not a regular file"
        )


@pytest.mark.parametrize("manifest", [b"[" * 200_000, b"{", b"[1]", b'[{"Config": []}]', b"\xff", b"null"])
def test_an_archive_with_an_invalid_manifest_is_reported(tmp_path: Path, manifest: bytes) -> None:
    archive = tmp_path / "archive.tar"
    with tarfile.open(archive, "w") as tar:
        info = tarfile.TarInfo("manifest.json")
        info.size = len(manifest)
        tar.addfile(info, io.BytesIO(manifest))
    assert isinstance(archive_of(LocalMachine(), str(archive), NOTHING), Unknown)


def test_an_archive_is_not_loaded_without_space_for_its_copy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    archive = tmp_path / "archive.tar"
    with archive.open("wb") as sparse:
        sparse.truncate(1 << 43)
    monkeypatch.setattr(images_apply, "CACHE", str(tmp_path / "cache"))
    machine: Any = None
    with pytest.raises(StepFailed, match="Free some space"):
        images_apply.load_images(machine, LoadImages(("a:1",), str(archive), NOTHING), silent)


def raising(error: Exception) -> Any:
    """A call that fails."""

    def call(*_: Any, **__: Any) -> None:
        raise error

    return call


def test_a_run_that_is_asked_to_stop_begins_no_further_image(
    reported: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = PlayedEngine([*LAYER, *END])
    engine.is_asked_to_stop = True
    with pytest.raises(StepFailed, match="a later run pulls it"):
        pull(engine, reported, monkeypatch)
    assert engine.asked == []


def test_a_run_that_is_asked_to_stop_waits_for_no_further_try(
    reported: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images_apply, "LONGEST_WAIT", 1000.0)
    monkeypatch.setattr(random, "uniform", lambda *_: 1000.0)
    engine = PlayedEngine(*[[CUT]] * 8)
    monkeypatch.setattr(engine, "should_stop", lambda: bool(reported))
    with pytest.raises(StepFailed, match="interrupted repeatedly"):
        pull(engine, reported, monkeypatch)
    assert len(engine.asked) == 1
    assert "retrying in 1000 s" in reported[0][0]


def test_an_image_that_is_here_is_not_asked_for(reported: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    engine = PlayedEngine()
    engine.here["r.corp/a:1"] = Image("sha256:1")
    pull(engine, reported, monkeypatch)
    assert engine.asked == []


def test_another_architecture_is_a_failure(reported: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    engine = PlayedEngine([*LAYER, *END])
    monkeypatch.setattr(engine, "inspect_image", lambda _: {"Id": "sha256:1", "Architecture": "arm64"})
    with pytest.raises(StepFailed, match="the pulled image is for arm64"):
        pull(engine, reported, monkeypatch)


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
    lines: list[str] = []
    log: Any = lambda text, **_: lines.append(text)  # noqa: E731
    progress = PullProgress(log, {"r/a:1": 100_000_000})
    for number in range(1, 9):
        clock[0] += 1
        detail = {"current": number * 10_000_000, "total": 100_000_000}
        progress.take("r/a:1", {"status": "Downloading", "progressDetail": detail, "id": "l1"})
    assert lines[-1] == "a:1 0 of 1 layers; 10 MB/s, 2 s left"
    assert len(lines) == 8


@pytest.mark.parametrize(
    "seconds, text", [(0.4, "0 s"), (89, "89 s"), (100, "2 min"), (3599, "1 h 0 min"), (4800, "1 h 20 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_sizes() -> None:
    assert [megabytes(size) for size in (1_500_000, 912_000_000, 1_440_000_000)] == ["1.5 MB", "912 MB", "1.4 GB"]


def test_after_a_failure_running_pulls_end_and_waiting_ones_do_not_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []

    class Pulled(images_apply.Pull):
        def until_complete(self) -> None:
            begun.append(self.reference)
            if len(begun) == 1:
                raise StepFailed("manifest unknown")
            assert self.given_up.wait(PATIENCE), "it was not told that the others have failed"

    monkeypatch.setattr(images_apply, "Pull", Pulled)
    monkeypatch.setattr(LocalMachine, "image", lambda _self, _reference: None)
    references = tuple(f"r/{number}:1" for number in range(4))
    with pytest.raises(StepFailed, match="manifest unknown"):
        LocalMachine("/").apply(PullImages(references, platform="linux/amd64", parallel=1), silent)
    assert len(begun) <= 2
