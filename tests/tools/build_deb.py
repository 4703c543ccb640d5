"""Build the .deb from the same tree that install.sh installs. Needs dpkg-deb."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from bai_wizard import __version__

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
CONTROL = """Package: bai-wizard
Version: {version}
Architecture: {architecture}
Maintainer: The bai-wizard makers <bai-wizard@localhost>
Installed-Size: {size}
Depends: libc6 (>= 2.36), util-linux
Section: admin
Priority: optional
Description: prepares a node for Backend.AI
 Shows every change before it is made, survives a lost connection, verifies its effects, and can undo its runs.
"""
# Refuse to unpack or remove files while a run is in progress.
GUARD = """#!/bin/sh
set -e
if [ -e /run/bai-wizard/lock ] && ! flock --nonblock --shared /run/bai-wizard/lock true; then
    echo 'bai-wizard: a run is in progress on this node; watch it with: bai-wizard attach' >&2
    exit 1
fi
"""
# Two owners of one tree would remove each other's files; a tree that contains install.sh was installed by it.
ALONE = """for each in /opt/bai-wizard/*/install.sh; do
    if [ -e "$each" ]; then
        echo 'bai-wizard: it is here from its archive; remove that first (runs and backups stay):' >&2
        echo '  sh /opt/bai-wizard/current/install.sh --uninstall' >&2
        exit 1
    fi
done
"""
# dpkg keeps runs and backups when it removes the package; only a purge removes them.
POSTRM = """#!/bin/sh
set -e
if [ "$1" = purge ]; then
    rm -rf /var/lib/bai-wizard /var/cache/bai-wizard
fi
"""
SHARED = (
    "bash-completion/completions/bai-wizard",
    "zsh/vendor-completions/_bai-wizard",
    "fish/vendor_completions.d/bai-wizard.fish",
    "man/man1/bai-wizard.1",
)


def build_deb(directory: Path, tree: Path, arch: str) -> Path:
    """Build `bai-wizard_VERSION_ARCH.deb` in the directory: the tree in /opt/bai-wizard/VERSION, links in /usr."""
    architecture = ARCHITECTURES[arch]
    target = directory / f"bai-wizard_{__version__}_{architecture}.deb"
    with tempfile.TemporaryDirectory(dir=directory) as name:
        root = Path(name)
        root.chmod(0o755)
        home = root / f"opt/bai-wizard/{__version__}"
        shutil.copytree(tree, home, symlinks=True)
        _link(root / "opt/bai-wizard/current", __version__)
        _link(root / "usr/bin/bai-wizard", "/opt/bai-wizard/current/bin/bai-wizard")
        for shared in SHARED:
            inside = shared.replace("vendor-completions", "site-functions")
            _link(root / "usr/share" / shared, f"/opt/bai-wizard/current/share/{inside}")
        _control(root, architecture)
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "-Zgzip", "-z6", "--build", str(root), str(target)],
            check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip
    return target


def _link(directory: Path, target: str) -> None:
    directory.parent.mkdir(parents=True, exist_ok=True)
    directory.symlink_to(target)


def _control(root: Path, architecture: str) -> None:
    size = sum(path.lstat().st_size for path in root.rglob("*")) // 1024
    directory = root / "DEBIAN"
    directory.mkdir()
    (directory / "control").write_text(CONTROL.format(version=__version__, architecture=architecture, size=size))
    for name, text in (("preinst", GUARD + ALONE), ("prerm", GUARD), ("postrm", POSTRM)):
        (directory / name).write_text(text)
        (directory / name).chmod(0o755)
