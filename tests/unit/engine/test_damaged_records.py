"""Damaged, missing and repeated records and backups: each is reported, and everything else is undone."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import typing
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from bai_wizard.core.event import silent
from bai_wizard.core.operation import Operation
from bai_wizard.core.secret import Secret
from bai_wizard.core.state import Entry as PathEntry
from bai_wizard.core.state import Key, State
from bai_wizard.core.step import Plan
from bai_wizard.engine.directory import RunDirectory, create_run, journal_of
from bai_wizard.engine.executor import JournalledNode, execute
from bai_wizard.engine.journal import Entry
from bai_wizard.engine.lock import StatePaths
from bai_wizard.engine.records import BACKED_UP, COUNT
from bai_wizard.engine.recovery import damages_of
from bai_wizard.engine.result import Result
from bai_wizard.engine.undo import plan_undo
from bai_wizard.exit_codes import ExitCode
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.resources import load_operations
from bai_wizard.resources.images import LoadImages, Login, PullImages
from bai_wizard.steps import load_all
from tests.sampling import sampled, seed
from tests.unit.engine.plans import STATES, plan_of, steps
from tests.unit.engine.test_run import PowerCut, cut_at
from tests.unit.test_released_fixtures import left_by, on_a_node

# Of the instants of a run, the one at which the power goes.
INTERRUPTED_AT = 18
RUNS = ("new", "resumed", "0.1.0 applied", "0.1.0 docker-applied", "0.1.0 resumed")


@dataclass
class Case:
    """A run on a node, and what its undamaged journal says."""

    paths: StatePaths
    run: RunDirectory
    machine: SimulatedMachine
    entries: list[Entry]

    @property
    def lines(self) -> list[bytes]:
        return self.run.journal.read_bytes().splitlines(keepends=True)

    def write(self, lines: list[bytes]) -> None:
        self.run.journal.write_bytes(b"".join(lines))

    def undo(self) -> Result:
        plan = Plan("test")
        undoing = create_run(self.paths, plan, {}, kind="undo", undoes=self.run.id)
        return execute(self.paths, undoing, plan.digest(), self.machine)


def made(root: Path, name: str) -> Case:
    load_all()
    version, _, fixture = name.rpartition(" ")
    if version:
        paths, (run,) = on_a_node(root, version, fixture)
        entries = journal_of(run).entries()
        return Case(paths, run, SimulatedMachine(left_by(entries)), entries)
    paths, machine = StatePaths(root), SimulatedMachine(STATES)
    wanted = tuple(step for step in steps() if step.id != "node.motd")
    plan = plan_of(machine, wanted)
    run = create_run(paths, plan, {})
    asked = iter([False, False, name == "resumed", *[True] * 20])
    with suppress(PowerCut):
        execute(paths, run, plan.digest(), machine, should_stop=lambda: name == "resumed" and next(asked),
                checkpoint=cut_at(INTERRUPTED_AT) if name == "interrupted" else lambda _name: None)  # fmt: skip
    if name == "resumed":
        again = plan_of(machine, wanted)
        run.begin_again(again)
        assert execute(paths, run, again.digest(), machine).code() is ExitCode.OK
    return Case(paths, run, machine, journal_of(run).entries())


Damage = Callable[["Case", random.Random], set[int] | None]


def line_damage(change: Callable[[list[bytes], int, random.Random], None]) -> Damage:
    """Damages one line; returns the changes of the lines that are not as they were."""

    def damage(case: Case, chance: random.Random) -> set[int]:
        before, lines = case.lines, case.lines
        change(lines, chance.randrange(len(lines)), chance)
        case.write(lines)
        kept = lines[:-1] if lines and not lines[-1].endswith(b"\n") else lines
        return {json.loads(line)["n"] for line in before if line not in kept} - {0}

    return damage


def cut_between(lines: list[bytes], index: int, _chance: random.Random) -> None:
    del lines[index:]


def cut_within(lines: list[bytes], index: int, chance: random.Random) -> None:
    lines[index] = lines[index][: chance.randrange(1, len(lines[index]))]
    del lines[index + 1 :]


def flip(lines: list[bytes], index: int, chance: random.Random) -> None:
    """A bit within the value, or the name, of some field of the record."""
    record = json.loads(lines[index])
    name = chance.choice(list(record))
    begin = lines[index].index(json.dumps(name).encode())
    end = begin + len(json.dumps({name: record[name]})) - 2
    data = bytearray(lines[index])
    data[chance.randrange(begin, end)] ^= 1 << chance.randrange(7)
    lines[index] = bytes(data)


def remove_line(lines: list[bytes], index: int, _chance: random.Random) -> None:
    del lines[index]


def repeat(lines: list[bytes], index: int, chance: random.Random) -> None:
    lines.insert(chance.randrange(index + 1, len(lines) + 1), lines[index])


def reorder(lines: list[bytes], index: int, chance: random.Random) -> None:
    other = chance.choice([each for each in range(len(lines)) if each != index])
    lines[index], lines[other] = lines[other], lines[index]


def zero(lines: list[bytes], index: int, chance: random.Random) -> None:
    at = chance.randrange(len(lines[index]))
    lines[index] = lines[index][:at] + bytes(len(lines[index]) - at - 1) + b"\n"


def insert_garbage(lines: list[bytes], index: int, chance: random.Random) -> None:
    lines.insert(
        index, chance.choice([b"\n", b"{}\n", b"\x00\xff\n", b"[" * 90_000 + b"\n", b'{"n": 1e9}\n', b"null\n"])
    )


def backup_damage(change: Callable[[Path, random.Random], None]) -> Damage:
    def damage(case: Case, chance: random.Random) -> set[int]:
        path = chance.choice(sorted(case.run.backup.iterdir()))
        name = path.name.encode()
        change(path, chance)
        return {json.loads(line)["n"] for line in case.lines if name in line}

    return damage


def flip_bytes(path: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes() or b"x")
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def shorten(path: Path, _chance: random.Random) -> None:
    path.write_bytes(path.read_bytes()[:-1] or b"longer")


def into_directory(path: Path, _chance: random.Random) -> None:
    path.unlink()
    path.mkdir()


def into_fifo(path: Path, _chance: random.Random) -> None:
    path.unlink()
    os.mkfifo(path)


def into_link(path: Path, _chance: random.Random) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def unlink(path: Path, _chance: random.Random) -> None:
    path.unlink()


def emptied(path: Path, _chance: random.Random) -> None:
    path.write_bytes(b"")


def of_file(name: str, change: Callable[[Path, random.Random], None], *, loses: bool = False) -> Damage:
    """`loses`: no change can be undone then."""

    def damage(case: Case, chance: random.Random) -> set[int] | None:
        change(case.run.path / name, chance)
        return None if loses else set()

    return damage


CHANGES = (unlink, emptied, into_directory, into_fifo, into_link)
# A damage, how many variants of it are tried with each run, and whether it can be detected in a run of 0.1.0.
DAMAGES: dict[str, tuple[Damage, int, bool]] = {
    **{each.__name__: (line_damage(each), number, False)
       for each, number in ((cut_between, 24), (cut_within, 24), (flip, 40), (remove_line, 12))},
    **{each.__name__: (line_damage(each), 10, True) for each in (repeat, zero, insert_garbage)},
    "reorder": (line_damage(reorder), 12, False),
    **{f"backup {each.__name__}": (backup_damage(each), 3, True)
       for each in (unlink, emptied, into_directory, into_fifo, into_link, flip_bytes, shorten)},
    **{f"result {each.__name__}": (of_file("result.json", each), 1, each is not unlink) for each in CHANGES},
    "result flip_bytes": (of_file("result.json", flip_bytes), 6, False),
    **{f"journal {each.__name__}": (of_file("journal.jsonl", each, loses=True), 1, True) for each in CHANGES},
    **{f"metadata {each.__name__}": (of_file("run.json", each), 1, True) for each in (unlink, emptied, into_fifo)},
}  # fmt: skip
CASES = [(run, name, number) for run in RUNS for name, (_, count, _) in DAMAGES.items() for number in range(count)]
CASES += [("interrupted", name, number) for run, name, number in CASES
          if run == "new" and name.partition(" ")[0] not in ("result", "journal", "metadata")]  # fmt: skip


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    return {name: made(tmp_path_factory.mktemp("run"), name) for name in (*RUNS, "interrupted")}


def copied(original: Case, root: Path) -> Case:
    paths = StatePaths(root)
    paths.make()
    run = RunDirectory(paths.runs / original.run.id)
    shutil.copytree(original.run.path, run.path)
    return Case(paths, run, SimulatedMachine(original.machine.snapshot()), original.entries)


def names_of(entry: Entry) -> set[str]:
    """What an entry changes; an account and its group under the name of their home, with which they stay."""
    names = {key.name for key in entry.operation.keys()}
    is_account = {key.kind for key in entry.operation.keys()} <= {"user", "group", "membership", "password"}
    return {"/home/bai"} if is_account else names


def are_related(one: Entry, other: Entry) -> bool:
    """Whether undoing one depends on what the other did: the same thing, or one below the other."""
    pairs = [(a, b) for a in names_of(one) for b in names_of(other)]
    return any(a == b or a.startswith(f"{b}/") or b.startswith(f"{a}/") for a, b in pairs)


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 700


@pytest.mark.parametrize(("run", "name", "number"), sampled("damaged records", CASES, 40))
def test_damaged_records_are_named_and_everything_else_is_undone(
    originals: dict[str, Case], tmp_path: Path, run: str, name: str, number: int
) -> None:
    case = copied(originals[run], tmp_path)
    damage, _, is_seen_in_old = DAMAGES[name]
    lost = damage(case, random.Random(f"{seed()}:{run}:{name}:{number}"))
    is_seen = is_seen_in_old or not run.startswith("0.1.0")
    planned = plan_undo(case.run, case.machine)
    result = case.undo()
    text = result.steps[0].text
    assert result.code() in (ExitCode.OK, ExitCode.FAILED)
    if is_seen:
        assert planned.damages, "the plan names it"
        assert damages_of(case.run) or "backup" in name, "so do the commands that do not read backups"
        assert result.code() is ExitCode.FAILED, text
        assert all(each in text for each in planned.damages)
    if lost is None:
        return
    damaged = [entry for entry in case.entries if entry.number in lost]
    statuses = {entry.number: entry.status for entry in journal_of(case.run).entries()}
    for entry in case.entries:
        if entry.number in lost or entry.inverse is None or entry.operation.undo_last or entry.status == "void":
            continue
        if statuses[entry.number] != "undone":
            assert any(are_related(entry, each) for each in damaged), (entry.step, names_of(entry), text)
            assert any(entry.step in message for message in (text, *result.lasting)), (
                "what stays because of that is named"
            )
    if is_seen and "backup" in name:
        assert all(entry.step in text for entry in damaged)
    again = case.undo()
    assert not is_seen or again.code() is ExitCode.FAILED


@pytest.mark.parametrize("run", RUNS)
def test_an_undamaged_run_is_undone_and_nothing_is_named(
    originals: dict[str, Case], tmp_path: Path, run: str
) -> None:
    case = copied(originals[run], tmp_path)
    assert damages_of(case.run) == []
    assert plan_undo(case.run, case.machine).damages == ()
    for _ in range(2):
        assert case.undo().code() is ExitCode.OK
        assert damages_of(case.run) == []


def test_digests_that_name_no_backup_are_not_missed(tmp_path: Path) -> None:
    """The engine's ids of images and the checksums of archives look like backups."""
    machine = SimulatedMachine(STATES)
    run = create_run(StatePaths(tmp_path), Plan("test"), {})
    journal = journal_of(run)
    for operation in (PullImages(("a:1", "b:1")), LoadImages(("c:1",), "/srv/c.tar", f"sha256:{'e' * 64}")):
        JournalledNode(machine, journal, "images", silent).do(operation)
    journal.close()
    run.end(Result((), "").to_json(), journal_of(run))
    assert b'"sha256:' in run.journal.read_bytes()
    assert damages_of(run) == []


