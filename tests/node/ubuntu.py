"""Nodes shaped like Ubuntu 24.04 and 26.04: Debian 13 with the programs and files that make Ubuntu different.

The programs are real: Debian packages them as well. The files below hold Ubuntu's published settings, each with its
source as a comment; what a package of Debian brings in the same wording (ufw's sysctl.conf, cloud-init's templates,
needrestart's apt hook) is not repeated here.
"""

import io
import tarfile
from dataclasses import dataclass, field

from tests.node import host
from tests.node.api import Node
from tests.node.reference_answers import text

# Everything that a run installs from Debian's archive, in apt's cache (see Suite.downloaded).
DOWNLOADED = ("docker-cli", "containerd", "runc", "iptables", "docker-buildx")
PACKAGES = (
    "needrestart", "unattended-upgrades", "cloud-init", "ufw", "snapd", "netplan.io", "systemd-resolved",
    "multipath-tools", "apparmor", "apparmor-utils",
)  # fmt: skip
SNAPS = "/var/lib/snapd/snaps"
ARCHIVE_KEY = "/usr/share/keyrings/ubuntu-archive-keyring.asc"
SOURCES = "/etc/apt/sources.list.d/ubuntu.sources"

OS_RELEASE = """PRETTY_NAME="Ubuntu {version} LTS"
NAME="Ubuntu"
VERSION_ID="{version}"
VERSION="{version} LTS ({animal})"
VERSION_CODENAME={codename}
ID=ubuntu
ID_LIKE=debian
HOME_URL="https://www.ubuntu.com/"
SUPPORT_URL="https://help.ubuntu.com/"
BUG_REPORT_URL="https://bugs.launchpad.net/ubuntu/"
PRIVACY_POLICY_URL="https://www.ubuntu.com/legal/terms-and-policies/privacy-policy"
UBUNTU_CODENAME={codename}
LOGO=ubuntu-logo
"""
LSB_RELEASE = """DISTRIB_ID=Ubuntu
DISTRIB_RELEASE={version}
DISTRIB_CODENAME={codename}
DISTRIB_DESCRIPTION="Ubuntu {version} LTS"
"""
# The layout of Ubuntu's file (cloud-init: templates/sources.list.ubuntu.deb822.tmpl) with the archive of the tests.
UBUNTU_SOURCES = """# See http://help.ubuntu.com/community/UpgradeNotes for how to upgrade to
# newer versions of the distribution.
Types: deb
URIs: {mirror}
Suites: trixie
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""
# A container's resolv.conf and hosts are mounts from outside; a node's are its own files, also after a boot. The name
# servers that the mount names become those of systemd-resolved, as a DHCP lease would make them.
OWN_FILES = """#!/bin/sh
if [ ! -L /etc/resolv.conf ] && grep -q '^nameserver' /etc/resolv.conf; then
    mkdir -p /etc/systemd/resolved.conf.d
    { echo '[Resolve]'; sed -n 's/^nameserver  */DNS=/p' /etc/resolv.conf; } >/etc/systemd/resolved.conf.d/lease.conf
    umount /etc/resolv.conf
    ln -sfn ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf
fi
for file in /etc/hosts /etc/resolv.conf; do
    if mountpoint -q "$file"; then umount "$file"; fi
done
"""
OWN_FILES_UNIT = """[Unit]
Description=Give a container node files of its own
DefaultDependencies=no
Before=sysinit.target systemd-resolved.service cloud-init-main.service cloud-init-local.service
[Service]
Type=oneshot
ExecStart=/bin/sh /usr/lib/own-files
[Install]
WantedBy=sysinit.target
"""
# Ubuntu's default user, and only those modules of cloud-init that write files which the wizard reads: growing disks,
# locales and the like are not at stake. Sources: cloud-init's config/cloud.cfg.tmpl for the variant ubuntu; a list
# with one data source, as images for one cloud have it; subiquity-disable-cloudinit-networking.cfg.
CLOUD_CONFIG = """datasource_list: [NoCloud, None]
preserve_hostname: true
network: {config: disabled}
cloud_init_modules: [update_etc_hosts, users_groups]
cloud_config_modules: []
cloud_final_modules: []
system_info:
  distro: ubuntu
  default_user:
    name: ubuntu
    lock_passwd: true
    gecos: Ubuntu
    groups: [adm, cdrom, dip, lxd, sudo]
    sudo: ["ALL=(ALL) NOPASSWD:ALL"]
    shell: /bin/bash
