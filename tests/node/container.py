"""A node in a container: systemd as its first process, its own network, the host's kernel behind a seat belt."""

import os
import secrets
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.node.api import Node
from tests.node.docker import Docker
from tests.node.engine import LABEL
from tests.node.tree import NODE_INIT_IN_TREE

CGROUPS = Path("/sys/fs/cgroup")
LEGACY = "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1 systemd.unified_cgroup_hierarchy=0"
BOOT_SECONDS = 180

FLAGS = (
    "--cap-add", "ALL", "--cap-drop", "SYS_RESOURCE", "--security-opt", "seccomp=unconfined",
    "--security-opt", "apparmor=unconfined", "--security-opt", "systempaths=unconfined", "--cgroupns=private",
    "--tmpfs", "/run", "--tmpfs", "/tmp", "--volume", "/var/lib/docker", "--env", "container=docker",
)  # fmt: skip

# Docker shows a container its own control groups, read-only. They become writable; the host's must not be mounted
# in their place: every node's systemd would take the same groups for its own and remove what another one needs.
OWN_GROUPS = """for part in /sys/fs/cgroup /sys/fs/cgroup/*; do
    mountpoint -q "$part" && mount -o remount,bind,rw "$part"
done
exec "$0"
"""


class ContainerNode(Node):
    """A fresh node from an image; its files, accounts, units and ``net.*`` settings are its own.

    ``/etc/hosts`` is a bind mount (renaming onto it gives EBUSY), as in any container; see `own_hosts_file`.
    """

    def __init__(
        self,
        docker: Docker,
        image: str,
        *,
        network: str = "bridge",
        tmpfs: Mapping[str, str] | None = None,
        volumes: Mapping[str, str] | None = None,
        devices: Sequence[str] = (),
    ) -> None:
        """Start it, wait until it is up. ``tmpfs``: path → mount options; ``volumes``: path → host path or name.

        ``devices``: paths of the host's devices that are the node's, too.
        """
        self.docker = docker
        self.hostname = f"node-{secrets.token_hex(4)}"
        extra = ["--network", network, *_cgroup_flags()]
        for path, options in (tmpfs or {}).items():
            extra += ["--tmpfs", f"{path}:{options}" if options else path]
        for path, source in (volumes or {}).items():
            extra += ["--volume", f"{source}:{path}"]
        for path in devices:
            extra += ["--device", path]
        label = f"{LABEL}={os.getpid()}"
        name = ("--name", self.hostname, "--hostname", self.hostname, "--label", label)
        docker("run", "--detach", *name, *FLAGS, *extra, image, "sh", "-c", OWN_GROUPS, f"/{NODE_INIT_IN_TREE}")
        try:
            self.wait_until_up(BOOT_SECONDS)
        except BaseException:
            self.close()
            raise

    def execute(
        self, argv: Sequence[str], data: bytes, timeout: float, user: str | None, env: Mapping[str, str], detach: bool
    ) -> subprocess.CompletedProcess[bytes]:
        options = ["--detach"] if detach else ["--interactive"]
        options += ["--user", user] if user else []
        for name, value in env.items():
            options += ["--env", f"{name}={value}"]
        return self.docker.start("exec", *options, self.hostname, *argv, data=data, timeout=timeout)

    def ssh_address(self) -> tuple[str, int]:
        shown = self.docker("inspect", "--format", "{{.NetworkSettings.IPAddress}}", self.hostname)
        if not shown:
            raise RuntimeError(f"{self.hostname} has no address on the bridge")
        return shown, 22

    def power_cut(self) -> None:
        """All processes are killed at once; files stay, tmpfs is emptied, ``/etc/hosts`` is Docker's again."""
        self.docker("kill", "--signal", "KILL", self.hostname)
        self.docker("start", self.hostname)
        self.wait_until_up(BOOT_SECONDS)

    def own_hosts_file(self) -> None:
        """Turn ``/etc/hosts`` into an ordinary file of the node, with the content it has now."""
        content = self.read("/etc/hosts")
        self.run(["umount", "/etc/hosts"], check=True)
        self.write("/etc/hosts", content)

    def close(self) -> None:
        self.docker.start("rm", "--force", "--volumes", self.hostname)


def _cgroup_flags() -> list[str]:
    """Where the host has the old control groups, systemd needs to be told that they are what it gets."""
    if (CGROUPS / "cgroup.controllers").exists():
        return []
    return ["--env", f"SYSTEMD_PROC_CMDLINE={LEGACY}"]
