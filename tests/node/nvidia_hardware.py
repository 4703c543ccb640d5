"""A simulated GPU: its bus entry, its kernel module, and NVIDIA's packages, all created by the test."""

import base64
import subprocess
from collections.abc import Iterable
from pathlib import Path

from tests.node.api import Node
from tests.node.apt_repository import Package, build_package, gpg, make_key

STAND_IN = Path(__file__).parents[1] / "pages/accelerators/nvml_stand_in.c"
VERSION = "580.95.05"
PACKAGE_VERSION = f"{VERSION}-0ubuntu0.24.04.1"
ADDRESS = "0000:17:00.0"
LIBRARIES = "/usr/lib/x86_64-linux-gnu"
CUDART = "int cudaRuntimeGetVersion(int *number) { *number = 12000; return 0; }\n"
SMI = '#include <stdio.h>\nint main(void) { puts("GPU 0: NVIDIA L4 (UUID: GPU-0)"); return 0; }\n'
OS_RELEASE = (
    'ID=ubuntu\nID_LIKE=debian\nVERSION_ID="24.04"\nVERSION_CODENAME=noble\nPRETTY_NAME="Ubuntu 24.04.3 LTS"\n'
)
# Replaces the container toolkit: adds the driver's nvidia-smi to the container, then runs runc.
RUNTIME = """#!/usr/bin/python3
import json, os, sys
if "create" in sys.argv and "--bundle" in sys.argv:
    path = os.path.join(sys.argv[sys.argv.index("--bundle") + 1], "config.json")
    with open(path) as file:
        config = json.load(file)
    tool = {"destination": "/usr/bin/nvidia-smi", "source": "/usr/bin/nvidia-smi", "type": "bind"}
    config["mounts"].append({**tool, "options": ["bind", "ro"]})
    with open(path, "w") as file:
        json.dump(config, file)
os.execvp("runc", ["runc", *sys.argv[1:]])
"""
PERSISTENCED = """[Unit]
Description=NVIDIA Persistence Daemon
[Service]
ExecStart=/usr/bin/nvidia-persistenced --user nvidia-persistenced --no-persistence-mode --verbose
"""
MODPROBE = f"""#!/bin/sh
if [ "$1" = --remove ]; then rm -rf /sys/module/nvidia; exit; fi
mkdir -p /sys/module/nvidia
echo {VERSION} >/sys/module/nvidia/version
"""


def plug_in(node: Node) -> str:
    """Add an L4 bound to nouveau to the node's bus, on a node named Ubuntu. Return the kernel release."""
    release = node.run(["uname", "-r"], check=True).out.strip()
    node.write("/usr/lib/os-release", OS_RELEASE)
    for path in ("/sys/module", "/sys/bus/pci/devices", "/sys/bus/pci/drivers"):
        node.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", path], check=True)
    node.write(f"/sys/bus/pci/drivers/nouveau/{ADDRESS}", "")
    uevent(node, "nouveau")
    node.write("/usr/local/sbin/modprobe", MODPROBE, 0o755)
    node.write("/usr/local/sbin/update-initramfs", f"#!/bin/sh\ntouch /boot/initrd.img-{release}\n", 0o755)
    for path in (f"/boot/vmlinuz-{release}", f"/boot/initrd.img-{release}", f"/lib/modules/{release}/modules.dep"):
        node.write(path, "")
    # Its marks as a container: the wizard leaves drivers of a container to the host.
    node.run(["rm", "-f", "/run/systemd/container", "/.dockerenv"], check=True)
    return release


def uevent(node: Node, driver: str) -> None:
    """Write the kernel's files of the card."""
    lines = [f"DRIVER={driver}"] if driver else []
    node.write(
        f"/sys/bus/pci/devices/{ADDRESS}/uevent", "\n".join([*lines, "PCI_CLASS=30200", "PCI_ID=10DE:27B8"]) + "\n"
    )


def boot_without_nouveau(node: Node) -> None:
    """Apply the effects of a reboot: the blocklist in the initrd kept nouveau from loading."""
    node.run(["rm", f"/sys/bus/pci/drivers/nouveau/{ADDRESS}"], check=True)
    uevent(node, "")


