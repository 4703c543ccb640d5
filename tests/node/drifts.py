"""Drifts of a node with all eight pages: how to cause and repair each, and evidence that harmless ones are."""

from __future__ import annotations

from dataclasses import dataclass

# Saved before the first drift, for the repair.
KEPT = (
    "/etc/docker/daemon.json", "/etc/hosts", "/etc/nsswitch.conf", "/etc/fstab", "/etc/pam.d", "/etc/shadow",
    "/etc/security/limits.d", "/etc/sysctl.d", "/etc/sysctl.conf", "/etc/pip.conf", "/etc/environment",
    "/etc/systemd/system/docker.service.d", "/etc/apt/preferences.d", "/etc/apt/sources.list.d", "/etc/sudoers",
    "/etc/sudoers.d", "/etc/ssl/certs/ca-certificates.crt", "/usr/local/share/ca-certificates",
    "/home/bai/.ssh", "/home/bai/manager/.venv", "/home/bai/agent/.venv", "/home/bai/.static-python/versions",
)  # fmt: skip
KEEP = "mkdir -p /root/kept; cp -a --parents " + " ".join(KEPT) + " /root/kept/ 2>/dev/null; true"


def back(path: str) -> str:
    """Restore a file or directory."""
    return f"rm -rf {path}; [ ! -e /root/kept{path} ] || cp -a /root/kept{path} {path}"


LIMITS = "/etc/security/limits.d/99-backendai.conf"
SYSCTL = "/etc/sysctl.d/99-backendai.conf"
FIN = "net.ipv4.tcp_fin_timeout"
MANAGER = "/home/bai/manager/.venv"
AGENT = "/home/bai/agent/.venv"
VERSIONS = "/home/bai/.static-python/versions"
BUILD = f"{VERSIONS}/@VERSION@"
SITE = f"{MANAGER}/lib/python@MINOR@/site-packages"
DROP_INS = "/etc/systemd/system/docker.service.d"
CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
LATER_LIMITS = "/etc/security/limits.d/zz.conf"
LATER_SYSCTL = "/etc/sysctl.d/zz.conf"
LIMITS_BACK = back("/etc/security/limits.d")
SYSCTL_BACK = (
    f"{back('/etc/sysctl.d')}; {back('/etc/sysctl.conf')}; /usr/lib/systemd/systemd-sysctl 2>/dev/null; true"
)
DOCKER_BACK = (
    f"systemctl unmask docker.service docker.socket containerd.service; {back('/etc/docker/daemon.json')};"
    f" {back(DROP_INS)}; systemctl daemon-reload; systemctl enable docker.service docker.socket containerd.service;"
    " systemctl reset-failed docker.service docker.socket; systemctl restart docker.socket docker.service"
)
HOSTS_BACK = "cat /root/kept/etc/hosts >/etc/hosts; chmod 644 /etc/hosts; chown root:root /etc/hosts"
NSS_BACK = back("/etc/nsswitch.conf")
SYSCTL_DROP_INS = "/etc/systemd/system/systemd-sysctl.service.d"
SYSCTL_UNIT = f"mkdir -p {SYSCTL_DROP_INS}; printf '{{}}\\n' >{SYSCTL_DROP_INS}/zz.conf; systemctl daemon-reload"
SYSCTL_UNIT_BACK = f"rm -r {SYSCTL_DROP_INS}; systemctl daemon-reload"
DOCKER_FLAG = (
    f"printf '[Service]\\nExecStart=\\nExecStart=/usr/sbin/dockerd -H fd:// {{}}\\n' >{DROP_INS}/zz.conf;"
    " systemctl daemon-reload"
)
VENV_BACK = back(MANAGER)
BUILD_BACK = f"{back(VERSIONS)}; chown bai:bai /home/bai/.static-python"


@dataclass(frozen=True)
class Drift:
    """One drift. It is harmless if `cache` succeeds, a command that verifies what the manual promises."""

    id: str
    plant: str
    heal: str
    cache: str = ""


