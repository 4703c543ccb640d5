"""What lies in an image archive, read without unpacking it."""

from __future__ import annotations

import json
from typing import Any

from bai_wizard.core.errors import CannotTell
from bai_wizard.core.facts import Fact, Known, Unknown
from bai_wizard.core.machine import Machine
from bai_wizard.pages.images.facts import Archive

# A plain archive is skipped through by seeking; a compressed one is unpacked to where the wanted file lies, often
# at its end: so many bytes of it a second by one slow core, and a minute in any case.
DEADLINE = 60.0
SLOWEST = 10_000_000


def archive_of(machine: Machine, path: str, sha256: str) -> Fact[Archive]:
    """The images of an archive made by `docker save`."""
    try:
        size = _size(machine, path)
        deadline = DEADLINE + size / SLOWEST
        manifest = json.loads(_member(machine, path, "manifest.json", deadline))
        images = [_image(machine, path, entry, deadline) for entry in manifest]
    except CannotTell as error:
        return Unknown(str(error))
    except (ValueError, TypeError, KeyError, AttributeError):
        return Unknown(f"{path} is no archive of container images (docker save makes them)")
    named = [(name, id, arch) for names, id, arch in images for name in names]
    if not named:
        return Unknown(f"{path} holds an image without a name: save it by name (docker save NAME:TAG)")
    references, ids, architectures = (tuple(column) for column in zip(*named, strict=True))
    return Known(Archive(path, sha256, size, references, ids, architectures))


def _image(machine: Machine, path: str, entry: dict[str, Any], deadline: float) -> tuple[tuple[str, ...], str, str]:
    """Names, id and architecture. The configuration's file is named by its sha256, which is the image's id."""
    config = str(entry["Config"])
    id = "sha256:" + config.rpartition("/")[2].removesuffix(".json")
    architecture = str(json.loads(_member(machine, path, config, deadline)).get("architecture", ""))
    return tuple(entry.get("RepoTags") or ()), id, architecture


def _member(machine: Machine, path: str, name: str, deadline: float) -> str:
    argv = ("tar", "--extract", "--occurrence=1", "--to-stdout", "--file", path, "--", name)
    done = machine.look(argv, deadline=deadline)
    if done.code != 0:
        raise CannotTell(f"{path}: {' '.join(done.err.split())[:200]}")
    return done.out


def _size(machine: Machine, path: str) -> int:
    done = machine.look(("stat", "--dereference", "--format", "%s", "--", path))
    if done.code != 0:
        raise CannotTell(f"{path}: {' '.join(done.err.split())[:200] or 'it is not there'}")
    return int(done.out)
