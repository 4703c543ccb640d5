"""The lines of a journal: which are valid, and what is missing or damaged.

Each record carries its position in the file (`seq`) and a checksum (`sum`). Each attempt begins with a `begin` record
and finishes with an `end` record, which holds the SHA-256 of `result.json`; `result.json` holds the number and the
SHA-256 of the records before it. What undo appends later comes after that. Journals of 0.1.0 have none of this.

An interrupted run has no `end` record. Whether its journal has lost its last records shows in `journal.count`, which
holds the `seq` of the newest record. It is written after each record, but not synced: after a power cut it may be
older than the journal, which proves nothing, but never newer. Backups without a record prove nothing either: they are
written before the record that names them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from bai_wizard.engine.durable import MALFORMED, RESERVE, Damaged, lines_of, read_bytes, read_json

# The version of the format, in `run.json`; 0.1.0 wrote none.
JOURNAL_VERSION = 2
# Records without a change: where an attempt begins and where it ends.
MARKS = ("begin", "end")
# The maximum number of damages listed one by one, and of records that a count may claim: more is itself damage.
NAMED = 1000
MAX = 1_000_000
# The name of the file with the number of records, and its maximum size in bytes.
COUNT, LONGEST_COUNT = "journal.count", 4096
_SUM = re.compile(rb', "sum": "([0-9a-f]{16})"\}$')
_NUMBER = re.compile(rb'"n": ([0-9]{1,6})\b')
# The fields that hold bytes or a secret. Other digests, such as the ID of an image, do not name a backup.
BACKED_UP = ("content", "hash")
_BACKUP = re.compile(rf'"(?:{"|".join(BACKED_UP)})": "sha256:([0-9a-f]{{64}})"'.encode())
_WORDS = rb"([ !#-\[\]-~]+)"
_SUBJECT = re.compile(rb'"step": "' + _WORDS + rb'"(?:.{1,4000}?"before": \[\["[a-z]+", "' + _WORDS + rb'")?')

Record = dict[str, Any]
# The number of a line, its bytes (None: too long), and its record, or why it has none.
Line = tuple[int, bytes | None, Record | str]


class Records(Struct):
    """What was read. `records` are the undamaged ones in the order in which they were written.

    `damages` are messages on what is missing or damaged, `lost` the numbers of changes with a damaged record,
    `backups` the files that each change refers to, and `is_cut_short` whether records with unknown numbers are
    missing.
    `next_seq` and `next_n` are the next free numbers; `lines`, `size` and `digest` are the number, the bytes and the
    SHA-256 of the complete lines.
    """

    records: list[Record] = field(default_factory=list)
    backups: dict[int, set[str]] = field(default_factory=dict)
    damages: list[str] = field(default_factory=list)
    lost: set[int] = field(default_factory=set)
    is_cut_short: bool = False
    has_sums: bool = True
    next_seq: int = 1
    next_n: int = 1
    lines: int = 0
    size: int = 0
    digest: Any = field(default_factory=lambda: _sha256())


class Ending(Struct, frozen=True):
    """`result.json`: its content and SHA-256, and the number and digest of the records that it covers, if given.

    All fields are empty if it is damaged.
    """

    content: Record
    sha256: str
    records: int | None = None
    digest: str = ""


def line_of(record: Record, *, has_sum: bool = True) -> bytes:
    """A record as a line, with its checksum."""
    body = json.dumps(record).encode()
    return (body[:-1] + b', "sum": "' + _sum_of(body[:-1]).encode() + b'"}' if has_sum else body) + b"\n"


def identity_in(path: Path) -> tuple[Record, bool]:
    """The first undamaged `begin` record of the journal at `path`, and whether its records have checksums.

    Versions that write checksums write a `begin` record, with the run's kind, number, machine and release.
    Never raises.
    """
    has_sums = False
    try:
        for line in lines_of(path):
            if line is None or not line.endswith(b"\n"):
                continue
            has_sums = has_sums or _SUM.search(line[:-1]) is not None
            record = _parse(line[:-1]) if b'"what": "begin"' in line else ""
            if isinstance(record, dict) and record["what"] == "begin" and "sum" in record:
                return record, True
    except (FileNotFoundError, Damaged):
        pass
    return {}, has_sums


def write_count(path: Path, seq: int) -> None:
    """Record that `seq` is the newest record of the journal at `path`.

    If that fails, for example on a full disk, the count stays older, and the loss of later records may go unnoticed.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with suppress(OSError):
        descriptor = os.open(path.with_name(COUNT), flags, 0o600)
        try:
            os.pwrite(descriptor, line_of({"seq": seq}), 0)
        finally:
            os.close(descriptor)


