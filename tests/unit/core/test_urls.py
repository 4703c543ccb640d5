"""Credentials in URLs are recognized in every spelling and never shown."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as some

from bai_wizard.core.page import Evidence, Finding
from bai_wizard.core.secret import has_credentials, hide_urls, without_credentials

SECRET = "hunter2"
WITH = (
    "https://hunter2@pypi.corp/simple",
    "https://:hunter2@pypi.corp/simple",
    "https://hunter2:@pypi.corp/simple",
    "https://me:hunter2@pypi.corp/simple",
    "HTTPS://me:hunter2@PYPI.CORP/simple",
    "https://me%40corp:hunter2@pypi.corp",
    "https://me@corp:hunter2@pypi.corp/simple",
    "https://me:p@hunter2@pypi.corp/simple",
    "https:/hunter2@pypi.corp/simple",
    "https:hunter2@pypi.corp/simple",
    "https:///hunter2@pypi.corp/simple",
    "https:\\\\hunter2@pypi.corp/simple",
    "git+https://hunter2@git.corp/x.git",
    "git+ssh://git:hunter2@git.corp/x.git",
    "ssh://git%3Ahunter2@git.corp/x.git",
    "x @ https://hunter2@pypi.corp/x.whl ; python_version > '3'",
    "x @ git+https:hunter2@git.corp/x",
    "https://pypi.corp/simple?token=hunter2",
    "https://pypi.corp/simple?a=1&access_token=hunter2#x",
    "https://pypi.corp/simple?TOKEN=hunter2",
    "https://pypi.corp/simple?%74oken=hunter2",
    "https://pypi.corp/simple?api-key=hunter2",
    "https://bucket.corp/x?X-Amz-Signature=hunter2",
    "https://blob.corp/x?sv=1;sig=hunter2",
    "https://git.corp/x?private_token=hunter2",
    "https://git.corp/x#password=hunter2",
    "http://me:hunter2@[fd00::1]:3128/",
)
WITHOUT = (
    "",
    "/srv/wheels",
    "/srv/whe@els",
    "https://pypi.corp/simple",
    "https://pypi.corp:8443/simple/",
    "https://pypi.corp/@scope/package",
    "https://pypi.corp/simple?page=2",
    "https://pypi.corp/x.whl#sha256=0123",
    "http://[fd00::1]:3128/",
    "ssh://git@git.corp/x.git",
    "git+ssh://git@git.corp/x.git",
    "file:///srv/whe@els",
    "backend.ai-agent==26.4.10",
    "backend.ai-agent[cuda]>=26.4 ; python_version >= '3.13'",
    "x @ https://pypi.corp/x.whl",
)


@pytest.mark.parametrize("url", WITH)
def test_credentials_are_found_and_never_shown(url: str) -> None:
    assert has_credentials(url)
    shown = without_credentials(f"pip reads '{url}' here")
    assert SECRET not in shown
    assert "***" in shown


@pytest.mark.parametrize("url", WITHOUT)
def test_other_urls_have_none(url: str) -> None:
    assert not has_credentials(url)


@pytest.mark.parametrize("url", WITHOUT)
def test_other_urls_are_shown_whole(url: str) -> None:
    if "@scope" not in url and "git@" not in url and "whe@els" not in url:
        assert without_credentials(url) == url


def test_findings_never_show_a_login_of_others() -> None:
    evidence = Evidence("proxy", "apt-config dump", f"http://me:{SECRET}@p:1", "none")
    finding = Finding(
        "a", "problem", f"https://{SECRET}@h is bad", cause=f"https://h/?token={SECRET}", evidence=(evidence,)
    )
    assert SECRET not in repr(finding)
    assert "http://***@p:1" in repr(finding)


def test_hostile_texts_take_no_time() -> None:
    """Each has 100 kB; one that took quadratic time would need a minute."""
    started = time.process_time()
    for text in ("a" * 100_000, "a:/" * 32_000, "http://" * 14_000, "?" * 100_000, "?a" * 50_000, "&a=" * 32_000,
                 "://@" * 24_000, "a." * 50_000, "?" + "a=" * 50_000, "https:" * 16_000,
                 "http://a@" * 10_000):  # fmt: skip
        without_credentials(text)
        hide_urls(text)
        has_credentials(text)
    assert time.process_time() - started < 5


@given(
    some.sampled_from(["http", "https", "HTTP", "git+https", "ftp"]),
    some.text(some.characters(codec="ascii", exclude_characters="/\\?# \t\r\n\"'\x0b\x0c\x1c\x1d\x1e\x1f")),
    some.sampled_from(["", "/", "/simple", "?a=1"]),
)
def test_everything_before_the_host_is_credentials(scheme: str, userinfo: str, rest: str) -> None:
    url = f"{scheme}://{userinfo}{SECRET}@pypi.corp{rest}"
    assert has_credentials(url)
    assert SECRET not in without_credentials(url)
