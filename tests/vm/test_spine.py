"""The spine in a full virtual machine: its own kernel, and a reboot."""

from __future__ import annotations

import pytest

from tests.node.snapshot import assert_same
from tests.node.spine import TOUCHED, assert_manual_holds, assert_no_secret, log_out, prepare
from tests.vm.machine import VirtualMachine

# Under emulation everything takes ten times as long, and more where the machine has other work. Seconds.
pytestmark = pytest.mark.timeout(1200)
HEADLESS = ("--headless", "/root/answers.toml")


def test_four_pages_survive_a_reboot_and_are_undone(vm: VirtualMachine) -> None:
    prepare(vm)
    before = vm.snapshot(TOUCHED)
    done = vm.wizard(*HEADLESS, timeout=600)
    assert done.rc == 0, done.out + done.err
    assert_manual_holds(vm, host_kernel=False)
    assert_no_secret(vm)
    assert vm.wizard(*HEADLESS, "--plan", "--detailed-exitcode").rc == 0
    vm.reboot()
    assert_manual_holds(vm, host_kernel=False)
    again = vm.wizard(*HEADLESS, "--plan", "--detailed-exitcode")
    assert again.rc == 0, again.out
    log_out(vm)
    undone = vm.wizard("undo", timeout=600)
    assert undone.rc == 0, undone.out + undone.err
    assert_same(before, vm.snapshot(TOUCHED))
