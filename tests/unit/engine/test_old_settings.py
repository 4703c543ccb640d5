"""Settings in a run directory that an older, less strict version accepted."""

from __future__ import annotations

import pytest

from bai_wizard.compose import desired_from_json
from bai_wizard.core.errors import PreflightError


@pytest.mark.parametrize(
    ("table", "values", "message"),
    [
        ("account", {"home": "/etc", "sudo": "no"}, "account.home must not be an operating system directory"),
        (
            "python",
            {"index_url": "https://hunter2@pypi.corp/simple"},
            "python.index_url must not contain a user name",
        ),
        ("network", {"proxy": {"http": 'http://a";b:1'}}, "network.proxy.http must be a proxy URL"),
    ],
)
def test_old_settings_that_are_now_refused_are_explained(table: str, values: dict[str, object], message: str) -> None:
    data = {"version": 1, "host": "gpu01", "pages": [], "tables": {table: values}}
    with pytest.raises(PreflightError, match="cannot be resumed") as caught:
        desired_from_json(data)
    assert message in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_hash_and_other_values_of_a_run_come_back() -> None:
    hash = "$y$j9T$abcdefghijklmnop$abcdefghijklmnopqrstuvwxyz0123456789abcdefg"
    tables = {"account": {"password_hash": hash}, "docker": {"log": {"max_file": 3}}}
    desired = desired_from_json({"version": 1, "host": "gpu01", "pages": ["account"], "tables": tables})
    assert desired.to_json()["tables"] == tables
