"""fstab is read as libmount reads it, and what is written to it is read alike by systemd."""

from __future__ import annotations

import ctypes
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bai_wizard.core.parse import Unrepresentable, fstab_name
from bai_wizard.pages.storage.fstab import FstabEntry, parse_fstab, read_line, with_options
from bai_wizard.pages.storage.options import split
from tests.sampling import is_soak, seed

LINES = 5000 if is_soak() else 300
GENERATOR = "/usr/lib/systemd/system-generators/systemd-fstab-generator"
POINTER = ctypes.c_void_p
TEXT = ctypes.POINTER(ctypes.c_char)
ON_ERROR = ctypes.CFUNCTYPE(ctypes.c_int, POINTER, ctypes.c_char_p, ctypes.c_int)

BLANKS = (" ", " ", " ", "\t", "  ", " \t ", "\u00a0", "\u2003", "\u3000", "\v", "\f", "\r", "\ufeff", "\u0085")
ENDS = ("\n", "\n", "\n", "\n", "\r\n", "\r\r\n", "\r", "\0\n", " \n", " \r\n", "\n\n", "\0", "\u2028\n")
SOURCES = (
    "srv:/a", "[fd00::1]:/a", "UUID=1-2", 'LABEL="x"', 'LABEL="x y"', "LABEL=", "a\\040b", "a\\011b", "\\134040",
    "\\043", "#x", "a#b", "\\000", "a\\000b", "\\400", "a\\04", "\\303\\251", "\u00e9", "\xff", "\\377", "none",
    "\ufeffsrv:/a",    "x" * 9000,
)  # fmt: skip
TARGETS = (
    "/vfroot/a", "/vfroot/a/", "//vfroot//a//", "/", "none", "swap", "vfroot", "/mnt/a\\040b", "/mnt/\\303\\251",
    "/m/\xff", "/vfroot/a\\000b", "\\000", "/vfroot/\u00e9", "/vfroot/a\u00a0b", "/vfroot/#a", "/..", '"/vfroot/a b"',
)  # fmt: skip
TYPES = (
    "nfs",
    "nfs4",
    "xfs",
    "none",
    "swap",
    "udf,iso9660",
    "fuse.sshfs",
    "NFS",
    "\\156fs",
    "\\000",
    "auto",
    "#",
    "x\\",
)
OPTIONS = (
    "defaults", "hard,nofail", ",,ro,,", ",", "", "bind", 'context="a,b",ro', 'context="a,b', "a=b=c", "=x",
    "a\\054b", "a\\040b", "\\000", "#", "ro#x", '"', '""', "a=,b", "\u00e9", "\xff", "_netdev,x-systemd.a=/a",
    "0", "\r",
)  # fmt: skip
NUMBERS = (
    "0", "0", "1", "2", "", "x", "-1", "+1", "00", "08", "0x1", "1x", "#", "# comment", "0 # comment", "0 7",
    "\u0660", "\r1", "\v0", "0\v", "-", "2147483648", "\0",
)  # fmt: skip
WHOLE = (
    "",
    " ",
    "\t",
    "#",
    "# srv:/a /b nfs",
    " \t# x",
    "\v# x",
    "\u00a0# x",
    "a",
    "a /b",
    "\r",
    "\0",
    "#\0",
    "a /b c d\0",
)


def line_of(chance: random.Random) -> str:
    """One line, right or odd."""
    roll = chance.random()
    if roll < 0.1:
        return chance.choice(WHOLE)
    blanks = BLANKS if roll < 0.4 else BLANKS[:4]
    words = [
        chance.choice(each if roll < 0.8 else each[:2])
        for each in (SOURCES, TARGETS, TYPES, OPTIONS, NUMBERS, NUMBERS)
    ]
    words = words[: chance.choice((2, 3, 4, 5, 6, 6, 6, 6))]
    return chance.choice(("", "", "", "", " ", "\t", "\u00a0", "\ufeff")) + "".join(
        word + chance.choice(blanks) for word in words[:-1]
    ) + words[-1]  # fmt: skip


