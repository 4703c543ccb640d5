"""Shared storage on a real kernel: an NFS server and client in one machine, and an XFS disk."""

from __future__ import annotations

import time

import pytest

from tests.vm.machine import VirtualMachine

# The machine's own address in qemu's user network; its server is asked like anybody else's.
SERVER = "10.0.2.15"
EXPORTS = f"""
/export/vol1 {SERVER}(rw,sync,no_subtree_check)
/export/asked {SERVER}(rw,sync,no_subtree_check)
/export/root {SERVER}(rw,sync,no_subtree_check)
/export/closed 10.9.9.9(rw,sync,no_subtree_check)
"""
ANSWERS = """
version = 1
[account]
username = "bai"
sudo = "no"
[storage]
volumes = [ {{ name = "vol1", type = "nfs", source = "{source}", version_file = "if-empty"{more} }} ]
"""
# Only the disk's volume is left of what the node has mounted.
IN_A_CONTAINER = "umount /vfroot/part /vfroot/asked /vfroot/vol1 && exec sleep 1000"
MADE_ANEW = "rm -r /export/vol1 && install -d -o 1100 -g 1100 /export/vol1 && exportfs -r"
FILE = "/root/answers.toml"
HEADLESS = ("--headless", FILE)
PLAN = (*HEADLESS, "--plan", "--detailed-exitcode")


def serve(vm: VirtualMachine) -> None:
    """Starts the NFS server with exports: two for the account, one of root's, one for another node."""
    vm.run(["mkdir", "-p", "/export/vol1", "/export/asked", "/export/root", "/export/closed"], check=True)
    vm.run(["chown", "1100:1100", "/export/vol1", "/export/asked"], check=True)
    vm.write("/etc/exports", EXPORTS)
    vm.run(["systemctl", "start", "nfs-server"], check=True, timeout=120)


def answer(vm: VirtualMachine, source: str = f"{SERVER}:/export/vol1", more: str = "") -> None:
    vm.write(FILE, ANSWERS.format(source=source, more=more), 0o600)


def mounted(vm: VirtualMachine) -> str:
    """Type and source, as findmnt sees them; empty where nothing is mounted."""
    return " ".join(vm.run(["findmnt", "--noheadings", "--output", "FSTYPE,SOURCE", "/vfroot/vol1"]).out.split())


def moment(vm: VirtualMachine, unit: str, change: str) -> int:
    """When a unit changed its state since the boot, in microseconds."""
    name = f"{change}TimestampMonotonic"
    return int(vm.run(["systemctl", "show", "--value", f"--property={name}", unit], check=True).out)


def test_invalid_mounts_are_reported_before_fstab_changes(vm: VirtualMachine) -> None:
    serve(vm)
    fstab = vm.read("/etc/fstab")
    # An address that drops everything, as a firewall does.
    vm.run(["ip", "route", "add", "blackhole", "192.0.2.0/24"], check=True)
    for source, message in (
        (f"{SERVER}:/export/closed", f"`/export/closed {SERVER}(rw,sync,no_subtree_check)`"),
        (f"{SERVER}:/export/nowhere", "does not export /export/nowhere"),
        ("192.0.2.10:/export/vol1", "TCP port 2049"),
        ("nobody.invalid:/export/vol1", "cannot resolve nobody.invalid"),
    ):
        answer(vm, source)
        refused = vm.wizard(*HEADLESS, timeout=300)
        assert refused.rc == 3, refused.out + refused.err
        assert message in refused.out + refused.err
        assert vm.read("/etc/fstab") == fstab
        assert not vm.exists("/vfroot")
    # What only shows once it is mounted: root's directory, and the server squashes root.
    answer(vm, f"{SERVER}:/export/root")
    failed = vm.wizard(*HEADLESS, timeout=300)
    assert failed.rc == 4, failed.out + failed.err
    assert "chown 1100:1100" in failed.out + failed.err
    assert vm.read("/etc/fstab") == fstab
    assert mounted(vm) == ""


def test_nfs_3_and_an_xfs_disk_with_project_quota_and_their_undo(vm: VirtualMachine) -> None:
    serve(vm)
    disk = vm.add_disk("1G")
    fstab = vm.read("/etc/fstab")
    # A part of the share at a second place: NFS names it otherwise than every other file system does.
    vm.run(["install", "-d", "-o", "1100", "-g", "1100", "/export/asked/part"], check=True)
    share = f'{{ name = "asked", type = "nfs", source = "{SERVER}:/export/asked", version_file = "no" }}'
    part = '{ name = "part", type = "bind", source = "/vfroot/asked/part", version_file = "no" }'
    more = f', options = "vers=3" }}, {share}, {part}, {{ name = "disk", type = "xfs", device = "{disk}"'
    answer(vm, more=more)
    refused = vm.wizard(*HEADLESS, timeout=300)
    assert refused.rc == 3, refused.out + refused.err
    assert "never formats" in refused.out + refused.err
    assert vm.read("/etc/fstab") == fstab
    vm.run(["mkfs.xfs", "-q", disk], check=True, timeout=120)
    done = vm.wizard(*HEADLESS, timeout=300)
    assert done.rc == 0, done.out + done.err
    assert mounted(vm) == f"nfs {SERVER}:/export/vol1"
    assert "prjquota" in vm.run(["findmnt", "--noheadings", "--output", "OPTIONS", "/vfroot/disk"]).out
    assert vm.run(["stat", "-c", "%U", "/vfroot/disk", "/vfroot/disk/version.txt"]).out == "bai\nbai\n"
    vm.run(["sh", "-c", "echo kept > /vfroot/part/data"], user="bai", check=True)
    assert vm.read("/export/asked/part/data") == b"kept\n"
    assert vm.wizard(*PLAN, timeout=120).rc == 0
    # One works in the volume, the other has a part of it in a mount namespace of its own, as a container does.
    vm.run(["sh", "-c", "cd /vfroot/vol1 && exec sleep 1000"], detach=True)
    vm.run(["unshare", "--mount", "--propagation", "private", "sh", "-c", IN_A_CONTAINER], detach=True)
    vm.wait_for(lambda: vm.run(["pgrep", "-cx", "sleep"]).out == "2\n", 30, "two programs that use volumes")
    busy = vm.wizard("undo", timeout=300)
    assert busy.rc == 4
    assert "/vfroot/vol1 is in use by sleep" in busy.out + busy.err
    assert "/vfroot/disk is in use by sleep" in busy.out + busy.err
    assert mounted(vm)
    vm.run(["pkill", "-x", "sleep"])
    vm.run(["rm", "-r", "/export/asked/part/data"], check=True)
    undone = vm.wizard("undo", timeout=300)
    assert undone.rc == 0, undone.out + undone.err
    assert vm.read("/etc/fstab") == fstab
    assert not vm.exists("/vfroot")
    assert not vm.exists("/export/vol1/version.txt")


