"""Support bundles: collected from a fixed list, written only without secrets, read without trusting their content."""

from __future__ import annotations

import io
import json
import re
import tarfile
import time
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

from msgspec import Struct

from bai_wizard import __version__
from bai_wizard.core.display import visible
from bai_wizard.core.errors import AnswersError, PreflightError, Problem, StateUnknown
from bai_wizard.core.machine import Machine
from bai_wizard.core.page import Finding
from bai_wizard.core.secret import MASK, redact, redacted
from bai_wizard.doctor.allowed import LEFT_OUT, LONGEST_LINE, apt_line, dpkg_line, journal_line
from bai_wizard.doctor.drift import DoctorScope
from bai_wizard.doctor.mask import Masker, find_secrets, lines_left_out
from bai_wizard.doctor.report import RESULT_WORDS
from bai_wizard.engine.directory import RunDirectory
from bai_wizard.engine.durable import Damaged, read_end
from bai_wizard.engine.lock import StatePaths
from bai_wizard.node.regular import parse_json, read_given
from bai_wizard.node.user_files import write_requested_file

BUNDLE_VERSION = 1
ABOUT = "about.json"
FINDINGS = "findings.json"
REDACTIONS = "redactions.json"
RUNS = 5
# Lines per log, and bytes per file that is read as a whole.
LINES = 2000
BYTES = 512 << 10
EVENTS = 8 << 20
# The logs that are read, by their name in the bundle.
JOURNALS = {
    "logs/docker.log": ("-u", "docker", "-u", "containerd", "-b"),
    "logs/kernel.log": ("-k", "-b"),
    "logs/boot.log": (
        *("-b", "-p", "warning"),
        *("-u", "systemd-sysctl", "-u", "systemd-modules-load", "-u", "nfs-client"),
    ),
}
Contents = dict[str, str]


def collect(
    machine: Machine, paths: StatePaths, scope: DoctorScope, findings: Sequence[Finding]
) -> tuple[Contents, Masker]:
    """Return every file of the bundle, masked, and the masker with its counts of masked items."""
    from bai_wizard.compose import detect, with_former_labels
    from bai_wizard.engine.directory import all_runs

    runs = all_runs(paths)
    masker = Masker([*known_names(machine, scope), *((run.id, "run") for run in runs)])
    # The labels and values that `detect` shows: a fixed list, without files or environment variables.
    detected = detect(machine, scope.desired.settings, scope.desired.context)
    facts = {page: with_former_labels(rows) for page, rows in detected.items()}
    contents: Contents = {
        FINDINGS: _encoded(masker, FINDINGS, [finding.to_json() for finding in findings]),
        "facts.json": _encoded(masker, "facts.json", facts),
    }
    for number, run in enumerate(runs[-RUNS:], 1):
        for name, lines in _narrative(run):
            path = f"runs/{number}/{name}"
            contents[path] = "".join(_encoded(masker, path, line, indent=None) for line in lines)
    for name, lines in _logs(machine):
        contents[name] = _settled(
            name, masker.log(lines, name, partial(has_closed_form, name) if name in FILES else None)
        )
    made = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    about = {"version": BUNDLE_VERSION, "wizard": __version__, "made": made, "host": machine.host}
    contents[ABOUT] = _encoded(masker, ABOUT, about)
    log = {
        name: [f"{number} × {kind}" for kind, number in sorted(counts.items()) if number]
        for name, counts in sorted(masker.redactions.items())
        if counts.total()
    }
    contents[REDACTIONS] = json.dumps(log, indent=1, ensure_ascii=False) + "\n"
    return dict(sorted(contents.items())), masker


def _encoded(masker: Masker, name: str, value: Any, indent: int | None = 1) -> str:
    """Encode a value as masked JSON. Text that looks like a secret only next to other values is masked as well."""
    value = masker.value(value, name)
    for _ in range(20):
        text = json.dumps(value, indent=indent) + "\n"
        secrets = {text[each.start : each.end] for each in find_secrets(text)}
        if not secrets:
            return text
        value = _without(value, secrets)
    return json.dumps(LEFT_OUT) + "\n"


def _without(value: Any, secrets: Collection[str]) -> Any:
    if isinstance(value, str):
        encoded = json.dumps(value)[1:-1]
        return MASK if encoded and any(each in encoded or encoded in each for each in secrets) else value
    if isinstance(value, dict):
        return {_without(key, secrets): _without(item, secrets) for key, item in value.items()}
    return [_without(item, secrets) for item in value] if isinstance(value, list) else value


def _settled(name: str, text: str) -> str:
    """The lines of a log; a line that still contains what looks like a secret after masking is left out."""
    while bad := {text.count("\n", 0, each.start) for each in find_secrets(free_text(name, text))}:
        text = "\n".join(LEFT_OUT if number in bad else line for number, line in enumerate(text.split("\n")))
    return text


