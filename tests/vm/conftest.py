"""Fixtures: a virtual machine, fresh per test."""

from collections.abc import Callable, Iterator

import pytest

from tests.node.docker import Docker
from tests.vm.booted import fresh_machine
from tests.vm.machine import VirtualMachine


@pytest.fixture
def vm_factory(docker_engine: Docker) -> Iterator[Callable[[], VirtualMachine]]:
    """As many machines as the test wants; each takes 1 GiB of memory and both cores."""
    machines: list[VirtualMachine] = []

    def start() -> VirtualMachine:
        machines.append(fresh_machine(docker_engine))
        return machines[-1]

    yield start
    for machine in machines:
        machine.close()


@pytest.fixture
def vm(vm_factory: Callable[[], VirtualMachine]) -> VirtualMachine:
    """One machine as it is just after its first boot, with the wizard in it."""
    return vm_factory()
