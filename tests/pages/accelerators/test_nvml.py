"""NVML through a compiled substitute library: healthy, mismatched, not loaded, hanging, crashing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.state import Library
from bai_wizard.node.hardware import GpuProcess, Nvml, kernel_address, nvml_from_json
from bai_wizard.resources.local import LocalMachine
from tests.waiting import ends

SOURCE = Path(__file__).with_name("nvml_stand_in.c")
ASK = """
import sys
from bai_wizard.core.errors import StateUnknown
from bai_wizard.node import hardware as libraries
from bai_wizard.resources.local import LocalMachine
libraries.NVML_DEADLINE = 2.0
try:
    library = LocalMachine().library("nvml")
except StateUnknown as error:
    print("cannot tell:", error)
else:
    print(library.said if library else "none")
print("pynvml" in sys.modules, file=sys.stderr)
"""
CUDART = """
int cudaRuntimeGetVersion(int *number) { *number = 12040; return 0; }
"""


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with libnvidia-ml.so.1 and libcudart.so.12, compiled here."""
    if shutil.which("gcc") is None:
        pytest.skip("not installed: gcc")
    directory = tmp_path_factory.mktemp("libraries")
    cudart = directory / "cudart.c"
    cudart.write_text(CUDART)
    for source, name in ((SOURCE, "libnvidia-ml.so.1"), (cudart, "libcudart.so.13")):
        argv = ["gcc", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", str(directory / name), str(source)]
        subprocess.run(argv, check=True)
    return directory


def python(code: str, directory: Path, stand_in: str) -> subprocess.CompletedProcess[str]:
    """Runs Python where the loader finds the stand-ins."""
    environment = {**os.environ, "LD_LIBRARY_PATH": str(directory), "STAND_IN": stand_in}
    argv = [sys.executable, "-c", code]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=True)


def asked(directory: Path, stand_in: str) -> str:
    return python(ASK, directory, stand_in).stdout.strip()


def answer(directory: Path, stand_in: str) -> Nvml:
    return nvml_from_json(asked(directory, stand_in))


def test_eight_gpus(libraries: Path) -> None:
    result = answer(libraries, "healthy")
    assert result.is_healthy
    assert (result.driver, result.cuda, len(result.gpus)) == ("580.95.05", (13, 0), 8)
    first, last = result.gpus[0], result.gpus[7]
    assert (first.address, last.address) == ("0000:17:00.0", "0000:1e:00.0")
    assert first.name == "NVIDIA H100 80GB HBM3"
    assert first.memory == 85520809984
    assert (first.mig, first.ecc, first.persistence, first.fabric) == ((False, False), True, True, "completed")
    assert (first.used, last.used) == (3 << 30, 0)
    assert first.processes == (GpuProcess(4242, 2 << 30), GpuProcess(4343)), "0: the driver does not tell"
    assert last.processes == ()


def test_a_driver_without_a_newer_function_still_answers(libraries: Path, tmp_path: Path) -> None:
    """R470 has no `nvmlDeviceGetComputeRunningProcesses_v3`."""
    old = tmp_path / "libnvidia-ml.so.1"
    text = SOURCE.read_text().replace("nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetUnknown")
    (tmp_path / "old.c").write_text(text)
    argv = ["gcc", "-shared", "-fPIC", "-Wl,-soname,libnvidia-ml.so.1", "-o", str(old), str(tmp_path / "old.c")]
    subprocess.run(argv, check=True)
    assert [gpu.processes for gpu in answer(tmp_path, "healthy").gpus] == [()] * 8


def test_mig_on_eight_gpus(libraries: Path) -> None:
    result = answer(libraries, "mig")
    assert all(gpu.mig == (True, True) for gpu in result.gpus)
    assert result.gpus[1].slices == ("MIG-1007", "MIG-1008")


def test_a_small_gpu_without_ecc_mig_and_fabric(libraries: Path) -> None:
    (gpu,) = answer(libraries, "one").gpus
    assert (gpu.mig, gpu.ecc, gpu.uncorrected, gpu.fabric) == (None, None, None, "")
    assert not gpu.lost


def test_errors_and_a_lost_gpu(libraries: Path) -> None:
    result = answer(libraries, "ecc").gpus[2]
    assert (result.uncorrected, result.remap) == (4, (True, False))
    lost = answer(libraries, "lost").gpus
    assert [bool(gpu.lost) for gpu in lost] == [False, False, False, True, False, False, False, False]
    assert "GPU is lost" in lost[3].lost


@pytest.mark.parametrize("stand_in, code", [("mismatch", 18), ("not-loaded", 9)])
def test_a_driver_that_reports_its_error(libraries: Path, stand_in: str, code: int) -> None:
    result = answer(libraries, stand_in)
    assert (result.error, result.gpus) == (code, ())
    assert result.message


def test_a_driver_that_hangs_costs_its_deadline(libraries: Path) -> None:
    with ends("the driver"):
        assert asked(libraries, "hang") == "cannot tell: NVIDIA's driver: no response within 2 s"


def test_a_library_that_crashes_takes_only_its_child_along(libraries: Path) -> None:
    assert "ended without a result" in asked(libraries, "crash")


def test_no_library_is_absent(tmp_path: Path) -> None:
    assert asked(tmp_path, "healthy") == "none"


def test_the_wizard_itself_never_loads_it(libraries: Path) -> None:
    assert python(ASK, libraries, "healthy").stderr.strip() == "False"


def test_the_runtime_library_is_loaded_as_the_agent_does(libraries: Path) -> None:
    code = "from bai_wizard.resources.local import LocalMachine; print(LocalMachine().library('cudart'))"
    message = python(code, libraries, "").stdout.strip()
    assert message == str(Library("12.4", "libcudart.so.13"))


def test_another_root_is_unknown_to_this_nodes_libraries(tmp_path: Path) -> None:
    with pytest.raises(StateUnknown, match="running node"):
        LocalMachine(str(tmp_path)).library("nvml")


def test_addresses_are_the_kernels() -> None:
    assert kernel_address("00000000:17:00.0") == "0000:17:00.0"
    assert kernel_address("00010000:C1:00.0") == "10000:c1:00.0"
