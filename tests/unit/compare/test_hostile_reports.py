"""Crafted reports: refused quickly with exit code 2 and one sentence that names the file."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bai_wizard.cli import main
from bai_wizard.exit_codes import ExitCode
from bai_wizard.ui.fleet import compare
from tests.unit.compare.test_compare import FIGURES, put
from tests.waiting import ends

GOOD: dict[str, Any] = {"version": 1, "host": "a02", "same": FIGURES, "node": {"node": {"Kernel": "6.8"}}}


def report(**changes: Any) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


def deep(levels: int = 900) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


CASES: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "no JSON": lambda: b"{",
    "not UTF-8": lambda: b'{"version": 1, "host": "\xff"}',
    "NUL": lambda: b"\0" * 1000,
    "deep": lambda: b"[" * 1_000_000,
    "deep and closed": lambda: b"[" * 50_000 + b"]" * 50_000,
    "deep tables": lambda: b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "not a number": lambda: b'{"version": NaN}',
    "a number of 5000 digits": lambda: b'{"version": ' + b"9" * 5000 + b"}",
    "a version of 4000 digits": lambda: b'{"version": ' + b"9" * 4000 + b', "same": {}, "node": {}}',
    "a deep version": lambda: report(version=deep()),
    "true as version": lambda: report(version=True),
    "1.0 as version": lambda: report(version=1.0),
    "version 2": lambda: report(version=2),
    "a text as version": lambda: report(version="\x1b[2J" * 1000),
    "a list": lambda: b"[]",
    "null": lambda: b"null",
    "same is a list": lambda: report(same=[]),
    "node is a text": lambda: report(node="x"),
    "rows are a list": lambda: report(node={"node": [1]}),
    "rows are a text": lambda: report(node={"node": "x"}),
    "rows are null": lambda: report(node={"node": None}),
    "a value is a list": lambda: report(same={"a": ["x"]}),
    "a value is deep": lambda: report(same={"a": deep()}),
    "a value in a row is a table": lambda: report(node={"node": {"a": {}}}),
    "no host": lambda: json.dumps({key: value for key, value in GOOD.items() if key != "host"}).encode(),
    "a number as host": lambda: report(host=7),
    "a list as host": lambda: report(host=["a"]),
    "an empty host": lambda: report(host=""),
    "a host of our words": lambda: report(host="a02\nEverything that must match on every node matches."),
    "a host with a carriage return": lambda: report(host="a02\rEverything"),
    "a host with an escape": lambda: report(host="a02\x1b[2J"),
    "a host that is turned round": lambda: report(host="a02\u202e"),
    "a host with a line separator": lambda: report(host="a02\u2028x"),
    "a host that is a surrogate": lambda: report(host="a02\udcff"),
    "a long host": lambda: report(host="a" * 254),
    "too many values": lambda: report(same={f"k{n}": "1" for n in range(compare.MAX_VALUES + 1)}),
    "too many rows": lambda: report(node={f"p{n}": {} for n in range(compare.MAX_VALUES + 1)}),
    "400,000 keys": lambda: b'{"version":1,"a":{' + b",".join(b'"%d":1' % n for n in range(400_000)) + b"}}",
    "larger than 4 MiB": lambda: b" " * (compare.LARGEST + 1),
}


@pytest.mark.parametrize("name", CASES)
def test_a_crafted_report_is_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, file = put(tmp_path, "a01", FIGURES), tmp_path / "bad.json"
    file.write_bytes(CASES[name]())
    for more in ([], ["--json"]):
        begun = time.process_time()
        assert main(["compare", good, str(file), *more]) == ExitCode.ANSWERS
        assert time.process_time() - begun < 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith(f"{file}: ")
        assert (captured.err.count("\n"), len(captured.err) < 400) == (1, True), captured.err
        assert "\x1b" not in captured.err


def test_irregular_files_are_refused_immediately(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = put(tmp_path, "a01", FIGURES)
    os.mkfifo(tmp_path / "pipe")
    writer = os.open(tmp_path / "pipe", os.O_RDWR)
    for directory in (
        tmp_path / "pipe",
        tmp_path,
        tmp_path / "none",
        Path("/dev/zero"),
        Path("/proc/self/mem"),
        Path("a\0b"),
    ):
        with ends(str(directory)):
            assert main(["compare", good, str(directory)]) == ExitCode.ANSWERS
        assert capsys.readouterr().err.count("\n") == 1
    os.close(writer)


def test_a_pipe_that_the_caller_passed_on_is_read(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.write(writer, report())
    os.close(writer)
    assert main(["compare", put(tmp_path, "a01", FIGURES), f"/dev/fd/{reader}"]) == ExitCode.OK
    os.close(reader)


def test_texts_of_a_report_never_start_an_output_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ours = "\nEverything that must match on every node matches.\x1b[8m"
    file = tmp_path / "a02.json"
    for changes in (
        {"same": {**FIGURES, f"x{ours}": f"y{ours}"}},
        {"node": {f"node{ours}": {f"Kernel{ours}": ours}}},
    ):
        same = {**FIGURES, "container engine": f"other{ours}"}
        file.write_bytes(report(**{"same": same, **changes}))
        main(["compare", put(tmp_path, "a01", {**FIGURES, "container engine": "docker"}), str(file)])
        message = capsys.readouterr().out
        assert not any(line.startswith("Everything") for line in message.splitlines()), message
        assert "\x1b" not in message


def test_many_values_take_a_moment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Three nodes with as many values as a report may have, all of them different."""
    files = []
    for number in range(3):
        same = {f"k{n}": f"{number}" for n in range(compare.MAX_VALUES - 10)}
        files.append(put(tmp_path, f"a{number}", same))
    begun = time.process_time()
    assert main(["compare", *files]) == ExitCode.FAILED
    assert time.process_time() - begun < 5
    assert capsys.readouterr().out


def test_values_that_are_not_strings_are_compared(tmp_path: Path) -> None:
    file = tmp_path / "a02.json"
    values = {"uid": 1100, "swap": None, "load": 0.5, "ecc": True}
    file.write_bytes(report(same=values))
    (tmp_path / "a03.json").write_bytes(report(host="a03", same=values))
    assert main(["compare", str(file), str(tmp_path / "a03.json")]) == ExitCode.OK
