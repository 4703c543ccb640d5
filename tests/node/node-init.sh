#!/bin/sh
# First process of a container node: the host's own kernel settings become read-only, then systemd takes over.
# net.* stays writable: it belongs to the node's network namespace.
for part in abi debug dev fs kernel user vm; do
    [ -d "/proc/sys/$part" ] || continue
    mount --bind "/proc/sys/$part" "/proc/sys/$part" || exit 90
    mount -o remount,bind,ro "/proc/sys/$part" || exit 91
done
exec /sbin/init
