"""Settings of this machine that a node inherits to reach packages: mirror, apt settings, certificates."""

import os
import platform
import subprocess
import sys
from pathlib import Path

LOCAL_CERTIFICATES = Path("/usr/local/share/ca-certificates")
INHERITED = ("acquire::http", "acquire::https", "acquire::check-", "acquire::retries", "acquire::forceipv")


class NoMirrorError(RuntimeError):
    """This machine's apt has no Debian archive from which trees can be built."""


def debian_mirror() -> str:
    """Return the address of the Debian archive that apt uses on this machine."""
    codename = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    output = _lines(
        "apt-get", "indextargets", "--no-release-info", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)",
        "Created-By: Packages",
    )  # fmt: skip
    for line in output:
        address, release, component = line.rsplit(" ", 2)
        if release == codename and component == "main":
            return address
    raise NoMirrorError(f"no archive with {codename}/main in this machine's apt sources")


def apt_settings() -> str:
    """Return this machine's proxy, certificate and validity settings as a file of ``/etc/apt/apt.conf.d``."""
    settings = [
        line for line in _lines("apt-config", "dump") if line.lower().startswith(INHERITED) and '""' not in line
    ]
    for scheme in ("http", "https"):
        proxy = os.environ.get(f"{scheme}_proxy") or os.environ.get(f"{scheme.upper()}_PROXY")
        if proxy and not any(line.lower().startswith(f"acquire::{scheme}::proxy ") for line in settings):
            settings.append(f'Acquire::{scheme}::Proxy "{proxy}";')
    return "".join(f"{line}\n" for line in settings)


def certificates() -> list[Path]:
    """Return certificates that this machine trusts in addition to its distribution's."""
    return sorted(LOCAL_CERTIFICATES.glob("*.crt"))


def pip_install(python: str, target: Path, requirements: list[str]) -> None:
    """Put wheels for CPython ``python`` (such as ``3.13``) into ``target`` with this machine's pip, else uv."""
    common = ["--quiet", "--target", str(target), "--python-version", python, "--only-binary", ":all:"]
    pip = [sys.executable, "-m", "pip"]
    if subprocess.run([*pip, "--version"], capture_output=True, check=False).returncode:
        argv = [sys.executable, "-m", "uv", "pip", "install", *common, *requirements]
    else:
        argv = [*pip, "install", "--no-compile", "--implementation", "cp", *common, *requirements]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr[-2000:]}")


def pip_download(python: str, target: Path, requirements: list[str]) -> None:
    """Download wheels for CPython ``python`` and this machine into ``target``."""
    argv = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(target)]
    argv += ["--implementation", "cp", "--python-version", python, "--only-binary", ":all:", *requirements]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr[-2000:]}")


def _lines(*argv: str) -> list[str]:
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()
