"""Any deviation from the manual's settings, now or after the next boot, is planned or reported."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bai_wizard.core.page import Context, Finding, Page
from bai_wizard.core.state import Entry, Key, Sysctl
from bai_wizard.core.step import Plan
from bai_wizard.doctor.run import run_check
from bai_wizard.engine.planner import PageWork, make_plan
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.pages.tuning.plan import PAGE
from tests.pages.storage.lifecycle import plan_of, run, shown, undo
from tests.pages.ubuntu import DOCKER, bai, file, link, ubuntu

PATH = "/etc/sysctl.d/99-backendai.conf"
LIMITS = "/etc/security/limits.d/99-backendai.conf"
DROP_IN = "/etc/systemd/system/docker.service.d/50-bai-wizard-limits.conf"


def put(path: str, entry: Entry | str | None) -> Callable[[SimulatedMachine], None]:
    state = file(entry) if isinstance(entry, str) else entry
    return lambda machine: machine.set_state(Key("file", path), state)


def changed(path: str, old: str, new: str) -> Callable[[SimulatedMachine], None]:
    def act(machine: SimulatedMachine) -> None:
        text = machine.text(path) or ""
        assert old in text
        machine.set_state(Key("file", path), file(text.replace(old, new)))

    return act


def live(key: str, value: str) -> Callable[[SimulatedMachine], None]:
    return lambda machine: machine.set_state(Key("sysctl", key), Sysctl(value))


DRIFTS: dict[str, Callable[[SimulatedMachine], None]] = {
    "our file is gone": put(PATH, None),
    "our file is empty": put(PATH, ""),
    "our file is a link": put(PATH, link("/etc/other")),
    "our file is a broken link": put(PATH, link("/nowhere")),
    "our file is masked": put(PATH, link("/dev/null")),
    "our file is a directory": put(PATH, Entry("directory", 0, 0, 0o755)),
    "our file has another owner": put(PATH, file("x", uid=1100)),
    "our file has another mode": lambda machine: machine.set_state(
        Key("file", PATH), file(machine.text(PATH) or "", 0o600)
    ),
    "a value was changed": changed(PATH, "tcp_fin_timeout = 10", "tcp_fin_timeout = 60"),
    "a value was quoted": changed(PATH, "10000 65000\n", '"10000 65000"\n'),
    "a line was commented out": changed(PATH, "net.core.rmem_max =", "#net.core.rmem_max ="),
    "a line stands twice": changed(
        PATH, "vm.overcommit_memory = 1", "vm.overcommit_memory = 1\nvm.overcommit_memory = 0"
    ),
    "a line was added below": lambda machine: machine.set_state(
        Key("file", PATH), file((machine.text(PATH) or "") + "net.core.somaxconn=128\n")
    ),
    "live: too low": live("net.core.rmem_max", "212992"),
    "live: a kept value was lowered": live("net.core.somaxconn", "128"),
    "live: probes off": live("net.ipv4.tcp_early_retrans", "1"),
    "live: the range": live("net.ipv4.ip_local_port_range", "32768 60999"),
    "live: no port is reserved": live("net.ipv4.ip_local_reserved_ports", ""),
    "a later file": put("/etc/sysctl.d/zz-site.conf", "net.core.rmem_max = 212992\n"),
    "a later file in usr": put("/usr/lib/sysctl.d/99-z.conf", "net.ipv4.tcp_fin_timeout = 60\n"),
    "a later file with slashes": put("/etc/sysctl.d/zz.conf", "net/ipv4/tcp_fin_timeout=60\n"),
    "sysctl.conf": put("/etc/sysctl.conf", "vm.overcommit_memory=2\n"),
    "a later file with quotes": put("/etc/sysctl.d/zz.conf", 'net.ipv4.ip_local_port_range="10000 65000"\n'),
    "an earlier file lowers a kept value": put("/etc/sysctl.d/10-a.conf", "net.core.somaxconn = 128\n"),
    "a glob lowers a kept value": put("/etc/sysctl.d/10-a.conf", "net.core.somax* = 128\n"),
    "open files per process at boot": put("/etc/sysctl.d/10-a.conf", "fs.nr_open = 65536\n"),
    "limits: gone": put(LIMITS, None),
    "limits: a link": put(LIMITS, link("/nowhere")),
    "limits: changed": changed(LIMITS, "bai soft nofile 512000", "bai soft nofile 1024"),
    "limits: not readable for all": lambda machine: machine.set_state(
        Key("file", LIMITS), file(machine.text(LIMITS) or "", 0o640)
    ),
    "limits: a line added below": lambda machine: machine.set_state(
        Key("file", LIMITS), file((machine.text(LIMITS) or "") + "bai hard nofile 1024\n")
    ),
    "limits: a later file": put("/etc/security/limits.d/zz.conf", "bai hard nofile 4096\n"),
    "limits: a later file for both sorts": put("/etc/security/limits.d/zz.conf", "root - nofile 4096\n"),
    "limits: everybody is lowered": put("/etc/security/limits.d/zz.conf", "* hard nproc 100\n* soft nproc 100\n"),
    "limits: a group is lowered": put("/etc/security/limits.d/10.conf", "@bai hard nofile 1024\n"),
    "service: drop-in gone": put(DROP_IN, None),
    "service: drop-in changed": put(DROP_IN, "[Service]\nLimitNOFILE=1024\n"),
    "service: a later drop-in": put(
        "/etc/systemd/system/docker.service.d/99-x.conf", "[Service]\nLimitNOFILE=1024\n"
    ),
}


@pytest.fixture
def machine(tmp_path: Path) -> SimulatedMachine:
    made = ubuntu({**bai(), **DOCKER})
    _, result = run(made, plan_of(PAGE, {}, made), tmp_path)
    assert result.code() == 0
    return made


def findings(machine: SimulatedMachine) -> dict[str, str]:
    results = [finding for check in PAGE.checks() for finding in run_check(check, machine, Context())]
    assert not [finding for finding in results if finding.result == "crashed"], results
    return {finding.id: finding.result for finding in results if finding.result in ("problem", "warning")}


def test_without_drift_there_is_nothing(machine: SimulatedMachine) -> None:
    assert plan_of(PAGE, {}, machine).is_empty()
    assert findings(machine) == {}


@pytest.mark.parametrize("case", DRIFTS)
def test_drift_is_seen(case: str, machine: SimulatedMachine) -> None:
    DRIFTS[case](machine)
    plan = plan_of(PAGE, {}, machine)
    blocked = [item for item in plan.steps if type(item.verdict).__name__ == "Blocked"]
    assert not plan.is_empty() or blocked, f"the plan passes it silently: {shown(plan)}"


FOUND_BY_DOCTOR = {
    "a later file": "tuning.sysctl-overridden",
    "a later file in usr": "tuning.sysctl-overridden",
    "a later file with slashes": "tuning.sysctl-overridden",
    "sysctl.conf": "tuning.sysctl-overridden",
    "a later file with quotes": "tuning.sysctl-overridden",
    "a value was quoted": "tuning.sysctl-quoted-value",
    "an earlier file lowers a kept value": "tuning.sysctl-overridden",
    "a glob lowers a kept value": "tuning.sysctl-overridden",
    "live: too low": "tuning.live",
    "live: a kept value was lowered": "tuning.live",
    "live: no port is reserved": "tuning.live",
    "limits: a later file": "tuning.limits-overridden",
    "limits: a later file for both sorts": "tuning.limits-overridden",
    "limits: everybody is lowered": "tuning.limits-overridden",
}


@pytest.mark.parametrize("case", FOUND_BY_DOCTOR)
def test_the_doctor_finds_it_and_its_remedy_heals(case: str, machine: SimulatedMachine, tmp_path: Path) -> None:
    """Without answers: our own files say what is to hold."""
    DRIFTS[case](machine)
    check = next(check for check in PAGE.checks() if check.id == FOUND_BY_DOCTOR[case])
    (finding,) = run_check(check, machine, Context())
    assert finding.result == "problem"
    assert finding.evidence
    assert finding.remedy
    told = Finding.from_wire(json.loads(json.dumps(finding.to_wire())))
    assert told.remedy == finding.remedy, "checks run in children: the remedy has to survive the way back"
    remedy = Page("tuning", "", "", type(None), lambda *_: None, lambda *_: finding.remedy, lambda: ())
    plan = make_plan((PageWork(remedy, None, None),), machine, Context())
    before = machine.snapshot()
    done, result = run(machine, plan, tmp_path / "fix")
    assert result.code() == 0, result
    assert machine.snapshot() != before
    (again,) = run_check(check, machine, Context())
    assert again.result == "ok", again
    assert undo(machine, done, tmp_path / "fix").code() == 0
    assert machine.snapshot() == before


def test_a_masked_copy_replaces_a_line_of_a_package(machine: SimulatedMachine, tmp_path: Path) -> None:
    DRIFTS["a later file in usr"](machine)
    check = next(check for check in PAGE.checks() if check.id == "tuning.sysctl-overridden")
    (finding,) = run_check(check, machine, Context())
    (step,) = finding.remedy
    assert step.scope() == (Key("file", "/etc/sysctl.d/99-z.conf"),), "the package's own file stays as it is"
    assert machine.text("/usr/lib/sysctl.d/99-z.conf") == "net.ipv4.tcp_fin_timeout = 60\n"


def test_overrides_do_not_stop_the_rest(machine: SimulatedMachine) -> None:
    DRIFTS["a later file"](machine)
    plan: Plan = plan_of(PAGE, {}, machine)
    assert not plan.blocked(), "optional: the run goes on and ends with 6"
    text = shown(plan)
    assert "/etc/sysctl.d/zz-site.conf:1 sets net.core.rmem_max = 212992 instead of 16777216" in text
    assert "--fix tuning.sysctl-overridden" in text
