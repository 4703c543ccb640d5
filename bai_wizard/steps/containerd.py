"""Where containerd keeps its content: with its image store the layers lie there, whatever Docker's data-root says."""

from __future__ import annotations

from bai_wizard.core.errors import CannotTell, NotYetKnown
from bai_wizard.core.view import NodeView

CONFIG = "/etc/containerd/config.toml"
ROOT = "/var/lib/containerd"
SNAPSHOTS = "io.containerd.snapshotter.v1.overlayfs/snapshots"


def content_root(view: NodeView) -> str:
    """`root` of containerd's configuration, else its own default."""
    try:
        text = view.text(CONFIG) or ""
    except (CannotTell, NotYetKnown):
        return ROOT
    if "root" not in text:
        return ROOT
    import tomllib

    try:
        root = tomllib.loads(text).get("root")
    except tomllib.TOMLDecodeError:
        return ROOT
    return root.rstrip("/") if isinstance(root, str) and root.startswith("/") else ROOT