def effective(value: str) -> str:
    """Verify that a boot sets the parameter to this value."""
    return f"/usr/lib/systemd/systemd-sysctl; test $(sysctl -n {FIN}) = {value}"


def guard(path: str, act: str) -> str:
    """Set or clear the immutable attribute of a directory like `chattr`, which a node may lack."""
    flag = "| 16" if act == "set" else "& ~16"
    return (
        f"python3 -c \"import fcntl, os, struct; d = os.open('{path}', os.O_RDONLY);"
        " f, = struct.unpack('l', fcntl.ioctl(d, 0x80086601, bytes(8)));"
        f" fcntl.ioctl(d, 0x40086602, struct.pack('l', f {flag}))\""
    )


def access_list(path: str, act: str) -> str:
    """Deny the account all access to a path with an access list, as `setfacl` does, or remove the list."""
    if act == "clear":
        return f"python3 -c \"import os; os.removexattr('{path}', 'system.posix_acl_access')\""
    entries = "(1, m >> 6 & 7, -1), (2, 0, 1100), (4, m >> 3 & 7, -1), (16, m >> 3 & 7, -1), (32, m & 7, -1)"
    return (
        f"python3 -c \"import os, struct; m = os.stat('{path}').st_mode;"
        f" e = b''.join(struct.pack('<HHi', *each) for each in ({entries}));"
        f" os.setxattr('{path}', 'system.posix_acl_access', struct.pack('<I', 2) + e)\""
    )


# Limits above those of the container cannot be tested here: lines of a user override those of a group or `*`.
HIGHEST = "test $(su - bai -c 'ulimit -Hn') -gt 1024"

