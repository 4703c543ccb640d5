"""Standalone program: access a volume as a user's processes would, or mount something where only it is visible.

    volume_probes.py look PATH                             inspect the directory
    volume_probes.py may PATH UID GID                      check whether these IDs may write there, without writing
    volume_probes.py write PATH UID GID                    create a file in it with these IDs, rename it, remove it
    volume_probes.py hidden PATH                           names below a mount point that the mount hides
    volume_probes.py trial ADDRESS PATH OPTIONS VERSION…   `0` or the errno for each NFS version tried

Prints one line of JSON: the result, or `errno` and `text` of the call that failed. It is a child process because
every call to a share with an unreachable server hangs. It takes on the user's IDs only after Python has started,
because root's interpreter may be unreadable for that user. Private mounts end with it; the node is not changed.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable

CLONE_NEWNS = 0x00020000
MS_RDONLY, MS_NOSUID, MS_NODEV = 1, 2, 4
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 1 << 18
# Errors after which trying another minor version of NFS 4 is useless.
FINAL = (errno.EACCES, errno.ENOENT, errno.EPERM, errno.ENODEV)
LOCATION = "/mnt"
MAX_NAMES = 20


def look(path: str) -> dict[str, object]:
    """Return the directory's IDs, mode and free bytes, its and its parent's device, and its content's owners."""
    state = os.stat(path)
    room = os.statvfs(path)
    owners = set()
    with os.scandir(path) as entries:
        for _, entry in zip(range(50), entries, strict=False):
            owners.add(entry.stat(follow_symlinks=False).st_uid)
    return {
        "uid": state.st_uid,
        "gid": state.st_gid,
        "mode": state.st_mode & 0o7777,
        "device": state.st_dev,
        "parent": os.stat(os.path.dirname(path)).st_dev,
        "owners": sorted(owners),
        "free": room.f_bavail * room.f_frsize,
    }


def become(uid: int, gid: int) -> None:
    """Take on the IDs of a user's process, without supplementary groups."""
    if os.geteuid() == 0:
        os.setgroups([gid])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)


def may(path: str, uid: int, gid: int) -> dict[str, object]:
    """Return whether the volume would let these IDs write: with NFS, the server itself is asked."""
    become(uid, gid)
    return {"may": os.access(path, os.R_OK | os.W_OK | os.X_OK)}


def write(path: str, uid: int, gid: int) -> dict[str, object]:
    """Create, rename and remove a file; return its owner on the volume."""
    os.umask(0o077)
    become(uid, gid)
    first = f"{path}/.bai-wizard-{os.uname().nodename}-{os.getpid()}"
    second = f"{first}-renamed"
    made = first
    descriptor = os.open(first, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        os.write(descriptor, b"bai-wizard\n")
        os.fsync(descriptor)
        state = os.fstat(descriptor)
        os.rename(first, second)
        made = second
    finally:
        os.close(descriptor)
        os.unlink(made)
    return {"uid": state.st_uid, "gid": state.st_gid}


def _kernel(name: str, *arguments: object) -> None:
    """Make a system call by the C library. Raises OSError."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*(ctypes.c_ulong(each) if isinstance(each, int) else each for each in arguments)) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _enter_namespace() -> None:
    """Enter a mount namespace of our own, from which no mount spreads."""
    _kernel("unshare", CLONE_NEWNS)
    _kernel("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)


def _mount(source: str, fstype: str, flags: int, data: str = "") -> None:
    _kernel("mount", source.encode(), LOCATION.encode(), fstype.encode(), flags, data.encode())


def hidden(path: str) -> list[str]:
    """Return the names, at most twenty: the parent directory is bind-mounted without the mounts below it."""
    _enter_namespace()
    above, name = os.path.split(path)
    _mount(above, "none", MS_BIND)
    return sorted(os.listdir(f"{LOCATION}/{name}"))[:MAX_NAMES]


def trial(address: str, path: str, options: str, versions: list[str]) -> dict[str, int]:
    """Try the versions in order until one can be mounted, read-only, on a tmpfs of our own.

    The kernel client is called directly, so the NFS programs need not be installed yet.
    """
    _enter_namespace()
    _mount("none", "tmpfs", MS_NOSUID | MS_NODEV, "size=4k")
    source = f"[{address}]:{path}" if ":" in address else f"{address}:{path}"
    tried: dict[str, int] = {}
    for version in versions:
        if version != "3" and any(code in FINAL for code in tried.values()):
            continue
        # A soft mount, only here: nothing is written, and the trial has to terminate.
        data = f"addr={address},vers={version},soft,timeo=20,retrans=1"
        data += ",clientaddr=0.0.0.0" if version == "4.0" else ""
        data += f",mountaddr={address},mountproto=tcp,nolock,proto=tcp" if version == "3" else ""
        try:
            flags = MS_RDONLY | MS_NOSUID | MS_NODEV
            _mount(source, "nfs" if version == "3" else "nfs4", flags, f"{data},{options}" if options else data)
        except OSError as error:
            tried[version] = error.errno or errno.EIO
            continue
        tried[version] = 0
        break
    return tried


PROGRAMS: dict[str, Callable[..., object]] = {
    "look": look,
    "may": lambda path, uid, gid: may(path, int(uid), int(gid)),
    "write": lambda path, uid, gid: write(path, int(uid), int(gid)),
    "hidden": lambda path: hidden(path.rstrip("/")),
    "trial": lambda address, path, options, *versions: trial(address, path, options, list(versions)),
}

if __name__ == "__main__":
    try:
        answer = PROGRAMS[sys.argv[1]](*sys.argv[2:])
    except OSError as error:
        answer = {"errno": error.errno or errno.EIO, "text": error.strerror}
    print(json.dumps(answer))
