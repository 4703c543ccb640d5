"""Build the release files: the self-contained archive of an architecture, the wheel, the .deb, SHA256SUMS.

    python -m tests.tools.build_archive -o DIR --python ARCHIVE [--wheels DIR] [--deb] [--wheel]

ARCHIVE is an `install_only` archive of python-build-standalone, or one with the same layout. The package and its
dependencies are in the interpreter's own site-packages, so that `python3 -I -m bai_wizard` finds them. For another
architecture than this machine's, `--compiler` names an interpreter of the same minor release that runs here.
"""

from __future__ import annotations

import argparse
import hashlib
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from bai_wizard import __version__
from bai_wizard.offline.collect import pack_wizard as pack_tree
from tests.cache import CHECKOUT
from tests.tools.build_deb import build_deb
from tests.tools.make_completions import write_all
from tests.tools.make_man import man_page
from tests.tools.pin_requirements import FILES

PACKAGING = CHECKOUT / "packaging"
# Platform tags of wheels that run on every supported distribution, by uname's name of the architecture.
PLATFORMS = {arch: [f"manylinux_2_{glibc}_{arch}" for glibc in (34, 28, 17)] for arch in ("x86_64", "aarch64")}


def make_tree(tree: Path, python: Path, arch: str, *, wheels: Path | None = None, compiler: str = "") -> None:
    """Create the content of /opt/bai-wizard/VERSION. `wheels`: unpacked dependencies, else pip installs them."""
    with tarfile.open(python) as archive:
        archive.extractall(tree, filter="tar")
    library = next((tree / "python/lib").glob("python3.*/os.py")).parent
    minor = library.name.removeprefix("python")
    site = library / "site-packages"
    if wheels is None:
        _fetch(site, minor, arch)
    else:
        shutil.copytree(wheels, site, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(CHECKOUT / "bai_wizard", site / "bai_wizard", ignore=shutil.ignore_patterns("__pycache__"))
    _add_metadata(site)
    (tree / "bin").mkdir()
    launcher = tree / "bin/bai-wizard"
    # The interpreter itself: `python3` is a link to it.
    launcher.write_text((PACKAGING / "bai-wizard").read_text().replace("bin/python3", f"bin/python{minor}"))
    launcher.chmod(0o755)
    shutil.copy(CHECKOUT / "LICENSE", tree)
    write_all(tree / "share")
    (tree / "share/man/man1").mkdir(parents=True)
    (tree / "share/man/man1/bai-wizard.1").write_text(man_page())
    (tree / "VERSION").write_text(f"{__version__}\n")
    (tree / "ARCHITECTURE").write_text(f"{arch}\n")
    _compile(library, compiler or str(tree / f"python/bin/python{minor}"))
    _only_files(tree)


def _only_files(tree: Path) -> None:
    """Remove links, which are not needed, and .pth files, which run at each start; install.sh refuses both."""
    for path in [*tree.rglob("*")]:
        if path.is_symlink() or path.suffix == ".pth":
            path.unlink()


def _fetch(site: Path, minor: str, arch: str) -> None:
    platforms = [word for tag in PLATFORMS[arch] for word in ("--platform", tag)]
    options = ["--target", str(site), "--python-version", minor, "--only-binary", ":all:", *platforms]
    pinned = ["--require-hashes", "--requirement", str(CHECKOUT / FILES[""])]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--implementation", "cp"]
    subprocess.run([*pip, *options, *pinned], check=True, stdin=subprocess.DEVNULL)


def _add_metadata(site: Path) -> None:
    """Write the metadata that importlib.metadata reads, as an installer would."""
    directory = site / f"bai_wizard-{__version__}.dist-info"
    directory.mkdir()
    (directory / "METADATA").write_text(f"Metadata-Version: 2.1\nName: bai-wizard\nVersion: {__version__}\n")


def _compile(library: Path, compiler: str) -> None:
    """Compile bytecode that is never checked against its source, so that file times do not matter."""
    mode = ["--invalidation-mode", "unchecked-hash", "-s", str(library), "-p", "/"]
    done = subprocess.run(
        [compiler, "-I", "-m", "compileall", "-q", "-j", "2", *mode, str(library)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    # Packages may contain files for other releases of Python that do not compile; the wizard's own files must.
    if list((library / "site-packages/bai_wizard").glob("__pycache__/cli.*.pyc")) == []:
        raise RuntimeError(f"the package does not compile: {done.stdout[-2000:]}{done.stderr[-2000:]}")


def pack(directory: Path, work: Path, arch: str) -> Path:
    """Build the archive bai-wizard-VERSION-ARCH.tar.gz from `work/tree`."""
    target = directory / f"bai-wizard-{__version__}-{arch}.tar.gz"
    pack_tree(work / "tree", PACKAGING / "install.sh", target)
    return target


def digest(file: Path) -> str:
    """Return the SHA-256 in hex."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_sums(directory: Path) -> None:
    """Write SHA256SUMS of all release files."""
    files = sorted(path for path in directory.iterdir() if path.suffix in (".gz", ".whl", ".deb"))
    (directory / "SHA256SUMS").write_text("".join(f"{digest(path)}  {path.name}\n" for path in files))


def build_wheel(directory: Path) -> None:
    """Build the wheel, for users with their own Python and pip."""
    from uv import find_uv_bin

    argv = [find_uv_bin(), "build", "--quiet", "--wheel", "--out-dir", str(directory), str(CHECKOUT)]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes the archive, the wheel and the .deb.")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--python", type=Path, required=True, help="an install_only archive for the architecture")
    parser.add_argument("--arch", default=platform.machine(), choices=PLATFORMS)
    parser.add_argument("--compiler", default="", help="an interpreter of the same minor release that runs here")
    parser.add_argument("--wheels", type=Path, help="a directory with the dependencies, unpacked for that Python")
    parser.add_argument("--deb", action="store_true")
    parser.add_argument("--wheel", action="store_true")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.output) as work:
        tree = Path(work) / "tree"
        make_tree(tree, options.python, options.arch, wheels=options.wheels, compiler=options.compiler)
        print(pack(options.output, Path(work), options.arch))
        if options.deb:
            print(build_deb(options.output, tree, options.arch))
    if options.wheel:
        build_wheel(options.output)
    write_sums(options.output)


if __name__ == "__main__":
    main()
