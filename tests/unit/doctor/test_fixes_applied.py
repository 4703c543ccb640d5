"""Every fix that the page tests produce, applied as a run: it resolves the finding, and undo restores the node."""

from __future__ import annotations

from pathlib import Path

import pytest

from bai_wizard.core.page import Context
from bai_wizard.core.state import Key, State, Unit
from bai_wizard.doctor.drift import plan_steps
from bai_wizard.doctor.run import all_checks, run_check
from bai_wizard.exit_codes import ExitCode
from bai_wizard.node.simulated import SimulatedMachine
from tests.pages.docker.nodes import PROXY
from tests.pages.storage.lifecycle import run, undo
from tests.unit.doctor.test_fix_changes import REMEDIES

# What a simulated node cannot show, because hardware, a boot or a program says it, and where else it is shown.
NOT_SEEN = {
    "accelerators.nvidia-lib-mismatch": "waits for a boot",
    "accelerators.nvidia-nouveau": "waits for a boot: node/test_accelerators.py",
    "accelerators.tenstorrent-hugepages": "waits for a boot",
    "accelerators.nvidia-module-missing": "the driver itself: node/test_accelerators.py",
    "accelerators.nvidia-fabricmanager-missing": "the package's own unit",
    "accelerators.nvidia-persistence": "the driver itself: node/test_accelerators.py",
    "accelerators.nvidia-cdi-unresolvable": "nvidia-ctk writes it",
    "accelerators.nvidia-cdi-stale": "nvidia-ctk writes it",
    "accelerators.nvidia-runtime-unknown": "the engine itself: node/test_accelerators.py",
    "accelerators.gaudi-runtime-unknown": "the engine itself",
    "accelerators.gaudi-ib-module": "the kernel itself",
    "accelerators.furiosa-iouring": "the engine's filter, which stays: its own warning",
    "account.sudo-missing": "sudo itself: node/test_account.py",
    "docker.proxy": "the engine itself: node/test_network.py",
    "tuning.limits-not-for-services": "the kernel itself: node/test_doctor_seeded_failures.py",
    "accelerators.nvidia-headers-missing": "no source offers it here",
    "accelerators.nvidia-dkms-compiler": "no source offers it here",
    "accelerators.rbln-kernel": "no source offers it here",
}
# Runs that end otherwise: what they load is not there.
CANNOT_END_WELL = {"accelerators.nvidia-module-missing", "accelerators.nvidia-fabricmanager-missing",
                   "accelerators.nvidia-cdi-unresolvable", "accelerators.nvidia-cdi-stale"}  # fmt: skip
CONTEXTS = {"docker.proxy": PROXY}
BLOCKED = {"accelerators.nvidia-headers-missing", "accelerators.nvidia-dkms-compiler", "accelerators.rbln-kernel"}


def comparable(states: dict[Key, State]) -> dict[Key, State | tuple[str, str]]:
    """Without what undo leaves by design, packages, and without when a unit began or that it once failed."""
    return {
        key: (state.enabled, state.active.replace("failed", "inactive")) if isinstance(state, Unit) else state
        for key, state in states.items()
        if key.kind != "package"
    }


def test_failures_not_created_here_have_a_fix() -> None:
    assert set(NOT_SEEN) <= set(REMEDIES)


@pytest.mark.parametrize("id", [id for id in REMEDIES if id not in BLOCKED])
def test_a_remedy_heals_and_is_undone(id: str, tmp_path: Path) -> None:
    planted, finding = REMEDIES[id]
    # A machine of its own: what the other one has read may be remembered, and other tests look at it.
    machine = SimulatedMachine(planted.snapshot(), planted.environment)
    before = comparable(machine.snapshot())
    done, result = run(machine, plan_steps(finding.remedy, machine, machine.host), tmp_path)
    assert (result.code() in (ExitCode.OK, ExitCode.REBOOT)) == (id not in CANNOT_END_WELL), result
    healed = SimulatedMachine(machine.snapshot(), machine.environment)
    check = next(check for check in all_checks() if check.id == id)
    again = [each.result for each in run_check(check, healed, CONTEXTS.get(id, Context(host=machine.host)))]
    assert (again == ["ok"]) == (id not in NOT_SEEN), again
    rolled_back = undo(machine, done, tmp_path).code()
    assert rolled_back == ExitCode.OK or finding.remedy[0].kind == "no-packages", rolled_back
    assert comparable(machine.snapshot()) == before
