"""Which NVIDIA packages a bundle contains for nodes whose cards are unknown."""

from __future__ import annotations

from pathlib import Path

import pytest

from bai_wizard.answers.load import load
from bai_wizard.compose import DesiredState, desired_from_answers
from bai_wizard.offline.manifest import Held, Manifest
from bai_wizard.offline.needs import NO_KERNELS, WantedDriver, missing_items, wanted_drivers
from bai_wizard.offline.packages import likeness
from bai_wizard.pages.node_state import System

UBUNTU = System("ubuntu", "Ubuntu 24.04.3 LTS", "noble", "amd64", "24.04")
DEBIAN = System("debian", "Debian 13", "trixie", "amd64", "13")
OLD, NEW = "6.8.0-60-generic", "6.8.0-71-generic"
VERSION = "580.95.05-0ubuntu0.24.04.1"
USER = {"libnvidia-compute-580-server", "nvidia-utils-580-server"}
TOOLKIT = {
    "nvidia-container-toolkit", "nvidia-container-toolkit-base", "libnvidia-container-tools", "libnvidia-container1",
}  # fmt: skip


def desired(tmp_path: Path, nvidia: str = "") -> DesiredState:
    file = tmp_path / "answers.toml"
    file.write_text(f'version = 1\n[node]\nroles = ["compute"]\n[accelerators.nvidia]\n{nvidia}\n')
    return desired_from_answers(load(str(file), "gpu01"))


