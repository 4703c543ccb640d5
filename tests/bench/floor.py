"""The floor: a stdlib-only script that reads the same state of a node and reports whether it is as desired."""

import grp
import os
import pwd
import stat
import sys

WANTED = {
    "net.ipv4.tcp_fin_timeout": "10",
    "net.ipv4.tcp_slow_start_after_idle": "0",
    "net.ipv4.ip_local_port_range": "10000 65000",
    "net.ipv4.tcp_tw_reuse": "1",
    "net.ipv4.tcp_window_scaling": "1",
    "net.ipv4.tcp_wmem": "4096 12582912 16777216",
}
FILES = {
    "/etc/sysctl.d/99-backendai.conf": (0, 0o644),
    "/etc/security/limits.d/99-backendai.conf": (0, 0o644),
    "/home/bai/.ssh/authorized_keys": (1100, 0o600),
    "/vfroot/local": (1100, 0o755),
}


def main() -> int:
    drifted = []
    user = pwd.getpwnam("bai")
    if (user.pw_uid, user.pw_gid) != (1100, 1100) or "bai" not in grp.getgrnam("sudo").gr_mem:
        drifted.append("account")
    with open("/etc/shadow", encoding="ascii") as shadow:
        if not any(line.startswith("bai:$y$") for line in shadow):
            drifted.append("password")
    for key, value in WANTED.items():
        with open("/proc/sys/" + key.replace(".", "/"), encoding="ascii") as live:
            if live.read().split() != value.split():
                drifted.append(key)
    for path, (uid, mode) in FILES.items():
        info = os.lstat(path)
        if info.st_uid != uid or stat.S_IMODE(info.st_mode) != mode:
            drifted.append(path)
        if stat.S_ISREG(info.st_mode):
            with open(path, "rb") as file:
                file.read()
    for directory in ("/etc/sysctl.d", "/run/sysctl.d", "/usr/lib/sysctl.d", "/etc/security/limits.d"):
        for name in sorted(os.listdir(directory)) if os.path.isdir(directory) else ():
            with open(os.path.join(directory, name), "rb") as file:
                file.read()
    with open("/etc/hosts", encoding="utf-8") as hosts:
        if "10.20.30.10 bai-m1" not in hosts.read():
            drifted.append("hosts")
    print(f"{len(drifted)} drifted", *drifted)
    return 1 if drifted else 0


sys.exit(main())
