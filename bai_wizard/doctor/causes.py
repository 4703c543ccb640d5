"""What may have changed an object: times and owners of files, dpkg's log, and sudo and others in the journal.

None of this is proof: times can be set, a command may do more than its line says, and logs are incomplete. Everything
is read with limits, once for all objects.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from posixpath import join, normpath
from typing import Literal, NamedTuple, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.machine import Machine
from bai_wizard.core.operation import PATHS
from bai_wizard.core.paths import parents
from bai_wizard.core.state import Key, is_below
from bai_wizard.doctor.mask import find_secrets
from bai_wizard.pages.tuning.boot_sysctl import kernel_form, read_files
from bai_wizard.resources.units import CONFIGURATIONS

T = TypeVar("T")
Source = Literal["file", "dpkg", "sudo", "journal"]
# Limits: bytes at the end of each log of dpkg, records of the journal, causes per object and source.
LOG_BYTES = 1 << 20
RECORDS = 5000
MOST = 3
LONGEST_TEXT = 200
# What was recorded up to so many seconds before a file was changed may have changed it without naming it.
NEAR = 600.0
ACCOUNT_FILES = {
    "user": ("/etc/passwd", "/etc/shadow"),
    "password": ("/etc/shadow",),
    "group": ("/etc/group",),
    "member": ("/etc/group",),
    "mount": ("/etc/fstab",),
}
UNIT_DIRECTORIES = ("/etc/systemd/system", "/usr/lib/systemd/system")
# Programs whose records name the accounts and groups that they change.
ACCOUNT_PROGRAMS = (
    "chage", "chfn", "chpasswd", "chsh", "gpasswd", "groupadd", "groupdel", "groupmod", "passwd", "useradd",
    "userdel", "usermod",
)  # fmt: skip
# Programs that open a session, and how their records of it begin.
LOGINS = {"su": "(to ", "sshd": "Accepted ", "sshd-session": "Accepted "}
_DPKG = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) ((?:install|upgrade|remove|purge) ([^\s:]+)\S* .*)")
# dpkg-query would take a name with one of these for a pattern.
_PATTERN_SIGNS = re.compile(r"[*?\[\\]")


class Cause(Struct, frozen=True):
    """Something that may have changed an object. `time` in seconds since 1970.

    `what` is the file, the package, the user of sudo, or the program. `is_named`: the record names the object or its
    package; otherwise it is only close in time. For a file, `time` is when it was last changed in any way (ctime),
    `modified` when its content was (mtime), and `owner` its owner.
    """

    source: Source
    time: float
    what: str
    text: str = ""
    is_named: bool = True
    owner: str = ""
    modified: float = 0.0


class Subject(NamedTuple):
    """Where to look for what changed an object: files, and names that records mention."""

    paths: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    units: tuple[str, ...] = ()


class Record(NamedTuple):
    """A record of the journal."""

    time: float
    program: str
    text: str
    unit: str


def subject_of(keys: Iterable[Key], machine: Machine, text: str = "") -> Subject:
    """Where to look for what changed these objects; `text` is a message that may name files and units."""
    paths: list[str] = re.findall(r"(?<![\w/:])/[\w./@+-]*[\w@+-]", text)
    names: list[str] = []
    packages: list[str] = []
    units: list[str] = re.findall(r"(?<![\w/.-])[\w@-]{1,200}\.(?:service|socket|timer)\b", text)
    for kind, name in keys:
        paths += ACCOUNT_FILES.get(kind, ())
        if kind in PATHS and kind != "mount":
            paths.append(name)
        elif kind == "package":
            packages.append(name)
        elif kind in ("unit", "restart"):
            units.append(name)
            paths += _unit_files(name, machine)
        elif kind == "sysctl":
            names += [name, kernel_form(name)]
            paths += _sysctl_files(name, machine)
        elif kind == "distribution":
            paths.append(name.partition(":")[0])
        elif kind != "command":
            names += name.split(":") if kind == "member" else [name]
    return Subject(*(tuple(dict.fromkeys(each)) for each in (paths, names, packages, units)))


def _unit_files(unit: str, machine: Machine) -> Iterator[str]:
    for directory in UNIT_DIRECTORIES:
        yield f"{directory}/{unit}"
        yield from (f"{directory}/{unit}.d/{name}" for name in _names(machine, f"{directory}/{unit}.d"))
    if unit in CONFIGURATIONS:
        yield CONFIGURATIONS[unit]


def _names(machine: Machine, directory: str) -> tuple[str, ...]:
    try:
        return machine.names(directory)
    except StateUnknown:
        return ()


def _sysctl_files(key: str, machine: Machine) -> list[str]:
    """The files that assign the parameter at boot."""
    name = kernel_form(key)
    try:
        return [file.path for file in read_files(machine) if any(line.key == name for line in file.assignments)]
    except StateUnknown:
        return []


def causes_of(
    machine: Machine, subjects: Sequence[Subject], since: float
) -> tuple[list[tuple[Cause, ...]], tuple[str, ...]]:
    """For each subject, what may have changed it since then; and which sources could not be read, and why.

    0 as `since`: at any time.
    """
    unread: list[str] = []

    def tried(what: str, nothing: T, read: Callable[[], T]) -> T:
        try:
            return read()
        except StateUnknown as error:
            unread.append(f"{what} cannot be read: {error}")
            return nothing

    paths = tuple(dict.fromkeys(path for each in subjects for path in each.paths))
    units = sorted({unit for each in subjects for unit in each.units})
    times = {path: tried(f"the time of {path}", ("", 0.0), partial(_changed, machine, path)) for path in paths}
    times = {path: (name, changed) for path, (name, changed) in times.items() if changed}
    files: Mapping[str, Cause] = tried("the owners of files", {}, lambda: _files(machine, times))
    owners: Mapping[str, frozenset[str]] = tried("dpkg's database", {}, lambda: _owners(machine, paths))
    changes: list[Cause] = tried("dpkg's log", [], lambda: list(_dpkg_log(machine)))
    records: list[Record] = tried("the journal", [], lambda: list(_journal(machine, units, since)))
    found = [tuple(_causes(each, files, owners, changes, records, since)) for each in subjects]
    return found, tuple(unread)


def _causes(
    subject: Subject,
    files: Mapping[str, Cause],
    owners: Mapping[str, frozenset[str]],
    changes: Sequence[Cause],
    records: Sequence[Record],
    since: float,
) -> Iterator[Cause]:
    """The newest causes: the files themselves, then records that name the object, otherwise those close in time."""
    changed = _newest(files[path] for path in subject.paths if path in files and files[path].time >= since)
    yield from changed
    packages = {*subject.packages, *(name for path in subject.paths for name in owners.get(path, ()))}
    recorded = [replace(cause, is_named=cause.what in packages) for cause in changes if cause.time >= since]
    recorded += [cause for record in records if (cause := _of_record(record, subject)) is not None]
    named = [cause for cause in recorded if cause.is_named]
    near = (cause for cause in recorded if any(0 <= file.time - cause.time <= NEAR for file in changed))
    yield from _newest(named or near)


def _newest(causes: Iterable[Cause]) -> list[Cause]:
    """The newest causes of each source, newest first."""
    counts: Counter[Source] = Counter()
    result = []
    for cause in sorted(dict.fromkeys(causes), key=lambda cause: cause.time, reverse=True):
        counts[cause.source] += 1
        if counts[cause.source] <= MOST:
            result.append(cause)
    return result


def _of_record(record: Record, subject: Subject) -> Cause | None:
    """The record as a cause of this object's change; None if it is neither about it nor about any files."""
    text = record.text[:LONGEST_TEXT]
    if record.program == "sudo":
        return _of_sudo(record, subject)
    if record.program in LOGINS:
        is_login = text.startswith(LOGINS[record.program])
        return Cause("journal", record.time, record.program, text, is_named=False) if is_login else None
    if record.unit:
        is_named = record.unit in subject.units
    else:
        is_named = not set(re.findall(r"[\w.@-]+", text)).isdisjoint(subject.names)
    return Cause("journal", record.time, record.program, text) if is_named else None


