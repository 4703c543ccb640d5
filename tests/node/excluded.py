"""The only list of paths that are not compared before and after a run."""

# Shell patterns of absolute paths; `*` also matches `/`. A directory that matches is not entered.
EXCLUDED = (
    # Backup copies and locks of shadow-utils.
    "/etc/passwd-", "/etc/group-", "/etc/shadow-", "/etc/gshadow-", "/etc/subuid-", "/etc/subgid-", "/etc/.pwd.lock",
    # Written by the system itself.
    "/etc/mtab", "/etc/resolv.conf", "/etc/machine-id", "/etc/ld.so.cache", "/etc/adjtime",
    "/var/lib/systemd", "/var/lib/private", "/var/lib/dbus", "/var/lib/dhcp", "/var/lib/lastlog", "/var/lib/wtmpdb",
    "/var/lib/sudo", "/var/lib/logrotate", "/var/lib/nfs", "/var/lib/docker", "/var/lib/containerd",
    "/var/lib/snapd", "/var/lib/cloud",
    # Caches and logs.
    "/var/cache", "/var/log", "/var/lib/apt/lists", "/var/lib/dpkg/*-old", "*/__pycache__",
    "*/.bash_history", "/lost+found", "*/lost+found",
    # The wizard itself and its records of runs.
    "/opt/bai-wizard", "/var/lib/bai-wizard",
)  # fmt: skip
