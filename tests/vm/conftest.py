"""Fixtures: a virtual machine, fresh per test."""

from collections.abc import Iterator
from typing import Protocol

import pytest

from tests.node.docker import Docker
from tests.vm.booted import fresh_machine
from tests.vm.machine import VirtualMachine


class MachineFactory(Protocol):
    """Start a machine that is removed after the test; `shape`: like an Ubuntu, `noble` or `resolute`."""

    def __call__(self, shape: str = "") -> VirtualMachine: ...


@pytest.fixture
def vm_factory(docker_engine: Docker) -> Iterator[MachineFactory]:
    """Start as many machines as the test needs; each uses 1 GiB of memory and both cores."""
    machines: list[VirtualMachine] = []

    def start(shape: str = "") -> VirtualMachine:
        machines.append(fresh_machine(docker_engine, shape))
        return machines[-1]

    yield start
    for machine in machines:
        machine.close()


@pytest.fixture
def vm(vm_factory: MachineFactory) -> VirtualMachine:
    """A machine just after its first boot, with the wizard."""
    return vm_factory()
