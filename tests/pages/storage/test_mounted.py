"""Volumes that the wizard mounts, on a simulated node."""

from __future__ import annotations

import json
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from bai_wizard.answers.load import loads
from bai_wizard.compose import DesiredState
from bai_wizard.core.errors import AnswersError, StateUnknown, StepFailed
from bai_wizard.core.machine import Completed, Space
from bai_wizard.core.operation import Offer, Operation
from bai_wizard.core.page import Context, Evidence, Finding, Unknown
from bai_wizard.core.state import Account, Entry, Flag, Key, Mount, State
from bai_wizard.core.step import Blocked, Pending
from bai_wizard.doctor.drift import drift_checks, without_covered
from bai_wizard.engine import durable, journal
from bai_wizard.engine.directory import create_run, journal_of
from bai_wizard.engine.executor import execute
from bai_wizard.engine.lock import StatePaths
from bai_wizard.engine.recovery import recover
from bai_wizard.node.simulated import Environment, SimulatedMachine
from bai_wizard.pages.storage import volume_probes
from bai_wizard.pages.storage.fstab import parse_fstab
from bai_wizard.pages.storage.kinds import hosts_of
from bai_wizard.pages.storage.plan import PAGE
from bai_wizard.resources.mounts import SetMount
from bai_wizard.resources.units import ReloadUnits
from tests.pages.storage.lifecycle import assert_cycle, plan_of, run, shown, undo
from tests.pages.storage.test_fstab import UBUNTU
from tests.pages.storage.test_local import BAI
from tests.settings import settings_from
from tests.unit.engine.test_run import PowerCut, cut_at
from tests.waiting import PATIENCE

NFS: dict[str, Any] = {"name": "vol1", "type": "nfs", "source": "10.20.30.50:/export/vol1"}
HELPERS = {"/sbin/mount.nfs", "/sbin/mount.ceph", "/sbin/mount.lustre", "/sbin/mount.wekafs", "/usr/sbin/xfs_quota"}


def node(
    *, helpers: set[str] = HELPERS, fstab: str = UBUNTU, states: dict[Key, State] | None = None, **about: Any
) -> SimulatedMachine:
    files: dict[Key, State] = {Key("file", path): Entry("file", 0, 0, 0o755, b"") for path in helpers}
    files[Key("file", "/etc/fstab")] = Entry("file", 0, 0, 0o644, fstab.encode())
    files[Key("mount", "/")] = Mount("/dev/vda1", "ext4", "rw,relatime")
    return SimulatedMachine({**BAI, **files, **(states or {})}, Environment(**about))


def table(*volumes: dict[str, Any]) -> dict[str, Any]:
    # A simulated node cannot be written to by a child: the write test belongs to the virtual machine.
    return {"volumes": [{"owner": "keep", "version_file": "no", **volume} for volume in volumes]}


def test_an_nfs_volume_on_a_node_that_has_the_client(tmp_path: Path) -> None:
    plan = assert_cycle(PAGE, table(NFS), node(), tmp_path)
    assert shown(plan) == (
        "storage.vol1.point: Pending\n"
        "+ /vfroot/  0:0 0755\n"
        "+ /vfroot/vol1/  0:0 0755\n"
        "storage.vol1.guard: Pending\n"
        "+ /vfroot/vol1 (immutable attribute)\n"
        "storage.vol1.mount: Pending\n"
        "--- /etc/fstab\n"
        "+++ /etc/fstab\n"
        "@@ -1,3 +1,6 @@\n"
        " # /etc/fstab: static file system information.\n"
        " UUID=6fd2 /               ext4    errors=remount-ro 0       1\n"
        " /dev/sr0        /media/cdrom0   udf,iso9660 user,noauto     0       0\n"
        "+# BEGIN bai-wizard\n"
        "+10.20.30.50:/export/vol1 /vfroot/vol1 nfs hard,_netdev,nofail,x-systemd.mount-timeout=30 0 0\n"
        "+# END bai-wizard\n"
        "> reload systemd's unit files  /etc/fstab changed\n"
        "+ mount /vfroot/vol1  nfs 10.20.30.50:/export/vol1\n"
        "storage.vol1.check: Unchanged"
    )


def boot(machine: SimulatedMachine) -> None:
    """What systemd mounts at boot from fstab, and nothing else."""
    target, source = "/vfroot/vol1", "10.20.30.50:/export/vol1"
    mounted = f"{source} {target} " in (machine.text("/etc/fstab") or "")
    machine.set_state(Key("mount", target), Mount(source, "nfs") if mounted else None)


