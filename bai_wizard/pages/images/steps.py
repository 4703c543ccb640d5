"""Container images: pulled, loaded from files, given a second name."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import ClassVar

from msgspec import Struct

from bai_wizard.core.errors import StateUnknown, StepBlocked
from bai_wizard.core.machine import NodeView
from bai_wizard.core.operation import Operation, Scope
from bai_wizard.core.state import Key, image_key
from bai_wizard.core.step import Sizes, Step
from bai_wizard.resources.images import LoadImages, Login, PullImages, TagImage, is_missing
from bai_wizard.steps.docker import SNAPSHOTS, content_root

# Layers need space compressed and unpacked at the same time (see docker.disk-full).
ROOM_FACTOR = 3


class Pull(Struct, frozen=True):
    """One image to pull. `size` is its compressed size in bytes, 0 if unknown; `remark` is shown beside it."""

    reference: str
    size: int = 0
    remark: str = ""


class PulledImages(Step, frozen=True, kw_only=True):
    """Pull the missing images of `images`; a local image with the same reference is not checked again."""

    kind: ClassVar[str] = "pulled-images"
    is_slow: ClassVar[bool] = True
    images: tuple[Pull, ...]
    platform: str
    parallel: int = 1
    logins: tuple[Login, ...] = ()

    def describe(self) -> str:
        names = [image.reference.rpartition("/")[2] for image in self.images]
        return f"pull {len(names)} images: {', '.join(names)}" if len(names) > 1 else f"pull the image {names[0]}"

    def scope(self) -> tuple[Scope, ...]:
        return tuple(image_key(image.reference) for image in self.images)

    def sizes(self, keys: Collection[Key | None]) -> Sizes:
        """Return the sizes of the missing images, as far as the registry reported them."""
        missing = [image.size for image in self.images if image_key(image.reference) in keys]
        return Sizes(sum(missing), sum(missing) * ROOM_FACTOR, all(missing))

    def operations(self, view: NodeView) -> Iterator[Operation]:
        missing = [image for image in self.images if is_missing(view.image(image.reference))]
        if missing:
            yield PullImages(
                references=tuple(image.reference for image in missing),
                platform=self.platform,
                parallel=self.parallel,
                sizes=tuple(image.size for image in missing),
                remarks=tuple(image.remark for image in missing),
                logins=self.logins,
            )


class LoadedImages(Step, frozen=True, kw_only=True):
    """Load an archive unless all its images exist with the same IDs. `ids` has one for each reference."""

    kind: ClassVar[str] = "loaded-images"
    is_slow: ClassVar[bool] = True
    archive: str
    sha256: str
    references: tuple[str, ...]
    ids: tuple[str, ...]

    def describe(self) -> str:
        return f"load {', '.join(self.references)} from {self.archive}"

    def scope(self) -> tuple[Scope, ...]:
        return tuple(image_key(reference) for reference in self.references)

    def operations(self, view: NodeView) -> Iterator[Operation]:
        other = [name for name, id in zip(self.references, self.ids, strict=True) if _is_other(view, name, id)]
        if other:
            raise StepBlocked(
                f"{', '.join(other)} already exists with different content than in {self.archive}. To use the"
                " archive, remove the existing image (`docker rmi`); otherwise remove it from images.archives"
            )
        yield LoadImages(self.references, self.archive, self.sha256)


def _is_other(view: NodeView, reference: str, id: str) -> bool:
    """Whether another image has this name.

    In containerd's store the ID is the manifest's, which the archive lacks.
    """
    image = view.image(reference)
    return image is not None and image.id not in ("", id) and not _uses_containerd(view)


def _uses_containerd(view: NodeView) -> bool:
    try:
        return bool(view.names(f"{content_root(view)}/{SNAPSHOTS}"))
    except StateUnknown:
        return True


class NamedImage(Step, frozen=True, kw_only=True):
    """Give an image from a private registry the name that Backend.AI uses for it."""

    kind: ClassVar[str] = "named-image"
    reference: str
    source: str

    def describe(self) -> str:
        return f"tag {self.source} as {self.reference}"

    def scope(self) -> tuple[Scope, ...]:
        return (image_key(self.reference),)

    def operations(self, view: NodeView) -> Iterator[Operation]:
        if view.image(self.source) is None:
            raise StepBlocked(f"{self.source} does not exist on this node and cannot be tagged as {self.reference}")
        yield TagImage(self.reference, self.source)
