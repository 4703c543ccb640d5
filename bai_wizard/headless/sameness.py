"""What the manual wants to be the same on every node, as one node has it: a part of its report, read by `compare`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bai_wizard.compose import Wish
from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.facts import Known, Unknown
from bai_wizard.core.machine import Machine
from bai_wizard.pages import load, settings_of

# A word in the place of a value that could not be read, or of a thing that is wanted and not there.
CANNOT_TELL = "cannot tell"
MISSING = "not there"


def sameness(machine: Machine, wish: Wish | None) -> dict[str, str]:
    """By label, in the order of importance. What this node neither has nor is asked to have is left out."""
    around = wish.context if wish else Context(host=machine.host)
    found: dict[str, str] = {}
    if around.backend_ai:
        found["Backend.AI release"] = around.backend_ai
    for part in (_account, _volumes, _engine, _driver, _python):
        try:
            found.update(part(machine, wish, around))
        except CannotTell as error:
            found[part.__name__.strip("_")] = f"{CANNOT_TELL}: {error}"
    return found


def _account(machine: Machine, wish: Wish | None, around: Context) -> Iterator[tuple[str, str]]:
    account = machine.account(around.account)
    if account is not None:
        yield "operation account", account.name
        yield "operation account: uid", str(account.uid)
        yield "operation account: gid", str(account.gid)
    elif wish and "account" in wish.pages:
        yield "operation account", MISSING


def _volumes(machine: Machine, wish: Wish | None, around: Context) -> Iterator[tuple[str, str]]:
    """The names, and path and source of every volume of the answers. A local one has no source to share."""
    if wish is None or "storage" not in wish.settings:
        return
    volumes = _facts("storage", machine, wish, around).volumes
    if volumes:
        # One that is called otherwise, or is missing, on a node has no label there that could differ.
        yield "volume names", ", ".join(sorted(volume.name for volume in volumes))
    for volume in volumes:
        yield f"volume {volume.name}: path", volume.path
        if volume.type == "local":
            continue
        mount = volume.mount
        source = mount.value.source if isinstance(mount, Known) else MISSING
        yield (
            f"volume {volume.name}: source",
            f"{CANNOT_TELL}: {mount.reason}" if isinstance(mount, Unknown) else source,
        )


def _engine(machine: Machine, wish: Wish | None, around: Context) -> Iterator[tuple[str, str]]:
    engine = _facts("docker", machine, wish, around).engine
    if isinstance(engine, Known):
        yield "container engine", f"{engine.value.product} {engine.value.version}"
        yield "container engine: storage driver", engine.value.driver
    elif isinstance(engine, Unknown):
        yield "container engine", f"{CANNOT_TELL}: {engine.reason}"
    elif wish and "docker" in wish.pages:
        yield "container engine", MISSING


def _driver(machine: Machine, wish: Wish | None, around: Context) -> Iterator[tuple[str, str]]:
    """Nodes without NVIDIA's cards have no driver to compare."""
    nvidia = _facts("accelerators", machine, wish, around).nvidia
    if nvidia is None:
        return
    if isinstance(nvidia.loaded, Known):
        yield "NVIDIA driver", nvidia.loaded.value
    elif isinstance(nvidia.loaded, Unknown):
        yield "NVIDIA driver", f"{CANNOT_TELL}: {nvidia.loaded.reason}"
    else:
        yield "NVIDIA driver", MISSING


def _python(machine: Machine, wish: Wish | None, around: Context) -> Iterator[tuple[str, str]]:
    """The interpreters in the account's directory by minor release, and each service's environment."""
    facts = _facts("python", machine, wish, around)
    if isinstance(facts.standalone, Known):
        for version in facts.standalone.value:
            yield f"Python {'.'.join(version.split('.')[:2])}", version
    elif isinstance(facts.standalone, Unknown):
        yield "Python", f"{CANNOT_TELL}: {facts.standalone.reason}"
    for name, venv in facts.venvs:
        if isinstance(venv, Known):
            yield f"Python of {name}", venv.value.version


def _facts(page: str, machine: Machine, wish: Wish | None, around: Context) -> Any:
    """What that page's probe finds. Raises CannotTell."""
    found = load(page)
    table = found.table or page
    wanted = wish.settings.get(table) if wish else None
    return found.probe(machine, wanted if wanted is not None else settings_of(table)(), around)
