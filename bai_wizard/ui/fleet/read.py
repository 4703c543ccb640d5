"""Read what nodes wrote: plans, results and findings as JSON Lines, and reports. None of it is trusted."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct, field

from bai_wizard.answers.model import OVERRIDE
from bai_wizard.core.display import is_visible
from bai_wizard.core.errors import Problem
from bai_wizard.engine.plan_file import FORMAT
from bai_wizard.node.regular import parse_json, read_given
from bai_wizard.ui.fleet.compare import LONGEST_HOST, checked_report

# A run that pulls images writes a line for each step of its progress.
LARGEST = 64 << 20
MAX_STEPS = 20_000
# What a file can say of a node, each at most once.
PARTS = ("plan", "result", "findings", "drift", "report")
NOT_OURS = "was not written by bai-wizard; create it with --json or --report N.json"


class Change(Struct, frozen=True):
    """A change of a step, as the node wrote it."""

    subject: str
    verb: str
    before: str | None = None
    after: str | None = None
    attributes: str = ""


class Verdict(Struct, frozen=True):
    """The status of a step: `kind` is unchanged, pending or blocked."""

    kind: str
    changes: tuple[Change, ...] = ()
    reason: str = ""
    known_after: str = ""


class Head(Struct, frozen=True):
    """What is shown of a step's own data."""

    id: str
    optional: bool = False
    interrupts: tuple[str, ...] = ()


class Item(Struct, frozen=True):
    """A planned step. `raw` identifies it: equal bytes are the same step with the same changes."""

    step: Head
    verdict: Verdict
    describe: str = ""
    raw: bytes = b""

    @property
    def page(self) -> str:
        """The page that the step belongs to."""
        return self.step.id.partition(".")[0]


class Affected(Struct, frozen=True):
    """A container or process that would be interrupted."""

    name: str = ""


class PlanBody(Struct, frozen=True):
    """The data of a plan event, and of plan.json."""

    version: int
    host: str
    steps: list[Raw]
    origins: dict[str, str] = {}
    interrupts: dict[str, Any] = {}


class StepResult(Struct, frozen=True):
    """How a step ended."""

    step: str
    outcome: str
    describe: str = ""
    text: str = ""


class ResultBody(Struct, frozen=True):
    """The data of the summary of a run, and the result in a report."""

    code: int
    steps: tuple[StepResult, ...] = ()
    stopped: str = ""


class Finding(Struct, frozen=True):
    """A finding of the doctor."""

    id: str
    result: str
    title: str = ""
    page: str = ""
    cause: str = ""
    ignored: str = ""


class Drifted(Struct, frozen=True):
    """An object that differs, as `drift --json` tells it."""

    state: str
    kind: str
    name: str
    step: str
    describe: str = ""
    diff: str = ""
    reason: str = ""
    accepted: bool = False
    excused: bool = False


class Event(Struct, frozen=True):
    """A line of `--json`."""

    kind: str
    v: int
    data: Raw = Raw()


class Summary(Struct, frozen=True):
    """The end of a run, or of the doctor or `drift`, which name their node."""

    code: int
    host: str = ""
    compared_with: str = ""


class Node(Struct):
    """What is known of one node, and the files that it comes from by what they hold."""

    host: str
    files: dict[str, str] = field(default_factory=dict)
    plan: tuple[Item, ...] | None = None
    result: ResultBody | None = None
    findings: tuple[Finding, ...] | None = None
    drift: tuple[Drifted, ...] | None = None
    report: dict[str, Any] | None = None
    overrides: tuple[str, ...] = ()
    interrupts: dict[str, int] = field(default_factory=dict)


class Fleet(Struct):
    """The nodes by host name, and every file that cannot be used, with the reason."""

    nodes: dict[str, Node] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def read_fleet(paths: Sequence[str]) -> Fleet:
    """Read files, and the files of directories; what cannot be used is reported and the rest is kept."""
    fleet, known = Fleet(), dict[bytes, Item]()
    for file in _files(paths, fleet.problems):
        try:
            node = _read(file, known)
            _merge(fleet, node, file)
        except OSError as error:
            fleet.problems.append(Problem(file, 0, 0, "", f"cannot be read: {error.strerror}"))
        except msgspec.ValidationError as error:
            fleet.problems.append(Problem(file, 0, 0, "", f"{NOT_OURS} ({error})"))
        except (msgspec.DecodeError, RecursionError):
            fleet.problems.append(Problem(file, 0, 0, "", "is damaged: it contains a line that is not valid JSON"))
        except ValueError as error:
            fleet.problems.append(Problem(file, 0, 0, "", str(error)))
    return fleet