def driver_packages(work: Path, release: str) -> tuple[Package, ...]:
    """The driver's packages with Ubuntu's names, with loadable libraries and a placeholder module."""
    nvml = compiled(work, "libnvidia-ml.so.1", STAND_IN.read_text(), is_library=True)
    cudart = compiled(work, "libcudart.so.12", CUDART, is_library=True)
    smi = compiled(work, "nvidia-smi", SMI, is_library=False)
    built = "kernel/nvidia-580srv-open/nvidia.ko.zst:\n"
    put_module = f"#!/bin/sh\nprintf '{built}' >>/lib/modules/{release}/modules.dep\n"
    daemon = {
        "/usr/lib/systemd/system/nvidia-persistenced.service": PERSISTENCED,
        "/usr/bin/nvidia-persistenced": "#!/bin/sh\nexec sleep infinity\n",
    }
    started = "#!/bin/sh\nchmod 755 /usr/bin/nvidia-persistenced\nsystemctl daemon-reload\n"
    return (
        _with_file("libnvidia-compute-580-server", PACKAGE_VERSION, f"{LIBRARIES}/libnvidia-ml.so.1", nvml),
        _with_file("nvidia-utils-580-server", PACKAGE_VERSION, "/usr/bin/nvidia-smi", smi),
        Package("nvidia-compute-utils-580-server", PACKAGE_VERSION, "", files=daemon, scripts={"postinst": started}),
        Package(
            "nvidia-headless-no-dkms-580-server-open",
            PACKAGE_VERSION,
            f"libnvidia-compute-580-server (= {PACKAGE_VERSION}), nvidia-compute-utils-580-server",
        ),
        Package(
            f"linux-modules-nvidia-580-server-open-{release}",
            "6.8.0-60.63",
            scripts={"postinst": put_module},
        ),
        _with_file("libcudart12", "12.0.146~12.0.1-4build4", f"{LIBRARIES}/libcudart.so.12", cudart),
    )


def toolkit_packages() -> tuple[Package, ...]:
    """The container toolkit's packages."""
    tools = {"/usr/bin/nvidia-container-runtime": RUNTIME, "/usr/bin/nvidia-container-runtime-hook": "#!/bin/sh\n"}
    executable = "#!/bin/sh\nchmod 755 /usr/bin/nvidia-container-runtime*\n"
    version = "1.18.0-1"
    return (
        Package("nvidia-container-toolkit", version, files=tools, scripts={"postinst": executable}),
        *(Package(name, version) for name in
          ("nvidia-container-toolkit-base", "libnvidia-container-tools", "libnvidia-container1")),
    )  # fmt: skip


class FlatRepository:
    """A signed repository in NVIDIA's layout: everything in one directory."""

    def __init__(self, directory: Path, packages: Iterable[Package]) -> None:
        self.root = directory / "repository"
        self.root.mkdir(parents=True)
        home = directory / "gnupg"
        self.key, self.fingerprint = make_key(home, "Test NVIDIA <nvidia@example.test>")
        for package in packages:
            build_package(package, directory / "work", self.root)
        (self.root / "Packages").write_text(self._archive("packages", "."))
        release = self._archive("-o", "APT::FTPArchive::Release::Origin=Test", "release", ".")
        (self.root / "Release").write_text(release)
        gpg(home, "--clearsign", "--output", str(self.root / "InRelease"), str(self.root / "Release"))

    def _archive(self, *words: str) -> str:
        done = subprocess.run(["apt-ftparchive", *words], cwd=self.root, capture_output=True, text=True, check=True)
        return done.stdout


def compiled(work: Path, name: str, source: str, *, is_library: bool) -> bytes:
    """Compile a source: a library of that name, or a static program."""
    work.mkdir(parents=True, exist_ok=True)
    text = work / f"{name}.c"
    text.write_text(source)
    flags = ["-shared", "-fPIC", f"-Wl,-soname,{name}"] if is_library else ["-static"]
    subprocess.run(["gcc", *flags, "-o", str(work / name), str(text)], check=True)
    return (work / name).read_bytes()


def _with_file(name: str, version: str, path: str, content: bytes) -> Package:
    """A package whose only file is binary: its scripts create and remove it."""
    text = base64.encodebytes(content).decode()
    put = f"#!/bin/sh\nset -e\nbase64 -d >{path} <<'END'\n{text}END\nchmod 755 {path}\nldconfig\n"
    return Package(name, version, scripts={"postinst": put, "postrm": f"#!/bin/sh\nrm -f {path}\nldconfig\n"})
