"""What the aliases page knows of a node."""

from __future__ import annotations

from dataclasses import dataclass

from bai_wizard.core.facts import Fact


@dataclass(frozen=True)
class CloudHosts:
    """That cloud-init writes /etc/hosts at every boot.

    `value` is its `manage_etc_hosts` as it would be without our drop-in: `template` (the whole file is made anew)
    or `localhost` (only this node's 127.0.1.1 line). `by` is the file that says so. `overrules_drop_in` is true
    where that file wins over /etc/cloud/cloud.cfg.d: data of the cloud's user or vendor. `template` is the path of
    the template the file is made from; empty where there is none.
    """

    value: str
    by: str
    overrules_drop_in: bool
    template: str


@dataclass(frozen=True)
class AliasesFacts:
    """`hosts` is the text of /etc/hosts; `addresses` are those of this node's own interfaces, loopback left out."""

    host: str
    hosts: Fact[str]
    addresses: Fact[tuple[str, ...]]
    cloud: Fact[CloudHosts]
