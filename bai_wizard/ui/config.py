"""The user's own configuration of the screens: `$XDG_CONFIG_HOME/bai-wizard/config.toml`.

theme = "nord"          # remembered when it is changed in the wizard
vim = true              # j and k move like the arrow keys
[keys]                  # other keys for an action, by its id
"page.apply" = "ctrl+a"
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping

from msgspec import Struct, ValidationError, convert, field

from bai_wizard.core.errors import PreflightError
from bai_wizard.locale import tr
from bai_wizard.node.user_files import write_requested_file
from bai_wizard.ui.saving import read_own_file, user_directory

NAME = "config.toml"
# The line of the file that the wizard itself writes.
THEME = re.compile(r"(?m)^theme[ \t]*=.*$")
VIM = {"walk.up": "up,k", "walk.down": "down,j"}


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """What the file may contain. `keys`: ids of actions and the keys that replace theirs, separated by commas."""

    theme: str = ""
    vim: bool = False
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def keymap(self) -> Mapping[str, str]:
        """All keys that differ from the usual ones."""
        return {**(VIM if self.vim else {}), **self.keys}


def directory() -> str:
    """Where the file is."""
    return user_directory("XDG_CONFIG_HOME", ".config")


def load() -> Config:
    """The configuration of the invoking user, empty without a file. Raises PreflightError for an unusable one."""
    path = os.path.join(directory(), NAME)
    try:
        return convert(tomllib.loads(_text()), Config)
    except (ValueError, ValidationError) as error:
        raise PreflightError(tr("{path} is ignored: {reason}", path=path, reason=str(error))) from error


def _text() -> str:
    try:
        file = read_own_file(directory(), NAME)
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from error
    if file.reason:
        raise ValueError(file.reason)
    return file.text


def save_theme(theme: str) -> None:
    """Remember a theme; everything else in the file keeps its bytes. Raises PreflightError."""
    path, line = os.path.join(directory(), NAME), f'theme = "{theme}"'
    try:
        text = _text()
    except ValueError as error:
        raise PreflightError(tr("{path} is ignored: {reason}", path=path, reason=str(error))) from error
    new = THEME.sub(line, text, count=1) if THEME.search(text) else f"{line}\n{text}"
    if new != text:
        write_requested_file(path, new.encode(), parents=True)
