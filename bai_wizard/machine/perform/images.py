"""Container images through the Docker SDK: pulled several at a time, loaded from files, named, removed."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bai_wizard.core.errors import StepFailed
from bai_wizard.core.event import Log
from bai_wizard.core.primitives import LoadImages, PullImages, RemoveImages, TagImage
from bai_wizard.machine.docker_engine import engine_errors, open_sdk, registry_of, split_tag, words
from bai_wizard.machine.perform.pull_progress import PullProgress, megabytes
from bai_wizard.machine.registry_causes import cause_of, plain

if TYPE_CHECKING:
    from bai_wizard.machine.local import LocalMachine
    from bai_wizard.machine.perform import Performers

# Tries in a row without a single byte more; each waits longer than the one before, at most so many seconds.
TRIES = 8
LONGEST_WAIT = 30.0
# Seconds between two looks, while waiting, at whether the run was asked to stop.
LOOK_SECONDS = 0.5
# Seconds without a word from the engine while it pulls: unpacking a large layer is silent for minutes.
SILENCE = 900
CHUNK = 1 << 20
HUB_KEY = "https://index.docker.io/v1/"


def pull_images(machine: LocalMachine, primitive: PullImages, log: Log) -> None:
    """Pulls what is missing. The first failure that trying again cannot help ends it; complete images stay."""
    sizes = primitive.sizes or (0,) * len(primitive.references)
    missing = [reference for reference in primitive.references if machine.image(reference) is None]
    known = dict(zip(primitive.references, sizes, strict=True))
    progress = PullProgress(log, {reference: known[reference] for reference in missing})
    logins = _logins(machine, primitive)
    given_up = threading.Event()

    def one(reference: str) -> None:
        if machine.should_stop():
            # A pull that is cut loses the layers it has unpacked (moby, distribution/xfer), so those under way end.
            raise StepFailed(f"{reference}: not begun, for the run was asked to stop; a later run pulls it")
        login = logins.get(registry_of(reference))
        Pull(reference, primitive.platform, login, progress, given_up, machine.should_stop).until_complete()

    with ThreadPoolExecutor(max_workers=max(primitive.parallel, 1), thread_name_prefix="pull") as pool:
        pending = [pool.submit(one, reference) for reference in missing]
        done, _ = wait(pending, return_when=FIRST_EXCEPTION)
        failed = next((future.exception() for future in done if future.exception()), None)
        if failed is not None:
            # Pulls that run come to their end, but are not tried again; those that wait are not begun.
            for future in pending:
                future.cancel()
            given_up.set()
    if failed is not None:
        raise failed
    for reference in missing:
        _verify(reference, primitive.platform, log)


class Pull:
    """One image, tried until it is complete or trying again is pointless."""

    def __init__(
        self,
        reference: str,
        platform: str,
        login: dict[str, str] | None,
        progress: PullProgress,
        given_up: threading.Event,
        should_stop: Callable[[], bool],
    ) -> None:
        self._reference = reference
        self._platform = platform
        self._login = login
        self._progress = progress
        self._given_up = given_up
        self._should_stop = should_stop

    def until_complete(self) -> None:
        """Raises StepFailed with the cause. Layers that are complete are kept by the engine between tries."""
        tries, fetched = 0, 0
        while True:
            said = self._once()
            if not said:
                self._progress.finished(self._reference)
                return
            cause = cause_of(said)
            now = self._progress.fetched(self._reference)
            tries = 1 if now > fetched else tries + 1
            fetched = max(fetched, now)
            if not cause.again or tries >= TRIES or self._is_over():
                raise StepFailed(plain(self._reference, said))
            pause = min(2.0 ** (tries - 1), LONGEST_WAIT) * random.uniform(0.5, 1.0)  # noqa: S311 - spreads, no secret
            self._progress.say(
                f"{self._reference}: {' '.join(said.split())[:200]}; trying again in {pause:.0f} s", warning=True
            )
            if not self._waited(pause):
                raise StepFailed(plain(self._reference, said))

    def _is_over(self) -> bool:
        return self._given_up.is_set() or self._should_stop()

    def _waited(self, seconds: float) -> bool:
        """True when another try is due, false when there is to be none."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._is_over():
            self._given_up.wait(min(left, LOOK_SECONDS))
        return not self._is_over()

    def _once(self) -> str:
        """Empty when the image is complete, else what the engine said. Errors come as items of the stream."""
        name, tag = split_tag(self._reference)
        try:
            client = open_sdk(SILENCE)
            stream = client.pull(
                name,
                tag=tag,
                stream=True,
                decode=True,
                platform=self._platform or None,
                auth_config=self._login,
            )
            return self._follow(stream)
        except engine_errors() as error:
            return words(error)

    def _follow(self, stream: Iterable[dict[str, Any]]) -> str:
        for item in stream:
            if "error" in item:
                return str((item.get("errorDetail") or {}).get("message") or item["error"])
            self._progress.take(self._reference, item)
        return ""


