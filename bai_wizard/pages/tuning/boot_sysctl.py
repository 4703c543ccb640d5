"""Which line decides a kernel parameter at boot: sysctl.d as systemd-sysctl reads it, then ufw's file as procps does.

Compared with the programs themselves on generated lines in tests/node/test_tuning_grammars.py.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from posixpath import normpath

from msgspec import Struct

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.machine import NodeView
from bai_wizard.steps.kernel import Better, as_set, satisfies

DIRECTORIES = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d")
# Sourced by ufw-init in this order.
UFW_FILES = ("/etc/default/ufw", "/etc/ufw/ufw.conf")
UFW_UNIT = "ufw.service"
# systemd's LONG_LINE_MAX: it reads no further in a file with such a line.
LONGEST_LINE = 1 << 20
# systemd's ends of a line and blanks; procps has isspace(3). Neither has no-break and other Unicode blanks.
_LINE_END = re.compile(rb"\r\n\0|\n\r\0|\r\n|\n\r|\n\0|\r\0|\n|\r|\0")
_BLANKS = " \t\n\r"
_SPACE = _BLANKS + "\v\f"


class Assignment(Struct, frozen=True):
    """One line. `key` in the kernel's form (`net/ipv4/tcp_rmem`); `value` None excludes the key from globs.

    `path` is the file that contains the line, `file` the name that decides the order (different for a symbolic link).
    """

    path: str
    file: str
    line: int
    key: str
    value: str | None
    text: str

    @property
    def place(self) -> str:
        """Path and line number, for display."""
        return f"{self.path}:{self.line}"

    @property
    def is_quoted(self) -> bool:
        """Whether the value has shell quotes, which the kernel rejects."""
        return bool(self.value) and str(self.value)[:1] in "\"'"

    @property
    def unquoted(self) -> str:
        """The value without shell quotes."""
        return str(self.value).strip("\"'")


class BootFile(Struct, frozen=True):
    """A file that is read at boot. `unreadable`: why its content is unknown; `is_late`: ufw reads it, not systemd."""

    path: str
    file: str
    assignments: tuple[Assignment, ...] = ()
    unreadable: str = ""
    is_late: bool = False

    @property
    def name(self) -> str:
        """The name that decides the order."""
        return self.file.rpartition("/")[2]


def kernel_form(key: str) -> str:
    """Return a key with slashes. The first separator decides: `net.ipv4.conf.eth0/1.x`, `net/ipv4/conf/eth0.1/x`."""
    separator = re.search(r"[./]", key)
    if separator is not None and separator.group() == ".":
        key = key.translate(str.maketrans("./", "/."))
    return "/".join(part for part in key.split("/") if part not in ("", "."))


def parse(path: str, file: str, content: str | bytes) -> tuple[Assignment, ...]:
    """Return the assignments of a file as systemd-sysctl reads it; other lines are skipped."""
    data = content.encode("utf-8", "replace") if isinstance(content, str) else content
    result = []
    for number, raw in enumerate(_LINE_END.split(data), start=1):
        if len(raw) >= LONGEST_LINE:
            break
        text = raw.decode("utf-8", "replace")
        line = text.strip(_BLANKS)
        name, equals, value = line.partition("=")
        excluded = not equals and name.startswith("-")
        if line and line[0] not in "#;" and (equals or excluded):
            key = kernel_form(name.removeprefix("-").strip(_BLANKS))
            result.append(Assignment(path, file, number, key, None if excluded else value.strip(_BLANKS), text))
    return tuple(result)


def parse_procps(path: str, content: bytes) -> tuple[Assignment, ...]:
    """Return the assignments of a file as `sysctl -p` reads it."""
    result = []
    for number, raw in enumerate(content.split(b"\n"), start=1):
        text = raw.decode("utf-8", "replace")
        line = raw.partition(b"\0")[0].decode("utf-8", "replace").lstrip(_SPACE)
        if len(line) + (b"\0" not in raw) < 2 or line[0] in "#;":
            continue
        name, equals, value = line.partition("=")
        if equals or name.startswith("-"):
            key = normpath(kernel_form(name.removeprefix("-").rstrip(_SPACE)))
            result.append(Assignment(path, path, number, key, value.strip(_SPACE) if equals else None, text))
    return tuple(result)


def read_files(view: NodeView) -> tuple[BootFile, ...]:
    """Return every file in the order in which it is read, without masked and replaced ones."""
    chosen: dict[str, str] = {}
    for directory in DIRECTORIES:
        if directory == "/lib/sysctl.d" and _is_link(view, "/lib"):
            continue
        for name in view.names(directory):
            if name.endswith(".conf") and not name.startswith("."):
                chosen.setdefault(name, f"{directory}/{name}")
    return (*(_read(view, chosen[name]) for name in sorted(chosen, key=os.fsencode)), *_ufw_files(view))


def _is_link(view: NodeView, path: str) -> bool:
    entry = view.entry(path)
    return entry is not None and entry.type == "link"


def _read(view: NodeView, file: str) -> BootFile:
    try:
        path, entry = view.behind_links(file)
    except StateUnknown as error:
        return BootFile(file, file, unreadable=str(error))
    if entry is None or entry.content is None:
        return BootFile(path, file)
    return BootFile(path, file, parse(path, file, entry.content))


def _ufw_files(view: NodeView) -> tuple[BootFile, ...]:
    """Return what ufw-init sets at boot, after systemd-sysctl: the files that IPT_SYSCTL names, if ufw is enabled."""
    try:
        text = "\n".join(view.text(path) or "" for path in UFW_FILES)
        if shell_value(text, "ENABLED") not in ("yes", "YES"):
            return ()
        unit = view.unit(UFW_UNIT)
        if unit is None or unit.enabled.startswith(("disabled", "masked")):
            return ()
        names = shell_value(text, "IPT_SYSCTL").split()
    except StateUnknown as error:
        return (BootFile(UFW_FILES[-1], UFW_FILES[-1], unreadable=str(error), is_late=True),)
    result = []
    for name in names:
        try:
            _, entry = view.behind_links(name)
        except StateUnknown as error:
            result.append(BootFile(name, name, unreadable=str(error), is_late=True))
            continue
        if entry is not None and entry.content is not None:
            result.append(BootFile(name, name, parse_procps(name, entry.content), is_late=True))
    return tuple(result)


def shell_value(text: str, name: str) -> str:
    """Return what a shell that sources a text assigns to a variable at last; empty if it does not.

    Raises StateUnknown if only a shell can tell.
    """
    result = ""
    for match in re.finditer(rf"^[ \t]*(?:export[ \t]+)?{name}=(.*)$", text, re.MULTILINE):
        try:
            words = shlex.split(match[1], comments=True)
        except ValueError as error:
            raise StateUnknown(f"the value of {name} cannot be read: {error}") from error
        if re.search(r"[$`]", match[1]):
            raise StateUnknown(f"the value of {name} is known only to a shell")
        result = words[0] if words and match[1][:1] not in " \t" else ""
    return result


class Deciding(Struct, frozen=True):
    """The line that decides a parameter at boot, and the value it gives it.

    An empty `value`: the kernel rejects the line, which systemd puts in place of earlier ones, so the default stays.
    """

    line: Assignment
    value: str | None

    @property
    def path(self) -> str:
        """The file that contains the line."""
        return self.line.path

    def is_enough(self, better: Better, wanted: str, defaults: tuple[str, ...]) -> bool:
        """Whether the parameter has at least the desired value after the boot; `defaults` are the kernel's own."""
        if self.value is not None:
            return satisfies(better, self.value, wanted)
        return bool(defaults) and all(satisfies(better, default, wanted) for default in defaults)


