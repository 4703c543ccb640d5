"""A key that apt's verifier rejects, and keys that only look like it; the verdicts are those of sqv and gpg."""

from __future__ import annotations

from datetime import date

import pytest

from bai_wizard.core.machine import Completed
from bai_wizard.core.page import Check, Context, Finding
from bai_wizard.core.state import Entry, Key, Package, package_key
from bai_wizard.doctor.run import run_check
from bai_wizard.node.simulated import Environment, SimulatedMachine
from bai_wizard.pages.node import check_sources
from bai_wizard.steps.apt_key_policy import why_rejected
from bai_wizard.steps.apt_sources import BEGIN, END

TODAY = date(2026, 11, 29)
# Made by gpg: bound by SHA-1; by SHA-512; for one year from 2025-01-01; by both; by SHA-1 and signed by a stranger.
BODIES = {
    "old": (
        "mDMEawvw6xYJKwYBBAHaRw8BAQdAruw11b+gKR7JSLVK89N9ilkiBLUnxPMtsQ7DyyXpBIO0A29sZIiQBBMWAgA4FiEEA2QnLyWu"
        "X70rA1MEQv52aCo4Ax4FAmsL8OsCGwMFCwkIBwIGFQoJCAsCBBYCAwECHgECF4AACgkQQv52aCo4Ax4RBgD/e63SfuhLDTDQ9Qme"
        "dWkcKJYcgqtcQJdKVKwQw9BXPccBAMp7mmOP5fosLg3HpSZMG4eBrO4//imhgnzn0td1/PUJ=4QZF"
    ),
    "good": (
        "mDMEawvw6xYJKwYBBAHaRw8BAQdArjpmGbEhyQQspuJnGeI6tp2QF6Gg9u/vqVRdAbuOJRq0BGdvb2SIkAQTFgoAOBYhBGv+yOgl"
        "NyleRDGDBQgn+UnDAI6gBQJrC/DrAhsDBQsJCAcCBhUKCQgLAgQWAgMBAh4BAheAAAoJEAgn+UnDAI6g390BAJNNZdF1Vdj8f7mK"
        "YxVJvNjPOCzxrwpiq5B//maYpC/UAQDPqLsyDI/EBrG0MZYUmGxqSIbmrJJdmqxCMuzrVRmjDA===ZBgF"
    ),
    "expired": (
        "mDMEZ3SFgBYJKwYBBAHaRw8BAQdAj1EoaLik21zILCfFG0v6B1xYU5+A8pUrTLMTHx32MqW0B2V4cGlyZWSIlgQTFggAPhYhBG3W"
        "6gW/3SRTFPm3b4dDEMNAN4JoBQJndIWAAhsDBQkB4TOABQsJCAcCBhUKCQgLAgQWAgMBAh4BAheAAAoJEIdDEMNAN4Jo10oBANcO"
        "T8/2okKRjVCiIGAB6VzXmhItaa2JK+/+xqwbwZDfAP9JuP+Y/OsPOeSrWY812+UJqLDl0+R6h6fIWljgdsDuAQ===MFjt"
    ),
    "both": (
        "mDMEawvw6xYJKwYBBAHaRw8BAQdAOUlQ1s6lxVV2zgRVBKE48BswULElcqQvdne7tC1Ir5i0BGJvdGiIkAQTFgIAOBYhBGvJ0mbE"
        "TWbnOvtflBw5fm4rEXDBBQJrC/DrAhsDBQsJCAcCBhUKCQgLAgQWAgMBAh4BAheAAAoJEBw5fm4rEXDBwboA/3opB6LcJofRaB8h"
        "P71fo/s2CeiPcHWS7uZPm1JgFrPsAQCacoU93P3bjmn1m1j1GbyUT6gmvDPU6zUSOkD109KSCLQGc2Vjb25kiJAEExYKADgWIQRr"
        "ydJmxE1m5zr7X5QcOX5uKxFwwQUCawvw6wIbAwULCQgHAgYVCgkICwIEFgIDAQIeAQIXgAAKCRAcOX5uKxFwwSPIAP436OmPSBbd"
        "zRfe3NJfAGclDFls/47GaKB/0rkZW9TxYgD/biyzscoSAFoiIYJ/7FXM0O2TUFh2GfDEAHbqtnWqHgA==v8BF"
    ),
    "old-signed": (
        "mDMEawvw6xYJKwYBBAHaRw8BAQdAruw11b+gKR7JSLVK89N9ilkiBLUnxPMtsQ7DyyXpBIO0A29sZIiQBBMWAgA4FiEEA2QnLyWu"
        "X70rA1MEQv52aCo4Ax4FAmsL8OsCGwMFCwkIBwIGFQoJCAsCBBYCAwECHgECF4AACgkQQv52aCo4Ax4RBgD/e63SfuhLDTDQ9Qme"
        "dWkcKJYcgqtcQJdKVKwQw9BXPccBAMp7mmOP5fosLg3HpSZMG4eBrO4//imhgnzn0td1/PUJiHgEEBYKACAWIQTLBOvm9WeitcAH"
        "8wcHPshlI8kuTwUCawvw7AIEAAAKCRAHPshlI8kuT4tIAQDrloCRXRY4EFoP+j7whQD066GYbl+25vv9TWbOKkVjhwD+KwHjM9qy"
        "Imj5gN68hl9Ojqz7FaJYTeLJ2ejvv1de0gg==CB40"
    ),
}
KEYS = {
    name: f"{BEGIN}\n\n{body.rpartition('=')[0]}\n={body.rpartition('=')[2]}\n{END}\n".encode()
    for name, body in BODIES.items()
}
SHA1 = "its own signature uses SHA-1, which is no longer considered secure"


