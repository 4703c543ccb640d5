"""Failures on a real node: how each is created, which findings it causes, and how it is removed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tests.node.api import Node
from tests.node.docker_answers import RUN_A_CONTAINER
from tests.node.doctor_output import bad_ids, examined, findings_of
from tests.node.reference_answers import TOUCHED

ANSWERS = ("--answers", "/root/answers.toml")
PATIENCE = 3
CONSENT = "--yes-interrupt=docker.restart,gpu.reload,umount"

# Restored after each failure; saved before the first one.
KEPT = ("/etc/docker/daemon.json", "/etc/hosts", "/etc/resolv.conf", "/etc/fstab")
KEEP = "mkdir -p /root/kept && cp -a " + " ".join(KEPT) + " /root/kept/"


def back(path: str) -> str:
    """Restore a file in place: some are bind mounts."""
    return f"cat /root/kept/{path.rpartition('/')[2]} >{path}"


RESTART = "systemctl reset-failed docker.service docker.socket; systemctl restart docker.service"
DOCKER_BACK = f"{back('/etc/docker/daemon.json')}; {RESTART}"


@dataclass(frozen=True)
class Fault:
    """One failure. `first`: what is told first where another finding says the same more plainly; `also`: what follows
    from it and is told behind it. `heals`: its fix is tried; `lasts`: undo makes the node sick again.
    """

    id: str
    plant: str
    mend: str
    first: str = ""
    also: tuple[str, ...] = ()
    heals: bool = False
    lasts: bool = True


DROP_INS = "/etc/systemd/system/docker.service.d"
OUR_LIMITS = f"{DROP_INS}/50-bai-wizard-limits.conf"
# A file that Docker reads is newer than the daemon.
PENDING = ("docker.restart-pending",)
SOURCES = """Types: deb
URIs: https://download.docker.com/linux/debian
Suites: trixie
Components: stable
Signed-By: /etc/apt/keyrings/docker.asc
"""
# Another process holds dpkg's lock, as a package manager does.
HOLD_LOCK = """import fcntl, os, signal
lock = open("/var/lib/dpkg/lock-frontend", "w")
fcntl.lockf(lock, fcntl.LOCK_EX)
open("/run/holds", "w").write(str(os.getpid()))
signal.pause()
"""
# A network share whose directory was replaced on its server: every access returns ESTALE.
STALE_SHARE = """import ctypes, os, struct
device = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={device},rootmode=40000,user_id=0,group_id=0".encode()
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b"srv:/vol", b"/vfroot/old", b"fuse.sshfs", 0, options):
    raise OSError(ctypes.get_errno(), "mount")
INIT, SILENT = 26, (2, 36, 42)
while True:
    request = os.read(device, 1 << 20)
    _, kind, number = struct.unpack("<IIQ", request[:16])
    if kind == INIT:
        body = struct.pack("<IIIIHHIIHHI28x", 7, 31, 4096, 0, 1, 1, 4096, 1, 0, 0, 0)
        os.write(device, struct.pack("<IiQ", 16 + len(body), 0, number) + body)
    elif kind not in SILENT:
        os.write(device, struct.pack("<IiQ", 16, -116, number))
