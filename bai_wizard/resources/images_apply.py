"""Container images through the Docker SDK: pulled in parallel with progress, loaded from files, tagged, removed."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from functools import partial
from hashlib import sha256
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any

from msgspec import Struct, field

from bai_wizard.core.errors import StepFailed
from bai_wizard.core.event import Log
from bai_wizard.core.parse import count
from bai_wizard.node.cache import CACHE, make_directory
from bai_wizard.node.docker import (
    engine_errors,
    engine_message,
    explain_registry_error,
    open_sdk,
    registry_of,
    split_tag,
    with_explanation,
)
from bai_wizard.node.error_hints import changing
from bai_wizard.node.regular import open_regular
from bai_wizard.resources import performs, refuses
from bai_wizard.resources.images import LoadImages, PullImages, RemoveImages, TagImage, is_missing

if TYPE_CHECKING:
    from bai_wizard.resources.local import LocalMachine


# Consecutive attempts without any new data; each waits longer than the previous one, up to the limit in seconds.
TRIES = 8
LONGEST_WAIT = 30.0
# Seconds between two checks, while waiting, whether the run was asked to stop.
LOOK_SECONDS = 0.5
# Seconds without output from the engine during a pull: unpacking a large layer is silent for minutes.
SILENCE = 900
CHUNK = 1 << 20
HUB_KEY = "https://index.docker.io/v1/"


@performs(PullImages)
def pull_images(machine: LocalMachine, operation: PullImages, log: Log) -> None:
    """Pull the missing images. The first failure that a retry cannot fix ends it; complete images stay."""
    sizes = operation.sizes or (0,) * len(operation.references)
    missing = [reference for reference in operation.references if is_missing(machine.image(reference))]
    known = dict(zip(operation.references, sizes, strict=True))
    progress = PullProgress(log, {reference: known[reference] for reference in missing})
    logins = _logins(machine, operation)
    given_up = threading.Event()

    def one(reference: str) -> None:
        if machine.should_stop():
            # An interrupted pull loses its unpacked layers (moby, distribution/xfer), so running pulls are completed.
            raise StepFailed(f"{reference}: not started because the run was asked to stop; a later run pulls it")
        login = logins.get(registry_of(reference))
        Pull(reference, operation.platform, login, progress, given_up, machine.should_stop).until_complete()

    with ThreadPoolExecutor(max_workers=max(operation.parallel, 1), thread_name_prefix="pull") as pool:
        pending = [pool.submit(one, reference) for reference in missing]
        done, _ = wait(pending, return_when=FIRST_EXCEPTION)
        failed = next((future.exception() for future in done if future.exception()), None)
        if failed is not None:
            # Running pulls are completed, but not retried; waiting ones are not started.
            for future in pending:
                future.cancel()
            given_up.set()
    if failed is not None:
        raise failed
    for reference in missing:
        _verify(reference, operation.platform, log)


class Pull(Struct):
    """One image, retried until it is complete or retrying is pointless."""

    reference: str
    platform: str
    login: dict[str, str] | None
    progress: PullProgress
    given_up: threading.Event
    should_stop: Callable[[], bool]

    def until_complete(self) -> None:
        """Pull until the image is complete; the engine keeps complete layers. Raises StepFailed with the cause."""
        tries, fetched = 0, 0
        while True:
            output = self._once()
            if not output:
                self.progress.finished(self.reference)
                return
            cause = explain_registry_error(output)
            now = self.progress.fetched(self.reference)
            tries = 1 if now > fetched else tries + 1
            fetched = max(fetched, now)
            if not cause.retry or tries >= TRIES or self._is_over():
                raise StepFailed(with_explanation(self.reference, output))
            pause = min(2.0 ** (tries - 1), LONGEST_WAIT) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret
            self.progress.say(
                f"{self.reference}: {' '.join(output.split())[:200]}; retrying in {pause:.0f} s", warning=True
            )
            if not self._waited(pause):
                raise StepFailed(with_explanation(self.reference, output))

    def _is_over(self) -> bool:
        return self.given_up.is_set() or self.should_stop()

    def _waited(self, seconds: float) -> bool:
        """Wait; return whether another attempt should be made."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._is_over():
            self.given_up.wait(min(left, LOOK_SECONDS))
        return not self._is_over()

    def _once(self) -> str:
        """Return an empty string if the image is complete, otherwise the engine's message.

        Errors arrive as items of the stream.
        """
        name, tag = split_tag(self.reference)
        try:
            client = open_sdk(SILENCE)
            stream = client.pull(
                name, tag=tag, stream=True, decode=True, platform=self.platform or None, auth_config=self.login
            )
            for item in stream:
                if "error" in item:
                    return str((item.get("errorDetail") or {}).get("message") or item["error"])
                self.progress.take(self.reference, item)
        except engine_errors() as error:
            return engine_message(error)
        return ""