def _count(path: Path) -> int:
    """The `seq` of the newest record according to the count beside `path`; 0 if it cannot be read."""
    try:
        line = read_bytes(path.with_name(COUNT), LONGEST_COUNT).partition(b"\n")[0]
        match = _SUM.search(line)
        if match is None or _sum_of(line[: match.start()]) != match[1].decode():
            return 0
        seq = json.loads(line)["seq"]
    except (FileNotFoundError, *MALFORMED, ValueError):
        return 0
    return seq if type(seq) is int and 0 < seq <= MAX else 0


def read_records(path: Path) -> Records:
    """The records of the journal at `path`, compared with `result.json` and `run.json` beside it. Never raises."""
    records = Records()
    ending = _ending(path.with_name("result.json"), records)
    lines, covered = _lines(path, records, ending)
    records.has_sums = any(isinstance(record, dict) and "sum" in record for _, _, record in lines) or _promises_sums(
        path
    )
    seqs = _sort_out(path.name, lines, records)
    if records.has_sums:
        _look_for_gaps(path, seqs, records, ending)
    else:
        _look_at_old(path.name, records, ending)
    _compare(path, ending, covered, records)
    records.next_n = 1 + max({record["n"] for record in records.records} | records.lost, default=0)
    if len(records.damages) > NAMED:
        records.damages[NAMED:] = [f"{path.name}: {len(records.damages) - NAMED} more damages"]
    return records


def _lines(path: Path, result: Records, ending: Ending | None) -> tuple[list[Line], str]:
    """The lines, and the digest of those that `result.json` counts. A torn last line was never relied on."""
    lines: list[Line] = []
    covered = ""
    try:
        for number, line in enumerate(lines_of(path), 1):
            if line is not None and not line.endswith(b"\n"):
                break
            lines.append((number, line, "longer than a record can be" if line is None else _parse(line[:-1])))
            result.lines = number
            result.digest.update(line or b"")
            result.size += len(line or b"")
            if ending is not None and number == ending.records:
                covered = result.digest.hexdigest()
    except FileNotFoundError:
        pass
    except Damaged as error:
        result.damages.append(str(error))
        result.is_cut_short = True
    return lines, covered


def _parse(line: bytes) -> Record | str:
    """The record of a line, or why it is damaged."""
    match = _SUM.search(line)
    if match and _sum_of(line[: match.start()]) != match[1].decode():
        return "its checksum is wrong"
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        return "nested too deeply" if isinstance(error, RecursionError) else str(error)[:100]
    is_record = isinstance(record, dict) and type(record.get("n")) is int and isinstance(record.get("what"), str)
    if not is_record or not 0 <= record["n"] <= MAX:
        return "it is not a journal record"
    if record["what"] == "intent" and not isinstance(record.get("step"), str):
        return "it has no step"
    if match and not (type(record.get("seq")) is int and 0 < record["seq"] <= MAX):
        return "it has no sequence number"
    if not match:
        record.pop("sum", None)
    return dict(record)


def _sha256(data: bytes = b"") -> Any:
    """Import lazily: a plan on a node without runs reads no journal."""
    from hashlib import sha256

    return sha256(data)


def _sum_of(body: bytes) -> str:
    return str(_sha256(body).hexdigest())[:16]