"""
# A registry with a self-signed certificate.
REGISTRY = """import http.server, ssl
class Registry(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(401)
        self.end_headers()
server = http.server.HTTPServer(("127.0.0.1", 5443), Registry)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/root/tls.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""
# The hosts of the node's package sources.
SOURCE_HOSTS = (
    "cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | grep -v '^#' |"
    " grep -oE 'https?://[^/ ]+' | sed 's#.*//##; s#.*@##; s#:.*##' | sort -u"
)
BACKGROUND = "setsid nohup python3 {script} >/dev/null 2>&1 </dev/null &"


def in_background(name: str, text: str, until: str) -> str:
    """Start a program that keeps running, and wait until it runs."""
    script = f"/run/{name}.py"
    begin = BACKGROUND.format(script=script)
    wait = f"for i in $(seq 200); do {until} && break; sleep 0.05; done; {until}"
    return f"cat >{script} <<'PROGRAM'\n{text}PROGRAM\n{begin}\n{wait}"


def ends(name: str) -> str:
    """Stop it. The pattern does not match the shell that runs it."""
    running = f"-f '[/]run/{name}.py' >/dev/null"
    return f"pkill {running}; while pgrep {running}; do sleep 0.05; done"


ON_A_NODE: tuple[Fault, ...] = (
    Fault(
        "aliases.loopback-alias",
        # Docker has written the name already; this node's own block is to name it.
        "name=$(hostname); ip=$(hostname -I | cut -d' ' -f1); grep -v \"[[:space:]]$name$\" /root/kept/hosts |"
        ' sed "s/^##### END for/$ip $name\\n&/" >/etc/hosts; echo "127.0.1.1 $name" >>/etc/hosts',
        back("/etc/hosts"),
        heals=True,
    ),
    Fault(
        "storage.not-mounted",
        "mkdir -p /srv/vol9 /vfroot/vol9; printf '# BEGIN bai-wizard\\n/srv/vol9 /vfroot/vol9 none bind,nofail 0 0\\n"
        "# END bai-wizard\\n' >>/etc/fstab",
        f"{back('/etc/fstab')}; umount /vfroot/vol9 2>/dev/null; rmdir /vfroot/vol9 /srv/vol9",
        heals=True,
    ),
    Fault(
        "docker.daemon-json-syntax",
        "printf '{\\n \"debug\": true,\\n}\\n' >/etc/docker/daemon.json",
        DOCKER_BACK,
        also=(*PENDING, "docker.log-rotation"),
    ),
    Fault(
        "docker.flag-conflict",
        "python3 -c \"import json; p = '/etc/docker/daemon.json'; d = json.load(open(p)); d['hosts'] = ['fd://'];"
        " json.dump(d, open(p, 'w'))\"",
        DOCKER_BACK,
        also=PENDING,
    ),
    Fault("docker.restart-pending", "touch /etc/docker/daemon.json", RESTART, heals=True, lasts=False),
    Fault(
        "docker.conflict-packages",
        "mkdir -p /root/d/DEBIAN; printf 'Package: docker-ce\\nVersion: 5:28.0.0-1\\nArchitecture: all\\n"
        "Maintainer: x <x@example.test>\\nDescription: x\\n' >/root/d/DEBIAN/control;"
        " dpkg-deb --build /root/d /root/d.deb >/dev/null;"
        " dpkg --force-conflicts --install /root/d.deb >/dev/null 2>&1",
        "dpkg --purge docker-ce >/dev/null",
    ),
    Fault(
        "docker.snap",
        "mkdir -p /var/lib/snapd/snaps; touch /var/lib/snapd/snaps/docker_2915.snap",
        "rm -r /var/lib/snapd",
    ),
    Fault("docker.ip-forward", "sysctl -qw net.ipv4.ip_forward=0", "sysctl -qw net.ipv4.ip_forward=1", heals=True),
    Fault(
        "docker.bridge-overlap",
        "net=$(ip -4 -o route show dev docker0 | cut -d' ' -f1); ip route add ${net%.*.*}.77.0/24 dev eth0",
        "net=$(ip -4 -o route show dev docker0 | cut -d' ' -f1); ip route del ${net%.*.*}.77.0/24 dev eth0",
    ),
    Fault(
        "docker.ufw-bypass",
        f"{RUN_A_CONTAINER.replace('--name sleeper', '--name sleeper --publish 8080:80')} >/dev/null\n"
        "mkdir -p /etc/ufw; echo ENABLED=yes >/etc/ufw/ufw.conf",
        "docker rm --force sleeper >/dev/null; docker rmi sleeper >/dev/null; rm -r /etc/ufw /tmp/tree",
    ),
    Fault(
        "docker.api-too-old",
        "echo DOCKER_API_VERSION=1.12 >>/etc/environment",
        "sed -i /DOCKER_API_VERSION/d /etc/environment",
    ),
    # The daemon holds its own files open and needs none while it is asked.
    Fault("docker.disk-full", "mount -t tmpfs -o size=1g tmpfs /var/lib/docker", "umount /var/lib/docker"),
    Fault("docker.mtu-mismatch", "ip link set eth0 mtu 1400", "ip link set eth0 mtu 1500"),
    Fault("docker.iptables-chain", "iptables -t nat -F; iptables -t nat -X DOCKER", RESTART),
    Fault(
        "docker.users", "gpasswd --delete bai docker >/dev/null", "gpasswd --add bai docker >/dev/null", heals=True
    ),
    Fault(
        "tuning.limits-not-for-services",
        f"mv {OUR_LIMITS} /root/limits.conf; printf '[Service]\\nLimitNOFILE=1024\\n' >{DROP_INS}/10-site.conf;"
        f" systemctl daemon-reload; {RESTART}",
        f"rm {DROP_INS}/10-site.conf; mv /root/limits.conf {OUR_LIMITS}; systemctl daemon-reload; {RESTART}",
        heals=True,
    ),
    Fault(
        "docker.dns-loopback",
        f'for host in $({SOURCE_HOSTS}); do echo "127.0.0.1 $host" >>/etc/hosts; done;'
        " echo 'nameserver 127.0.0.9' >/etc/resolv.conf",
        f"{back('/etc/hosts')}; {back('/etc/resolv.conf')}",
    ),
    Fault(
        "node.dns-broken",
        "echo 'nameserver 127.0.0.9' >/etc/resolv.conf",
        back("/etc/resolv.conf"),
        also=("docker.dns-loopback",),
    ),
    Fault(
        "docker.apt-no-pubkey",
        f"printf '{SOURCES}' >/etc/apt/sources.list.d/docker.sources; mkdir -p /etc/apt/keyrings;"
        " echo '<html>404 Not Found</html>' >/etc/apt/keyrings/docker.asc",
        "rm /etc/apt/sources.list.d/docker.sources /etc/apt/keyrings/docker.asc",
        heals=True,
    ),
    Fault(
        "node.apt-lock-held",
        in_background("holds", HOLD_LOCK, "test -s /run/holds"),
        f"{ends('holds')}; rm /run/holds",
    ),
    Fault("node.boot-full", "mkdir -p /boot; mount -t tmpfs -o size=100m tmpfs /boot", "umount /boot"),
    Fault("node.reboot-pending", "touch /run/reboot-required", "rm /run/reboot-required"),
    Fault(
        "account.uid-taken", "useradd --non-unique --uid 1100 --gid users --no-create-home eve", "userdel --force eve"
    ),
    Fault(
        "account.user-other-uid", "usermod --uid 1200 bai", "usermod --uid 1100 bai", also=("storage.volume-owner",)
    ),
    Fault("aliases.duplicate", "echo '10.9.9.9 bai-a01' >>/etc/hosts", back("/etc/hosts"), heals=True),
    Fault(
        "aliases.cloud-init",
        "mkdir -p /etc/cloud/templates /etc/cloud/cloud.cfg.d; echo 'manage_etc_hosts: true' >/etc/cloud/cloud.cfg;"
        " echo '127.0.0.1 localhost' >/etc/cloud/templates/hosts.debian.tmpl",
        "rm -r /etc/cloud",
        heals=True,
    ),
    Fault(
        "storage.nfs-boot-hang",
        "mkdir -p /data; echo '//srv/x /data cifs credentials=/root/c 0 0' >>/etc/fstab",
        f"{back('/etc/fstab')}; rmdir /data",
        heals=True,
    ),
    Fault("storage.fstab-invalid", "echo 'srv:/x /vfroot/x' >>/etc/fstab", back("/etc/fstab")),
    Fault(
        "tuning.sysctl-port-range-overlap",
        "sysctl -qw net.ipv4.ip_local_reserved_ports=''",
        "sysctl -q --load /etc/sysctl.d/99-backendai.conf || true",
        first="tuning.live",
    ),
    Fault(
        "tuning.sysctl-lowers-better-value",
        "echo 'net.core.somaxconn = 1024' >/etc/sysctl.d/60-old-guide.conf",
        "rm /etc/sysctl.d/60-old-guide.conf",
    ),
    Fault(
        "images.pull-x509",
        "mkdir -p /etc/docker/certs.d/localhost:5443\n"
        + in_background("registry", REGISTRY, "grep -q ':1543 ' /proc/net/tcp"),
        "true",
    ),
    # Its registry has gone away meanwhile.
    Fault("images.registry-unreachable", ends("registry"), "rm -r /etc/docker/certs.d"),
)
# Needs /dev/fuse of the machine.
STALE = Fault(
    "storage.nfs-stale-handle",
    "mkdir -p /vfroot/old\n" + in_background("share", STALE_SHARE, "grep -q /vfroot/old /proc/self/mounts"),
    f"umount --lazy /vfroot/old; {ends('share')}; rmdir /vfroot/old",
)


def dummy(name: str, version: str, program: str = "") -> str:
    """Install a package with one program; without one, it is empty like those that lead to another branch."""
    content = f"install -D /bin/true /root/{name}{program}; " if program else ""
    return (
        f"{content}mkdir -p /root/{name}/DEBIAN; printf 'Package: {name}\\nVersion: {version}\\nArchitecture: all\\n"
        f"Maintainer: x <x@example.test>\\nDescription: x\\n' >/root/{name}/DEBIAN/control;"
        f" dpkg-deb --build /root/{name} /root/{name}.deb >/dev/null;"
        f" dpkg --force-conflicts --install /root/{name}.deb >/dev/null 2>&1"
    )


LIBRARY = "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1"
HOOK = "/usr/bin/nvidia-container-runtime-hook"
SWITCH = "/sys/bus/pci/devices/0000:05:00.0"
PLUG_IN_A_SWITCH = f"mkdir -p {SWITCH}; printf 'PCI_CLASS=68000\\nPCI_ID=10DE:22A3\\n' >{SWITCH}/uevent"
# A library that only returns the error of NVML after an upgrade.
MISMATCH = """int nvmlInitWithFlags(unsigned flags) { return 18; }
const char *nvmlErrorString(int code) { return "Driver/library version mismatch"; }
"""
# On a node whose driver, of a test's making, is well (`nvidia_hardware`); `/root/mismatch.so` is made of MISMATCH.
ON_A_GPU_NODE: tuple[Fault, ...] = (
    Fault(
        "accelerators.nvidia-lib-mismatch",
        f"cp -a {LIBRARY} /root/kept.so; cat /root/mismatch.so >{LIBRARY};"
        " echo 570.86.15 >/sys/module/nvidia/version",
        f"cat /root/kept.so >{LIBRARY}; modprobe nvidia",
    ),
    Fault("accelerators.nvidia-module-missing", "modprobe --remove nvidia", "modprobe nvidia"),
    Fault(
        "accelerators.nvidia-libnvidia-ml-missing",
        f"mv {LIBRARY} /root/kept.so; ldconfig",
        f"mv /root/kept.so {LIBRARY}; ldconfig",
    ),
    Fault(
        "accelerators.nvidia-package-conflict",
        dummy("nvidia-utils-570-server", "570.86.15-1"),
        "dpkg --purge nvidia-utils-570-server",
    ),
    Fault(
        "accelerators.nvidia-docker-no-driver",
        f"mv {HOOK} /root/hook",
        f"cp -a /root/hook {HOOK}; systemctl restart docker",
    ),
    Fault("accelerators.nvidia-fabricmanager-missing", PLUG_IN_A_SWITCH, f"rm -r {SWITCH}"),
    Fault(
        "accelerators.nvidia-fabricmanager-version",
        f"{PLUG_IN_A_SWITCH}; {dummy('nvidia-fabricmanager-580', '580.65.06-1', '/usr/bin/nv-fabricmanager')}",
        f"rm -r {SWITCH}; dpkg --purge nvidia-fabricmanager-580",
    ),
    Fault(
        "accelerators.nvidia-cdi-unresolvable",
        "cp -a /etc/docker/daemon.json /root/kept.json; python3 -c \"import json; p = '/etc/docker/daemon.json';"
        " d = json.load(open(p)); d['features'] = {'cdi': True}; json.dump(d, open(p, 'w'))\"",
        "cat /root/kept.json >/etc/docker/daemon.json; systemctl restart docker",
    ),
    Fault(
        "accelerators.nvidia-cdi-stale",
        'mkdir -p /etc/cdi; printf \'cdiVersion: 0.5.0\\nkind: nvidia.com/gpu\\ndevices:\\n- name: "0"\\n'
        "  containerEdits:\\n    deviceNodes:\\n    - path: /dev/nvidia7\\n' >/etc/cdi/nvidia.yaml",
        "rm -r /etc/cdi",
    ),
)


def complaint(fault: Fault, findings: list[dict[str, Any]]) -> str:
    """What is not as it has to be among the doctor's findings, in their order; empty for nothing."""
    ids, wanted = bad_ids(findings), fault.first or fault.id
    if ids[:1] != [wanted] or fault.id not in ids:
        said = [
            (finding["id"], finding["result"], *(finding.get(key) for key in ("cause", "suppressed_by", "evidence")))
            for finding in findings
            if finding["id"] in (fault.id, wanted)
        ]
        return f"{fault.id}: found {ids}; it said {said}"
    # Changes or refusals of the plan are reported in addition, after everything else.
    lines = [id for id in ids if not id.endswith(".drift")]
    if ids[: len(lines)] != lines:
        return f"{fault.id}: a comparison with the answers comes first: {ids}"
    others = set(lines) - {fault.id, wanted, *fault.also}
    return f"{fault.id}: also {sorted(others)}" if others else ""


def diagnosed(node: Node, fault: Fault) -> str:
    """As `complaint`, of a new examination; it is repeated if a check ran out of time, as on a busy machine."""
    for _ in range(PATIENCE):
        findings = examined(node, *ANSWERS)
        if not any(
            finding["result"] == "cannot-tell" and "no response" in finding.get("cause", "") for finding in findings
        ):
            break
    return complaint(fault, findings)


def healed_and_taken_back(node: Node, fault: Fault) -> str:
    """What its remedy does not do; empty for nothing."""
    unhealthy = node.snapshot(TOUCHED)
    fixed = node.wizard("doctor", "--fix", fault.id, "--yes", CONSENT, *ANSWERS)
    if fixed.rc != 0 or "checked again" not in fixed.out + fixed.err:
        return f"{fault.id}: --fix gave {fixed.rc}: {(fixed.out + fixed.err)[-1500:]}"
    # By its id: `undo` alone skips a run that holds nothing, for example one that only completed packages.
    run = json.loads(node.wizard("runs", "--json").out.splitlines()[-1])["run"]
    undone = node.wizard("undo", run)
    if undone.rc != 0:
        return f"{fault.id}: undo gave {undone.rc}: {undone.out + undone.err}"
    after = node.snapshot(TOUCHED)
    changed = [path for path in {*unhealthy, *after} if unhealthy.get(path) != after.get(path)]
    if changed:
        return f"{fault.id}: undo left {changed}"
    return (
        ""
        if not fault.lasts or fault.id in findings_of(node, *ANSWERS)
        else f"{fault.id}: gone although it was taken back"
    )
