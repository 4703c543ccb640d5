"""A local package called sudo whose maintainer scripts wait for a file or fail, as a test requires."""

from __future__ import annotations

from tests.node.api import Node

# Created by the script when it has started, and the file that lets it continue.
BEGAN = "/run/script-began"
GO_ON = "/run/script-go-on"
# What makes the post-installation script fail.
FAIL = "/run/script-fails"
SCRIPT = f"""#!/bin/sh
echo "$0 $1" >{BEGAN}
while [ ! -e {GO_ON} ]; do sleep 0.05; done
if [ -e {FAIL} ]; then
    echo "looking for the device"
    echo "cannot find /dev/imaginary" >&2
    exit 3
fi
"""
SUDOERS = "%sudo ALL=(ALL:ALL) ALL\n@includedir /etc/sudoers.d\n"
ANSWERS = 'version = 1\n[account]\nsudo = "nopasswd"\n'


def offer_slow_package(node: Node, script: str) -> None:
    """Make it the node's only version of sudo, with `script` (preinst, postinst, prerm) as the slow one."""
    node.run(["sh", "-c", "SUDO_FORCE_REMOVE=yes dpkg --purge sudo && rm -f /etc/apt/sources.list.d/* "
              "/etc/apt/sources.list && rm -rf /srv/repo /root/tree && mkdir -p /root/tree/DEBIAN /srv/repo "
              "/root/tree/usr/bin /root/tree/usr/sbin /root/tree/etc/sudoers.d"], check=True)  # fmt: skip
    node.write(f"/root/tree/DEBIAN/{script}", SCRIPT, 0o755)
    fields = "Package: sudo\nVersion: 99.0\nArchitecture: all\nMaintainer: T <t@example.test>\nDescription: slow\n"
    node.write("/root/tree/DEBIAN/control", fields)
    for program, mode in (("bin/sudo", 0o4755), ("sbin/visudo", 0o755)):
        node.write(f"/root/tree/usr/{program}", "#!/bin/sh\nexit 0\n", mode)
    node.write("/root/tree/etc/sudoers", SUDOERS, 0o440)
    node.run(["dpkg-deb", "--build", "-Znone", "/root/tree", "/srv/repo/sudo.deb"], check=True)
    size = node.run(["stat", "-c", "%s", "/srv/repo/sudo.deb"], check=True).out.strip()
    digest = node.run(["sha256sum", "/srv/repo/sudo.deb"], check=True).out.split()[0]
    node.write("/srv/repo/Packages", f"{fields}Filename: ./sudo.deb\nSize: {size}\nSHA256: {digest}\n")
    node.write("/etc/apt/sources.list.d/local.list", "deb [trusted=yes] file:/srv/repo ./\n")
    node.run(["apt-get", "update"], check=True)
    node.write("/root/answers.toml", ANSWERS, 0o600)