def test_volumes_outlive_a_reboot_and_their_server(vm: VirtualMachine) -> None:
    serve(vm)
    fstab = vm.read("/etc/fstab")
    asked = f'}}, {{ name = "asked", type = "nfs", source = "{SERVER}:/export/asked", automount = true'
    answer(vm, more=f'{asked}, owner = "keep", version_file = "no"')
    done = vm.wizard(*HEADLESS, timeout=300)
    assert done.rc == 0, done.out + done.err
    assert mounted(vm) == f"nfs4 {SERVER}:/export/vol1"
    for volume in ("vol1", "asked"):
        vm.run(["sh", "-c", f"echo kept > /vfroot/{volume}/data"], user="bai", check=True)
        assert vm.run(["stat", "-c", "%u", f"/export/{volume}/data"]).out == "1100\n"
    began = time.monotonic()
    assert vm.wizard(*PLAN, timeout=120).rc == 0
    usual = time.monotonic() - began

    # The server stops in the middle: nothing that looks may hang.
    vm.run(["systemctl", "stop", "nfs-server"], check=True, timeout=120)
    began = time.monotonic()
    silent = vm.wizard(*PLAN, timeout=120)
    # One read with its deadline (5 s) for each is what silent shares may cost.
    assert time.monotonic() - began < 3 * usual + 20
    assert silent.rc == 3, silent.out
    assert "does not respond" in silent.out + silent.err
    doctor = vm.wizard("doctor", "--only", "storage.nfs-hung", timeout=120)
    assert doctor.rc == 4
    assert "[storage.nfs-hung]" in doctor.out
    vm.run(["systemctl", "start", "nfs-server"], check=True, timeout=120)
    assert vm.run(["cat", "/vfroot/vol1/data"], timeout=120).out == "kept\n"

    # The machine boots without its server: the boot continues, and nothing is written to the root disk.
    vm.reboot()
    assert vm.run(["systemctl", "is-active", "multi-user.target"]).out == "active\n"
    vm.wait_for(
        lambda: vm.run(["systemctl", "is-active", "vfroot-vol1.mount"]).out != "activating\n", 120, "the mount"
    )
    assert moment(vm, "multi-user.target", "ActiveEnter") < moment(vm, "vfroot-vol1.mount", "InactiveEnter")
    assert mounted(vm) == ""
    assert vm.run(["touch", "/vfroot/vol1/lost"]).rc != 0
    refused = vm.wizard(*HEADLESS, timeout=300)
    assert refused.rc == 3, refused.out + refused.err

    # The server is back: one comes at first use, the other by systemd's word from the same line as at a boot.
    vm.run(["systemctl", "start", "nfs-server"], check=True, timeout=120)
    assert vm.run(["cat", "/vfroot/asked/data"], timeout=120).out == "kept\n"
    again = vm.wizard(*HEADLESS, timeout=300)
    assert again.rc == 0, again.out + again.err
    assert vm.read("/vfroot/vol1/data") == b"kept\n"
    assert fstab in vm.read("/etc/fstab")


@pytest.mark.soak
def test_a_boot_with_the_server_mounts_the_volume(vm: VirtualMachine) -> None:
    serve(vm)
    vm.run(["systemctl", "enable", "nfs-server"], check=True, timeout=120)
    answer(vm)
    done = vm.wizard(*HEADLESS, timeout=300)
    assert done.rc == 0, done.out + done.err
    vm.run(["sh", "-c", "echo kept > /vfroot/vol1/data"], user="bai", check=True)
    vm.reboot()
    vm.wait_for(lambda: mounted(vm) != "", 180, "the volume after the boot")
    assert vm.read("/vfroot/vol1/data") == b"kept\n"
    assert vm.wizard(*PLAN, timeout=120).rc == 0

    # The export is re-created on its server: the mount has the handle of a removed directory.
    vm.run(["sh", "-c", MADE_ANEW], check=True)
    doctor = vm.wizard("doctor", "--only", "storage.nfs-hung,storage.nfs-stale-handle", timeout=120)
    assert doctor.rc == 4, doctor.out
    assert "[storage.nfs-stale-handle]" in doctor.out
    stale = vm.wizard(*PLAN, timeout=120)
    assert stale.rc == 3, stale.out
    assert "stale file handle" in (stale.out + stale.err).lower()
