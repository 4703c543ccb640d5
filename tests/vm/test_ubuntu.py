"""Limits and kernel parameters on machines shaped like Ubuntu, where they really take effect, through a reboot."""

from __future__ import annotations

import subprocess

import pytest

from tests.node.doctor_output import findings_of
from tests.node.eight_pages import HEADLESS, assert_restored, converged, state_of
from tests.node.reference_answers import log_out, prepare, text
from tests.node.ubuntu import SHAPES, assert_shape
from tests.vm.conftest import MachineFactory
from tests.vm.connection import OPTIONS
from tests.vm.keys import private_key, public_key
from tests.vm.machine import VirtualMachine
from tests.vm.test_reference_answers import ANSWERS_OF_ALL

pytestmark = [pytest.mark.soak, pytest.mark.timeout(7200)]

# What the answers ask for, and what Ubuntu's own files or the kernel would give.
PARAMETERS = {
    "fs.inotify.max_user_watches": "524288",
    "fs.inotify.max_user_instances": "8192",
    "kernel.panic": "10",
    "vm.overcommit_memory": "1",
    "net.core.rmem_max": "16777216",
    "net.ipv4.tcp_fin_timeout": "10",
    "net.ipv4.ip_local_port_range": "10000 65000",
}
# Ubuntu's own, which stay.
OWN = {"vm.max_map_count": "1048576", "kernel.sysrq": "176", "net.ipv4.conf.all.rp_filter": "2"}
LIMITS = "ulimit -Hn; ulimit -Sn; ulimit -Hu"
# The machine's only disk has 6 GiB.
OF_ITS_DISK = "node.disk-space"
# It reaches no time server: a machine that continues from a saved state has set its clock itself, which counts as not
# synchronized.
OF_ITS_CLOCK = "node.clock-skew"


def answers() -> str:
    """The answers of all four pages, a limit of a service, and the key of the tests: passwords are rejected."""
    service = ANSWERS_OF_ALL.replace("[tuning]\n", "[tuning]\nservices = { ssh = { nofile = 65536 } }\n")
    return service.replace('authorized_keys = ["', f'authorized_keys = ["{public_key().strip()}", "')


def over_ssh(vm: VirtualMachine, command: str) -> str:
    """Return the output of a command in a new login of the account over ssh."""
    address, port = vm.ssh_address()
    options = [word for option in OPTIONS for word in ("-o", option)]
    argv = ["ssh", "-F", "none", *options, "-i", str(private_key()), "-p", str(port), f"bai@{address}", command]
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True).stdout


def assert_in_effect(vm: VirtualMachine) -> None:
    """Assert with other programs that the limits and parameters hold; nothing is left to do or to report."""
    for key, value in (PARAMETERS | OWN).items():
        assert text(vm, "sysctl", "-n", key).split() == value.split(), key
    for shown in (text(vm, "su", "-", "bai", "-c", LIMITS), over_ssh(vm, LIMITS)):
        for found, least in zip(shown.split(), (512000, 512000, 65536), strict=True):
            assert int(found) >= least, shown
    server = text(vm, "systemctl", "show", "--value", "--property=MainPID", "ssh")
    limits = text(vm, "prlimit", f"--pid={server}", "--nofile", "--noheadings", "--output=HARD,SOFT").split()
    # The answers raise the soft limit; the hard one is systemd's default, which is not lowered.
    assert limits == ["524288", "65536"], limits
    assert text(vm, "getent", "hosts", "bai-m1").split() == ["10.20.30.10", "bai-m1"]
    log_out(vm)
    converged(vm)
    assert {*findings_of(vm, "--answers", "/root/answers.toml")} - {OF_ITS_CLOCK} == {OF_ITS_DISK}


@pytest.mark.parametrize("codename", tuple(SHAPES))
def test_limits_and_parameters_take_effect(vm_factory: MachineFactory, codename: str) -> None:
    vm = vm_factory(codename)
    assert_shape(vm, SHAPES[codename])
    prepare(vm, answers())
    before = state_of(vm)
    done = vm.wizard(*HEADLESS)
    assert done.rc == 0, done.out + done.err
    assert_in_effect(vm)
    vm.reboot()
    assert text(vm, "sh", "-c", "ulimit -Hn") != "1024", "root's own session"
    assert_in_effect(vm)
    undone = vm.wizard("undo")
    assert undone.rc == 0, undone.out + undone.err
    assert_restored(before, vm)
