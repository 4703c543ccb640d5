"""A node for all eight pages at once: its answers, and the state that undo has to restore."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.node import pbs_mirror
from tests.node.api import Completed, Node
from tests.node.container import ContainerNode
from tests.node.docker_answers import done, gateway
from tests.node.excluded import EXCLUDED
from tests.node.pythons import CATALOGUE, MIRROR, newest
from tests.node.registry import make_authority, make_image, running_registry, save_archive
from tests.node.snapshot import DEFAULT_PATHS, Snapshot, difference

HEADLESS = ("--headless", "/root/answers.toml")
PLAN = (*HEADLESS, "--plan", "--detailed-exitcode")
RUNS = "/var/lib/bai-wizard/runs"
ARCHIVE = "cr.backend.ai/stable/tool:1"
# Includes caches below a home: files left there by our own children are ours to remove.
COMPARED = (*DEFAULT_PATHS, "/boot", "/mnt", "/media")
NOT_COMPARED = tuple(pattern for pattern in EXCLUDED if pattern != "*/.cache")
ANSWERS = """
version = 1
[node]
roles = ["compute"]
backend_ai = "26.4"
[network]
ca_certificates = ["/root/authority.crt"]
[account]
username = "bai"
sudo = "nopasswd"
password_hash = "$6$saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/"
authorized_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6eH3Hh4mQw0JX2bG5o0h3u7Yk1Zk3bq9o6m1mYyqSg ops@example"]
[docker]
source = "distro"
insecure_registries = {insecure}
registry_mirrors = ["{scheme}://{registry}"]
registry_ca = {{ "{trusted}" = "/root/authority.crt" }}
[tuning]
services = {{ docker = {{ nofile = 1048576 }}, ssh = {{ nofile = 65536 }} }}
[python]
version = "{python}"
mirror = "file://{mirror}"
venvs = [ {{ service = "agent" }}, {{ service = "storage-proxy" }} ]
[aliases]
own_name = "keep"
hosts = [
  {{ ip = "10.20.30.10", names = ["bai-m1"], comment = "management node 01", virtual = true }},
  {{ ip = "10.20.30.20", names = ["bai-a01"], comment = "agent node 01", virtual = true }},
]
[storage]
volumes = [
  {{ name = "local", type = "local" }},
  {{ name = "bound", type = "bind", source = "/srv/vendor/vol", owner = "set", version_file = "if-empty" }},
]
[accelerators]
[images]
starter = "none"
pull = ["{image}"]
archives = [ {{ file = "/srv/tool.tar", sha256 = "{archive}" }} ]
"""


@contextmanager
def prepared(node: ContainerNode, *, tls: bool = False) -> Iterator[None]:
    """Prepare a node with everything that the answers name; the registry runs here until the block ends.

    Without `tls`, the doctor warns of it, and of another one that does not exist.
    """
    node.own_hosts_file()
    with TemporaryDirectory() as name, ExitStack() as stack:
        directory = Path(name)
        authority, *pair = make_authority(directory, [gateway(node) if tls else "harbor.example"])
        own = (pair[0], pair[1]) if tls else None
        registry = stack.enter_context(running_registry(directory, gateway(node), tls=own))
        image = registry.push("stable/tool", "1", make_image([200_000] * 3))
        save_archive(directory / "tool.tar", ARCHIVE, make_image([3000], seed=5))
        archive = (directory / "tool.tar").read_bytes()
        build = newest()
        # Not `install -o 1100`: that of uutils takes only names of existing users.
        node.run(["mkdir", "-p", "/srv/vendor/vol"], check=True)
        node.run(["chown", "1100:1100", "/srv/vendor/vol"], check=True)
        node.write("/srv/tool.tar", archive)
        node.write("/root/authority.crt", authority.read_bytes())
        node.write(f"{MIRROR}/{pbs_mirror.DATE}/{build.file.name}", build.file.read_bytes())
        node.write(CATALOGUE, pbs_mirror.catalogue(build))
        text = ANSWERS.format(
            registry=registry.host,
            scheme=registry.scheme,
            insecure=json.dumps([] if tls else [registry.host]),
            trusted=registry.host if tls else "harbor.example:5443",
            python=build.version,
            mirror=MIRROR,
            image=image,
            archive=sha256(archive).hexdigest(),
        )
        node.write("/root/answers.toml", text, 0o600)
        yield


def converged(node: Node) -> None:
    """Assert that the plan is empty and that dpkg has nothing unfinished."""
    done(node.wizard(*PLAN))
    assert node.run(["dpkg", "--audit"]).out == ""


def runs_of(node: Node) -> list[dict[str, Any]]:
    """Return the runs listed by `bai-wizard runs --json`, oldest first."""
    return [json.loads(line) for line in done(node.wizard("runs", "--json")).splitlines() if line.startswith("{")]


def undo_all(node: Node, *flags: str) -> list[Completed]:
    """Undo every run that applied something, newest first; each undo has to exit with 0."""
    undone = []
    for run in reversed(runs_of(node)):
        if run.get("kind") == "apply" and run.get("state") != "undone":
            completed = node.wizard("undo", run["run"], *flags)
            done(completed)
            undone.append(completed)
    assert undone, "there was nothing to undo"
    return undone


# Runs inside the node. Volatile are counters, and names of interfaces and mounts that come and go with containers.
SCRIPT = r"""
import fcntl, json, os, re, struct, subprocess, sys
COMES_AND_GOES = re.compile(
    r"bai-wizard|user|session|run-|systemd-(tmpfiles|journal|hostn|timed|local)|apt-|dpkg|snapd|cloud-"
)
OF_THE_BOOT = re.compile(r"_count$|\.mtu$|base_reachable|fastopen_key$|inet_peer_threshold$|\.veth")
GET_FLAGS, IMMUTABLE = 0x80086601, 0x10
def immutable(path):
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return struct.unpack("l", fcntl.ioctl(descriptor, GET_FLAGS, bytes(8)))[0] & IMMUTABLE
    except OSError:
        return 0
    finally:
        os.close(descriptor)