LISTED: tuple[Drift, ...] = (
    Drift("uid-changed", "usermod -u 1500 bai", "usermod -u 1100 bai"),
    Drift("gid-changed", "groupmod -g 1500 bai", "groupmod -g 1100 bai"),
    Drift("out-of-docker", "gpasswd -d bai docker", "gpasswd -a bai docker"),
    Drift("shell-nologin", "usermod -s /usr/sbin/nologin bai", "usermod -s /bin/bash bai"),
    Drift("home-root", "chown root:root /home/bai", "chown bai:bai /home/bai"),
    Drift("home-moved", "usermod -d /nonexistent bai", "usermod -d /home/bai bai"),
    Drift("expired", "usermod -e 1 bai", "usermod -e '' bai"),
    Drift("pw-locked", "usermod -L bai", "usermod -U bai"),
    Drift("pw-changed", "echo bai:other-password | chpasswd", back("/etc/shadow")),
    Drift("keys-removed", "rm /home/bai/.ssh/authorized_keys", back("/home/bai/.ssh")),
    Drift("ssh-dir-root", "chown root /home/bai/.ssh", "chown bai /home/bai/.ssh"),
    Drift("uid-shared", "useradd -o -u 1100 -g 1100 -M bob", "userdel -f bob; true"),
    Drift("home-777", "chmod 777 /home/bai", "chmod 750 /home/bai"),
    Drift("limits-removed", f"sed -i '/^bai hard nofile/d' {LIMITS}", LIMITS_BACK),
    Drift("limits-crlf", f"sed -i 's/$/\\r/' {LIMITS}", LIMITS_BACK),
    Drift("limits-600", f"chmod 600 {LIMITS}", LIMITS_BACK),
    Drift("limits-later-star", f"echo '* - nofile 1024' >{LATER_LIMITS}", LIMITS_BACK, HIGHEST),
    Drift("limits-later-grp", f"echo '@bai hard nofile 1024' >{LATER_LIMITS}", LIMITS_BACK, HIGHEST),
    Drift("pam-off", "sed -i '/pam_limits/s/^/#/' /etc/pam.d/*", back("/etc/pam.d")),
    Drift("sysctl-missing", f"sed -i '/^{FIN}/d' {SYSCTL}", SYSCTL_BACK),
    Drift("sysctl-same-file", f"echo '{FIN} = 60' >>{SYSCTL}", SYSCTL_BACK),
    Drift("sysctl-later-slash", f"echo 'net/ipv4/tcp_fin_timeout=60' >{LATER_SYSCTL}", SYSCTL_BACK),
    Drift(
        "sysctl-later-glob",
        f"echo 'net.ipv4.tcp_fin_timeou* = 60' >{LATER_SYSCTL}",
        SYSCTL_BACK,
        effective("10"),
    ),
    Drift(
        "sysctl-usrlib",
        f"mkdir -p /usr/lib/sysctl.d; echo '{FIN} = 60' >/usr/lib/sysctl.d/zz.conf",
        f"rm /usr/lib/sysctl.d/zz.conf; {SYSCTL_BACK}",
    ),
    Drift(
        "sysctl.conf-linked",
        f"echo '{FIN} = 60' >>/etc/sysctl.conf; ln -s ../sysctl.conf /etc/sysctl.d/99-sysctl.conf",
        SYSCTL_BACK,
    ),
    # On Debian 13, only `sysctl --system` reads it, not the boot.
    Drift("sysctl.conf", f"echo '{FIN} = 60' >>/etc/sysctl.conf", SYSCTL_BACK, effective("10")),
    Drift("sysctl-live", f"sysctl -qw {FIN}=60", SYSCTL_BACK),
    Drift("sysctl-crlf", f"sed -i 's/$/\\r/' {SYSCTL}", SYSCTL_BACK),
    Drift("sysctl-devnull", f"rm {SYSCTL}; ln -s /dev/null {SYSCTL}", SYSCTL_BACK),
    Drift("sysctl-600", f"chmod 600 {SYSCTL}", SYSCTL_BACK),
    Drift("reserved-live", "sysctl -qw net.ipv4.ip_local_reserved_ports=", SYSCTL_BACK),
    Drift("somaxconn-lower-live", "sysctl -qw net.core.somaxconn=128", "sysctl -qw net.core.somaxconn=4096"),
    Drift("dropin-gone", f"rm {DROP_INS}/50-bai-wizard-limits.conf; systemctl daemon-reload", DOCKER_BACK),
    Drift(
        "hosts-doubled",
        "sed -n '/BEGIN for Backend/,/END for Backend/p' /etc/hosts >/root/blk; cat /root/blk >>/etc/hosts",
        HOSTS_BACK,
    ),
    Drift("hosts-shadow", "sed -i '1i 10.9.9.9 bai-a01' /etc/hosts", HOSTS_BACK),
    Drift("hosts-shadow-after", "echo '10.9.9.9 bai-a01' >>/etc/hosts", HOSTS_BACK),
    Drift("hosts-no-begin", "sed -i '/BEGIN for Backend/d' /etc/hosts", HOSTS_BACK),
    Drift("hosts-crlf", "sed -i 's/$/\\r/' /etc/hosts", HOSTS_BACK),
    Drift("nsswitch", "sed -i 's/^hosts:.*/hosts: dns/' /etc/nsswitch.conf", NSS_BACK),
    Drift("nsswitch-order", "sed -i 's/^hosts:.*/hosts: dns files/' /etc/nsswitch.conf", NSS_BACK),
    Drift("local-owner", "chown root:root /vfroot/local", "chown bai:bai /vfroot/local"),
    Drift("local-mode", "chmod 500 /vfroot/local", "chmod 755 /vfroot/local"),
    Drift(
        "local-symlink-bad",
        "mv /vfroot/local /srv/oldlocal; ln -s /etc /vfroot/local",
        "rm /vfroot/local; mv /srv/oldlocal /vfroot/local",
    ),
    Drift("local-gone", "mv /vfroot/local /srv/oldlocal", "mv /srv/oldlocal /vfroot/local"),
    Drift("version-4", "echo 4 >/vfroot/local/version.txt", "echo 3 >/vfroot/local/version.txt"),
    Drift("bound-umounted", "umount /vfroot/bound", "mount -a"),
    Drift("fstab-removed", "sed -i '/vfroot.bound/d' /etc/fstab", f"{back('/etc/fstab')}; systemctl daemon-reload"),
    Drift("bound-overmounted", "mount -t tmpfs none /vfroot/bound", "umount /vfroot/bound"),
    Drift(
        "guard-off",
        f"umount /vfroot/bound; {guard('/vfroot/bound', 'clear')}; mount -a",
        f"umount /vfroot/bound; {guard('/vfroot/bound', 'set')}; mount -a",
    ),
    Drift("venv-gone", f"rm -rf {MANAGER}", VENV_BACK),
    Drift("venv-pip-gone", f"rm -rf {SITE}/pip* {MANAGER}/bin/pip*", VENV_BACK),
    Drift("venv-pip-code-gone", f"rm -rf {SITE}/pip", VENV_BACK),
    Drift("venv-tomlkit-gone", f"rm -rf {AGENT}/lib/python@MINOR@/site-packages/tomlkit*", back(AGENT)),
    Drift("venv-root", f"chown -R root:root {MANAGER}", VENV_BACK),
    Drift("venv-other-python", f"ln -sfn /usr/bin/python3 {MANAGER}/bin/python", VENV_BACK),
    Drift("venv-cfg-home", f"sed -i 's#^home.*#home = /usr/bin#' {MANAGER}/pyvenv.cfg", VENV_BACK),
    Drift("py-gone", f"rm -rf {BUILD}", BUILD_BACK),
    Drift("py-noexec", f"chmod 644 {BUILD}/bin/python@MINOR@", BUILD_BACK),
    Drift("py-stdlib", f"rm -rf {BUILD}/lib/python@MINOR@/encodings", BUILD_BACK),
    Drift("py-root", f"chown -R root:root {BUILD}; chmod 700 {BUILD}", BUILD_BACK),
    Drift("daemon-invalid", "echo '{ \"log-driver\": ' >/etc/docker/daemon.json", DOCKER_BACK),
    Drift("daemon-gone", "rm /etc/docker/daemon.json", DOCKER_BACK),
    Drift(
        "daemon-stale",
        "python3 -c \"import json; p = '/etc/docker/daemon.json'; d = json.load(open(p)); d['log-driver'] = 'local';"
        " d.pop('log-opts', 0); json.dump(d, open(p, 'w'))\"; systemctl restart docker;"
        " cp -p /root/kept/etc/docker/daemon.json /etc/docker/daemon.json; touch /etc/docker/daemon.json",
        DOCKER_BACK,
    ),
    Drift("docker-disabled", "systemctl disable docker docker.socket", DOCKER_BACK),
    Drift("docker-masked", "systemctl stop docker.socket docker; systemctl mask docker", DOCKER_BACK),
    Drift(
        "docker-list-dup",
        "d='https://download.docker.com/linux/debian trixie stable'; cd /etc/apt/sources.list.d;"
        ' echo "deb [signed-by=/etc/apt/keyrings/docker.asc] $d" >docker.list; echo "deb $d" >docker2.list',
        back("/etc/apt/sources.list.d"),
    ),
    Drift("docker-sock-666", "chmod 666 /run/docker.sock", "chmod 660 /run/docker.sock"),
    Drift("docker-pin-gone", "rm /etc/apt/preferences.d/bai-docker", back("/etc/apt/preferences.d")),
    Drift("image-gone", "docker rmi @REGISTRY@/stable/second:2", "docker pull -q @REGISTRY@/stable/second:2"),
    Drift(
        "image-retag",
        "docker tag @REGISTRY@/stable/second:2 @REGISTRY@/stable/python:3.13",
        "docker pull -q @REGISTRY@/stable/python:3.13",
    ),
    Drift("pipconf-gone", "rm /etc/pip.conf", back("/etc/pip.conf")),
    Drift(
        "ca-gone",
        "rm /usr/local/share/ca-certificates/bai-wizard-*",
        back("/usr/local/share/ca-certificates"),
    ),
    Drift(
        "ca-bundle-stale",
        "python3 -c \"p = '/etc/ssl/certs/ca-certificates.crt'; text = open(p).read();"
        " text = text.replace(open('/srv/corp-ca.crt').read().strip(), ''); open(p, 'w').write(text)\"",
        back("/etc/ssl/certs/ca-certificates.crt"),
    ),
)

