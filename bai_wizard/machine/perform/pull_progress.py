"""Progress of pulls: what the engine's stream tells of each layer, added up to one bar with rate and time left."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from bai_wizard.core.event import Log

# Seconds between two lines of progress, and the span over which the rate is taken.
TELL_SECONDS = 0.5
RATE_SECONDS = 10.0
DONE = ("Pull complete", "Already exists", "Download complete", "Verifying Checksum", "Extracting")


@dataclass
class Layer:
    """One layer: bytes fetched of its compressed size (0 while unknown), and the engine's word for its state."""

    fetched: int = 0
    size: int = 0
    status: str = ""

    def take(self, status: str, detail: dict[str, Any]) -> None:
        """One item of the stream about this layer."""
        if status == "Downloading":
            self.fetched = int(detail.get("current") or 0)
            self.size = max(self.size, int(detail.get("total") or 0))
        elif status in DONE:
            if status == "Extracting":
                self.size = max(self.size, int(detail.get("total") or 0))
            self.fetched = self.size
        elif status == "Retrying":
            self.fetched = 0
        self.status = status


@dataclass
class ImageProgress:
    """One image: its layers, and the size that the registry told beforehand (0 where it did not)."""

    reference: str
    expected: int = 0
    layers: dict[str, Layer] = field(default_factory=dict)
    finished: bool = False

    def take(self, item: dict[str, Any]) -> str:
        """One item of the stream; returns a line worth telling, else nothing."""
        status, id = str(item.get("status", "")), str(item.get("id", ""))
        if not id or status.startswith("Pulling from"):
            return ""
        layer = self.layers.setdefault(id, Layer())
        before = layer.status
        layer.take(status.partition(" in ")[0], item.get("progressDetail") or {})
        if status != before and status in ("Pull complete", "Already exists"):
            return f"{self.reference}: layer {id} {'complete' if status == 'Pull complete' else 'is here already'}"
        return ""

    @property
    def fetched(self) -> int:
        """Bytes fetched so far."""
        return sum(layer.fetched for layer in self.layers.values())

    @property
    def total(self) -> int:
        """Bytes to fetch, as far as is known; never less than what is fetched."""
        if self.finished:
            return self.fetched
        here = any(layer.status == "Already exists" and not layer.size for layer in self.layers.values())
        known = sum(layer.size for layer in self.layers.values())
        # Layers that are here already are not fetched, so the size told beforehand is too much then.
        return max(known, self.fetched, 0 if here else self.expected)

    def words(self) -> str:
        """`python:3.13 4 of 9 layers`."""
        ready = sum(layer.status in ("Pull complete", "Already exists") for layer in self.layers.values())
        name = self.reference.rpartition("/")[2]
        unpacking = any(layer.status == "Extracting" for layer in self.layers.values())
        return f"{name} {ready} of {len(self.layers)} layers{', unpacking' if unpacking else ''}"


class PullProgress:
    """All images of one step; safe to be told by several threads. Tells at most twice a second."""

    def __init__(self, log: Log, sizes: dict[str, int]) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._images = {reference: ImageProgress(reference, size) for reference, size in sizes.items()}
        self._told = 0.0
        self._samples: deque[tuple[float, int]] = deque()

    def take(self, reference: str, item: dict[str, Any]) -> None:
        """One item of the stream of one image."""
        with self._lock:
            line = self._images[reference].take(item)
            if line:
                self._log(line, level="debug")
            now = time.monotonic()
            if now - self._told >= TELL_SECONDS:
                self._told = now
                self._tell(now)

    def finished(self, reference: str) -> None:
        """An image is complete."""
        with self._lock:
            self._images[reference].finished = True
            self._tell(time.monotonic())

    def say(self, text: str, *, warning: bool = False) -> None:
        """A line of narrative."""
        with self._lock:
            self._log(text, level="warning" if warning else "info")

    def fetched(self, reference: str) -> int:
        """Bytes of an image so far: grows for as long as trying again is worth it."""
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
        """Bytes a second over the last seconds."""
        (begun, first), (ended, last) = self._samples[0], self._samples[-1]
        return (last - first) / (ended - begun) if ended > begun else 0.0


def megabytes(size: int) -> str:
    """`912 MB`, `1.4 GB`."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB" if size < 1e7 else f"{size / 1e6:.0f} MB"


def duration(seconds: float) -> str:
    """`12 s`, `3 min`, `1 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
