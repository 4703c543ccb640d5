"""Build the .deb from the same tree that install.sh installs. Needs dpkg-deb."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
import tempfile
import textwrap
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

from tests.cache import CHECKOUT
from tests.tools.build_dist import build_time
from tests.tools.sbom import components

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
HOME = "usr/lib/bai-wizard"
CONTROL = """Package: bai-wizard
Version: {version}
Architecture: {architecture}
Maintainer: {maintainer}
Installed-Size: SIZE
Depends: libc6 (>= 2.36)
Section: admin
Priority: optional
Description: wizard that prepares a node for Backend.AI
 Shows every change as a diff before it is made, survives a lost connection
 or a power cut, verifies its effects, and can undo its runs.
 .
 The package contains its own Python interpreter and works without network.
"""
# No run can start while files are replaced: `tail` holds the lock until `release`, or until dpkg ends.
LOCK = """
lock=/run/bai-wizard/lock
holder=/run/bai-wizard/package.pid

hold() {
    mkdir -p -m 0755 /run/bai-wizard
    exec 9>>"$lock"
    chmod 600 "$lock"
    if ! flock --nonblock 9; then
        echo 'bai-wizard: a run is in progress on this node; watch it with: bai-wizard attach' >&2
        exit 1
    fi
}

keep() {
    tail --pid="$PPID" -f /dev/null </dev/null >/dev/null 2>&1 &
    echo "$!" >"$holder"
}

