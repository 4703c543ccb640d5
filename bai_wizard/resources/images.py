"""Container images in the engine's store."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from msgspec import Struct

from bai_wizard.core.errors import StepFailed
from bai_wizard.core.operation import Change, Operation, Outcome, verb_of
from bai_wizard.core.state import Image, Key, State, States, Unpredictable, image_key
from bai_wizard.resources import reads

if TYPE_CHECKING:
    from bai_wizard.core.operation import Simulation
    from bai_wizard.resources.local import LocalMachine


class Login(Struct, frozen=True):
    """Registry credentials. `secret` names the password, a runtime secret that is never written down."""

    registry: str
    username: str
    secret: str


def is_missing(state: State | None) -> bool:
    """Whether a name has no image, or has been moved to an image of another repository."""
    return state is None or (isinstance(state, Image) and bool(state.moved))


@reads("image")
def image_state(machine: LocalMachine, reference: str) -> Image | None:
    """Return an image in the engine's store."""
    from bai_wizard.node.docker import image_state

    return image_state(reference)


class ImagesOperation(Operation, frozen=True):
    """An operation that adds image references. Its inverse removes those that did not exist before."""

    references: tuple[str, ...]

    def keys(self) -> tuple[Key, ...]:
        return tuple(image_key(reference) for reference in self.references)

    def after(self, before: States) -> Outcome:
        """Existing images are unchanged; the id of a new one is known only to the engine."""
        return {key: Image("") if is_missing(before[key]) else before[key] for key in self.keys()}

    def inverse(self, before: States) -> Operation | None:
        new = tuple(reference for reference in self.references if before[image_key(reference)] is None)
        return RemoveImages(new) if new else None

    def remark(self, reference: str) -> str:
        """Return the text shown beside an image."""
        return ""

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        moved = f"currently an image of {before.moved}; " if isinstance(before, Image) and before.moved else ""
        return Change(f"image {key.name}", verb_of(before, after), attributes=f"{moved}{self.remark(key.name)}")

    def simulate(self, node: Simulation) -> States:
        from hashlib import sha256

        ids = {key: "sha256:" + sha256(key.name.encode()).hexdigest() for key in self.keys()}
        return {key: node.states.get(key) or Image(ids[key], 1 << 30) for key in self.keys()}


class PullImages(ImagesOperation, frozen=True):
    """Pull images for one platform (`linux/amd64`), `parallel` at a time.

    `sizes` are compressed bytes, one for each reference, 0 if unknown. `remarks` are shown beside them.
    """

    kind: ClassVar[str] = "pull-images"
    platform: str = ""
    parallel: int = 1
    sizes: tuple[int, ...] = ()
    remarks: tuple[str, ...] = ()
    logins: tuple[Login, ...] = ()

    def remark(self, reference: str) -> str:
        return dict(zip(self.references, self.remarks, strict=False)).get(reference, "")


class LoadImages(ImagesOperation, frozen=True):
    """Load the images of an archive after verifying its SHA-256."""

    kind: ClassVar[str] = "load-images"
    archive: str
    sha256: str

    def remark(self, reference: str) -> str:
        return f"from {self.archive}"


class TagImage(Operation, frozen=True):
    """Give an existing local image a second reference."""

    kind: ClassVar[str] = "tag-image"
    reference: str
    source: str

    def keys(self) -> tuple[Key, ...]:
        return (image_key(self.reference), image_key(self.source))

    def after(self, before: States) -> Outcome:
        source = before[image_key(self.source)]
        return {image_key(self.reference): source, image_key(self.source): source}

    def inverse(self, before: States) -> Operation | None:
        old = before[image_key(self.reference)]
        return RemoveImages((self.reference,)) if old is None else None

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        return Change(f"image {self.reference}", verb_of(before, after), attributes=f"another tag of {self.source}")

    def simulate(self, node: Simulation) -> States:
        if image_key(self.source) not in node.states:
            raise StepFailed(f"image {self.source} does not exist")
        return {}


class RemoveImages(Operation, frozen=True):
    """Remove references. An image that a container uses is kept, which is a failure that names the container."""

    kind: ClassVar[str] = "remove-images"
    noun: ClassVar[str] = "image"
    references: tuple[str, ...]

    def keys(self) -> tuple[Key, ...]:
        return tuple(image_key(reference) for reference in self.references)

    def after(self, before: States) -> Outcome:
        return dict.fromkeys(self.keys())
