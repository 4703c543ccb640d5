"""A run directory: everything that is recorded about a run."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from msgspec import Struct

from bai_wizard import __version__
from bai_wizard.core.codec import KEPT
from bai_wizard.core.consent import Consent, consents_from_json, consents_to_json
from bai_wizard.core.errors import PreflightError, StepFailed
from bai_wizard.core.event import EVENT_VERSION
from bai_wizard.core.secret import redacted
from bai_wizard.core.step import PLAN_VERSION, Plan
from bai_wizard.engine.durable import (
    MALFORMED,
    RESERVE,
    RESERVED,
    Damaged,
    json_bytes,
    open_record,
    read_json,
    recording,
    with_reserve,
    write_durably,
    write_json,
)
from bai_wizard.engine.journal import Backups, Contents, Journal
from bai_wizard.engine.lock import StatePaths
from bai_wizard.engine.records import JOURNAL_VERSION, identity_in
from bai_wizard.engine.result import Result
from bai_wizard.node.regular import sync_directory

RunKind = Literal["apply", "undo"]
# Fields of run.json that the journal also records: a damaged run.json must not make a run look foreign.
IDENTITY = ("kind", "number", "machine", "release")
# Bytes of a record file that contain its first record; no more is read to sort the runs.
FIRST_RECORD = 1 << 16


class RunDirectory(Struct, frozen=True, dict=True):
    """`/var/lib/bai-wizard/runs/<UTC time>-<4 hex>/`: settings, plan, journal, events, backups and result."""

    path: Path

    @property
    def id(self) -> str:
        """The run's ID: the name of its directory."""
        return self.path.name

    @property
    def journal(self) -> Path:
        """The write-ahead journal: authoritative."""
        return self.path / "journal.jsonl"

    @property
    def events(self) -> Path:
        """The events shown to users; the tail may be lost in a crash."""
        return self.path / "events.jsonl"

    @property
    def log(self) -> Path:
        """The executor's own output: empty unless the wizard has a bug."""
        return self.path / "executor.log"

    @property
    def debug_log(self) -> Path:
        """The executor's log with `--debug`."""
        return self.path / "debug.log"

    @property
    def backup(self) -> Path:
        """File contents before and after, named by their SHA-256."""
        return self.path / "backup"

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """Fixed when the run was created: kind, host, versions, digest, consent, the run it undoes, its number.

        Raises Damaged.
        """
        about = self._read("run.json")
        is_known = about.get("kind") in get_args(RunKind) and {"undoes", "digest"} <= about.keys()
        texts = ("undoes", "digest", "host", "created")
        if (
            not is_known
            or not all(isinstance(about.get(name, ""), str) for name in texts)
            or (about["kind"] == "undo") is not bool(about["undoes"])
            or _whole(about.get("number", 0)) != about.get("number", 0)
        ):
            raise Damaged(f"{self.path}/run.json is damaged: not the metadata of a run")
        return about

    def _forget_metadata(self) -> None:
        vars(self).pop("metadata", None)

    @property
    def number(self) -> int:
        """The position of this run among all runs, from 1; 0 for runs of version 0.1.0 and for runs not yet begun.

        If run.json is damaged, the number comes from the journal, otherwise from the first event.
        """
        try:
            number: int = self.metadata.get("number", 0)
        except Damaged:
            data = _first_record(self.events).get("data")
            result = _whole(data.get("number")) if isinstance(data, dict) else 0
            return _whole(identity_in(self.journal)[0].get("number")) or result
        return number

    def owner(self) -> Mapping[str, object] | None:
        """`machine` and `release` of the node on which the run was created; empty in runs of version 0.1.0.

        The journal's record has a checksum, run.json has none. None if both are damaged.
        """
        recorded, has_sums = identity_in(self.journal)
        if "machine" in recorded:
            return recorded
        try:
            about = self.metadata
        except Damaged:
            return None if has_sums or self.number else {}
        is_damaged = "machine" not in about and (has_sums or self.number) and about.get("number") != 0
        return None if is_damaged else about

    def is_prepared(self) -> bool:
        """Whether a front end has created this directory but no executor has begun the run: it is not a run yet."""
        if os.path.lexists(self.journal) or os.path.lexists(self.path / "result.json"):
            return False
        if not os.path.lexists(self.path / "run.json"):
            return not os.path.lexists(self.events) and not (self.backup.is_dir() and any(self.backup.iterdir()))
        try:
            return self.metadata.get("number") == 0
        except Damaged:
            return False

    def order(self) -> tuple[int, datetime, str]:
        """The sort key of runs, oldest first: by number; unnumbered runs come first, by their first record."""
        if self.number:
            return self.number, datetime.min.replace(tzinfo=UTC), self.id
        times = (_first_record(path).get("t") for path in (self.journal, self.events))
        try:
            created = self.metadata.get("created")
        except Damaged:
            created = None
        known = (time for text in (*times, created) if (time := _time(text)) is not None)
        return 0, next(known, datetime.min.replace(tzinfo=UTC)), self.id

    @property
    def kind(self) -> RunKind:
        """`apply` or `undo`."""
        kind: RunKind = self.metadata["kind"]
        return kind

    def kind_told(self) -> RunKind | None:
        """The kind; if run.json is damaged, from the journal or else the first event; None if all are unreadable."""
        try:
            return self.kind
        except Damaged:
            data = _first_record(self.events).get("data")
            result = identity_in(self.journal)[0].get("kind") or (
                data.get("kind") if isinstance(data, dict) else None
            )
            return "apply" if result == "apply" else "undo" if result == "undo" else None

    def consents(self) -> tuple[Consent, ...]:
        """What this attempt may interrupt. Consent in the format of 0.1.0, which named no targets, has expired."""
        return consents_from_json(self.metadata.get("consent"))

    def plan(self) -> Plan:
        """The confirmed plan, with its password hashes. Raises Damaged, PreflightError for another version's plan."""
        data = self._read("plan.json")
        try:
            return Plan.from_json(data, KEPT)
        except (*MALFORMED, ValueError) as error:
            raise PreflightError(f"run {self.id}: its plan cannot be read by this version: {error}") from error

    def settings(self) -> dict[str, Any]:
        """The resolved answers, with secrets as references, from which `resume` plans again. Raises Damaged."""
        return self._read("settings.json")

    def result(self) -> dict[str, Any] | None:
        """How the last attempt ended; None while it is running or if it was interrupted. Raises Damaged."""
        if not (self.path / "result.json").exists():
            return None
        data = self._read("result.json")
        try:
            Result.from_json(data).code()
            counts = {str(name): int(number) for name, number in data["counts"].items()}
            data.pop("journal", None)
            return {**data, "code": int(data["code"]), "counts": counts}
        except (*MALFORMED, ValueError) as error:
            raise Damaged(f"{self.path}/result.json is damaged: not the result of a run") from error

    def begin_again(
        self, plan: Plan, consent: Collection[Consent] = (), actor: Mapping[str, Any] | None = None
    ) -> None:
        """Prepare another attempt by `actor`. Consent to an earlier attempt does not carry over."""
        self._forget_metadata()
        by = {"resumed_by": dict(actor)} if actor else {}
        self.begin_attempt(plan, {**self.metadata, **by, "consent": consents_to_json(consent)})

    def begin_attempt(self, plan: Plan, about: Mapping[str, Any]) -> None:
        """Make `plan` the plan to apply."""
        with recording(self.path, PreflightError, "nothing was changed"):
            write_durably(self.path / RESERVE, bytes(RESERVED))
            write_json(self.path / "plan.json", plan.to_json(KEPT))
            write_json(self.path / "run.json", {**about, "digest": plan.digest()})
        self._forget_metadata()

    def take_over(self, number: int, whose: Mapping[str, str], journal: Journal) -> None:
        """Begin an attempt in the executor: assign number and owner to a new run, and remove the previous result.

        The attempt's mark is written to the journal first, so that any damage known from the previous result stays on
        record. Call it under the lock. Raises PreflightError, with the node unchanged.
        """
        self._forget_metadata()
        about = self.metadata
        is_new = about.get("number") == 0
        if is_new:
            about = {**about, **whose, "number": number}
        with recording(self.path, PreflightError, "nothing was changed"):
            journal.begin({name: about[name] for name in IDENTITY if name in about})
            if is_new:
                write_json(self.path / "run.json", about)
            (self.path / "result.json").unlink(missing_ok=True)
        self._forget_metadata()

    def end(self, result: Mapping[str, Any], journal: Journal) -> None:
        """Record how the attempt, or its later undo, ended.

        The journal's end mark and the result refer to each other. The reserve is deleted last: if it remains and the
        result is missing, the attempt did not finish. Raises OSError.
        """
        shown = redacted(dict(result))
        data = json_bytes({**shown, "journal": journal.seal()})
        try:
            from hashlib import sha256

            journal.end(sha256(data).hexdigest())
        except OSError:  # a full disk: without the end mark, the journal cannot be compared with the result
            data = json_bytes(shown)
        with_reserve(self.path / RESERVE, lambda: write_durably(self.path / "result.json", data))
        (self.path / RESERVE).unlink(missing_ok=True)

    def end_again(self, journal: Journal) -> None:
        """Update the result, if there is one, after an undo of this run has appended to its journal."""
        result = self.result()
        if result is not None:
            with recording(self.path, StepFailed, "its result does not include everything that undo recorded"):
                self.end(result, journal)

    def _read(self, name: str) -> dict[str, Any]:
        try:
            return read_json(self.path / name)
        except FileNotFoundError as error:
            raise Damaged(f"{self.path}/{name} is missing") from error


