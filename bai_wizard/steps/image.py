"""Container images: pulled, loaded from files, given a second name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from bai_wizard.core.errors import CannotTell, StepBlocked
from bai_wizard.core.primitives import LoadImages, Login, Primitive, PullImages, TagImage
from bai_wizard.core.step import Step, register
from bai_wizard.core.view import NodeView
from bai_wizard.steps.containerd import SNAPSHOTS, content_root


@dataclass(frozen=True)
class Pull:
    """One image to pull. `size` is its compressed bytes, 0 where unknown; `remark` is shown beside it."""

    reference: str
    size: int = 0
    remark: str = ""


@register
@dataclass(frozen=True, kw_only=True)
class PulledImages(Step):
    """Pulls what is missing of `images`; an image that is here under its reference is not looked at again."""

    kind: ClassVar[str] = "pulled-images"
    images: tuple[Pull, ...]
    platform: str
    parallel: int = 1
    logins: tuple[Login, ...] = ()

    def describe(self) -> str:
        names = [image.reference.rpartition("/")[2] for image in self.images]
        return (
            f"{len(names)} container images: {', '.join(names)}" if len(names) > 1 else f"container image {names[0]}"
        )

    def scope(self) -> tuple[str, ...]:
        return tuple(f"image:{image.reference}" for image in self.images)

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        missing = [image for image in self.images if view.image(image.reference) is None]
        if missing:
            yield PullImages(
                references=tuple(image.reference for image in missing),
                platform=self.platform,
                parallel=self.parallel,
                sizes=tuple(image.size for image in missing),
                remarks=tuple(image.remark for image in missing),
                logins=self.logins,
            )


@register
@dataclass(frozen=True, kw_only=True)
class LoadedImages(Step):
    """Loads an archive unless all of its images are here with the ids that it holds. `ids` has one for each."""

    kind: ClassVar[str] = "loaded-images"
    archive: str
    sha256: str
    references: tuple[str, ...]
    ids: tuple[str, ...]

    def describe(self) -> str:
        return f"{', '.join(self.references)} from {self.archive}"

    def scope(self) -> tuple[str, ...]:
        return tuple(f"image:{reference}" for reference in self.references)

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        other = [name for name, id in zip(self.references, self.ids, strict=True) if _is_other(view, name, id)]
        if other:
            raise StepBlocked(
                f"{', '.join(other)} is here already with another content than in {self.archive}. Remove it"
                " (docker rmi) if the archive's is wanted, or take the archive out of images.archives"
            )
        yield LoadImages(self.references, self.archive, self.sha256)


def _is_other(view: NodeView, reference: str, id: str) -> bool:
    """True when another image has this name. In containerd's store an id is the manifest's, which nothing tells."""
    image = view.image(reference)
    return image is not None and image.id not in ("", id) and not _uses_containerd(view)


def _uses_containerd(view: NodeView) -> bool:
    try:
        return bool(view.names(f"{content_root(view)}/{SNAPSHOTS}"))
    except CannotTell:
        return True


@register
@dataclass(frozen=True, kw_only=True)
class NamedImage(Step):
    """Gives an image from a registry of one's own the name that Backend.AI knows it by."""

    kind: ClassVar[str] = "named-image"
    reference: str
    source: str

    def describe(self) -> str:
        return f"{self.reference}, a second name of {self.source}"

    def scope(self) -> tuple[str, ...]:
        return (f"image:{self.reference}",)

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        if view.image(self.source) is None:
            raise StepBlocked(f"there is no image {self.source} on this node to be named {self.reference}")
        yield TagImage(self.reference, self.source)
