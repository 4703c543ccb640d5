"""The value that wins at boot, as computed by systemd-sysctl; expected values from its source and manual."""

from __future__ import annotations

from pathlib import Path

import pytest

from bai_wizard.core.page import Unsupported
from bai_wizard.core.state import Entry, Key, State, Sysctl, Unit
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.pages.tuning.boot_sysctl import Assignment, boot_of, kernel_form, parse, read_files
from bai_wizard.pages.tuning.plan import PAGE
from tests.pages.storage.lifecycle import plan_of, shown
from tests.pages.tuning.test_check_limits import findings_of
from tests.pages.tuning.test_plan import PATH, applied, settings_in
from tests.pages.ubuntu import file, link, ubuntu

KEY = "net.core.somaxconn"


def winner(machine: SimulatedMachine, key: str) -> Assignment | None:
    deciding = boot_of(read_files(machine)).deciding(key, "4096")
    return deciding.line if deciding else None


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
    result = winner(ubuntu(files=files), KEY)
    assert (result.path if result else None) == expected


def test_the_last_assignment_of_a_file_has_its_line() -> None:
    result = winner(ubuntu(files={"/etc/sysctl.d/50-a.conf": f"{KEY}=1\n\n {KEY} = 2 \n"}), KEY)
    assert result is not None
    assert (result.line, result.value, result.place) == (3, "2", "/etc/sysctl.d/50-a.conf:3")


def test_lib_is_read_only_if_it_is_not_a_link() -> None:
    files = {"/lib/sysctl.d/50-a.conf": file(f"{KEY}=1")}
    assert winner(ubuntu(files=files), KEY) is not None
    merged = ubuntu(files={**files, "/lib": link("usr/lib")})
    assert winner(merged, KEY) is None


def test_an_unreadable_file_is_reported() -> None:
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


UFW = {
    "/etc/default/ufw": 'IPT_MODULES=""\nIPT_SYSCTL=/etc/ufw/sysctl.conf # ours\n',
    "/etc/ufw/ufw.conf": "ENABLED=yes\n",
    "/etc/ufw/sysctl.conf": "# site\nnet/core/somaxconn=128 # small\nnet/ipv4/tcp_fin_timeout=60\n",
}
UNIT: dict[Key, State | None] = {Key("unit", "ufw.service"): Unit("enabled", "active", 1.0)}


@pytest.mark.parametrize(
    ("changes", "unit", "is_read"),
    [
        ({}, "enabled", True),
        ({}, "disabled", False),
        ({}, "masked", False),
        ({"/etc/ufw/ufw.conf": "ENABLED=no\n"}, "enabled", False),
        ({"/etc/ufw/ufw.conf": "#ENABLED=yes\n"}, "enabled", False),
        ({"/etc/ufw/ufw.conf": 'ENABLED="YES"\n'}, "enabled", True),
        ({"/etc/ufw/ufw.conf": "ENABLED=yes\nIPT_SYSCTL=\n"}, "enabled", False),
        ({"/etc/sysctl.d/zz.conf": "net.core.somaxconn = 9000\n"}, "enabled", True),
    ],
)
def test_ufws_file_is_read_after_all_others(changes: dict[str, str], unit: str, is_read: bool) -> None:
    states: dict[Key, State | None] = {Key("unit", "ufw.service"): Unit(unit, "active", 1.0)}
    machine = ubuntu(states, files={**UFW, **changes})
    result = winner(machine, KEY)
    assert (result is not None and result.path == "/etc/ufw/sysctl.conf") is is_read


def test_a_plan_and_the_doctor_name_ufws_lines() -> None:
    plan = plan_of(PAGE, {}, ubuntu(UNIT, files=UFW))
    reason = next(item.step.reason for item in plan.steps if isinstance(item.step, Unsupported))
    assert "/etc/ufw/sysctl.conf:3 sets net.ipv4.tcp_fin_timeout = 60" in reason
    assert "/etc/ufw/sysctl.conf:2 sets net.core.somaxconn" in reason


def test_the_doctor_names_ufws_line_as_the_winner_of_the_boot(tmp_path: Path) -> None:
    machine = applied(ubuntu(UNIT), tmp_path)
    for path, text in UFW.items():
        machine.set_state(Key("file", path), file(text))
    finding = findings_of("tuning.sysctl-overridden", machine)
    assert finding.result == "problem"
    assert {each.where for each in finding.evidence} == {"/etc/ufw/sysctl.conf:2", "/etc/ufw/sysctl.conf:3"}


# The value after `systemd-sysctl`, measured with a kernel 6 and systemd 257; None: the kernel rejects the line.
VALUES = {
    "65535": "65535",
    "65535 # raised": "65535",
    "65535\t; raised": "65535",
    "0x2000": "8192",
    "017": "15",
    "65535\r": "65535",
    "+1": None,
    "8192,": None,
    '"8192"': None,
    "8192#": None,
    "8192\u00a0": None,
    "\u00a08192": None,
    "": None,
    "99999999999999999999": None,
    "4294967296": None,
    "08": None,
}


@pytest.mark.parametrize("value", VALUES)
def test_what_the_kernel_makes_of_a_value(value: str) -> None:
    machine = ubuntu(files={"/etc/sysctl.d/zz.conf": f"{KEY} = {value}\n"})
    deciding = boot_of(read_files(machine)).deciding(KEY, "4096")
    assert deciding is not None
    assert deciding.value == VALUES[value]


@pytest.mark.parametrize(
    ("value", "result"),
    [
        ("4096 87380", "4096 87380 6291456"),
        ("4096  87380\t99 # x", "4096 87380 99"),
        ("4095 x", "4095 131072 6291456"),
        ("x 4096", None),
    ],
)
def test_parameters_of_several_fields(value: str, result: str | None) -> None:
    machine = ubuntu(files={"/etc/sysctl.d/zz.conf": f"net.ipv4.tcp_rmem = {value}\n"})
    deciding = boot_of(read_files(machine)).deciding("net.ipv4.tcp_rmem", "4096 131072 6291456")
    assert deciding is not None
    assert deciding.value == result


@pytest.mark.parametrize("line", ["65535   # raised for the proxies", "0x2000", "8192 ; x"])
def test_a_better_value_with_a_remark_is_kept_and_healthy(line: str, tmp_path: Path) -> None:
    live = {"65535   # raised for the proxies": "65535"}.get(line, "8192")
    machine = ubuntu(files={"/etc/sysctl.d/99-zz-site.conf": f"{KEY} = {line}\n"}, sysctl={KEY: live})
    applied(machine, tmp_path)
    for id in ("tuning.sysctl-overridden", "tuning.sysctl-lowers-better-value"):
        assert findings_of(id, machine).result == "ok"


def test_a_value_that_was_lowered_before_becomes_the_kernels_own(tmp_path: Path) -> None:
    machine = applied(ubuntu(sysctl={KEY: "128"}), tmp_path)
    assert machine.sysctl(KEY) == Sysctl("4096")
    assert settings_in(machine.text(PATH) or "")[KEY] == "4096"
    assert findings_of("tuning.sysctl-lowers-better-value", machine).result == "ok"
    assert plan_of(PAGE, {}, machine).is_empty()


def test_fs_nr_open_is_raised_for_the_agents_unit() -> None:
    unit = {"/etc/systemd/system/backendai-agent.service": "[Service]\nLimitNOFILE=5242880\n"}
    assert "+fs.nr_open = 5242880" in shown(plan_of(PAGE, {}, ubuntu(files=unit)))
    assert "fs.nr_open" not in shown(plan_of(PAGE, {}, ubuntu()))
