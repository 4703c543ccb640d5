"""The table of the Aliases page: the block in /etc/hosts, and the steps that change it."""

from __future__ import annotations

from bai_wizard.core.page import Known, Row, Unknown, cannot_tell
from bai_wizard.locale import N_, tr
from bai_wizard.pages.aliases.probe import AliasesFacts
from bai_wizard.pages.aliases.steps import MARKERS
from bai_wizard.steps.files import BlockDamaged, find_blocks
from bai_wizard.steps.hosts_lines import names_one_of, own_names, parse_lines

BLOCK = ("aliases.hosts", "aliases.cloud-init", "aliases.cloud-template")
ROWS = (
    Row("aliases.hosts", now=(N_("Aliases"),), steps=BLOCK),
    Row("aliases.own_name"),
)


def now(facts: AliasesFacts) -> tuple[tuple[str, str], ...]:
    """Summarize the current block, the node's own name and cloud-init's handling of the file."""
    rows = [(N_("Aliases"), _block(facts))]
    if isinstance(facts.hosts, Known):
        lines = parse_lines(list(enumerate(facts.hosts.value.split("\n"), start=1)))
        names = own_names(facts.host, lines)
        own = [str(line.address) for line in lines if names_one_of(line, names)]
        rows.append((tr("{host} is", host=facts.host), ", ".join(dict.fromkeys(own)) or tr("not in /etc/hosts")))
    if isinstance(facts.addresses, Known):
        rows.append((N_("Own addresses"), ", ".join(facts.addresses.value) or tr("none")))
    if isinstance(facts.cloud, Known):
        rows.append(("cloud-init", f"writes /etc/hosts at every boot ({facts.cloud.value.by})"))
    return tuple(rows)


def _block(facts: AliasesFacts) -> str:
    if isinstance(facts.hosts, Unknown):
        return cannot_tell(facts.hosts)
    if not isinstance(facts.hosts, Known):
        return tr("/etc/hosts does not exist")
    try:
        lines = [line for block in find_blocks(facts.hosts.value, MARKERS) for line in block.lines]
    except BlockDamaged as error:
        return tr("damaged: {reason}", reason=error)
    if not lines:
        return tr("no block in /etc/hosts")
    return tr("{count} in the block", count=len(parse_lines([(0, line) for line in lines])))