def _sort_out(name: str, lines: list[Line], result: Records) -> list[int]:
    """Fill `records` and report damaged lines. Returns the positions of the undamaged lines in file order."""
    subjects = {
        record["n"]: _subject(line)
        for _, line, record in lines
        if isinstance(record, dict) and record["what"] == "intent" and line is not None
    }
    known: dict[int, Record] = {}
    seen: set[bytes] = set()
    seqs: list[int] = []
    for number, line, record in lines:
        if isinstance(record, dict) and result.has_sums and "sum" not in record:
            record = "it has no checksum"
        if isinstance(record, str):
            raw = (line or b"")[: 1 << 20]
            numbers = {int(match) for match in _NUMBER.findall(raw)} - {0}
            about = _subject(raw) or ", ".join(filter(None, (subjects.get(n, "") for n in sorted(numbers))))
            result.lost |= numbers
            result.damages.append(f"{name}, line {number}{f' ({about})' if about else ''} is damaged: {record}")
            continue
        location = record["seq"] if result.has_sums else number
        if location in known and "begin" in (record["what"], known[location]["what"]):
            # Two commands resumed the run at the same time: the mark carries no information.
            known[location] = known[location] if record["what"] == "begin" else record
        elif location in known or (not result.has_sums and line in seen):
            result.damages.append(f"{name}, line {number} repeats an earlier record")
        else:
            known[location] = record
        seqs.append(location)
        result.backups.setdefault(record["n"], set()).update(map(bytes.decode, _BACKUP.findall(line or b"")))
        if not result.has_sums:
            seen.add(line or b"")
    result.records = [known[location] for location in sorted(known)]
    return seqs


def _subject(line: bytes) -> str:
    """What a possibly damaged record is about, as far as it can be read: step and first path."""
    return ", ".join(": ".join(each.decode() for each in match if each) for match in _SUBJECT.findall(line))


def _look_for_gaps(path: Path, seqs: list[int], result: Records, ending: Ending | None) -> None:
    """Report the records that are missing according to the sequence, `journal.count` or `result.json`."""
    if any(later < earlier for earlier, later in pairwise(seqs)):
        result.damages.append(f"{path.name}: the records are out of order")
    is_unread = result.is_cut_short
    damaged = result.lines - len(seqs)
    last = max([*seqs, _count(path), 0 if ending is None or ending.records is None else ending.records + 1])
    result.next_seq = 1 + max(last, result.lines)
    missing = sorted(set(range(1, last + 1)) - set(seqs))
    result.is_cut_short = bool(missing) or is_unread or not result.lines
    if not result.lines and not is_unread:
        result.damages.append(f"{path.name} is {'empty' if path.exists() else 'missing'}")
    elif len(missing) > damaged:
        # A damaged line accounts for one missing number. If more numbers are missing, lines are gone.
        what = "record is" if len(missing) - damaged == 1 else "records are"
        result.damages.append(
            f"{path.name}: {len(missing) - damaged} {what} missing ({_ranges(missing)} of {last} cannot be read)"
        )


def _ranges(numbers: Iterable[int]) -> str:
    """`1, 4 to 6`."""
    runs = [[n for _, n in group] for _, group in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])]
    return ", ".join(f"{run[0]}" if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs)


def _look_at_old(name: str, result: Records, ending: Ending | None) -> None:
    """Check what can be checked in a journal without checksums."""
    begun: set[int] = set()
    early: set[int] = set()
    intents = [record for record in result.records if record["what"] == "intent"]
    for record in result.records:
        if record["what"] == "intent":
            begun.add(record["n"])
        elif record["what"] not in MARKS and record["n"] not in begun:
            early.add(record["n"])
    if any(later["n"] < earlier["n"] for earlier, later in pairwise(intents)) or early & begun:
        result.damages.append(f"{name}: the records are out of order")
        rest = [record for record in result.records if record["what"] != "intent"]
        result.records = [*sorted(intents, key=lambda record: record["n"]), *rest]
    highest = max((record["n"] for record in result.records), default=0)
    if missing := sorted(set(range(1, highest + 1)) - begun - result.lost):
        which = "change" if len(missing) == 1 else "changes"
        result.damages.append(f"{name}: no record of how {which} {_ranges(missing)} began")
    if ending is not None and open_changes(result.records):
        which = "change" if len(open_changes(result.records)) == 1 else "changes"
        result.damages.append(
            f"{name}: no record of how {which} {_ranges(sorted(open_changes(result.records)))} ended"
        )
        result.is_cut_short = True
    result.is_cut_short = result.is_cut_short or len(result.records) < result.lines
    result.next_seq = 1 + result.lines


def reverted(records: list[Record]) -> set[int]:
    """The numbers of changes that never happened or have been undone: damage to their records does not matter."""
    statuses = {record["n"]: record["what"] for record in records if record["what"] not in MARKS}
    return {number for number, status in statuses.items() if status in ("void", "undone")}


