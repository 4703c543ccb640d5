"""The release script, on a small repository and with a builder that takes no time."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.cache import CHECKOUT
from tests.tools.release import STATED, Refused, git, numbers, release, stated_version, unreleased

KINDS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
CHANGE = "* A debug log, see [the guide](docs/debugging.md)."
CHANGELOG = f"""# Changelog

## 0.2.0 - unreleased

### Added
{CHANGE}

## 0.1.0 - 2026-01-01

* First release.
"""
# Stands for tests.tools.build_archive; the archive holds the version that is stated in the tree it runs in.
BUILDER = """
import hashlib, pathlib, sys
output = pathlib.Path(sys.argv[sys.argv.index("-o") + 1])
archive = output / "archive.tar.gz"
archive.write_text(pathlib.Path("bai_wizard/__init__.py").read_text())
(output / "SHA256SUMS").write_text(f"{hashlib.sha256(archive.read_bytes()).hexdigest()}  archive.tar.gz\\n")
"""
BUILD = [sys.executable, "-c", BUILDER]


@pytest.fixture(scope="module")
def first_commit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("first")
    for name, line in STATED.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(f"# first\n\n{line.format('0.1.0')}\n")
    (directory / "CHANGELOG.md").write_text(CHANGELOG)
    git(directory, "init", "--quiet", "--initial-branch", "main")
    git(directory, "config", "user.name", "Alice")
    git(directory, "config", "user.email", "alice@localhost")
    git(directory, "add", ".")
    git(directory, "commit", "--quiet", "--message", "First")
    return directory


@pytest.fixture
def repository(first_commit: Path, tmp_path: Path) -> Path:
    """A small checkout of its own."""
    return Path(shutil.copytree(first_commit, tmp_path / "repository"))


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A private key; the public one is beside it."""
    path = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)], check=True)
    return path


def state(repository: Path) -> tuple[str, ...]:
    """Commit, tags, and changes of the checkout."""
    head = git(repository, "rev-parse", "HEAD")
    return head, git(repository, "tag"), git(repository, "status", "--porcelain")


def test_a_dry_run_builds_everything_and_changes_nothing(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = state(repository)
    release(repository, "0.2.0", tmp_path / "dist", BUILD, key=None, dry_run=True)
    assert state(repository) == before
    assert '__version__ = "0.2.0"' in (tmp_path / "dist/archive.tar.gz").read_text()
    assert (tmp_path / "dist/CHANGES.md").read_text() == "### Added\n* A debug log, see the guide.\n"
    release(repository, "0.2.0", tmp_path / "again", BUILD, url="https://example.org/a", dry_run=True)
    target = "https://example.org/a/blob/v0.2.0/docs/debugging.md"
    assert f"see [the guide]({target}).\n" in (tmp_path / "again/CHANGES.md").read_text()
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=tmp_path / "dist", check=True)
    shown = capsys.readouterr().out
    assert "Release 0.2.0" in shown
    assert "5 files changed" in shown


def test_a_release_is_a_commit_and_a_tag(repository: Path, tmp_path: Path, key: Path) -> None:
    begun = datetime.now(UTC)
    release(repository, "0.2.0", tmp_path / "dist", BUILD, key=key)
    days = {f"{moment:%Y-%m-%d}" for moment in (begun, datetime.now(UTC))}
    assert git(repository, "log", "--format=%s %an") == "Release 0.2.0 Alice\nFirst Alice\n"
    assert git(repository, "describe") == "v0.2.0\n"
    assert git(repository, "status", "--porcelain") == ""
    assert stated_version(repository) == "0.2.0"
    changelog = (repository / "CHANGELOG.md").read_text()
    assert any(f"# Changelog\n\n## 0.2.0 - {day}\n\n### Added\n{CHANGE}\n" in changelog for day in days)
    with pytest.raises(Refused, match="missing or empty"):
        release(repository, "0.3.0", tmp_path / "next", BUILD, key=None, dry_run=True)


def verify(dist: Path, line: str) -> subprocess.CompletedProcess[str]:
    """README's command that verifies the signature, with the line that states the trusted key."""
    readme = (CHECKOUT / "README.md").read_text()
    commands = re.findall(r"^\$ (ssh-keygen -Y verify (?:.*\\\n)*.*)", readme, re.MULTILINE)
    assert len(commands) == 1
    (dist / "allowed_signers").write_text(line)
    return subprocess.run(["sh", "-c", commands[0]], cwd=dist, capture_output=True, text=True, check=False)


