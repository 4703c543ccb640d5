"""A run directory: everything that a run knows about itself."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from bai_wizard import __version__
from bai_wizard.core.codec import KEPT
from bai_wizard.core.errors import PreflightError
from bai_wizard.core.event import EVENT_VERSION
from bai_wizard.core.plan import PLAN_VERSION, Plan
from bai_wizard.engine.run.durable import RESERVE, RESERVED, recording, write_durably, write_json
from bai_wizard.engine.run.places import Places

RunKind = Literal["apply", "undo"]


@dataclass(frozen=True)
class RunDirectory:
    """`/var/lib/bai-wizard/runs/<UTC time>-<4 hex>/`: settings, plan, journal, events, backups and result."""

    path: Path

    @property
    def id(self) -> str:
        """The run's id: its directory's name."""
        return self.path.name

    @property
    def journal(self) -> Path:
        """The write-ahead journal: the truth."""
        return self.path / "journal.jsonl"

    @property
    def events(self) -> Path:
        """The narrative; may lose its tail."""
        return self.path / "events.jsonl"

    @property
    def log(self) -> Path:
        """What the executor itself printed: empty unless the wizard has a bug."""
        return self.path / "executor.log"

    @property
    def backup(self) -> Path:
        """Contents before and after, named by their sha256."""
        return self.path / "backup"

    @cached_property
    def about(self) -> dict[str, Any]:
        """What was fixed when the run was made: kind, host, versions, digest, consent, the run it undoes."""
        return self._read("run.json")

    @property
    def kind(self) -> RunKind:
        """apply or undo."""
        kind: RunKind = self.about["kind"]
        return kind

    def plan(self) -> Plan:
        """The confirmed plan, with its password hashes. Raises PreflightError when it was made by another version."""
        try:
            return Plan.from_json(self._read("plan.json"), KEPT)
        except ValueError as error:
            raise PreflightError(f"run {self.id}: its plan cannot be read by this version: {error}") from error

    def settings(self) -> dict[str, Any]:
        """The resolved answers, secrets as references, from which `resume` plans again."""
        return self._read("settings.json")

    def result(self) -> dict[str, Any] | None:
        """How the last attempt ended; None while it runs or when it was cut."""
        try:
            return self._read("result.json")
        except FileNotFoundError:
            return None

    def begin_attempt(self, plan: Plan, about: Mapping[str, Any]) -> None:
        """Makes `plan` the one to carry out and takes the last attempt's result away."""
        with recording(self.path, PreflightError, "nothing was touched"):
            write_durably(self.path / RESERVE, bytes(RESERVED))
            (self.path / "result.json").unlink(missing_ok=True)
            write_json(self.path / "plan.json", plan.to_json(KEPT))
            write_json(self.path / "run.json", {**about, "digest": plan.digest()})
        self.__dict__.pop("about", None)

    def end(self, result: Mapping[str, Any]) -> None:
        """Writes how the attempt ended."""
        (self.path / RESERVE).unlink(missing_ok=True)
        write_json(self.path / "result.json", dict(result))

    def _read(self, name: str) -> dict[str, Any]:
        value = json.loads((self.path / name).read_bytes())
        assert isinstance(value, dict)
        return value


def create_run(
    places: Places,
    plan: Plan,
    settings: Mapping[str, Any],
    *,
    kind: RunKind = "apply",
    undoes: str = "",
    consent: tuple[str, ...] = (),
) -> RunDirectory:
    """Makes the directory of a new run with everything the executor needs. Raises PreflightError without room."""
    now = datetime.now(UTC)
    run = RunDirectory(places.runs / f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}")
    about = {
        "run": run.id,
        "kind": kind,
        "undoes": undoes,
        "host": plan.host,
        "created": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "wizard": __version__,
        "versions": {"plan": PLAN_VERSION, "event": EVENT_VERSION},
        "consent": list(consent),
    }
    try:
        with recording(places.runs, PreflightError, "nothing was touched"):
            places.make()
            run.path.mkdir(mode=0o700)
            run.backup.mkdir(mode=0o700)
            write_json(run.path / "settings.json", dict(settings))
        run.begin_attempt(plan, about)
    except PreflightError:
        from shutil import rmtree

        rmtree(run.path, ignore_errors=True)
        raise
    return run


def all_runs(places: Places) -> list[RunDirectory]:
    """Every run on this node, oldest first. Raises PermissionError for anybody but root."""
    if not places.runs.is_dir():
        return []
    return [RunDirectory(path) for path in sorted(places.runs.iterdir()) if (path / "run.json").is_file()]


def find_run(places: Places, id: str = "", *, kind: RunKind | None = None) -> RunDirectory:
    """The run of that id, or an unambiguous beginning or end of it; the newest when empty. Raises PreflightError."""
    runs = [run for run in all_runs(places) if kind is None or run.kind == kind]
    if id:
        runs = [run for run in runs if run.id.startswith(id) or run.id.endswith(id)]
        if len(runs) > 1:
            raise PreflightError(f"{id!r} names {len(runs)} runs: {', '.join(run.id for run in runs)}")
    if not runs:
        raise PreflightError(f"there is no run {id!r} on this node" if id else "there is no run on this node yet")
    return runs[-1]
