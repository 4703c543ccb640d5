"""Run as a program of its own: touches a volume as a user's processes would, and tells what happened.

    volume_touch.py look PATH            looks at the directory
    volume_touch.py may PATH UID GID     asks whether these ids may write there, and writes nothing
    volume_touch.py write PATH UID GID   makes a file in it with these ids, renames it, removes it

Prints one line of JSON: what was found, or `errno` and `text` of the call that failed. It is a child because a
share whose server is gone lets every call hang; it becomes the user only after Python has started, because root's
interpreter may be unreadable for that user.
"""

from __future__ import annotations

import json
import os
import sys


def look(path: str) -> dict[str, object]:
    """Ids, mode, device numbers of the directory and its parent, and whether all it holds is nobody's."""
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
    """Takes the ids of a user's process, without any further group."""
    if os.geteuid() == 0:
        os.setgroups([gid])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)


def may(path: str, uid: int, gid: int) -> dict[str, object]:
    """Whether the volume would let these ids write: with NFS the server itself is asked."""
    become(uid, gid)
    return {"may": os.access(path, os.R_OK | os.W_OK | os.X_OK)}


def write(path: str, uid: int, gid: int) -> dict[str, object]:
    """Makes, renames and removes a file; tells whose it was on the volume."""
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


if __name__ == "__main__":
    try:
        if sys.argv[1] in ("may", "write"):
            act = may if sys.argv[1] == "may" else write
            answer = act(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
        else:
            answer = look(sys.argv[2])
    except OSError as error:
        answer = {"errno": error.errno, "text": error.strerror}
    print(json.dumps(answer))
