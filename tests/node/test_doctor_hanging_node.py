"""A node on which everything hangs: the doctor ends in time and reports what it could not determine."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from bai_wizard.doctor.run import all_checks
from tests.node.conftest import NodeFactory
from tests.node.container import ContainerNode
from tests.node.nvidia_hardware import LIBRARIES, boot_without_nouveau, compiled, plug_in
from tests.node.reference_answers import prepare
from tests.node.silent_share import FUSE, mount_silent_shares

# An address of the range for documentation, which is never used.
NOBODY = "192.0.2.1"
SILENT_ENGINE = """
import os, socket
server = socket.socket(socket.AF_UNIX)
server.bind("/var/run/docker.sock")
server.listen(64)
os.write(1, b"ready\\n")
kept = []
while True:
    kept.append(server.accept())
"""
# The end of the cable is in the same node, and nothing listens there: packets go away and nothing comes back, not
# even a refusal.
BLACK_HOLE = f"""
ip link add hole0 type veth peer name hole1
ip link set hole0 up
ip link set hole1 up
ip addr add 192.0.2.2/24 dev hole0
ip neigh add {NOBODY} lladdr 02:00:00:00:00:01 dev hole0
"""
SHARE = f"{NOBODY}:/export/vol1 /vfroot/vol1 nfs hard,_netdev,nofail 0 0\n"
HUNG = "/vfroot/hung"
# The driver's library as it is when the driver sits in the kernel and does not come back.
SILENT_NVML = "#include <unistd.h>\nint nvmlInitWithFlags(unsigned flags) { for (;;) pause(); return flags; }\n"


@pytest.fixture
def unhealthy(node_factory: NodeFactory, tmp_path: Path) -> ContainerNode:
    """A prepared node; then a silent engine, driver and share, and name and file servers in a black hole."""
    if not FUSE.exists():
        pytest.skip(f"this machine has no {FUSE}")
    node = node_factory(devices=(str(FUSE),))
    prepare(node)
    assert node.wizard("--headless", "/root/answers.toml").rc == 0
    node.run(["sh", "-ec", BLACK_HOLE], check=True)
    node.write("/etc/resolv.conf", f"nameserver {NOBODY}\n")
    node.write("/root/silent.py", SILENT_ENGINE)
    node.run(["python3", "/root/silent.py"], detach=True, check=True)
    node.wait_for(lambda: node.exists("/var/run/docker.sock"), what="the silent engine")
    plug_in(node)
    boot_without_nouveau(node)
    node.run(["modprobe", "nvidia"], check=True)
    library = compiled(tmp_path, "libnvidia-ml.so.1", SILENT_NVML, is_library=True)
    node.write(f"{LIBRARIES}/libnvidia-ml.so.1", library, 0o755)
    node.run(["ldconfig"], check=True)
    node.write("/etc/fstab", SHARE)
    node.run(["mkdir", "-p", "/vfroot/vol1"], check=True)
    mount_silent_shares(node, (HUNG,))
    return node


def test_all_probes_hang_at_the_same_time(unhealthy: ContainerNode) -> None:
    begun = time.monotonic()
    done = unhealthy.wizard("doctor", "--json", timeout=300)
    taken = time.monotonic() - begun
    assert done.rc == 4, done.out + done.err
    results = [json.loads(line)["data"] for line in done.out.splitlines()]
    result = {each["id"]: each for each in results if "result" in each}
    # Each of the four is named; the root causes before everything else.
    assert [each["id"] for each in results[:2]] == ["node.dns-broken", "storage.nfs-hung"]
    assert result["storage.nfs-hung"]["result"] == "problem", result["storage.nfs-hung"]
    assert [each["what"] for each in result["storage.nfs-hung"]["evidence"]] == [HUNG]
    assert result["storage.nfs-server-unreachable"]["result"] == "problem", result["storage.nfs-server-unreachable"]
    silent = [each for each in result.values() if each["result"] == "cannot-tell"]
    assert len([each for each in silent if "Docker" in each["cause"]]) >= 3, "several checks ask the engine"
    assert [each["id"] for each in silent if "NVIDIA" in each["cause"]], "several checks ask the driver"
    # What has nothing to do with any of it is answered as ever.
    for id in ("account.home", "tuning.live", "tuning.sysctl-overridden", "aliases.block-damaged"):
        assert result[id]["result"] == "ok", result[id]
    # Nothing waits for one deadline after the other. A busy machine may take longer than the longest of them.
    one_after_the_other = sum(check.deadline for check in all_checks() if check.id in {each["id"] for each in silent})
    print(f"a sick node: {taken:.1f} s; one after the other {one_after_the_other:.0f} s")
    assert taken < one_after_the_other, f"{taken:.1f} s"
    left = unhealthy.run(["pgrep", "-af", "bai_wizard|getent"]).out
    assert "doctor" not in left, left
    assert "getent" not in left, left
