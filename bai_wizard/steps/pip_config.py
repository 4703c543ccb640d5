"""Our lines in /etc/pip.conf, inside its one section [global]: pip refuses a file that has it twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from bai_wizard.core.blocks import BlockDamaged, Markers, drop_block
from bai_wizard.core.errors import StepBlocked
from bai_wizard.core.primitives import Primitive, RemovePath
from bai_wizard.core.step import Step, Unchanged, register
from bai_wizard.core.view import NodeView
from bai_wizard.steps.edit_block import read_text, rewrite

PATH = "/etc/pip.conf"
MARKERS = Markers("# BEGIN bai-wizard", "# END bai-wizard")
SECTION = "[global]"


@register
@dataclass(frozen=True, kw_only=True)
class PipConfig(Step):
    """Sets `cert` for every pip of this node, unless somebody has set it; empty takes our lines out."""

    kind: ClassVar[str] = "pip-config"
    cert: str

    def describe(self) -> str:
        return f"{PATH}: pip trusts {self.cert}" if self.cert else f"{PATH}: nothing of ours"

    def scope(self) -> tuple[str, ...]:
        return (f"file:{PATH}",)

    def note(self, view: NodeView) -> Unchanged:
        text = read_text(view, PATH) or ""
        if self.cert and _sets_cert(drop_block(text, MARKERS)):
            return Unchanged(f"{PATH} names a certificate file already; that one is kept")
        return Unchanged()

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        text = read_text(view, PATH)
        try:
            others = drop_block(text or "", MARKERS)
        except BlockDamaged as error:
            raise StepBlocked(f"{PATH}: {error}") from error
        if not self.cert or _sets_cert(others):
            if others.strip() in ("", SECTION):
                yield RemovePath(PATH)
            else:
                yield rewrite(view, PATH, others)
            return
        block = f"{MARKERS.begin}\ncert = {self.cert}\n{MARKERS.end}\n"
        lines = others.splitlines(keepends=True)
        places = [number for number, line in enumerate(lines) if line.strip() == SECTION]
        if places:
            head = lines[: places[0] + 1]
            if not head[-1].endswith("\n"):
                head[-1] += "\n"
            new = "".join(head) + block + "".join(lines[places[0] + 1 :])
        else:
            separator = "" if not others or others.endswith("\n") else "\n"
            new = f"{others}{separator}{SECTION}\n{block}"
        yield rewrite(view, PATH, new)


def _sets_cert(text: str) -> bool:
    section = ""
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith("["):
            section = line
        elif section == SECTION and line.replace(":", "=").partition("=")[0].strip() == "cert":
            return True
    return False
