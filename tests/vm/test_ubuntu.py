"""Limits and kernel parameters on a machine shaped like Ubuntu 24.04, where they really take effect."""

from __future__ import annotations

import pytest

from tests.node.doctor_output import findings_of
from tests.node.eight_pages import HEADLESS, assert_restored, converged, state_of
from tests.node.reference_answers import log_out, prepare, text
from tests.node.ubuntu import SHAPES
from tests.vm.conftest import MachineFactory
from tests.vm.machine import VirtualMachine
from tests.vm.test_reference_answers import ANSWERS_OF_ALL

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]

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
# The machine's only disk has 6 GiB.
OF_ITS_DISK = {"node.disk-space", "node.disk-layout"}


def assert_in_effect(vm: VirtualMachine) -> None:
    """Assert with other programs that the limits and parameters hold; nothing is left to do or to report."""
    for key, value in (PARAMETERS | OWN).items():
        assert text(vm, "sysctl", "-n", key).split() == value.split(), key
    shown = text(vm, "su", "-", "bai", "-c", "ulimit -Hn; ulimit -Sn; ulimit -Hu").split()
    for found, least in zip(shown, (512000, 512000, 65536), strict=True):
        assert int(found) >= least, shown
    log_out(vm)
    converged(vm)
    assert set(findings_of(vm, "--answers", "/root/answers.toml")) == OF_ITS_DISK


def test_limits_and_parameters_take_effect(vm_factory: MachineFactory) -> None:
    vm = vm_factory("noble")
    assert f'VERSION_ID="{SHAPES["noble"].version}"' in vm.read("/etc/os-release").decode()
    prepare(vm, ANSWERS_OF_ALL)
    before = state_of(vm)
    done = vm.wizard(*HEADLESS, timeout=900)
    assert done.rc == 0, done.out + done.err
    assert_in_effect(vm)
    undone = vm.wizard("undo", timeout=900)
    assert undone.rc == 0, undone.out + undone.err
    assert_restored(before, vm)