"""
# shadow, debian/login.defs of Ubuntu 24.04 (1:4.13+dfsg1-4ubuntu3): its settings without the comments.
LOGIN_DEFS = """# Source: Ubuntu's shadow 1:4.13+dfsg1-4ubuntu3, debian/login.defs, without its comments.
MAIL_DIR        /var/mail
FAILLOG_ENAB\t\tyes
LOG_UNKFAIL_ENAB\tno
LOG_OK_LOGINS\t\tno
SYSLOG_SU_ENAB\t\tyes
SYSLOG_SG_ENAB\t\tyes
FTMP_FILE\t/var/log/btmp
SU_NAME\t\tsu
HUSHLOGIN_FILE\t.hushlogin
ENV_SUPATH\tPATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ENV_PATH\tPATH=/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games
TTYGROUP\ttty
TTYPERM\t\t0600
ERASECHAR\t0177
KILLCHAR\t025
UMASK\t\t022
HOME_MODE\t0750
PASS_MAX_DAYS\t99999
PASS_MIN_DAYS\t0
PASS_WARN_AGE\t7
UID_MIN\t\t\t 1000
UID_MAX\t\t\t60000
GID_MIN\t\t\t 1000
GID_MAX\t\t\t60000
LOGIN_RETRIES\t\t5
LOGIN_TIMEOUT\t\t60
CHFN_RESTRICT\t\trwh
DEFAULT_HOME\tyes
USERGROUPS_ENAB yes
ENCRYPT_METHOD SHA512
"""
BASH_BASHRC = """# Source: what Ubuntu's bash 5.2.21-2ubuntu4 (24.04) has in /etc/bash.bashrc, in other words.
[ -z "$PS1" ] && return
shopt -s checkwinsize
PS1='\\u@\\h:\\w\\$ '
# sudo hint
if [ ! -e "$HOME/.sudo_as_admin_successful" ] && [ ! -e "$HOME/.hushlogin" ]; then
    case " $(groups) " in *\\ admin\\ *|*\\ sudo\\ *)
        echo 'To run a command as administrator (user "root"), use "sudo <command>".'
    esac
