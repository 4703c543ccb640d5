"""Whatever a run directory contains: no traceback, no hang, and no effect on other commands."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bai_wizard.cli import main
from bai_wizard.exit_codes import ExitCode
from bai_wizard.steps import load_all
from tests.sampling import sampled, seed
from tests.unit.test_released_fixtures import on_a_node
from tests.waiting import ends

pytestmark = pytest.mark.needs_root

FILES = ("run.json", "plan.json", "settings.json", "journal.jsonl", "events.jsonl", "result.json", "backup")
BASES = ("applied", "killed", "undone", "failed", "stopped")
ALLOWED = {*ExitCode} - {ExitCode.BUG}

Damage = Callable[[Path, random.Random], None]


def replaced(content: bytes | str) -> Damage:
    data = content.encode() if isinstance(content, str) else content

    def damage(path: Path, _chance: random.Random) -> None:
        remove(path)
        path.write_bytes(data)

    return damage


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def missing(path: Path, _chance: random.Random) -> None:
    remove(path)


def fifo(path: Path, _chance: random.Random) -> None:
    remove(path)
    os.mkfifo(path)


def directory(path: Path, _chance: random.Random) -> None:
    remove(path)
    path.mkdir()


def link(path: Path, _chance: random.Random) -> None:
    remove(path)
    path.symlink_to("/dev/zero")


def contents(path: Path) -> Path:
    """Return the path itself if it is a file; in a directory, a file in it, created if necessary."""
    if not path.is_dir():
        return path
    result = sorted(path.iterdir())
    return result[0] if result else path / ("0" * 64)


def torn(path: Path, chance: random.Random) -> None:
    file = contents(path)
    data = file.read_bytes() if file.exists() else b""
    file.write_bytes(data[: chance.randrange(len(data) + 1)])


def flipped(path: Path, chance: random.Random) -> None:
    file = contents(path)
    data = bytearray(file.read_bytes() if file.exists() else b"")
    for _ in range(min(len(data), chance.randrange(1, 12))):
        data[chance.randrange(len(data))] = chance.randrange(256)
    file.write_bytes(data)


def zeroed(path: Path, chance: random.Random) -> None:
    """What a power cut leaves on some file systems: the size is right, the content is not."""
    file = contents(path)
    data = file.read_bytes() if file.exists() else b""
    kept = chance.randrange(len(data) + 1)
    file.write_bytes(data[:kept] + bytes(len(data) - kept))


VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1e308, 10**30, "", "x", "\x1b]0;x\x07", "\ud800", [], [1], {}, {"kind": "nothing"},
    "sha256:../../../etc/passwd", {"secret": 1},
)  # fmt: skip


def mistyped(path: Path, chance: random.Random) -> None:
    """One value somewhere in the JSON is replaced, or its key removed."""
    file = contents(path)
    try:
        lines = [json.loads(line) for line in file.read_text().splitlines()] if path.suffix == ".jsonl" else []
        documents = lines or [json.loads(file.read_text())]
    except (ValueError, OSError):
        torn(path, chance)
        return
    location: Any = documents
    while True:
        keys = list(location) if isinstance(location, dict) else list(range(len(location)))
        key = chance.choice(keys)
        inner = location[key]
        if not (isinstance(inner, dict | list) and inner) or chance.random() < 0.15:
            break
        location = inner
    if isinstance(location, dict) and chance.random() < 0.3:
        del location[key]
    else:
        location[key] = chance.choice(VALUES)
    text = "\n".join(json.dumps(document) for document in documents) + "\n"
    file.write_text(text)


def sparse(path: Path, _chance: random.Random) -> None:
    """Larger than the memory, without taking room."""
    remove(path)
    with path.open("wb") as file:
        file.truncate(1 << 40)


def long_line(path: Path, _chance: random.Random) -> None:
    """A line that no record of the wizard has."""
    file = contents(path)
    with file.open("ab") as stream:
        stream.write(b'{"n": 1, "what": "' + b"x" * (20 << 20) + b'"}\n')


def loop(path: Path, _chance: random.Random) -> None:
    remove(path)
    path.symlink_to(path.name)


def full_directory(path: Path, _chance: random.Random) -> None:
    """A directory in place of a file, with things in it that cannot be removed as files."""
    if not path.is_dir():
        remove(path)
        path.mkdir()
    (path / "inner").mkdir()
    (path / "inner/file").write_bytes(b"x")
    os.mkfifo(path / ("f" * 64))


def socket(path: Path, _chance: random.Random) -> None:
    remove(path)
    os.mknod(path, 0o600 | stat.S_IFSOCK)


def device(path: Path, _chance: random.Random) -> None:
    """A device with the numbers of /dev/zero; where a container may not make one, a link to it."""
    remove(path)
    try:
        os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 5))
    except PermissionError:
        path.symlink_to("/dev/zero")


def hard_link(path: Path, _chance: random.Random) -> None:
    """The file is another one of the run as well."""
    other = path.with_name("plan.json" if path.name != "plan.json" else "settings.json")
    if other.is_file() and not path.is_dir():
        remove(path)
        os.link(other, path)
    else:
        missing(path, _chance)


def closed(path: Path, _chance: random.Random) -> None:
    """No permission bits at all: root may read it, other users not."""
    path.chmod(0) if path.exists() else path.touch(0)


def future(path: Path, _chance: random.Random) -> None:
    """Times and numbers from long after now."""
    file = contents(path)
    data = file.read_bytes() if file.exists() else b""
    data = re.sub(rb'"(t|created)": "\d{4}', rb'"\1": "9999', data)
    file.write_bytes(re.sub(rb'"(number|id|n|seq|v|version)": \d+', rb'"\1": 9007199254740991', data))


def encoded(name: str) -> Damage:
    """The text in another encoding, as an editor may save it."""

    def damage(path: Path, _chance: random.Random) -> None:
        file = contents(path)
        data = file.read_bytes() if file.exists() else b"{}"
        file.write_bytes(data.decode("utf-8", "replace").encode(name, "replace"))

    return damage


def doubled(path: Path, _chance: random.Random) -> None:
    """All records twice: a file that was appended to itself."""
    file = contents(path)
    data = file.read_bytes() if file.exists() else b""
    file.write_bytes(data * 2)


def surrogates(path: Path, _chance: random.Random) -> None:
    """Valid JSON whose strings are no text."""
    file = contents(path)
    data = file.read_bytes() if file.exists() else b'{"a": "b"}'
    file.write_bytes(re.sub(rb'": "[^"\\]', rb'": "\\ud800', data))


DAMAGES: dict[str, Damage] = {
    "missing": missing,
    "empty": replaced(""),
    "nulls": replaced(bytes(4096)),
    "garbage": replaced(random.Random(1).randbytes(4096)),
    "not UTF-8": replaced(b'{"kind": "\xff\xfe"}\n'),
    "number": replaced("17\n"),
    "list": replaced("[]\n"),
    "string": replaced('"x"\n'),
    "null": replaced("null\n"),
    "object": replaced("{}\n"),
    "deep": replaced("[" * 200_000 + "\n"),
    "deep object": replaced('{"a":' * 100_000 + "\n"),
    "huge number": replaced('{"n": ' + "9" * 5000 + "}\n"),
    "NaN": replaced('{"n": NaN, "code": Infinity}\n'),
    "FIFO": fifo,
    "directory": directory,
    "link": link,
    **{
        each.__name__: each
        for each in (
            sparse,
            long_line,
            loop,
            full_directory,
            socket,
            device,
            hard_link,
            closed,
            future,
            doubled,
            surrogates,
        )
    },
    **{name: encoded(name) for name in ("utf-16", "utf-8-sig", "utf-32-be")},
    **{f"{damage.__name__} {number}": damage for damage in (torn, flipped, zeroed) for number in range(3)},
    **{f"mistyped {number}": mistyped for number in range(12)},
}
CASES = [(base, file, name) for base in BASES for file in FILES for name in DAMAGES]


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 700


@pytest.mark.parametrize(("base", "file", "name"), sampled("damaged runs", CASES, 24))
def test_a_damaged_run_directory_harms_no_command(
    tmp_path: Path, base: str, file: str, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    load_all()
    healthy, damaged = ("failed", base) if base != "failed" else ("applied", base)
    paths, (other, run) = on_a_node(tmp_path, "0.1.0", healthy, damaged)
    DAMAGES[name](run.path / file, random.Random(f"{seed()}:{base}:{file}:{name}"))
    if (run.path / "run.json").exists():
        os.utime(run.path / "run.json", (0, 0), follow_symlinks=False)
    answers = tmp_path / "answers.toml"
    answers.write_text("version = 1\n[aliases]\n")
    os.chmod(tmp_path, 0o700)
    root = ["--root", str(paths.root)]
    for words in (
        ["runs", *root],
        ["runs", "--json", *root],
        ["attach", run.id, *root],
        ["undo", run.id, "--plan", *root],
        ["undo", "--plan", *root],
        ["resume", run.id, "--plan", *root],
        [*root, "--headless", str(answers), "--plan"],
        [*root, "--headless", str(answers)],
        ["doctor", "--only", "aliases.duplicate", *root],
    ):
        with ends(" ".join(words)):
            code = main(words)
        captured = capfd.readouterr()
        assert code in ALLOWED, f"{words}: {code}\n{captured.err}"
        assert "Traceback" not in captured.err, captured.err
        if words[0] == "runs" and "--json" not in words:
            assert other.id in captured.out, "the undamaged run is still listed"
        if words[-2:-1] == ["--headless"]:
            assert code == ExitCode.OK, f"old runs keep no new one from being made\n{captured.err}"
