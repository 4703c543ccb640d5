"""The sdist and the wheel: what a distribution and an index page need."""

from __future__ import annotations

import email
import email.message
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from bai_wizard import __version__
from tests.cache import CHECKOUT
from tests.tools.build_dist import build_dist, with_absolute_links
from tests.tools.make_man import man_page

URL = "https://example.org/bai-wizard"
pytestmark = pytest.mark.skipif(
    not (CHECKOUT / ".git").exists(), reason="not on this machine: a git checkout (this is an sdist)"
)


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("dist")
    build_dist(directory, URL)
    return directory


@pytest.fixture(scope="module")
def sdist(dist: Path) -> Path:
    """The unpacked sdist."""
    (dist / "unpacked").mkdir()
    subprocess.run(["tar", "-C", dist / "unpacked", "-xzf", next(dist.glob("*.tar.gz"))], check=True)
    return next((dist / "unpacked").iterdir())


def metadata(dist: Path) -> email.message.Message:
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as wheel:
        name = next(name for name in wheel.namelist() if name.endswith("/METADATA"))
        return email.message_from_bytes(wheel.read(name))


def test_the_sdist_contains_all_tracked_files_the_man_page_and_the_completions(sdist: Path) -> None:
    listed = subprocess.run(
        ["git", "-C", str(CHECKOUT), "ls-files"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert [name for name in listed if not (sdist / name).exists()] == []
    assert (sdist / "share/man/man1/bai-wizard.1").read_text() == man_page()
    assert len([*(sdist / "share").rglob("*bai-wizard*")]) == 7
    extra = {str(path.relative_to(sdist)) for path in sdist.rglob("*") if path.is_file()} - set(listed)
    assert {name for name in extra if not name.startswith("share/")} <= {"PKG-INFO", "pyproject.toml.orig"}


def test_tests_can_be_run_in_the_sdist(sdist: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(sdist)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/unit/core/test_codec.py"],
        cwd=sdist, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def test_the_same_commit_gives_the_same_files(dist: Path, tmp_path: Path) -> None:
    build_dist(tmp_path, URL)
    for file in tmp_path.iterdir():
        assert file.read_bytes() == (dist / file.name).read_bytes(), file.name
    assert len([*tmp_path.iterdir()]) == 2


def test_the_wheel_contains_every_file_of_the_package(dist: Path) -> None:
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as wheel:
        names = {name for name in wheel.namelist() if not name.endswith("/")}
    package = {
        str(path.relative_to(CHECKOUT))
        for path in (CHECKOUT / "bai_wizard").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert package <= names
    assert [name for name in names - package if not name.startswith(f"bai_wizard-{__version__}.dist-info/")] == []


def test_the_metadata_is_complete_for_an_index_page(dist: Path) -> None:
    fields = metadata(dist)
    assert (fields["Name"], fields["Version"]) == ("bai-wizard", __version__)
    assert fields["License-Expression"] == "Apache-2.0"
    assert all(fields[name] for name in ("Author", "Summary", "Keywords", "Requires-Python"))
    stated = {line.rpartition(" :: ")[2] for line in fields.get_all("Classifier", []) if ":: Python :: 3." in line}
    assert stated == {"3.11", "3.12", "3.13", "3.14"}
    assert {line.partition(",")[0] for line in fields.get_all("Project-URL", [])} == {
        "Homepage", "Source", "Changelog", "Issues",
    }  # fmt: skip
    targets = re.findall(r"\]\(([^)\s]+)\)", str(fields.get_payload()))
    assert [target for target in targets if not target.startswith((f"{URL}/", "https://"))] == []
    assert f"{URL}/raw/v{__version__}/screenshots/page-2-docker.svg" in targets


def test_without_a_page_links_into_the_repository_become_text() -> None:
    text = "![A picture](screenshots/a.svg)\nSee [LICENSE](LICENSE), [this](#here) and [that](https://example.org)."
    assert with_absolute_links(text, "") == "\nSee LICENSE, [this](#here) and [that](https://example.org)."


def test_no_text_tells_users_to_install_a_name_that_others_can_register() -> None:
    """bai-wizard is not published on an index or in a distribution: whoever registers the name would run as root."""
    hint = re.compile(
        r"\b(pip3?|pipx|uv|uvx|apt|apt-get|dnf|snap|brew)\b[^\n`\"']*?\b(install|run)\b [^\n`\"']*\bbai-wizard\b(?!-)"
    )
    files = [
        path
        for top in ("bai_wizard", "docs", "packaging", "integrations", "README.md", "CONTRIBUTING.md", "SECURITY.md")
        for path in ([CHECKOUT / top] if (CHECKOUT / top).is_file() else (CHECKOUT / top).rglob("*"))
        if path.is_file() and path.suffix not in (".pyc", ".mo", ".svg")
    ]
    assert all(map(hint.search, ("sudo pip install --upgrade bai-wizard", "uv tool install bai-wizard")))
    found = [(path.name, match[0]) for path in files if (match := hint.search(path.read_text(errors="replace")))]
    assert found == []
