"""Parsing and editing the text of fstab."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as some

from bai_wizard.core.parse import decode_octal, fstab_name
from bai_wizard.pages.storage.fstab import (
    FSTAB_MARKERS,
    FstabEntry,
    foreign_entries,
    fstab_faults,
    own_entries,
    parse_fstab,
    path_unit,
    put_entry,
)
from bai_wizard.steps.files import drop_block

UBUNTU = """\
# /etc/fstab: static file system information.
UUID=6fd2 /               ext4    errors=remount-ro 0       1
/dev/sr0        /media/cdrom0   udf,iso9660 user,noauto     0       0
"""
LINE = "10.0.0.1:/e /vfroot/vol1 nfs hard,nofail 0 0"


def test_lines_are_read_as_the_kernel_reads_them() -> None:
    (entry,) = parse_fstab("srv:/a\\040b  /mnt/with\\040blank/ nfs4\t ro,hard\n")
    assert entry == FstabEntry("srv:/a b", "/mnt/with blank", "nfs4", "ro,hard", "0", "0", 1)
    assert entry.render() == "srv:/a\\040b /mnt/with\\040blank nfs4 ro,hard 0 0"


def test_a_second_volume_joins_the_block_and_a_change_stays_in_its_line() -> None:
    one = put_entry(UBUNTU, LINE, "/vfroot/vol1")
    two = put_entry(one, "tank /vfroot/vol2 xfs nofail 0 0", "/vfroot/vol2")
    assert [entry.target for entry in own_entries(two)] == ["/vfroot/vol1", "/vfroot/vol2"]
    changed = put_entry(two, LINE.replace("hard", "hard,nconnect=4"), "/vfroot/vol1")
    assert [entry.target for entry in own_entries(changed)] == ["/vfroot/vol1", "/vfroot/vol2"]
    assert "nconnect" in changed
    assert [entry.target for entry in foreign_entries(changed)] == ["/", "/media/cdrom0"]


def test_a_duplicate_line_in_our_block_is_kept_once() -> None:
    text = f"{FSTAB_MARKERS.begin}\n{LINE}\n{LINE.replace('hard', 'ro')}\n{FSTAB_MARKERS.end}\n"
    assert put_entry(text, LINE, "/vfroot/vol1") == f"{FSTAB_MARKERS.begin}\n{LINE}\n{FSTAB_MARKERS.end}\n"


lines = some.lists(
    some.text(some.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=40).filter(
        lambda line: line.strip() not in (FSTAB_MARKERS.begin, FSTAB_MARKERS.end)
    ),
    max_size=6,
)


@given(lines, some.booleans(), some.integers(1, 3))
def test_lines_of_others_keep_their_bytes(others: list[str], ends: bool, volumes: int) -> None:
    text = "\n".join(others) + ("\n" if ends and others else "")
    new = text
    for number in range(volumes):
        new = put_entry(new, f"srv:/{number} /vfroot/{number} nfs hard 0 0", f"/vfroot/{number}")
    assert drop_block(new, FSTAB_MARKERS) == text + ("" if not text or text.endswith("\n") else "\n")
    assert put_entry(new, "srv:/0 /vfroot/0 nfs hard 0 0", "/vfroot/0") == new


@given(some.text(some.characters(exclude_categories=["Cs", "Cc"]), min_size=1).map("/".__add__))
def test_names_survive_the_escapes(name: str) -> None:
    assert decode_octal(fstab_name(name)) == name
    assert not any(blank in fstab_name(name) for blank in " \t\n")


@pytest.mark.parametrize(
    "line,message",
    [
        ("srv:/a /vfroot/a", "2 fields"),
        ("srv:/a /vfroot/a nfs hard 0 x", "numbers"),
        ("srv:/a vfroot nfs hard 0 0", "absolute"),
        ("srv:/a /vfroot/a nfs hard\r", "carriage return"),
        ("srv:/a /vfroot/a nfs hard # x", "numbers"),
        ("srv:/a /vfroot/a nfs ha\0rd", "NUL"),
        ("srv:/a\u00a0/vfroot/a nfs hard 0 0", "absolute"),
        (f"{LINE}\n{LINE}", "same mount point as line 1"),
    ],
)
def test_lines_that_findmnt_accepts_are_still_reported(line: str, message: str) -> None:
    assert any(message in fault for fault in fstab_faults(line + "\n"))


@pytest.mark.parametrize(
    "line", ["srv:/a /vfroot/a nfs", "srv:/a /vfroot/a nfs hard 0 0 7", LINE + "\r", LINE + " # x"]
)
def test_lines_that_mount_and_systemd_read_alike_have_no_faults(line: str) -> None:
    assert fstab_faults(line + "\n") == ()


def test_a_sound_file_has_no_faults() -> None:
    assert fstab_faults(UBUNTU + LINE + "\nUUID=x none swap sw 0 0\nUUID=y none swap sw 0 0\n") == ()


@pytest.mark.parametrize("path", ["/vfroot/vol1", "/", "/vfroot/a-b_c", "/.hidden/x", "/vfroot/볼륨", "/a//b/"])
def test_unit_names_are_systemds(path: str) -> None:
    asked = subprocess.run(
        ["systemd-escape", "--path", "--suffix=mount", "--", path], capture_output=True, text=True, check=True
    )
    assert path_unit(path, "mount") == asked.stdout.strip()
