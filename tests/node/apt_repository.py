"""A signed apt repository of small packages, built with dpkg-deb, apt-ftparchive and gpg, and served by a thread."""

import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.cache import cache_directory, locked
from tests.node.api import Node

# Docker's packages as named in its repository, the package of Debian 13 whose files each of them gets, and
# its dependencies in Docker's repository.
DOCKER_CE: tuple[tuple[str, str, str], ...] = (
    ("docker-ce", "docker.io", "docker-ce-cli, containerd.io, iptables, libsystemd0, adduser"),
    ("docker-ce-cli", "docker-cli", "libc6"),
    ("containerd.io", "containerd", "runc"),
    ("docker-buildx-plugin", "docker-buildx", ""),
    ("docker-compose-plugin", "docker-compose", ""),
)
# File in which the Compose plugin records, while it is installed, what delays a shutdown.
INHIBITORS = "/run/inhibitors"
NOTING = f"#!/bin/sh\nsystemd-inhibit --list --no-legend >{INHIBITORS} 2>&1 || true\n"
CONFLICTS = {"docker-ce": "docker.io, docker", "docker-ce-cli": "docker-cli", "containerd.io": "containerd"}


@dataclass(frozen=True)
class Package:
    """A package with `files` and `scripts`, in addition to the content of the package file `like`."""

    name: str
    version: str
    depends: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    scripts: Mapping[str, str] = field(default_factory=dict)
    like: Path | None = None


def docker_ce(node: Node, *versions: str) -> tuple[Package, ...]:
    """Docker's packages, the engine in the given versions (`28.5.1`); `node` is a Debian 13 that downloads theirs."""
    result: dict[tuple[str, str], Package] = {}
    for version in versions or ("28.5.1",):
        for name, theirs, depends in DOCKER_CE:
            number = version if name.startswith("docker-ce") else {"containerd.io": "2.1.5"}.get(name, "0.29.1")
            full = f"{'5:' if name.startswith('docker-ce') else ''}{number}-1~debian.13~trixie"
            conflicts = {"Conflicts": CONFLICTS[name]} if name in CONFLICTS else {}
            scripts = {"postinst": NOTING} if name == "docker-compose-plugin" else {}
            result[name, full] = Package(
                name, full, depends, conflicts, scripts=scripts, like=debian_package(node, theirs)
            )
    return tuple(result.values())


def debian_package(node: Node, name: str) -> Path:
    """Return a package file of Debian 13, downloaded by such a node and cached."""
    kept = cache_directory() / f"package-{name}-trixie.deb"
    with locked(f"package-{name}"):
        if not kept.exists():
            node.run(
                ["sh", "-c", f"cd /tmp && apt-get -q download {name} && mv {name}_*.deb one.deb"],
                check=True,
                timeout=120,
            )
            partial = kept.with_suffix(".partial")
            partial.write_bytes(node.read("/tmp/one.deb"))
            partial.rename(kept)
    return kept


