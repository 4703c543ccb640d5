"""Unit files as systemd reads them, and units whose files changed since it read them."""

from __future__ import annotations

from math import inf

import pytest

from bai_wizard.core.state import Entry, Key, State, Unit
from bai_wizard.core.step import Pending, Unchanged
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.resources.units import ReloadUnits, parse_unit
from bai_wizard.steps.services import (
    Pair,
    Service,
    ServiceLimit,
    ServiceLimits,
    assignments,
    default_limit,
    limit_of,
    unit_settings,
)

UNIT = "/usr/lib/systemd/system/x.service"
DROP_IN = "/etc/systemd/system/x.service.d/50-x.conf"


def file(text: str) -> Entry:
    return Entry("file", 0, 0, 0o644, text.encode())


@pytest.mark.parametrize(
    ("directive", "values", "expected"),
    [
        ("LimitNOFILE", ["1000"], (1000, 1000)),
        ("LimitNOFILE", ["1000:2000"], (1000, 2000)),
        ("LimitNOFILE", ["2000:1000"], None),
        ("LimitNOFILE", ["infinity"], (inf, inf)),
        ("LimitNOFILE", ["1000", "unlimited"], (1000, 1000)),
        ("LimitNOFILE", ["1000", ""], (1000, 1000)),
        ("LimitNOFILE", ["", "x"], None),
        ("LimitNOFILE", ["1K"], None),
        ("LimitNOFILE", ["0x400", "0O17"], (15, 15)),
        ("LimitNOFILE", ["\f0x400", "\f0o17", "\v0o1"], (1024, 1024)),
        ("LimitMEMLOCK", ["1K"], (1024, 1024)),
        ("LimitMEMLOCK", ["1.5G"], (1.5 * 2**30, 1.5 * 2**30)),
        ("LimitMEMLOCK", ["1G 512M:infinity"], (1.5 * 2**30, inf)),
        ("LimitMEMLOCK", ["64k", "1M 1G", "0x10"], None),
        ("LimitNPROC", ["-1", "18446744073709551615", "18446744073709551616"], None),
    ],
)
def test_limits_that_assignments_leave(directive: str, values: list[str], expected: Pair | None) -> None:
    assert limit_of(directive, values) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"[Service]\nA=1\nA = 2 \n", ["1", "2"]),
        (b"A=0\n[Unit]\nA=1\n[Service]\nA=2\n[service]\nA=3", ["2"]),
        (b"[Service]\rA=1\r\nA=2\0A=3", ["1", "2", "3"]),
        (b"\xef\xbb\xbf[Service]\n\xef\xbb\xbfA=1\n", []),
        (b"[Service]\n\xef\xbb\xbfA=1\n", ["1"]),
        (b"[Service]\nA=1 \\\n# comment\n  2\nA=3\\\\\nA=4\n", ["1    2", "3\\\\", "4"]),
        (b"[Service]\nA=1\n[Broken\nA=2\n", ["1"]),
        ("[Service]\nA=1\u00a0\n\u00a0A=2\n".encode(), ["1\u00a0"]),
    ],
)
def test_assignments_in_a_file(content: bytes, expected: list[str]) -> None:
    assert assignments(content, "Service", "A") == expected


def test_a_drop_in_that_is_a_link_is_followed() -> None:
    states: dict[Key, State | None] = {
        Key("file", UNIT): file("[Service]\nLimitNOFILE=1\n"),
        Key("file", DROP_IN): Entry("link", 0, 0, 0o777, target="/opt/site/x.conf"),
        Key("file", "/opt/site/x.conf"): file("[Service]\nLimitNOFILE=2\n"),
    }
    found = unit_settings(SimulatedMachine(states), "x.service", "Service", "LimitNOFILE")
    assert [(each.path, each.value) for each in found] == [(UNIT, "1"), (DROP_IN, "2")]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, (1024, 524288)),
        ({"/etc/systemd/system.conf": "[Manager]\nDefaultLimitNOFILE=65536\n"}, (65536, 65536)),
        ({"/etc/systemd/system.conf": "#DefaultLimitNOFILE=7\n[Login]\nDefaultLimitNOFILE=8\n"}, (1024, 524288)),
        (
            {
                "/usr/lib/systemd/system.conf": "[Manager]\nDefaultLimitNOFILE=1:2\n",
                "/etc/systemd/system.conf.d/9.conf": "[Manager]\nDefaultLimitNOFILE=3:4\n",
                "/usr/lib/systemd/system.conf.d/9.conf": "[Manager]\nDefaultLimitNOFILE=5:6\n",
            },
            (3, 4),
        ),
    ],
)
def test_limits_of_services_without_a_directive(files: dict[str, str], expected: Pair) -> None:
    machine = SimulatedMachine({Key("file", path): file(text) for path, text in files.items()})
    assert default_limit(machine, "LimitNOFILE") == expected


def test_a_higher_default_of_the_site_is_never_lowered() -> None:
    states: dict[Key, State | None] = {
        Key("file", UNIT): file("[Service]\nExecStart=/x\n"),
        Key("file", "/etc/systemd/system.conf"): file("[Manager]\nDefaultLimitNOFILE=1024:2000000\n"),
    }
    step = ServiceLimits(id="a.b", unit="x.service", limits=(ServiceLimit("LimitNOFILE", 1048576),))
    (write,) = [each for each in step.operations(SimulatedMachine(states)) if getattr(each, "content", b"")]
    assert b"LimitNOFILE=1048576:2000000\n" in write.content  # type: ignore[attr-defined]


def test_systemd_says_that_files_changed() -> None:
    text = "LoadState=loaded\nUnitFileState=enabled\nActiveState=active\nNeedDaemonReload={}\n"
    assert parse_unit(text.format("yes")) == Unit("enabled", "active", 0.0, needs_reload=True)
    assert parse_unit(text.format("no")) == Unit("enabled", "active", 0.0)


@pytest.mark.parametrize(
    ("reads", "expected"),
    [
        ((DROP_IN,), ["reload systemd's unit files", "restart x.service"]),
        (("/etc/x.conf",), ["reload systemd's unit files"]),
        ((), ["reload systemd's unit files"]),
    ],
)
def test_changed_files_are_loaded_and_the_service_restarted_if_they_are_ours(
    reads: tuple[str, ...], expected: list[str]
) -> None:
    """The drop-in is older than the process: without systemd's word, nothing would show."""
    states: dict[Key, State | None] = {
        Key("unit", "x.service"): Unit("enabled", "active", 1e12, needs_reload=True),
        Key("file", DROP_IN): file("[Service]\n"),
        Key("file", "/etc/x.conf"): file("x\n"),
    }
    machine = SimulatedMachine(states)
    step = Service(id="a.b", unit="x.service", reads=reads)
    verdict = step.inspect(machine)
    assert isinstance(verdict, Pending)
    assert [change.subject for change in verdict.changes] == expected
    for operation in step.operations(SimulatedMachine(states)):
        machine.apply(operation)
    assert isinstance(step.inspect(machine), Unchanged)


def test_a_reload_touches_only_the_units_that_need_it() -> None:
    kept = Unit("enabled", "active", 2.0)
    machine = SimulatedMachine(
        {Key("unit", "x.service"): Unit("enabled", "active", 1.0, True), Key("unit", "y.service"): kept}
    )
    machine.apply(ReloadUnits("x"))
    assert machine.unit("x.service") == Unit("enabled", "active", 1.0)
    assert machine.unit("y.service") == kept