@performs(LoadImages)
def load_images(machine: LocalMachine, operation: LoadImages, log: Log) -> None:
    """Load a verified copy that only root can change, because the owner of the archive may change it at any time."""
    with _copied(operation, log) as file:
        try:
            for item in open_sdk(SILENCE).load_image(file, quiet=False):
                if "error" in item:
                    raise StepFailed(with_explanation(operation.archive, str(item["error"])))
                if "stream" in item:
                    log(str(item["stream"]).strip())
        except engine_errors() as error:
            raise StepFailed(with_explanation(operation.archive, engine_message(error))) from error
    absent = [reference for reference in operation.references if machine.image(reference) is None]
    if absent:
        raise StepFailed(f"{operation.archive} was loaded, but the engine has no {', '.join(absent)}")


@performs(TagImage)
def tag_image(machine: LocalMachine, operation: TagImage, log: Log) -> None:
    name, tag = split_tag(operation.reference)
    _asking(operation.reference, lambda client: client.tag(operation.source, name, tag))


@performs(RemoveImages)
def remove_images(machine: LocalMachine, operation: RemoveImages, log: Log) -> None:
    """Remove the images that no container uses. Raises StepFailed naming those that stay."""
    kept = []
    for reference in operation.references:
        if refusal := refusal_of_images(machine, (reference,)):
            kept.append(refusal)
        elif machine.image(reference) is not None:
            _asking(reference, partial(_remove, reference))
    if kept:
        raise StepFailed("not removed: " + "; ".join(kept))


@refuses(RemoveImages)
def refusal_of_removal(machine: LocalMachine, operation: RemoveImages) -> str:
    """Explain which of the images are used by containers."""
    return refusal_of_images(machine, operation.references)


def refusal_of_images(machine: LocalMachine, references: tuple[str, ...]) -> str:
    """Explain which of these images are used by containers; empty if none. Raises StepFailed."""
    images = {reference: image.id for reference in references if (image := machine.image(reference)) is not None}
    used = {reference: users for reference, id in images.items() if (users := _users(id))}
    return "; ".join(f"{reference} is used by {', '.join(users)}" for reference, users in used.items())


def _remove(reference: str, client: Any) -> None:
    client.remove_image(reference, force=False, noprune=False)


def _users(image: str) -> tuple[str, ...]:
    """Return the containers, running or not, that were created from an image."""
    result = _asking("the containers", lambda client: client.containers(all=True, filters={"ancestor": image}))
    return tuple(str((container.get("Names") or [container["Id"][:12]])[0]).removeprefix("/") for container in result)


def _asking(subject: str, call: Callable[[Any], Any]) -> Any:
    try:
        return call(open_sdk())
    except engine_errors() as error:
        raise StepFailed(f"{subject}: {engine_message(error)}") from error


