"""The boot-time winner, as systemd-sysctl works it out. Expected values from systemd's source and its manual."""

from __future__ import annotations

import pytest

from bai_wizard.core.state import Entry
from bai_wizard.pages.tuning.boot import kernel_form, parse, read_files, winner
from tests.pages.ubuntu import file, link, ubuntu

KEY = "net.core.somaxconn"
CASES: dict[str, tuple[dict[str, str | Entry | None], str | None]] = {
    "nobody sets it": ({}, None),
    "one file": ({"/etc/sysctl.d/50-a.conf": f"{KEY} = 1"}, "/etc/sysctl.d/50-a.conf"),
    "the later name wins": (
        {"/etc/sysctl.d/50-a.conf": f"{KEY}=1", "/etc/sysctl.d/60-b.conf": f"{KEY}=2"},
        "/etc/sysctl.d/60-b.conf",
    ),
    "the name decides over all directories": (
        {"/etc/sysctl.d/50-a.conf": f"{KEY}=1", "/usr/lib/sysctl.d/60-b.conf": f"{KEY}=2"},
        "/usr/lib/sysctl.d/60-b.conf",
    ),
    "of one name the first directory's counts": (
        {"/etc/sysctl.d/50-a.conf": f"{KEY}=1", "/usr/lib/sysctl.d/50-a.conf": f"{KEY}=2"},
        "/etc/sysctl.d/50-a.conf",
    ),
    "run comes before usr": (
        {"/run/sysctl.d/50-a.conf": f"{KEY}=1", "/usr/local/lib/sysctl.d/50-a.conf": f"{KEY}=2"},
        "/run/sysctl.d/50-a.conf",
    ),
    "a link to /dev/null masks": (
        {"/etc/sysctl.d/50-a.conf": link("/dev/null"), "/usr/lib/sysctl.d/50-a.conf": f"{KEY}=2"},
        None,
    ),
    "an empty file masks": ({"/etc/sysctl.d/50-a.conf": "", "/usr/lib/sysctl.d/50-a.conf": f"{KEY}=2"}, None),
    "a broken link masks": (
        {"/etc/sysctl.d/50-a.conf": link("/nowhere"), "/usr/lib/sysctl.d/50-a.conf": f"{KEY}=2"},
        None,
    ),
    "a link in a circle masks": ({"/etc/sysctl.d/50-a.conf": link("50-a.conf")}, None),
    "sysctl.conf by its link": ({"/etc/sysctl.conf": f"{KEY}=3"}, "/etc/sysctl.conf"),
    "sysctl.conf is not read without its link": (
        {"/etc/sysctl.conf": f"{KEY}=3", "/etc/sysctl.d/99-sysctl.conf": None},
        None,
    ),
    "digits before letters, small letters last": (
        {
            "/etc/sysctl.d/zz.conf": f"{KEY}=1",
            "/etc/sysctl.d/99-z.conf": f"{KEY}=2",
            "/etc/sysctl.d/ZZ.conf": f"{KEY}=3",
        },
        "/etc/sysctl.d/zz.conf",
    ),
    "other suffixes are not read": ({"/etc/sysctl.d/zz.conf.bak": f"{KEY}=1", "/etc/sysctl.d/zz": f"{KEY}=1"}, None),
    "hidden files are not read": ({"/etc/sysctl.d/.zz.conf": f"{KEY}=1"}, None),
    "a minus only means that errors do not matter": (
        {"/etc/sysctl.d/50-a.conf": f"-{KEY}=1"},
        "/etc/sysctl.d/50-a.conf",
    ),
    "slashes": ({"/etc/sysctl.d/50-a.conf": "net/core/somaxconn = 1"}, "/etc/sysctl.d/50-a.conf"),
    "a glob": ({"/etc/sysctl.d/50-a.conf": "net.core.*max* = 1"}, "/etc/sysctl.d/50-a.conf"),
    "a glob does not cross a dot": ({"/etc/sysctl.d/50-a.conf": "net.* = 1"}, None),
    "an explicit name beats a later glob": (
        {"/etc/sysctl.d/50-a.conf": f"{KEY}=1", "/etc/sysctl.d/60-b.conf": "net.core.* = 2"},
        "/etc/sysctl.d/50-a.conf",
    ),
    "a later glob beats an earlier one": (
        {"/etc/sysctl.d/50-a.conf": "net.core.* = 1", "/etc/sysctl.d/60-b.conf": "net.*.somaxconn = 2"},
        "/etc/sysctl.d/60-b.conf",
    ),
    "taken out of the globs": (
        {"/etc/sysctl.d/50-a.conf": "net.core.* = 1", "/etc/sysctl.d/60-b.conf": f"-{KEY}"},
        None,
    ),
    "a glob is taken back by the same glob": (
        {"/etc/sysctl.d/50-a.conf": "net.core.* = 1", "/etc/sysctl.d/60-b.conf": "-net.core.*"},
        None,
    ),
    "another glob is not": (
        {"/etc/sysctl.d/50-a.conf": "net.core.* = 1", "/etc/sysctl.d/60-b.conf": "-net.core.some*"},
        "/etc/sysctl.d/50-a.conf",
    ),
    "comments and nonsense": ({"/etc/sysctl.d/50-a.conf": f"# {KEY}=1\n; {KEY}=1\nnonsense\n"}, None),
    "the last line of a file": ({"/etc/sysctl.d/50-a.conf": f"{KEY}=1\n{KEY}=2\n"}, "/etc/sysctl.d/50-a.conf"),
}


@pytest.mark.parametrize("case", CASES)
def test_winner(case: str) -> None:
    files, expected = CASES[case]
    found = winner(read_files(ubuntu(files=files)), KEY)
    assert (found.path if found else None) == expected


def test_the_last_assignment_of_a_file_has_its_line() -> None:
    found = winner(read_files(ubuntu(files={"/etc/sysctl.d/50-a.conf": f"{KEY}=1\n\n {KEY} = 2 \n"})), KEY)
    assert found is not None
    assert (found.line, found.value, found.place) == (3, "2", "/etc/sysctl.d/50-a.conf:3")


def test_lib_is_read_only_where_it_is_no_link() -> None:
    files = {"/lib/sysctl.d/50-a.conf": file(f"{KEY}=1")}
    assert winner(read_files(ubuntu(files=files)), KEY) is not None
    merged = ubuntu(files={**files, "/lib": link("usr/lib")})
    assert winner(read_files(merged), KEY) is None


def test_an_unreadable_file_is_told() -> None:
    machine = ubuntu(
        files={"/etc/sysctl.d/50-a.conf": "x = 1"}, unknown={"file:/etc/sysctl.d/50-a.conf": "permission denied"}
    )
    assert [item.unreadable for item in read_files(machine) if item.unreadable] == ["permission denied"]


@pytest.mark.parametrize(
    "written, expected",
    [
        ("net.ipv4.tcp_rmem", "net/ipv4/tcp_rmem"),
        ("net/ipv4/tcp_rmem", "net/ipv4/tcp_rmem"),
        ("net.ipv4.conf.enp3s0/200.forwarding", "net/ipv4/conf/enp3s0.200/forwarding"),
        ("net/ipv4/conf/enp3s0.200/forwarding", "net/ipv4/conf/enp3s0.200/forwarding"),
    ],
)
def test_the_first_separator_decides(written: str, expected: str) -> None:
    assert kernel_form(written) == expected


def test_quotes_are_seen() -> None:
    (line,) = parse("/x", "/x", 'net.ipv4.ip_local_port_range="10000 65000"')
    assert line.is_quoted
