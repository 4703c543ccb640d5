"""Base trees: a minimal Debian created by debootstrap once per recipe and cached as a tar file."""

import shutil
import subprocess
from pathlib import Path

from tests.cache import cache_directory, digest, locked
from tests.node import host
from tests.node.suites import Suite

NODE_INIT = Path(__file__).with_name("node-init.sh")
NODE_INIT_IN_TREE = "usr/local/sbin/node-init"


def recipe(suite: Suite) -> str:
    """Return a value that changes if the recipe of the tree changes."""
    trusted = [path.read_bytes() for path in host.certificates()]
    settings = host.debian_mirror() + host.apt_settings() + NODE_INIT.read_text() + Path(__file__).read_text()
    return digest(suite.name, " ".join(suite.packages), settings, *trusted)


def base_tree(suite: Suite) -> Path:
    """Return the tar file of the tree; create it if it does not exist (about a minute)."""
    archive = cache_directory() / f"tree-{suite.name}-{recipe(suite)}.tar"
    with locked(f"tree-{suite.name}"):
        if not archive.exists():
            for old in cache_directory().glob(f"tree-{suite.name}-*"):
                old.unlink()
            _build(suite, archive)
    return archive


def _build(suite: Suite, archive: Path) -> None:
    root = cache_directory() / f"work-{suite.name}"
    shutil.rmtree(root, ignore_errors=True)
    include = f"--include={','.join(suite.packages)}"
    _run("debootstrap", "--variant=minbase", include, suite.name, str(root), host.debian_mirror())
    _customise(root)
    partial = archive.with_suffix(".partial")
    _run("tar", "--numeric-owner", "-C", str(root), "-cf", str(partial), ".")
    partial.rename(archive)
    shutil.rmtree(root)


def _customise(root: Path) -> None:
    """The first process, this machine's way to its packages, and no identity: a node gets its own at its start."""
    init = root / NODE_INIT_IN_TREE
    init.write_bytes(NODE_INIT.read_bytes())
    init.chmod(0o755)
    (root / "etc/machine-id").write_text("")
    (root / "etc/hostname").unlink(missing_ok=True)
    (root / "etc/apt/apt.conf.d/90inherited").write_text(host.apt_settings())
    for certificate in host.certificates():
        shutil.copy(certificate, root / "usr/local/share/ca-certificates" / certificate.name)
    _run("chroot", str(root), "update-ca-certificates")
    _run("chroot", str(root), "apt-get", "clean")


def _run(*argv: str) -> None:
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{argv[0]} ended with {done.returncode}: {(done.stdout + done.stderr)[-3000:]}")
