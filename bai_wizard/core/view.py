"""Typed reads of a node: what steps look at. Never a command, always a state under a key."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TypeVar

from bai_wizard.core.errors import CannotTell
from bai_wizard.core.keys import (
    distribution_key,
    image_key,
    interpreter_key,
    member_key,
    package_key,
    tree_key,
    unit_key,
    venv_key,
)
from bai_wizard.core.state import (
    Account,
    Entry,
    Group,
    Image,
    Interpreter,
    Key,
    Library,
    Mount,
    Package,
    Password,
    State,
    Sysctl,
    Tree,
    Unit,
    Venv,
)

S = TypeVar("S")


class NodeView(ABC):
    """Reads of a node, real, predicted or simulated.

    Every read may raise CannotTell (no answer: that is not «absent») or NotYetKnown (depends on an earlier step
    of the same plan).
    """

    @abstractmethod
    def state(self, key: Key) -> State | None:
        """The state of one thing; None where it does not exist."""

    @abstractmethod
    def names(self, directory: str) -> tuple[str, ...]:
        """The names in a directory, sorted; empty where it does not exist."""

    @abstractmethod
    def accounts(self) -> tuple[Account, ...]:
        """Every local account, in the order of the database."""

    @abstractmethod
    def groups(self) -> tuple[Group, ...]:
        """Every local group, in the order of the database."""

    @abstractmethod
    def candidate(self, package: str) -> str | None:
        """The version that apt would install now; None where no source offers the package."""

    @abstractmethod
    def changed_at(self, path: str) -> float:
        """When a path was last put in place or altered (ctime), in seconds since 1970; 0 where it does not exist.

        Compared with `Unit.since`, so both need sub-second resolution (systemd's monotonic time stamps have it).
        """

    def newer(self, path: str, since: float) -> bool:
        """True when `path` exists and was altered after `since`."""
        return self.changed_at(path) > since

    def _typed(self, key: Key, wanted: type[S]) -> S | None:
        state = self.state(key)
        if state is not None and not isinstance(state, wanted):
            raise CannotTell(f"{key}: expected {wanted.__name__}, found {type(state).__name__}")
        return state

    def entry(self, path: str) -> Entry | None:
        """The file, directory or link at an absolute path; links are not followed."""
        return self._typed(Key("file", path), Entry)

    def text(self, path: str) -> str | None:
        """The text of a file, None where there is none. Raises CannotTell for anything that is not UTF-8 text."""
        entry = self.entry(path)
        if entry is None:
            return None
        text = entry.text()
        if text is None:
            raise CannotTell(f"{path} is no text file ({entry.type})")
        return text

    def account(self, name: str) -> Account | None:
        """A user by name, local or from a directory."""
        return self._typed(Key("user", name), Account)

    def group(self, name: str) -> Group | None:
        """A group by name, local or from a directory."""
        return self._typed(Key("group", name), Group)

    def is_member(self, user: str, group: str) -> bool:
        """True when the group lists the user. The primary group does not count."""
        return self.state(member_key(user, group)) is not None

    def password(self, user: str) -> Password | None:
        """The password field of a user. Raises CannotTell without root."""
        return self._typed(Key("password", user), Password)

    def package(self, name: str) -> Package | None:
        """An installed package."""
        return self._typed(package_key(name), Package)

    def unit(self, name: str) -> Unit | None:
        """A systemd unit; None where there is none of that name."""
        return self._typed(unit_key(name), Unit)

    def sysctl(self, key: str) -> Sysctl | None:
        """A live kernel parameter; None where this kernel does not have it."""
        return self._typed(Key("sysctl", key), Sysctl)

    def mount(self, target: str) -> Mount | None:
        """What is mounted at exactly this mount point."""
        return self._typed(Key("mount", target), Mount)

    def image(self, reference: str) -> Image | None:
        """An image in the container engine's store."""
        return self._typed(image_key(reference), Image)

    def library(self, name: str) -> Library | None:
        """A shared library by a short name («cudart»), loaded to see; None where none can be loaded."""
        return self._typed(Key("library", name), Library)

    def tree(self, path: str) -> Tree | None:
        """A directory tree made as a whole."""
        return self._typed(tree_key(path), Tree)

    def interpreter(self, path: str) -> Interpreter | None:
        """The Python in a directory of its own; None where there is none."""
        return self._typed(interpreter_key(path), Interpreter)

    def venv(self, path: str) -> Venv | None:
        """A virtual environment; None where there is none."""
        return self._typed(venv_key(path), Venv)

    def distribution(self, venv: str, name: str) -> Package | None:
        """A Python package in a virtual environment, by its normalised name."""
        return self._typed(distribution_key(venv, name), Package)

    def immutable(self, path: str) -> bool:
        """True when the directory carries the immutable attribute."""
        return self.state(Key("immutable", path)) is not None