def named(driver: WantedDriver, *absent: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """Names with version patterns, from sources that have everything but what begins so; what is told as lacking."""
    packages, lacks = driver.named(lambda name: None if name.startswith(absent) else VERSION)
    return {
        name: version for each in packages for name, version in zip(each.names, each.versions, strict=True)
    }, lacks


def test_both_flavours_come_where_the_cards_decide(tmp_path: Path) -> None:
    opened, closed = wanted_drivers(desired(tmp_path), UBUNTU, (OLD, NEW))
    for driver, flavour in ((opened, "server-open"), (closed, "server")):
        packages, lacks = named(driver)
        assert lacks == ()
        assert {*packages} >= {*USER, *TOOLKIT, f"nvidia-headless-no-dkms-580-{flavour}", "libcudart12"}
        assert {f"linux-modules-nvidia-580-{flavour}-{kernel}" for kernel in (OLD, NEW)} <= {*packages}
        assert packages["nvidia-fabricmanager-580"] == "580.95.05-*", "it starts in the driver's version only"
    assert len(wanted_drivers(desired(tmp_path, 'flavour = "server"'), UBUNTU)) == 1


def test_modules_are_built_where_the_next_kernel_has_none_ready(tmp_path: Path) -> None:
    driver = wanted_drivers(desired(tmp_path), UBUNTU, (OLD, NEW))[0]
    packages, _ = named(driver, f"linux-modules-nvidia-580-server-open-{NEW}")
    assert {"nvidia-dkms-580-server-open", f"linux-headers-{OLD}", f"linux-headers-{NEW}"} <= {*packages}
    packages, lacks = named(driver, f"linux-modules-nvidia-580-server-open-{NEW}", f"linux-headers-{NEW}")
    assert USER.isdisjoint(packages)
    assert any(f"linux-headers-{NEW}" in lack for lack in lacks)


def test_without_kernels_the_modules_are_reported_as_lacking(tmp_path: Path) -> None:
    packages, lacks = named(wanted_drivers(desired(tmp_path), DEBIAN)[0])
    assert lacks == (NO_KERNELS,)
    assert {"libcuda1", "nvidia-open-kernel-dkms"} <= {*packages}


@pytest.mark.parametrize(
    ("asked", "system", "message"),
    [
        ("", UBUNTU, "the fabric manager"),
        ("", DEBIAN, ""),
        ('fabric_manager = "yes"', DEBIAN, "does not start on a node with NVSwitches"),
        ('fabric_manager = "no"', UBUNTU, ""),
    ],
)
def test_a_fabric_manager_that_cannot_be_had(tmp_path: Path, asked: str, system: System, message: str) -> None:
    """Debian has none: only who asks for it is told. An archive that should have it and has not is told."""
    driver = wanted_drivers(desired(tmp_path, asked), system, (NEW,))[0]
    _, lacks = named(driver, "nvidia-fabricmanager", "libnvidia-nscq")
    assert (len(lacks), message in "".join(lacks)) == (1 if message else 0, True)


def test_keeping_the_driver_bundles_only_related_packages(tmp_path: Path) -> None:
    (driver,) = wanted_drivers(desired(tmp_path, 'driver = "keep"\ncuda_toolkit = "none"'), UBUNTU, (NEW,))
    assert {*named(driver)[0]} == TOOLKIT


def test_what_nvlink_5_needs_comes_where_it_is_offered(tmp_path: Path) -> None:
    driver = wanted_drivers(desired(tmp_path), UBUNTU, (NEW,))[0]
    packages, _ = named(driver)
    assert {"nvlsm", "infiniband-diags"} <= {*packages}
    assert packages["libnvsdm"] == "580.95.05-*"
    without, lacks = named(driver, "nvlsm", "libnvsdm")
    assert (lacks, {"nvlsm", "libnvsdm"} & {*without}) == ((), set())


def test_a_driver_without_a_number_is_bundled_in_its_branch(tmp_path: Path) -> None:
    driver = wanted_drivers(desired(tmp_path, 'source = "nvidia"\ndriver = "595"'), UBUNTU, (NEW,))[0]
    packages, _ = named(driver)
    assert packages["nvidia-driver-pinning-595"] == ""
    assert {packages[name] for name in ("libnvidia-compute", "nvidia-dkms-open", "nvidia-fabricmanager")} == {"595.*"}


def test_repositories_of_nvidias_and_their_keys(tmp_path: Path) -> None:
    driver = wanted_drivers(desired(tmp_path, 'source = "nvidia"'), UBUNTU, (NEW,))[0]
    assert ["ubuntu2404" in source.uri for source in driver.sources] == [True, False]
    assert [key.path.rpartition("/")[2] for key in driver.keys] == [
        "nvidia-cuda.asc",
        "nvidia-container-toolkit.asc",
    ]


def test_the_manifest_is_checked_for_the_packages_of_every_card(tmp_path: Path) -> None:
    """One flavour is enough: the plan knows the cards. Kernel modules are the plan's to miss."""
    asked = desired(tmp_path)
    sure = {"nvidia-headless-no-dkms-580-server", "libcudart12", *USER, *TOOLKIT}

    def lacks(names: set[str]) -> str:
        held = tuple(Held(f"packages/{name}_1_amd64.deb", "", 0) for name in names)
        return str(missing_items(asked, Manifest("", "", held, system="noble"), UBUNTU))

    assert lacks(sure) == "()"
    assert "the packages libnvidia-container1" in lacks(sure - {"libnvidia-container1"})


def test_the_kernels_of_a_node_are_read_from_its_packages(tmp_path: Path) -> None:
    """Of installed kernels, the newest last; neither meta packages nor what was removed count."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text('ID=ubuntu\nVERSION_ID="24.04"\nVERSION_CODENAME=noble\n')
    status = tmp_path / "var/lib/dpkg/status"
    status.parent.mkdir(parents=True)
    there, gone = "install ok installed", "deinstall ok config-files"
    result = {f"linux-image-{NEW}": there, "linux-image-6.8.0-9-generic": there, "linux-image-generic": there,
            "linux-image-6.8.0-99-generic": gone, f"linux-image-{NEW}-dbg": there}  # fmt: skip
    text = "\n".join(f"Package: {name}\nStatus: {state}\nVersion: 1\n" for name, state in result.items())
    status.write_text(text)
    like = likeness(str(tmp_path))
    assert (like.kernels(), like.system.version) == (("6.8.0-9-generic", NEW), "24.04")
