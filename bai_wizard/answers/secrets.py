"""From where a secret comes to the secret itself. Its text is never quoted, logged or kept in the settings."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from bai_wizard.answers.model import Answers, dotted
from bai_wizard.answers.positions import Path
from bai_wizard.core.errors import AnswersError, Problem
from bai_wizard.core.secret import SHORTEST_REDACTED, Secret
from bai_wizard.pages.fields import EnvSecret, FileSecret, PromptSecret

if TYPE_CHECKING:
    from bai_wizard.pages.account.settings import AccountSettings
    from bai_wizard.pages.images.settings import ImagesSettings

Source = PromptSecret | EnvSecret | FileSecret
# Asks a person: gets the dotted key, returns what was typed, or None when nobody wanted to.
Ask = Callable[[str], str | None]

FILE_LIMIT = 4096
# libcrypt takes no longer passphrase (CRYPT_MAX_PASSPHRASE_SIZE, crypt.h), the terminating NUL included.
LONGEST = 511


class _Wrong(Exception):
    """Why a source gives no secret; never holds any of its text."""


def sources(answers: Answers) -> Iterator[tuple[Path, Source]]:
    """Every secret that the applied tables ask for, by its path in the answers."""
    if "account" in answers.applied:
        account: AccountSettings = answers.tables["account"]  # type: ignore[assignment]
        if account.password is not None:
            yield ("account", "password"), account.password
    if "images" in answers.applied:
        images: ImagesSettings = answers.tables["images"]  # type: ignore[assignment]
        for place, registry in enumerate(images.registries):
            if registry.password is not None:
                yield ("images", "registries", place, "password"), registry.password


def resolve_all(answers: Answers, ask: Ask | None = None) -> dict[str, Secret]:
    """Dotted key → secret, for every secret of the applied tables.

    Without `ask` nobody is there to be asked. Raises AnswersError with the problems of all secrets.
    """
    resolved: dict[str, Secret] = {}
    problems: list[Problem] = []
    for path, source in sources(answers):
        try:
            resolved[dotted(path)] = _resolve(dotted(path), source, ask)
        except _Wrong as error:
            problems.append(answers.problem(path, str(error)))
    if problems:
        raise AnswersError(problems)
    return resolved


def resolve(key: str, source: Source, ask: Ask | None = None) -> Secret:
    """One secret; `key` names it to people. Raises AnswersError with the reason."""
    try:
        return _resolve(key, source, ask)
    except _Wrong as error:
        raise AnswersError([Problem(key, 0, 0, "", str(error))]) from None


def _resolve(key: str, source: Source, ask: Ask | None) -> Secret:
    if isinstance(source, EnvSecret):
        text = os.environ.get(source.env)
        if text is None:
            raise _Wrong(f"the environment variable {source.env} is not set; note that sudo drops most of them")
        return _checked(text, f"the environment variable {source.env}")
    if isinstance(source, FileSecret):
        return _checked(_first_line(source.file), f"the first line of {source.file}")
    typed = ask(key) if ask is not None else None
    if ask is None:
        raise _Wrong('nobody is there to be asked in a headless run; use { env = "…" }, { file = "…" } or a hash')
    if typed is None:
        raise _Wrong("was not given")
    return _checked(typed, "what was typed")


def _checked(text: str, what: str) -> Secret:
    if not text:
        raise _Wrong(f"{what} is empty")
    if len(text) < SHORTEST_REDACTED:
        raise _Wrong(f"{what} is too short for a password; {SHORTEST_REDACTED} characters are the least")
    if len(text.encode(errors="surrogateescape")) > LONGEST:
        raise _Wrong(f"{what} is too long for a password; {LONGEST} bytes are the most")
    if any(letter < " " or letter == "\x7f" or "\ud800" <= letter <= "\udfff" for letter in text):
        raise _Wrong(f"{what} contains control characters or is not UTF-8")
    return Secret(text)


def _first_line(path: str) -> str:
    """The first line of a regular file of the invoker's or root's; links are not followed."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        raise _Wrong(f"{path} cannot be read: {_why(error)}") from None
    try:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):
            raise _Wrong(f"{path} is no regular file")
        if about.st_uid not in _trusted_owners():
            raise _Wrong(f"{path} belongs neither to you nor to root")
        if about.st_mode & stat.S_IWOTH:
            raise _Wrong(f"{path} can be written by everybody; chmod 600 it")
        if about.st_size > FILE_LIMIT:
            raise _Wrong(f"{path} is larger than {FILE_LIMIT // 1024} KiB, which no password is")
        data = os.read(handle, FILE_LIMIT + 1)
    except OSError as error:
        raise _Wrong(f"{path} cannot be read: {_why(error)}") from None
    finally:
        os.close(handle)
    return data.partition(b"\n")[0].removesuffix(b"\r").decode(errors="surrogateescape")


def _why(error: OSError) -> str:
    # With O_NOFOLLOW, ELOOP says that the last part of the path is a link.
    return "it is a link" if error.errno == errno.ELOOP else os.strerror(error.errno or 0)


def _trusted_owners() -> set[int]:
    """root, who runs this, and under sudo who called it."""
    owners = {0, os.getuid()}
    caller = os.environ.get("SUDO_UID", "")
    if os.getuid() == 0 and caller.isascii() and caller.isdigit():
        owners.add(int(caller))
    return owners
