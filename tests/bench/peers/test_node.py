"""The reference pages as assertions of testinfra: compared with the doctor."""

from __future__ import annotations

from typing import Any

import pytest

SYSCTL = {
    "net.ipv4.tcp_fin_timeout": 10,
    "net.ipv4.tcp_slow_start_after_idle": 0,
    "net.ipv4.tcp_tw_reuse": 1,
    "net.ipv4.tcp_window_scaling": 1,
}
FILES = {
    "/etc/sysctl.d/99-backendai.conf": (0, 0o644),
    "/etc/security/limits.d/99-backendai.conf": (0, 0o644),
    "/home/bai": (1100, 0o700),
    "/home/bai/.ssh": (1100, 0o700),
    "/home/bai/.ssh/authorized_keys": (1100, 0o600),
    "/vfroot": (0, 0o755),
    "/vfroot/local": (1100, 0o755),
    "/etc/passwd": (0, 0o644),
    "/etc/hosts": (0, 0o644),
}


@pytest.mark.parametrize("key", SYSCTL)
def test_parameter(host: Any, key: str) -> None:
    assert host.sysctl(key) == SYSCTL[key]


@pytest.mark.parametrize("path", FILES)
@pytest.mark.parametrize("what", ["exists", "uid", "mode"])
def test_path(host: Any, path: str, what: str) -> None:
    found = host.file(path)
    if what == "exists":
        assert found.exists
    else:
        assert getattr(found, what) == FILES[path][what == "mode"]


def test_account(host: Any) -> None:
    user = host.user("bai")
    assert (user.uid, user.gid, user.home) == (1100, 1100, "/home/bai")
    assert "sudo" in user.groups
    assert user.password.startswith("$")


@pytest.mark.parametrize("name", ["bai-m1", "bai-a01"])
def test_alias(host: Any, name: str) -> None:
    assert host.file("/etc/hosts").contains(name)


@pytest.mark.parametrize("name", ["ssh", "systemd-sysctl"])
def test_service(host: Any, name: str) -> None:
    assert host.service(name).is_running
