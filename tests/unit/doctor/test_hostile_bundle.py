"""`doctor --from` with crafted bundles: refused with one sentence and exit code 2, in bounded time and memory."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import subprocess
import sys
import tarfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bai_wizard.cli import main
from bai_wizard.doctor import bundle
from bai_wizard.doctor.bundle import read_bundle, write_bundle
from bai_wizard.exit_codes import ExitCode
from tests.cache import CHECKOUT
from tests.sampling import is_soak, seed
from tests.waiting import ends

ABOUT = {"version": 1, "host": "host-1", "made": "2026-01-01", "wizard": "0.1.0"}
EVIDENCE = {"what": "log", "where": "/var/log", "found": "x", "expected": ""}
FINDING: dict[str, Any] = {
    "id": "x", "result": "warning", "title": "t", "evidence": [EVIDENCE], "remedy": [{"id": "a", "describe": "b"}],
}  # fmt: skip
MIB = 1 << 20


def header(name: str = "b/about.json", size: int = 0, type: bytes = tarfile.REGTYPE) -> bytes:
    """A block of 512 bytes, by Python's own writer, which knows negative sizes as well."""
    info = tarfile.TarInfo(name)
    info.size, info.type = size, type
    return info.tobuf(tarfile.GNU_FORMAT)


def entry(name: str, data: bytes, type: bytes = tarfile.REGTYPE) -> bytes:
    return header(name, len(data), type) + data + bytes(-len(data) % 512)


def packed(*blocks: bytes, end: bytes = bytes(1024)) -> bytes:
    return gzip.compress(b"".join(blocks) + end, 1)


def written(about: Any = ABOUT, findings: Any = (FINDING,), more: dict[str, bytes] | None = None) -> bytes:
    """A bundle of these values; text is taken as JSON that is written already."""
    texts = [value if isinstance(value, str) else json.dumps(value) for value in (about, findings)]
    files = {"about.json": texts[0].encode(), "findings.json": texts[1].encode(), **(more or {})}
    return packed(*(entry(f"b/{name}", data) for name, data in files.items()))


def extended(records: bytes) -> bytes:
    return packed(entry("x", records, tarfile.XHDTYPE), entry("b/about.json", b"{}"))


def finding(**changes: Any) -> bytes:
    return written(findings=[{**FINDING, **changes}])


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