def test_backups_are_known_by_the_fields_that_hold_bytes_or_secrets() -> None:
    load_operations()
    kinds: tuple[type, ...] = (*State.kinds.values(), *Operation.kinds.values(), Login)
    hints = {(cls.__name__, name): hint for cls in kinds for name, hint in typing.get_type_hints(cls).items()}
    kept = {at for at, hint in hints.items() if re.search(r"bytes|Secret", str(hint))}
    assert {name for _, name in kept} == set(BACKED_UP)
    assert {at for at in hints if at[1] in BACKED_UP} == kept
    assert all({bytes, Secret} & {hints[at], *typing.get_args(hints[at])} for at in kept)


def test_a_lost_tail_stays_on_record_when_the_run_is_resumed(originals: dict[str, Case], tmp_path: Path) -> None:
    """The next attempt replaces result.json, which alone tells that records are missing."""
    case = copied(originals["new"], tmp_path)
    case.write(case.lines[:-3])
    (message,) = [each for each in damages_of(case.run) if "missing" in each]
    again = plan_of(case.machine, tuple(step for step in steps() if step.id != "node.motd"))
    case.run.begin_again(again)
    resumed = execute(case.paths, case.run, again.digest(), case.machine)
    assert resumed.code() is ExitCode.FAILED
    assert message in resumed.steps[-1].text
    undone = case.undo()
    assert undone.code() is ExitCode.FAILED
    assert message in undone.steps[0].text