fi
"""
# Ubuntu's procps (2:4.0.4-4ubuntu3), debian/sysctl.d, as `sysctl --system` lists them on 24.04.
SYSCTL = {
    "10-bufferbloat": "net.core.default_qdisc = fq_codel",
    "10-console-messages": "kernel.printk = 4 4 1 7",
    "10-ipv6-privacy": "net.ipv6.conf.all.use_tempaddr = 2\nnet.ipv6.conf.default.use_tempaddr = 2",
    "10-kernel-hardening": "kernel.kptr_restrict = 1",
    "10-magic-sysrq": "kernel.sysrq = 176",
    "10-map-count": "vm.max_map_count = 1048576",
    "10-network-security": "net.ipv4.conf.default.rp_filter=2\nnet.ipv4.conf.all.rp_filter=2",
    "10-ptrace": "kernel.yama.ptrace_scope = 1",
    "10-zeropage": "vm.mmap_min_addr = 65536",
}
FILES = {
    # Ubuntu's apt has a stub in place of the former list.
    "etc/apt/sources.list": "# Ubuntu sources have moved to the /etc/apt/sources.list.d/ubuntu.sources\n"
    "# file, which uses the deb822 format.\n",
    # livecd-rootfs of 24.04 and 26.04.
    "etc/environment": 'PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/games:'
    '/usr/local/games:/snap/bin"\n',
    # cloud-init writes the first for `ssh_pwauth: false`, Ubuntu's cloud images bring the second.
    "etc/ssh/sshd_config.d/50-cloud-init.conf": "PasswordAuthentication no\n",
    "etc/ssh/sshd_config.d/60-cloudimg-settings.conf": "PasswordAuthentication no\n",
    # sshd started by its socket needs it at any time (Ubuntu's openssh, LP #1991283).
    "usr/lib/tmpfiles.d/sshd.conf": "d /run/sshd 0755\n",
    # What a site does that heeds the doctor: updates leave the engine alone.
    "etc/apt/apt.conf.d/52site": 'Unattended-Upgrade::Package-Blacklist { "docker.io"; "containerd"; };\n',
    # needrestart 3.6: "(l)ist only, (i)nteractive or (a)utomatically".
    "etc/needrestart/conf.d/50-interactive.conf": "$nrconf{restart} = 'i';\n",
    # Ubuntu's multipath-tools, debian/multipath.conf.
    "etc/multipath.conf": "defaults {\n    user_friendly_names yes\n}\n",
    # The installer's (subiquity): an interface of its own that is not the container's.
    "etc/netplan/50-cloud-init.yaml": "network:\n  version: 2\n  ethernets:\n    eno1:\n      dhcp4: true\n"
    "      optional: true\n",
    # Ubuntu's procps ships the file with comments only and a link to it.
    "etc/sysctl.conf": "# /etc/sysctl.conf - Configuration file for setting system variables\n"
    "#net.ipv4.conf.all.rp_filter=1\n#net.ipv4.ip_forward=1\n",
    # Ubuntu's apparmor.
    "usr/lib/sysctl.d/10-apparmor.conf": "kernel.apparmor_restrict_unprivileged_userns = 1\n",
    "etc/cloud/cloud.cfg.d/95-tests.cfg": CLOUD_CONFIG,
    "var/lib/cloud/seed/nocloud/meta-data": "instance-id: iid-local01\n",
    "etc/login.defs": LOGIN_DEFS,
    "etc/bash.bashrc": BASH_BASHRC,
    "usr/lib/own-files": OWN_FILES,
    "usr/lib/systemd/system/own-files.service": OWN_FILES_UNIT,
    "etc/debian_version": "trixie/sid\n",
    **{
        f"etc/sysctl.d/{name}.conf": f"# Source: Ubuntu's procps 2:4.0.4-4ubuntu3\n{lines}\n"
        for name, lines in SYSCTL.items()
    },
}
LINKS = {"etc/sysctl.d/99-sysctl.conf": "../sysctl.conf"}
PRIVATE = {"etc/netplan/50-cloud-init.yaml": 0o600, "etc/ssh/sshd_config.d/50-cloud-init.conf": 0o600}

# ufw is enabled as `ufw enable` leaves it: a build container may not touch the packet filter. It lets the cluster in.
# Ubuntu's sshd is started by its socket.
SETTINGS = """ufw allow 22/tcp
ufw allow from 10.20.30.0/24
sed -i 's/^ENABLED=.*/ENABLED=yes/' /etc/ufw/ufw.conf
rm -f /etc/apt/sources.list.d/debian.sources
systemctl enable own-files.service ufw.service
systemctl disable ssh.service
systemctl enable ssh.socket
"""
# 26.04: the names of GNU's programs lead to those of uutils, but for cp, mv and rm, which stayed GNU's
# (discourse.ubuntu.com, April 2026); sudo is sudo-rs, and the former one sudo.ws.
RUST = """for each in $(dpkg -L coreutils | grep ^/usr/bin/); do
    name=${each##*/}
    case $name in cp|mv|rm) continue;; esac
    [ -e "/usr/lib/cargo/bin/coreutils/$name" ] || continue
    dpkg-divert --quiet --local --rename --divert "/usr/bin/gnu$name" --add "/usr/bin/$name"
    /usr/bin/coreutils ln -s "../lib/cargo/bin/coreutils/$name" "/usr/bin/$name"
