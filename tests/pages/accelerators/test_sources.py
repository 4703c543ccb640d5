"""Sources of NVIDIA's packages: repositories, keys, and unavailable sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from bai_wizard.core.operation import Offer
from bai_wizard.core.page import Context, Known, Unknown
from bai_wizard.core.state import Key
from bai_wizard.core.step import Blocked, Plan
from bai_wizard.pages.accelerators import nvidia as data
from bai_wizard.pages.accelerators.nvidia.probe import LARGEST_KEY, fetch_key
from bai_wizard.pages.accelerators.plan import PAGE
from bai_wizard.steps.apt_sources import key_fault
from tests.node.apt_repository import served
from tests.pages.accelerators.buses import KERNEL, TOOLKIT, VERSION, healthy, installed, node
from tests.pages.storage.lifecycle import plan_of, shown
from tests.pages.ubuntu import file

HERE = Context(host="gpu01")
OFFLINE = Context(host="gpu01", demo=True)
DEBIAN = 'ID=debian\nVERSION_ID="{version}"\nVERSION_CODENAME={codename}\n'


def planned(machine: object, context: Context = OFFLINE, **nvidia: object) -> Plan:
    return plan_of(PAGE, {"nvidia": nvidia}, machine, context)  # type: ignore[arg-type]


def blocked(plan: Plan) -> dict[str, str]:
    return {
        item.step.id.removeprefix("accelerators."): item.verdict.reason
        for item in plan.steps
        if isinstance(item.verdict, Blocked)
    }


def test_the_bundled_key_is_the_one_whose_fingerprint_is_pinned() -> None:
    repository = data.toolkit_repository()
    assert key_fault(repository.key.encode(), repository.fingerprint) == ""


def test_a_key_is_fetched_and_compared(tmp_path: Path) -> None:
    """A server's response is accepted as a key only if its fingerprint matches."""
    (tmp_path / "3bf863cc.pub").write_text("an error page\n")
    with served(tmp_path) as port:
        fetched = fetch_key(f"http://127.0.0.1:{port}/3bf863cc.pub", HERE)
        assert fetched == Known("an error page\n")
        machine = node("l4-bare")
        plan = planned(machine, HERE, source="nvidia", apt_url=f"http://127.0.0.1:{port}")
    assert "not the expected one" in blocked(plan)["nvidia-cuda-key"]


def test_a_key_that_cannot_be_fetched_explains_how_to_provide_it(tmp_path: Path) -> None:
    with served(tmp_path) as port:
        missing = fetch_key(f"http://127.0.0.1:{port}/x.pub", HERE)
    gone = fetch_key(f"http://127.0.0.1:{port}/x.pub", HERE)
    for result, cause in ((missing, "HTTP status 404"), (gone, "cannot be reached")):
        assert isinstance(result, Unknown)
        assert cause in result.reason
        assert "key_file" in result.reason


def test_an_endless_response_is_truncated(tmp_path: Path) -> None:
    (tmp_path / "big.pub").write_text("x" * (LARGEST_KEY * 2))
    with served(tmp_path) as port:
        fetched = fetch_key(f"http://127.0.0.1:{port}/big.pub", HERE)
    assert isinstance(fetched, Known)
    assert len(fetched.value) == LARGEST_KEY


def test_nvidias_repository_has_its_own_names_and_key() -> None:
    """Each release has a key of its own."""
    assert "3bf863cc.pub" in blocked(planned(node("l4-bare"), source="nvidia"))["nvidia-cuda-key"]
    files = {"/usr/lib/os-release": 'ID=ubuntu\nVERSION_ID="26.04"\nVERSION_CODENAME=resolute\n'}
    assert "60DF8A40.pub" in blocked(planned(node("l4-bare", files=files), source="nvidia"))["nvidia-cuda-key"]
    files = {"/usr/lib/os-release": 'ID=ubuntu\nVERSION_ID="25.04"\nVERSION_CODENAME=plucky\n'}
    assert (
        "NVIDIA has no repository for"
        in blocked(planned(node("l4-bare", files=files), source="nvidia"))["cuda-source"]
    )