@pytest.mark.parametrize("mounted_after", ["boot", "recovery"])
@pytest.mark.parametrize("systemd_dies_first", [False, True])
@pytest.mark.parametrize("instant", range(45))
def test_a_volume_that_is_mounted_at_the_boot_after_a_power_cut_is_unmounted_by_undo(
    instant: int, systemd_dies_first: bool, mounted_after: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, paths = node(), StatePaths(tmp_path)
    before = machine.snapshot()
    plan = plan_of(PAGE, table(NFS), machine)
    begun = create_run(paths, plan, {})
    cut = cut_at(instant)

    def append_line(*args: Any) -> None:
        cut("before a record")
        durable.append_line(*args)

    def fault(operation: Operation, moment: str) -> None:
        cut(f"{moment} an operation")
        if systemd_dies_first and moment == "before" and isinstance(operation, ReloadUnits):
            raise StepFailed("Reload daemon failed: Transport endpoint is not connected")

    machine.fault = fault
    with suppress(PowerCut), monkeypatch.context() as patched:
        patched.setattr(journal, "append_line", append_line)
        execute(paths, begun, plan.digest(), machine)
    machine.fault = None
    if mounted_after == "boot":
        boot(machine)
    recover(journal_of(begun), machine)
    boot(machine)
    again = plan_of(PAGE, table(NFS), machine)
    begun.begin_attempt(again, begun.metadata)
    assert execute(paths, begun, again.digest(), machine).code() == 0
    assert machine.mount("/vfroot/vol1") is not None
    assert undo(machine, begun, tmp_path).code() == 0
    assert machine.snapshot() == before


def test_a_bare_node_gets_the_client_first() -> None:
    machine = node(helpers=set(), offers={"nfs-common": Offer("1:2.6.4")})
    plan = plan_of(PAGE, table(NFS), machine)
    assert next(item.step.id for item in plan.pending()) == "storage.client"
    assert "package nfs-common" in shown(plan)


def test_one_share_for_all_types(tmp_path: Path) -> None:
    blkid = {
        ("blkid", "-p", "-o", "export", "/dev/sdb1"): Completed(0, "DEVNAME=/dev/sdb1\nTYPE=xfs\nUUID=7c1e\n", "")
    }
    devices: dict[Key, State] = {
        Key("file", "/k"): Entry("file", 0, 0, 0o600, b"AQD"),
        Key("file", "/dev/sdb1"): Entry("other", 0, 6, 0o660),
        Key("file", "/dev/disk/by-uuid/7c1e"): Entry("link", 0, 0, 0o777, target="../../sdb1"),
        Key("file", "/mnt/vendor/vol"): Entry("directory", 0, 0, 0o755),
        Key("mount", "/mnt/vendor"): Mount("vendorfs", "fuse.vendor"),
        Key("mount", "/vfroot/ready"): Mount("weka", "wekafs"),
        Key("file", "/vfroot/ready"): Entry("directory", 1100, 1100, 0o755),
    }
    volumes = (
        NFS,
        {
            "name": "ceph",
            "type": "cephfs",
            "source": "10.0.0.1:6789,[fd00::2]:6789:/vol",
            "user": "bai",
            "secret_file": "/k",
        },
        {"name": "lustre", "type": "lustre", "source": "10.0.0.6@tcp:/scratch", "automount": False},
        {"name": "fast", "type": "weka", "source": "weka1,weka2/default", "options": "net=ib0,net=ib1,core=2,core=4"},
        {"name": "disk", "type": "xfs", "device": "/dev/sdb1"},
        {"name": "bound", "type": "bind", "source": "/mnt/vendor/vol"},
        {"name": "ready", "type": "existing"},
        {"name": "own", "type": "fstab", "line": "srv:/x  /vfroot/own   glusterfs  defaults"},
    )
    machine = node(states=devices, looks=blkid)
    # Answers may be repeated on forty nodes: what xfs knows of its device must not change once it is mounted.
    plan = assert_cycle(PAGE, table(*volumes), machine, tmp_path)
    text = shown(plan)
    assert (
        "+10.0.0.1:6789,[fd00::2]:6789:/vol /vfroot/ceph ceph _netdev,nofail,x-systemd.mount-timeout=30,name=bai"
        in text
    )
    assert (
        "+weka1,weka2/default /vfroot/fast wekafs x-systemd.requires=weka-agent.service,_netdev,nofail,"
        "x-systemd.mount-timeout=300,net=ib0,net=ib1,core=2,core=4 0 0\n" in text
    )
    assert "+UUID=7c1e /vfroot/disk xfs nofail,pquota 0 0" in text
    assert "+ mount /vfroot/disk  xfs /dev/sdb1" in text
    assert "+ mount /vfroot/bound  fuse.vendor vendorfs[/vol]" in text
    assert "+srv:/x /vfroot/own glusterfs defaults\n" in text
    described = " ".join(warning for item in plan.steps for warning in item.step.warnings())
    assert "without `nofail`" in described
    assert "without `_netdev`" in described


def test_a_mounted_volume_is_kept_whatever_the_client_calls_it() -> None:
    line = "10.20.30.50:/export/vol1 /vfroot/vol1 nfs hard,_netdev,nofail,x-systemd.mount-timeout=30 0 0"
    machine = node(
        fstab=f"# BEGIN bai-wizard\n{line}\n# END bai-wizard\n",
        states={
            Key("mount", "/vfroot/vol1"): Mount("10.20.30.50:/export/vol1", "nfs4", "rw,vers=4.2"),
            Key("file", "/vfroot/vol1"): Entry("directory", 1100, 1100, 0o755),
            Key("immutable", "/vfroot/vol1"): Flag(),
        },
    )
    assert plan_of(PAGE, table(NFS), machine).is_empty()


def blocked(machine: SimulatedMachine, *volumes: dict[str, Any]) -> str:
    reasons = [item.verdict.reason for item in plan_of(PAGE, table(*volumes), machine).steps
               if isinstance(item.verdict, Blocked)]  # fmt: skip
    return " | ".join(reasons)


@pytest.mark.parametrize(
    "options,written",
    [
        ("nfsvers=3,vers=4.2", "vers=4.2"),
        ("vers=4.2,nfsvers=3", "nfsvers=3"),
        ("tcp,proto=rdma,port=20049", "proto=rdma,port=20049"),
        ("rdma,port=20049", "rdma,port=20049"),
    ],
)
def test_an_address_in_brackets_and_rival_options(options: str, written: str) -> None:
    share = {"name": "v", "type": "nfs", "source": "[fd00::50]:/export/v", "options": options}
    line = f"[fd00::50]:/export/v /vfroot/v nfs hard,_netdev,nofail,x-systemd.mount-timeout=30,{written} 0 0"
    text = shown(plan_of(PAGE, table(share), node()))
    assert f"+{line}\n" in text
    (entry,) = parse_fstab(line)
    assert (entry.source, entry.target, entry.fstype) == ("[fd00::50]:/export/v", "/vfroot/v", "nfs")


def test_something_else_at_the_mount_point_blocks() -> None:
    machine = node(states={Key("mount", "/vfroot/vol1"): Mount("10.9.9.9:/other", "nfs4")})
    assert "10.9.9.9:/other (nfs4) is mounted at /vfroot/vol1" in blocked(machine, NFS)


def test_another_line_for_the_same_mount_point_blocks() -> None:
    assert "line 4 of /etc/fstab" in blocked(node(fstab=UBUNTU + "srv:/x /vfroot/vol1/ nfs ro 0 0\n"), NFS)


def test_files_under_the_mount_point_block_unless_requested() -> None:
    machine = node(states={Key("file", "/vfroot/vol1/data"): Entry("file", 0, 0, 0o644, b"")})
    assert "contains data, written to the root disk" in blocked(machine, NFS)
    assert blocked(machine, {**NFS, "guard": False}) == ""


def test_xfs_refuses_an_empty_device_and_another_file_system() -> None:
    volume = {"name": "disk", "type": "xfs", "device": "/dev/sdb1"}
    there: dict[Key, State] = {Key("file", "/dev/sdb1"): Entry("other", 0, 6, 0o660)}
    argv = ("blkid", "-p", "-o", "export", "/dev/sdb1")
    assert "never formats" in blocked(node(states=there, looks={argv: Completed(2, "", "")}), volume)
    assert "contains ext4" in blocked(node(states=there, looks={argv: Completed(0, "TYPE=ext4\n", "")}), volume)
    assert "/dev/sdb1 does not exist" in blocked(node(), volume)


def test_an_unreadable_device_does_not_suggest_formatting() -> None:
    """blkid gives the same code for an empty device and for one that it may not or cannot read."""
    volume = {"name": "disk", "type": "xfs", "device": "/dev/sdb1"}
    there: dict[Key, State] = {Key("file", "/dev/sdb1"): Entry("other", 0, 6, 0o660)}
    argv = ("blkid", "-p", "-o", "export", "/dev/sdb1")
    assert blocked(node(states=there, looks={argv: Completed(2, "", "")}, is_root=False), volume) == ""
    assert blocked(node(states=there, looks={argv: Completed(2, "", "error: /dev/sdb1: I/O error\n")}), volume) == ""


def test_xfs_without_project_quota_must_be_mounted_again() -> None:
    mounted: dict[Key, State] = {
        Key("file", "/dev/sdb1"): Entry("other", 0, 6, 0o660),
        Key("mount", "/vfroot/disk"): Mount("/dev/sdb1", "xfs", "rw,relatime,noquota"),
    }
    output = blocked(node(states=mounted), {"name": "disk", "type": "xfs", "device": "/dev/sdb1"})
    assert "without prjquota" in output


def test_a_missing_ceph_key_is_reported_before_any_change() -> None:
    volume = {"name": "c", "type": "cephfs", "source": "user@.fs=/v", "secret_file": "/etc/ceph/key"}
    assert "/etc/ceph/key does not exist" in blocked(node(), volume)
    there: dict[Key, State] = {Key("file", "/etc/ceph/key"): Entry("file", 0, 0, 0o600, b"AQD")}
    assert blocked(node(states=there), volume) == ""


def test_lustre_without_client_names_the_vendors_page() -> None:
    output = blocked(node(helpers=set()), {"name": "l", "type": "lustre", "source": "10.0.0.6@tcp:/scratch"})
    assert "https://" in output


def test_weka_without_its_agent_says_where_to_get_it() -> None:
    output = blocked(node(helpers=set()), {"name": "w", "type": "weka", "source": "weka1/default"})
    assert "/dist/v1/install" in output
    assert "https://docs.weka.io/" in output


@pytest.mark.parametrize("shown", ["default", "weka2,weka1/default", "10.0.0.7/default"])
def test_a_mounted_weka_file_system_is_known_by_its_name(shown: str) -> None:
    weka = {"name": "w", "type": "weka", "source": "weka1,weka2/default"}
    assert blocked(node(states={Key("mount", "/vfroot/w"): Mount(shown, "wekafs")}), weka) == ""
    other = node(states={Key("mount", "/vfroot/w"): Mount(f"{shown}2", "wekafs")})
    assert "is mounted at /vfroot/w, but the settings specify" in blocked(other, weka)


@pytest.mark.parametrize(
    "volume,fstype,advice",
    [
        ({"type": "gpfs"}, "gpfs", "`mmchfs DEVICE -T /vfroot/v -A yes`"),
        ({"type": "beegfs"}, "beegfs", "`/vfroot/v /etc/beegfs/beegfs-client.conf`"),
    ],
)
@pytest.mark.parametrize("owner", ["keep", "set"])
def test_what_its_own_client_mounts_is_only_checked(
    volume: dict[str, Any], fstype: str, advice: str, owner: str
) -> None:
    volume = {"name": "v", "owner": owner, **volume}
    assert advice in blocked(node(), volume)

    def mounted(kind: str) -> SimulatedMachine:
        top = Entry("directory", 0, 0, 0o755)
        return node(
            states={Key("mount", "/vfroot/v"): Mount("fs1", kind), Key("file", "/vfroot/v"): top}, fstab=UBUNTU
        )

    assert advice in blocked(mounted("nfs4"), volume)
    plan = plan_of(PAGE, table(volume), mounted(fstype))
    assert [item for item in plan.steps if isinstance(item.verdict, Blocked)] == []
    assert "/etc/fstab" not in shown(plan)


@pytest.mark.parametrize(
    "volume,at,message",
    [
        ({"type": "weka", "source": "weka1, weka2/default"}, "source", "must be the back ends"),
        ({"type": "weka", "source": "w/f", "options": "ro,net=a,ro"}, "options", "contains `ro` twice"),
        ({**NFS, "options": "vers=4.2,soft"}, "options", "data is lost silently"),
        ({**NFS, "options": "softerr"}, "options", "data is lost silently"),
        ({"type": "fstab", "line": "srv:/x /vfroot/v nfs soft,nofail 0 0"}, "line", "data is lost silently"),
        ({"type": "cephfs", "source": "mon1:/v", "options": "secret=AQDdeepsea=="}, "options", "use secret_file"),
        ({"type": "fstab", "line": "//s/v /vfroot/v cifs username=u,password=deepsea 0 0"}, "line", "credentials="),
        ({"type": "fstab", "line": "//s/v /vfroot/v cifs u=u,pass\\167ord=deepsea 0 0"}, "line", "credentials="),
        ({"type": "fstab", "line": "srv:/x /vfroot/v nfs hard 0 no"}, "line", "must be numbers"),
        ({"type": "fstab", "line": "srv:/x /vfroot/v nfs hard #"}, "line", "must be numbers"),
        ({"type": "fstab", "line": "/etc /vfroot/v none r\\142ind 0 0"}, "line", "operating system"),
    ],
)
def test_options_that_are_never_written_are_wrong_in_themselves(
    volume: dict[str, Any], at: str, message: str
) -> None:
    """Code 2, before any plan that would show a secret among them."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in {**volume, "name": "v"}.items()]
    with pytest.raises(AnswersError) as refused:
        loads("\n".join(["version = 1", "[[storage.volumes]]", *lines]), "answers.toml", "gpu01")
    (problem,) = refused.value.problems
    assert problem.key == f"storage.volumes[0].{at}"
    assert message in problem.reason
    assert "deepsea" not in str(problem)


def test_a_directory_on_the_root_disk_is_shown_with_a_warning() -> None:
    """Where a vendor's client has not mounted yet, the directory is there all the same: a silent mistake."""
    volume = {"name": "v", "type": "bind", "source": "/mnt/vendor/vol"}
    there: dict[Key, State] = {Key("file", "/mnt/vendor/vol"): Entry("directory", 0, 0, 0o755)}

    def result(machine: SimulatedMachine, *volumes: dict[str, Any]) -> bool:
        plan = plan_of(PAGE, table(*volumes), machine)
        return any("root disk" in warning for item in plan.steps for warning in item.step.warnings())

    assert result(node(states=there), volume)
    assert not result(node(states={**there, Key("mount", "/mnt/vendor"): Mount("vendorfs", "fuse.vendor")}), volume)
    made = {"name": "made", "type": "local", "owner": "set"}
    assert not result(node(), made, {**volume, "source": "/vfroot/made"})


def test_a_part_of_an_nfs_share_is_known_by_the_name_that_nfs_gives_it() -> None:
    """Every other file system tells the part beside the source; the kernel's NFS client puts it into the source."""
    volume = {"name": "v", "type": "bind", "source": "/mnt/filer/vol"}
    states: dict[Key, State] = {
        Key("file", "/mnt/filer/vol"): Entry("directory", 0, 0, 0o755),
        Key("mount", "/mnt/filer"): Mount("10.0.0.1:/e", "nfs4"),
    }
    assert "+ mount /vfroot/v  nfs 10.0.0.1:/e/vol" in shown(plan_of(PAGE, table(volume), node(states=states)))
    mounted = {**states, Key("mount", "/vfroot/v"): Mount("10.0.0.1:/e/vol", "nfs4", "rw,vers=4.2")}
    assert blocked(node(states=mounted), volume) == ""


def test_a_part_of_a_share_that_the_same_plan_mounts(tmp_path: Path) -> None:
    """Planned as nfs, mounted as nfs4 a moment later: not a change since the review."""
    machine = node(states={Key("file", "/vfroot/vol1/part"): Entry("directory", 1100, 1100, 0o755)})
    source = str(NFS["source"])
    other = {**NFS, "name": "vol2", "source": "10.20.30.50:/export/vol2"}

    def kernel(operation: Operation, moment: str) -> None:
        if isinstance(operation, SetMount) and operation.mounted and moment == "after":
            name = {"/vfroot/vol1": source, "/vfroot/part": f"{source}/part"}.get(operation.target, other["source"])
            machine.set_state(Key("mount", operation.target), Mount(str(name), "nfs4", "rw,vers=4.2"))

    machine.fault = kernel
    part = {"name": "part", "type": "bind", "source": "/vfroot/vol1/part"}
    # One more after it: its line in fstab follows that of the part, whose own mount is known later only.
    both = table({**NFS, "guard": False}, part, {**other, "guard": False})
    _run, result = run(machine, plan_of(PAGE, both, machine), tmp_path)
    assert result.code() == 0, result
    assert plan_of(PAGE, both, machine).is_empty()


@pytest.mark.parametrize(
    ("result", "volume", "refused"),
    [
        ("ro,relatime,vers=4.2", NFS, True),
        ("rw,relatime,ro", NFS, True),
        ("rw,relatime,vers=4.2", NFS, False),
        ("ro,relatime,vers=4.2", {**NFS, "options": "ro"}, False),
    ],
)
def test_a_volume_that_is_mounted_read_only_by_now(result: str, volume: dict[str, Any], refused: bool) -> None:
    mounted: dict[Key, State] = {Key("mount", "/vfroot/vol1"): Mount("10.20.30.50:/export/vol1", "nfs4", result)}
    plan = plan_of(PAGE, table(volume), node(states=mounted))
    (step,) = [item for item in plan.steps if item.step.id == "storage.vol1.mount"]
    assert ("mounted read-only" in str(step.verdict)) is refused
    assert isinstance(step.verdict, Blocked) is refused


def test_existing_must_be_mounted() -> None:
    assert "nothing is mounted at /vfroot/v" in blocked(node(), {"name": "v", "type": "existing"})


def test_the_content_of_a_share_is_unknown_before_it_is_mounted() -> None:
    wanted = {**NFS, "owner": "set", "version_file": "if-empty"}
    plan = plan_of(PAGE, {"volumes": [wanted]}, node())
    verdicts = {item.step.id: item.verdict for item in plan.steps}
    for id in ("storage.vol1.owner", "storage.vol1.version"):
        verdict = verdicts[id]
        assert isinstance(verdict, Pending)
        assert verdict.known_after == "storage.vol1.mount"


def test_no_guard_where_the_root_disk_cannot_give_one(tmp_path: Path) -> None:
    machine = node(states={Key("mount", "/"): Mount("rpool/ROOT/ubuntu", "zfs", "rw")})
    plan = plan_of(PAGE, table(NFS), machine)
    assert "no write guard: /vfroot/vol1 is on zfs" in shown(plan)
    _run, result = run(machine, plan, tmp_path)
    assert result.code() == 0, "a file system that is as it is is no failure"
    assert not machine.immutable("/vfroot/vol1")
    assert plan_of(PAGE, table(NFS), machine).is_empty()


def test_a_guard_lost_below_a_mounted_volume_is_seen_and_set_again(tmp_path: Path) -> None:
    machine = node()
    assert run(machine, plan_of(PAGE, table(NFS), machine), tmp_path)[1].code() == 0
    machine.set_state(Key("immutable", "/vfroot/vol1"), None)
    # What the plan does not read is the volume itself: the mount hides these files of the server.
    machine.set_state(Key("file", "/vfroot/vol1/data"), Entry("file", 1100, 1100, 0o644, b""))
    finding = drift(machine)
    assert finding.result == "warning"
    assert "/vfroot/vol1" in str(finding.evidence)
    # A finding about the volume itself does not explain it.
    where = Evidence("/vfroot/vol1", "mount points", "", "")
    other = replace(finding, id="storage.same-source", evidence=(where,), remedy=())
    assert without_covered([other, finding], machine)[1].result == "warning"
    plan = assert_cycle(PAGE, table(NFS), machine, tmp_path)
    assert [item.step.id for item in plan.pending()] == ["storage.vol1.guard"]
    assert plan_of(PAGE, table({**NFS, "guard": False}), machine).is_empty()


def test_an_unreadable_guard_below_a_volume_is_not_a_difference(tmp_path: Path) -> None:
    machine = node(unknown={"immutable:/vfroot/vol1": "the kernel does not show it"})
    machine.set_state(Key("mount", "/vfroot/vol1"), Mount("10.20.30.50:/export/vol1", "nfs4", "rw,vers=4.2"))
    assert run(machine, plan_of(PAGE, table(NFS), machine), tmp_path)[1].code() == 0
    plan = plan_of(PAGE, table(NFS), machine)
    assert plan.is_empty()
    assert "the write guard below it cannot be checked: the kernel does not show it" in shown(plan)
    assert drift(machine).result == "ok"


def drift(machine: SimulatedMachine) -> Finding:
    """What the doctor says of these answers."""
    settings = {"storage": settings_from(PAGE.settings, table(NFS))}
    desired = DesiredState(settings, ("storage",), Context(host=machine.host, demo=True))
    (check,) = [each for each in drift_checks(desired) if each.page == "storage"]
    finding = check.run(machine, desired.context)
    assert isinstance(finding, Finding)
    return finding


def test_a_volume_that_the_answers_do_not_name_any_more_stays_and_is_reported(tmp_path: Path) -> None:
    machine = node()
    other = {"name": "vol2", "type": "nfs", "source": "10.20.30.50:/export/vol2"}
    assert run(machine, plan_of(PAGE, table(NFS, other), machine), tmp_path)[1].code() == 0
    plan = plan_of(PAGE, table(NFS), machine)
    assert plan.is_empty()
    assert "/vfroot/vol2 is in the wizard's block of /etc/fstab but not in the settings" in shown(plan)
    assert machine.mount("/vfroot/vol2") is not None
    assert "wizard's block" not in shown(plan_of(PAGE, table(NFS, other), machine))


def test_automount_starts_the_automount_point_first(tmp_path: Path) -> None:
    plan = plan_of(PAGE, table({**NFS, "automount": True}), node())
    text = shown(plan)
    assert "x-systemd.automount" in text
    assert text.index("unit vfroot-vol1.automount") < text.index("+ mount /vfroot/vol1")


def test_a_mount_that_fails_leaves_fstab_as_it_was_and_gives_4(tmp_path: Path) -> None:
    machine = node()
    fstab = machine.entry("/etc/fstab")

    def fault(operation: Operation, moment: str) -> None:
        if isinstance(operation, SetMount) and operation.mounted and moment == "before":
            raise StepFailed("mount /vfroot/vol1: Connection timed out")

    machine.fault = fault
    _run, result = run(machine, plan_of(PAGE, table(NFS), machine), tmp_path)
    assert result.code() == 4
    assert machine.entry("/etc/fstab") == fstab
    assert "the step's changes were rolled back" in str(result)


LOOKED = {"uid": 1100, "gid": 1100, "mode": 0o755, "device": 7, "parent": 1, "owners": [], "free": 1}


def reported(*arguments: str, **answer: object) -> dict[tuple[str, ...], Completed]:
    """What a child says of /vfroot/vol1."""
    program = (sys.executable, "-I", "-S", volume_probes.__file__, arguments[0], "/vfroot/vol1", *arguments[1:])
    return {program: Completed(0, json.dumps(answer), "")}


def test_the_mount_point_must_be_on_another_device(tmp_path: Path) -> None:
    """The list of mounts names a mount although another one, at a directory above, covers it."""
    looks = reported("look", **{**LOOKED, "device": 1}) | reported("write", "1100", "1100", uid=1100, gid=1100)
    machine = node(looks=looks)
    fstab = machine.entry("/etc/fstab")
    volume = {**NFS, "owner": "check"}
    _run, result = run(machine, plan_of(PAGE, table(volume), machine), tmp_path)
    assert result.code() == 4
    assert "another mount covers it" in str(result)
    assert machine.entry("/etc/fstab") == fstab


@pytest.mark.parametrize(
    "owner,uid,tried_by",
    [("set", 1100, "mount"), ("set", 0, "owner"), ("check", 1100, "mount"), ("check", 0, "mount")],
)
def test_writing_is_tested_after_the_owner_is_set(tmp_path: Path, owner: str, uid: int, tried_by: str) -> None:
    """With owner = "set" that is after the mount: by the mount itself only where it is the account's already."""
    refused = reported("write", "1100", "1100", errno=30, text="Read-only file system")
    machine = node(looks=refused | reported("look", **{**LOOKED, "uid": uid}))

    def mounts(operation: Operation, moment: str) -> None:
        if isinstance(operation, SetMount) and operation.mounted and moment == "after":
            machine.set_state(Key("file", "/vfroot/vol1"), Entry("directory", uid, uid, 0o755))

    machine.fault = mounts
    _run, result = run(machine, plan_of(PAGE, table({**NFS, "owner": owner}), machine), tmp_path)
    assert result.code() == 4
    (failed,) = [step for step in result.steps if step.outcome == "failed"]
    assert failed.step == f"storage.vol1.{tried_by}"
    assert "the mount is read-only" in failed.text


def test_owner_and_layout_are_checked_once_it_is_mounted(tmp_path: Path) -> None:
    looks = reported("look", **LOOKED) | reported("write", "1100", "1100", uid=1100, gid=1100)
    machine = node(looks=looks)
    plan = plan_of(PAGE, {"volumes": [NFS]}, machine)
    for item in plan.steps[-2:]:
        assert getattr(item.verdict, "known_after", "") == "storage.vol1.mount", shown(plan)
    _run, result = run(machine, plan, tmp_path)
    texts = {one.step: one.text for one in result.steps if one.outcome == "unchanged"}
    assert "is owned by 0:0, not by bai" in texts["storage.vol1.check"]
    assert "is empty and has no version.txt" in texts["storage.vol1.version"]
    assert plan_of(PAGE, {"volumes": [NFS]}, machine).is_empty()


def test_other_options_of_a_mounted_volume_wait_for_the_next_mount() -> None:
    line = "10.20.30.50:/export/vol1 /vfroot/vol1 nfs hard,_netdev,nofail,x-systemd.mount-timeout=30 0 0"
    mounted: dict[Key, State] = {
        Key("mount", "/vfroot/vol1"): Mount("10.20.30.50:/export/vol1", "nfs4", "rw,vers=4.2"),
        Key("file", "/vfroot/vol1"): Entry("directory", 1100, 1100, 0o755),
    }
    machine = node(fstab=f"# BEGIN bai-wizard\n{line}\n# END bai-wizard\n", states=mounted)
    text = shown(plan_of(PAGE, table({**NFS, "options": "nconnect=8"}), machine))
    assert "keeps its options until it is remounted" in text
    assert "keeps its options" not in shown(plan_of(PAGE, table(NFS), node()))


def test_volumes_are_checked_side_by_side() -> None:
    """One server that is gone takes all its shares along: they cost one deadline together."""
    machine = node()
    both = threading.Barrier(2)

    def slow(path: str) -> Space:
        both.wait(PATIENCE)
        raise StateUnknown("no answer within 3 s")

    machine.space = slow  # type: ignore[method-assign]
    other = {**NFS, "name": "vol2", "source": "10.20.30.50:/export/vol2"}
    settings = settings_from(PAGE.settings, table(NFS, other))
    facts = PAGE.probe(machine, settings, Context())
    assert [volume.name for volume in facts.volumes] == ["vol1", "vol2"]
    assert all(isinstance(volume.free, Unknown) for volume in facts.volumes)


def test_findmnt_judges_our_lines_only_where_the_others_are_sound() -> None:
    looks = {("findmnt", "--verify"): Completed(0, "", "")}
    for machine, wanted in ((node(), ""), (node(looks=looks), "findmnt")):
        plan = plan_of(PAGE, table(NFS), machine)
        (mount,) = [item.step for item in plan.steps if item.step.id.endswith(".mount")]
        assert getattr(mount, "validator", None) == wanted


def test_the_container_of_an_existing_agent_is_tried_too() -> None:
    agent = Entry("file", 1100, 1100, 0o600, b"[container]\nkernel-uid = 1500\nkernel-gid = 1600\n")
    machine = node(states={Key("file", "/home/bai/agent/agent.toml"): agent})
    volume = {**NFS, "owner": "check"}
    plan = plan_of(PAGE, {"volumes": [volume]}, machine)
    (mount,) = [item.step for item in plan.steps if item.step.id.endswith(".mount")]
    assert getattr(mount, "written_as", None) == ("bai", "1500:1600")
    demo = plan_of(PAGE, {"volumes": [volume]}, machine, replace(Context(host="gpu01"), demo=True))
    (mount,) = [item.step for item in demo.steps if item.step.id.endswith(".mount")]
    assert getattr(mount, "written_as", None) == ()


@pytest.mark.parametrize("name,text", [("vendor", "vers=3,nconnect=8"), ("options", "vers=4.1")])
def test_a_vendors_options_stand_in_the_plan_in_full(name: str, text: str) -> None:
    volume = {**NFS, name: "vast" if name == "vendor" else text}
    assert f"x-systemd.mount-timeout=30,{text} 0 0" in shown(plan_of(PAGE, table(volume), node()))


def test_a_servers_name_that_no_one_knows_is_refused_unless_the_same_plan_brings_it() -> None:
    volume = {**NFS, "source": "filer:/export"}
    assert "cannot resolve filer" in blocked(node(), volume)
    settings = settings_from(PAGE.settings, table(volume))
    machine = node()
    facts = PAGE.probe(machine, settings, Context())
    machine.set_state(Key("file", "/etc/hosts"), Entry("file", 0, 0, 0o644, b"10.1.1.1 filer\n"))
    assert PAGE.predict(facts, machine).volume("vol1").unknown_hosts == ()


@pytest.mark.parametrize(
    "kind,source,hosts",
    [
        ("nfs", "[fd00::1]:/e", ("fd00::1",)),
        ("nfs", "filer:/e:/f", ("filer",)),
        ("cephfs", "mon1,mon2:3300:/", ("mon1", "mon2")),
        ("cephfs", "[fd00::2]:6789,10.0.0.1:/v", ("fd00::2", "10.0.0.1")),
        ("cephfs", "bai@.fs=/", ()),
        ("lustre", "10.0.0.6@tcp:/scratch", ()),
    ],
)
def test_the_servers_of_a_source(kind: str, source: str, hosts: tuple[str, ...]) -> None:
    from types import SimpleNamespace

    assert hosts_of(SimpleNamespace(type=kind, source=source)) == hosts


@pytest.mark.parametrize(
    "kind,why,advice",
    [
        ("top", "no answer within 5 s", "Check its server first"),
        ("free", "no answer within 3 s", "Check its server first"),
        ("top", "/vfroot/vol1: stale file handle", "`umount -l /vfroot/vol1`, and try again"),
    ],
)
def test_a_share_that_does_not_answer_blocks_and_is_not_touched_again(kind: str, why: str, advice: str) -> None:
    line = "10.20.30.50:/export/vol1 /vfroot/vol1 nfs hard,_netdev,nofail,x-systemd.mount-timeout=30 0 0"
    machine = node(
        fstab=f"# BEGIN bai-wizard\n{line}\n# END bai-wizard\n",
        states={
            Key("mount", "/vfroot/vol1"): Mount("10.20.30.50:/export/vol1", "nfs4", "rw,vers=4.2"),
            Key("file", "/vfroot/vol1"): Entry("directory", 1100, 1100, 0o755),
            Key("immutable", "/vfroot/vol1"): Flag(),
        },
        unknown={"file:/vfroot/vol1": why} if kind == "top" else {},
    )
    if kind == "free":
        machine.space = lambda path: (_ for _ in ()).throw(StateUnknown(why))  # type: ignore[method-assign]
    volume = {**NFS, "owner": "set", "version_file": "if-empty"}
    plan = plan_of(PAGE, {"volumes": [volume]}, machine)
    (reason,) = [item.verdict.reason for item in plan.steps if isinstance(item.verdict, Blocked)]
    assert f"does not respond ({why})" in reason
    assert advice in reason
    assert not plan.pending()


@pytest.mark.parametrize(
    ("volume", "states"),
    [
        ({"name": "a", "type": "xfs", "device": "/dev/vda1"}, {}),
        ({"name": "a", "type": "fstab", "line": "/dev/vda1 /vfroot/a xfs rw 0 0", "owner": "set"}, {}),
        (
            {"name": "a", "type": "xfs", "device": "UUID=6fd2"},
            {Key("file", "/dev/disk/by-uuid/6fd2"): Entry("link", 0, 0, 0o777, target="../../vda1")},
        ),
    ],
)
def test_the_root_file_system_is_not_a_volume(volume: dict[str, Any], states: dict[Key, State]) -> None:
    """Its top directory would be `/`, seen from elsewhere, and given to the account."""
    machine = node(states={Key("mount", "/"): Mount("/dev/vda1", "xfs", "rw"), **states})
    plan = plan_of(PAGE, {"volumes": [{"version_file": "no", **volume}]}, machine)
    verdict = next(item.verdict for item in plan.steps if item.step.id == "storage.a.mount")
    assert isinstance(verdict, Blocked), verdict
    assert "own file system, mounted at /" in verdict.reason


def test_a_bind_mount_of_a_link_to_the_system_is_not_a_volume() -> None:
    machine = node(states={Key("file", "/mnt/x"): Entry("link", 0, 0, 0o777, target="/etc")})
    plan = plan_of(PAGE, {"volumes": [{"name": "a", "type": "bind", "source": "/mnt/x", "owner": "set"}]}, machine)
    verdict = next(item.verdict for item in plan.steps if item.step.id == "storage.a.mount")
    assert isinstance(verdict, Blocked), verdict
    assert "leads to /etc" in verdict.reason


@pytest.mark.parametrize(
    ("states", "reason"),
    [
        ({Key("file", "/data/a"): Entry("directory", 0, 0, 0o755)}, "is in use"),
        ({Key("file", "/data/a"): Entry("directory", 1300, 1300, 0o755)}, "is in use"),
        ({Key("user", "eve"): Account("eve", 1300, 1300, "", "/data/a", "/bin/sh")}, "home of 'eve'"),
        (
            {
                Key("user", "eve"): Account("eve", 1300, 1300, "", "/home/eve", "/bin/sh"),
                Key("file", "/home/eve"): Entry("link", 0, 0, 0o777, target="/data/a"),
            },
            "home of 'eve'",
        ),
        (
            {
                Key("user", "eve"): Account("eve", 1300, 1300, "", "/home/eve", "/bin/sh"),
                Key("mount", "/data"): Mount("/dev/sdb1", "ext4"),
                Key("mount", "/home/eve"): Mount("/dev/sdb1[/a]", "ext4"),
            },
            "home of 'eve'",
        ),
    ],
)
def test_a_bind_volume_gives_away_nothing_of_others(states: dict[Key, State], reason: str) -> None:
    machine = node(states={Key("file", "/data/a/x"): Entry("file", 0, 0, 0o644, b""), **states})
    plan = plan_of(PAGE, {"volumes": [{"name": "a", "type": "bind", "source": "/data/a", "owner": "set"}]}, machine)
    verdict = next(item.verdict for item in plan.steps if item.step.id == "storage.a.mount")
    assert isinstance(verdict, Blocked), shown(plan)
    assert reason in verdict.reason


def mount_verdict(volume: dict[str, Any], states: dict[Key, State]) -> object:
    machine = node(states={Key("mount", "/data"): Mount("/dev/sdb1", "ext4", "rw"), **states})
    plan = plan_of(PAGE, {"volumes": [{"name": "a", "type": "bind", "source": "/data/a", **volume}]}, machine)
    return next(item.verdict for item in plan.steps if item.step.id == "storage.a.mount")


def directory(mode: int, uid: int = 0, gid: int = 0) -> Entry:
    return Entry("directory", uid, gid, mode)


@pytest.mark.parametrize(
    ("source", "advice"),
    [
        (directory(0o700), "chown 1100:1100 /data/a"),
        (directory(0o755), "chown 1100:1100 /data/a"),
        (directory(0o707, gid=1100), "chown 1100:1100 /data/a"),
        (directory(0o500, 1100, 1100), "chmod u+rwx /data/a"),
        (directory(0o077, 1100, 1100), "chmod u+rwx /data/a"),
        (directory(0o1777), ""),
        (directory(0o700, 1100, 1100), ""),
        (directory(0o770, gid=1100), ""),
        (directory(0o770), ""),  # the group bits may be the mask of an access control list that names the account
    ],
)
def test_a_source_that_the_account_cannot_write_to_is_refused_before_anything_is_done(
    source: Entry, advice: str
) -> None:
    verdict = mount_verdict({"owner": "check"}, {Key("file", "/data/a"): source})
    if not advice:
        assert isinstance(verdict, Pending), verdict
        return
    assert isinstance(verdict, Blocked), verdict
    assert f"Run `{advice}`" in verdict.reason
    assert "squash" not in verdict.reason
    assert "export" not in verdict.reason


def test_only_directories_whose_mode_decides_are_refused() -> None:
    """Not where the owner is set next, where writing is not asked for, or where a server decides."""
    closed: dict[Key, State] = {Key("file", "/data/a"): directory(0o700)}
    assert isinstance(mount_verdict({"owner": "set"}, closed), Pending)
    assert isinstance(mount_verdict({"owner": "keep"}, closed), Pending)
    assert isinstance(mount_verdict({"options": "ro"}, closed), Pending)
    share: dict[Key, State] = {Key("mount", "/data"): Mount("10.0.0.1:/x", "nfs4", "rw")}
    assert isinstance(mount_verdict({}, {**closed, **share}), Pending)
    link: dict[Key, State] = {
        Key("file", "/data/a"): Entry("link", 0, 0, 0o777, target="/data/b"),
        Key("file", "/data/b"): directory(0o700),
    }
    assert isinstance(mount_verdict({}, link), Blocked)


def test_a_read_only_file_system_and_a_closed_way_to_the_volume_are_refused() -> None:
    open_source: dict[Key, State] = {Key("file", "/data/a"): directory(0o1777)}
    read_only: dict[Key, State] = {Key("mount", "/data"): Mount("/dev/sdb1", "ext4", "ro,relatime")}
    verdict = mount_verdict({}, {**open_source, **read_only})
    assert isinstance(verdict, Blocked)
    assert "mounted read-only" in verdict.reason
    verdict = mount_verdict({}, {**open_source, Key("file", "/vfroot"): directory(0o700)})
    assert isinstance(verdict, Blocked)
    assert "chmod a+x /vfroot" in verdict.reason


@pytest.mark.parametrize(("mode", "refused"), [("0755", True), ("0500", True), ("0777", False), ("1777", False)])
def test_a_mode_that_keeps_containers_from_writing_is_refused_before_it_is_set(mode: str, refused: bool) -> None:
    agent = Entry("file", 0, 0, 0o644, b"[container]\nkernel-uid = 1500\nkernel-gid = 1500\n")
    machine = node(
        states={
            Key("file", "/etc/backend.ai/agent.toml"): agent,
            Key("file", "/data/a"): directory(0o700),
        }
    )
    volume = {"name": "a", "type": "bind", "source": "/data/a", "owner": "set", "mode": mode}
    plan = plan_of(PAGE, {"volumes": [volume]}, machine)
    verdict = next(item.verdict for item in plan.steps if item.step.id == "storage.a.owner")
    assert isinstance(verdict, Blocked) == refused, shown(plan)


def test_the_clients_of_all_volumes_are_installed() -> None:
    ceph = {"name": "vol2", "type": "cephfs", "source": "10.20.30.51:/vol2", "user": "bai", "secret_file": "/etc/c"}
    machine = node(helpers=set(), offers={"nfs-common": Offer("1:2.6.4"), "ceph-common": Offer("19.2")})
    text = shown(plan_of(PAGE, table(NFS, ceph), machine))
    assert "package nfs-common" in text
    assert "package ceph-common" in text
