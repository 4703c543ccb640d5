"""Every remedy that the tests of the pages come to, carried out as a run: it heals, and undo gives the node back."""

from __future__ import annotations

from pathlib import Path

import pytest

from bai_wizard.core.context import Context
from bai_wizard.core.state import Key, State, Unit
from bai_wizard.doctor.children import look
from bai_wizard.doctor.remedy import plan_steps
from bai_wizard.doctor.run import all_checks
from bai_wizard.exits import ExitCode
from bai_wizard.machine.simulated import SimulatedMachine
from tests.pages.docker.nodes import PROXY
from tests.pages.storage.cycle import run, undo
from tests.unit.doctor.test_remedies import REMEDIES

# What a simulated node cannot show, because hardware, a boot or a program says it, and where else it is shown.
NOT_SEEN = {
    "nvidia-lib-mismatch": "waits for a boot",
    "nvidia-nouveau": "waits for a boot: node/test_accelerators.py",
    "tenstorrent-hugepages": "waits for a boot",
    "nvidia-module-missing": "the driver itself: node/test_accelerators.py",
    "nvidia-fabricmanager-missing": "the package's own unit",
    "nvidia-persistence": "the driver itself: node/test_accelerators.py",
    "nvidia-cdi-unresolvable": "nvidia-ctk writes it",
    "nvidia-cdi-stale": "nvidia-ctk writes it",
    "nvidia-runtime-unknown": "the engine itself: node/test_accelerators.py",
    "gaudi-runtime-unknown": "the engine itself",
    "gaudi-ib-module": "the kernel itself",
    "furiosa-iouring": "the engine's filter, which stays: its own warning",
    "acct-sudo-missing": "sudo itself: node/test_account.py",
    "docker-proxy": "the engine itself: node/test_network.py",
    "limits-not-for-services": "the kernel itself: node/test_doctor_planted.py",
    "nvidia-headers-missing": "no source offers it here",
    "nvidia-dkms-compiler": "no source offers it here",
    "rbln-kernel": "no source offers it here",
}
# Runs that end otherwise: what they load is not there.
CANNOT_END_WELL = {"nvidia-module-missing", "nvidia-fabricmanager-missing", "nvidia-cdi-unresolvable",
                   "nvidia-cdi-stale"}  # fmt: skip
CONTEXTS = {"docker-proxy": PROXY}
BLOCKED = {"nvidia-headers-missing", "nvidia-dkms-compiler", "rbln-kernel"}


def comparable(states: dict[Key, State]) -> dict[Key, State | tuple[str, str]]:
    """Without what undo leaves by design, packages, and without when a unit began or that it once failed."""
    return {
        key: (state.enabled, state.active.replace("failed", "inactive")) if isinstance(state, Unit) else state
        for key, state in states.items()
        if key.sort != "package"
    }


def test_what_is_not_seen_here_has_a_remedy() -> None:
    assert set(NOT_SEEN) <= set(REMEDIES)


@pytest.mark.parametrize("id", [id for id in REMEDIES if id not in BLOCKED])
def test_a_remedy_heals_and_is_taken_back(id: str, tmp_path: Path) -> None:
    planted, finding = REMEDIES[id]
    # A machine of its own: what the other one has read may be remembered, and other tests look at it.
    machine = SimulatedMachine(planted.snapshot(), planted.surroundings)
    before = comparable(machine.snapshot())
    done, result = run(machine, plan_steps(finding.remedy, machine, machine.host), tmp_path)
    assert (result.code() in (ExitCode.OK, ExitCode.REBOOT)) == (id not in CANNOT_END_WELL), result
    healed = SimulatedMachine(machine.snapshot(), machine.surroundings)
    check = next(check for check in all_checks() if check.id == id)
    again = [each.result for each in look(check, healed, CONTEXTS.get(id, Context(host=machine.host)))]
    assert (again == ["ok"]) == (id not in NOT_SEEN), again
    took_back = undo(machine, done, tmp_path).code()
    assert took_back == ExitCode.OK or finding.remedy[0].kind == "no-packages", took_back
    assert comparable(machine.snapshot()) == before
