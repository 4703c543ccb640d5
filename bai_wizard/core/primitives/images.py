"""Container images in the engine's store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bai_wizard.core.change import Change
from bai_wizard.core.keys import image_key
from bai_wizard.core.primitives.base import BasePrimitive, Outcome, verb_of
from bai_wizard.core.state import Image, Key, State, States, Unpredictable


@dataclass(frozen=True)
class Login:
    """How to log in to a registry. `secret` names the password, which is lent to the run and never written down."""

    registry: str
    username: str
    secret: str


class ImagesPrimitive(BasePrimitive):
    """A primitive that brings image references in. Taken back, it removes those that were not there before."""

    references: tuple[str, ...]

    def keys(self) -> tuple[Key, ...]:
        return tuple(image_key(reference) for reference in self.references)

    def after(self, before: States) -> Outcome:
        """What is there stays as it is; the id of what comes is known to the engine only."""
        return {key: before[key] if before[key] is not None else Image("") for key in self.keys()}

    def inverse(self, before: States) -> BasePrimitive | None:
        new = tuple(reference for reference in self.references if before[image_key(reference)] is None)
        return RemoveImages(new) if new else None

    def remark(self, reference: str) -> str:
        """What is shown beside an image."""
        return ""

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        return Change(f"image {key.name}", verb_of(before, after), attributes=self.remark(key.name))


@dataclass(frozen=True)
class PullImages(ImagesPrimitive):
    """Pulls images for one platform (`linux/amd64`), `parallel` at a time.

    `sizes` are compressed bytes, one for each reference, 0 where unknown. `remarks` are shown beside them.
    """

    kind: ClassVar[str] = "pull-images"
    references: tuple[str, ...]
    platform: str = ""
    parallel: int = 1
    sizes: tuple[int, ...] = ()
    remarks: tuple[str, ...] = ()
    logins: tuple[Login, ...] = ()

    def remark(self, reference: str) -> str:
        return dict(zip(self.references, self.remarks, strict=False)).get(reference, "")


@dataclass(frozen=True)
class LoadImages(ImagesPrimitive):
    """Loads the images of an archive file whose sha256 is checked first."""

    kind: ClassVar[str] = "load-images"
    references: tuple[str, ...]
    archive: str
    sha256: str

    def remark(self, reference: str) -> str:
        return f"from {self.archive}"


@dataclass(frozen=True)
class TagImage(BasePrimitive):
    """Gives an image that is here a second reference."""

    kind: ClassVar[str] = "tag-image"
    reference: str
    source: str

    def keys(self) -> tuple[Key, ...]:
        return (image_key(self.reference), image_key(self.source))

    def after(self, before: States) -> Outcome:
        source = before[image_key(self.source)]
        return {image_key(self.reference): source, image_key(self.source): source}

    def inverse(self, before: States) -> BasePrimitive | None:
        old = before[image_key(self.reference)]
        return RemoveImages((self.reference,)) if old is None else None

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        return Change(f"image {self.reference}", verb_of(before, after), attributes=f"a second name of {self.source}")


@dataclass(frozen=True)
class RemoveImages(BasePrimitive):
    """Removes references; an image that a container uses is left alone, and that is a failure which names it."""

    kind: ClassVar[str] = "remove-images"
    references: tuple[str, ...]

    def keys(self) -> tuple[Key, ...]:
        return tuple(image_key(reference) for reference in self.references)

    def after(self, before: States) -> Outcome:
        return dict.fromkeys(self.keys())

    def inverse(self, before: States) -> BasePrimitive | None:
        return None

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        return Change(f"image {key.name}", "remove")