def journal_of(run: RunDirectory) -> Journal:
    """The journal of a run, with its backups."""
    return Journal(run.journal, Backups(run.backup))


def contents_of(run: RunDirectory, journal: Journal) -> Contents:
    """What can be read of a run's journal, and what is damaged in the run."""
    contents = journal.contents()
    damage = damage_of(run)
    is_known = not damage or (any("result.json" in text for text in contents.damages) and "result.json" in damage)
    return contents if is_known else Contents(contents.entries, (damage, *contents.damages))


def damage_of(run: RunDirectory) -> str:
    """Why the kind or the result of a run cannot be read; empty if both can."""
    try:
        _ = run.metadata, run.result()
    except Damaged as error:
        return str(error)
    return ""


def answers_digest(settings: Mapping[str, Any]) -> str:
    """SHA-256 of settings. Secrets are masked: a short one could be found by trying."""
    from hashlib import sha256

    canonical = json.dumps(redacted(dict(settings)), sort_keys=True, separators=(",", ":"))
    return sha256(canonical.encode()).hexdigest()


def create_run(
    paths: StatePaths,
    plan: Plan,
    settings: Mapping[str, Any],
    *,
    kind: RunKind = "apply",
    undoes: str = "",
    consent: Collection[Consent] = (),
    force: bool = False,
    origin: Mapping[str, Mapping[str, Any] | None] | None = None,
) -> RunDirectory:
    """Create the directory of a new run with everything the executor needs. `origin`: actor, approval, conditions.

    Raises PreflightError if the disk is full. It becomes a run when the executor takes it over; until then `all_runs`
    does not list it.
    """
    paths.make()
    now = datetime.now(UTC)
    with recording(paths.runs, PreflightError, "nothing was changed"):
        run = _new_directory(paths, now)
    about = {
        "run": run.id,
        "kind": kind,
        "number": 0,
        "undoes": undoes,
        "host": plan.host,
        "by": (os.environ.get("SUDO_USER") or os.environ.get("LOGNAME", ""))[:64],
        "answers_digest": answers_digest(settings),
        "created": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "wizard": __version__,
        "versions": {"plan": PLAN_VERSION, "event": EVENT_VERSION, "journal": JOURNAL_VERSION},
        "consent": consents_to_json(consent),
        **({"force": True} if force else {}),
        **{name: dict(value) for name, value in (origin or {}).items() if value},
    }
    try:
        with recording(paths.runs, PreflightError, "nothing was changed"):
            run.backup.mkdir(mode=0o700)
            write_json(run.path / "settings.json", dict(settings))
        run.begin_attempt(plan, about)
    except PreflightError:
        from shutil import rmtree

        rmtree(run.path, ignore_errors=True)
        raise
    return run