def has_closed_form(name: str, line: str) -> bool:
    """Whether a line of this log can contain only names and versions of packages."""
    return name in FILES and not line.startswith("Error:") and FILES[name][1](line) == line


def free_text(name: str, text: str) -> str:
    """The text of a file with fixed-format lines emptied: `passwd:amd64` is a package."""
    if name not in FILES:
        return text
    return "\n".join("" if has_closed_form(name, line) else line for line in text.split("\n"))


def _narrative(run: RunDirectory) -> Iterator[tuple[str, list[Any]]]:
    """Yield a run's events and result. Never the plan, the settings, the journal or the backups."""
    with suppress(FileNotFoundError, Damaged):
        lines = read_end(run.events, EVENTS).decode(errors="replace").split("\n")[-LINES:]
        yield "events.jsonl", list(_parsed(lines))
    try:
        result = run.result()
    except (OSError, ValueError, AssertionError):  # damaged, which the events then show
        result = None
    if result is not None:
        yield "result.jsonl", [result]


def _parsed(lines: Sequence[str]) -> Iterator[Any]:
    for line in lines:
        # The last line of an interrupted run may be incomplete.
        with suppress(ValueError, RecursionError):
            yield json.loads(line)


def _logs(machine: Machine) -> Iterator[tuple[str, list[str]]]:
    """Yield the lines of each log; lines of an unknown format are only counted."""
    for name, words in JOURNALS.items():
        argv = ("journalctl", "--no-pager", "-o", "short-iso", "-n", str(LINES), *words)
        try:
            yield name, known_lines(machine.query(argv, deadline=10.0).out[-BYTES:], journal_line)
        except StateUnknown as error:
            yield name, [f"not read: {error}"]
    for name, (path, line_of) in FILES.items():
        try:
            if (text := machine.text(path)) is not None:
                yield name, known_lines(text[-BYTES:], line_of)
        except StateUnknown as error:
            yield name, [f"not read: {error}"]


def known_lines(text: str, line_of: Callable[[str], str | None]) -> list[str]:
    """The last lines of a log as `line_of` returns them; it returns None for a line of an unknown format."""
    kept: list[str] = []
    left_out = 0
    for line in text.rstrip("\n").split("\n")[-LINES:]:
        shown = line_of(line[: LONGEST_LINE * 2]) if line else None
        if shown is None:
            left_out += bool(line)
            continue
        if left_out:
            kept.append(lines_left_out(left_out))
            left_out = 0
        kept.append(shown)
    return [*kept, *([lines_left_out(left_out)] if left_out else [])]


FILES: dict[str, tuple[str, Callable[[str], str | None]]] = {
    "logs/apt-history.log": ("/var/log/apt/history.log", apt_line),
    "logs/dpkg.log": ("/var/log/dpkg.log", dpkg_line),
}


def known_names(machine: Machine, scope: DoctorScope) -> Iterator[tuple[str, str]]:
    """Names specific to this site: hosts, user accounts, registries. Sources that cannot be read are skipped."""
    yield machine.host, "host"
    yield machine.host.partition(".")[0], "host"
    for line in (_read(machine, "/etc/hosts") or "").splitlines():
        for name in line.partition("#")[0].split()[1:]:
            if not name.startswith(("localhost", "ip6-")):
                yield name, "host"
    for line in (_read(machine, "/etc/resolv.conf") or "").splitlines():
        if line.startswith(("search ", "domain ")):
            yield from ((name, "domain") for name in line.split()[1:])
    for account in machine.accounts():
        if account.uid >= 1000 and account.name != "nobody":
            yield account.name, "user"
    yield scope.desired.context.account, "user"
    yield from ((name, "registry") for name in _registries(machine, scope))


def _registries(machine: Machine, scope: DoctorScope) -> Iterator[str]:
    images, docker = scope.desired.settings.get("images"), scope.desired.settings.get("docker")
    if images is not None:
        yield from (registry.host for registry in images.registries)
        yield from [images.registry.partition("/")[0]] if images.registry else []
    if docker is not None:
        yield from (*docker.registry_ca, *docker.insecure_registries)
    text = _read(machine, "/etc/docker/daemon.json") or ""
    match = re.search(r'"(?:insecure-registries|registry-mirrors)"\s*:\s*\[([^\]]*)\]', text)
    for name in re.findall(r'"([^"]+)"', match.group(1)) if match else ():
        yield name.partition("://")[2] or name
    yield from machine.names("/etc/docker/certs.d")


def _read(machine: Machine, path: str) -> str | None:
    try:
        return machine.text(path)
    except StateUnknown:
        return None