def _verify(reference: str, platform: str, log: Log) -> None:
    """Verify that the image is present for this platform, and log its details."""
    result = _asking(reference, lambda client: client.inspect_image(reference))
    wanted = platform.partition("/")[2]
    architecture = str(result.get("Architecture", ""))
    if wanted and architecture and not f"{wanted}/".startswith(f"{architecture}/"):
        raise StepFailed(
            f"{reference}: the pulled image is for {architecture}, but this node is {wanted}: choose another tag"
        )
    labels = (result.get("Config") or {}).get("Labels") or {}
    ours = ", ".join(
        f"{name.removeprefix('ai.backend.')}={value}"
        for name, value in sorted(labels.items())
        if name.startswith("ai.backend.") and name.count(".") <= 3 and len(str(value)) <= 60
    )
    size = megabytes(count(result.get("Size")))
    log(f"{reference}: {result['Id'][:19]}, {architecture}, {size} unpacked{f'; {ours}' if ours else ''}")


def _logins(machine: LocalMachine, operation: PullImages) -> dict[str, dict[str, str]]:
    """Return the SDK's credentials for each registry; they are never written to Docker's files."""
    from bai_wizard.node.passwords import runtime_secret

    return {
        login.registry: {
            "username": login.username,
            "password": runtime_secret(login.secret).reveal(),
            "serveraddress": HUB_KEY if login.registry == "docker.io" else login.registry,
        }
        for login in operation.logins
        if any(registry_of(reference) == login.registry for reference in operation.references)
    }


@contextmanager
def _copied(operation: LoadImages, log: Log) -> Iterator[IO[bytes]]:
    """Yield an unnamed copy of the archive, which vanishes with this process.

    Raises StepFailed, also if the SHA-256 differs.
    """
    make_directory(CACHE)
    with ExitStack() as kept:
        with changing(CACHE):
            copy = kept.enter_context(TemporaryFile(dir=CACHE))
            try:
                archive = os.fdopen(open_regular(operation.archive, follow=True), "rb")
            except OSError as error:
                raise StepFailed(f"{operation.archive}: {(error.strerror or str(error)).lower()}") from error
            with archive:
                _copy(operation, archive, copy, log)
            copy.seek(0)
        yield copy


def _copy(operation: LoadImages, archive: IO[bytes], copy: IO[bytes], log: Log) -> None:
    digest = sha256()
    total, done, result = os.fstat(archive.fileno()).st_size, 0, time.monotonic()
    room = os.fstatvfs(copy.fileno())
    if total > room.f_bavail * room.f_frsize:
        raise StepFailed(
            f"copying {operation.archive} to {CACHE} before it is loaded needs {megabytes(total)}, but only"
            f" {megabytes(room.f_bavail * room.f_frsize)} are free. Free some space, then resume"
        )
    while done <= total and (chunk := _piece(operation, archive)):
        digest.update(chunk)
        copy.write(chunk)
        done += len(chunk)
        if time.monotonic() - result > 1.0:
            result = time.monotonic()
            log(f"verifying {operation.archive}", done=done, total=total)
    copy.flush()
    if digest.hexdigest() != operation.sha256:
        raise StepFailed(
            f"{operation.archive} is not the expected file: its SHA-256 is {digest.hexdigest()}, expected"
            f" {operation.sha256}. Copy it again, or correct images.archives"
        )


def _piece(operation: LoadImages, archive: IO[bytes]) -> bytes:
    try:
        return archive.read(CHUNK)
    except OSError as error:
        raise StepFailed(f"{operation.archive}: {(error.strerror or str(error)).lower()}") from error


# Seconds between two progress lines, and the window for the rate.
TELL_SECONDS = 0.5
RATE_SECONDS = 10.0
DONE = ("Pull complete", "Already exists", "Download complete", "Verifying Checksum", "Extracting")


class Layer(Struct):
    """One layer: bytes received of its compressed size (0 while unknown), and the engine's status."""

    fetched: int = 0
    size: int = 0
    status: str = ""

    def take(self, status: str, detail: dict[str, Any]) -> None:
        """Apply one stream item about this layer."""
        if status == "Downloading":
            self.fetched = count(detail.get("current"))
            self.size = max(self.size, count(detail.get("total")))
        elif status in DONE:
            if status == "Extracting":
                self.size = max(self.size, count(detail.get("total")))
            self.fetched = self.size
        elif status == "Retrying":
            self.fetched = 0
        self.status = status


