"""Settings of [aliases]: names of the other nodes in /etc/hosts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from bai_wizard.pages.fields import Conflict, Many, SettingsPart, SettingsTable, field
from bai_wizard.pages.values import HostName, IpAddress, Shape

Comment = Annotated[str, Shape(r"[^#\x00-\x1f\x7f]*", "must be one line without '#'")]


class HostSettings(SettingsPart):
    """One line of the block."""

    ip: IpAddress = field(
        label="Address", help="The node's address, as the other nodes reach it.", example="10.20.30.10"
    )
    names: Many[HostName] = field(
        label="Names", help="Its names, the most used one first.", example=["bai-m1"], min_length=1, max_length=16
    )
    comment: Comment = field(
        "",
        label="Comment",
        help="A remark that stands behind the line.",
        example="management node 01",
        max_length=120,
    )
    virtual: bool = field(
        False,
        label="Virtual address",
        help="True for an address that moves between nodes. It is not expected to answer all the time.",
    )


class AliasesSettings(SettingsTable):
    """The block of names in /etc/hosts."""

    own_name: Literal["ask", "move", "keep"] = field(
        "ask",
        label="This node's own name",
        help="What to do with this node's name on 127.0.1.1, which hides its real address from its own services.",
        choices={
            "ask": "ask at the screen; a headless run keeps it and says so",
            "move": "take it off 127.0.1.1 where the block names this node",
            "keep": "leave it",
        },
    )
    hosts: Many[HostSettings] = field(
        (),
        label="Hosts",
        help="The lines of the block for Backend.AI in /etc/hosts; other lines of the file stay as they are.",
        example=[{"ip": "10.20.30.10", "names": ["bai-m1"], "comment": "management node 01"}],
        max_length=2000,
    )

    def conflicts(self) -> Iterator[Conflict]:
        first_ip: dict[str, int] = {}
        first_name: dict[str, int] = {}
        for place, host in enumerate(self.hosts):
            if host.ip in first_ip:
                yield Conflict(
                    ("hosts", place, "ip"),
                    f"is given twice, first by entry {first_ip[host.ip] + 1}; put all names into one entry",
                )
            first_ip.setdefault(host.ip, place)
            for at, name in enumerate(host.names):
                if name.lower() in first_name:
                    yield Conflict(
                        ("hosts", place, "names", at),
                        f"is given twice, first by entry {first_name[name.lower()] + 1}; a name has one address",
                    )
                if name.lower() == "localhost":
                    yield Conflict(("hosts", place, "names", at), "must not be localhost, which belongs to this node")
                first_name.setdefault(name.lower(), place)
