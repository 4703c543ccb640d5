"""A node prepared for the python page: a mirror with real interpreters, a catalog that lists them, and answers."""

from __future__ import annotations

import json

from tests.node import pbs_mirror
from tests.node.api import Node
from tests.node.pbs_mirror import MirroredBuild

MIRROR = "/srv/python-builds"
CATALOGUE = "/opt/bai-wizard/bai_wizard/data/python-catalogue.json"
TABLE = "/opt/bai-wizard/bai_wizard/data/versions.toml"
HEADLESS = ("--headless", "/root/answers.toml")
# Paths that a run of the python page can change.
TOUCHED = ("/home", "/etc", "/opt", "/root", "/usr/local", "/var/lib")
ANSWERS = """
version = 1
[node]
roles = ["management"]
backend_ai = "{release}"
[account]
username = "bai"
apply = false
[python]
version = "{version}"
mirror = "{mirror}"
venvs = [ {venvs} ]
"""
# Three, so that two are created in parallel: the first is created alone.
SERVICES = ("manager", "agent", "webserver")
VENVS = ", ".join(f'{{ service = "{service}" }}' for service in SERVICES)


def newest() -> MirroredBuild:
    """Return the newest interpreter that can be packed here."""
    return pbs_mirror.mirrored(pbs_mirror.version_of(pbs_mirror.prefixes()[-1]))


def older() -> MirroredBuild:
    """The one before it."""
    return pbs_mirror.mirrored(pbs_mirror.version_of(pbs_mirror.prefixes()[-2]))


def prepare(node: Node, *builds: MirroredBuild, **answers: str) -> None:
    """Create the account, the mirror, the catalog and the answers, by default with the first build's version."""
    node.run(["useradd", "--create-home", "--shell", "/bin/bash", "--uid", "1100", "bai"], check=True)
    for build in builds:
        node.write(f"{MIRROR}/{pbs_mirror.DATE}/{build.file.name}", build.file.read_bytes())
    node.write(CATALOGUE, pbs_mirror.catalogue(*builds))
    values = {"release": "", "version": builds[0].version, "mirror": f"file://{MIRROR}", "venvs": VENVS, **answers}
    node.write("/root/answers.toml", ANSWERS.format(**values), 0o600)


def as_bai(node: Node, *argv: str) -> str:
    """Return the output of a program that the account runs; it must succeed."""
    return node.run(["runuser", "-u", "bai", "--", *argv], check=True, timeout=120).out.strip()


LOOK = """
import json
from bai_wizard.core.page import Context
from bai_wizard.resources.local import LocalMachine
from bai_wizard.pages.python.checks import CHECKS
print(json.dumps({check.id: check.run(LocalMachine(), Context()).result for check in CHECKS}))
"""


def look(node: Node) -> dict[str, str]:
    """Return the results of the page's checks by id."""
    done = node.run(["python3", "-I", "-c", LOOK], check=True, timeout=120)
    results: dict[str, str] = json.loads(done.out)
    return results
