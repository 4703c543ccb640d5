"""Steps for /etc/hosts: the block of aliases, this node's own name, and conflicting lines."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from ipaddress import ip_address
from typing import ClassVar

from msgspec.structs import replace

from bai_wizard.core.errors import StepBlocked
from bai_wizard.core.machine import NodeView
from bai_wizard.core.operation import Operation, Scope
from bai_wizard.core.state import file_key
from bai_wizard.core.step import Step, Unchanged
from bai_wizard.steps.files import (
    REPAIR_BY_HAND,
    BlockDamaged,
    Markers,
    find_blocks,
    outside,
    put_block,
    read_text,
    rewrite,
)
from bai_wizard.steps.hosts_lines import (
    Alias,
    folded,
    names_one_of,
    own_names,
    parse_line,
    parse_lines,
    render,
    shadows,
    without_names,
)

# The manual's markers, so that a block created by hand is recognized and not duplicated.
MARKERS = Markers("##### BEGIN for Backend.AI services #####", "##### END for Backend.AI services #####")


class HostsBlock(Step, frozen=True, kw_only=True):
    """Assign names to addresses in the marked block.

    `host` is this node's name and `own_ip` its alias address, which an interface of this node has. If both are given,
    the node's names are moved from its loopback lines to that address in the block, so that services which resolve
    their own name listen where other nodes can reach them; otherwise they stay. `stays` is why, despite a request.
    """

    kind: ClassVar[str] = "hosts-block"
    omitted_if_default: ClassVar[tuple[str, ...]] = ("stays",)
    aliases: tuple[Alias, ...]
    host: str = ""
    own_ip: str = ""
    stays: str = ""
    path: str = "/etc/hosts"

    def describe(self) -> str:
        names = sum(len(alias.names) for alias in self.aliases)
        nodes = len(self.aliases)
        moved = f"; move {self.host} from 127.0.1.1 to {self.own_ip}" if self.own_ip else ""
        return f"{self.path}: {names} name{'s' * (names != 1)} for {nodes} node{'s' * (nodes != 1)}{moved}"

    def scope(self) -> tuple[Scope, ...]:
        return (file_key(self.path),)

    def warnings(self) -> tuple[str, ...]:
        return (self.stays,) if self.stays else ()

    def note(self, view: NodeView) -> Unchanged:
        lines = parse_lines(outside(read_text(view, self.path) or "", MARKERS))
        names = own_names(self.host, lines)
        own = [line for line in lines if line.address.is_loopback and names_one_of(line, names)]
        if own and not self.own_ip and not self.stays and any(names_one_of(alias, names) for alias in self.aliases):
            return Unchanged(f"{self.host} also keeps {own[0].address}, which is returned first")
        return Unchanged(self.stays)

    def operations(self, view: NodeView) -> Iterator[Operation]:
        text = read_text(view, self.path) or ""
        try:
            new = rewrite(view, self.path, self.text_after(text))
        except BlockDamaged as error:
            raise StepBlocked(f"{self.path}: {error}. {REPAIR_BY_HAND}") from error
        # Names are looked up by every account, but only root can define them.
        yield replace(new, uid=0, gid=0, mode=(new.mode | 0o444) & ~0o022)

    def text_after(self, text: str) -> str:
        """Return the file's new text. Raises BlockDamaged, and StepBlocked if a line outside contradicts ours."""
        others = parse_lines(outside(text, MARKERS))
        ours = parse_lines((0, line) for block in find_blocks(text, MARKERS) for line in block.lines)
        own, aliases = own_names(self.host, others), self.aliases
        if self.own_ip:
            address = ip_address(self.own_ip)
            lines = [line for line in others if line.address.is_loopback]
            lines += [line for line in ours if line.address.is_loopback or line.address == address]
            own = own_names(self.host, (*others, *lines), (address,))
            aliases = self._with(name for line in lines for name in line.names if folded(name) in own)
            text = _off_loopback(text, own)
        self._refuse_shadowed(text, aliases, own)
        return put_block(text, MARKERS, render(aliases))

    def _with(self, names: Iterator[str]) -> tuple[Alias, ...]:
        """Return the aliases, with the node's own names added to its address unless they are in the settings."""
        taken = {folded(name) for alias in self.aliases for name in alias.names}
        more = {folded(name): name for name in names if folded(name) not in taken}
        own = ip_address(self.own_ip)
        return tuple(
            replace(alias, names=(*alias.names, *more.values())) if ip_address(alias.ip) == own else alias
            for alias in self.aliases
        )

    def _refuse_shadowed(self, text: str, aliases: tuple[Alias, ...], own: Collection[str]) -> None:
        others = parse_lines(outside(text, MARKERS))
        conflicts = [
            f"line {line.number} assigns {name} to {line.address}, but the settings assign it to {alias.ip}"
            for line in others
            for alias in aliases
            for name in shadows(line, alias, own)
        ]
        if not conflicts:
            return
        # The doctor compares the lines with the block, and needs no answers: it sees only what the block has already.
        seen = any(shadows(line, alias, own) for line in others for alias in block_aliases(text))
        by_doctor = ", or run `bai-wizard doctor --fix aliases.duplicate` to comment it out" if seen else ""
        raise StepBlocked(
            f"{self.path}: {'; '.join(conflicts)}. Programs would get both addresses. "
            f"Remove the wrong line{by_doctor}"
        )


def block_aliases(text: str) -> tuple[Alias, ...]:
    """Return the aliases in our block. Raises BlockDamaged."""
    return tuple(
        Alias(str(parsed.address), parsed.names, line.partition("#")[2].strip())
        for block in find_blocks(text, MARKERS)
        for line in block.lines
        if (parsed := parse_line(0, line))
    )


def _off_loopback(text: str, own: Collection[str]) -> str:
    """Return `text` with this node's names removed from the loopback lines outside our block."""
    lines = text.split("\n")
    for number, _line in outside(text, MARKERS):
        parsed = parse_line(number, lines[number - 1])
        if parsed and parsed.address.is_loopback and names_one_of(parsed, own):
            lines[number - 1] = without_names(lines[number - 1], lambda name: folded(name) in own)
    return "\n".join(lines)


class CommentHosts(Step, frozen=True, kw_only=True):
    """Put `# ` before lines outside our block that are identical to one of `lines`."""

    kind: ClassVar[str] = "comment-hosts"
    lines: tuple[str, ...]
    path: str = "/etc/hosts"

    def describe(self) -> str:
        count = len(self.lines)
        return f"{self.path}: comment out {count} conflicting line{'s' * (count != 1)}"

    def scope(self) -> tuple[Scope, ...]:
        return (file_key(self.path),)

    def operations(self, view: NodeView) -> Iterator[Operation]:
        text = read_text(view, self.path)
        if text is None:
            return
        try:
            foreign = {number for number, line in outside(text, MARKERS) if line in self.lines}
        except BlockDamaged as error:
            raise StepBlocked(f"{self.path}: {error}. {REPAIR_BY_HAND}") from error
        lines = text.split("\n")
        commented = [f"# {line}" if number in foreign else line for number, line in enumerate(lines, start=1)]
        yield rewrite(view, self.path, "\n".join(commented))
