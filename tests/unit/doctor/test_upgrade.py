"""Upgrades of the distribution: each check finds what is planted before and after; a healthy node is silent."""

from __future__ import annotations

import json

import pytest

from bai_wizard.cli import main
from bai_wizard.core.errors import AnswersError
from bai_wizard.core.machine import Completed
from bai_wizard.core.page import Context, Finding
from bai_wizard.core.state import Entry, Key, Package, State, Venv
from bai_wizard.doctor.run import all_checks, run_check
from bai_wizard.doctor.upgrade import refuse_upgrade, upgrades
from bai_wizard.doctor.upgrade_checks import UPGRADE_CHECKS
from bai_wizard.node.simulated import SimulatedMachine
from tests.pages.ubuntu import link, ubuntu

Files = dict[str, str | Entry | None]
States = dict[Key, State | None]
RELEASES = {
    "noble": 'ID=ubuntu\nVERSION_ID="24.04"\nPRETTY_NAME="Ubuntu 24.04.3 LTS"\n',
    "resolute": 'ID=ubuntu\nVERSION_ID="26.04"\nPRETTY_NAME="Ubuntu 26.04 LTS"\n',
    "bookworm": 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
    "trixie": 'ID=debian\nVERSION_ID="13"\nPRETTY_NAME="Debian GNU/Linux 13 (trixie)"\n',
}
BEFORE, AFTER = ("noble", "bookworm"), ("resolute", "trixie")
SHOW = ("dpkg-query", "--show")
OWNED = ("dpkg-query", "--search")
POLICY = ("apt-cache", "policy")
FIND = ("find",)
LIST = "/etc/apt/sources.list.d/vendor.list"
OURS = "# Written by bai-wizard: Docker.\nTypes: deb\nURIs: https://download.docker.com/linux/{os}\nSuites: {suite}\n"
OURS += "Components: stable\nSigned-By: /etc/apt/keyrings/docker.asc\n"
PIN = "/etc/apt/preferences.d/vendor"
KERNEL = "6.12.1-amd64"
HELD = "hold tool 1.0\ninstall other 2.0\n"
TABLE = "tool:\n  Installed: 1.0\n  Version table:\n *** 1.0 500\n        500 http://x.test s/main amd64 Packages\n"
TABLE += "        100 /var/lib/dpkg/status\n"
GONE = TABLE.replace("        500 http://x.test s/main amd64 Packages\n", "")


def os_of(suite: str) -> str:
    return "ubuntu" if suite in ("noble", "resolute") else "debian"


def node(suite: str, files: Files | None = None, states: States | None = None, **about: object) -> SimulatedMachine:
    """A healthy node of this release as the wizard leaves it, with changes."""
    os = os_of(suite)
    archive = f"Types: deb\nURIs: http://mirror.test/{os}\nSuites: {suite} {suite}-updates\nComponents: main\n"
    healthy: Files = {
        "/etc/os-release": RELEASES[suite],
        "/etc/apt/sources.list.d/archive.sources": f"{archive}Signed-By: /k/{os}-archive-keyring.gpg\n",
        "/etc/apt/sources.list.d/docker.sources": OURS.format(os=os, suite=suite),
        "/etc/default/grub": 'GRUB_CMDLINE_LINUX="quiet"\n# systemd.unified_cgroup_hierarchy=0\n',
        "/etc/sudoers.d/90-bai-wizard-bai": "#1100 ALL=(ALL:ALL) NOPASSWD: ALL\n",
        f"/boot/vmlinuz-{KERNEL}": "",
        f"/var/lib/dkms/mlnx/1.0/{KERNEL}/x": "",
        "/opt/bai-wizard/current": link("0.2.0"),
        "/opt/bai-wizard/0.2.0/python/bin/python3": link("python3.13"),
        "/opt/bai-wizard/0.2.0/python/bin/python3.13": "",
    }
    looks = {SHOW: Completed(0, "install tool 1.0\n", ""), OWNED: Completed(0, "", ""), FIND: Completed(0, "", "")}
    looks |= about.pop("looks", {})  # type: ignore[call-overload]
    return ubuntu(states, {**healthy, **(files or {})}, looks=looks, **about)  # type: ignore[arg-type]