def lines(*argv):
    done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return done.stdout.splitlines()
state = {}
def put(kind, name, value):
    state[f"{kind} {name}"] = value
for line in lines("sysctl", "-a"):
    name, _, value = line.partition(" = ")
    if name.startswith("net.") and not OF_THE_BOOT.search(name):
        put("sysctl", name, " ".join(value.split()))
for line in lines("systemctl", "list-unit-files", "--no-legend", "--no-pager"):
    words = line.split()
    if words[1] not in ("transient", "generated"):
        put("unit", words[0], words[1])
for line in lines("systemctl", "list-units", "--all", "--no-legend", "--plain", "--type=service,socket"):
    name, _, _, sub, *_ = line.split()
    # Not those that ended: whether they ran depends on the boot.
    if sub in ("running", "listening") and not COMES_AND_GOES.match(name):
        put("active", name, sub)
for kind in ("passwd", "group"):
    for line in lines("getent", kind):
        put(kind, line.partition(":")[0], line)
for line in lines("findmnt", "--raw", "--noheadings", "--output", "TARGET,SOURCE,FSTYPE,OPTIONS"):
    target, _, rest = line.partition(" ")
    # Of a tmpfs these depend on the memory that the kernel finds at boot.
    put("mount", target, re.sub(r",(size|nr_inodes)=[^ ,]*", "", rest))
for top in ("/vfroot", "/srv", "/mnt", "/media"):
    for path, _, _ in os.walk(top):
        if immutable(path):
            put("immutable", path, "yes")
for package in lines("dpkg-query", "--show", "--showformat", "${db:Status-Abbrev} ${Package}\n"):
    if package.startswith("ii"):
        put("package", package.split()[1], "installed")
for package in lines("apt-mark", "showhold"):
    put("hold", package, "yes")