class AptRepository:
    """A repository below `directory`, signed with its own key."""

    def __init__(self, directory: Path, suite: str = "trixie", component: str = "stable") -> None:
        self.root = directory / "repository"
        self.suite, self.component = suite, component
        self._work = directory / "work"
        self._home = directory / "gnupg"
        for path in (self.root, self._work, self._home):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.key, self.fingerprint = make_key(self._home, "Test Release <release@example.test>")
        self.root.chmod(0o755)

    def publish(self, packages: Sequence[Package], *, valid_until: str = "", date: str = "") -> None:
        """Build the packages and the signed lists. `date` and `valid_until` replace those of the release."""
        pool = self.root / "pool" / self.component
        shutil.rmtree(pool, ignore_errors=True)
        pool.mkdir(parents=True)
        for package in packages:
            build_package(package, self._work, pool)
        lists = self.root / "dists" / self.suite / self.component / "binary-amd64"
        lists.mkdir(parents=True, exist_ok=True)
        content = self._archive("packages", f"pool/{self.component}")
        (lists / "Packages").write_text(content)
        self.sign(valid_until=valid_until, date=date)

    def sign(self, *, valid_until: str = "", date: str = "") -> None:
        """Write Release and InRelease again for the current lists."""
        release = self.root / "dists" / self.suite
        for name in ("Release", "InRelease", "Release.gpg"):
            (release / name).unlink(missing_ok=True)
        options = {"Origin": "Test", "Suite": self.suite, "Codename": self.suite, "Components": self.component,
                   "Architectures": "amd64"}  # fmt: skip
        flags = [
            flag for name, value in options.items() for flag in ("-o", f"APT::FTPArchive::Release::{name}={value}")
        ]
        text = self._archive(*flags, "release", f"dists/{self.suite}")
        if date:
            text = "".join(f"Date: {date}\n" if line.startswith("Date:") else line for line in text.splitlines(True))
        if valid_until:
            text = text.replace("MD5Sum:", f"Valid-Until: {valid_until}\nMD5Sum:", 1)
        (release / "Release").write_text(text)
        gpg(self._home, "--clearsign", "--output", str(release / "InRelease"), str(release / "Release"))

    def _archive(self, *words: str) -> str:
        done = subprocess.run(["apt-ftparchive", *words], cwd=self.root, capture_output=True, text=True, check=True)
        return done.stdout


def make_key(home: Path, who: str) -> tuple[str, str]:
    """Create a signing key in the key ring `home`; return its armored public part and its fingerprint."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    gpg(home, "--passphrase", "", "--quick-generate-key", who, "rsa2048", "sign", "2d")
    fingerprint = next(
        line.split(":")[9]
        for line in gpg(home, "--list-keys", "--with-colons").splitlines()
        if line.startswith("fpr")
    )
    return gpg(home, "--armor", "--export", fingerprint), fingerprint


def gpg(home: Path, *words: str) -> str:
    """Run gpg with its own key ring, without prompts.

    Use a short path: the agent's socket is in it, and a socket's path is limited to 108 bytes.
    """
    with TemporaryDirectory(prefix="gpg-") as directory:
        short = Path(directory, "home")
        short.symlink_to(home.absolute())
        argv = ["gpg", "--homedir", str(short), "--batch", "--yes", "--pinentry-mode", "loopback", *words]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        subprocess.run(["gpgconf", "--homedir", str(short), "--kill", "gpg-agent"], check=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def build_package(package: Package, work: Path, pool: Path) -> Path:
    """Build one `.deb`."""
    tree = work / package.name
    shutil.rmtree(tree, ignore_errors=True)
    control = tree / "DEBIAN"
    if package.like:
        subprocess.run(["dpkg-deb", "--raw-extract", str(package.like), str(tree)], check=True, capture_output=True)
        (control / "md5sums").unlink(missing_ok=True)
    else:
        control.mkdir(parents=True, mode=0o755)
    fields = {
        "Package": package.name,
        "Version": package.version,
        "Architecture": "amd64",
        "Maintainer": "Test <test@example.test>",
        "Description": "a package of a test",
        **({"Depends": package.depends} if package.depends else {}),
        **package.fields,
    }
    (control / "control").write_text("".join(f"{name}: {value}\n" for name, value in fields.items()))
    for name, text in package.scripts.items():
        (control / name).write_text(text)
        (control / name).chmod(0o755)
    for path, text in package.files.items():
        target = tree / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    target = pool / f"{package.name}_{package.version.replace(':', '%3a')}_amd64.deb"
    argv = ["dpkg-deb", "--build", "-Znone", "--root-owner-group", str(tree), str(target)]
    subprocess.run(argv, check=True, capture_output=True)
    return target


@contextmanager
def served(directory: Path) -> Iterator[int]:
    """Serve a directory over HTTP on this machine; return the port."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("0.0.0.0", 0), partial(Quiet, directory=str(directory)))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