def found(machine: SimulatedMachine) -> dict[str, Finding]:
    """What each check says, without those that pass."""
    result = [finding for each in UPGRADE_CHECKS for finding in run_check(each, machine, Context())]
    return {each.id.removeprefix("upgrade."): each for each in result if each.result not in ("ok", "not-applicable")}


@pytest.mark.parametrize("suite", RELEASES)
def test_a_healthy_node_is_silent(suite: str) -> None:
    assert found(node(suite)) == {}


VENV: States = {
    Key("venv", "/srv/app"): Venv("3.11.2", "/usr/bin"),
    Key("venv", "/srv/own"): Venv("3.13.1", "/opt/py/bin"),
}
VENVS = {FIND: Completed(0, "/srv/app/pyvenv.cfg\n/srv/own/pyvenv.cfg\n", "")}
VERSION_PIN = "Package: tool\nPin: version 9.*\nPin-Priority: 1001\n"
FAULTS: dict[str, tuple[str, tuple[str, ...], dict[str, object]]] = {
    "a third-party source of the old suite": (
        "sources", BEFORE, {"files": {LIST: "deb [signed-by=/k.gpg] http://vendor.test/linux {suite} main\n"}},
    ),
    "a third-party key with a name like the distribution's": (
        "sources", BEFORE,
        {"files": {LIST: "deb [signed-by=/k/docker-archive-keyring.gpg] http://v.test/ubuntu {suite} main\n"}},
    ),
    "a third-party source, which Ubuntu's tool disables": (
        "sources", ("noble",), {"files": {LIST: "deb http://vendor.test/apt stable main\n"}},
    ),
    "a source left at the old suite": (
        "sources", AFTER, {"files": {LIST: "deb http://vendor.test/linux {old} main\n"}},
    ),
    "a source that the tool disabled": (
        "sources", AFTER,
        {"files": {LIST: "# deb http://vendor.test/apt stable main # disabled on upgrade to {suite}\n"}},
    ),
    "the wizard's own source, disabled": (
        "sources", AFTER,
        {"files": {"/etc/apt/sources.list.d/docker.sources": OURS.format(os="x", suite="{suite}") + "Enabled: no\n"}},
    ),
    "a pin to the old release": (
        "pins", (*BEFORE, *AFTER), {"files": {PIN: "Package: *\nPin: release n={old}\nPin-Priority: 900\n"}},
    ),
    "a pin that nothing matches": (
        "pins", (*BEFORE, *AFTER),
        {"files": {PIN: VERSION_PIN}, "looks": {POLICY: Completed(0, TABLE, "")}},
    ),
    "a pin that only what is installed matches": (
        "pins", AFTER,
        {"files": {PIN: VERSION_PIN.replace("9.*", "1.0")}, "looks": {POLICY: Completed(0, GONE, "")}},
    ),
    "a pin to an engine that the new release does not have": (
        "pins", ("bookworm",),
        {
            "files": {PIN: VERSION_PIN.replace("tool", "docker.io").replace("9.*", "20.10.*")},
            "looks": {POLICY: Completed(0, TABLE.replace("tool", "docker.io").replace("1.0", "20.10.24"), "")},
        },
    ),
    "a hold": ("holds", BEFORE, {"looks": {SHOW: Completed(0, HELD, "")}}),
    "a hold of what no source offers": (
        "holds", AFTER, {"looks": {SHOW: Completed(0, HELD, ""), POLICY: Completed(0, GONE, "")}},
    ),
    "an environment of the system's Python": ("venvs", (*BEFORE, *AFTER), {"looks": VENVS, "states": VENV}),
    "the old control groups": (
        "cgroup-v1", (*BEFORE, *AFTER),
        {"files": {"/etc/default/grub": 'GRUB_CMDLINE_LINUX="systemd.unified_cgroup_hierarchy=0 quiet"\n'}},
    ),
    "a setting that sudo-rs does not know": (
        "sudo-rs", ("noble", "resolute"), {"files": {"/etc/sudoers.d/site": "Defaults env_reset, requiretty\n"}},
    ),
    "a wildcard in an argument": (
        "sudo-rs", ("noble", "resolute"), {"files": {"/etc/sudoers.d/site": "ops ALL=(root) /bin/cat /var/log/*\n"}},
    ),
    "a module that no package owns": ("drivers", BEFORE, {"looks": {OWNED: Completed(1, "", "no path found")}}),
    "a driver from an installer": ("drivers", BEFORE, {"files": {"/usr/bin/nvidia-uninstall": ""}}),
    "a branch that NVIDIA does not publish": (
        "drivers", ("noble",),
        {
            "files": {
                "/etc/apt/sources.list.d/docker.sources": OURS.replace(
                    "https://download.docker.com/linux/{os}", "https://developer.download.nvidia.com/compute/cuda/x"
                ).format(suite="noble")
            },
            "kernel": {"/sys/module/nvidia/version": "580.95.05"},
        },
    ),
    "a module that is not built": ("drivers", AFTER, {"files": {f"/var/lib/dkms/mlnx/1.0/{KERNEL}/x": None}}),
    "the wizard as a package without a source": (
        "archive", BEFORE, {"states": {Key("package", "bai-wizard"): Package("0.2.0")}},
    ),
    "the wizard without its interpreter": (
        "archive", (*BEFORE, *AFTER), {"files": {"/opt/bai-wizard/0.2.0/python/bin/python3.13": None}},
    ),
}  # fmt: skip
ROWS = [(what, suite) for what, (_, suites, _) in FAULTS.items() for suite in suites]


