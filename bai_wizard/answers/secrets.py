"""Resolve secrets from their sources. Their text is never quoted, logged or kept in the settings."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from bai_wizard.answers.model import Answers, dotted
from bai_wizard.answers.positions import Path
from bai_wizard.core.errors import AnswersError, Problem, StateUnknown, TimedOut
from bai_wizard.core.secret import SHORTEST_REDACTED, Secret, programs_are_allowed
from bai_wizard.node.run_as import PASSED_ON
from bai_wizard.node.safe_path import Trust
from bai_wizard.pages.fields import CommandSecret, CredentialSecret, EnvSecret, FileSecret, PromptSecret

if TYPE_CHECKING:
    from bai_wizard.pages.account.settings import AccountSettings
    from bai_wizard.pages.images.settings import ImagesSettings

Source = PromptSecret | EnvSecret | FileSecret | CommandSecret | CredentialSecret
# Prompts a person: gets the dotted key, returns what was typed, or None if the person declined.
Ask = Callable[[str], str | None]

FILE_LIMIT = 4096
# libcrypt accepts no longer passphrase (CRYPT_MAX_PASSPHRASE_SIZE, crypt.h), including the terminating NUL.
LONGEST = 511
# Seconds for a program; the doctor allows a page 20.
DEADLINE = 15.0
# Set by systemd for a unit with LoadCredential= or SetCredential=.
CREDENTIALS = "CREDENTIALS_DIRECTORY"
# What programs have printed in this process: one may give its secret only once, and plans are made repeatedly.
_printed: dict[tuple[str, ...], str] = {}


class _Wrong(Exception):
    """Why a source provides no secret; never contains any of its text."""


def sources(answers: Answers) -> Iterator[tuple[Path, Source]]:
    """Every secret that the applied tables need, by its path in the answers."""
    if "account" in answers.applied:
        account: AccountSettings = answers.tables["account"]  # type: ignore[assignment]
        if account.password is not None:
            yield ("account", "password"), account.password
    if "images" in answers.applied:
        images: ImagesSettings = answers.tables["images"]  # type: ignore[assignment]
        for index, registry in enumerate(images.registries):
            if registry.password is not None:
                yield ("images", "registries", index, "password"), registry.password


def resolve_all(answers: Answers, ask: Ask | None = None) -> dict[str, Secret]:
    """Dotted key → secret, for every secret of the applied tables.

    Without `ask`, prompting is not possible. Raises AnswersError with the problems of all secrets.
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
    """One secret; `key` is its name in messages. Raises AnswersError with the reason."""
    try:
        return _resolve(key, source, ask)
    except _Wrong as error:
        raise AnswersError([Problem(key, 0, 0, "", str(error))]) from None


def _resolve(key: str, source: Source, ask: Ask | None) -> Secret:
    if isinstance(source, EnvSecret):
        variable = f"the environment variable {source.env}"
        if source.env in PASSED_ON:
            raise _Wrong(f"{variable} is inherited by every program; use a different name")
        text = os.environ.get(source.env)
        if text is None:
            raise _Wrong(f"{variable} is not set; note that sudo drops most environment variables")
        return _checked(text, variable)
    if isinstance(source, FileSecret):
        return _checked(_first_line(source.file), f"the first line of {source.file}")
    if isinstance(source, CommandSecret):
        return _checked(_from_program(source.command), f"the first line that {source.command[0]} prints")
    if isinstance(source, CredentialSecret):
        return _checked(_from_credential(source.credential), f"the first line of the credential {source.credential}")
    typed = ask(key) if ask is not None else None
    if ask is None:
        raise _Wrong(
            'cannot be prompted for in a headless run; use another source, such as { file = "…" }, or a hash'
        )
    if typed is None:
        raise _Wrong("was not entered")
    return _checked(typed, "the entered password")


def _checked(text: str, what: str) -> Secret:
    if not text:
        raise _Wrong(f"{what} is empty")
    if len(text) < SHORTEST_REDACTED:
        raise _Wrong(f"{what} is too short for a password; the minimum is {SHORTEST_REDACTED} characters")
    if len(text.encode(errors="surrogateescape")) > LONGEST:
        raise _Wrong(f"{what} is too long for a password; the maximum is {LONGEST} bytes")
    if any(character < " " or character == "\x7f" or "\ud800" <= character <= "\udfff" for character in text):
        raise _Wrong(f"{what} contains control characters or is not UTF-8")
    return Secret(text)


def _first_line(path: str) -> str:
    """The first line of a regular file that only root and the invoking user can read and change.

    A link as its last component is not followed. Raises PreflightError if others can read or change it.
    """
    try:
        handle = Trust().open(path, follow=False, private=True)
    except OSError as error:
        raise _Wrong(f"{path} cannot be read: {_why(error)}") from None
    try:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):
            raise _Wrong(f"{path} is not a regular file")
        if about.st_size > FILE_LIMIT:
            raise _Wrong(f"{path} exceeds {FILE_LIMIT // 1024} KiB, which is too large for a password file")
        data = os.read(handle, FILE_LIMIT + 1)
    except OSError as error:
        raise _Wrong(f"{path} cannot be read: {_why(error)}") from None
    finally:
        os.close(handle)
    return data.partition(b"\n")[0].removesuffix(b"\r").decode(errors="surrogateescape")


def _from_program(argv: tuple[str, ...]) -> str:
    """The first line that a program prints; nothing of its output is ever shown.

    Raises PreflightError if others can change the program, or a file that is one of its arguments.
    """
    if argv in _printed:
        return _printed[argv]
    if not programs_are_allowed():
        raise _Wrong(f'{argv[0]} is not run with --demo; use another source, such as {{ env = "…" }}')
    from bai_wizard.node.process import run

    try:
        os.close(Trust().open(argv[0]))
        Trust().judge_command(argv)
        completed = run(argv, timeout=DEADLINE, keep=FILE_LIMIT, is_secret=True)
    except OSError as error:
        raise _Wrong(f"{argv[0]} cannot be run: {_why(error)}") from None
    except TimedOut:
        raise _Wrong(f"{argv[0]} did not end within {DEADLINE:.0f} seconds") from None
    except StateUnknown as error:
        raise _Wrong(str(error)) from None
    if completed.code:
        how = f"was killed by signal {-completed.code}" if completed.code < 0 else f"exited with {completed.code}"
        raise _Wrong(f"{argv[0]} {how}; run it by hand to see why")
    if len(completed.out) > FILE_LIMIT:
        raise _Wrong(f"{argv[0]} printed more than {FILE_LIMIT // 1024} KiB, which is too much for a password")
    if "\ufffd" in completed.out:
        raise _Wrong(f"what {argv[0]} printed is not UTF-8")
    _printed[argv] = completed.out.partition("\n")[0].removesuffix("\r")
    return _printed[argv]


def _from_credential(name: str) -> str:
    directory = os.environ.get(CREDENTIALS)
    if not directory:
        raise _Wrong(
            f"the credential {name} does not exist: ${CREDENTIALS} is not set; run the wizard in a systemd unit with"
            f" LoadCredential={name}:PATH"
        )
    return _first_line(os.path.join(directory, name))


def _why(error: OSError) -> str:
    # With O_NOFOLLOW, ELOOP means that the last component of the path is a link.
    words = {
        errno.ELOOP: "it is a symbolic link",
        errno.ENXIO: "it is not a regular file",
        errno.EISDIR: "it is not a regular file",
    }
    return words.get(error.errno or 0, os.strerror(error.errno or 0))