done
for each in bin/sudo sbin/visudo; do
    dpkg-divert --quiet --local --rename --divert "/usr/$each.ws" --add "/usr/$each"
    update-alternatives --install "/usr/$each" "${each##*/}" "/usr/lib/cargo/bin/${each##*/}" 50
done
"""


@dataclass(frozen=True)
class Shape:
    """One release of Ubuntu: what tells it from the other one.

    ``engine``: the version of its docker.io, newer than Debian's. ``files``: in addition to those of both.
    """

    version: str
    codename: str
    animal: str
    packages: tuple[str, ...]
    engine: str
    script: str = ""
    files: dict[str, str] = field(default_factory=dict)

    def archive(self) -> bytes:
        """Return a tar file of its files, relative to the root; the same content always gives the same bytes."""
        names = {"version": self.version, "codename": self.codename, "animal": self.animal}
        made = {
            "usr/lib/os-release": OS_RELEASE.format(**names),
            "etc/lsb-release": LSB_RELEASE.format(**names),
            SOURCES.lstrip("/"): UBUNTU_SOURCES.format(mirror=host.debian_mirror()),
        }
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for path, text in sorted({**FILES, **made, **self.files}.items()):
                entry = tarfile.TarInfo(path)
                entry.size, entry.mode = len(text.encode()), PRIVATE.get(path, 0o644)
                archive.addfile(entry, io.BytesIO(text.encode()))
            for path, target in LINKS.items():
                entry = tarfile.TarInfo(path)
                entry.type, entry.linkname = tarfile.SYMTYPE, target
                archive.addfile(entry)
        return buffer.getvalue()


# The cloud's own configuration has manage_etc_hosts in one, the user data of its customer in the other.
SHAPES = {
    "noble": Shape(
        "24.04",
        "noble",
        "Noble Numbat",
        (*PACKAGES, "initramfs-tools"),
        engine="26.1.5+ubuntu1-0ubuntu1~24.04.1",
        script=SETTINGS,
        files={
            "etc/cloud/cloud.cfg.d/50-site.cfg": "manage_etc_hosts: true\n",
            "var/lib/cloud/seed/nocloud/user-data": "#cloud-config\n{}\n",
        },
    ),
    "resolute": Shape(
        "26.04",
        "resolute",
        "Resolute Raccoon",
        (*PACKAGES, "dracut", "sudo-rs", "rust-coreutils"),
        engine="26.1.5+ubuntu1-0ubuntu1",
        script=SETTINGS + RUST,
        files={"var/lib/cloud/seed/nocloud/user-data": "#cloud-config\nmanage_etc_hosts: true\n"},
    ),
}


def assert_shape(node: Node, shape: Shape) -> None:
    """Assert that the node is what the test takes it for."""
    assert f'VERSION_ID="{shape.version}"' in node.read("/etc/os-release").decode()
    assert "manage_etc_hosts" in node.read("/etc/hosts").decode(), "cloud-init wrote it at boot"
    assert "ubuntu ALL=(ALL) NOPASSWD:ALL" in node.read("/etc/sudoers.d/90-cloud-init-users").decode()
    assert text(node, "readlink", "/etc/resolv.conf").endswith("/systemd/resolve/stub-resolv.conf")
    assert text(node, "ufw", "status").startswith("Status: active")
    is_rust = shape.codename == "resolute"
    assert (text(node, "readlink", "--canonicalize", "/usr/bin/ls") == "/usr/bin/coreutils") == is_rust
    assert ("cargo" in text(node, "readlink", "--canonicalize", "/usr/bin/sudo")) == is_rust
    assert node.exists("/usr/bin/dracut") == is_rust
    assert node.exists("/usr/sbin/update-initramfs") != is_rust
    assert text(node, "apt", "--version").startswith("apt 3.")
