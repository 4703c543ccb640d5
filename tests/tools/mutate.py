"""Mutation testing by sample: edit one place of the wizard, run the tests that call that function, expect a failure.

`make mutate COUNT=100 SEED=7`, or with more options `python -m tests.tools.mutate --help`. The edits are made in
copies of the checkout. Prints each edit that no test noticed as FILE:LINE: before -> after. Which tests call which
functions is recorded once, and again for test files that have changed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NoReturn, TypedDict

import docker  # noqa: F401 - imported once, here, and not by each of the processes that run tests
import hypothesis  # noqa: F401
import msgspec  # noqa: F401
import pytest
import tomlkit  # noqa: F401
import urllib3  # noqa: F401

from tests.cache import CHECKOUT, cache_directory, digest
from tests.tools.mutations import Mutation, is_python, mutations_of

PACKAGES = ("core", "engine", "resources", "answers")
TESTS = ("tests/unit", "tests/pages")
# The tests that call the fewest functions come first: they are the ones written for the function. A mutation that
# survives the first is tried against the others. Seconds of processor time, measured when the calls were recorded.
ROUNDS = (10.0, 100.0)
# One seed for the tests: parametrizations that it draws have to be the same as when the calls were recorded.
TEST_SEED = "1"
_NOT_FOUND = re.compile(r"^ERROR: (?:file or directory )?not found: (.*)$", re.MULTILINE)
OPTIONS = ("-p", "no:cacheprovider", "-q", "--no-header", "--seed", TEST_SEED)
ONE_PROCESS = ("-p", "no:xdist")


class Record(TypedDict):
    """The file of recorded calls: digests of the test files, and what the tests in them call."""

    files: dict[str, str]
    calls: dict[str, list[str]]
    seconds: dict[str, float]


@dataclass(frozen=True)
class Calls:
    """Which tests call a function (`FILE:FUNCTION`), and how long each takes."""

    tests: dict[str, list[str]]
    seconds: dict[str, float]
    breadth: Counter[str]

    def of(self, mutation: Mutation) -> list[str]:
        """The tests of a mutation, the most specific first; those of the whole file for code outside functions."""
        own = self.tests.get(f"{mutation.file}:{mutation.function}", [])
        if not own:
            own = [
                test for place, tests in self.tests.items() if place.startswith(f"{mutation.file}:") for test in tests
            ]
        return sorted(set(own), key=lambda test: (self.breadth[test], self.seconds.get(test, 0.0), test))

    def without(self, unreliable: set[str]) -> Calls:
        """The same without some tests."""
        tests = {place: [test for test in found if test not in unreliable] for place, found in self.tests.items()}
        return Calls(tests, self.seconds, self.breadth)


@dataclass(frozen=True)
class Verdict:
    """Whether a mutation was noticed, and how: a test, "time limit" or nothing."""

    mutation: Mutation
    killer: str
    tried: int


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.tools.mutate", description=__doc__)
    add = parser.add_argument
    add("--count", type=int, default=20, help="number of mutations (default: 20)")
    add("--seed", type=int, default=None, help="draws the mutations (default: random, printed)")
    add("--skip", type=int, default=0, help="leave out the first N of the sample, to go on with a large one")
    add("--goal", type=float, default=90.0, help="fail if fewer percent are killed (default: 90)")
    add("--calls", type=Path, help="file of recorded calls (default: in the tests' cache)")
    add("--tests", nargs="+", help="files or folders of tests (default: tests/unit and tests/pages)")
    add("--record", action="store_true", help="record the calls of all tests again")
    add("--jobs", type=int, default=os.cpu_count() or 1, help="mutations tested at a time (default: one per core)")
    add("files", nargs="*", help="files to mutate (default: all of core, engine, resources, answers)")
    options = parser.parse_args()
    seed = secrets.randbelow(10**6) if options.seed is None else options.seed
    file = options.calls or (None if options.tests else cache_directory() / "calls.json")
    if options.record and file:
        file.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="bai-wizard-mutants-") as scratch:
        trees = [copy_checkout(Path(scratch, f"checkout{number}")) for number in range(options.jobs)]
        calls = recorded_calls(trees[0], file or Path(scratch, "calls"), options.tests or TESTS, options.jobs)
        sample = draw(options.files or source_files(), options.count, seed)[options.skip :]
        verdicts = list(tested(sample, calls, trees))
        while unreliable := failing({verdict.killer for verdict in verdicts} & calls.seconds.keys(), trees[0]):
            print(f"these fail without a mutation as well: {', '.join(sorted(unreliable))}", flush=True)
            calls = calls.without(unreliable)
            doubtful = [verdict.mutation for verdict in verdicts if verdict.killer in unreliable]
            verdicts = [verdict for verdict in verdicts if verdict.killer not in unreliable]
            verdicts += tested(doubtful, calls, trees)
    return 0 if summarize(verdicts, seed) >= options.goal else 1


def source_files() -> list[str]:
    """The files that are mutated by default."""
    below = (path for package in PACKAGES for path in (CHECKOUT / "bai_wizard" / package).rglob("*.py"))
    return sorted(str(path.relative_to(CHECKOUT)) for path in below)


def draw(files: Sequence[str], count: int, seed: int) -> list[Mutation]:
    """`count` of the mutations of these files, in random order."""
    texts = {file: (CHECKOUT / file).read_text(encoding="utf-8") for file in files}
    every = [each for file, text in texts.items() for each in mutations_of(file, text)]
    random.Random(seed).shuffle(every)
    return list(islice((each for each in every if is_python(each.apply(texts[each.file]))), count))


def copy_checkout(tree: Path) -> Path:
    """Copy what the tests need."""
    ignored = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", ".hypothesis", "build", "dist")
    shutil.copytree(CHECKOUT, tree, symlinks=True, ignore=ignored)
    return tree


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"}


def recorded_calls(tree: Path, file: Path, tests: Sequence[str], jobs: int) -> Calls:
    """The calls of all tests that pass; runs those whose file is not in the record, or has changed since."""
    record: Record = {"files": {}, "calls": {}, "seconds": {}}
    if file.exists():
        record = json.loads(file.read_text(encoding="utf-8"))
    present = test_files(tests)
    fresh = {name for name, value in present.items() if record["files"].get(name) == value}
    record["calls"] = {
        place: kept
        for place, callers in record["calls"].items()
        if (kept := [t for t in callers if _file(t) in fresh])
    }
    record["seconds"] = {test: taken for test, taken in record["seconds"].items() if _file(test) in fresh}
    if changed := sorted(present.keys() - fresh):
        print(f"recording which functions the tests in {len(changed)} files call ...", flush=True)
        for part in _record(tree, changed, jobs):
            record["seconds"].update(part["seconds"])
            for place, callers in part["calls"].items():
                record["calls"].setdefault(place, []).extend(callers)
        record["files"] = present
        file.write_text(json.dumps(record), encoding="utf-8")
    breadth = Counter(test for callers in record["calls"].values() for test in callers)
    return Calls(record["calls"], record["seconds"], breadth)


def test_files(tests: Sequence[str]) -> dict[str, str]:
    """The files of tests, each with a digest of its text."""
    given = [CHECKOUT / name for name in tests]
    paths = sorted(path for each in given for path in (each.rglob("test_*.py") if each.is_dir() else [each]))
    return {str(path.relative_to(CHECKOUT)): digest(path.read_bytes()) for path in paths}


def _file(test: str) -> str:
    return test.partition("::")[0]


def _record(tree: Path, files: Sequence[str], jobs: int) -> list[Record]:
    """What the processes of pytest wrote: see tests/tools/called_functions.py."""
    directory = tree / ".calls"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    argv = [
        sys.executable, "-m", "pytest", "-p", "tests.tools.called_functions", "--calls", str(directory),
        "-n", str(jobs), *OPTIONS, *files,
    ]  # fmt: skip
    subprocess.run(
        argv, cwd=tree, env=_environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(directory.iterdir())]


def tested(sample: Sequence[Mutation], calls: Calls, trees: Sequence[Path]) -> Iterator[Verdict]:
    """Print and yield the verdict of each mutation; each process has one of the trees."""
    context = multiprocessing.get_context("fork")
    free = context.SimpleQueue()
    for tree in trees:
        free.put(tree)
    with context.Pool(len(trees), _own, (free, calls)) as pool:
        for number, verdict in enumerate(pool.imap_unordered(_judged, sample), 1):
            how = f"killed by {verdict.killer}" if verdict.killer else f"SURVIVED {verdict.tried} tests"
            print(f"{number:4} {verdict.mutation}  {how}", flush=True)
            yield verdict


def _own(free: multiprocessing.SimpleQueue[Path], calls: Calls) -> None:
    _judged.tree, _judged.calls = free.get(), calls  # type: ignore[attr-defined]


def _judged(mutation: Mutation) -> Verdict:
    return judged(mutation, _judged.calls, _judged.tree)  # type: ignore[attr-defined]


def judged(mutation: Mutation, calls: Calls, tree: Path) -> Verdict:
    """Edit the copy of the checkout, run the tests, and restore it."""
    path = tree / mutation.file
    text = path.read_text(encoding="utf-8")
    path.write_text(mutation.apply(text), encoding="utf-8")
    try:
        rest, tried = calls.of(mutation), 0
        for seconds in ROUNDS:
            now, rest = _first(rest, seconds, calls)
            tried += len(now)
            if now and (killer := _killer(tree, now, sum(calls.seconds.get(test, 0.0) for test in now))):
                return Verdict(mutation, killer, tried)
        return Verdict(mutation, "", tried)
    finally:
        path.write_text(text, encoding="utf-8")


def _first(tests: list[str], seconds: float, calls: Calls) -> tuple[list[str], list[str]]:
    total, number = 0.0, 0
    for number, test in enumerate(tests, 1):
        total += calls.seconds.get(test, 0.0) + 0.01
        if total > seconds:
            return tests[:number], tests[number:]
    return tests, []


def _killer(tree: Path, tests: list[str], seconds: float) -> str:
    """The test that fails; empty if all pass. A process that ends without a verdict counts as a failure as well."""
    code, output = run_pytest(tree, tests, 120 + 30 * seconds, "-x")
    if missing := _NOT_FOUND.findall(output):  # the record is older than the tests
        rest = [test for test in tests if not any(f"/{path}".endswith(f"/{test}") for path in missing)]
        return _killer(tree, rest, seconds) if rest and len(rest) < len(tests) else ""
    if code in (0, None):
        return "" if code == 0 else "its time limit"
    failed = _failed(output)
    return failed[0] if failed else f"exit code {code} of pytest"


def failing(tests: set[str], tree: Path) -> set[str]:
    """Those of the tests that fail now."""
    if not tests:
        return set()
    return set(_failed(run_pytest(tree, sorted(tests), 3600.0)[1]))


def run_pytest(tree: Path, tests: Sequence[str], limit: float, *options: str) -> tuple[int | None, str]:
    """Run tests in a fork of this process, which has imported pytest; returns its exit code and output.

    The code is None if it took longer than `limit` seconds.
    """
    listed, output = tree / ".chosen-tests", tree / ".pytest-output"
    listed.write_text("".join(f"{test}\n" for test in tests), encoding="utf-8")
    child = os.fork()
    if child == 0:
        _be_pytest(tree, [*ONE_PROCESS, *OPTIONS, *options, "--tb=no", f"@{listed}"], output)
    deadline = time.monotonic() + limit
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status), output.read_text(encoding="utf-8", errors="replace")
        if time.monotonic() > deadline:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None, ""
        time.sleep(0.05)


def _be_pytest(tree: Path, argv: list[str], output: Path) -> NoReturn:
    """Run pytest in the copy of the checkout, with none of this checkout's modules, and exit."""
    os.setsid()
    os.chdir(tree)
    os.environ.update(_environment())
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    for name in [name for name in sys.modules if name.partition(".")[0] in ("tests", "bai_wizard")]:
        del sys.modules[name]
    sys.path[:] = [str(tree), *(path for path in sys.path if path not in ("", str(CHECKOUT)))]
    code = 70
    try:
        code = int(pytest.main(argv))
        sys.stdout.flush()
    finally:
        os._exit(code)


def _failed(output: str) -> list[str]:
    lines = [line for line in output.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    return [line.split(" - ")[0].partition(" ")[2] for line in lines]


def summarize(verdicts: Sequence[Verdict], seed: int) -> float:
    """Print the result; returns the percentage of mutations that were killed."""
    survivors = [verdict for verdict in verdicts if not verdict.killer]
    rate = 100.0 * (1 - len(survivors) / max(1, len(verdicts)))
    for verdict in survivors:
        print(f"survived: {verdict.mutation}")
    print(f"{len(verdicts) - len(survivors)} of {len(verdicts)} mutations killed ({rate:.0f} %), seed {seed}")
    return rate


if __name__ == "__main__":
    sys.exit(main())