class BundleRefused(PreflightError):
    """Something in the bundle still looks like a secret; nothing was written."""


def scan(contents: Mapping[str, str]) -> None:
    """Raise BundleRefused naming files, lines and kinds of secrets, never the secrets themselves."""
    lines = []
    for name, text in contents.items():
        free = free_text(name, text)
        lines += [
            f"{name}, line {1 + free.count(chr(10), 0, each.start)}: {each.kind}" for each in find_secrets(free)
        ]
        lines += [f"{name}: a secret from the answers"] if _holds_registered(name, text) else []
    if lines:
        listed = "\n".join(f"  {line}" for line in lines[:20])
        raise BundleRefused(f"no bundle was written because it contains what looks like a secret:\n{listed}")


def _holds_registered(name: str, text: str) -> bool:
    """Whether a file contains a known secret. In JSON only values count: a secret may equal a field name of ours."""
    if name == REDACTIONS:
        return False
    try:
        values = [json.loads(line) for line in ([text] if name.endswith(".json") else text.splitlines())]
    except ValueError:
        return redact(text) != text
    return any(redacted(value) != value for value in values)


def listing(contents: Mapping[str, str]) -> list[str]:
    """List the files of a bundle and what was masked in each, for review before it is written."""
    hidden = json.loads(contents.get(REDACTIONS, "{}"))
    lines = []
    for name, text in contents.items():
        counts = ", ".join(hidden.get(name, ()))
        lines.append(f"{len(_bytes(text)):>9}  {name}{f'   hidden: {counts}' if counts else ''}")
    return lines


def _bytes(text: str) -> bytes:
    """Encode as UTF-8. Names on a node may contain bytes that are not UTF-8; they become escapes, in JSON too."""
    return text.encode(errors="backslashreplace")


def write_bundle(path: str, contents: Mapping[str, str]) -> None:
    """Write a new file of mode 0600. Raises BundleRefused, or PreflightError if it cannot be created."""
    scan(contents)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        for name, text in contents.items():
            data = _bytes(text)
            entry = tarfile.TarInfo(f"bai-wizard-bundle/{name}")
            entry.size, entry.mode, entry.mtime = len(data), 0o600, int(time.time())
            archive.addfile(entry, io.BytesIO(data))
    write_requested_file(path, packed.getvalue(), replace=False)


# Limits that a genuine bundle never exceeds when unpacked.
MAX_FILES = 200
MAX_BYTES = 64 << 20
_MAX_MEMBERS = 16
_LONGEST_HEADER = 64 << 10
_LONGEST_NAME = 1000
# Limits for the findings of an untrusted bundle: characters, and items per list.
LONGEST_FINDINGS = 2 << 20
LONGEST_TEXT = 10_000
MAX_ITEMS = 1000


class Bundle(Struct, frozen=True):
    """The content of a bundle that was read from a file."""

    about: Mapping[str, Any]
    findings: tuple[Finding, ...]
    remedies: Mapping[str, tuple[str, ...]]
    contents: Mapping[str, str]


def read_bundle(path: str) -> Bundle:
    """Parse a bundle in memory, without unpacking it. Raises AnswersError if the file is not a support bundle."""
    try:
        contents = {
            name.partition("/")[2]: data.decode() for name, data in archive_members(read_given(path, MAX_BYTES))
        }
        for name in (ABOUT, FINDINGS):
            if name not in contents:
                raise ValueError(f"has no {name}")
        about = _about(parse_json(contents[ABOUT]))
        if len(contents[FINDINGS]) > LONGEST_FINDINGS:
            raise ValueError(f"has findings of more than {LONGEST_FINDINGS >> 20} MiB")
        raw = _list_of_tables(parse_json(contents[FINDINGS]), "findings")
        findings = tuple(map(_finding, raw))
        remedies = {finding.id: _remedy(item) for finding, item in zip(findings, raw, strict=True)}
    except (OSError, ValueError) as error:
        reason = str(error) if isinstance(error, ValueError) else error.strerror or "cannot be read"
        problem = Problem(path, 0, 0, "", f"is not a support bundle of this wizard: {reason}")
        raise AnswersError([problem]) from error
    return Bundle(about, findings, remedies, contents)


def _about(value: Any) -> Mapping[str, Any]:
    """Return the metadata. Raises ValueError for another version or an unexpected structure."""
    if not isinstance(value, dict) or not all(
        isinstance(value.get(key, ""), str) for key in ("host", "made", "wizard")
    ):
        raise ValueError(f"{ABOUT} does not describe a bundle")
    version = value.get("version")
    if type(version) is not int or version != BUNDLE_VERSION:
        result = version if type(version) is int and abs(version) < 10**6 else "(unknown)"
        raise ValueError(f"it has version {result}; this version of the wizard reads version {BUNDLE_VERSION}")
    return value


