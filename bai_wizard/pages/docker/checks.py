"""The checks of the docker page."""

from __future__ import annotations

from bai_wizard.pages.docker import check_apt, check_clients, check_config, check_daemon, check_engine, check_network

CHECKS = (
    *check_daemon.CHECKS,
    *check_engine.CHECKS,
    *check_clients.CHECKS,
    *check_config.CHECKS,
    *check_network.CHECKS,
    *check_apt.CHECKS,
)
