"""A node on which everything hangs at once: the doctor ends in time, and says of each what it could not tell."""

from __future__ import annotations

import json
import time

from tests.node.container import ContainerNode
from tests.node.spine import prepare

# An address of the range for documentation: nobody has it.
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
# Seconds. dns-broken may take eight for a name server that is silent; the rest is a loaded machine's.
LIMIT = 20.0


def make_sick(node: ContainerNode) -> None:
    """A silent engine, a name server and a file server in a black hole."""
    node.run(["sh", "-ec", BLACK_HOLE], check=True)
    node.write("/etc/resolv.conf", f"nameserver {NOBODY}\n")
    node.write("/root/silent.py", SILENT_ENGINE)
    node.run(["python3", "/root/silent.py"], detach=True, check=True)
    node.wait_for(lambda: node.exists("/var/run/docker.sock"), what="the silent engine")
    node.write("/etc/fstab", SHARE)
    node.run(["mkdir", "-p", "/vfroot/vol1"], check=True)


def test_everything_hangs_at_once(node: ContainerNode) -> None:
    prepare(node)
    assert node.wizard("--headless", "/root/answers.toml").rc == 0
    make_sick(node)
    begun = time.monotonic()
    done = node.wizard("doctor", "--json", timeout=120)
    taken = time.monotonic() - begun
    assert done.rc == 4, done.out + done.err
    found = [json.loads(line)["data"] for line in done.out.splitlines()]
    told = {each["id"]: each for each in found if "result" in each}
    assert told["dns-broken"]["result"] == "problem", told["dns-broken"]
    assert told["nfs-server-unreachable"]["result"] == "problem", told["nfs-server-unreachable"]
    engine = [id for id, each in told.items() if each["result"] == "cannot-tell" and "Docker" in each["cause"]]
    assert len(engine) >= 3, "several checks ask the engine"
    assert found[0]["id"] == "dns-broken", "the root cause comes first"
    # What has nothing to do with any of it is answered as ever.
    for id in ("account.home", "tuning.live", "sysctl-overridden", "hosts-block-damaged"):
        assert told[id]["result"] == "ok", told[id]
    print(f"a sick node: {taken:.1f} s")
    assert taken < LIMIT, f"{taken:.1f} s"
    left = node.run(["pgrep", "-af", "bai_wizard|getent"]).out
    assert "doctor" not in left, left
    assert "getent" not in left, left
