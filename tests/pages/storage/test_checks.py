"""The doctor's storage findings on a simulated node."""

from __future__ import annotations

import errno
import json
import sys
import threading
from typing import Any

import pytest

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.machine import Completed
from bai_wizard.core.page import Context, Finding
from bai_wizard.core.state import Entry, Key, Mount, State, Unit
from bai_wizard.node.simulated import Environment, SimulatedMachine
from bai_wizard.pages.node_state import tcp_probe_command
from bai_wizard.pages.storage import volume_probes
from bai_wizard.pages.storage.checks import CHECKS
from tests.pages.numbered import numbered
from tests.pages.storage.test_local import BAI
from tests.waiting import PATIENCE

SOURCE = "10.0.0.1:/e"
LINE = f"{SOURCE} /vfroot/vol1 nfs hard,_netdev,nofail 0 0"
BLOCK = f"# BEGIN bai-wizard\n{LINE}\n# END bai-wizard\n"
INFO = "36 25 0:31 / /vfroot/vol1 rw,relatime shared:1 - nfs4 10.0.0.1:/e rw,vers=4.2"
LOOK = {"uid": 1100, "gid": 1100, "mode": 0o755, "device": 7, "parent": 1, "owners": [1100], "free": 1}


SERVICE = Entry("file", 0, 0, 0o644, b"[Service]\nExecStart=/home/bai/bin/run.sh\n")


HIDDEN = (sys.executable, "-I", "-S", volume_probes.__file__, "hidden", "/vfroot/vol1")
TRIAL = (*HIDDEN[:4], "trial", "10.0.0.1", "/e", "", "4.2", "4.1", "4.0", "3")