@pytest.mark.parametrize(("what", "suite"), ROWS)
def test_a_planted_fault_is_found_with_its_steps(what: str, suite: str) -> None:
    id, _, about = FAULTS[what]
    upgrade = next(each for each in upgrades() if suite in (each.old_codename, each.new_codename))
    given = dict(about)
    if "module that is not built" in what:
        given["files"] = {**given["files"], "/var/lib/dkms/mlnx/1.0/6.1.0-old/x": ""}  # type: ignore[dict-item]
    given["files"] = {
        path: text.replace("{suite}", suite).replace("{old}", upgrade.old_codename) if isinstance(text, str) else text
        for path, text in given.get("files", {}).items()  # type: ignore[attr-defined]
    }
    result = found(node(suite, **given))  # type: ignore[arg-type]
    assert list(result) == [id], result
    assert result[id].result in ("problem", "warning")


STABLE = "http://v.test/apt stable main\n"
SIMILAR: dict[str, tuple[str, dict[str, object]]] = {
    "a third-party source without a suite on Debian": ("bookworm", {"files": {LIST: f"deb {STABLE}"}}),
    "a source that an administrator disabled": ("resolute", {"files": {LIST: f"# deb {STABLE}"}}),
    "a source of Ubuntu Pro": (
        "noble",
        {"files": {LIST: "deb [signed-by=/k/ubuntu-pro-esm.gpg] https://esm.ubuntu.com/apps noble main\n"}},
    ),
    "a mirror without a key": ("noble", {"files": {LIST: "deb http://mirror.kakao.com/ubuntu/ noble main\n"}}),
    "an older version of a module that is built": (
        "trixie", {"files": {"/var/lib/dkms/mlnx/0.9/6.1.0-old/x": ""}},
    ),
    "a pin against a package": (
        "bookworm", {"files": {PIN: "Package: tool\nPin: release n=bookworm\nPin-Priority: -1\n"}},
    ),
    "a hold that the wizard set again": (
        "trixie", {"looks": {SHOW: Completed(0, HELD, ""), POLICY: Completed(0, TABLE, "")}},
    ),
    "an environment that was created again": (
        "trixie",
        {
            "looks": {FIND: Completed(0, "/srv/app/pyvenv.cfg\n", "")},
            "states": {Key("venv", "/srv/app"): Venv("3.13.5", "/usr/bin")},
        },
    ),
    "sudo of Debian": ("bookworm", {"files": {"/etc/sudoers.d/site": "Defaults requiretty\n"}}),
    "a wildcard as the whole command": ("noble", {"files": {"/etc/sudoers.d/site": "ops ALL=(root) /usr/sbin/*\n"}}),
    "a container": (
        "bookworm", {"container": True, "kernel": {"/proc/cmdline": "systemd.unified_cgroup_hierarchy=0"}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", SIMILAR)
def test_what_only_looks_like_a_fault_is_not_reported(what: str) -> None:
    suite, about = SIMILAR[what]
    assert found(node(suite, **about)) == {}  # type: ignore[arg-type]


def test_what_cannot_be_read_is_unknown() -> None:
    broken = node("trixie", {PIN: VERSION_PIN}, looks={SHOW: Completed(2, "", "no database")})
    result = {id: finding.result for id, finding in found(broken).items()}
    assert result == {"pins": "cannot-tell", "holds": "cannot-tell"}


def test_another_release_has_nothing_to_check() -> None:
    other = node("noble", {"/etc/os-release": 'ID=ubuntu\nVERSION_ID="25.10"\n'})
    assert {finding.result for each in UPGRADE_CHECKS for finding in run_check(each, other, Context())} == {
        "not-applicable"
    }


def test_the_ordinary_doctor_does_not_run_them() -> None:
    assert not {each.id for each in all_checks()} & {each.id for each in UPGRADE_CHECKS}


@pytest.mark.parametrize(
    ("suite", "before", "after", "reason"),
    [
        (
            "noble",
            "13",
            False,
            "cannot be upgraded to it; supported upgrades: Ubuntu 24.04 to 26.04, Debian 12 to 13",
        ),
        ("noble", "27.04", False, "no upgrade to this release is supported; supported upgrades: Ubuntu"),
        ("trixie", "13", False, "this node already runs Debian GNU/Linux 13 (trixie); after the upgrade, use"),
        ("bookworm", "26.04", False, "this node runs Debian GNU/Linux 12 (bookworm), which cannot"),
        ("noble", None, True, "this node runs Ubuntu 24.04.3 LTS, which is not the result of a supported upgrade"),
    ],
)
def test_an_unsupported_upgrade_is_a_usage_error(suite: str, before: str | None, after: bool, reason: str) -> None:
    with pytest.raises(AnswersError) as raised:
        refuse_upgrade(node(suite), before, after=after)
    assert reason in str(raised.value)


@pytest.mark.parametrize(("suite", "before"), [("noble", "26.04"), ("noble", "resolute"), ("bookworm", "13")])
def test_a_supported_upgrade_is_accepted(suite: str, before: str) -> None:
    refuse_upgrade(node(suite), before, after=False)


def doctor(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["--demo", "bare", "doctor", *words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_options_select_the_checks(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = doctor(capsys, "--json", "--before-upgrade", "26.04", "--only", "upgrade")
    ids = [json.loads(line)["data"].get("id", "") for line in out.splitlines()]
    assert [id for id in ids if id] == sorted((each.id for each in UPGRADE_CHECKS), key=ids.index)
    assert len([id for id in ids if id]) == len(UPGRADE_CHECKS)
    code, _, err = doctor(capsys, "--only", "upgrade.pins")
    assert (code, "unknown check" in err) == (2, True)
    code, _, err = doctor(capsys, "--after-upgrade")
    assert (code, "supported upgrades" in err) == (2, True)
    for more in (("--error", "x"), ("--fix", "node.swap")):
        code, _, err = doctor(capsys, "--before-upgrade", "26.04", *more)
        assert (code, f"cannot be combined with {more[0]}" in err) == (2, True)
