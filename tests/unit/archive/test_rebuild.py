"""A whole release with the real interpreter and dependencies, and the same commit built again elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.clone import clone
from tests.node import pbs_mirror
from tests.tools.release import git, release
from tests.unit.archive.test_release import key, verify

__all__ = ["key"]
VERSION = "999.0.0"
pytestmark = [
    pytest.mark.soak,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not pbs_mirror.prefixes(), reason="no CPython built from source that could be packed"),
]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A clone that is ready for the release."""
    result = clone(tmp_path / "repository")
    changelog = result / "CHANGELOG.md"
    section = f"## {VERSION} - unreleased\n\n### Added\n* A change.\n\n## "
    changelog.write_text(changelog.read_text().replace("## ", section, 1))
    git(result, "commit", "--quiet", "--all", "--message", "Add a section")
    return result


def test_a_release_is_complete_and_can_be_built_again_bit_for_bit(
    repository: Path,
    key: Path,
    tmp_path: Path,
) -> None:
    python = pbs_mirror.mirrored(pbs_mirror.version_of(pbs_mirror.prefixes()[-1])).file
    build = [sys.executable, "-m", "tests.tools.build_archive", "--dist", "--python", str(python)]
    first = tmp_path / "first"
    release(repository, VERSION, first, build, key=key)
    assert sorted(path.name for path in first.iterdir()) == sorted([
        "CHANGES.md", "SHA256SUMS", "SHA256SUMS.sig", f"bai-wizard-{VERSION}-{pbs_mirror.ARCH}.cdx.json",
        f"bai-wizard-{VERSION}-{pbs_mirror.ARCH}.tar.gz", f"bai_wizard-{VERSION}-py3-none-any.whl",
        f"bai_wizard-{VERSION}.tar.gz",
    ])  # fmt: skip
    checked = verify(first, f"bai-wizard {key.with_suffix('.pub').read_text()}")
    assert checked.returncode == 0, checked.stderr
    text = next(first.glob("*.cdx.json")).read_text()
    assert JsonStrictValidator(SchemaVersion.from_version(json.loads(text)["specVersion"])).validate_str(text) is None
    assert program_output(first, tmp_path / "unpacked") == f"bai-wizard {VERSION}"

    again = tmp_path / "elsewhere, with blanks"
    os.umask(0o077)
    try:
        again.mkdir()
        git(repository, "clone", "--quiet", "--branch", f"v{VERSION}", str(repository), str(again / "clone"))
        subprocess.run(
            [*clock(), *build, "-o", str(again / "dist")], cwd=again / "clone", check=True,
            env=different_environment(again),
        )  # fmt: skip
    finally:
        os.umask(0o022)
    differing = [
        path.name for path in first.iterdir()
        if path.suffix in (".gz", ".whl", ".json") and path.read_bytes() != (again / "dist" / path.name).read_bytes()
    ]  # fmt: skip
    assert differing == []
    assert (first / "SHA256SUMS").read_text() == (again / "dist/SHA256SUMS").read_text()


def clock() -> list[str]:
    """Words that start a program on another day."""
    if shutil.which("faketime") is None:
        pytest.skip("faketime is not installed")
    return ["faketime", "-f", "+30h"]


def different_environment(directory: Path) -> dict[str, str]:
    (directory / "tmp").mkdir()
    return {
        **os.environ, "TZ": "Asia/Seoul", "LC_ALL": "C", "LANG": "ko_KR.UTF-8", "PYTHONHASHSEED": "7",
        "TMPDIR": str(directory / "tmp"), "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null",
    }  # fmt: skip


def program_output(dist: Path, directory: Path) -> str:
    """What the program in the archive prints for --version."""
    with tarfile.open(next(dist.glob("bai-wizard-*.tar.gz"))) as archive:
        archive.extractall(directory, filter="tar")
    program = next(directory.glob("*/tree/bin/bai-wizard"))
    return subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout.strip()
