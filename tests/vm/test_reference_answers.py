"""The reference answers in a full virtual machine: its own kernel, and a reboot."""

from __future__ import annotations

import json

import pytest

from tests.node.doctor_output import BAD
from tests.node.reference_answers import ANSWERS, TOUCHED, assert_manual_holds, assert_no_secret, log_out, prepare
from tests.node.snapshot import assert_same
from tests.sampling import is_soak
from tests.vm.machine import VirtualMachine

# Under emulation everything takes ten times as long, and more where the machine has other work. Seconds.
pytestmark = pytest.mark.timeout(2400 if is_soak() else 1200)
HEADLESS = ("--headless", "/root/answers.toml")
PLAN = (*HEADLESS, "--plan", "--detailed-exitcode")
# What belongs to the kernel of the host in a container: asked for, and each with a worse value.
ANSWERS_OF_ALL = ANSWERS.replace(
    "[tuning]\n",
    '[tuning]\nsysctl = { "fs.inotify.max_user_watches" = 524288, "fs.inotify.max_user_instances" = 8192,'
    ' "vm.max_map_count" = 1048576, "kernel.panic" = 10 }\n',
)
WORSE = {
    "fs.file-max": "100000",
    "fs.inotify.max_user_watches": "8192",
    "fs.inotify.max_user_instances": "128",
    "vm.overcommit_memory": "0",
    "vm.max_map_count": "65530",
    "kernel.panic": "0",
}
LIMITS = "/etc/security/limits.d/99-backendai.conf"
LATER_LIMITS = "/etc/security/limits.d/zz.conf"
LATER_SYSCTL = "/etc/sysctl.d/zz.conf"


def test_four_pages_survive_a_reboot_and_are_undone(vm: VirtualMachine) -> None:
    prepare(vm, ANSWERS_OF_ALL)
    before = vm.snapshot(TOUCHED)
    done = vm.wizard(*HEADLESS, timeout=600)
    assert done.rc == 0, done.out + done.err
    assert_manual_holds(vm, host_kernel=False)
    assert_no_secret(vm)
    assert vm.wizard(*PLAN).rc == 0
    if is_soak():
        assert_limits_and_parameters_are_watched(vm)
    vm.reboot()
    assert_manual_holds(vm, host_kernel=False)
    again = vm.wizard(*PLAN)
    assert again.rc == 0, again.out
    log_out(vm)
    undone = vm.wizard("undo", timeout=600)
    assert undone.rc == 0, undone.out + undone.err
    assert_same(before, vm.snapshot(TOUCHED))


def assert_limits_and_parameters_are_watched(vm: VirtualMachine) -> None:
    """Plan and doctor name every parameter and limit that is lost, live or to a later file; then all is healed."""
    live = {key: vm.run(["sysctl", "-n", key], check=True).out.strip() for key in WORSE}
    for key, value in WORSE.items():
        vm.run(["sysctl", "-qw", f"{key}={value}"], check=True)
    assert_seen(vm, "live", *WORSE)
    for key, value in live.items():
        vm.run(["sysctl", "-qw", f"{key}={value}"], check=True)
    vm.write(LATER_SYSCTL, "".join(f"{key} = {value}\n" for key, value in WORSE.items()))
    vm.write(LATER_LIMITS, "bai hard nofile 4096\n")
    assert hard_limit(vm) == 4096
    assert_seen(vm, "later files", *WORSE, "nofile")
    vm.run(["rm", LATER_SYSCTL, LATER_LIMITS], check=True)
    kept = vm.read(LIMITS)
    vm.run(["sed", "-i", "/nofile/d", LIMITS], check=True)
    assert_seen(vm, "no line of the limit", "nofile")
    vm.write(LIMITS, kept)
    healed = vm.wizard(*PLAN)
    assert healed.rc == 0, healed.out
    assert hard_limit(vm) >= 512000


def hard_limit(vm: VirtualMachine) -> int:
    """Open files that a login of the account may have."""
    return int(vm.run(["su", "-", "bai", "-c", "ulimit -Hn"], check=True).out)


def assert_seen(vm: VirtualMachine, how: str, *names: str) -> None:
    """Each name appears in the plan and in a finding of the doctor."""
    plan = vm.wizard(*PLAN)
    assert plan.rc in (3, 6, 7), f"{how}: {plan.out}"
    doctor = vm.wizard("doctor", "--json", "--answers", "/root/answers.toml", timeout=300)
    events = [json.loads(line)["data"] for line in doctor.out.splitlines()]
    bad = json.dumps([event for event in events if event.get("result") in BAD])
    for name in names:
        assert name in plan.out, f"{how}: the plan does not show {name}: {plan.out}"
        assert name in bad, f"{how}: the doctor does not show {name}: {bad}"
