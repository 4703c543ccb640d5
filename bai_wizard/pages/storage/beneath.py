"""Run as a program of its own: lists what lies under a mount point, hidden by what is mounted there.

    beneath.py PATH

Prints one line of JSON: the names, or `errno`. The directory above is shown a second time, without what is mounted
below it, in a mount namespace that ends with this process; on the node itself nothing changes.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys

CLONE_NEWNS = 0x00020000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 1 << 18
PLACE = "/mnt"
MOST = 20


def main(path: str) -> list[str]:
    """The names beneath, twenty at most."""
    libc = ctypes.CDLL(None, use_errno=True)

    def call(code: int) -> None:
        if code != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    call(libc.unshare(CLONE_NEWNS))
    call(libc.mount(b"none", b"/", None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None))
    above, name = os.path.split(path)
    call(libc.mount(above.encode(), PLACE.encode(), None, ctypes.c_ulong(MS_BIND), None))
    return sorted(os.listdir(f"{PLACE}/{name}"))[:MOST]


if __name__ == "__main__":
    try:
        print(json.dumps(main(sys.argv[1].rstrip("/"))))
    except OSError as error:
        print(json.dumps({"errno": error.errno, "text": error.strerror}))
