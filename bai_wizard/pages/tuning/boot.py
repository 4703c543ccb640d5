"""Which file decides a kernel parameter at the next boot, worked out exactly as systemd-sysctl does.

Pure functions over a NodeView. From systemd 252-258, `src/sysctl/sysctl.c` and `src/basic/conf-files.c`: files of
all directories by name; of one name the first directory's counts, also when it is empty, a broken link or a link to
/dev/null (a mask); later assignments replace earlier ones; an explicit name beats any glob; a glob that comes later
beats an earlier one; `-name` without a value takes that name out of the globs, or a glob spelled the same away.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from posixpath import dirname, join, normpath

from bai_wizard.core.errors import CannotTell
from bai_wizard.core.state import Entry
from bai_wizard.core.view import NodeView

DIRECTORIES = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d")
# As the kernel's own limit for path look-ups.
LONGEST_LINK_CHAIN = 40


@dataclass(frozen=True)
class Assignment:
    """One line. `key` in the kernel's form (`net/ipv4/tcp_rmem`); `value` None takes the key out of the globs.

    `path` is where the line stands, `file` the name that decides the order (another one behind a link).
    """

    path: str
    file: str
    line: int
    key: str
    value: str | None
    text: str

    @property
    def place(self) -> str:
        """For people: path and line."""
        return f"{self.path}:{self.line}"

    @property
    def is_quoted(self) -> bool:
        """True when the value has the quotes of a shell, which the kernel refuses."""
        return bool(self.value) and str(self.value)[:1] in "\"'"


@dataclass(frozen=True)
class SysctlFile:
    """A configuration file as systemd-sysctl reads it. `unreadable` says why nobody can tell what it holds."""

    path: str
    file: str
    assignments: tuple[Assignment, ...] = ()
    unreadable: str = ""

    @property
    def name(self) -> str:
        """The name that decides the order."""
        return self.file.rpartition("/")[2]


def kernel_form(key: str) -> str:
    """A key with slashes. The first separator decides: `net.ipv4.conf.eth0/1.x`, `net/ipv4/conf/eth0.1/x`."""
    separator = re.search(r"[./]", key)
    if separator is None or separator.group() == "/":
        return key.lstrip("/")
    return key.translate(str.maketrans("./", "/."))


def parse(path: str, file: str, text: str) -> tuple[Assignment, ...]:
    """The assignments of a file; what is neither comment nor assignment is left out, as systemd does."""
    found = []
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        name, equals, value = line.partition("=")
        excluded = not equals and name.startswith("-")
        if not equals and not excluded:
            continue
        key = kernel_form(name.removeprefix("-").strip())
        found.append(Assignment(path, file, number, key, None if excluded else value.strip(), raw))
    return tuple(found)


def read_files(view: NodeView) -> tuple[SysctlFile, ...]:
    """Every file in the order in which it is read, masked and replaced ones left out."""
    chosen: dict[str, str] = {}
    for directory in DIRECTORIES:
        if directory == "/lib/sysctl.d" and _is_link(view, "/lib"):
            continue
        for name in view.names(directory):
            if name.endswith(".conf") and not name.startswith("."):
                chosen.setdefault(name, f"{directory}/{name}")
    return tuple(_read(view, chosen[name]) for name in sorted(chosen, key=str.encode))


def _is_link(view: NodeView, path: str) -> bool:
    entry = view.entry(path)
    return entry is not None and entry.type == "link"


def _read(view: NodeView, file: str) -> SysctlFile:
    try:
        path, entry = behind_links(view, file)
    except CannotTell as error:
        return SysctlFile(file, file, unreadable=str(error))
    if entry is None or entry.content is None:
        return SysctlFile(path, file)
    return SysctlFile(path, file, parse(path, file, entry.content.decode("utf-8", "replace")))


def behind_links(view: NodeView, path: str) -> tuple[str, Entry | None]:
    """The path and the entry at the end of a chain of links; None where it leads nowhere, or to a device."""
    for _ in range(LONGEST_LINK_CHAIN):
        if path == "/dev/null":
            return path, None
        entry = view.entry(path)
        if entry is None or entry.type != "link":
            return path, entry
        path = normpath(join(dirname(path), entry.target or ""))
    return path, None


def winner(files: Iterable[SysctlFile], key: str) -> Assignment | None:
    """The assignment that decides `key` at the next boot; None where no file sets it."""
    wanted = kernel_form(key)
    options = _options(files)
    if wanted in options:
        return options[wanted] if options[wanted].value is not None else None
    globs = [
        option
        for option in options.values()
        if option.value is not None and _is_glob(option.key) and _matches(option.key, wanted)
    ]
    return globs[-1] if globs else None


def _options(files: Iterable[SysctlFile]) -> dict[str, Assignment]:
    """What systemd keeps in mind, in the order in which it sets it: one option for each name or pattern as written.

    Saying the same again changes nothing; another value takes the option's place at the end, and so does `-name`.
    """
    options: dict[str, Assignment] = {}
    for assignment in (item for file in files for item in file.assignments):
        present = options.get(assignment.key)
        if present is None or present.value != assignment.value:
            options.pop(assignment.key, None)
            options[assignment.key] = assignment
    return options


def _is_glob(key: str) -> bool:
    return any(sign in key for sign in "*?[")


def _matches(pattern: str, key: str) -> bool:
    """As glob(7) over path names: no sign stands for a slash."""
    from fnmatch import fnmatchcase

    ours, theirs = key.split("/"), pattern.split("/")
    return len(ours) == len(theirs) and all(fnmatchcase(part, sign) for part, sign in zip(ours, theirs, strict=True))
