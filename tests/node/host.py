"""What a node inherits from this machine to reach packages: mirror, apt settings, certificates."""

import os
import platform
import subprocess
import sys
from pathlib import Path

LOCAL_CERTIFICATES = Path("/usr/local/share/ca-certificates")
INHERITED = ("acquire::http", "acquire::https", "acquire::check-", "acquire::retries", "acquire::forceipv")


class NoMirrorError(RuntimeError):
    """This machine's apt does not know a Debian archive that trees could be made from."""


def debian_mirror() -> str:
    """The address of the Debian archive that this machine's own apt uses for its release."""
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
    """This machine's proxy, certificate and validity settings as a file for a node's ``/etc/apt/apt.conf.d``."""
    settings = [
        line for line in _lines("apt-config", "dump") if line.lower().startswith(INHERITED) and '""' not in line
    ]
    for scheme in ("http", "https"):
        proxy = os.environ.get(f"{scheme}_proxy") or os.environ.get(f"{scheme.upper()}_PROXY")
        if proxy and not any(line.lower().startswith(f"acquire::{scheme}::proxy ") for line in settings):
            settings.append(f'Acquire::{scheme}::Proxy "{proxy}";')
    return "".join(f"{line}\n" for line in settings)


def certificates() -> list[Path]:
    """Certificates that this machine trusts beyond its distribution's own."""
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


def _lines(*argv: str) -> list[str]:
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()
