"""Container images in the engine's store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bai_wizard.core.change import Change
from bai_wizard.core.primitives.base import BasePrimitive, Outcome, verb_of
from bai_wizard.core.state import Image, Key, State, States, Unpredictable


def image_key(reference: str) -> Key:
    """The key of an image by its full reference."""
    return Key("image", reference)


class ImagePrimitive(BasePrimitive):
    """A primitive over one image reference. What was there before cannot be pulled back by us."""

    reference: str

    def keys(self) -> tuple[Key, ...]:
        return (image_key(self.reference),)

    def inverse(self, before: States) -> BasePrimitive | None:
        return RemoveImage(self.reference) if before[self.keys()[0]] is None else None

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        return Change(f"image {self.reference}", verb_of(before, after), attributes=self.kind)


@dataclass(frozen=True)
class PullImage(ImagePrimitive):
    """Pulls one image for one platform (`linux/amd64`). `digest` is its image id when known beforehand."""

    kind: ClassVar[str] = "pull-image"
    reference: str
    platform: str = ""
    digest: str = ""

    def after(self, before: States) -> Outcome:
        old = before[self.keys()[0]]
        if isinstance(old, Image) and self.digest in ("", old.id):
            return {self.keys()[0]: old}
        return {self.keys()[0]: Image(self.digest)}


@dataclass(frozen=True)
class LoadImage(ImagePrimitive):
    """Loads one image from an archive file whose sha256 is checked first."""

    kind: ClassVar[str] = "load-image"
    reference: str
    archive: str
    sha256: str
    digest: str = ""

    def after(self, before: States) -> Outcome:
        old = before[self.keys()[0]]
        if isinstance(old, Image) and self.digest in ("", old.id):
            return {self.keys()[0]: old}
        return {self.keys()[0]: Image(self.digest)}


@dataclass(frozen=True)
class TagImage(ImagePrimitive):
    """Gives an image that is here a second reference."""

    kind: ClassVar[str] = "tag-image"
    reference: str
    source: str

    def keys(self) -> tuple[Key, ...]:
        return (image_key(self.reference), image_key(self.source))

    def after(self, before: States) -> Outcome:
        source = before[image_key(self.source)]
        return {image_key(self.reference): source, image_key(self.source): source}


@dataclass(frozen=True)
class RemoveImage(ImagePrimitive):
    """Removes a reference; refused by the engine while a container uses the image, and then left alone."""

    kind: ClassVar[str] = "remove-image"
    reference: str

    def after(self, before: States) -> Outcome:
        return {self.keys()[0]: None}

    def inverse(self, before: States) -> BasePrimitive | None:
        return None
