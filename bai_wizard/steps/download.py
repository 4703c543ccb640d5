"""The archive of a Python build in the wizard's cache."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from bai_wizard.core.primitives import FetchFile, Primitive
from bai_wizard.core.step import Step, Unchanged, register
from bai_wizard.core.view import NodeView


@register
@dataclass(frozen=True, kw_only=True)
class Download(Step):
    """Fetches `url` to `path`, unless the interpreter that it is for is at `interpreter` already."""

    kind: ClassVar[str] = "download"
    url: str
    path: str
    sha256: str
    interpreter: str
    version: str
    proxy: str = ""

    def describe(self) -> str:
        return f"the archive of Python {self.version} from {self.url.rsplit('/', 2)[0]}"

    def scope(self) -> tuple[str, ...]:
        return (f"download:{self.path}",)

    def note(self, view: NodeView) -> Unchanged:
        return Unchanged("fetched already" if self._needed(view) else f"not needed: Python {self.version} is here")

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        if self._needed(view):
            yield FetchFile(self.url, self.path, self.sha256, self.proxy)

    def _needed(self, view: NodeView) -> bool:
        there = view.interpreter(self.interpreter)
        return there is None or there.version != self.version