def bytes_of(text: str) -> bytes:
    """UTF-8, in which a drawn \\xff stays a byte that no UTF-8 has."""
    return b"".join(b"\xff" if part == "\xff" else part.encode() for part in text)


def files() -> Iterator[bytes]:
    """Files of 1 to 4 lines."""
    chance, lines = random.Random(f"{seed()}:fstab"), 0
    while lines < LINES:
        count = chance.randint(1, 4)
        text = bytes_of("".join(line_of(chance) + chance.choice(ENDS) for _ in range(count)))
        yield text if chance.random() < 0.7 else text.rstrip(b"\n")
        lines += count


class Libmount:
    """The library that mount, findmnt and systemd from 256 on read fstab with."""

    def __init__(self) -> None:
        self.library = library = ctypes.CDLL("libmount.so.1")
        library.mnt_new_table.restype = library.mnt_new_iter.restype = POINTER
        for name in ("source", "target", "fstype", "options"):
            getattr(library, f"mnt_fs_get_{name}").restype = ctypes.c_char_p

    def read(self, path: Path) -> tuple[list[tuple[Any, ...]], list[int]]:
        """The entries of a file, and the numbers of the lines that cannot be parsed."""
        library, refused = self.library, list[int]()
        table = POINTER(library.mnt_new_table())

        def goes_on(_table: object, _file: object, line: int) -> int:
            refused.append(line)
            return 1

        on_error = ON_ERROR(goes_on)
        library.mnt_table_set_parser_errcb(table, on_error)
        assert library.mnt_table_parse_fstab(table, os.fsencode(path)) == 0
        forward, found, entries = POINTER(library.mnt_new_iter(0)), POINTER(), []
        while library.mnt_table_next_fs(table, forward, ctypes.byref(found)) == 0:
            texts = [
                getattr(library, f"mnt_fs_get_{name}")(found) for name in ("source", "target", "fstype", "options")
            ]
            entries.append((*texts, library.mnt_fs_get_freq(found), library.mnt_fs_get_passno(found)))
        library.mnt_free_iter(forward)
        library.mnt_unref_table(table)
        return entries, refused

    def options(self, text: bytes) -> list[bytes]:
        """The options of a field, without an unfinished quotation."""
        position = ctypes.cast(ctypes.create_string_buffer(text), TEXT)
        name, value = TEXT(), TEXT()
        sizes = ctypes.c_size_t(), ctypes.c_size_t()
        result = []
        while (
            self.library.mnt_optstr_next_option(
                ctypes.byref(position),
                ctypes.byref(name),
                ctypes.byref(sizes[0]),
                ctypes.byref(value),
                ctypes.byref(sizes[1]),
            )
            == 0
        ):
            texts = [
                ctypes.string_at(each, size.value) for each, size in zip((name, value), sizes, strict=True) if each
            ]
            result.append(b"=".join(texts))
        return result


@pytest.fixture(scope="module")
def libmount() -> Libmount:
    return Libmount()


def raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def number(text: str) -> int:
    """As an int of 32 bits keeps it."""
    return ctypes.c_int(int(text)).value


def same_target(target: bytes) -> bytes:
    """As systemd and findmnt tidy it up."""
    while b"//" in target:
        target = target.replace(b"//", b"/")
    return target if target == b"/" else target.removesuffix(b"/")