release() {
    pid=$(cat "$holder" 2>/dev/null || true)
    if [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = tail ]; then
        kill "$pid" || true
        # A run may start as soon as dpkg has ended.
        flock --wait 5 "$lock" true || true
    fi
    rm -f "$holder"
}
"""
# A tree that contains install.sh was installed by it. Two owners would shadow each other.
ARCHIVE = """
has_archive() {
    for each in /opt/bai-wizard/*/install.sh; do
        [ ! -e "$each" ] || return 0
    done
    return 1
}
"""
ALONE = """
if has_archive; then
    echo 'bai-wizard: it is installed from its archive; remove that first (runs and backups are kept):' >&2
    echo '  sh /opt/bai-wizard/current/install.sh --uninstall' >&2
    exit 1
fi
"""
# The timer is enabled by the administrator only. After its files have changed, systemd reads them again.
TIMER = """
stop_timer() {
    if [ -d /run/systemd/system ]; then
        deb-systemd-invoke stop bai-wizard-drift.timer >/dev/null || true
    fi
    rm -f /etc/systemd/system/timers.target.wants/bai-wizard-drift.timer
}

reload() {
    if [ -d /run/systemd/system ]; then
        systemctl --system daemon-reload >/dev/null || true
    fi
}
"""
# An upgrade runs prerm of the old version before preinst of the new one, which holds the lock. dpkg keeps runs and
# backups when it removes the package; a purge removes them, unless an archive that was installed since uses them.
SCRIPTS = {
    "preinst": f"{LOCK}{ARCHIVE}{ALONE}\ncase $1 in install | upgrade) hold; keep ;; esac\n",
    "postinst": f"{LOCK}{TIMER}\nreload\nrelease\n",
    "prerm": f"{LOCK}{TIMER}\ncase $1 in upgrade) hold ;; remove) hold; keep; stop_timer ;; esac\n",
    "postrm": f"""{LOCK}{TIMER}{ARCHIVE}
case $1 in
    remove | abort-install | abort-upgrade) reload; release ;;
    purge)
        if has_archive; then
            echo 'bai-wizard: it is installed from its archive now, so its runs and backups are kept' >&2
        else
            rm -rf /var/lib/bai-wizard /var/cache/bai-wizard
        fi
        ;;
esac
""",
}
# Path below /usr/share → path below the tree's share/.
SHARED = {
    "bash-completion/completions/bai-wizard": "bash-completion/completions/bai-wizard",
    "zsh/vendor-completions/_bai-wizard": "zsh/site-functions/_bai-wizard",
    "fish/vendor_completions.d/bai-wizard.fish": "fish/vendor_completions.d/bai-wizard.fish",
}
# Path below /usr/lib/systemd → path below the tree's share/systemd.
UNITS = {
    "system/bai-wizard-drift.service": "bai-wizard-drift.service",
    "system/bai-wizard-drift.timer": "bai-wizard-drift.timer",
    "system-preset/90-bai-wizard.preset": "90-bai-wizard.preset",
}
COPYRIGHT = """bai-wizard {version}

Copyright (C) {year} the bai-wizard contributors
License: Apache-2.0

 On Debian systems, the text of the Apache License, version 2.0, is in
 /usr/share/common-licenses/Apache-2.0.

The package contains these components. The license text of CPython is in
/{home}/python/lib/python3*/LICENSE.txt, those of the others are in
/{home}/python/lib/python3*/site-packages/*.dist-info.

{components}
"""
# Tags of lintian that stay, and why.
OVERRIDES = """\
# The package contains its own interpreter and its dependencies, with the hashes in requirements.txt, so that it works
# on air-gapped nodes and with any Python of the release. Their files are those of the projects, byte for byte.
bai-wizard: custom-library-search-path
bai-wizard: embedded-library
bai-wizard: library-not-linked-against-libc
bai-wizard: python3-script-but-no-python3-dep
bai-wizard: shared-library-lacks-prerequisites
bai-wizard: unstripped-binary-or-object
bai-wizard: unusual-interpreter
# Bytecode is shipped, because otherwise root would write it at the first start, and dpkg would not remove it.
bai-wizard: package-installs-python-pycache-dir
"""


def build_deb(directory: Path, tree: Path, arch: str, *, maintainer: str = "", level: int = 6) -> Path:
    """Build `bai-wizard_VERSION_ARCH.deb` in the directory. `maintainer`: "Name <address>", else the committer."""
    architecture, version = ARCHITECTURES[arch], (tree / "VERSION").read_text().strip()
    target = directory / f"bai-wizard_{version}_{architecture}.deb"
    maintainer = maintainer or committer()
    with tempfile.TemporaryDirectory(dir=directory) as name:
        root = Path(name)
        shutil.copytree(tree, root / HOME, symlinks=True)
        (root / "usr/bin").mkdir()
        (root / "usr/bin/bai-wizard").symlink_to("../lib/bai-wizard/bin/bai-wizard")
        _write_share(root, version, maintainer)
        for name, source in UNITS.items():
            (root / "usr/lib/systemd" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / HOME / "share/systemd" / source, root / "usr/lib/systemd" / name)
        shutil.rmtree(root / HOME / "share")
        _write_control(root, CONTROL.format(version=version, architecture=architecture, maintainer=maintainer))
        _set_modes(root)
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "-Zxz", f"-z{level}", "--build", str(root), str(target)],
            check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            env={**os.environ, "SOURCE_DATE_EPOCH": str(build_time())},
        )  # fmt: skip
    return target


def committer() -> str:
    """Return who made the commit that is built, so that anybody who builds it gets the same package."""
    argv = ["git", "-C", str(CHECKOUT), "log", "-1", "--format=%cn <%ce>"]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


def _write_share(root: Path, version: str, maintainer: str) -> None:
    """Write completions, man page, copyright, changelog and the overrides of lintian."""
    share = root / "usr/share"
    for name, source in SHARED.items():
        (share / name).parent.mkdir(parents=True)
        shutil.copy(root / HOME / "share" / source, share / name)
    _write_gzip(share / "man/man1/bai-wizard.1.gz", (root / HOME / "share/man/man1/bai-wizard.1").read_text())
    documents = share / "doc/bai-wizard"
    _write_gzip(documents / "changelog.gz", debian_changelog(maintainer))
    listed = "\n".join(f" {each['name']} {each['version']}: {_license(each)}" for each in components(root / HOME))
    year = datetime.fromtimestamp(build_time(), UTC).year
    (documents / "copyright").write_text(COPYRIGHT.format(version=version, year=year, home=HOME, components=listed))
    (share / "lintian/overrides").mkdir(parents=True)
    (share / "lintian/overrides/bai-wizard").write_text(OVERRIDES)


def _license(component: dict[str, object]) -> str:
    match component.get("licenses"):
        case [{"expression": str(name)}] | [{"license": {"name": str(name)} | {"id": str(name)}}]:
            return name
    return "see its files"


def _write_gzip(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def debian_changelog(maintainer: str) -> str:
    """CHANGELOG.md in the form of deb-changelog(5)."""
    text = (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8")
    entries = []
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        heading, _, body = section.partition("\n")
        version, _, date = heading.partition(" - ")
        time = datetime.fromtimestamp(build_time(), UTC)
        if date != "unreleased":
            time = datetime.strptime(date, "%Y-%m-%d").replace(tzinfo=UTC)
        items = re.findall(r"^\* .*(?:\n  .*)*", body, re.MULTILINE)
        lines = "\n".join(
            textwrap.fill(" ".join(item.split()), 78, initial_indent="  ", subsequent_indent="    ") for item in items
        )
        end = f" -- {maintainer}  {format_datetime(time)}"
        entries.append(f"bai-wizard ({version}) unstable; urgency=medium\n\n{lines}\n\n{end}\n")
    return "\n".join(entries)


def _write_control(root: Path, control: str) -> None:
    size = sum(path.lstat().st_size for path in root.rglob("*")) // 1024
    directory = root / "DEBIAN"
    directory.mkdir()
    (directory / "control").write_text(control.replace("SIZE", str(size)))
    for name, script in SCRIPTS.items():
        (directory / name).write_text(f"#!/bin/sh\nset -e\n{script}")


def _set_modes(root: Path) -> None:
    """Programs are executable, modules and libraries are not."""
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            is_program = path.is_dir() or (path.parent.name in ("bin", "DEBIAN") and path.name != "control")
            path.chmod(0o755 if is_program else 0o644)