# Variants that break the same requirement in other ways.
FURTHER: tuple[Drift, ...] = (
    Drift("pw-must-change", "chage -d 0 bai", back("/etc/shadow")),
    Drift("pw-too-old", "chage -d 1 -M 30 bai", back("/etc/shadow")),
    Drift("home-parent-closed", "chmod 700 /home", "chmod 755 /home"),
    Drift("vfroot-closed", "chmod 700 /vfroot", "chmod 755 /vfroot"),
    Drift("passwd-closed", "chmod 600 /etc/passwd", "chmod 644 /etc/passwd"),
    Drift("hosts-600", "chmod 600 /etc/hosts", HOSTS_BACK),
    Drift("hosts-owner", "chown bai /etc/hosts", HOSTS_BACK),
    Drift("hosts-writable", "chmod 666 /etc/hosts", HOSTS_BACK),
    Drift("nsswitch-600", "chmod 600 /etc/nsswitch.conf", NSS_BACK),
    Drift(
        "nsswitch-return",
        "sed -i 's/^hosts:.*/hosts: mymachines [NOTFOUND=return] files/' /etc/nsswitch.conf",
        NSS_BACK,
    ),
    Drift("ca-closed", f"chmod 600 {CA_BUNDLE}", f"chmod 644 {CA_BUNDLE}"),
    Drift("limits-uid-range", f"echo '1100:1100 hard nofile 900' >{LATER_LIMITS}", LIMITS_BACK),
    Drift("limits-off", f"echo 'bai -' >{LATER_LIMITS}", LIMITS_BACK),
    Drift("limits-capitals", f"echo 'bai HARD Nofile 900 x' >{LATER_LIMITS}", LIMITS_BACK),
    Drift("limits-devnull", f"ln -sfn /dev/null {LIMITS}", LIMITS_BACK),
    Drift("pam-other-file", "sed -i '/pam_limits/s,$, conf=/dev/null,' /etc/pam.d/sshd", back("/etc/pam.d")),
    Drift("sysctl-masked", "systemctl mask systemd-sysctl", "systemctl unmask systemd-sysctl"),
    Drift("docker-sock-777", "chmod 777 /run/docker.sock", "chmod 660 /run/docker.sock"),
    Drift("docker-sock-group", "chgrp bai /run/docker.sock", "chgrp docker /run/docker.sock"),
    Drift(
        "docker-sock-unit",
        "mkdir -p /etc/systemd/system/docker.socket.d;"
        " printf '[Socket]\\nSocketMode=0666\\n' >/etc/systemd/system/docker.socket.d/open.conf",
        "rm -r /etc/systemd/system/docker.socket.d; systemctl daemon-reload",
    ),
    Drift("containerd-disabled", "systemctl disable containerd", "systemctl enable containerd"),
    Drift("docker-socket-masked", "systemctl stop docker.socket; systemctl mask docker.socket", DOCKER_BACK),
    Drift("service-home-root", "chown root /home/bai/manager; chmod 700 /home/bai/manager",
          "chown bai /home/bai/manager; chmod 755 /home/bai/manager"),
    Drift("site-packages-root", f"chown -R root:root {SITE}", VENV_BACK),
    Drift("venv-closed", f"chmod 0 {MANAGER}", f"chmod 755 {MANAGER}"),
    Drift("venv-python3", f"ln -sfn /usr/bin/python3 {MANAGER}/bin/python3", VENV_BACK),
    Drift("py-program-gone", f"rm {BUILD}/bin/python@MINOR@", BUILD_BACK),
    Drift("py-ssl-gone", f"rm {BUILD}/lib/python@MINOR@/ssl.py", BUILD_BACK),
    Drift("volume-other-owner", "chown nobody /vfroot/local", "chown bai /vfroot/local"),
    Drift("out-of-sudo", "gpasswd -d bai sudo", "gpasswd -a bai sudo"),
    Drift("keys-open", "chmod 666 /home/bai/.ssh/authorized_keys", "chmod 600 /home/bai/.ssh/authorized_keys"),
    # Resources that the account can no longer use, although its page, group or file is unchanged.
    Drift("tmp-closed", "chmod 755 /tmp", "chmod 1777 /tmp"),
    Drift("dev-null-600", "chmod 600 /dev/null", "chmod 666 /dev/null"),
    Drift("run-closed", "chmod 700 /run", "chmod 755 /run"),
    Drift("programs-closed", "chmod 700 /usr/bin", "chmod 755 /usr/bin"),
    Drift("sudo-no-setuid", "chmod u-s /usr/bin/sudo", "chmod 4755 /usr/bin/sudo"),
    Drift("docker-program-700", "chmod 700 /usr/bin/docker", "chmod 755 /usr/bin/docker"),
    Drift("docker-sock-acl", access_list("/run/docker.sock", "set"), access_list("/run/docker.sock", "clear")),
    Drift("vfroot-acl", access_list("/vfroot", "set"), access_list("/vfroot", "clear")),
    Drift("docker-sock-gone", "rm /run/docker.sock", DOCKER_BACK),
    Drift("home-500", "chmod 500 /home/bai", "chmod 750 /home/bai"),
    Drift("static-python-root", "chown root /home/bai/.static-python; chmod 700 /home/bai/.static-python",
          "chown bai /home/bai/.static-python; chmod 755 /home/bai/.static-python"),
    Drift("bound-read-only", "mount -o remount,bind,ro /vfroot/bound", "mount -o remount,bind,rw /vfroot/bound"),
    Drift("local-read-only",
          "mount --bind /vfroot/local /vfroot/local; mount -o remount,bind,ro /vfroot/local", "umount /vfroot/local"),
    Drift("local-immutable", guard("/vfroot/local", "set"), guard("/vfroot/local", "clear")),
    Drift("sudoers-later-deny", "echo 'bai ALL=(ALL:ALL) !ALL' >/etc/sudoers.d/zz; chmod 440 /etc/sudoers.d/zz",
          "rm /etc/sudoers.d/zz"),
    Drift("sudoers-targetpw", "echo 'Defaults targetpw' >/etc/sudoers.d/zz; chmod 440 /etc/sudoers.d/zz",
          "rm /etc/sudoers.d/zz"),
    Drift("sudoers-666", "chmod 666 /etc/sudoers", "chmod 440 /etc/sudoers"),
    Drift("nsswitch-passwd", "sed -i 's/^passwd:.*/passwd: systemd/' /etc/nsswitch.conf", NSS_BACK),
    Drift("nsswitch-group", "sed -i 's/^group:.*/group: systemd/' /etc/nsswitch.conf", NSS_BACK),
    Drift("pam-ended", "sed -i '1i session sufficient pam_permit.so' /etc/pam.d/sshd", back("/etc/pam.d")),
    Drift("sysctl-other-program", SYSCTL_UNIT.format("[Service]\\nExecStart=\\nExecStart=/bin/true"),
          SYSCTL_UNIT_BACK),
    Drift("sysctl-condition", SYSCTL_UNIT.format("[Unit]\\nConditionPathExists=/none"), SYSCTL_UNIT_BACK),
    Drift("docker-other-file", DOCKER_FLAG.format("--config-file=/etc/docker/other.json"), DOCKER_BACK),
    Drift("docker-flag-twice", DOCKER_FLAG.format("--log-driver=json-file"), DOCKER_BACK),
)  # fmt: skip
