"""The files of a release, built around the metadata of the dependencies."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bai_wizard import __version__
from tests.cache import CHECKOUT
from tests.tools import build_archive
from tests.tools.build_dist import write_share
from tests.tools.release import git
from tests.unit.archive.test_sbom import HASHES, errors, tree

__all__ = ["tree"]


@pytest.mark.skipif(not (CHECKOUT / ".git").exists(), reason="not on this machine: a git checkout (this is an sdist)")
def test_every_file_of_a_release_is_built_and_listed(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb is not installed")
    write_share(tree / "share")
    (tree / "bin").mkdir()
    (tree / "bin/bai-wizard").write_text("#!/bin/sh\n")
    (tree / "VERSION").write_text(f"{__version__}\n")
    python = tmp_path / "cpython-3.13.1.tar.gz"
    python.write_text("an interpreter")

    def make_tree(target: Path, *_: object, **__: object) -> dict[str, str]:
        shutil.copytree(tree, target)
        return HASHES

    monkeypatch.setattr(build_archive, "make_tree", make_tree)
    dist = tmp_path / "dist"
    words = [
        "-o",
        str(dist),
        "--python",
        str(tmp_path / "cpython-3.13.1.tar.gz"),
        "--arch",
        "x86_64",
        "--deb",
        "--dist",
    ]
    monkeypatch.setattr(sys, "argv", ["build_archive", *words])
    build_archive.main()
    names = {path.name for path in dist.iterdir()}
    archive = f"bai-wizard-{__version__}-x86_64"
    assert names == {
        "SHA256SUMS", f"{archive}.tar.gz", f"{archive}.cdx.json", f"bai-wizard_{__version__}_amd64.deb",
        f"bai_wizard-{__version__}-py3-none-any.whl", f"bai_wizard-{__version__}.tar.gz",
    }  # fmt: skip
    subprocess.run(["sha256sum", "--check", "--quiet", "--strict", "SHA256SUMS"], cwd=dist, check=True)
    lines = [line.split() for line in (dist / "SHA256SUMS").read_text().splitlines()]
    sums = {name: digest for digest, name in lines}
    assert sums.keys() == names - {"SHA256SUMS"}
    document = json.loads((dist / f"{archive}.cdx.json").read_text())
    assert errors(document) is None
    assert document["metadata"]["component"]["hashes"][0]["content"] == sums[f"{archive}.tar.gz"]
    deb = dist / f"bai-wizard_{__version__}_amd64.deb"
    maintainer = subprocess.run(
        ["dpkg-deb", "--field", deb, "Maintainer"], capture_output=True, text=True, check=True
    )
    assert maintainer.stdout == git(CHECKOUT, "log", "-1", "--format=%cn <%ce>"), "not who builds it"