def test_a_lost_ending_does_not_claim_a_later_edit(originals: dict[str, Case], tmp_path: Path) -> None:
    case = copied(originals["new"], tmp_path)
    (entry,) = [each for each in case.entries if "/etc/new.conf" in names_of(each)]
    case.write([line for line in case.lines if f'"n": {entry.number}, "what": "done"'.encode() not in line])
    edited = PathEntry("file", 0, 0, 0o644, b"theirs = 1\n")
    case.machine.set_state(Key("file", "/etc/new.conf"), edited)
    result = case.undo()
    assert result.code() is ExitCode.FAILED
    assert case.machine.state(Key("file", "/etc/new.conf")) == edited
    assert case.machine.state(Key("file", "/etc/other.conf")) is None


@pytest.mark.parametrize("lost", [1, 2, 3, 8])
@pytest.mark.parametrize("kept", [True, False])
def test_a_tail_of_whole_records_that_an_interrupted_run_lost_is_named(
    originals: dict[str, Case], tmp_path: Path, lost: int, kept: bool
) -> None:
    """Whether or not the next attempt, or undo, has appended to what was left."""
    case = copied(originals["interrupted"], tmp_path)
    assert not (case.run.path / "result.json").exists()
    case.write(case.lines[:-lost])
    if kept:
        journal_of(case.run).begin({})
    (message,) = damages_of(case.run)[:1]
    assert "missing" in message
    result = case.undo()
    assert result.code() is ExitCode.FAILED
    assert message in result.steps[0].text
    assert message.partition(" of ")[0] in "; ".join(damages_of(case.run)), "it stays on record"


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 90, b'{"seq": 99}\n', b'{"seq": 99, "sum": "0123456789abcdef"}\n', None]
)
def test_a_damaged_record_count_is_ignored(originals: dict[str, Case], tmp_path: Path, content: bytes | None) -> None:
    case = copied(originals["interrupted"], tmp_path)
    path = case.run.path / COUNT
    path.unlink()
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    assert damages_of(case.run) == []
    assert case.undo().code() is ExitCode.OK


def test_the_events_of_an_interrupted_run_of_0_1_0_name_steps_whose_records_are_lost(tmp_path: Path) -> None:
    case = made(tmp_path, "0.1.0 killed")
    assert damages_of(case.run) == []
    lines = [json.loads(line) for line in case.run.events.read_text().splitlines() if '"outcome": "changed"' in line]
    steps_of = [json.loads(line).get("step") for line in case.lines]
    case.write(case.lines[: steps_of.index(lines[-1]["step"])])
    assert f"no record of what was changed by {lines[-1]['step']}" in damages_of(case.run)[0]
    assert case.undo().code() is ExitCode.FAILED
