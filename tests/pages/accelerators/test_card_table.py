"""The table of cards: memory, driver and users of each; cards without a driver; none at all."""

from __future__ import annotations

from bai_wizard.core.page import Context, Known
from bai_wizard.core.state import Key, Library
from bai_wizard.node.hardware import Gpu, GpuProcess, Nvml, nvml_to_json
from bai_wizard.node.simulated import Environment, SimulatedMachine
from bai_wizard.pages.accelerators.facts import AcceleratorsFacts, Card, GpuUser, NvidiaFacts
from bai_wizard.pages.accelerators.nvidia.probe import nvml, users_of
from bai_wizard.pages.accelerators.rows import card_table

ID = "4cf96e3b47b3d1b74e80e16b3e43ad7225deb7e5196c713c2aa13516e9658ef7"
GPUS = (
    Gpu("0000:18:00.0", "GPU-1", "H100", 80 << 30, used=40 << 30, processes=(GpuProcess(7, 39 << 30), GpuProcess(8))),
    Gpu("0000:2a:00.0", "GPU-2", "H100", lost="GPU 1 does not report its memory"),
)


def cards(*drivers: str) -> Known[tuple[Card, ...]]:
    """One card at each of the addresses, with these drivers."""
    return Known(
        tuple(Card("nvidia", gpu.address, 0x2330, "H100", each) for gpu, each in zip(GPUS, drivers, strict=True))
    )


def node(engine: object = None) -> SimulatedMachine:
    """A node with two GPUs; the first is used by a container and by a program of the host."""
    kernel = {
        "/proc/7/comm": "python",
        "/proc/7/cgroup": f"0::/system.slice/docker-{ID}.scope",
        "/proc/8/comm": "Xorg",
        "/proc/8/cgroup": "0::/system.slice/gdm.service",
    }
    answers = {} if engine is None else {"/containers/json": engine}
    states = {Key("library", "nvml"): Library("580.1", nvml_to_json(Nvml(driver="580.1", gpus=GPUS)))}
    machine = SimulatedMachine(states, Environment(kernel=kernel, engine=answers))
    machine.engine = lambda path, **_: answers.get(path)  # type: ignore[method-assign]
    return machine


def users(machine: SimulatedMachine) -> tuple[GpuUser, ...]:
    driver = nvml(machine)
    assert isinstance(driver, Known)
    return tuple(users_of(machine, driver.value))


def test_processes_are_named_by_their_containers() -> None:
    found = users(node([{"Id": ID, "Names": ["/kernel.train"]}, {"Names": []}, "?"]))
    assert found == (
        GpuUser("0000:18:00.0", 7, "python", "kernel.train", 39 << 30),
        GpuUser("0000:18:00.0", 8, "Xorg"),
    )


def test_without_an_engine_the_container_has_its_id() -> None:
    assert [user.container for user in users(node())] == [ID[:12], ""]


def test_the_rows() -> None:
    answer = Nvml(driver="580.1", gpus=GPUS)
    facts = AcceleratorsFacts(cards("nvidia", "nvidia"), nvidia=NvidiaFacts(nvml=Known(answer), users=users(node())))
    table = card_table(None, facts, Context())
    assert table.rows == (
        ("0", "H100", "▮▮▮▮▯▯▯▯ 40 of 80 GiB", "580.1", f"{ID[:12]}, Xorg"),
        ("1", "H100", "does not respond", "580.1", "nothing"),
    )
    assert table.notes[0] == f"0000:18:00.0  GPU-1  python (7) in container {ID[:12]}, 39.0 GiB  Xorg (8)"


def test_cards_without_a_driver_and_cards_of_virtual_machines() -> None:
    table = card_table(None, AcceleratorsFacts(cards("", "vfio-pci"), nvidia=NvidiaFacts()), Context())
    assert table.rows == (
        ("0", "H100", "", "no driver", ""),
        ("1", "H100", "", "vfio-pci", "reserved for a virtual machine"),
    )
    assert card_table(None, AcceleratorsFacts(Known(())), Context()).rows == ()