@pytest.mark.parametrize(
    ("names", "with_sqv", "today", "reason"),
    [
        (["old"], True, TODAY, SHA1),
        (["old-signed"], True, TODAY, SHA1),
        (["old"], False, TODAY, ""),
        (["old"], True, date(2026, 1, 31), ""),
        (["good"], True, TODAY, ""),
        (["both"], True, TODAY, ""),
        (["old", "good"], True, TODAY, ""),
        (["good", "old"], True, TODAY, ""),
        (["expired"], True, TODAY, "it expired on 2026-01-01"),
        (["expired"], False, TODAY, "it expired on 2026-01-01"),
        (["expired"], True, date(2026, 1, 1), ""),
        (["expired", "old"], True, TODAY, "it expired on 2026-01-01"),
        ([], True, TODAY, ""),
    ],
)
def test_a_key_is_rejected_only_if_apt_rejects_it(names: list[str], with_sqv: bool, today: date, reason: str) -> None:
    assert why_rejected(b"".join(KEYS[name] for name in names), today, with_sqv) == reason


def test_damaged_keys_are_not_judged() -> None:
    for data in (b"<!DOCTYPE html>", b"\x98", b"\x98\x33\x04", KEYS["old"][:200], KEYS["old"].replace(b"m", b"n")):
        assert why_rejected(data, TODAY, True) == ""
    for size in range(0, 300, 7):
        packets = bytes(range(0x98, 0x98 + 4)) * size
        assert why_rejected(packets, TODAY, True) == ""


PATH = "/etc/apt/sources.list.d/site"
KEYRING = "/etc/apt/keyrings/site.asc"


def node(source: str, name: str, key: bytes = b"", apt: str = "3.0.3", **packages: str) -> SimulatedMachine:
    files = {f"{PATH}.{name}": source.encode(), **({KEYRING: key} if key else {})}
    states = {Key("file", path): Entry("file", 0, 0, 0o644, content) for path, content in files.items()}
    installed = {package_key(package): Package(version) for package, version in {"apt": apt, **packages}.items()}
    return SimulatedMachine({**states, **installed})


