"""Caches of our child processes are never in the account's home and are removed with the run."""

from __future__ import annotations

import os
import sys
import zipfile
from pathlib import Path

import pytest

from bai_wizard.core.errors import StepFailed
from bai_wizard.core.event import silent
from bai_wizard.node import cache
from bai_wizard.resources.pythons import PackageSources
from bai_wizard.resources.pythons_apply import install, uv
from bai_wizard.resources.trees_apply import Acting


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "CACHE", str(tmp_path / "cache"))
    from bai_wizard.resources.pythons_apply import program

    program.cache_clear()


def test_uv_leaves_nothing_in_the_home(tmp_path: Path) -> None:
    home, wheels = tmp_path / "home", tmp_path / "wheels"
    home.mkdir()
    wheels.mkdir()
    with zipfile.ZipFile(wheels / "tiny-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("tiny.py", "")
        archive.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        archive.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("tiny-1.0.dist-info/RECORD", "tiny.py,,\n")
    acting = Acting(None, silent, {"HOME": str(home)})
    uv(acting, ["venv", "--quiet", "--python", sys.executable, str(tmp_path / "venv")], timeout=60, title="venv")
    sources = PackageSources(find_links=(str(wheels),), no_index=True)
    install(acting, str(tmp_path / "venv"), ("tiny",), sources, "tiny")
    assert list(home.iterdir()) == []
    kept = tmp_path / "cache" / "accounts" / str(os.geteuid())
    assert any(kept.rglob("*")), "uv cached where we told it to"
    cache.clear_account_caches()
    assert not kept.parent.exists()
    cache.clear_account_caches()


def test_every_child_that_caches_gets_a_directory(tmp_path: Path) -> None:
    acting = Acting(None, silent)
    result = acting.caches()
    assert {name.partition("_")[0] for name in result} == {"XDG", "UV", "PIP"}
    assert all(value.startswith(f"{tmp_path}/cache/accounts/") for value in result.values())
    assert Path(result["XDG_CACHE_HOME"]).stat().st_mode & 0o777 == 0o700


def test_links_in_a_cache_are_removed_and_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("theirs")
    path = Path(cache.account_cache(os.geteuid(), os.getegid()))
    (path / "link").symlink_to(outside)
    (path / "deep").mkdir()
    (path / "deep" / "link").symlink_to(outside)
    cache.clear_account_caches()
    assert (outside / "precious").read_text() == "theirs"


def test_a_link_in_place_of_the_cache_is_refused(tmp_path: Path) -> None:
    directory = Path(cache.account_cache(os.geteuid(), os.getegid()))
    directory.rmdir()
    directory.symlink_to(tmp_path)
    with pytest.raises(StepFailed, match="is not a directory of UID"):
        cache.account_cache(os.geteuid(), os.getegid())


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_the_cache_of_an_account_is_its_own() -> None:
    path = Path(cache.account_cache(12345, 54321))
    status = path.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (12345, 54321, 0o700)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_cache_that_a_killed_run_left_to_root_becomes_the_accounts() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "chown", _killed)
        with pytest.raises(KeyboardInterrupt):
            cache.account_cache(12345, 54321)
    status = Path(cache.account_cache(12345, 54321)).stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (12345, 54321, 0o700)


def _killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt
