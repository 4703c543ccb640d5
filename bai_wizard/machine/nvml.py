"""What NVIDIA's management library says, asked through pynvml. A sick driver hangs in the kernel: never call this
in the wizard's own process, only in a child with a deadline (`bai_wizard.machine.libraries`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from bai_wizard.core.codec import KEPT

T = TypeVar("T")
# Return codes of nvml.h that mean something of their own to us.
NOT_LOADED = 9
MISMATCH = 18
# NVML's words for the state of a GPU's fabric (nvmlGpuFabricState_t).
FABRIC = {1: "not started", 2: "in progress", 3: "completed"}


@dataclass(frozen=True)
class Gpu:
    """A GPU as the driver sees it; None where the model does not have it or the driver does not tell.

    `address` is the PCI one in the kernel's form, `memory` in bytes. `mig` is (now, after the next reset), `slices`
    counts MIG devices. `uncorrected` counts memory errors since the driver was loaded. `remap` is (a row waits for a
    reset, remapping failed). `fabric` is empty without NVLink fabric. `lost` is why the GPU does not answer at all.
    """

    address: str = ""
    uuid: str = ""
    name: str = ""
    memory: int = 0
    mig: tuple[bool, bool] | None = None
    slices: tuple[str, ...] = ()
    ecc: bool | None = None
    uncorrected: int | None = None
    remap: tuple[bool, bool] | None = None
    persistence: bool | None = None
    fabric: str = ""
    lost: str = ""


@dataclass(frozen=True)
class Nvml:
    """The driver as its library describes it. `error` is NVML's return code where it does not start, 0 for none.

    `cuda` is the newest CUDA that this driver runs, as (major, minor).
    """

    error: int = 0
    message: str = ""
    driver: str = ""
    cuda: tuple[int, int] = (0, 0)
    gpus: tuple[Gpu, ...] = ()

    @property
    def is_healthy(self) -> bool:
        """True when the driver answers; single GPUs may be lost all the same."""
        return self.error == 0


def ask() -> Nvml | None:
    """Everything at once; None where there is no library. Runs in the calling process."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        if error.value == pynvml.NVML_ERROR_LIBRARY_NOT_FOUND:
            return None
        return Nvml(error=int(error.value), message=str(error))
    number = pynvml.nvmlSystemGetCudaDriverVersion()
    return Nvml(
        driver=str(pynvml.nvmlSystemGetDriverVersion()),
        cuda=(number // 1000, number % 1000 // 10),
        gpus=tuple(_gpu(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount())),
    )


def _gpu(pynvml: Any, index: int) -> Gpu:
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        address = kernel_address(str(pynvml.nvmlDeviceGetPciInfo(handle).busId))
    except pynvml.NVMLError as error:
        return Gpu(lost=f"GPU {index}: {error}")

    def tell(read: Callable[[], T]) -> T | None:
        try:
            return read()
        except pynvml.NVMLError:
            return None  # this model, or this driver, does not have it

    memory = tell(lambda: int(pynvml.nvmlDeviceGetMemoryInfo(handle).total))
    mig = tell(lambda: tuple(bool(mode) for mode in pynvml.nvmlDeviceGetMigMode(handle)))
    rows = tell(lambda: pynvml.nvmlDeviceGetRemappedRows(handle))
    ecc = tell(lambda: bool(pynvml.nvmlDeviceGetEccMode(handle)[0]))
    kinds = (handle, pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC)
    return Gpu(
        address=address,
        uuid=tell(lambda: str(pynvml.nvmlDeviceGetUUID(handle))) or "",
        name=tell(lambda: str(pynvml.nvmlDeviceGetName(handle))) or "",
        memory=memory or 0,
        mig=(mig[0], mig[1]) if mig is not None else None,
        slices=_slices(pynvml, handle) if mig is not None and mig[0] else (),
        ecc=ecc,
        uncorrected=tell(lambda: int(pynvml.nvmlDeviceGetTotalEccErrors(*kinds))) if ecc else None,
        remap=(bool(rows[2]), bool(rows[3])) if rows is not None else None,
        persistence=tell(lambda: bool(pynvml.nvmlDeviceGetPersistenceMode(handle))),
        fabric=tell(lambda: _fabric(pynvml, handle)) or "",
        lost="" if memory is not None else f"GPU {index} does not tell its memory",
    )


def _slices(pynvml: Any, handle: Any) -> tuple[str, ...]:
    """The UUIDs of a GPU's MIG devices."""
    found = []
    for index in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        try:
            found.append(str(pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index))))
        except pynvml.NVMLError:
            continue  # indices of slices that are not there
    return tuple(found)


def _fabric(pynvml: Any, handle: Any) -> str:
    info = pynvml.c_nvmlGpuFabricInfoV_t()
    pynvml.nvmlDeviceGetGpuFabricInfoV(handle, pynvml.byref(info))
    word = FABRIC.get(int(info.state), "")
    return f"{word}, but failed ({info.status})" if word == "completed" and info.status else word


def kernel_address(text: str) -> str:
    """`0000:17:00.0`, as /sys has it, of NVML's `00000000:17:00.0`."""
    domain, _, rest = text.lower().partition(":")
    return f"{int(domain, 16):04x}:{rest}" if rest else text


def to_said(answer: Nvml) -> str:
    """The answer as the text of a `Library` state."""
    import json

    return json.dumps(KEPT.encode(answer))


def from_said(text: str) -> Nvml:
    """What `to_said` wrote."""
    import json

    answer = KEPT.decode(Nvml, json.loads(text))
    assert isinstance(answer, Nvml)
    return answer
