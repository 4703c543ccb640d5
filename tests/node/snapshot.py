"""A snapshot of a node's files, and the differences between two of them."""

from typing import Literal, NamedTuple

Kind = Literal["file", "directory", "link", "other"]


class Entry(NamedTuple):
    """One path: kind, permission bits, owner, and content (SHA-256 of a file, target of a link, else empty)."""

    kind: Kind
    mode: int
    uid: int
    gid: int
    content: str


Snapshot = dict[str, Entry]

DEFAULT_PATHS = ("/etc", "/home", "/opt", "/root", "/srv", "/usr/local", "/var/lib", "/var/spool", "/vfroot")

# Runs inside the node, with the node's Python. Arguments: paths, then "--", then excluded patterns.
SCRIPT = r"""
import fnmatch, hashlib, json, os, re, stat, sys
split = sys.argv.index("--")
paths, patterns = sys.argv[1:split], sys.argv[split + 1:]
left_out = re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns) or r"(?!)")
found = {}
def look(path):
    if left_out.match(path):
        return
    status = os.lstat(path)
    content, kind = "", "other"
    if stat.S_ISREG(status.st_mode):
        kind = "file"
        with open(path, "rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
    elif stat.S_ISLNK(status.st_mode):
        kind, content = "link", os.readlink(path)
    elif stat.S_ISDIR(status.st_mode):
        kind = "directory"
    found[path] = [kind, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, content]
    if kind == "directory":
        for name in sorted(os.listdir(path)):
            look(os.path.join(path, name))
for path in paths:
    if os.path.lexists(path):
        look(path)
json.dump(found, sys.stdout)
"""


def difference(before: Snapshot, after: Snapshot) -> list[str]:
    """Return one line per path that was added (+), removed (-) or changed (~), in order."""
    lines = []
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        if old is None and new is not None:
            lines.append(f"+ {path} {describe(new)}")
        elif new is None and old is not None:
            lines.append(f"- {path} {describe(old)}")
        elif old != new and old is not None and new is not None:
            lines.append(f"~ {path} {describe(old)} -> {describe(new)}")
    return lines


def assert_same(before: Snapshot, now: Snapshot) -> None:
    """Fail with the differences, one line per path."""
    lines = difference(before, now)
    assert not lines, "\n".join(["not as it was:", *lines])


def describe(entry: Entry) -> str:
    """Describe the entry briefly."""
    return f"{entry.kind} {entry.mode:04o} {entry.uid}:{entry.gid} {entry.content[:12]}".rstrip()