def test_lines_are_read_as_libmount_reads_them(libmount: Libmount, tmp_path: Path) -> None:
    file = tmp_path / "fstab"
    seen = 0
    for data in files():
        file.write_bytes(data)
        entries, refused = libmount.read(file)
        text = data.decode("utf-8", "surrogateescape")
        ours = parse_fstab(text)
        assert [
            (*map(raw, (each.source, each.target, each.fstype, each.options)), number(each.freq), number(each.passno))
            for each in ours
        ] == [
            (source, same_target(target), fstype, b"defaults" if options is None else options, freq, passno)
            for source, target, fstype, options, freq, passno in entries
        ], data  # fmt: skip
        lines = text.split("\n")
        lines[-1] = lines[-1].partition("\0")[0]
        # libmount notices a NUL before a comment.
        refused = [at for at in refused if not lines[at - 1].lstrip(" \t").startswith("#")]
        assert [at for at, line in enumerate(lines, start=1) if isinstance(read_line(line), str)] == refused, data
        seen += len(ours)
    assert seen > LINES // 4
    assert seen < LINES


def test_options_are_separated_as_libmount_separates_them(libmount: Libmount) -> None:
    """Not compared, because libmount 2.38 and 2.41 differ: options without a name, and commas after a backslash."""
    chance = random.Random(f"{seed()}:options")
    for _ in range(LINES):
        text = "".join(chance.choice((",", ",", '"', "a=", "a", "ro", "x-y", " ", "\u00e9", "\\a")) for _ in range(9))
        ours = [raw(option) for option in split(text)]
        unfinished = ours[-1:] if text.count('"') % 2 else []
        theirs = libmount.options(raw(text))
        assert [option.partition(b"=")[0::2] for option in ours] == [
            option.partition(b"=")[0::2] for option in (*theirs, *unfinished)
        ], text  # fmt: skip


def test_what_is_written_is_read_alike_by_libmount_and_systemd(libmount: Libmount, tmp_path: Path) -> None:
    chance = random.Random(f"{seed()}:names")
    wanted, lines = [], []
    for index in range(40):
        name = "".join(chance.choice(' \t\\#"%,\u00a0\u00e9ab04') for _ in range(8)) + "x"
        entry = FstabEntry(f"srv:/{name}", f"/vfroot/{index}{name}", "nfs", "hard")
        wanted.append((entry.source, entry.target))
        lines.append(entry.render())
    file = tmp_path / "fstab"
    file.write_text("\n".join(lines) + "\n")
    assert [(each.source, each.target) for each in parse_fstab(file.read_text())] == wanted
    assert [tuple(map(os.fsdecode, each[:2])) for each in libmount.read(file)[0]] == wanted
    shown = subprocess.run(
        [GENERATOR, tmp_path, tmp_path, tmp_path],
        env={**os.environ, "SYSTEMD_FSTAB": str(file), "SYSTEMD_LOG_LEVEL": "debug", "SYSTEMD_LOG_TARGET": "console"},
        capture_output=True,
        text=True,
        check=False,
    ).stderr
    assert [f"what={source} where={target} type=" in shown for source, target in wanted] == [True] * len(wanted), (
        shown
    )


@pytest.mark.parametrize("name", ["", "a\0b", "#a", "a\x7f", "a\rb"])
def test_names_that_cannot_be_written(name: str) -> None:
    with pytest.raises(Unrepresentable):
        fstab_name(name)


@pytest.mark.parametrize(
    ("line", "changed"),
    [
        ("srv:/a\t/b  nfs\tbg,a\\040b 0\t0  # x", "srv:/a\t/b  nfs\tbg,a\\040b,nofail 0\t0  # x"),
        ("srv:/a /b nfs", "srv:/a /b nfs nofail"),
        ("srv:/a /b nfs\r", "srv:/a /b nfs nofail\r"),
        ("srv:/a /b nfs hard\r", "srv:/a /b nfs hard,nofail\r"),
        (' srv:/a\u00a0b /b nfs context="a,b",ro', ' srv:/a\u00a0b /b nfs context="a,b",ro,nofail'),
    ],
)
def test_changed_options_leave_the_rest_of_a_line(line: str, changed: str) -> None:
    assert with_options(line, lambda options: (*options, "nofail")) == changed