def test_a_mirror_of_everything_is_named_once() -> None:
    text = shown(planned(node("l4-bare"), source="nvidia", apt_url="https://mirror.corp/all"))
    assert text.count("URIs: https://mirror.corp/all") == 1


def test_the_toolkit_that_is_here_needs_no_source() -> None:
    plan = planned(node("l4-bare", {**healthy("l4-bare"), **installed(dict.fromkeys(TOOLKIT, "1.17.4-1"))}))
    assert not any(item.step.id.startswith("accelerators.nvidia-container-toolkit") for item in plan.steps)
    assert "URIs" not in shown(plan)


@pytest.mark.parametrize(
    "version, codename, cudart", [("12", "bookworm", "libcudart11.0"), ("13", "trixie", "libcudart12")]
)
def test_debian_builds_the_module(version: str, codename: str, cudart: str) -> None:
    offers = {name: Offer(VERSION) for name in (
        "libcuda1", "libnvidia-ml1", "nvidia-smi", "nvidia-persistenced", "nvidia-open-kernel-dkms", cudart,
        f"linux-headers-{KERNEL}", *TOOLKIT,
    )}  # fmt: skip
    files = {"/usr/lib/os-release": DEBIAN.format(version=version, codename=codename)}
    text = shown(planned(node("l4-bare", files=files, offers=offers)))
    assert "+ package nvidia-open-kernel-dkms" in text
    assert f"+ package linux-headers-{KERNEL}" in text
    assert f"+ package {cudart}" in text


def test_debian_without_non_free_names_the_components_to_add() -> None:
    """The package lists were refreshed, and the package is still not available."""
    machine = node(
        "l4-bare", files={"/usr/lib/os-release": DEBIAN.format(version="13", codename="trixie")}, offers={}
    )
    driver = next(item.step for item in planned(machine).steps if item.step.id == "accelerators.driver")
    verdict = driver.inspect(machine)
    assert isinstance(verdict, Blocked)
    assert "contrib and non-free" in verdict.reason


def test_debians_branch_is_too_old_for_new_gpus_and_is_the_only_one() -> None:
    files = {"/usr/lib/os-release": DEBIAN.format(version="13", codename="trixie")}
    assert 'source = "nvidia"' in blocked(planned(node("b200x2", files=files)))["driver"]
    assert "has driver branch 550" in blocked(planned(node("l4-bare", files=files), driver="580"))["driver"]


def test_an_older_source_with_another_key_gives_way() -> None:
    """Else apt refuses all sources; undo brings it back."""
    old = f"deb [signed-by=/usr/share/keyrings/x.gpg] {data.toolkit_repository().url} /\n"
    path = "/etc/apt/sources.list.d/nvidia-container-toolkit.list"
    machine = node("l4-bare", healthy("l4-bare"), files={path: old})
    assert f"--- {path}" in shown(planned(machine))
    machine.set_state(Key("file", path), file(old + "deb https://other.example/ x main\n"))
    assert path in blocked(planned(machine))["nvidia-container-toolkit-source"]


@pytest.mark.parametrize(("apt", "gives_way"), [("3.0.4", False), ("2.6.1", True)])
def test_a_source_without_a_key_gives_way_only_where_apt_would_refuse_both(apt: str, gives_way: bool) -> None:
    path = "/etc/apt/sources.list.d/nvidia-container-toolkit.list"
    listed = {path: f"deb {data.toolkit_repository().url} /\n"}
    machine = node("l4-bare", {**healthy("l4-bare"), **installed({"apt": apt})}, files=listed)
    assert (f"--- {path}" in shown(planned(machine))) is gives_way


def test_the_cuda_version_is_supported_by_driver_and_agent() -> None:
    assert data.cuda_of("550") == "12.4"
    assert data.cuda_of("580") == "13.0"
    assert data.cuda_of("610") == "13.0", "the agent knows nothing newer"
    assert data.cuda_packages("nvidia-ubuntu", "runtime", "570") == ("cuda-cudart-12-8",)
