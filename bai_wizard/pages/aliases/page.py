"""The aliases page: names of the other nodes in /etc/hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bai_wizard.core.blocks import BlockDamaged, find_blocks
from bai_wizard.core.facts import Known, Unknown
from bai_wizard.core.page import Page, always
from bai_wizard.pages import TITLES
from bai_wizard.pages.aliases.facts import AliasesFacts
from bai_wizard.pages.aliases.plan import steps
from bai_wizard.pages.aliases.probe import probe
from bai_wizard.pages.aliases.settings import AliasesSettings
from bai_wizard.steps.hosts import MARKERS
from bai_wizard.steps.hosts_lines import is_own, parse_lines

if TYPE_CHECKING:
    from bai_wizard.core.finding import Check


def checks() -> tuple[Check, ...]:
    """The checks of this page."""
    from bai_wizard.pages.aliases.checks import CHECKS

    return CHECKS


def now(facts: AliasesFacts) -> tuple[tuple[str, str], ...]:
    """The block, the own name and cloud-init's part in it, as they are."""
    rows = [("Aliases", _block(facts))]
    if isinstance(facts.hosts, Known):
        lines = parse_lines(list(enumerate(facts.hosts.value.split("\n"), start=1)))
        own = [str(line.address) for line in lines if any(is_own(name, facts.host) for name in line.names)]
        rows.append((f"{facts.host} is", ", ".join(dict.fromkeys(own)) or "not in /etc/hosts"))
    if isinstance(facts.addresses, Known):
        rows.append(("Own addresses", ", ".join(facts.addresses.value) or "none"))
    if isinstance(facts.cloud, Known):
        rows.append(("cloud-init", f"writes /etc/hosts at every boot ({facts.cloud.value.by})"))
    return tuple(rows)


def _block(facts: AliasesFacts) -> str:
    if isinstance(facts.hosts, Unknown):
        return f"cannot tell: {facts.hosts.reason}"
    if not isinstance(facts.hosts, Known):
        return "/etc/hosts is not there"
    try:
        lines = [line for block in find_blocks(facts.hosts.value, MARKERS) for line in block.lines]
    except BlockDamaged as error:
        return f"damaged: {error}"
    return f"{len(parse_lines([(0, line) for line in lines]))} in the block" if lines else "no block in /etc/hosts"


PAGE = Page(
    name="aliases",
    title=TITLES["aliases"],
    summary="Names for the other nodes in /etc/hosts, in one marked block.",
    settings=AliasesSettings,
    probe=probe,
    steps=steps,
    checks=checks,
    now=now,
    reproducible=always,
)