def bomb(size: int, *before: bytes) -> bytes:
    """`size` zeros behind the blocks, packed a thousand times smaller; without an end."""
    engine = zlib.compressobj(9, wbits=31)
    head = engine.compress(b"".join(before)) + engine.flush(zlib.Z_FULL_FLUSH)
    # After a full flush nothing refers to what came before, so the same piece can be repeated.
    chunk = engine.compress(bytes(MIB)) + engine.flush(zlib.Z_FULL_FLUSH)
    return head + chunk * (size // MIB)


CASES: dict[str, Callable[[], bytes]] = {
    # The archive.
    "nothing": lambda: b"",
    "text": lambda: b"hello",
    "not gzip": lambda: tar_of({"about.json": b"{}"}),
    "an empty archive": lambda: packed(),
    "no end": lambda: packed(end=b""),
    "no end after a file": lambda: packed(entry("b/about.json", b"{}"), end=b""),
    "half a block": lambda: packed(header()[:100], end=b""),
    "cut off": lambda: written()[:-30],
    "cut off in the checksum": lambda: written()[:-4],
    "a wrong checksum": lambda: flipped(written(), len(written()) - 6),
    "garbage behind it": lambda: written() + b"garbage",
    "a second archive behind it": lambda: written() + written() * 20,
    "ten thousand empty members": lambda: gzip.compress(b"") * 10_000,
    "a negative size": lambda: packed(header(size=-512), header(size=-512)),
    "a negative size of one": lambda: packed(header(size=-1)),
    "the most negative size": lambda: packed(header(size=-(2**63))),
    "a huge size": lambda: packed(header(size=2**62)),
    "a size that is not there": lambda: packed(header(size=60 * MIB)),
    "a size that is no number": lambda: packed(header()[:124] + b"99999999999\0" + header()[136:]),
    "a wrong header checksum": lambda: packed(flipped(header(), 3)),
    "a link": lambda: packed(header(type=tarfile.SYMTYPE)),
    "a hard link": lambda: packed(header(type=tarfile.LNKTYPE)),
    "a directory": lambda: packed(header(type=tarfile.DIRTYPE)),
    "an old directory": lambda: packed(header(name="b/", type=tarfile.AREGTYPE)),
    "a device": lambda: packed(header(type=tarfile.CHRTYPE)),
    "a FIFO in it": lambda: packed(header(type=tarfile.FIFOTYPE)),
    "a sparse file": lambda: packed(header(type=tarfile.GNUTYPE_SPARSE)),
    "an unknown type": lambda: packed(header(type=b"Z")),
    "a long name": lambda: packed(entry("././@LongLink", b"a" * 1000, tarfile.GNUTYPE_LONGNAME)),
    "a global header": lambda: packed(entry("x", b"13 comment=ab\n", tarfile.XGLTYPE)),
    "an extended header of 1 MiB": lambda: bomb(MIB, header(size=MIB, type=tarfile.XHDTYPE)),
    "an extended header of 1.2 GB": lambda: bomb(1200 * MIB, header(size=1200 * MIB, type=tarfile.XHDTYPE)),
    "a long name of 1.2 GB": lambda: bomb(1200 * MIB, header(size=1200 * MIB, type=tarfile.GNUTYPE_LONGNAME)),
    "a file of 1.2 GB": lambda: bomb(1200 * MIB, header(size=1200 * MIB, type=tarfile.REGTYPE)),
    "1.2 GB of zeros": lambda: bomb(1200 * MIB),
    "70 MB in many files": lambda: packed(*(entry(f"b/{n}", bytes(MIB)) for n in range(70))),
    "an extended header without a length": lambda: extended(b"path=x\n"),
    "an extended header with a negative length": lambda: extended(b"-5 path=x\n"),
    "an extended header with a length of nothing": lambda: extended(b"0 path=x\n"),
    "an extended header that is too short": lambda: extended(b"999 path=x\n"),
    "an extended header with many digits": lambda: extended(b"9" * 5000 + b" path=x\n"),
    "an extended header with another size": lambda: extended(b"11 size=-1\n"),
    "an extended header with a sparse map": lambda: extended(b"26 GNU.sparse.realsize=-1\n"),
    "a path that is not UTF-8": lambda: extended(b"12 path=\xff\xfe\n"),
    "a name that is not UTF-8": lambda: packed(b"\xff" + header()[1:]),
    "two hundred and one files": lambda: packed(*(entry(f"b/{n}", b"") for n in range(201))),
    "a name of 50 kB": lambda: packed(entry("x", b"50012 path=" + b"a" * 50_000 + b"\n", tarfile.XHDTYPE), header()),
    "only extended headers": lambda: packed(*[entry("x", b"9 path=x\n", tarfile.XHDTYPE)] * 10_000),
    # What is in it.
    "no findings": lambda: packed(entry("b/about.json", json.dumps(ABOUT).encode())),
    "not UTF-8": lambda: written(more={"log": b"\xff"}),
    "deep JSON": lambda: written(findings="[" * 100_000),
    "deep JSON that is closed": lambda: written(findings="[" * 5000 + "]" * 5000),
    "a deep about": lambda: written(about='{"version":' + "[" * 900 + "]" * 900 + "}"),
    "a deep host": lambda: written(about='{"version":1,"host":' + '{"a":' * 900 + "1" + "}" * 900 + "}"),
    "no JSON": lambda: written(about="{"),
    "a number of 5000 digits": lambda: written(about='{"version": ' + "9" * 5000 + "}"),
    "a number of 4000 digits": lambda: written(about='{"version": ' + "9" * 4000 + "}"),
    "not a number": lambda: written(about='{"version": NaN}'),
    "true as version": lambda: written(about={**ABOUT, "version": True}),
    "another version": lambda: written(about={**ABOUT, "version": 2}),
    "a list as about": lambda: written(about=[]),
    "no text as host": lambda: written(about={**ABOUT, "host": 7}),
    "a table as findings": lambda: written(findings={}),
    "a list as finding": lambda: written(findings=[[]]),
    "null as finding": lambda: written(findings=[None]),
    "no id": lambda: written(findings=[{"result": "ok", "title": "t"}]),
    "a list as id": lambda: finding(id=[]),
    "a deep title": lambda: finding(title=json.loads("[" * 900 + "]" * 900)),
    "an unknown result": lambda: finding(result="fine"),
    "a table as result": lambda: finding(result={}),
    "a text as evidence": lambda: finding(evidence="x"),
    "a list in the evidence": lambda: finding(evidence=[[]]),
    "evidence without a place": lambda: finding(evidence=[{"what": "x"}]),
    "a number as evidence": lambda: finding(evidence=[{**EVIDENCE, "found": 1}]),
    "a number as remedy": lambda: finding(remedy=1),
    "a remedy that is no text": lambda: finding(remedy=[{"describe": 1}]),
    "a remedy without words": lambda: finding(remedy=[{}]),
    "a remedy of texts": lambda: finding(remedy=["x"]),
    "2000 findings": lambda: written(findings=[FINDING] * 2000),
    "5 MiB of findings": lambda: finding(cause="x" * 5 * MIB),
}


def tar_of(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for name, data in files.items():
            info = tarfile.TarInfo(f"b/{name}")
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
    return out.getvalue()


def refused(file: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one sentence with which it is refused."""
    assert main(["doctor", "--from", str(file)]) == ExitCode.ANSWERS
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"{file}: is not a support bundle of this wizard: ")
    assert captured.err.count("\n") == 1, captured.err
    return captured.err


@pytest.mark.parametrize("name", CASES)
def test_a_crafted_bundle_is_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "b.tar.gz"
    file.write_bytes(CASES[name]())
    begun = time.process_time()
    refused(file, capsys)
    assert time.process_time() - begun < 2


def test_memory_stays_within_bounds(tmp_path: Path) -> None:
    """The peak of a child that reads one after the other."""
    names = [name for name in CASES if "1.2 GB" in name or "MiB" in name or "70 MB" in name]
    paths = []
    for number, name in enumerate(names):
        paths.append(tmp_path / f"{number}.tar.gz")
        paths[-1].write_bytes(CASES[name]())
    script = (
        "import sys\n"
        "from bai_wizard.cli import main\n"
        "from tests.memory import peak_megabytes\n"
        "assert [main(['doctor', '--from', path]) for path in sys.argv[1:]] == [2] * len(sys.argv[1:])\n"
        "print(peak_megabytes())\n"
    )
    argv = [sys.executable, "-c", script, *map(str, paths)]
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 300, "MB"


def test_a_real_bundle_with_flipped_bits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The checksum finds every flip that changes anything: the last bits of packed data may be of no account."""
    file = tmp_path / "b.tar.gz"
    whole = written(more={"journal.txt": os.urandom(3000).hex().encode()})
    file.write_bytes(whole)
    assert main(["doctor", "--from", str(file)]) == ExitCode.OPTIONAL_FAILED
    shown = capsys.readouterr().out
    rng = random.Random(seed())
    for _ in range(2000 if is_soak() else 150):
        damaged = bytearray(whole)
        # The first ten bytes are gzip's own head, with the time and the system.
        for _ in range(rng.choice([1, 1, 1, 5])):
            damaged[rng.randrange(10, len(damaged))] ^= 1 << rng.randrange(8)
        file.write_bytes(damaged)
        code = main(["doctor", "--from", str(file)])
        captured = capsys.readouterr()
        assert (code, captured.err.count("\n")) == (2, 1) or captured.out == shown, captured


def test_flipped_bits_below_a_right_checksum(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Refused or shown, and never a bug."""
    plain = gzip.decompress(written(more={"journal.txt": b"x" * 700}))
    file = tmp_path / "b.tar.gz"
    rng = random.Random(seed())
    for _ in range(2000 if is_soak() else 200):
        damaged = bytearray(plain)
        for _ in range(rng.choice([1, 1, 3])):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        file.write_bytes(gzip.compress(bytes(damaged), 1))
        code = main(["doctor", "--from", str(file)])
        captured = capsys.readouterr()
        assert code in (0, 2, 4, 6), captured.err
        assert "Traceback" not in captured.err


def test_irregular_files_are_refused_immediately(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    os.symlink("loop", tmp_path / "loop")
    writer = os.open(tmp_path / "pipe", os.O_RDWR)
    paths = [
        tmp_path / "pipe",
        tmp_path / "loop",
        tmp_path / "none",
        tmp_path,
        Path("/dev/zero"),
        Path("/proc/self/mem"),
    ]
    with ends("reading what is no regular file"):
        for directory in paths:
            refused(directory, capsys)
    os.close(writer)


def test_a_pipe_that_the_caller_passed_on_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    reader, writer = os.pipe()
    os.write(writer, written())
    os.close(writer)
    assert main(["doctor", "--from", f"/dev/fd/{reader}"]) == ExitCode.OPTIONAL_FAILED
    os.close(reader)
    assert "host-1" in capsys.readouterr().out


def test_texts_of_a_bundle_never_start_an_output_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ours = "\nhost-1: no problem, no warning\x1b[8m"
    words = dict.fromkeys(("title", "cause", "guidance", "risk", "suppressed_by"), f"a{ours}")
    for result in ("warning", "cannot-tell"):
        file = tmp_path / "b.tar.gz"
        evidence = [dict.fromkeys(EVIDENCE, f"a{ours}")]
        one = {**FINDING, **words, "id": f"x{ours}", "result": result, "evidence": evidence}
        one["remedy"] = [{"id": "a", "describe": f"a{ours}"}]
        about = {**ABOUT, "host": f"host-2{ours}", "made": f"today{ours}"}
        file.write_bytes(written(about, [one], {f"log{ours}".replace("\x1b[8m", ""): b"x"}))
        main(["doctor", "--from", str(file)])
        message = capsys.readouterr().out
        assert "host-1: no problem" in message
        assert not any(line.startswith("host-1") for line in message.splitlines()), message
        assert "\x1b" not in message


def test_a_lone_surrogate_is_shown_as_an_escape(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file name that is not UTF-8 gets into our own bundles in this form."""
    file = tmp_path / "b.tar.gz"
    file.write_bytes(finding(title="file \udcff"))
    for more in ([], ["--json"], ["--report", str(tmp_path / "r.md")], ["--report", str(tmp_path / "r.html")]):
        assert main(["doctor", "--from", str(file), *more]) == ExitCode.OPTIONAL_FAILED
        message = capsys.readouterr().out
        assert "\\udcff" in message
        message.encode()


def test_a_long_name_of_our_own_is_read_back(tmp_path: Path) -> None:
    """Python's writer puts it into an extended header."""
    contents = {"about.json": json.dumps(ABOUT), "findings.json": "[]", "a" * 300: "x", "한국": "y", "empty": ""}
    write_bundle(str(tmp_path / "b.tar.gz"), contents)
    assert read_bundle(str(tmp_path / "b.tar.gz")).contents == contents


def test_the_largest_findings_are_shown_in_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "x " * (bundle.LONGEST_TEXT // 2)
    some = [{**FINDING, "id": f"x{n}", "cause": text} for n in range(bundle.LONGEST_FINDINGS // len(text) - 10)]
    file = tmp_path / "b.tar.gz"
    file.write_bytes(written(findings=some))
    begun = time.process_time()
    assert main(["doctor", "--from", str(file)]) == ExitCode.OPTIONAL_FAILED
    assert time.process_time() - begun < 10
    assert capsys.readouterr().out