def test_the_signature_is_verified_as_the_readme_says(repository: Path, tmp_path: Path, key: Path) -> None:
    dist = tmp_path / "dist"
    release(repository, "0.2.0", dist, BUILD, key=key, dry_run=True)
    trusted = f"bai-wizard {key.with_suffix('.pub').read_text()}"
    assert verify(dist, trusted).returncode == 0, verify(dist, trusted).stderr
    assert verify(dist, trusted.replace("bai-wizard", "somebody")).returncode != 0
    with (dist / "SHA256SUMS").open("a") as sums:
        sums.write("0\n")
    assert verify(dist, trusted).returncode != 0


def test_a_release_is_signed(repository: Path, tmp_path: Path) -> None:
    for key, reason in ((None, "needs --sign"), (tmp_path / "missing", "could not be signed")):
        before = state(repository)
        with pytest.raises(Refused, match=reason):
            release(repository, "0.2.0", tmp_path / "dist", BUILD, key=key)
        assert state(repository) == before
        shutil.rmtree(tmp_path / "dist", ignore_errors=True)


def edit(name: str, before: str, after: str) -> Callable[[Path], None]:
    def change(repository: Path) -> None:
        path = repository / name
        path.write_text(path.read_text().replace(before, after))
        git(repository, "commit", "--quiet", "--all", "--message", "Edit")

    return change


@pytest.mark.parametrize(
    ("version", "prepare", "reason"),
    [
        ("0.2", lambda _: None, "is not a version"),
        ("v0.2.0", lambda _: None, "is not a version"),
        ("0.0.9", lambda _: None, "is older than 0.1.0"),
        ("0.2.0", lambda location: (location / "new").write_text(""), "uncommitted changes"),
        ("0.2.0", lambda location: git(location, "tag", "v0.2.0"), "exists already"),
        ("0.2.0", edit("CHANGELOG.md", f"### Added\n{CHANGE}\n", ""), "missing or empty"),
        ("0.2.0", edit("CHANGELOG.md", "## 0.2.0", "## 0.3.0"), "missing or empty"),
        ("0.2.0", edit("pyproject.toml", "0.1.0", "0.1.1"), "must state one version"),
    ],
)
def test_an_unready_release_is_refused(
    repository: Path, tmp_path: Path, version: str, prepare: Callable[[Path], object], reason: str
) -> None:
    prepare(repository)
    before = state(repository)
    with pytest.raises(Refused, match=reason):
        release(repository, version, tmp_path / "dist", BUILD, key=tmp_path)
    assert state(repository) == before


def test_a_failed_build_leaves_the_repository_as_it_was(repository: Path, tmp_path: Path) -> None:
    before = state(repository)
    for build in ([sys.executable, "-c", "raise SystemExit(1)"], [sys.executable, "-c", "pass"]):
        with pytest.raises(Refused, match="could not be built"):
            release(repository, "0.2.0", tmp_path / "dist", build, key=tmp_path)
    assert state(repository) == before
    (tmp_path / "dist/left-over").write_text("")
    with pytest.raises(Refused, match="is not empty"):
        release(repository, "0.2.0", tmp_path / "dist", BUILD, key=tmp_path)


def test_the_changelog_of_this_repository_is_in_the_form_of_keep_a_changelog() -> None:
    """Its newest version is the one that the code states; the sections are in their order."""
    text = (CHECKOUT / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## (\S+) - (?:unreleased$|\d{4}-\d\d-\d\d$)", text, re.MULTILINE)
    assert len(versions) == len(re.findall(r"^## ", text, re.MULTILINE))
    assert versions == sorted(versions, key=numbers, reverse=True)
    assert versions[0] == stated_version(CHECKOUT)
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        kinds = re.findall(r"^### (.*)$", section, re.MULTILINE)
        assert kinds == [kind for kind in KINDS if kind in kinds], "unknown, repeated or out of order"


def test_the_next_release_has_its_section() -> None:
    version = stated_version(CHECKOUT)
    assert unreleased(CHECKOUT, version) or git(CHECKOUT, "tag", "--list", f"v{version}")
