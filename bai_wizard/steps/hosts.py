"""The block of network aliases in /etc/hosts, and this node's own name on a loopback address."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import ClassVar

from bai_wizard.core.blocks import BlockDamaged, Markers, find_blocks, outside, put_block
from bai_wizard.core.errors import StepBlocked
from bai_wizard.core.primitives import Primitive
from bai_wizard.core.step import Step, Unchanged, register
from bai_wizard.core.view import NodeView
from bai_wizard.steps.edit_block import REPAIR_BY_HAND, read_text, rewrite
from bai_wizard.steps.hosts_lines import Alias, is_own, parse_line, parse_lines, render, shadows, without_names

# The manual's own words, so that a block made by hand is recognised and kept in one place.
MARKERS = Markers(
    "##### BEGIN for Backend.AI services #####",
    "##### END for Backend.AI services #####",
)


@register
@dataclass(frozen=True, kw_only=True)
class HostsBlock(Step):
    """Gives names to addresses in the marked block.

    `host` is this node's name and `own_ip` the alias address that is its own. With both given, the node's names
    are moved from its loopback lines to that address in the block, so that services which look their own name up
    listen where other nodes can reach them; otherwise they stay.
    """

    kind: ClassVar[str] = "hosts-block"
    aliases: tuple[Alias, ...]
    host: str = ""
    own_ip: str = ""
    path: str = "/etc/hosts"

    def describe(self) -> str:
        names = sum(len(alias.names) for alias in self.aliases)
        moved = f"; {self.host} moves from 127.0.1.1 to {self.own_ip}" if self.own_ip else ""
        return f"{self.path}: {names} names of {len(self.aliases)} nodes{moved}"

    def scope(self) -> tuple[str, ...]:
        return (f"file:{self.path}",)

    def note(self, view: NodeView) -> Unchanged:
        text = read_text(view, self.path) or ""
        lines = parse_lines(outside(text, MARKERS))
        own = [line for line in lines if line.address.is_loopback and any(is_own(n, self.host) for n in line.names)]
        if own and not self.own_ip and any(is_own(name, self.host) for alias in self.aliases for name in alias.names):
            return Unchanged(f"{self.host} stays on {own[0].address} too, and that answer comes first")
        return Unchanged()

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        text = read_text(view, self.path) or ""
        try:
            yield rewrite(view, self.path, self.text_after(text))
        except BlockDamaged as error:
            raise StepBlocked(f"{self.path}: {error}. {REPAIR_BY_HAND}") from error

    def text_after(self, text: str) -> str:
        """The file's new text. Raises BlockDamaged, and StepBlocked where a line outside contradicts ours."""
        aliases = self._with_own_names(text)
        if self.own_ip:
            text = self._off_loopback(text)
        self._refuse_shadowed(text)
        return put_block(text, MARKERS, render(aliases))

    def _with_own_names(self, text: str) -> tuple[Alias, ...]:
        """The aliases, this node's other names (its full name) joined to its address if they are moved."""
        if not self.own_ip:
            return self.aliases
        ours = parse_lines([(0, line) for block in find_blocks(text, MARKERS) for line in block.lines])
        own = ip_address(self.own_ip)
        present = [
            name
            for line in (*parse_lines(outside(text, MARKERS)), *ours)
            if line.address.is_loopback or (line.address == own and line in ours)
            for name in line.names
            if is_own(name, self.host)
        ]
        taken = {name.lower() for alias in self.aliases for name in alias.names}
        more = tuple(dict.fromkeys(name for name in present if name.lower() not in taken))
        return tuple(
            replace(alias, names=(*alias.names, *more)) if ip_address(alias.ip) == own else alias
            for alias in self.aliases
        )

    def _off_loopback(self, text: str) -> str:
        """`text` with this node's names taken off the loopback lines outside our block."""
        numbers = {number for number, _line in outside(text, MARKERS)}
        lines = text.split("\n")
        for index, line in enumerate(lines):
            parsed = parse_line(index + 1, line)
            if parsed and parsed.number in numbers and parsed.address.is_loopback and self._names(parsed.names):
                lines[index] = without_names(line, lambda name: is_own(name, self.host))
        return "\n".join(lines)

    def _names(self, names: Sequence[str]) -> bool:
        return any(is_own(name, self.host) for name in names)

    def _refuse_shadowed(self, text: str) -> None:
        conflicts = [
            f"line {line.number} gives {name} to {line.address}, the answers say {alias.ip}"
            for line in parse_lines(outside(text, MARKERS))
            for alias in self.aliases
            for name in shadows(line, alias, self.host)
        ]
        if conflicts:
            raise StepBlocked(
                f"{self.path}: {'; '.join(conflicts)}. Programs would get both addresses. Remove the wrong line, or "
                f"let «bai-wizard doctor --fix hosts-duplicate» turn it into a comment."
            )
