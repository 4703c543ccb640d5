"""Build the release files: the archive of an architecture, its SBOM, the .deb, the sdist, the wheel, SHA256SUMS.

    python -m tests.tools.build_archive -o DIR [--python ARCHIVE] [--deb] [--dist]

ARCHIVE is an `install_only` archive of python-build-standalone, or one with the same layout; by default, the newest
build of the catalogue is downloaded. The package and its dependencies are in the interpreter's own site-packages, so
that `python3 -I -m bai_wizard` finds them. For another architecture than this machine's, `--compiler` names an
interpreter of the same minor release that runs here. The same commit, interpreter and pinned requirements always give
the same files: all times are those of the commit, or SOURCE_DATE_EPOCH.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from packaging.utils import canonicalize_name

from bai_wizard import __version__
from bai_wizard.core.errors import StepFailed
from bai_wizard.node.download import Source, fetch
from bai_wizard.offline.collect import pack_wizard as pack_tree
from bai_wizard.pages.python.versions import choose_build
from tests.cache import CHECKOUT
from tests.tools.build_deb import build_deb
from tests.tools.build_dist import build_dist, build_time, write_share
from tests.tools.pin_requirements import FILES
from tests.tools.sbom import write_sbom

PACKAGING = CHECKOUT / "packaging"
# The interpreter that is downloaded by default.
PYTHON = "3.13"
# Platform tags of wheels that run on every supported distribution, by uname's name of the architecture.
PLATFORMS = {arch: [f"manylinux_2_{glibc}_{arch}" for glibc in (34, 28, 17)] for arch in ("x86_64", "aarch64")}
# What no command of the wizard needs, relative to python/: headers and libraries for linking, Tk, the tests of the
# standard library, what is for macOS only, what creates other environments; in site-packages, the build backend and
# programs other than uv. `bundle` needs pip.
LEFT_OUT = re.compile(
    r"(include|share|lib/pkgconfig|lib/(tcl|tk|itcl|thread|Tix)[^/]*|lib/libtcl.*|lib/libtk.*)(/|$)"
    r"|bin/(?!python3\.\d+$)"
    r"|lib/python3\.\d+/(test|idlelib|tkinter|turtledemo|turtle\.py|ensurepip|lib2to3|pydoc_data|config-3[^/]*)(/|$)"
    r"|lib/python3\.\d+/([\w-]+/)+tests?(/|$)"
    r"|lib/python3\.\d+/ctypes/macholib(/|$)"
    r"|lib/python3\.\d+/lib-dynload/(_tkinter|_test\w*|_ctypes_test|_xxtestfuzz|xx\w+)\.[^/]*$"
    r"|lib/python3\.\d+/site-packages/(uv_build[^/]*|bin/(?!uv$)[^/]+)(/|$)"
    # Records of an installer contain the paths and hashes of scripts that name this machine's interpreter.
    r"|lib/python3\.\d+/site-packages/[^/]+\.dist-info/(RECORD|INSTALLER|REQUESTED|direct_url\.json)$"
)


def make_tree(
    tree: Path, python: Path, arch: str, *, wheels: Path | None = None, compiler: str = ""
) -> dict[str, str]:
    """Create the content of /opt/bai-wizard/VERSION. `wheels`: unpacked dependencies, else pip installs them.

    Return the SHA-256 of each file that pip installed, by the package's name.
    """
    with tarfile.open(python) as archive:
        archive.extractall(tree, filter="tar")
    library = next((tree / "python/lib").glob("python3.*/os.py")).parent
    minor = library.name.removeprefix("python")
    site = library / "site-packages"
    hashes = {}
    if wheels is None:
        hashes = _fetch(site, minor, arch)
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
    write_share(tree / "share")
    (tree / "VERSION").write_text(f"{__version__}\n")
    (tree / "ARCHITECTURE").write_text(f"{arch}\n")
    _only_needed_files(tree, minor)
    _compile(library, compiler or str(tree / f"python/bin/python{minor}"))
    set_times(tree)
    return hashes


def _only_needed_files(tree: Path, minor: str) -> None:
    """Remove what no run needs, and links and .pth files, which run at each start; install.sh refuses both."""
    program = (tree / f"python/bin/python{minor}").read_bytes()
    for path in sorted(tree.rglob("*"), reverse=True):
        inside = str(path.relative_to(tree / "python")) if path.is_relative_to(tree / "python") else ""
        # A statically linked interpreter does not name its library.
        is_unused = path.name.startswith("libpython") and path.name.encode() not in program
        if path.is_symlink() or path.suffix == ".pth" or is_unused or LEFT_OUT.match(inside):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def set_times(tree: Path) -> None:
    """Give everything the time of the build."""
    for path in [tree, *tree.rglob("*")]:
        os.utime(path, (build_time(), build_time()))


def _fetch(site: Path, minor: str, arch: str) -> dict[str, str]:
    """Install the pinned dependencies. Return the SHA-256 of each installed file, by the package's name."""
    platforms = [word for tag in PLATFORMS[arch] for word in ("--platform", tag)]
    options = ["--target", str(site), "--python-version", minor, "--only-binary", ":all:", *platforms]
    pinned = ["--require-hashes", "--requirement", str(CHECKOUT / FILES[""])]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--implementation", "cp"]
    with tempfile.NamedTemporaryFile(prefix="bai-wizard-pip-", suffix=".json") as report:
        argv = [*pip, *options, *pinned, "--report", report.name]
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
        installed = json.load(report)["install"]
    return {
        canonicalize_name(item["metadata"]["name"]): item["download_info"]["archive_info"]["hashes"]["sha256"]
        for item in installed
    }


