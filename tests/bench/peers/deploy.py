"""The job of the four pages for pyinfra: `files/` holds what the node has once it has converged."""

from pathlib import Path

from pyinfra.operations import files, server

LIVE = {
    "net.ipv4.tcp_fin_timeout": 10,
    "net.ipv4.tcp_slow_start_after_idle": 0,
    "net.ipv4.ip_local_port_range": "10000 65000",
    "net.ipv4.tcp_tw_reuse": 1,
    "net.ipv4.tcp_rmem": "4096 12582912 33554432",
    "net.ipv4.tcp_wmem": "4096 12582912 16777216",
}
HERE = Path(__file__).parent / "files"

server.group(group="bai", gid=1100)
server.user(user="bai", uid=1100, group="bai", groups=["sudo"], append=True, shell="/bin/bash", home="/home/bai")
files.directory(path="/home/bai/.ssh", user="bai", group="bai", mode="700")
files.put(
    src=str(HERE / "authorized_keys"), dest="/home/bai/.ssh/authorized_keys", user="bai", group="bai", mode="600"
)
files.put(src=str(HERE / "sysctl"), dest="/etc/sysctl.d/99-backendai.conf", mode="644")
files.put(src=str(HERE / "limits"), dest="/etc/security/limits.d/99-backendai.conf", mode="644")
for key, value in LIVE.items():
    server.sysctl(key=key, value=value)
for line in (HERE / "hosts").read_text().splitlines():
    files.line(path="/etc/hosts", line=line)
files.directory(path="/vfroot/local", user="bai", group="bai", mode="755")
files.put(src=str(HERE / "version"), dest="/vfroot/local/version.txt", user="bai", group="bai")
