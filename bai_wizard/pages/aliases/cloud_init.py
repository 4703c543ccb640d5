"""Whether cloud-init makes /etc/hosts anew at every boot, and who told it to."""

from __future__ import annotations

import re

from bai_wizard.core.errors import CannotTell
from bai_wizard.core.facts import Absent, Fact, Known, Unknown
from bai_wizard.core.view import NodeView
from bai_wizard.pages.aliases.facts import CloudHosts

CONFIG = "/etc/cloud/cloud.cfg"
DROP_INS = "/etc/cloud/cloud.cfg.d"
DISABLED = "/etc/cloud/cloud-init.disabled"
# Late, so that files of the image and of installers (50-curtin-*, 99-installer.cfg) come before it.
OUR_DROP_IN = f"{DROP_INS}/99-zz-bai-wizard.cfg"
# Merged over the configuration files, the later over the earlier (cloud-init's boot order).
BOOT_DATA = ("/var/lib/cloud/instance/vendor-cloud-config.txt", "/var/lib/cloud/instance/cloud-config.txt")
# Named after the family of the distribution: Ubuntu uses it too.
TEMPLATE = "/etc/cloud/templates/hosts.debian.tmpl"

# A top-level key of a YAML mapping; the values that cloud-init takes are single words.
_KEY = re.compile(r"^manage_etc_hosts\s*:\s*[\"']?([A-Za-z]+)", re.MULTILINE)
_WORDS = {"true": "template", "yes": "template", "on": "template", "template": "template", "localhost": "localhost"}


def cloud_hosts(view: NodeView) -> Fact[CloudHosts]:
    """Absent where cloud-init leaves /etc/hosts alone, not counting what our own drop-in says."""
    try:
        if view.entry(CONFIG) is None or view.entry(DISABLED) is not None:
            return Absent()
        said = ""
        by = ""
        for path in (CONFIG, *_drop_ins(view), *BOOT_DATA):
            value = _said(view, path)
            if value is not None:
                said, by = value, path
        if said not in _WORDS:
            return Absent()
        return Known(CloudHosts(_WORDS[said], by, _overrules(by), _template(view)))
    except CannotTell as error:
        return Unknown(str(error))


def _drop_ins(view: NodeView) -> tuple[str, ...]:
    paths = [f"{DROP_INS}/{name}" for name in view.names(DROP_INS) if name.endswith(".cfg")]
    return tuple(path for path in sorted(paths) if path != OUR_DROP_IN)


def _overrules(path: str) -> bool:
    return path in BOOT_DATA or (path.startswith(DROP_INS) and path > OUR_DROP_IN)


def _said(view: NodeView, path: str) -> str | None:
    entry = view.entry(path)
    if entry is None or entry.content is None:
        return None
    found = _KEY.findall(entry.content.decode("utf-8", "replace"))
    return found[-1].lower() if found else None


def _template(view: NodeView) -> str:
    return TEMPLATE if view.entry(TEMPLATE) is not None else ""
