"""Install the programs that node and VM tests need with apt (./test --all, as root)."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests import needs

# Debian starts services of freshly installed packages unless this answers 101; the tests start their own dockerd.
NO_SERVICES = "#!/bin/sh\nexit 101\n"
POLICY = Path("/usr/sbin/policy-rc.d")


def install_programs() -> None:
    """Install missing programs. Without root or apt, do nothing: the tests then report what is missing."""
    packages = needs.packages()
    if not packages or os.geteuid() != 0 or shutil.which("apt-get") is None:
        return
    print(f"installing with apt: {' '.join(packages)}", flush=True)
    with _services_kept_down():
        _apt("update")
        _apt("install", "--yes", "--no-install-recommends", *packages)


class _services_kept_down:
    """While active, package installation starts no service. An existing policy is respected."""

    def __enter__(self) -> None:
        self.ours = not POLICY.exists()
        if self.ours:
            POLICY.write_text(NO_SERVICES)
            POLICY.chmod(0o755)

    def __exit__(self, *_error: object) -> None:
        if self.ours:
            POLICY.unlink()


def _apt(*words: str) -> None:
    """Run apt-get; on failure, show its output: the tests then report what is missing."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_SUSPEND": "1"}
    with tempfile.TemporaryFile("w+") as output:
        done = subprocess.run(
            ["apt-get", "--quiet", "--option", "DPkg::Lock::Timeout=300", *words],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if done.returncode:
            output.seek(0)
            print(output.read()[-4000:], flush=True)