def downloaded_python(directory: Path, arch: str) -> Path:
    """Download the newest build of the catalogue and verify its hash."""
    build = choose_build(PYTHON, arch, flavour="install_only_stripped")
    target = directory / build.file
    print(f"downloading {build.address()}", file=sys.stderr)
    fetch(Source(build.address(), build.sha256), str(target))
    return target


def _add_metadata(site: Path) -> None:
    """Write the metadata that importlib.metadata reads, as an installer would."""
    directory = site / f"bai_wizard-{__version__}.dist-info"
    directory.mkdir()
    (directory / "METADATA").write_text(
        f"Metadata-Version: 2.4\nName: bai-wizard\nVersion: {__version__}\nLicense-Expression: Apache-2.0\n"
    )


def _compile(library: Path, compiler: str) -> None:
    """Compile bytecode that is never checked against its source, so that file times do not matter.

    `-B`: otherwise the compiler's own imports write bytecode that contains times and paths of this machine.
    """
    mode = ["--invalidation-mode", "unchecked-hash", "-s", str(library), "-p", "/"]
    done = subprocess.run(
        [compiler, "-I", "-B", "-m", "compileall", "-q", "-f", *mode, str(library)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
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
    files = sorted(path for path in directory.iterdir() if path.suffix in (".gz", ".whl", ".deb", ".json"))
    (directory / "SHA256SUMS").write_text("".join(f"{digest(path)}  {path.name}\n" for path in files))


def main() -> None:
    parser = argparse.ArgumentParser(description="Builds the files of a release.")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--python", type=Path, help="an install_only archive (default: download)")
    parser.add_argument("--arch", default=platform.machine(), choices=PLATFORMS)
    parser.add_argument("--compiler", default="", help="an interpreter of the same minor release that runs here")
    parser.add_argument("--deb", action="store_true")
    parser.add_argument("--dist", action="store_true", help="sdist and wheel")
    parser.add_argument("--url", default="", help="the project's page, for links in the sdist and the wheel")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.output) as work:
        try:
            python = options.python or downloaded_python(Path(work), options.arch)
        except StepFailed as failure:
            sys.exit(f"build_archive: {failure}")
        tree = Path(work) / "tree"
        hashes = make_tree(tree, python, options.arch, compiler=options.compiler)
        archive = pack(options.output, Path(work), options.arch)
        print(archive)
        print(write_sbom(archive, tree, python, hashes))
        if options.deb:
            print(build_deb(options.output, tree, options.arch))
    if options.dist:
        build_dist(options.output, options.url.rstrip("/"))
    write_sums(options.output)


if __name__ == "__main__":
    main()
