"""Failures on a healthy node shaped like Ubuntu: how each is created, what the doctor reports first, how it ends."""

from __future__ import annotations

from tests.node.faults import HOLD_LOCK, RESTART, Fault, ends, in_background
from tests.node.ubuntu import SNAPS

KEPT = "/run/kept"


def edited(path: str, change: str, id: str, *, after: str = "", **other: object) -> Fault:
    """A file that somebody changed. Its copy is put back with its modification time; `after` is run then."""
    copy = f"{KEPT}{path}"
    plant = f'mkdir -p "$(dirname {copy})"; cp -a {path} {copy}; {change}'
    return Fault(id, plant, f"cp -a {copy} {path}; {after or 'true'}", **other)  # type: ignore[arg-type]


def appended(path: str, line: str, id: str, **other: object) -> Fault:
    return edited(path, f"printf '%s\\n' '{line}' >>{path}", id, **other)  # type: ignore[arg-type]


def added(path: str, line: str, id: str, *, mode: str = "644", **other: object) -> Fault:
    """A file that somebody added."""
    plant = f"printf '%s\\n' '{line}' >{path}; chmod {mode} {path}"
    return Fault(id, plant, f"rm {path}", **other)  # type: ignore[arg-type]


def running(*names: str) -> str:
    """Start services that only have the names of others."""
    return "; ".join(f"systemd-run --quiet --unit={name} sleep infinity" for name in names)


DAEMON_JSON = "/etc/docker/daemon.json"
START = "systemctl start docker.socket docker.service"
DROP_IN = "/etc/cloud/cloud.cfg.d/99-zz-bai-wizard.cfg"
TEMPLATE = "/etc/cloud/templates/hosts.debian.tmpl"
IMAGE = "cr.backend.ai/stable/tool:1"
PYTHONS = "/home/bai/.static-python"
UNPACKED = (
    "mkdir -p /run/d/DEBIAN; printf 'Package: site-agent\\nVersion: 1\\nArchitecture: all\\n"
    "Maintainer: x <x@example.test>\\nDescription: x\\n' >/run/d/DEBIAN/control;"
    " dpkg-deb --build /run/d /run/d.deb >/dev/null; dpkg --unpack /run/d.deb >/dev/null"
)