def open_changes(records: list[Record]) -> set[int]:
    """The numbers of changes that have begun and have no recorded end."""
    begun = {record["n"] for record in records if record["what"] == "intent"}
    return begun - {record["n"] for record in records if record["what"] not in ("intent", *MARKS)}


def _ending(path: Path, result: Records) -> Ending | None:
    """`result.json`; None if it does not exist."""
    try:
        raw = read_bytes(path, 1 << 26)
        content = json.loads(raw)
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        result.damages.append(str(error) if isinstance(error, Damaged) else f"{path.name} is damaged")
        return Ending({}, "")
    if not isinstance(content, dict):
        result.damages.append(f"{path.name} is damaged: it is not a JSON object")
        return Ending({}, "")
    digest = _sha256(raw).hexdigest()
    try:
        records, of_records = content["journal"]["records"], content["journal"]["digest"]
    except MALFORMED:
        return Ending(content, digest)
    if type(records) is not int or not 0 <= records <= MAX or not isinstance(of_records, str):
        return Ending(content, digest)
    return Ending(content, digest, records, of_records)


def _promises_sums(path: Path) -> bool:
    """Whether, according to `run.json`, a version that writes checksums has begun the run: it then has a number."""
    try:
        about = read_json(path.with_name("run.json"))
    except (FileNotFoundError, Damaged):
        return False
    versions = about.get("versions")
    return isinstance(versions, dict) and versions.get("journal") == JOURNAL_VERSION and bool(about.get("number"))


def _compare(path: Path, ending: Ending | None, covered: str, value: Records) -> None:
    """Compare what the journal and `result.json` record about each other."""
    marks = [record for record in value.records if record["what"] in MARKS]
    for mark in marks:
        result = mark.get("damaged")
        if isinstance(result, list) and result:  # by an earlier attempt
            value.is_cut_short = True
            value.damages += [text for each in result if (text := str(each)) not in value.damages]
    has_ended = bool(marks) and marks[-1]["what"] == "end"
    if ending is None:
        if has_ended and not path.with_name(RESERVE).exists():
            value.damages.append("result.json is missing")
        if not value.has_sums:
            _look_at_events(path, value)
        return
    is_known = ending.sha256 in [record.get("result") for record in marks if record["what"] == "end"]
    if ending.records is not None and not value.damages:
        if value.lines < ending.records or (is_known and covered != ending.digest):
            value.damages.append(f"{path.name} is not the journal that result.json counts")
            value.is_cut_short = True
        elif not has_ended and not is_known:
            value.damages.append(f"{path.name}: the end mark is missing")
    if has_ended and ending.sha256 and not is_known and not value.is_cut_short:
        value.damages.append("result.json is not the one that was written when the run ended")
    missing = _without_a_record(ending.content, value.records)
    if missing and (value.is_cut_short or not value.has_sums):
        value.damages.append(f"{path.name}: no record of what was changed by {', '.join(missing)}")
        value.is_cut_short = True


def _look_at_events(path: Path, result: Records) -> None:
    """Find the steps in the lost journal tail of an interrupted run of 0.1.0: only the events name them."""
    existing = {record["step"] for record in result.records if record["what"] == "intent"}
    missing: dict[str, None] = {}
    try:
        for line in lines_of(path.with_name("events.jsonl")):
            event = json.loads(line) if line and b'"outcome": "changed"' in line else None
            step = event.get("step") if isinstance(event, dict) and event.get("kind") == "finished" else None
            if isinstance(step, str) and step not in (*existing, "undo"):
                missing[step] = None
    except (FileNotFoundError, ValueError, RecursionError):
        pass  # events may be damaged: they are only a hint
    if missing:
        result.damages.append(f"{path.name}: no record of what was changed by {', '.join(missing)}")
        result.is_cut_short = True


def _without_a_record(result: Record, records: list[Record]) -> list[str]:
    """The steps that changed something according to `result.json`, but have no change in the journal."""
    existing = {record["step"] for record in records if record["what"] == "intent"}
    steps = result.get("steps")
    rows = [row for row in steps if isinstance(row, dict)] if isinstance(steps, list) else []
    changed = [row.get("step") for row in rows if row.get("outcome") == "changed"]
    return [step for step in changed if isinstance(step, str) and step != "undo" and step not in existing]