def _list_of_tables(value: Any, what: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or len(value) > MAX_ITEMS or not all(isinstance(item, dict) for item in value):
        raise ValueError(f"the {what} are not a list of tables, or there are too many")
    return value


def _text(item: Mapping[str, Any], key: str, default: str | None = None) -> str:
    """A text of a finding, truncated if it is too long. Raises ValueError if it is missing."""
    value = item.get(key, default)
    if not isinstance(value, str):
        raise ValueError(f"the {key} of a finding is not a string")
    return value if len(value) <= LONGEST_TEXT else value[:LONGEST_TEXT] + "…"


def _line(item: Mapping[str, Any], key: str, default: str | None = None) -> str:
    """A text that is shown within a line of ours, and must not start a new line."""
    return visible(" ".join(_text(item, key, default).split()), lines=False)


def _remedy(item: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(_line(step, "describe") for step in _list_of_tables(item.get("remedy", []), "steps of a remedy"))


def _finding(item: Mapping[str, Any]) -> Finding:
    """Parse a finding from its wire format, without the fix: a bundle only names the fix's steps."""
    plain = {name: _line(item, name) for name in ("id", "title", "result")}
    optional = ("page", "cause", "guidance", "risk", "owner", "suppressed_by", "ignored")
    plain |= {name: _line(item, name, "") for name in optional}
    evidence = [
        {
            **{key: _line(each, key) for key in ("what", "where")},
            **{key: _text(each, key) for key in ("found", "expected")},
        }
        for each in _list_of_tables(item.get("evidence", []), "pieces of evidence")
    ]
    if plain["result"] not in RESULT_WORDS:
        raise ValueError("a finding has an unknown result")
    return Finding.from_wire({**plain, "evidence": evidence, "remedy": []})


def archive_members(packed: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of each file of a gzipped tar archive. Raises ValueError with the reason."""
    stream = io.BytesIO(_unpacked(packed))
    name, count = "", 0
    while (block := _read_exactly(stream, tarfile.BLOCKSIZE)) != bytes(tarfile.BLOCKSIZE):
        try:
            header = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
        except (tarfile.TarError, UnicodeDecodeError) as error:
            raise ValueError(f"has a damaged header: {error}") from error
        if not 0 <= header.size <= MAX_BYTES:
            raise ValueError(f"has a file with a negative size, or with more than {MAX_BYTES >> 20} MiB")
        data = _read_exactly(stream, header.size + -header.size % tarfile.BLOCKSIZE)[: header.size]
        if header.type == tarfile.XHDTYPE and header.size <= _LONGEST_HEADER:
            name = _path_of(data) or name
        elif header.type in (tarfile.REGTYPE, tarfile.AREGTYPE):
            count += 1
            name = name or header.name
            if count > MAX_FILES or len(name) > _LONGEST_NAME:
                raise ValueError(f"has more than {MAX_FILES} files, or a file name that is too long")
            yield name, data
            name = ""
        else:
            raise ValueError("contains something that is not a regular file")


def _unpacked(packed: bytes) -> bytes:
    """The archive, at most `MAX_BYTES`. gzip allows several concatenated members, and zero padding after each."""
    data = b""
    for _ in range(_MAX_MEMBERS):
        engine = zlib.decompressobj(16 + zlib.MAX_WBITS)
        try:
            data += engine.decompress(packed, MAX_BYTES + 1 - len(data))
        except zlib.error as error:
            raise ValueError(f"is not a gzip file, or is damaged: {error}") from error
        if len(data) > MAX_BYTES:
            raise ValueError(f"is larger than {MAX_BYTES >> 20} MiB when unpacked")
        if not engine.eof:
            raise ValueError("is truncated")
        packed = engine.unused_data.lstrip(b"\0")
        if not packed:
            return data
    raise ValueError(f"consists of more than {_MAX_MEMBERS} parts")


def _read_exactly(stream: io.BytesIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise ValueError("is truncated")
    return data


def _path_of(records: bytes) -> str:
    """The path in the records of an extended header, or an empty string."""
    path = ""
    while records:
        digits, _, _ = records[:8].partition(b" ")
        length = int(digits) if digits.isdigit() else 0
        record = records[len(digits) + 1 : length]
        if not len(digits) + 1 < length <= len(records) or not record.endswith(b"\n"):
            raise ValueError("has a damaged extended header")
        key, _, value = record[:-1].partition(b"=")
        if key == b"path":
            path = value.decode()
        elif key == b"size" or key.startswith(b"GNU."):
            raise ValueError("has an extended header that bundles do not use")
        records = records[length:]
    return path
