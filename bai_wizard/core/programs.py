"""Where programs are found, and the sandboxing of the transient units in which the wizard runs."""

from __future__ import annotations

# The search path that systemd gives to services and sudo to commands. It includes /usr/local: administrators install
# Docker, NVIDIA's tools and this wizard there, and only root can write to it (on old Debian systems also the group
# staff, which Debian documents as equivalent to root). The caller's PATH is never used: it may contain an empty
# entry, `.`, or a directory of another user, where a program of any name could be planted.
PROGRAM_DIRECTORIES = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


def program_path() -> str:
    """The value of PATH for child processes."""
    return ":".join(PROGRAM_DIRECTORIES)


def find_program(name: str) -> str | None:
    """Return the path of a program on the fixed search path; None if it is not installed."""
    from shutil import which

    return which(name, path=program_path())


# Each setting is listed with its reason. Steps run maintainer scripts, mount file systems, load modules, create
# accounts and build Python, so settings that would break these are omitted:
# * Anything that implies a mount namespace (ProtectSystem, ProtectHome, PrivateTmp, ProtectKernelTunables,
#   ProtectKernelModules, ProtectKernelLogs, ProtectControlGroups, ProtectProc, PrivateDevices): the unit's mounts
#   would not be visible on the node.
# * Device lists (ProtectClock, DevicePolicy): boot loader scripts read disks, and a driver's devices appear during
#   the run.
# * RestrictSUIDSGID: dpkg unpacks setuid programs. SystemCallArchitectures: scripts of i386 packages run i386
#   programs.
# * NoNewPrivileges: root gains nothing from setuid, but maintainer scripts start programs as other users that do.
#   Children that run as the account get it (node/run_as.py).
# * MemoryDenyWriteExecute: py-cpuinfo, libffi and JIT compilers map writable executable memory.
HARDENING = {
    # New files are private to root; the runner gives its children 022, as administrators expect.
    "UMask": "0077",
    # A core dump of the executor would contain secrets.
    "LimitCORE": "0",
    # Keep the node usable whatever a step does. Sufficient for building a driver or Python with one job per CPU; a
    # process that exceeds the limit is killed alone, and its step fails.
    "MemoryMax": "80%",
    "TasksMax": "16384",
    "OOMPolicy": "continue",
    # No access to session keyrings (this is the default, made explicit).
    "KeyringMode": "private",
    # Real-time scheduling could starve the node; nothing here uses it.
    "RestrictRealtime": "yes",
    # Emulated personalities disable protections such as address randomization.
    "LockPersonality": "yes",
    # The wizard never sets the host name.
    "ProtectHostname": "yes",
    # A trial mount has its own mount namespace; no other kind is created.
    "RestrictNamespaces": "mnt",
    # Local sockets, IP, netlink (ip, udev, nft) and AF_ALG (initramfs hooks on FIPS systems); no raw packets.
    "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6 AF_NETLINK AF_ALG",
    # Replaces ProtectClock and ProtectKernelLogs; also blocks kexec, I/O ports and other processes' memory.
    "SystemCallFilter": "~@clock @cpu-emulation @debug @obsolete @raw-io @reboot @swap syslog",
    "SystemCallErrorNumber": "EPERM",
    # Not needed by any step: clock, wake-ups, kernel log, reboot and kexec, I/O ports, process accounting, leases,
    # reading the audit log, checkpoints.
    "CapabilityBoundingSet": "~CAP_SYS_TIME CAP_WAKE_ALARM CAP_BLOCK_SUSPEND CAP_SYSLOG CAP_SYS_BOOT CAP_SYS_RAWIO"
    " CAP_SYS_PACCT CAP_LEASE CAP_AUDIT_READ CAP_CHECKPOINT_RESTORE",
}