def _of_sudo(record: Record, subject: Subject) -> Cause | None:
    # `alice : TTY=pts/0 ; PWD=/root ; USER=root ; COMMAND=/usr/bin/vim /etc/hosts`; sudo-rs writes two blanks.
    head, _, command = record.text.strip().partition(" ; COMMAND=")
    user, _, fields = head.partition(" : ")
    # Of refused commands, the reason comes first.
    if not command.strip() or not re.match(" ?[A-Z]+=", fields):
        return None
    directory = re.search(r"\bPWD=(/[^;]*)", fields)
    shown, is_named = _shown(command, directory[1].strip() if directory else "/", subject)
    return Cause("sudo", record.time, user, shown, is_named)


def _shown(command: str, directory: str, subject: Subject) -> tuple[str, bool]:
    """The program and those arguments that name the object, and whether there are any.

    The other arguments are left out: they may be secrets.
    """
    # sudo writes a blank within an argument with a backslash.
    program, *arguments = (word.strip("'\"\\;&|<>") for word in re.split(r"\\?\s+", command.strip()))
    shown = [word for word in arguments if _names_it(word, directory, subject) and not any(find_secrets(word))]
    rest = ["…"] if len(shown) < len(arguments) else []
    return " ".join([program, *shown, *rest])[:LONGEST_TEXT], bool(shown)


