"""A proof: made of a plan without changes, kept on the node, and looked at before the next plan is made."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import bai_wizard
from bai_wizard.engine.proof.fingerprint import file_mark, fingerprint
from bai_wizard.engine.proof.reads import NotingMachine, Read, answer_of

if TYPE_CHECKING:
    from bai_wizard.core.machine import Machine

VERSION = 1
# Root's alone, 0600: it names files and holds fingerprints of what is in them.
PLACE = "/var/lib/bai-wizard/proofs"
# One for each command line; the oldest goes when there is one more.
MOST = 8


@dataclass(frozen=True)
class Proof:
    """What the command line `words` answered, and all that this answer rested on.

    `files` are the answers, the files of secrets, and the wizard's own code and data, with a mark that changes when
    they do. `said` is the text for standard output, redacted; `code` the exit code.
    """

    words: tuple[str, ...]
    directory: str
    files: dict[str, list[int]]
    reads: tuple[tuple[Read, str], ...]
    said: str
    code: int

    def stands(self, machine: Machine) -> bool:
        """True when nothing that the answer rested on has changed since. Reads until the first difference."""
        return all(file_mark(path) == mark for path, mark in self.files.items()) and all(
            answer_of(machine, read) == told for read, told in self.reads
        )


def prove(words: Iterable[str], noted: NotingMachine, files: Iterable[str], said: str, code: int) -> Proof:
    """The proof of what was just found. `files` are those that the answers came from."""
    marks = {path: file_mark(path) for path in (*files, *_own_files())}
    return Proof(tuple(words), os.getcwd(), marks, tuple(noted.noted.values()), said, code)


def keep(proof: Proof, place: str = PLACE) -> None:
    """Puts a proof in the place of the last one of the same command line; 0600."""
    from contextlib import suppress
    from pathlib import Path

    from bai_wizard.engine.run.durable import write_json

    value = {"version": VERSION, "words": proof.words, "directory": proof.directory, "files": proof.files,
             "reads": proof.reads, "said": proof.said, "code": proof.code}  # fmt: skip
    directory = Path(place)
    with suppress(OSError):  # a full disk, a read-only one: the next run makes its plan as if there had been none
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_json(directory / _name(proof.words), value)
        by_age = sorted(directory.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        for path in by_age[:-MOST]:
            path.unlink(missing_ok=True)


def kept(words: Iterable[str], place: str = PLACE) -> Proof | None:
    """The last proof of this command line given in this directory; None where there is none."""
    words = tuple(words)
    try:
        with open(os.path.join(place, _name(words)), encoding="utf-8") as file:
            value: dict[str, Any] = json.load(file)
        if (value["version"], tuple(value["words"]), value["directory"]) != (VERSION, words, os.getcwd()):
            return None
        reads = tuple(((method, args, named), told) for (method, args, named), told in value["reads"])
        return Proof(words, value["directory"], value["files"], reads, value["said"], value["code"])
    except (OSError, ValueError, KeyError, TypeError):
        # None is kept, or it is from another version: the plan is made as if there had never been one.
        return None


def _name(words: tuple[str, ...]) -> str:
    return f"{fingerprint((words, os.getcwd()))}.json"


def _own_files() -> Iterable[str]:
    """The code that this process has loaded, and the wizard's data."""
    for module in tuple(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if path:
            yield path
    data = os.path.join(os.path.dirname(bai_wizard.__file__), "data")
    yield from (os.path.join(data, name) for name in os.listdir(data))
