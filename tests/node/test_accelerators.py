"""The way to a GPU in a container, on a node with a simulated card: nouveau, packages, reboot, verification."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bai_wizard.cli import main
from bai_wizard.exit_codes import ExitCode
from bai_wizard.offline.manifest import digest_of
from bai_wizard.pages.accelerators import nvidia
from bai_wizard.steps.apt_sources import public_key
from tests.node.apt_repository import served
from tests.node.conftest import NodeFactory
from tests.node.container import ContainerNode
from tests.node.docker_answers import apply, daemon_json, done, gateway, planned, put
from tests.node.doctor_output import examined, findings_of
from tests.node.egress_counter import lead_nowhere, left, prove_counting
from tests.node.faults import MISMATCH, ON_A_GPU_NODE, complaint
from tests.node.nvidia_hardware import (
    VERSION,
    FlatRepository,
    boot_without_nouveau,
    compiled,
    driver_packages,
    plug_in,
    toolkit_packages,
)

KNOWN = "/opt/bai-wizard/bai_wizard/data/accelerators.toml"
NVIDIAS_OWN = "C95B321B61E88C1809C4F759DDCAE044F796ECB0"
DISTRIBUTION = "/etc/apt/sources.list.d/distribution.sources"
MODULE = "/sys/module/nvidia/version"
EXCLUSION = "/etc/modprobe.d/bai-wizard-nouveau.conf"
MARK = "/var/lib/misc/bai-wizard-gpu-proof"
AN_IMAGE = """set -e
mkdir -p /tmp/image/etc && echo ID=ubuntu >/tmp/image/etc/os-release
tar -C /tmp/image -c . | docker import - ubuntu:24.04 >/dev/null
"""


@pytest.fixture
def gpu_node(node_factory: NodeFactory, tmp_path: Path) -> Iterator[ContainerNode]:
    """A node with Docker, an L4 that nouveau holds, and both repositories at hand."""
    node = node_factory("trixie-docker")
    node.run(["systemctl", "start", "docker"], check=True)
    node.run(["sh", "-c", AN_IMAGE], check=True)
    release = plug_in(node)
    distribution = FlatRepository(tmp_path / "distribution", driver_packages(tmp_path / "compiled", release))
    nvidias = FlatRepository(tmp_path / "nvidia", toolkit_packages())
    with ExitStack() as stack:
        port, other = (stack.enter_context(served(one.root)) for one in (distribution, nvidias))
        node.write("/root/nvidia.asc", nvidias.key)
        node.write(KNOWN, node.read(KNOWN).decode().replace(NVIDIAS_OWN, nvidias.fingerprint))
        node.write("/etc/apt/keyrings/distribution.asc", distribution.key)
        here = gateway(node)
        source = f"Types: deb\nURIs: http://{here}:{port}\nSuites: /\nSigned-By: /etc/apt/keyrings/distribution.asc\n"
        node.write(DISTRIBUTION, source)
        node.run(["apt-get", "-q", "update"], check=True, timeout=120)
        answers = f'[accelerators.nvidia]\napt_url = "http://{here}:{other}"\nkey_file = "/root/nvidia.asc"\n'
        put(node, answers)
        yield node


def test_the_road_to_a_gpu_in_a_container(gpu_node: ContainerNode, tmp_path: Path) -> None:
    """Code 5 at the reboot, then `resume` ends at a container that lists the GPU; a second plan is empty."""
    node = gpu_node
    shown = done(planned(node), 7)
    for what in ("nvidia-headless-no-dkms-580-server-open", "blacklist nouveau", "nvidia-container-runtime"):
        assert what in shown, shown
    output = done(apply(node), 5)
    assert "nouveau controls GPU" in output
    assert "blacklist nouveau" in node.read(EXCLUSION).decode()
    assert daemon_json(node)["runtimes"]["nvidia"]["path"] == "nvidia-container-runtime"
    assert not node.exists(MODULE)
    assert node.read(MARK).decode() == "wanted\n"
    boot_without_nouveau(node)
    done(node.wizard("resume", timeout=600))
    assert node.read(MODULE).decode().strip() == VERSION
    assert node.read(MARK).decode() == "proven with ubuntu:24.04\n"
    listed = node.run(["docker", "run", "--rm", "--runtime", "nvidia", "--entrypoint", "nvidia-smi", "ubuntu:24.04"])
    assert listed.out == "GPU 0: NVIDIA L4 (UUID: GPU-0)\n", listed.err
    held = node.run(["apt-mark", "showhold"], check=True).out.split()
    assert {"libnvidia-compute-580-server", "nvidia-container-toolkit", "libnvidia-container1"} <= set(held)
    started = node.run(["systemctl", "show", "--property=ExecStart,ActiveState", "nvidia-persistenced"]).out
    assert "ActiveState=active" in started
    assert " --persistence-mode" in started
    message = node.wizard("detect", "--json").out
    assert "580.95.05" in message
    assert "libcudart.so.12 (12.0)" in message
    done(planned(node), 0)
    the_doctor_is_content_and_names_what_is_planted(
        node, compiled(tmp_path, "mismatch.so", MISMATCH, is_library=True)
    )


def the_doctor_is_content_and_names_what_is_planted(node: ContainerNode, mismatch: bytes) -> None:
    """Here, where the road has ended: another node would take it from the beginning."""
    node.write("/root/mismatch.so", mismatch)
    assert findings_of(node, "--only", "accelerators") == []
    wrong = []
    for fault in ON_A_GPU_NODE:
        node.run(["sh", "-c", fault.plant], check=True)
        wrong += [output] if (output := complaint(fault, examined(node, "--only", "accelerators"))) else []
        node.run(["sh", "-c", fault.mend], check=True)
    assert not wrong, "\n".join(wrong)
    assert findings_of(node, "--only", "accelerators") == []


def bundled(node: ContainerNode, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The bundle for this node, made here from the repositories at hand."""
    like, bundle = directory / "like", directory / "bundle"
    for path in (DISTRIBUTION, "/etc/apt/keyrings/distribution.asc", "/var/lib/dpkg/status", "/usr/lib/os-release"):
        target = like / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(node.read(path))
    kernel = node.run(["uname", "-r"], check=True).out.strip()
    with (like / "var/lib/dpkg/status").open("a") as status:
        status.write(f"\nPackage: linux-image-{kernel}\nStatus: install ok installed\nVersion: 1\n")
    key = node.read("/root/nvidia.asc").decode()
    (directory / "nvidia.asc").write_text(key)
    fingerprint, _ = public_key(key.encode())
    monkeypatch.setattr(nvidia, "toolkit_repository", lambda url="": nvidia.Repository(url, fingerprint, key))
    answers = directory / "answers.toml"
    answers.write_text(
        node.read("/root/answers.toml").decode().replace("/root/nvidia.asc", f"{directory}/nvidia.asc")
    )
    node.write("/root/answers.toml", answers.read_bytes(), 0o600)
    assert main(["bundle", str(answers), "-o", str(bundle), "--like", str(like)]) == ExitCode.OPTIONAL_FAILED
    return bundle