if os.path.exists("/usr/bin/docker"):
    for line in lines("docker", "images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"):
        put("image", line.partition(" ")[0], line)
json.dump(state, sys.stdout)
"""


@dataclass(frozen=True)
class NodeState:
    """Files of a node, and its kernel settings, units, accounts, mounts, packages and images."""

    files: Snapshot
    rest: dict[str, str]
    texts: dict[str, list[str]]


def state_of(node: Node) -> NodeState:
    """Return the current state, as far as undo restores it."""
    rest = json.loads(node.run(["/usr/bin/python3", "-I", "-"], input=SCRIPT, timeout=120, check=True).out)
    texts = {path: node.read(path).decode().splitlines() for path in ("/etc/group", "/etc/gshadow")}
    return NodeState(node.snapshot(COMPARED, NOT_COMPARED), rest, texts)


# Leftovers of installed packages: their files and units, their system groups,
# what they register with dpkg, apt, init and alternatives, and what a running Docker Engine sets up for itself.
REGISTERED = re.compile(
    r"/etc/(rc[0-6S]\.d/[SK]\d\d[\w.-]+|alternatives/.+|apparmor\.d/.+|systemd/system/[\w.-]+\.wants(/.+)?)$|"
    r"/var/lib/(dpkg|apt|ucf|update-rc\.d|iptables|ieee-data)(/.*)?$|/var/lib/systemd/.*$|/etc/docker(/key\.json)?$|/etc/cni(/net\.d)?$|/etc/networks$"
)
# The engine's group, without members, in /etc/group or /etc/gshadow.
GROUP = re.compile(r"docker:(x:\d{1,3}:|!::)")
ENGINE = re.compile(
    r"sysctl net\.(bridge\.|netfilter\.|nf_|ipv[46]\.(conf|neigh)\.(docker0|veth)|ipv4\.ip_forward$|"
    r"ipv[46]\.conf\.(all|default|eth0|lo)\.(mc_)?forwarding$)|mount /(run|var/lib)/docker"
)


def leftovers(before: NodeState, after: NodeState, packages: str) -> list[str]:
    """Return differences that undo should have reverted. `packages`: the paths that the new packages own."""
    owned = set(packages.splitlines())
    files = {
        path
        for path in before.files.keys() | after.files.keys()
        if before.files.get(path) != after.files.get(path)
        and not REGISTERED.match(path)
        and not (path in owned and path not in before.files)
    }
    for path, lines in before.texts.items():
        attributes = before.files[path]._replace(content="") == after.files[path]._replace(content="")
        if attributes and lines == [line for line in after.texts[path] if not GROUP.fullmatch(line)]:
            files.discard(path)
    changed = difference(
        {path: entry for path, entry in before.files.items() if path in files},
        {path: entry for path, entry in after.files.items() if path in files},
    )
    new_units = {path.rpartition("/")[2] for path in owned if "/systemd/system/" in path}
    for key in sorted(before.rest.keys() | after.rest.keys()):
        was, now = before.rest.get(key), after.rest.get(key)
        kind, _, name = key.partition(" ")
        brought = was is None and (
            kind == "package"
            or (
                kind in ("unit", "active")
                and (name in new_units or name.partition("@")[0] + "@.service" in new_units)
            )
            or (kind == "group" and name == "docker" and str(now).endswith(":"))
        )
        if was != now and not brought and not ENGINE.match(key):
            changed.append(f"{key}: {was} -> {now}")
    return changed


def assert_restored(before: NodeState, node: Node) -> None:
    """Assert that the node is as before, except for packages and their leftovers."""
    after = state_of(node)
    new = sorted(
        key.removeprefix("package ") for key in after.rest.keys() - before.rest.keys() if key.startswith("package ")
    )
    owned = node.run(["dpkg", "-L", *new], check=True).out if new else ""
    wrong = leftovers(before, after, owned)
    assert not wrong, "\n".join(["not as it was:", *wrong])
