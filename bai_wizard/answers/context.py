"""What every page may know of the answers beyond its own table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bai_wizard.core.context import Context

if TYPE_CHECKING:
    from bai_wizard.answers.model import Answers
    from bai_wizard.pages.account.settings import AccountSettings
    from bai_wizard.pages.node.settings import NetworkSettings, NodeSettings


def context(answers: Answers, *, applied: tuple[str, ...] | None = None, demo: bool = False) -> Context:
    """The context of these answers. Tables that are not applied count as well; absent ones have their defaults.

    `applied` are the tables that this run brings about, where `--only` or `--skip` chose among them.
    """
    node: NodeSettings | None = answers.tables.get("node")  # type: ignore[assignment]
    network: NetworkSettings | None = answers.tables.get("network")  # type: ignore[assignment]
    account: AccountSettings | None = answers.tables.get("account")  # type: ignore[assignment]
    default = Context()
    return Context(
        host=answers.host,
        account=account.username if account else default.account,
        uid=account.uid if account else default.uid,
        gid=account.gid if account else default.gid,
        home=account.home_directory if account else default.home,
        roles=node.roles if node else default.roles,
        backend_ai=node.backend_ai if node else default.backend_ai,
        proxy_http=network.proxy.http if network else default.proxy_http,
        proxy_https=network.proxy.https if network else default.proxy_https,
        no_proxy=network.proxy.no_proxy if network else default.no_proxy,
        ca_certificates=network.ca_certificates if network else default.ca_certificates,
        applied=answers.applied if applied is None else applied,
        demo=demo,
        bundle=str(getattr(answers.tables.get("sources"), "bundle", "")),
    )
