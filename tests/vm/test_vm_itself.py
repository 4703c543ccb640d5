"""The virtual machine has the properties that the other tests rely on."""

import pytest

from tests.node.snapshot import difference
from tests.vm.machine import VirtualMachine

# The other tests of the machine fail as well where it is not what they take it for.
pytestmark = pytest.mark.soak


def test_the_virtual_machine_has_its_own_kernel(vm: VirtualMachine) -> None:
    assert vm.run(["systemd-detect-virt", "--container"]).out == "none\n"
    assert vm.run(["sysctl", "-w", "vm.max_map_count=1048576"]).rc == 0
    assert vm.run(["journalctl", "--boot", "--lines", "1", "--quiet"]).out
    for module in ("nfs", "nfsd", "xfs", "overlay"):
        assert vm.run(["modprobe", module]).rc == 0, module
    completed = vm.run(["python3", "-I", "-c", "import bai_wizard; print(bai_wizard.__file__)"], check=True)
    assert completed.out == "/opt/bai-wizard/bai_wizard/__init__.py\n"


def test_commands_and_files(vm: VirtualMachine) -> None:
    before = vm.snapshot(["/etc"])
    vm.write("/etc/made", b"\x00", mode=0o600)
    assert vm.read("/etc/made") == b"\x00"
    assert difference(before, vm.snapshot(["/etc"])) == ["+ /etc/made file 0600 0:0 6e340b9cffb3"]
    assert vm.run(["printf", "%s|", "a b", "$c", "d'e"]).out == "a b|$c|d'e|"
    assert vm.run(["id", "-un"], user="nobody").out == "nobody\n"
    vm.run(["useradd", "--create-home", "--shell", "/bin/bash", "bai"], check=True)
    vm.run(["chpasswd"], input="bai:correct horse", check=True)
    assert vm.ssh_login("bai", "correct horse", "ulimit -Hn").rc == 0


def test_reboot_and_power_cut(vm: VirtualMachine) -> None:
    disk = vm.add_disk("1G")
    vm.run(["mkfs.xfs", "-q", disk], check=True, timeout=120)
    vm.write("/root/before", "reboot")
    vm.reboot()
    assert vm.run(["test", "-x", "/opt/bai-wizard/bin/uv"]).rc == 0
    assert vm.read("/root/before") == b"reboot"
    assert "xfs" in vm.run(["blkid", disk]).out
    vm.write("/root/synced", "kept")
    vm.run(["sync", "/root/synced", "/root"], check=True)
    vm.write("/root/not-synced", "lost")
    vm.power_cut()
    assert vm.read("/root/synced") == b"kept"
    assert not vm.exists("/root/not-synced") or vm.read("/root/not-synced") == b""
    assert vm.run(["test", "-x", "/opt/bai-wizard/bin/uv"]).rc == 0
