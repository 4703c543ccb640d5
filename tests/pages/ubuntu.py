"""A simulated fresh Ubuntu 24.04: the files and values that account, tuning and network read."""

from __future__ import annotations

from collections.abc import Mapping

from bai_wizard.core.secret import Secret
from bai_wizard.core.state import Account, Entry, Group, Key, Membership, Password, State, Sysctl, Unit
from bai_wizard.node.simulated import Environment, SimulatedMachine

SYSCTL = {
    "fs.file-max": "9223372036854775807",
    "fs.nr_open": "1048576",
    "fs.inotify.max_user_watches": "192536",
    "fs.inotify.max_user_instances": "128",
    "net.core.somaxconn": "4096",
    "net.core.rmem_max": "212992",
    "net.core.wmem_max": "212992",
    "net.ipv4.tcp_max_syn_backlog": "4096",
    "net.ipv4.tcp_slow_start_after_idle": "1",
    "net.ipv4.tcp_fin_timeout": "60",
    "net.ipv4.tcp_window_scaling": "1",
    "net.ipv4.tcp_tw_reuse": "2",
    "net.ipv4.tcp_early_retrans": "3",
    "net.ipv4.ip_local_port_range": "32768 60999",
    "net.ipv4.ip_local_reserved_ports": "",
    "net.ipv4.tcp_rmem": "4096 131072 6291456",
    "net.ipv4.tcp_wmem": "4096 16384 4194304",
    "vm.overcommit_memory": "0",
    "vm.max_map_count": "1048576",
}
FILES = {
    "/etc/sysctl.conf": "# nothing set\n",
    "/usr/lib/sysctl.d/10-map-count.conf": "vm.max_map_count=1048576\n",
    "/usr/lib/sysctl.d/50-default.conf": "net.ipv4.conf.*.rp_filter = 2\n-net.ipv4.conf.all.rp_filter\n",
    "/usr/lib/sysctl.d/99-protect-links.conf": "fs.protected_fifos = 1\n",
    "/etc/security/limits.conf": "# nothing set\n",
    "/etc/security/limits.d/README": "x",
    "/etc/modules-load.d/modules.conf": "",
    "/etc/shells": "/bin/sh\n/bin/bash\n/usr/bin/bash\n",
    "/etc/login.defs": "HOME_MODE\t0750\n",
    "/etc/adduser.conf": "#DIR_MODE=0755\n",
    "/etc/sudoers": "root ALL=(ALL:ALL) ALL\n%sudo\tALL=(ALL:ALL) ALL\n@includedir /etc/sudoers.d\n",
    "/etc/sudoers.d/README": "#\n",
    "/etc/skel/.bashrc": "# bashrc\n",
    "/etc/skel/.profile": "# profile\n",
    "/etc/skel/.config/x": "y\n",
    "/usr/bin/sudo": "",
    "/usr/sbin/update-ca-certificates": "",
    "/etc/ssl/certs/ca-certificates.crt": "",
    "/etc/environment": 'PATH="/usr/bin"\n',
    "/etc/apt/apt.conf.d/20archive": "",
    "/etc/os-release": 'ID=ubuntu\nVERSION_ID="24.04"\nPRETTY_NAME="Ubuntu 24.04.3 LTS"\nVERSION_CODENAME=noble\n',
    "/home/ubuntu/.bashrc": "",
    "/sys/module/tcp_cubic/x": "",
}
PROC_1_LIMITS = """Limit                     Soft Limit           Hard Limit           Units
Max processes             255960               255960               processes
Max open files            1024                 1048576              files
Max locked memory         8388608              8388608              bytes
"""
DOCKER: dict[Key, State | None] = {
    Key("file", "/usr/lib/systemd/system/docker.service"): Entry("file", 0, 0, 0o644, b"[Service]\nExecStart=/x\n"),
    Key("unit", "docker.service"): Unit("enabled", "active", 100.0),
}


def file(text: str, mode: int = 0o644, uid: int = 0) -> Entry:
    """A file of root, or of a user whose GID equals the UID."""
    return Entry("file", uid, uid, mode, text.encode())


def link(target: str) -> Entry:
    """A symbolic link of root's."""
    return Entry("link", 0, 0, 0o777, target=target)


def ubuntu(
    states: Mapping[Key, State | None] | None = None,
    files: Mapping[str, str | Entry | None] | None = None,
    sysctl: Mapping[str, str | Sysctl | None] | None = None,
    **about: object,
) -> SimulatedMachine:
    """The node with changes laid over it; None takes a thing away."""
    made: dict[Key, State | None] = {
        Key("file", "/"): Entry("directory", 0, 0, 0o755),
        Key("file", "/etc/sysctl.d"): Entry("directory", 0, 0, 0o755),
        Key("file", "/etc/sysctl.d/99-sysctl.conf"): link("../sysctl.conf"),
        Key("file", "/etc/systemd/system"): Entry("directory", 0, 0, 0o755),
        Key("file", "/usr/local/share/ca-certificates"): Entry("directory", 0, 0, 0o755),
        Key("user", "root"): Account("root", 0, 0, "root", "/root", "/bin/bash"),
        Key("user", "ubuntu"): Account("ubuntu", 1000, 1000, "", "/home/ubuntu", "/bin/bash"),
        Key("group", "root"): Group("root", 0),
        Key("group", "sudo"): Group("sudo", 27),
        Key("group", "adm"): Group("adm", 4),
        Key("group", "ubuntu"): Group("ubuntu", 1000),
        Key("password", "root"): Password(Secret("*"), 20000),
        Key("password", "ubuntu"): Password(Secret("!"), 20000),
    }
    made |= {Key("file", path): file(text) for path, text in FILES.items()}
    made |= {Key("sysctl", key): Sysctl(value) for key, value in SYSCTL.items()}
    made |= states or {}
    for path, text in (files or {}).items():
        made[Key("file", path)] = file(text) if isinstance(text, str) else text
    for key, value in (sysctl or {}).items():
        made[Key("sysctl", key)] = Sysctl(value) if isinstance(value, str) else value
    kernel = {"/proc/1/limits": PROC_1_LIMITS, **dict(about.pop("kernel", {}))}  # type: ignore[call-overload]
    return SimulatedMachine(made, Environment(kernel=kernel, **about))  # type: ignore[arg-type]


def bai(hash: str = "*", **changes: object) -> dict[Key, State | None]:
    """The operation account as the wizard makes it."""
    values: dict[str, object] = {
        "uid": 1100, "gid": 1100, "comment": "Backend.AI operation", "home": "/home/bai", "shell": "/bin/bash",
        **changes,
    }  # fmt: skip
    return {
        Key("user", "bai"): Account("bai", **values),  # type: ignore[arg-type]
        Key("group", "bai"): Group("bai", 1100),
        Key("password", "bai"): Password(Secret(hash), 20000),
        Key("member", "sudo:bai"): Membership(),
        Key("file", "/home/bai"): Entry("directory", 1100, 1100, 0o750),
        Key("file", "/home/bai/work"): Entry("directory", 1100, 1100, 0o750),
    }
