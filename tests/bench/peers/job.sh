#!/bin/bash
# The same reads as floor.py in bash: whether the node is as desired.
drifted=()
[[ $(id -u bai):$(id -g bai) == 1100:1100 ]] || drifted+=(account)
[[ $(getent group sudo) == *bai* ]] || drifted+=(sudo)
grep -q '^bai:\$y\$' /etc/shadow || drifted+=(password)
while read -r key value; do
    read -r -a live <"/proc/sys/${key//./\/}"
    [[ ${live[*]} == "$value" ]] || drifted+=("$key")
done <<'VALUES'
net.ipv4.tcp_fin_timeout 10
net.ipv4.tcp_slow_start_after_idle 0
net.ipv4.ip_local_port_range 10000 65000
net.ipv4.tcp_tw_reuse 1
net.ipv4.tcp_window_scaling 1
net.ipv4.tcp_wmem 4096 12582912 16777216
VALUES
while read -r path want; do
    [[ $(stat -c '%u %a' "$path") == "$want" ]] || drifted+=("$path")
done <<'FILES'
/etc/sysctl.d/99-backendai.conf 0 644
/etc/security/limits.d/99-backendai.conf 0 644
/home/bai/.ssh/authorized_keys 1100 600
/vfroot/local 1100 755
FILES
cat /etc/sysctl.d/* /usr/lib/sysctl.d/* /etc/security/limits.d/* >/dev/null
grep -q '10.20.30.10 bai-m1' /etc/hosts || drifted+=(hosts)
echo "${#drifted[@]} drifted ${drifted[*]}"
[[ ${#drifted[@]} == 0 ]]