class Boot(Struct, frozen=True):
    """What is set at boot: systemd's options, one per name or pattern as written, and then ufw's lines one by one."""

    options: Mapping[str, Assignment]
    late: tuple[Assignment, ...] = ()

    def deciding(self, key: str, live: str | None = None) -> Deciding | None:
        """Return what decides a parameter; None if no line does. `live` is a value of it, which shows its form."""
        name = kernel_form(key)
        result: Deciding | None = None
        for line in (*self._systemds(name), *self._ufws(name)):
            value = as_set(key, str(line.value), result.value if result and result.value else live)
            if value is not None or result is None:
                result = Deciding(line, value)
        return result

    def _systemds(self, name: str) -> list[Assignment]:
        if name in self.options:
            return [self.options[name]] if self.options[name].value is not None else []
        return [each for each in self.options.values() if each.value is not None and _matches(each.key, name)]

    def _ufws(self, name: str) -> list[Assignment]:
        is_named = any(line.key == name for line in self.late)
        lines = (line for line in self.late if line.value is not None)
        return [line for line in lines if line.key == name or (not is_named and _matches(line.key, name))]


def boot_of(files: Iterable[BootFile]) -> Boot:
    """Return what these files set at boot.

    A repeated assignment changes nothing; another value moves the option to the end, and so does `-name`.
    """
    options: dict[str, Assignment] = {}
    late: list[Assignment] = []
    for file in files:
        if file.is_late:
            late += file.assignments
            continue
        for assignment in file.assignments:
            present = options.get(assignment.key)
            if present is None or present.value != assignment.value:
                options.pop(assignment.key, None)
                options[assignment.key] = assignment
    return Boot(options, tuple(late))


def _matches(pattern: str, key: str) -> bool:
    """Whether a glob(7) for path names matches: none of its wildcards matches a slash."""
    if not any(sign in pattern for sign in "*?["):
        return False
    pattern = re.sub(r"\\(.)", r"[\1]", pattern.replace("[^", "[!"))
    parts, patterns = key.split("/"), pattern.split("/")
    return len(parts) == len(patterns) and all(map(fnmatchcase, parts, patterns))