def test_the_same_road_from_a_bundle(
    gpu_node: ContainerNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Air-gapped, without a repository: driver, CUDA and toolkit come from the bundle; missing parts are reported."""
    node = gpu_node
    bundle = bundled(node, tmp_path, monkeypatch)
    lines = [line for line in capsys.readouterr().out.splitlines() if "[accelerators]" in line]
    assert len(lines) == 2, lines
    assert "nvidia-headless-no-dkms-580-server" in lines[1]
    assert "nvidia-fabricmanager-580" in lines[0]
    node.docker("cp", str(bundle), f"{node.hostname}:/srv/bundle")
    before = node.read(DISTRIBUTION)
    lead_nowhere(node)
    source = ("--bundle", "/srv/bundle", "--bundle-digest", digest_of(bundle))
    assert "nouveau controls GPU" in done(apply(node, *source), 5)
    boot_without_nouveau(node)
    done(node.wizard("resume", timeout=600))
    assert node.read(MODULE).decode().strip() == VERSION
    assert node.read(MARK).decode() == "proven with ubuntu:24.04\n"
    done(node.wizard("--headless", "/root/answers.toml", *source, "--plan", "--detailed-exitcode"))
    assert (node.read(DISTRIBUTION), node.exists("/etc/apt/keyrings/nvidia-container-toolkit.asc")) == (before, False)
    assert left(node) == 0, "something tried to leave"
    prove_counting(node)


def test_undo_reverts_everything_but_packages(gpu_node: ContainerNode) -> None:
    """Files, holds and Docker's configuration are as before; what stays is told."""
    node = gpu_node
    before = node.snapshot(["/etc"])
    done(apply(node), 5)
    boot_without_nouveau(node)
    done(node.wizard("resume", timeout=600))
    output = done(node.wizard("undo", timeout=600))
    assert "packages stay installed" in output
    assert node.run(["apt-mark", "showhold"], check=True).out == ""
    assert "nvidia" not in node.run(["docker", "info", "--format", "{{.Runtimes}}"]).out
    after = node.snapshot(["/etc"])
    # What packages, and the account's own files, leave in /etc is theirs.
    theirs = ("/etc/ld.so.cache", "/etc/systemd/system/multi-user.target.wants")
    changed = {path for path in {*before, *after} if before.get(path) != after.get(path)}
    assert {path for path in changed if not path.startswith(theirs)} == set()


def test_an_installed_driver_is_only_completed(gpu_node: ContainerNode) -> None:
    """A vendor's loaded driver stays; only the container's side is set up."""
    node = gpu_node
    boot_without_nouveau(node)
    node.run(
        ["apt-get", "install", "-q", "-y", "libnvidia-compute-580-server", "nvidia-utils-580-server"], check=True
    )
    node.run(["modprobe", "nvidia"], check=True)
    node.write("/usr/bin/nvidia-uninstall", "#!/bin/sh\n", 0o755)
    shown = done(planned(node), 7)
    assert "nvidia-headless" not in shown
    done(apply(node))
    assert node.read(MARK).decode() == "proven with ubuntu:24.04\n"
    assert not node.exists(EXCLUSION)
    done(planned(node), 0)


def test_the_doctor_on_the_way(gpu_node: ContainerNode) -> None:
    """nouveau is the cause, and the missing module is put down to it."""
    assert findings_of(gpu_node, "--only", "accelerators.nvidia-nouveau,accelerators.nvidia-module-missing") == [
        "accelerators.nvidia-nouveau"
    ]
    fixed = gpu_node.wizard("doctor", "--fix", "accelerators.nvidia-nouveau", "--yes")
    assert fixed.rc == 5, fixed.out + fixed.err
    assert "takes effect at the next boot" in fixed.out + fixed.err
    assert "blacklist nouveau" in gpu_node.read(EXCLUSION).decode()
    done(gpu_node.wizard("undo"))
    assert not gpu_node.exists(EXCLUSION)
