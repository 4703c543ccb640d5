"""Files saved for the user: the autosaved draft, answers, logs and reports."""

from __future__ import annotations

import json
import os
import re
import stat
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from msgspec import Meta, Struct, ValidationError, convert

from bai_wizard.core.errors import PreflightError, StateUnknown, WizardError
from bai_wizard.locale import tr
from bai_wizard.node.accounts import AccountFiles
from bai_wizard.node.run_as import Identity, identity_of_uid, invoker, run_as
from bai_wizard.node.user_files import check_requested_file, write_requested_file
from bai_wizard.pages import ORDER, TITLES, settings_of
from bai_wizard.ui.draft import Draft, tables_of
from bai_wizard.ui.form_fields import path_in_words

FORMAT = 1
# Largest draft that is read, in bytes; real ones take a few kilobytes.
LARGEST = 1 << 20
# The maximum number of drafts that are read, newest first.
MAX = 20
NAME = re.compile(r"draft-(?P<host>[A-Za-z0-9._-]{1,64})-(?P<pid>[0-9]{1,10})-(?P<start>[0-9]{1,20})\.json")


class Offer(NamedTuple):
    """A draft left by an earlier wizard. `saved` in seconds since the epoch; `pages` are those that were changed.

    `run`: the ID of the run that was to apply exactly this draft; empty if there was none.
    """

    name: str
    saved: float
    pages: tuple[str, ...]
    text: str
    run: str = ""


class SavedFile(Struct, frozen=True):
    """A file of the directory: its text, or why it is not trusted."""

    name: str
    text: str = ""
    reason: str = ""


def default_directory() -> str:
    """The drafts directory of the invoking user."""
    return user_directory("XDG_STATE_HOME", ".local/state")


def user_directory(variable: str, below_home: str) -> str:
    """A directory of the invoking user for this program, as the XDG base directory specification defines it."""
    given = os.environ.get(variable, "")
    if os.path.isabs(given):
        return os.path.join(given, "bai-wizard")
    caller = invoker()
    home = "" if os.geteuid() == 0 else os.environ.get("HOME", "")
    if not os.path.isabs(home):
        home = identity_of_uid(caller[0] if caller else os.geteuid(), AccountFiles()).home or "/"
    return os.path.join(home, below_home, "bai-wizard")


class Autosave:
    """The draft of this process, and those that others left. Reads and writes block."""

    def __init__(self, host: str, directory: str = "") -> None:
        self.directory = directory or default_directory()
        self._host = re.sub(r"[^A-Za-z0-9._-]", "_", host)[:64] or "_"
        self.name = f"draft-{self._host}-{os.getpid()}-{_start_of('self')}.json"
        caller = invoker()
        self._identity: Identity | None = identity_of_uid(caller[0], AccountFiles()) if caller else None

    def save(self, draft: str, pages: Iterable[str], run: str = "") -> None:
        """Write the result of `Draft.handed_over` atomically; `run` as in `Offer`. Raises PreflightError."""
        kept = {"format": FORMAT, "host": self._host, "saved": time.time(), "pages": sorted(pages), "run": run}
        data = json.dumps({**kept, "draft": json.loads(draft)}).encode()
        write_requested_file(os.path.join(self.directory, self.name), data, parents=True)

    def remove(self, name: str = "") -> None:
        """Remove a draft, this process's own by default. Raises PreflightError."""
        try:
            run_as(self._identity, _remove, self.directory, name or self.name)
        except (OSError, StateUnknown) as error:
            raise PreflightError(f"{os.path.join(self.directory, name or self.name)}: {error}") from error

    def offers(self) -> tuple[list[Offer], list[str]]:
        """The drafts that no running wizard uses, newest first, and notes about unusable files."""
        try:
            result: list[SavedFile] = run_as(
                self._identity, _read_all, self.directory, self._host, self.name, answer=list[SavedFile]
            )
        except WizardError as error:
            return [], [tr("Drafts in {path} cannot be read: {reason}", path=self.directory, reason=error)]
        except OSError as error:
            return [], [tr("Drafts in {path} cannot be read: {reason}", path=self.directory, reason=error.strerror)]
        offers, notes = [], []
        for each in result:
            try:
                if each.reason:
                    raise ValueError(each.reason)
                offers.append(_offer(each))
            except ValueError as error:
                path = os.path.join(self.directory, each.name)
                notes.append(tr("The draft {path} is ignored: {reason}", path=path, reason=error))
        return sorted(offers, key=lambda offer: -offer.saved), notes


class StoredDraft(Struct):
    """The content of a draft's file. `draft` is the result of `Draft.handed_over`."""

    format: int
    saved: Annotated[float, Meta(gt=0, lt=1e11)]
    pages: list[str]
    draft: Any
    run: str = ""


def _offer(result: SavedFile) -> Offer:
    """Parse a draft. Raises ValueError for anything that `Autosave.save` did not write."""
    try:
        stored = convert(json.loads(result.text), StoredDraft)
        text = json.dumps(stored.draft)
        if stored.format <= FORMAT:
            Draft.taken_over(text, "")
    except (ValueError, ValidationError, RecursionError) as error:
        raise ValueError(tr("it is damaged")) from error
    if stored.format > FORMAT:
        raise ValueError(tr("it was written by a newer bai-wizard"))
    return Offer(result.name, stored.saved, tuple(stored.pages), text, stored.run)


