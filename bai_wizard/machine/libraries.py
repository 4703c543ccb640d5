"""Shared libraries, really loaded: by a child of their own, because what they do in there may hang or crash."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

from bai_wizard.core.errors import CannotTell
from bai_wizard.core.state import Library
from bai_wizard.machine.account import as_account

if TYPE_CHECKING:
    from bai_wizard.machine.local import LocalMachine

# Seconds; a healthy driver without persistence wakes each GPU first, which takes one or two for each.
NVML_DEADLINE = 20.0
CUDART_DEADLINE = 5.0
# Major versions in the order in which Backend.AI's agent tries them (accelerator/cuda_open/nvidia.py).
CUDART_MAJORS = (13, 12, 11, 10, 9, 8, 7, 6, 5)


def library_state(machine: LocalMachine, name: str) -> Library | None:
    """What a library tells; None where it is not there. Raises CannotTell when it gives no answer in time."""
    if machine.prefix:
        raise CannotTell(f"a library of the running node says nothing about {machine.root}")
    if name == "nvml":
        return _nvml()
    if name == "cudart":
        return _cudart()
    raise CannotTell(f"library {name}: nobody knows how to ask it")


def _nvml() -> Library | None:
    from bai_wizard.machine import nvml

    try:
        answer = as_account(None, nvml.ask, answer=nvml.Nvml | None, deadline=NVML_DEADLINE)
    except CannotTell as error:
        raise CannotTell(f"NVIDIA's driver: {error}") from error
    return None if answer is None else Library(answer.driver, nvml.to_said(answer))


def _cudart() -> Library | None:
    try:
        found = as_account(None, load_cudart, answer=tuple[str, str] | None, deadline=CUDART_DEADLINE)
    except CannotTell as error:
        raise CannotTell(f"CUDA's runtime library: {error}") from error
    return None if found is None else Library(found[1], found[0])


def load_cudart() -> tuple[str, str] | None:
    """The runtime library that the agent would load, and its version; None where it would find none.

    Runs in the calling process. A library is found by name as any program finds it: by ldconfig's cache.
    """
    for name in (*(f"libcudart.so.{major}" for major in CUDART_MAJORS), "libcudart.so"):
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        number = ctypes.c_int()
        if library.cudaRuntimeGetVersion(ctypes.byref(number)) != 0:
            return name, ""
        return name, f"{number.value // 1000}.{number.value % 1000 // 10}"
    return None