def _names_it(word: str, directory: str, subject: Subject) -> bool:
    name = word.partition("=")[0]
    path = normpath(join(directory, word))
    return (
        name in subject.names
        or word in subject.packages
        or {word, f"{word}.service"} & {*subject.units} != set()
        or any(path == each or (path.count("/") > 1 and is_below(each, path)) for each in subject.paths)
    )


def _changed(machine: Machine, path: str) -> tuple[str, float]:
    """When a path was last changed; of a missing one, the nearest directory that exists."""
    for existing in (path, *parents(path)):
        if changed := machine.changed_at(existing):
            return existing, changed
    return path, 0.0


def _files(machine: Machine, times: Mapping[str, tuple[str, float]]) -> dict[str, Cause]:
    """The last change of each path, with the owner; `times` as `_changed` returns them."""
    names = sorted({name for name, _ in times.values()})
    completed = machine.query(["stat", r"--printf=%Y\t%U\t%n\0", "--", *names]) if names else None
    rows = (row.split("\t", 2) for row in (completed.out if completed else "").split("\0"))
    about = {row[2]: (row[1], float(row[0])) for row in rows if len(row) == 3}
    return {
        path: Cause("file", changed, name, owner=about[name][0], modified=about[name][1])
        for path, (name, changed) in times.items()
        if name in about
    }


def _owners(machine: Machine, paths: Sequence[str]) -> dict[str, frozenset[str]]:
    """The packages of each file."""
    # With merged /usr, dpkg may know a file by its path without /usr.
    spellings = {each: path for path in paths for each in (path.removeprefix("/usr"), path)}
    known = [path for path in spellings if not _PATTERN_SIGNS.search(path)]
    if not known:
        return {}
    result: dict[str, frozenset[str]] = {}
    for line in machine.query(["dpkg-query", "--search", "--", *known], deadline=10.0).out.splitlines():
        packages, separator, path = line.partition(": ")
        if separator and path in spellings and not packages.startswith("diversion by "):
            names = {name.strip().partition(":")[0] for name in packages.split(",")}
            result[spellings[path]] = result.get(spellings[path], frozenset()) | names
    return result


def _dpkg_log(machine: Machine) -> Iterator[Cause]:
    """The packages that were installed, upgraded and removed, oldest first. The log has local times."""
    for name in ("/var/log/dpkg.log.1", "/var/log/dpkg.log"):
        for line in machine.query(["tail", f"--bytes={LOG_BYTES}", "--", name]).out.splitlines():
            match = _DPKG.fullmatch(line)
            try:
                time = datetime.fromisoformat(match[1]).timestamp() if match else 0.0
            except ValueError:
                continue  # a damaged line
            if match:
                yield Cause("dpkg", time, match[3], match[2])


def _journal(machine: Machine, units: Sequence[str], since: float) -> Iterator[Record]:
    """The newest records of sudo, logins and account programs, and what systemd records of these units."""
    programs = ("sudo", *LOGINS, *ACCOUNT_PROGRAMS)
    options = (
        "--output-fields=MESSAGE,SYSLOG_IDENTIFIER,UNIT,_UID,_EXE",
        f"--lines={RECORDS}",
        f"--since=@{since:.0f}",
    )
    argv = ["journalctl", "--quiet", "--no-pager", "--output=json", *options]
    argv += [f"SYSLOG_IDENTIFIER={name}" for name in programs]
    argv += ["+", "_PID=1", *(f"UNIT={unit}" for unit in units)] if units else []
    completed = machine.query(argv, deadline=20.0)
    if completed.code:
        raise StateUnknown(completed.err.strip() or f"journalctl exits with {completed.code}")
    for line in completed.out.splitlines():
        try:
            record = json.loads(line)
            time = int(record["__REALTIME_TIMESTAMP"]) / 1e6
            texts = [record.get(name, "") for name in ("SYSLOG_IDENTIFIER", "MESSAGE", "UNIT", "_UID", "_EXE")]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
        # A message that is not text is a list of bytes.
        if not all(isinstance(text, str) for text in texts):
            continue
        program, message, unit, uid, executable = texts
        # Any user can write records in the name of another program, but cannot forge these two fields.
        is_genuine = executable.startswith("/usr/") and executable.rpartition("/")[2].startswith(program)
        if program and (uid == "0" or is_genuine):
            yield Record(time, program, message, unit)