FAULTS: dict[str, Fault] = {
    # Node
    "unattended-upgrades may replace Docker": edited(
        "/etc/apt/apt.conf.d/52site", "rm /etc/apt/apt.conf.d/52site", "node.unattended"
    ),
    "unattended-upgrades holds the lock": Fault(
        "node.apt-lock-held",
        in_background("unattended-upgrade", HOLD_LOCK, "test -s /run/holds"),
        f"{ends('unattended-upgrade')}; rm /run/holds",
    ),
    "unattended-upgrades asks for a reboot": Fault(
        "node.reboot-pending",
        "echo '*** System restart required ***' >/run/reboot-required; echo libc6 >/run/reboot-required.pkgs",
        "rm /run/reboot-required /run/reboot-required.pkgs",
    ),
    "an installation was interrupted": Fault(
        "node.dpkg-interrupted", UNPACKED, "dpkg --purge site-agent >/dev/null", heals=True, lasts=False
    ),
    "a broken source of somebody else": added(
        "/etc/apt/sources.list.d/site.list", "dep http://archive.example/ noble main", "node.apt-source"
    ),
    "systemd-resolved does not run": Fault(
        "node.dns-broken",
        "systemctl mask --quiet --now systemd-resolved.service",
        "systemctl unmask --quiet systemd-resolved.service; systemctl start systemd-resolved.service",
    ),
    "ufw keeps the cluster out": edited(
        "/etc/ufw/user.rules", "sed -i /10.20.30.0/d /etc/ufw/user.rules", "node.ports"
    ),
    "cloud-init renames the node": edited("/etc/hostname", "echo ip-10-20-30-20 >/etc/hostname", "node.hostname"),
    "a locale that is not installed": edited(
        "/etc/locale.conf", "echo LANG=ko_KR.UTF-8 >/etc/locale.conf", "node.locale-broken"
    ),
    "two time daemons": Fault(
        "node.two-clocks", running("chrony", "ntpsec"), "systemctl stop chrony.service ntpsec.service"
    ),
    # Account
    "the account left the group docker": Fault(
        "docker.users", "gpasswd --delete bai docker >/dev/null", "gpasswd --add bai docker >/dev/null", heals=True
    ),
    "the password has to be changed": edited("/etc/shadow", "chage --lastday 0 bai", "account.password-expired"),
    "the account has no shell": edited("/etc/passwd", "usermod --shell /usr/sbin/nologin bai", "account.shell"),
    "a half-written rule of sudo": added(
        "/etc/sudoers.d/95-site", "bai ALL=(ALL", "account.sudoers-syntax", mode="440"
    ),
    "a later rule of sudo": added("/etc/sudoers.d/95-site", "bai ALL=(ALL) !ALL", "account.sudo-missing", mode="440"),
    "keys that others can change": Fault("account.ssh-modes", "chmod 777 /home/bai/.ssh", "chmod 700 /home/bai/.ssh"),
    "hardening closed /etc/environment": Fault(
        "account.reach", "chmod 600 /etc/environment", "chmod 644 /etc/environment"
    ),
    # Docker
    "daemon.json with a comma too many": edited(
        DAEMON_JSON,
        f"sed -i 's/}}$/,}}/' {DAEMON_JSON}",
        "docker.daemon-json-syntax",
        also=("docker.restart-pending", "docker.log-rotation"),
        after=RESTART,
    ),
    "daemon.json with a misspelled key": edited(
        DAEMON_JSON,
        f"sed -i '0,/{{/s//{{\"log-options\": true,/' {DAEMON_JSON}",
        "docker.daemon-json-unknown-key",
        also=("docker.restart-pending",),
        after=RESTART,
    ),
    "Docker is stopped": Fault(
        "docker.not-running", "systemctl stop docker.socket docker.service", START, heals=True
    ),
    "Docker is masked": Fault(
        "docker.not-running",
        "systemctl mask --quiet --now docker.service docker.socket",
        f"systemctl unmask --quiet docker.service docker.socket; {START}",
    ),
    "containerd is not started at boot": Fault(
        "docker.containerd", "systemctl disable --quiet containerd", "systemctl enable --quiet containerd"
    ),
    "Docker as a snap besides the package": Fault(
        "docker.snap", f"touch {SNAPS}/docker_2963.snap", f"rm {SNAPS}/docker_2963.snap"
    ),
    "everybody may use the socket": Fault(
        "docker.socket-open", "chmod 666 /run/docker.sock", "chmod 660 /run/docker.sock", heals=True, lasts=False
    ),
    # Tuning
    "a later limits file": added(
        "/etc/security/limits.d/zz-site.conf", "bai - nofile 4096", "tuning.limits-overridden"
    ),
    "pam_limits was removed": edited("/etc/pam.d/sshd", "sed -i /pam_limits/d /etc/pam.d/sshd", "tuning.pam-limits"),
    "a later sysctl file": added(
        "/etc/sysctl.d/zz-site.conf", "net.ipv4.tcp_fin_timeout = 120", "tuning.sysctl-overridden", heals=True
    ),
    "ufw's own sysctl.conf": appended(
        "/etc/ufw/sysctl.conf", "net/ipv4/tcp_fin_timeout=120", "tuning.sysctl-overridden", heals=True
    ),
    "the link 99-sysctl.conf": appended(
        "/etc/sysctl.conf", "net.ipv4.tcp_slow_start_after_idle = 1", "tuning.sysctl-overridden", heals=True
    ),
    "a value with quotes": appended(
        "/etc/sysctl.conf", 'net.ipv4.ip_local_port_range = "10000 65000"', "tuning.sysctl-quoted-value", heals=True
    ),
    "a value was changed by hand": Fault(
        "tuning.live", "sysctl -qw net.ipv4.tcp_fin_timeout=60", "sysctl -qw net.ipv4.tcp_fin_timeout=10", heals=True
    ),
    "systemd-sysctl is masked": Fault(
        "tuning.boot",
        "systemctl mask --quiet systemd-sysctl.service",
        "systemctl unmask --quiet systemd-sysctl.service",
    ),
    # Python
    "the interpreter was removed": Fault(
        "python.venv-broken", f"mv {PYTHONS} /root/", f"mv /root/.static-python {PYTHONS}"
    ),
    "pip was removed": Fault(
        "python.venv-broken",
        "mv /home/bai/agent/.venv/lib/python3*/site-packages/pip /root/pip",
        "mv /root/pip /home/bai/agent/.venv/lib/python3*/site-packages/",
    ),
    "pip may change the system": appended(
        "/etc/pip.conf", "break-system-packages = true", "python.pip-externally-managed"
    ),
    # Aliases
    "an alias was deleted": edited("/etc/hosts", "sed -i /bai-m1/d /etc/hosts", "aliases.drift", heals=True),
    "the end of the block was deleted": edited(
        "/etc/hosts", "sed -i '/^##### END/d' /etc/hosts", "aliases.block-damaged"
    ),
    "an alias at another address": appended("/etc/hosts", "10.9.9.9 bai-a01", "aliases.duplicate", heals=True),
    # Storage
    "a volume was unmounted": Fault(
        "storage.not-mounted", "umount /vfroot/bound", "mount /vfroot/bound", heals=True, lasts=False
    ),
    "a volume belongs to root": Fault(
        "storage.volume-owner", "chown 0:0 /vfroot/local", "chown 1100:1100 /vfroot/local", heals=True
    ),
    "a volume of another format": edited(
        "/vfroot/local/version.txt", "echo 2 >/vfroot/local/version.txt", "storage.version-file"
    ),
    "a line of fstab without a type": appended("/etc/fstab", "srv:/x /vfroot/x", "storage.fstab-invalid"),
    # Images
    "an image was removed": Fault(
        "images.drift", f"docker rmi {IMAGE} >/dev/null", "docker load --input /srv/tool.tar >/dev/null", heals=True
    ),
    "a registry that does not respond": Fault(
        "images.registry-unreachable",
        "mkdir /etc/docker/certs.d/localhost:5999",
        "rmdir /etc/docker/certs.d/localhost:5999",
    ),
}
# cloud-init writes /etc/hosts at each boot. If the cloud's configuration says so, the wizard's drop-in overrules it.
# If the user data says so, nothing does, and the aliases have to be in the template.
OF_CLOUD_INIT = {
    "noble": edited(DROP_IN, f"rm {DROP_IN}", "aliases.cloud-init", heals=True),
    "resolute": edited(
        TEMPLATE, f"sed -i '/^##### BEGIN/,/^##### END/d' {TEMPLATE}", "aliases.cloud-init", heals=True
    ),
}
