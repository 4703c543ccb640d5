"""The ssh key with which tests control their machines; generated once and cached."""

import subprocess
from pathlib import Path

from tests.cache import cache_directory, locked


def private_key() -> Path:
    """The file for ``ssh -i``."""
    path = cache_directory() / "machine-key"
    with locked("machine-key"):
        if not path.exists():
            argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bai-wizard tests", "-f", str(path)]
            subprocess.run(argv, stdin=subprocess.DEVNULL, check=True)
    return path


def public_key() -> str:
    """The line for ``authorized_keys``."""
    return private_key().with_suffix(".pub").read_text()
