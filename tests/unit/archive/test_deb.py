"""The .deb as a file: what lintian and dpkg-deb say of it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cache import CHECKOUT
from tests.tools.build_deb import OVERRIDES, SCRIPTS, build_deb, debian_changelog
from tests.unit.archive.small_tree import small_tree

MAINTAINER = "Alice Example <alice@debian.org>"


@pytest.fixture(scope="module")
def deb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb is not installed")
    directory = tmp_path_factory.mktemp("deb")
    return build_deb(directory, small_tree(directory / "tree", "0.2.0", "x86_64"), "x86_64", maintainer=MAINTAINER)


def output(*words: str | Path) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL).stdout


def test_lintian_has_no_complaints_without_any_override(deb: Path) -> None:
    """Overrides are for the interpreter and its packages only, which this tree does not contain."""
    if shutil.which("lintian") is None:
        pytest.skip("lintian is not installed")
    words = ("lintian", "--allow-root", "--no-override", "--fail-on", "none", "--suppress-tags", "unused-override")
    assert output(*words, deb) == ""


def test_it_is_compressed_with_xz_and_owns_no_directory_of_the_administrator(deb: Path) -> None:
    assert {"control.tar.xz", "data.tar.xz"} <= set(output("ar", "t", deb).split())
    entries = [line.split() for line in output("dpkg-deb", "--contents", deb).splitlines()]
    assert {entry[1] for entry in entries} == {"root/root"}
    assert [entry[5] for entry in entries if not entry[5].startswith(("./usr/", "./"))] == []
    assert {entry[5].split("/")[1] for entry in entries} == {"", "usr"}


def test_the_same_tree_gives_the_same_package(deb: Path, tmp_path: Path) -> None:
    again = build_deb(
        tmp_path, small_tree(tmp_path / "elsewhere", "0.2.0", "x86_64"), "x86_64", maintainer=MAINTAINER
    )
    assert again.read_bytes() == deb.read_bytes()


def test_it_names_the_license_of_each_component(deb: Path) -> None:
    data = subprocess.run(["dpkg-deb", "--fsys-tarfile", deb], capture_output=True, check=True).stdout
    name = "./usr/share/doc/bai-wizard/copyright"
    text = subprocess.run(["tar", "-xO", name], input=data, capture_output=True, check=True).stdout.decode()
    assert "example 1.0: MIT" in text
    assert "/usr/share/common-licenses/Apache-2.0" in text


def test_every_override_is_explained() -> None:
    lines = OVERRIDES.splitlines()
    assert lines[0].startswith("#")
    assert all(line.startswith(("# ", "bai-wizard: ")) for line in lines)


def test_the_changelog_has_every_version() -> None:
    if shutil.which("dpkg-parsechangelog") is None:
        pytest.skip("dpkg-parsechangelog is not installed")
    done = subprocess.run(
        ["dpkg-parsechangelog", "--all", "--format", "rfc822", "-l-", "--show-field", "Version"],
        input=debian_changelog(MAINTAINER), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == re.findall(r"^## (\S+)", (CHECKOUT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert done.stderr == ""


def run_script(name: str, action: str, root: Path) -> subprocess.CompletedProcess[str]:
    """A maintainer script, with all of its paths below a directory."""
    script, count = re.subn(r"/(etc|opt|run|var)/", rf"{root}/\1/", SCRIPTS[name])
    assert count == len(re.findall(r"(?<![\w.])/(?!dev/null|proc/)\w+/", SCRIPTS[name]))
    words = ["sh", "-c", f"set -e\n{script}", name, action]
    return subprocess.run(words, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize("has_archive", [False, True])
def test_package_and_archive_leave_each_other_alone(tmp_path: Path, *, has_archive: bool) -> None:
    """An archive may be installed after the package was removed: a purge of what is left keeps the archive's runs."""
    run, tree = tmp_path / "var/lib/bai-wizard/runs/1", tmp_path / "opt/bai-wizard/0.2.0"
    run.mkdir(parents=True)
    tree.mkdir(parents=True)
    if has_archive:
        (tree / "install.sh").touch()
    assert run_script("preinst", "abort-upgrade", tmp_path).returncode == has_archive
    purged = run_script("postrm", "purge", tmp_path)
    assert (purged.returncode, run.exists(), "are kept" in purged.stderr) == (0, has_archive, has_archive)
