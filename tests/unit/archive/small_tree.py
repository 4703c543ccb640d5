"""A tree of a few files, as small as install.sh and the .deb accept."""

from __future__ import annotations

import platform
import shutil
from pathlib import Path

from tests.cache import CHECKOUT


def small_tree(tree: Path, version: str, arch: str = platform.machine()) -> Path:
    """Create it; its program prints the version."""
    package = tree / "python/lib/python3.13/site-packages/example-1.0.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: example\nVersion: 1.0\nLicense-Expression: MIT\n")
    for name in ("bash-completion/completions/bai-wizard", "zsh/site-functions/_bai-wizard",
                 "fish/vendor_completions.d/bai-wizard.fish", "man/man1/bai-wizard.1"):  # fmt: skip
        (tree / "share" / name).parent.mkdir(parents=True)
        (tree / "share" / name).write_text(".TH BAI-WIZARD 1\n.SH NAME\nbai\\-wizard \\- example\n")
    shutil.copytree(CHECKOUT / "packaging/systemd", tree / "share/systemd")
    (tree / "bin").mkdir()
    (tree / "bin/bai-wizard").write_text(f"#!/bin/sh\necho {version}\n")
    (tree / "bin/bai-wizard").chmod(0o755)
    (tree / "VERSION").write_text(f"{version}\n")
    (tree / "ARCHITECTURE").write_text(f"{arch}\n")
    return tree
