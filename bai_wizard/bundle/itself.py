"""The wizard itself in a bundle: the archive that it was installed from, or one that is given."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from bai_wizard.core.errors import StepFailed

PLACE = "wizard"


def collect_itself(archive: str, directory: Path, say: Callable[[str], None]) -> str:
    """Brings the given archive; without one, packs the installed tree again. Why there is none, else empty."""
    place = directory / PLACE
    if archive:
        source = Path(archive)
        if not source.name.endswith(".tar.gz"):
            raise StepFailed(f"{archive} is no archive of the wizard: bai-wizard-VERSION-ARCH.tar.gz")
        target = place / source.name
        if not (target.exists() and target.stat().st_size == source.stat().st_size):
            say(f"copying {archive}")
            _others_away(place, target.name)
            shutil.copyfile(source, target.with_name(target.name + ".part"))
            target.with_name(target.name + ".part").rename(target)
        return ""
    tree = Path(sys.prefix).parent
    if not (tree / "VERSION").is_file() or not (tree / "install.sh").is_file():
        return (
            "the wizard itself: this one was not installed from its archive. Name the archive with"
            " --wizard bai-wizard-VERSION-ARCH.tar.gz, or install it on the nodes by other means"
        )
    say("packing the wizard")
    _pack(tree, place)
    return ""


def _pack(tree: Path, place: Path) -> None:
    """The same layout as the archive that is given out: install.sh, SHA256SUMS, tree."""
    import io
    import tarfile

    from bai_wizard.bundle.manifest import sha256_of

    arch, version = ((tree / name).read_text().strip() for name in ("ARCHITECTURE", "VERSION"))
    name = f"bai-wizard-{version}-{arch}"
    target = place / f"{name}.tar.gz"
    if target.exists():
        return
    _others_away(place, target.name)
    inside = [path for path in sorted(tree.iterdir()) if path.name != "install.sh"]
    files = [path for top in inside for path in (sorted(top.rglob("*")) if top.is_dir() else [top])]
    sums = "".join(
        f"{sha256_of(path)}  {path.relative_to(tree)}\n" for path in files if path.is_file() and not path.is_symlink()
    ).encode()
    partial = target.with_name(target.name + ".part")
    with tarfile.open(partial, "w:gz", compresslevel=6) as archive:
        archive.add(tree / "install.sh", f"{name}/install.sh")
        info = tarfile.TarInfo(f"{name}/SHA256SUMS")
        info.size = len(sums)
        archive.addfile(info, io.BytesIO(sums))
        for path in inside:
            archive.add(path, f"{name}/tree/{path.name}")
    partial.rename(target)


def _others_away(place: Path, name: str) -> None:
    place.mkdir(exist_ok=True)
    for old in place.iterdir():
        if old.name != name:
            old.unlink()
