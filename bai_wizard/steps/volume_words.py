"""Why an account cannot write to a volume, in words that its administrator can act on."""

from __future__ import annotations

from collections.abc import Mapping

# What root's squashed files and unmapped names belong to.
NOBODY = (65534, 4294967294)


def cannot_write(path: str, who: str, uid: int, gid: int, looked: Mapping[str, object], text: str) -> str:
    """`looked` is what volume_touch saw of the directory; `text` is the error of the call."""
    owner, mode = looked.get("uid"), looked.get("mode")
    whose = f"{owner}:{looked.get('gid')}, mode {mode:04o}" if isinstance(mode, int) else "unknown"
    told = f"{who} ({uid}:{gid}) cannot write to {path}: {text.lower()}; the directory belongs to {whose}. "
    if "read-only" in text.lower():
        return told + "The export or the mount is read-only; give the volume the option ro if that is meant"
    if owner in NOBODY:
        return told + (
            "All users are nobody there: with NFSv4 make Domain in /etc/idmapd.conf the same on both sides, or use "
            "numeric ids (the server's nfs4_disable_idmapping)"
        )
    return told + (
        f"Have the storage's administrator run «chown {uid}:{gid}» on the exported directory: root of this node "
        "cannot, while the export squashes root, and it should not"
    )