def description_of(offer: Offer) -> str:
    """A sentence with the date of a draft and the pages that it changes."""
    date = time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(offer.saved))
    pages = ", ".join(tr(TITLES[page]) for page in ORDER if page in offer.pages)
    return tr("Unsaved answers from {date}. Pages: {pages}", date=date, pages=pages or tr("none"))


# The following functions run in a child process with the permissions of the directory's owner.


def _read_all(directory: str, host: str, own: str) -> list[Any]:
    """The drafts of this host whose wizards have ended, newest first, as fields of `SavedFile`."""
    try:
        here = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return []
    try:
        names = [name for name in os.listdir(here) if _is_left(name, host) and name != own]
        dated = []
        for name in names:
            with suppress(OSError):
                dated.append((os.stat(name, dir_fd=here, follow_symlinks=False).st_mtime, name))
        return [_read(here, name) for _, name in sorted(dated, reverse=True)[:MAX]]
    finally:
        os.close(here)


def read_own_file(directory: str, name: str) -> SavedFile:
    """A file of the invoking user, read with that user's rights; without text or reason if it does not exist."""
    caller = invoker()
    identity = identity_of_uid(caller[0], AccountFiles()) if caller else None
    result: SavedFile = run_as(identity, _read_in, directory, name, answer=SavedFile)
    return result


def _read_in(directory: str, name: str) -> SavedFile:
    try:
        here = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return SavedFile(name)
    try:
        return _read(here, name) if name in os.listdir(here) else SavedFile(name)
    finally:
        os.close(here)


def _is_left(name: str, host: str) -> bool:
    match = NAME.fullmatch(name)
    return match is not None and match["host"] == host and _start_of(match["pid"]) != match["start"]


def _read(directory: int, name: str) -> SavedFile:
    try:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except OSError as error:
        return SavedFile(name, reason=error.strerror or str(error))
    try:
        state = os.fstat(file)
        if not stat.S_ISREG(state.st_mode):
            return SavedFile(name, reason="it is not a regular file")
        if state.st_uid != os.geteuid():
            return SavedFile(name, reason="it belongs to another user")
        if state.st_mode & 0o022:
            return SavedFile(name, reason="other users can change it")
        if state.st_size > LARGEST:
            return SavedFile(name, reason="it is too large")
        return SavedFile(name, os.read(file, LARGEST).decode("utf-8", "replace"))
    except OSError as error:
        return SavedFile(name, reason=error.strerror or str(error))
    finally:
        os.close(file)


def _remove(directory: str, name: str) -> None:
    with suppress(FileNotFoundError):
        here = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.unlink(name, dir_fd=here)
        finally:
            os.close(here)


def _start_of(pid: str) -> str:
    """When a process was started, in ticks since boot; empty if the process does not exist."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def suggested(name: str) -> str:
    """The suggested path of a file: a relative name is placed in the working directory, if there is one."""
    with suppress(OSError):
        return str(Path.cwd() / name)
    return name


def missing_answers(draft: Draft) -> list[str]:
    """Why the draft is incomplete: one problem per page, as human-readable text."""
    result = []
    for page in ORDER:
        problems = ((table, each) for table in tables_of(page) for each in draft.problems(table))
        if page not in draft.skipped and (first := next(problems, None)):
            table, problem = first
            where = path_in_words({"": settings_of(table)}, draft.value(table, ()), problem.path)
            result.append(": ".join(part for part in (tr(TITLES[page]), where, problem.reason) if part))
    return result


def path_of(text: str) -> Path:
    """The path that was typed. Raises PreflightError if no file can be written there."""
    if not text.strip():
        raise PreflightError(tr("a file name is required"))
    try:
        path = Path(text).expanduser()
        if path.is_dir():
            raise PreflightError(tr("this is a directory; add a file name"))
        if not path.parent.is_dir():
            raise PreflightError(tr("directory {path} does not exist", path=path.parent))
        if not os.access(path.parent, os.W_OK):
            raise PreflightError(tr("no write permission for {path}", path=path.parent))
    except RuntimeError:
        user = text.partition("/")[0]
        raise PreflightError(tr("{user} has no home directory", user=user)) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise PreflightError(tr("this file name cannot be used: {reason}", reason=reason)) from error
    check_requested_file(str(path))
    return path


def refuse_path(text: str) -> str:
    """Why nothing can be written there; empty if it can."""
    try:
        path_of(text)
    except PreflightError as error:
        return tr(str(error))
    return ""


def save_text(path: Path, text: str) -> str:
    """Write the file, readable by its owner only; an older one is kept as `NAME~`. Returns a message to show.

    Raises PreflightError.
    """
    older = path.with_name(path.name + "~")
    written = write_requested_file(str(path), text.encode(errors="backslashreplace"), keep_older=True)
    if written == "same":
        return tr("{path} is already up to date", path=path)
    kept = " " + tr("(previous version: {path})", path=older) if written == "older kept" else ""
    return tr("saved as {path}", path=path) + kept