def _files(paths: Sequence[str], problems: list[Problem]) -> Iterator[str]:
    for path in paths:
        if "\0" in path or not os.path.isdir(path):
            yield path
            continue
        try:
            names = sorted(os.listdir(path))
        except OSError as error:
            problems.append(Problem(path, 0, 0, "", f"cannot be read: {error.strerror}"))
            continue
        chosen = [name for name in names if name.endswith((".json", ".jsonl")) and not name.startswith(".")]
        if not chosen:
            problems.append(Problem(path, 0, 0, "", "contains no .json or .jsonl files"))
        yield from (os.path.join(path, name) for name in chosen)


def _merge(fleet: Fleet, new: Node, file: str) -> None:
    old = fleet.nodes.setdefault(new.host, Node(new.host))
    for part in PARTS:
        value = getattr(new, part)
        if value is None:
            continue
        if part in old.files:
            raise ValueError(f"is of {new.host}, as {old.files[part]} is")
    for part in PARTS:
        if (value := getattr(new, part)) is not None:
            setattr(old, part, value)
            old.files[part] = file
    old.overrides = tuple(dict.fromkeys(old.overrides + new.overrides))
    old.interrupts |= new.interrupts


def _read(file: str, known: dict[bytes, Item]) -> Node:
    data = read_given(file, LARGEST)
    if not data.strip():
        raise ValueError("is empty: the command on the node wrote nothing; see its standard error")
    first = data.lstrip()[:1]
    if first != b"{":
        raise ValueError("is not valid JSON")
    lines = [line for line in data.split(b"\n") if line.strip()]
    try:
        events = [msgspec.json.decode(lines[0], type=Event)]
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return _whole(data, known)
    for line in lines[1:]:
        events.append(msgspec.json.decode(line, type=Event))
    return _from_events(events, known)


def _whole(data: bytes, known: dict[bytes, Item]) -> Node:
    """A report, or a plan.json."""
    body = parse_json(data)
    if not isinstance(body, dict):
        raise ValueError(NOT_OURS)
    if body.get("format") == FORMAT:
        raise ValueError("is a plan file for `bai-wizard apply`; create the input of fleet with --plan --json")
    if "steps" in body:
        return _from_plan(msgspec.json.decode(data, type=PlanBody), known)
    report = checked_report(body)
    result = msgspec.convert(body["result"], ResultBody) if isinstance(body.get("result"), dict) else None
    overrides = body.get("overrides", [])
    if not isinstance(overrides, list) or not all(isinstance(each, str) for each in overrides):
        raise ValueError(NOT_OURS)
    return Node(report["host"], result=result, report=report, overrides=tuple(overrides))


def _from_events(events: Sequence[Event], known: dict[bytes, Item]) -> Node:
    if any(event.v != 1 for event in events):
        raise ValueError("was written by another version; this wizard reads version 1")
    of = {event.kind: event.data for event in events if bytes(event.data)}
    findings = [event.data for event in events if event.kind == "finding"]
    if "plan" in of:
        node = _from_plan(msgspec.json.decode(of["plan"], type=PlanBody), known)
        if "summary" in of:
            node.result = msgspec.json.decode(of["summary"], type=ResultBody)
        return node
    if findings and "summary" in of:
        summary = msgspec.json.decode(of["summary"], type=Summary)
        node = Node(checked_host(summary.host))
        node.findings = tuple(msgspec.json.decode(each, type=Finding) for each in findings)
        return node
    if findings:
        raise ValueError("is incomplete: it has no summary, so the doctor was interrupted")
    if "summary" in of and (summary := msgspec.json.decode(of["summary"], type=Summary)).compared_with:
        objects = (event.data for event in events if event.kind == "drift")
        drift = tuple(msgspec.json.decode(each, type=Drifted) for each in objects)
        return Node(checked_host(summary.host), drift=drift)
    raise ValueError("contains neither a plan, a report, drift nor findings of the doctor")


def _from_plan(body: PlanBody, known: dict[bytes, Item]) -> Node:
    if body.version != 1:
        raise ValueError("is a plan of another version; this wizard reads version 1")
    if len(body.steps) > MAX_STEPS:
        raise ValueError(f"{NOT_OURS}: it has more than {MAX_STEPS} steps")
    items = []
    for each in body.steps:
        raw = bytes(each)
        item = known.get(raw)
        if item is None:
            plain = msgspec.json.decode(raw, type=Item)
            item = known[raw] = msgspec.structs.replace(plain, raw=raw)
        items.append(item)
    overrides = tuple(key for key, origin in body.origins.items() if OVERRIDE.search(origin))
    counts = {what: len(each) for what, each in body.interrupts.items() if isinstance(each, list)}
    return Node(checked_host(body.host), plan=tuple(items), overrides=overrides, interrupts=counts)


def checked_host(host: object) -> str:
    """The host name. Raises ValueError if it is not one."""
    if not isinstance(host, str) or not 1 <= len(host) <= LONGEST_HOST or not is_visible(host):
        raise ValueError(f"{NOT_OURS}: its host is not a host name")
    return host