class ImageProgress(Struct):
    """One image: its layers, and the size announced by the registry (0 if unknown)."""

    reference: str
    expected: int = 0
    layers: dict[str, Layer] = field(default_factory=dict)
    finished: bool = False

    def take(self, item: dict[str, Any]) -> str:
        """Apply one stream item; return a line worth logging, or an empty string."""
        status, id = str(item.get("status", "")), str(item.get("id", ""))
        if not id or status.startswith("Pulling from"):
            return ""
        layer = self.layers.setdefault(id, Layer())
        before = layer.status
        layer.take(status.partition(" in ")[0], item.get("progressDetail") or {})
        if status != before and status in ("Pull complete", "Already exists"):
            return f"{self.reference}: layer {id} {'complete' if status == 'Pull complete' else 'already exists'}"
        return ""

    @property
    def fetched(self) -> int:
        """Bytes received so far."""
        return sum(layer.fetched for layer in self.layers.values())

    @property
    def total(self) -> int:
        """Bytes to receive, as far as is known; never less than the bytes received."""
        if self.finished:
            return self.fetched
        here = any(layer.status == "Already exists" and not layer.size for layer in self.layers.values())
        known = sum(layer.size for layer in self.layers.values())
        # Layers that exist locally are not downloaded, so the announced size is too large in that case.
        return max(known, self.fetched, 0 if here else self.expected)

    def words(self) -> str:
        """Return `python:3.13 4 of 9 layers`."""
        ready = sum(layer.status in ("Pull complete", "Already exists") for layer in self.layers.values())
        name = self.reference.rpartition("/")[2]
        unpacking = any(layer.status == "Extracting" for layer in self.layers.values())
        return f"{name} {ready} of {len(self.layers)} layers{', unpacking' if unpacking else ''}"


class PullProgress:
    """All images of one step; thread-safe. Logs at most twice per second."""

    def __init__(self, log: Log, sizes: dict[str, int]) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._images = {reference: ImageProgress(reference, size) for reference, size in sizes.items()}
        self._reported = 0.0
        self._samples: deque[tuple[float, int]] = deque()

    def take(self, reference: str, item: dict[str, Any]) -> None:
        """Apply one stream item of one image."""
        with self._lock:
            line = self._images[reference].take(item)
            if line:
                self._log(line, level="debug")
            now = time.monotonic()
            if now - self._reported >= TELL_SECONDS:
                self._reported = now
                self._tell(now)

    def finished(self, reference: str) -> None:
        """Mark an image as complete."""
        with self._lock:
            self._images[reference].finished = True
            self._tell(time.monotonic())

    def say(self, text: str, *, warning: bool = False) -> None:
        """Log a line of narrative."""
        with self._lock:
            self._log(text, level="warning" if warning else "info")

    def fetched(self, reference: str) -> int:
        """Return the bytes of an image so far: retrying is worthwhile while this grows."""
        with self._lock:
            return self._images[reference].fetched

    def _tell(self, now: float) -> None:
        images = self._images.values()
        fetched, total = sum(image.fetched for image in images), sum(image.total for image in images)
        self._samples.append((now, fetched))
        while len(self._samples) > 2 and now - self._samples[0][0] > RATE_SECONDS:
            self._samples.popleft()
        under_way = [image.words() for image in images if image.layers and not image.finished]
        is_complete = all(image.finished for image in images)
        text = "complete" if is_complete else "; ".join(under_way) or "waiting for the registry"
        rate = self._rate()
        if rate > 0 and not is_complete:
            text += f"; {megabytes(int(rate))}/s"
            if total > fetched:
                text += f", {duration((total - fetched) / rate)} left"
        if total:
            self._log(text, done=fetched, total=total)

    def _rate(self) -> float:
        """Return bytes per second over the last seconds."""
        (begun, first), (ended, last) = self._samples[0], self._samples[-1]
        return (last - first) / (ended - begun) if ended > begun else 0.0


def megabytes(size: int) -> str:
    """Return `912 MB`, `1.4 GB`."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB" if size < 1e7 else f"{size / 1e6:.0f} MB"


def duration(seconds: float) -> str:
    """Return `12 s`, `3 min`, `1 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
