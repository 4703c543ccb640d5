"""The support bundle as a file: scanned for secrets once more, written for its owner alone, read back with care."""

from __future__ import annotations

import io
import json
import os
import tarfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bai_wizard.core.errors import PreflightError
from bai_wizard.core.finding import Finding
from bai_wizard.doctor.collect import BUNDLE_VERSION
from bai_wizard.doctor.mask import registered_in
from bai_wizard.doctor.secrets import find
from bai_wizard.doctor.text import WORDS

# What a bundle of ours never exceeds; a larger one is not ours.
MOST_FILES = 200
MOST_BYTES = 64 << 20


class BundleRefused(PreflightError):
    """Something in the bundle still looks like a secret: nothing was written."""


def scan(contents: Mapping[str, str]) -> None:
    """Raises BundleRefused naming files, lines and kinds, never the secret itself."""
    told = []
    for name, text in contents.items():
        told += [f"{name}, line {1 + text.count(chr(10), 0, each.start)}: {each.kind}" for each in find(text)]
        told += [f"{name}: a secret of the answers"] if registered_in(name + "\n" + text) else []
    if told:
        listed = "\n".join(f"  {line}" for line in told[:20])
        raise BundleRefused(f"no bundle was written, because something in it looks like a secret:\n{listed}")


def listing(contents: Mapping[str, str]) -> list[str]:
    """What is in it, and what was hidden in each file, to be looked at before it is written."""
    hidden = json.loads(contents.get("redactions.json", "{}"))
    lines = []
    for name, text in contents.items():
        counts = ", ".join(hidden.get(name, ()))
        lines.append(f"{len(text.encode()):>9}  {name}{f'   hidden: {counts}' if counts else ''}")
    return lines


def write_bundle(path: str, contents: Mapping[str, str]) -> None:
    """A new file of mode 0600. Raises BundleRefused, or PreflightError where it cannot be made."""
    scan(contents)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        for name, text in contents.items():
            data = text.encode()
            entry = tarfile.TarInfo(f"bai-wizard-bundle/{name}")
            entry.size, entry.mode, entry.mtime = len(data), 0o600, int(time.time())
            archive.addfile(entry, io.BytesIO(data))
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(file, "wb") as output:
            output.write(packed.getvalue())
            os.fsync(output.fileno())
    except OSError as error:
        raise PreflightError(f"--bundle {path}: {error.strerror}") from error


@dataclass(frozen=True)
class Bundle:
    """A bundle that was read back."""

    about: Mapping[str, Any]
    findings: tuple[Finding, ...]
    remedies: Mapping[str, tuple[str, ...]]
    contents: Mapping[str, str]


def read_bundle(path: str) -> Bundle:
    """Reads into memory only, never unpacks. Raises PreflightError on anything that is not a bundle of ours."""
    try:
        contents = _texts(Path(path))
        about = json.loads(contents["about.json"])
        raw = json.loads(contents["findings.json"])
        if about["version"] != BUNDLE_VERSION:
            raise PreflightError(
                f"{path}: a bundle of version {about['version']}, this wizard reads {BUNDLE_VERSION}"
            )
        findings = tuple(_finding(item) for item in raw)
        remedies = {item["id"]: tuple(step["describe"] for step in item["remedy"]) for item in raw}
    except OSError as error:
        raise PreflightError(f"{path}: {error.strerror or error}") from error
    except (tarfile.TarError, EOFError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise PreflightError(f"{path} is no bundle of this wizard") from error
    return Bundle(about, findings, remedies, contents)


def _texts(path: Path) -> dict[str, str]:
    contents: dict[str, str] = {}
    with tarfile.open(path, mode="r:gz") as archive:
        size = 0
        for entry in archive:
            size += entry.size
            if not entry.isfile() or len(contents) >= MOST_FILES or size > MOST_BYTES:
                raise ValueError(entry.name)
            file = archive.extractfile(entry)
            if file is not None:
                contents[entry.name.partition("/")[2]] = file.read().decode()
    return contents


def _finding(item: Mapping[str, Any]) -> Finding:
    """Through the form of the wire, without the remedy: a bundle names its steps, it does not carry them."""
    plain = {
        name: str(item.get(name, ""))
        for name in ("id", "title", "page", "cause", "guidance", "risk", "owner", "suppressed_by", "ignored")
    }
    evidence = [{key: str(value) for key, value in each.items()} for each in item["evidence"]]
    if item["result"] not in WORDS:
        raise ValueError(item["result"])
    return Finding.from_wire({**plain, "result": item["result"], "evidence": evidence, "remedy": []})
