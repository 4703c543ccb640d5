"""A node in a container: systemd as PID 1, its own network, and restricted access to the host's kernel."""

import os
import secrets
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.node.api import Node
from tests.node.channel import Channel
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
        """Start it and wait until it is up. ``tmpfs``: path → mount options; ``volumes``: path → host path or name.

        ``devices``: paths of devices of the host that the node can use, too.
        """
        self.docker = docker
        self._channel: Channel | None = None
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
        if self._channel is None or not self._channel.is_open:
            self._close_channel()
            python = ("docker", "exec", "--interactive", self.hostname, "/usr/bin/python3")
            self._channel = Channel(python, self.docker.environment)
        return self._channel.run(argv, data, timeout, user, env, detach)

    def ssh_address(self) -> tuple[str, int]:
        shown = self.docker("inspect", "--format", "{{.NetworkSettings.IPAddress}}", self.hostname)
        if not shown:
            raise RuntimeError(f"{self.hostname} has no address on the bridge")
        return shown, 22

    def power_cut(self) -> None:
        """Kill all processes at once; files stay, tmpfs is emptied, ``/etc/hosts`` is Docker's again."""
        self.docker("kill", "--signal", "KILL", self.hostname)
        self._close_channel()
        self.docker("start", self.hostname)
        self.wait_until_up(BOOT_SECONDS)

    def own_hosts_file(self) -> None:
        """Turn ``/etc/hosts`` into a regular file of the node with its current content, unless it is one."""
        if self.run(["mountpoint", "--quiet", "/etc/hosts"]).rc:
            return
        content = self.read("/etc/hosts")
        self.run(["umount", "/etc/hosts"], check=True)
        self.write("/etc/hosts", content)

    def close(self) -> None:
        self._close_channel()
        self.docker.start("rm", "--force", "--volumes", self.hostname)

    def _close_channel(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None


def _cgroup_flags() -> list[str]:
    """Where the host has the old control groups, systemd needs to be told that they are what it gets."""
    if (CGROUPS / "cgroup.controllers").exists():
        return []
    return ["--env", f"SYSTEMD_PROC_CMDLINE={LEGACY}"]