def _new_directory(paths: StatePaths, now: datetime) -> RunDirectory:
    """An empty run directory. The timestamp in its name is informational only: the clock may be wrong or stuck."""
    while True:
        run = RunDirectory(paths.runs / f"{now:%Y%m%dT%H%M%SZ}-{os.urandom(2).hex()}")
        try:
            run.path.mkdir(mode=0o700)
        except FileExistsError:
            continue
        sync_directory(paths.runs)
        return run


def all_runs(paths: StatePaths) -> list[RunDirectory]:
    """Every run on this node, oldest first, including damaged ones. Raises PreflightError unless root."""
    return sorted((run for run in directories(paths) if not run.is_prepared()), key=RunDirectory.order)


def directories(paths: StatePaths) -> list[RunDirectory]:
    """Every run directory, including those not yet begun. Raises PreflightError unless root."""
    try:
        return [RunDirectory(path) for path in paths.runs.iterdir() if path.is_dir()]
    except FileNotFoundError:
        return []
    except OSError as error:
        hint = "; use sudo" if isinstance(error, PermissionError) else ""
        raise PreflightError(f"the runs cannot be read: {(error.strerror or str(error)).lower()}{hint}") from error


def count_attempt(paths: StatePaths, run: RunDirectory) -> tuple[int, str]:
    """Count an attempt of `run`; returns the number for a new run, and why it could not be saved, if so.

    Numbers are not reused after the newest run is deleted, as long as the counter can be read. Call it under the
    lock.
    """
    number, attempts = counter(paths)
    if run.metadata.get("number") == 0:
        number = 1 + max([number, *(each.number for each in directories(paths))])
    try:
        write_json(paths.counter, {"number": number, "attempts": attempts + 1})
    except OSError as error:
        return number, f"{paths.counter} cannot be written: {(error.strerror or str(error)).lower()}"
    return number, ""