def load_images(machine: LocalMachine, primitive: LoadImages, log: Log) -> None:
    """Checks the file's sha256, then loads it."""
    _check_sha256(primitive, log)
    try:
        with open(primitive.archive, "rb") as file:
            for item in open_sdk(SILENCE).load_image(file, quiet=False):
                if "error" in item:
                    raise StepFailed(plain(primitive.archive, str(item["error"])))
                if "stream" in item:
                    log(str(item["stream"]).strip())
    except engine_errors() as error:
        raise StepFailed(plain(primitive.archive, words(error))) from error
    absent = [reference for reference in primitive.references if machine.image(reference) is None]
    if absent:
        raise StepFailed(f"{primitive.archive} was loaded, but the engine has no {', '.join(absent)}")


def tag_image(machine: LocalMachine, primitive: TagImage, log: Log) -> None:
    """Gives an image its second name."""
    name, tag = split_tag(primitive.reference)
    _asking(primitive.reference, lambda client: client.tag(primitive.source, name, tag))


def remove_images(machine: LocalMachine, primitive: RemoveImages, log: Log) -> None:
    """Removes each that no container uses. Raises StepFailed naming those that stay."""
    kept = []
    for reference in primitive.references:
        image = machine.image(reference)
        if image is None:
            continue
        users = _users(image.id)
        if users:
            kept.append(f"{reference} is used by {', '.join(users)}")
            continue
        _asking(reference, partial(_remove, reference))
    if kept:
        raise StepFailed("left as they are: " + "; ".join(kept))


def _remove(reference: str, client: Any) -> None:
    client.remove_image(reference, force=False, noprune=False)


def _users(image: str) -> tuple[str, ...]:
    """Containers, running or not, that were made from an image."""
    found = _asking("the containers", lambda client: client.containers(all=True, filters={"ancestor": image}))
    return tuple(str((container.get("Names") or [container["Id"][:12]])[0]).removeprefix("/") for container in found)


def _asking(subject: str, call: Callable[[Any], Any]) -> Any:
    try:
        return call(open_sdk())
    except engine_errors() as error:
        raise StepFailed(f"{subject}: {words(error)}") from error


def _verify(reference: str, platform: str, log: Log) -> None:
    """That the image is here for this platform; tells what it is."""
    found = _asking(reference, lambda client: client.inspect_image(reference))
    wanted = platform.partition("/")[2]
    architecture = str(found.get("Architecture", ""))
    if wanted and architecture and not f"{wanted}/".startswith(f"{architecture}/"):
        raise StepFailed(f"{reference}: what came is for {architecture}, this node is {wanted}: choose another tag")
    labels = (found.get("Config") or {}).get("Labels") or {}
    ours = ", ".join(
        f"{name.removeprefix('ai.backend.')}={value}"
        for name, value in sorted(labels.items())
        if name.startswith("ai.backend.") and name.count(".") <= 3 and len(str(value)) <= 60
    )
    size = megabytes(int(found.get("Size") or 0))
    log(f"{reference}: {found['Id'][:19]}, {architecture}, {size} unpacked{f'; {ours}' if ours else ''}")


def _logins(machine: LocalMachine, primitive: PullImages) -> dict[str, dict[str, str]]:
    """What the SDK sends along for each registry: never written to a file of Docker's."""
    from bai_wizard.machine.lent import lent

    return {
        login.registry: {
            "username": login.username,
            "password": lent(Path(machine.root), login.secret).reveal(),
            "serveraddress": HUB_KEY if login.registry == "docker.io" else login.registry,
        }
        for login in primitive.logins
        if any(registry_of(reference) == login.registry for reference in primitive.references)
    }


def _check_sha256(primitive: LoadImages, log: Log) -> None:
    from hashlib import sha256

    digest = sha256()
    try:
        with open(primitive.archive, "rb") as file:
            total, done, told = Path(primitive.archive).stat().st_size, 0, time.monotonic()
            while piece := file.read(CHUNK):
                digest.update(piece)
                done += len(piece)
                if time.monotonic() - told > 1.0:
                    told = time.monotonic()
                    log(f"verifying {primitive.archive}", done=done, total=total)
    except OSError as error:
        raise StepFailed(f"{primitive.archive}: {(error.strerror or str(error)).lower()}") from error
    if digest.hexdigest() != primitive.sha256:
        raise StepFailed(
            f"{primitive.archive} is not the file that the answers mean: its sha256 is {digest.hexdigest()}, expected"
            f" {primitive.sha256}. Copy it again, or correct images.archives"
        )


PERFORMERS: Performers = {
    "pull-images": pull_images,
    "load-images": load_images,
    "tag-image": tag_image,
    "remove-images": remove_images,
}