def touching(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-I", "-S", volume_probes.__file__, *arguments)


def says(answer: object) -> Completed:
    return Completed(0, json.dumps(answer) + "\n", "")


def node(
    fstab: str = BLOCK, *, mounted: bool = True, mount: Mount | None = None, states: dict[Key, State] | None = None,
    looks: dict[tuple[str, ...], Completed] | None = None, more: str = "",
) -> SimulatedMachine:  # fmt: skip
    known: dict[Key, State] = {
        **BAI,
        Key("file", "/etc/fstab"): Entry("file", 0, 0, 0o644, fstab.encode()),
        Key("file", "/sbin/mount.nfs"): Entry("file", 0, 0, 0o755, b""),
        Key("file", "/vfroot/vol1"): Entry("directory", 1100, 1100, 0o755),
        **(states or {}),
    }
    if mounted:
        known[Key("mount", "/vfroot/vol1")] = mount or Mount(SOURCE, "nfs4", "rw,vers=4.2,hard,timeo=600")
    answers = {
        touching("look", "/vfroot/vol1"): says(LOOK),
        touching("may", "/vfroot/vol1", "1100", "1100"): says({"may": True}),
        touching("may", "/vfroot/vol1", "0", "0"): says({"may": False}),
        HIDDEN: says([]),
        ("findmnt", "--verify"): Completed(0, "", ""),
        tuple(tcp_probe_command(["10.0.0.1"], 2049)): Completed(0, "10.0.0.1 open\n", ""),
        **(looks or {}),
    }
    return SimulatedMachine(
        known, Environment(looks=answers, kernel={"/proc/self/mountinfo": f"{INFO if mounted else ''}\n{more}"})
    )


def look(machine: SimulatedMachine, id: str) -> Finding:
    (check,) = [check for check in CHECKS if check.id == id]
    finding = check.run(machine, Context(host="gpu01"))
    assert isinstance(finding, Finding)
    return finding


def test_a_healthy_share_gives_no_finding() -> None:
    machine = node(states={Key("file", "/vfroot/vol1/version.txt"): Entry("file", 1100, 1100, 0o644, b"3\n")})
    results = {check.id: look(machine, check.id).result for check in CHECKS}
    assert {id for id, result in results.items() if result not in ("ok", "not-applicable")} == set(), results


def test_a_node_without_storage_is_not_accused() -> None:
    machine = SimulatedMachine(BAI, Environment(kernel={"/proc/self/mountinfo": ""}))
    results = {check.id: look(machine, check.id).result for check in CHECKS}
    assert set(results.values()) <= {"ok", "not-applicable"}, results


def test_a_share_that_does_not_answer() -> None:
    machine = node()
    answers = {argv: answer for argv, answer in machine.environment.looks.items() if "look" not in argv}
    silent = SimulatedMachine(machine.snapshot(), Environment(looks=answers, kernel=machine.environment.kernel))
    assert look(silent, "storage.nfs-hung").result == "problem"


def problems() -> list[Any]:
    own = touching("look", "/vfroot/vol1")
    theirs = {**LOOK, "uid": 2000, "gid": 2000, "owners": [2000]}
    refused = {touching("may", "/vfroot/vol1", "1100", "1100"): says({"may": False})}
    agent = Entry("file", 1100, 1100, 0o600, b"[container]\nkernel-uid = 1500\nkernel-gid = 1500\n")
    return [
        (
            "storage.nfs-stale-handle",
            "problem",
            {"looks": {own: says({"errno": errno.ESTALE, "text": "Stale file handle"})}},
        ),
        ("storage.not-mounted", "problem", {"mounted": False}),
        (
            "storage.hidden-files",
            "warning",
            {"looks": {HIDDEN: says(["data"])}},
        ),
        ("storage.nfs-uid-mismatch", "problem", {"looks": {own: says(theirs), **refused}}),
        ("storage.nfs-root-squash", "warning", {"looks": {own: says(theirs)}}),
        ("storage.nfs-idmap-nobody", "problem", {"looks": {own: says({**LOOK, "owners": [65534]})}}),
        ("storage.uid-agreement", "warning", {"looks": {own: says(theirs)}}),
        ("storage.uid-agreement", "warning", {"states": {Key("file", "/home/bai/agent/agent.toml"): agent}}),
        (
            "storage.nfs-server-unreachable",
            "problem",
            {"looks": {tuple(tcp_probe_command(["10.0.0.1"], 2049)): Completed(0, "10.0.0.1 silent\n", "")}},
        ),
        ("storage.nfs-access-denied", "problem", {"mounted": False, "looks": {TRIAL: says({"4.2": errno.EACCES})}}),
        ("storage.nfs-version", "warning", {"mount": Mount(SOURCE, "nfs", "rw,vers=3")}),
        ("storage.nfs-statd", "problem", {
            "mount": Mount(SOURCE, "nfs", "rw,vers=3"),
            "states": {Key("unit", "rpc-statd.service"): Unit("static", "inactive")},
        }),
        ("storage.fstab-invalid", "problem", {"fstab": BLOCK + "srv:/x /vfroot/x\n"}),
        ("storage.fstab-invalid", "warning", {"fstab": BLOCK.replace("_netdev", "_nedtev")}),
        ("storage.fstab-invalid", "warning", {"fstab": BLOCK.replace("hard", "soft")}),
        ("storage.nfs-boot-hang", "problem", {"fstab": "srv:/x /data nfs defaults 0 0\n"}),
        ("storage.nfs-boot-hang", "problem", {"fstab": "srv:/x /data nfs nofail,bg 0 0\n"}),
        ("storage.volume-owner", "problem", {
            "states": {Key("file", "/vfroot/local/x"): Entry("file", 1100, 1100, 0o644)},
        }),
        ("storage.version-file", "warning", {"states": {Key("file", "/vfroot/vol1/x"): Entry("file", 0, 0, 0o644)}}),
        ("storage.options-stale", "warning", {"fstab": BLOCK.replace("hard", "hard,nconnect=8")}),
        ("storage.options-stale", "warning", {"fstab": BLOCK.replace("hard", "hard,timeo=50")}),
        ("storage.same-source", "warning", {"more": "99 25 0:31 / /mnt/old rw - nfs4 10.0.0.1:/e rw"}),
        ("storage.uid-agreement", "warning", {"states": {
            Key("file", "/home/bai/agent/agent.toml"): Entry("file", 0, 0, 0o600, b"[container]\nkernel-uid = -1\n"),
            Key("file", "/etc/systemd/system/backendai-agent.service"): SERVICE,
        }}),
        ("storage.uid-agreement", "warning", {"states": {
            Key("file", "/etc/systemd/system/backendai-storage-proxy.service"): SERVICE,
        }}),
        ("storage.same-source", "warning", {"fstab": BLOCK + f"{SOURCE} /vfroot/again nfs nofail 0 0\n"}),
    ]  # fmt: skip


@pytest.mark.parametrize("id,result,about", problems(), ids=numbered(id for id, *_ in problems()))
def test_each_problem_is_found_with_evidence_and_texts(id: str, result: str, about: dict[str, Any]) -> None:
    finding = look(node(**about), id)
    assert finding.result == result
    assert finding.evidence
    assert finding.cause
    assert finding.guidance
    assert look(node(), id).result != result or id == "storage.version-file"


def look_alikes() -> list[Any]:
    """(failure, a node that only looks as if)."""
    own = touching("look", "/vfroot/vol1")
    silent = {tuple(tcp_probe_command(["10.0.0.1"], 2049)): Completed(0, "10.0.0.1 silent\n", "")}
    return [
        ("storage.not-mounted", {"mounted": False, "fstab": BLOCK.replace("nofail", "nofail,noauto")}),
        ("storage.not-mounted", {"mount": Mount("systemd-1", "autofs")}),
        ("storage.nfs-hung", {"looks": {own: says({"errno": errno.ESTALE, "text": "Stale file handle"})}}),
        ("storage.nfs-stale-handle", {"looks": {own: says({"errno": errno.EACCES, "text": "Permission denied"})}}),
        ("storage.nfs-access-denied", {"mounted": False, "looks": {TRIAL: says({"4.2": 0})}}),
        # A container that may not mount: the trial says nothing about the server.
        ("storage.nfs-access-denied", {"mounted": False, "looks": {TRIAL: says({"4.2": errno.EPERM})}}),
        ("storage.nfs-server-unreachable", {"fstab": BLOCK.replace("hard", "hard,rdma"), "looks": silent}),
        (
            "storage.nfs-server-unreachable",
            {
                "fstab": BLOCK.replace("hard", "hard,port=20049"),
                "looks": {
                    **silent,
                    tuple(tcp_probe_command(["10.0.0.1"], 20049)): Completed(0, "10.0.0.1 open\n", ""),
                },
            },
        ),
        # The directory is another's, and its mode or an ACL lets the account write.
        ("storage.nfs-uid-mismatch", {"looks": {own: says({**LOOK, "uid": 2000, "gid": 2000, "owners": [2000]})}}),
        ("storage.nfs-boot-hang", {"fstab": "srv:/x /data nfs noauto 0 0\n"}),
        ("storage.nfs-boot-hang", {"fstab": "srv:/x /data nfs x-systemd.automount 0 0\n"}),
        ("storage.nfs-boot-hang", {"fstab": "# srv:/x /data nfs defaults 0 0\n/dev/vda1 / ext4 defaults 0 1\n"}),
        ("storage.fstab-invalid", {"fstab": f"fs1 /gpfs/fs1 gpfs rw,mtime,relatime,dev=fs1,noauto 0 0\n{BLOCK}"}),
        ("storage.fstab-invalid", {"fstab": f"fs1 /weka wekafs _netdev,num_cores=1,net=ib0,net=ib1 0 0\n{BLOCK}"}),
        ("storage.fstab-invalid", {"fstab": f"# a comment alone\n\nUUID=1-2\tnone\tswap sw\n{BLOCK}"}),
    ]


@pytest.mark.parametrize("id,about", look_alikes(), ids=numbered(id for id, _ in look_alikes()))
def test_similar_conditions_are_not_reported(id: str, about: dict[str, Any]) -> None:
    assert look(node(**about), id).result in ("ok", "not-applicable")


def test_the_missing_client_is_installed_by_the_remedy() -> None:
    machine = node()
    machine.set_state(Key("file", "/sbin/mount.nfs"), None)
    finding = look(machine, "storage.nfs-helper-missing")
    assert finding.result == "problem"
    assert [step.id for step in finding.remedy] == ["storage.lists", "storage.client"]


def test_the_boot_is_healed_without_touching_other_options() -> None:
    machine = node("srv:/x /data nfs rsize=8192,bg 0 0 \n# mine\n")
    finding = look(machine, "storage.nfs-boot-hang")
    (step,) = finding.remedy
    (written,) = list(step.operations(machine))
    machine.apply(written)
    text = machine.text("/etc/fstab")
    assert text == "srv:/x /data nfs rsize=8192,_netdev,nofail,x-systemd.mount-timeout=30 0 0 \n# mine\n"
    assert look(machine, "storage.nfs-boot-hang").result == "ok"


def test_the_fix_mounts_our_volume_only() -> None:
    (step,) = look(node(mounted=False), "storage.not-mounted").remedy
    assert step.id == "storage.vol1.mount"
    assert look(node(LINE + "\n", mounted=False), "storage.not-mounted").remedy == ()


def bound(shown: Mount) -> SimulatedMachine:
    """A vendor's share at /mnt/vendor, and a directory of it that a line of fstab shows under /vfroot."""
    line = "/mnt/vendor /vfroot/vol1 none bind,nofail,x-systemd.requires-mounts-for=/mnt/vendor 0 0"
    states: dict[Key, State] = {
        Key("mount", "/"): Mount("/dev/vda1", "ext4"),
        Key("mount", "/mnt/vendor"): Mount("10.0.0.9:/v", "nfs4"),
    }
    return node(f"# BEGIN bai-wizard\n{line}\n# END bai-wizard\n", mount=shown, states=states,
                more="30 25 0:44 / /mnt/vendor rw - nfs4 10.0.0.9:/v rw\n"
                     "31 25 0:44 / /vfroot/vol1 rw - nfs4 10.0.0.9:/v rw")  # fmt: skip


def test_a_directory_that_was_shown_before_its_file_system_came() -> None:
    """At boot the vendor's client was late: what is written to the volume goes to the root disk."""
    finding = look(bound(Mount("/dev/vda1[/mnt/vendor]", "ext4")), "storage.not-mounted")
    assert finding.result == "problem"
    assert finding.evidence[0].found == "shows /dev/vda1[/mnt/vendor]"
    assert finding.remedy == ()
    assert look(bound(Mount("10.0.0.9:/v", "nfs4")), "storage.not-mounted").result == "ok"


def test_a_directory_mounted_at_its_own_path_is_not_a_second_path() -> None:
    assert look(bound(Mount("10.0.0.9:/v", "nfs4")), "storage.same-source").result == "ok"


@pytest.mark.parametrize(
    "user,result",
    [("User=bai\n", "ok"), ("User=1100\nGroup=1100\n", "ok"), ("Group=1100\n", "warning"), ("", "warning")],
)
def test_containers_use_the_ids_of_the_agent_by_default(user: str, result: str) -> None:
    service = Entry("file", 0, 0, 0o644, f"[Service]\n{user}".encode())
    agent = Entry("file", 1100, 1100, 0o600, b"[container]\nkernel-uid = -1\nkernel-gid = -1\n")
    states: dict[Key, State] = {
        Key("file", "/etc/systemd/system/backendai-agent.service"): service,
        Key("file", "/home/bai/agent/agent.toml"): agent,
    }
    assert look(node(states=states), "storage.uid-agreement").result == result
    own = Entry("file", 1100, 1100, 0o600, b"[container]\nkernel-uid = 1100\nkernel-gid = 1100\n")
    states[Key("file", "/home/bai/agent/agent.toml")] = own
    assert look(node(states=states), "storage.uid-agreement").result == "ok"


def test_silent_shares_are_asked_side_by_side() -> None:
    """More of them than would fit into the check's time one after the other."""
    both = threading.Barrier(2)
    machine = node(BLOCK + "srv:/b /vfroot/b nfs4 nofail 0 0\n", states={
        Key("mount", "/vfroot/b"): Mount("srv:/b", "nfs4")})  # fmt: skip

    def silent(argv: object, *, deadline: float = 5.0) -> Completed:
        both.wait(PATIENCE)
        raise StateUnknown("no answer within 3 s")

    machine.query = silent  # type: ignore[method-assign]
    finding = look(machine, "storage.nfs-hung")
    assert [one.what for one in finding.evidence] == ["/vfroot/vol1", "/vfroot/b"]