def counter(paths: StatePaths) -> tuple[int, int]:
    """The number of the newest run, and how many attempts of runs have begun; 0 if that cannot be read."""
    try:
        kept = read_json(paths.counter)
    except (FileNotFoundError, Damaged):
        return 0, 0
    return _whole(kept.get("number")), _whole(kept.get("attempts"))


def refuse_without_runs(paths: StatePaths) -> None:
    """Raise PreflightError on a node without runs."""
    if not paths.runs.is_dir():
        raise PreflightError("no runs on this node yet")


def find_run(paths: StatePaths, id: str = "", *, kind: RunKind | None = None) -> RunDirectory:
    """The run with that ID, or with an unambiguous prefix or suffix; the newest if empty. Raises PreflightError.

    A damaged run may be of any kind: it is never skipped silently.
    """
    # Not `Path.is_dir`: before Python 3.13, it raises PermissionError for users other than root.
    if id and "/" not in id and not id.startswith(".") and os.path.isdir(paths.runs / id):
        runs = [RunDirectory(paths.runs / id)]
    else:
        runs = [run for run in all_runs(paths) if not id or run.id.startswith(id) or run.id.endswith(id)]
    if id and len(runs) > 1:
        raise PreflightError(f"{id!r} matches {len(runs)} runs: {', '.join(run.id for run in runs)}")
    result = [run for run in runs if kind is None or is_of_kind(run, kind)]
    if id and runs and not result:
        raise PreflightError(f"run {runs[0].id} is of kind {runs[0].kind}, not {kind}")
    if not result:
        raise PreflightError(f"run {id!r} does not exist on this node" if id else "no runs on this node yet")
    return result[-1]


def is_of_kind(run: RunDirectory, kind: RunKind) -> bool:
    """Whether a run is of that kind, or may be because it is damaged."""
    try:
        return run.kind == kind
    except Damaged:
        return True


def _whole(value: object) -> int:
    """The number of a run; 0 for any other value."""
    return value if type(value) is int and 0 <= value < 1 << 53 else 0


def _first_record(path: Path) -> dict[str, Any]:
    """The JSON object in the first line of a record file; empty if it cannot be read."""
    try:
        with os.fdopen(open_record(path), "rb") as file:
            record = json.loads(file.read(FIRST_RECORD).partition(b"\n")[0])
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _time(text: object) -> datetime | None:
    try:
        time = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return time if time is None or time.tzinfo is not None else time.replace(tzinfo=UTC)
