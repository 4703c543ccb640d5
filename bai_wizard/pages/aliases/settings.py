"""Settings of [aliases]: names of the other nodes in /etc/hosts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from bai_wizard.pages.fields import Conflict, Many, SettingsPart, SettingsTable, field
from bai_wizard.pages.values import HIDDEN, HostName, IpAddress, Pattern

Comment = Annotated[str, Pattern(rf"[^#{HIDDEN}]*", "must be one line without '#' or control characters")]


class HostSettings(SettingsPart):
    """One line of the managed block."""

    ip: IpAddress = field(
        label="Address", help="The address at which the other nodes reach this one.", example="10.20.30.10"
    )
    names: Many[HostName] = field(
        label="Names", help="Its names, the most common one first.", example=["bai-m1"], min_length=1, max_length=16
    )
    comment: Comment = field(
        "", label="Comment", help="A comment at the end of the line.", example="management node 01", max_length=120
    )
    virtual: bool = field(
        False,
        label="Virtual address",
        help="The address moves between nodes, so it is not expected to respond at all times.",
    )


class AliasesSettings(SettingsTable):
    """The managed block of host aliases in /etc/hosts."""

    own_name: Literal["ask", "move", "keep"] = field(
        "ask",
        label="127.0.1.1 entry",
        help="How to handle this node's name on 127.0.1.1, which makes local services resolve it to loopback.",
        choices={
            "ask": "ask in the wizard; headless runs leave it and print a note",
            "move": "remove it from 127.0.1.1 if the block lists this node",
            "keep": "leave unchanged",
        },
    )
    hosts: Many[HostSettings] = field(
        (),
        label="Hosts",
        help="The lines of the managed block in /etc/hosts. Other lines of the file are not changed.",
        example=[{"ip": "10.20.30.10", "names": ["bai-m1"], "comment": "management node 01"}],
        max_length=2000,
    )

    def conflicts(self) -> Iterator[Conflict]:
        first_ip: dict[str, int] = {}
        first_name: dict[str, int] = {}
        for index, host in enumerate(self.hosts):
            if host.ip in first_ip:
                yield Conflict(
                    ("hosts", index, "ip"), f"is already in entry {first_ip[host.ip] + 1}; put all names in one entry"
                )
            first_ip.setdefault(host.ip, index)
            for at, name in enumerate(host.names):
                if name.lower() in first_name:
                    yield Conflict(
                        ("hosts", index, "names", at),
                        f"is already in entry {first_name[name.lower()] + 1}; a name can have only one address",
                    )
                if name.lower() == "localhost":
                    yield Conflict(
                        ("hosts", index, "names", at), "must not be localhost, which is reserved for this node"
                    )
                first_name.setdefault(name.lower(), index)
