"""Run as a program of its own: tries an NFS export in a mount namespace that ends with this process.

    trial.py ADDRESS PATH OPTIONS VERSION…

Tries the versions in order until one can be mounted, read-only, and prints one line of JSON: for each version tried
`0` or the number of the error. Nothing of it is ever visible on the node: the mounts are private to this process,
over a tmpfs of its own. The kernel's client is spoken to directly, so the NFS programs need not be installed yet.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import sys

CLONE_NEWNS = 0x00020000
MS_RDONLY, MS_NOSUID, MS_NODEV = 1, 2, 4
MS_REC, MS_PRIVATE = 0x4000, 1 << 18
# The answers after which another minor version of NFS 4 has nothing new to say.
FINAL = (errno.EACCES, errno.ENOENT, errno.EPERM, errno.ENODEV)
PLACE = "/mnt"


def main(address: str, path: str, options: str, versions: list[str]) -> dict[str, int]:
    """The error number of each version tried; 0 for the one that works."""
    libc = ctypes.CDLL(None, use_errno=True)

    def call(code: int) -> None:
        if code != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def mount(source: str, fstype: str, flags: int, data: str) -> None:
        arguments = (source.encode(), PLACE.encode(), fstype.encode(), ctypes.c_ulong(flags), data.encode())
        call(libc.mount(*arguments))

    call(libc.unshare(CLONE_NEWNS))
    call(libc.mount(b"none", b"/", None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None))
    mount("none", "tmpfs", MS_NOSUID | MS_NODEV, "size=4k")
    source = f"[{address}]:{path}" if ":" in address else f"{address}:{path}"
    tried: dict[str, int] = {}
    for version in versions:
        if version != "3" and any(code in FINAL for code in tried.values()):
            continue
        # Soft here, and only here: nothing is written, and the trial has to end.
        data = f"addr={address},vers={version},soft,timeo=20,retrans=1"
        data += ",clientaddr=0.0.0.0" if version == "4.0" else ""
        data += f",mountaddr={address},mountproto=tcp,nolock,proto=tcp" if version == "3" else ""
        try:
            flags = MS_RDONLY | MS_NOSUID | MS_NODEV
            mount(source, "nfs" if version == "3" else "nfs4", flags, f"{data},{options}" if options else data)
        except OSError as error:
            tried[version] = error.errno or errno.EIO
            continue
        tried[version] = 0
        break
    return tried


if __name__ == "__main__":
    try:
        found = main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:])
    except OSError as problem:
        found = {"": problem.errno or errno.EIO}
    print(json.dumps(found))