def found(check: Check, machine: SimulatedMachine) -> Finding:
    (finding,) = run_check(check, machine, Context())
    return finding


LINE = f"deb [signed-by={KEYRING}] http://x stable main\n"


@pytest.mark.parametrize(
    ("machine", "result"),
    [
        (node(LINE, "list", KEYS["old"], sqv="1.3.0"), "problem"),
        (node(LINE, "list", KEYS["old"]), "ok"),
        (node(LINE, "list", KEYS["old"], apt="2.6.1", sqv="1.1.0"), "ok"),
        (node(LINE, "list", KEYS["good"], sqv="1.3.0"), "ok"),
        (node(f"# {LINE}", "list", KEYS["old"], sqv="1.3.0"), "ok"),
        (node(LINE, "list.save", KEYS["old"], sqv="1.3.0"), "ok"),
    ],
)
def test_the_key_of_an_enabled_source_is_judged_by_what_apt_runs(machine: SimulatedMachine, result: str) -> None:
    finding = found(check_sources.keys_accepted, machine)
    assert finding.result == result
    if result == "problem":
        assert "http://x/" in finding.title or "http://x" in finding.title
        assert KEYRING in finding.guidance


def test_a_key_within_the_source_is_judged() -> None:
    body = "\n".join(f" {line or '.'}" for line in KEYS["old"].decode().strip().split("\n"))
    source = f"Types: deb\nURIs: http://x\nSuites: stable\nComponents: main\nSigned-By:\n{body}\n"
    finding = found(check_sources.keys_accepted, node(source, "sources", sqv="1.3.0"))
    assert (finding.result, [each.where for each in finding.evidence]) == ("problem", [f"{PATH}.sources"])


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("list", "<!DOCTYPE html>\n<html>\n", 1),
        ("list", "# a\n\ndeb http://x stable main\ndeb-scr http://x stable main\n", 4),
        ("list", "deb http://x\n", 1),
        ("list", "deb http://x stable\n", 1),
        ("list", "deb [signed-by] http://x stable main\n", 1),
        ("sources", "# a\nTypes: deb\nURIs: http://x\n\n", 2),
        ("sources", "<html>\n", 1),
        ("list", "deb [trusted=yes] http://x stable main\ndeb http://x stable main\n", 2),
    ],
)
def test_a_source_list_that_apt_cannot_read_is_the_root_cause(name: str, text: str, line: int) -> None:
    assert check_sources.sources_readable.root_cause
    finding = found(check_sources.sources_readable, node(text, name))
    assert finding.result == "problem"
    assert finding.title == f"apt cannot read {PATH}.{name}, line {line}"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list", "deb http://x stable main\n"),
        ("list.save", "<!DOCTYPE html>\n"),
        ("sources", "Types: deb\nEnabled: no\nURIs: http://x\n"),
        # Two keys for one repository: docker.apt-signed-by-conflict.
        ("list", "deb [signed-by=/a] http://x stable main\ndeb [signed-by=/b] http://x stable main\n"),
    ],
)
def test_other_lists_are_not_its_subject(name: str, text: str) -> None:
    assert found(check_sources.sources_readable, node(text, name)).result == "ok"


@pytest.mark.parametrize(
    "said",
    [
        "E: Unable to parse package file /etc/apt/preferences.d/no (1)",
        "E: No priority (or zero) specified for pin",
        "E: Syntax error /etc/apt/apt.conf.d/99proxy:1: Extra junk at end of file",
    ],
)
def test_preferences_and_settings_that_apt_cannot_read(said: str) -> None:
    around = Environment(looks={("apt-cache", "policy"): Completed(100, "", f"{said}\n")})
    machine = SimulatedMachine({package_key("apt"): Package("3.0.3")}, around)
    finding = found(check_sources.sources_readable, machine)
    assert finding.result == "problem"
    assert said.removeprefix("E: ") in str(finding.evidence)
    assert "preferences" in finding.title
