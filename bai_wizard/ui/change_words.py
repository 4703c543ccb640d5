"""What a change does to what, in a few words: `install 3 packages`, `create account bai`, `4096 → 65536`."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from bai_wizard.core.operation import Change
from bai_wizard.core.state import Key
from bai_wizard.locale import N_, ntr, tr

# Kinds of objects, the most informative first: it names a change of several objects.
TELLING = ("package", "image", "tree", "distribution", "user", "", "file", "download", "group", "package-lists")
# One change by the kind of its object and its verb.
ONE = {
    ("distribution", "create"): N_("install {name}"),
    ("distribution", "remove"): N_("remove {name}"),
    ("download", "create"): N_("download {name}"),
    ("file", "create"): N_("create {name}"),
    ("file", "modify"): N_("change {name}"),
    ("file", "remove"): N_("remove {name}"),
    ("group", "create"): N_("create group {name}"),
    ("group", "modify"): N_("change group {name}"),
    ("group", "remove"): N_("remove group {name}"),
    ("image", "create"): N_("pull {name}"),
    ("image", "remove"): N_("remove image {name}"),
    ("immutable", "create"): N_("block writes to {name}"),
    ("immutable", "remove"): N_("allow writes to {name}"),
    ("mount", "create"): N_("mount {name}"),
    ("mount", "modify"): N_("remount {name}"),
    ("mount", "remove"): N_("unmount {name}"),
    ("package", "create"): N_("install {name}"),
    ("package", "modify"): N_("change {name}"),
    ("package", "remove"): N_("remove {name}"),
    ("package-lists", "run"): N_("refresh package lists"),
    ("sysctl", "modify"): N_("set {name}"),
    ("tree", "create"): N_("create {name}"),
    ("tree", "modify"): N_("change {name}"),
    ("tree", "remove"): N_("remove {name}"),
    ("user", "create"): N_("create account {name}"),
    ("user", "modify"): N_("change account {name}"),
    ("user", "remove"): N_("remove account {name}"),
}
# Changes whose attributes say what is done.
BY_ATTRIBUTES = {
    ("password", "locked"): N_("lock the password of {name}"),
    ("password", "set"): N_("set the password of {name}"),
    ("unit", "disabled"): N_("disable {name}"),
    ("unit", "disabled and stopped"): N_("disable and stop {name}"),
    ("unit", "enabled"): N_("enable {name}"),
    ("unit", "enabled and started"): N_("enable and start {name}"),
    ("unit", "started"): N_("start {name}"),
    ("unit", "stopped"): N_("stop {name}"),
    ("package", "held"): N_("hold {name}"),
    ("package", "no longer held"): N_("release the hold of {name}"),
}


def telling(kind: str) -> int:
    """The rank of a kind of object: the lower, the more it tells."""
    return TELLING.index(kind if kind in TELLING else "")


def change_words(changes: Sequence[Change]) -> str:
    """Several changes in a few words; empty without changes."""
    if not changes:
        return ""
    groups: dict[tuple[str, str], list[Change]] = {}
    for change in changes:
        groups.setdefault((_key_of(change).kind, change.verb), []).append(change)
    named = min(groups, key=lambda group: telling(group[0]))
    # A directory is made for what is below it.
    names = [_key_of(change).name for change in groups[named]]
    mine = [
        change
        for change in groups[named]
        if not any(
            name.startswith(f"{_key_of(change).name}/") for name in names if _key_of(change).name.startswith("/")
        )
    ]
    if len(mine) == 1 or named[0] == "tree":
        return ", ".join(map(one_change, mine[:3]))
    return _several(*named, len(mine))


def _several(kind: str, verb: str, count: int) -> str:
    match kind, verb:
        case "package", "create":
            return ntr("install {count} package", "install {count} packages", count)
        case "package", "remove":
            return ntr("remove {count} package", "remove {count} packages", count)
        case "image", "create":
            return ntr("pull {count} image", "pull {count} images", count)
        case "file", "create":
            return ntr("create {count} file", "create {count} files", count)
        case "file", "modify":
            return ntr("change {count} file", "change {count} files", count)
        case "file", "remove":
            return ntr("remove {count} file", "remove {count} files", count)
    if kind == "sysctl":
        return ntr("set {count} kernel parameter", "set {count} kernel parameters", count)
    return ntr("{count} change", "{count} changes", count)


def _key_of(change: Change) -> Key:
    return change.key or Key("", change.subject)


def one_change(change: Change) -> str:
    """What one change does to what."""
    kind, name = _key_of(change)
    if change.before and change.after and change.is_short():
        return f"{change.before} → {change.after}"
    if kind == "sysctl" and change.after:
        return tr("set to {value}", value=change.after)
    about = change.after or change.attributes
    if kind == "tree" and change.verb == "create" and name.endswith("/.venv"):
        return tr("create environment {name}", name=name.split("/")[-2])
    if kind == "tree" and change.verb == "create" and about.startswith("Python "):
        return tr("install {name}", name=about.partition(" (")[0])
    if kind == "image" and change.attributes.startswith("another tag of "):
        return tr("tag image {name}", name=name)
    words = BY_ATTRIBUTES.get((kind, change.attributes)) or ONE.get((kind, change.verb))
    if words is None:
        return tr(change.subject)
    return tr(words, name=_name(change, kind, name))


def _name(change: Change, kind: str, name: str) -> str:
    """The object as a reader knows it."""
    if kind == "image":
        return change.attributes or change.after or name
    if kind == "distribution":
        return name.rpartition(":")[2]
    if kind in ("file", "tree") and change.subject.endswith("/"):
        return f"{name.rstrip('/')}/"
    if kind in ("file", "tree", "download"):
        return posixpath.basename(name) or name
    return name
