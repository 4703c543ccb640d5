"""What every page may know of the answers beyond its own table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["management", "compute", "storage"]


@dataclass(frozen=True)
class Context:
    """Values of other tables, applied or not, and the node's own name.

    `account` is the operation account. `answers` maps table names to the plain values as written, for pages
    that are declared to look at another's wish (tuning at docker's, checks at storage's). `bundle` is the directory
    that everything comes from on a node without a way out.
    """

    host: str = ""
    account: str = "bai"
    uid: int = 1100
    gid: int = 1100
    home: str = "/home/bai"
    roles: tuple[Role, ...] = ("compute",)
    backend_ai: str = ""
    proxy_http: str = ""
    proxy_https: str = ""
    no_proxy: str = ""
    ca_certificates: tuple[str, ...] = ()
    applied: tuple[str, ...] = ()
    demo: bool = False
    bundle: str = ""
