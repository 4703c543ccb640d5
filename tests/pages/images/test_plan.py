"""The plan of the images page: selected, excluded and refused images, and the notes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.page import Absent, Context, Fact, Known, Role, Unknown
from bai_wizard.core.state import Entry, Image, Key, Package
from bai_wizard.node.demo import demo_machine
from bai_wizard.node.registry import Offer, Registry, Unreachable
from bai_wizard.node.simulated import Environment, SimulatedMachine
from bai_wizard.pages.images.plan import PAGE, lends, predict, steps
from bai_wizard.pages.images.probe import (
    LOOKUPS_AT_ONCE,
    Archive,
    DesiredImage,
    ImagesFacts,
    ImageStatus,
    Room,
    Standing,
    access_of,
    has_nvidia,
    starters,
    wanted,
)
from bai_wizard.pages.images.settings import ImagesSettings
from tests.pages.storage.lifecycle import plan_of, run, undo
from tests.settings import settings_from

CONTEXT = Context(host="gpu01", backend_ai="26.4", demo=True)
FACTS = ImagesFacts("amd64", rooms=(Room("/", 100 << 30), Room("/var/lib/docker", 50 << 30)))


def settings(**table: Any) -> ImagesSettings:
    return settings_from(ImagesSettings, table)


def findings_of(reference: str, standing: Standing, starter: bool = False, **more: Any) -> ImageStatus:
    return ImageStatus(DesiredImage(reference, starter), standing, **more)


def made(table: dict[str, Any], *images: ImageStatus, **facts: Any) -> dict[str, Any]:
    """The steps by id."""
    return {step.id: step for step in steps(settings(**table), replace(FACTS, images=images, **facts), CONTEXT)}


def test_the_manuals_four_whatever_the_node() -> None:
    assert len(starters("manual", ("management",), "arm64")) == 4


@pytest.mark.parametrize(
    "roles, architecture, names",
    [
        (
            ("compute",),
            "amd64",
            [
                "python:3.13-ubuntu24.04-amd64",
                "sftp-server:24.04-ubuntu24.04",
                "filebrowser:25.08-ubuntu24.04",
            ],
        ),
        (("compute",), "arm64", ["python:3.13-ubuntu24.04-arm64", "sftp-server:24.04-ubuntu24.04"]),
        (("storage",), "amd64", ["sftp-server:24.04-ubuntu24.04"]),
        (("management",), "amd64", []),
        (("compute",), "", []),
    ],
)
def test_the_current_set_by_role(roles: tuple[Role, ...], architecture: str, names: list[str]) -> None:
    chosen = wanted(settings(), replace(CONTEXT, roles=roles), architecture)
    assert [image.reference.rpartition("/")[2] for image in chosen] == names


@pytest.mark.parametrize(
    ("device", "gpu"),
    [
        ("PCI_CLASS=30200\nPCI_ID=10DE:2330", True),
        ("PCI_CLASS=30000\nPCI_ID=10DE:27B8", True),
        ("PCI_CLASS=40300\nPCI_ID=10DE:22E8", False),
        ("PCI_CLASS=30000\nPCI_ID=1A03:2000", False),
    ],
)
def test_an_image_for_gpus_where_there_is_one(device: str, gpu: bool) -> None:
    directory = "/sys/bus/pci/devices/0000:17:00.0"
    machine = SimulatedMachine(
        {Key("file", f"{directory}/uevent"): Entry("file", 0, 0, 0o644, device.encode())},
        Environment(kernel={f"{directory}/uevent": device, "/proc/sys/kernel/arch": "x86_64"}),
    )
    chosen = wanted(settings(), CONTEXT, "amd64", has_nvidia(machine))
    assert any("cuda13" in image.reference for image in chosen) == gpu


def test_rewritten_to_an_own_registry_each_once() -> None:
    own = settings(registry="harbor.corp/bai", pull=["harbor.corp/bai/stable/python:3.13-ubuntu24.04-amd64", "x/y:1"])
    chosen = wanted(own, CONTEXT, "amd64")
    assert [image.reference for image in chosen] == [
        "harbor.corp/bai/stable/python:3.13-ubuntu24.04-amd64",
        "harbor.corp/bai/stable/sftp-server:24.04-ubuntu24.04",
        "harbor.corp/bai/stable/filebrowser:25.08-ubuntu24.04",
        "x/y:1",
    ]
    assert chosen[0].canonical == "cr.backend.ai/stable/python:3.13-ubuntu24.04-amd64"
    assert chosen[3].canonical == ""


@pytest.mark.parametrize("standing", ["not-found", "denied", "other-platform"])
def test_a_missing_starter_is_skipped_and_a_missing_additional_image_blocks(standing: Standing) -> None:
    steps = made(
        {}, findings_of("a/s:1", standing, starter=True, reason="why"), findings_of("a/b:1", "offered", size=5)
    )
    assert steps["images.pull.a/s:1"].optional
    assert [pull.reference for pull in steps["images.pull"].images] == ["a/b:1"]
    steps = made({}, findings_of("a/s:1", standing, reason="why"))
    assert not steps["images.pull.a/s:1"].optional
    assert "a/s:1: why" in steps["images.pull.a/s:1"].reason
    assert "images.pull" not in steps


def test_unknown_is_reported_as_unknown() -> None:
    steps = made({}, findings_of("a/b:1", "unknown", reason="no route"))
    assert steps["images.pull"].images[0].remark == "size unknown: no route"


@pytest.mark.parametrize(
    "tag, driver, message",
    [
        ("1-cuda12.8", Known("550.54.15"), "needs CUDA 12.8, but driver 550.54.15 supports only 12.4"),
        ("1-cuda12.4", Known("550.54.15"), ""),
        ("1-cuda11.3", Known("580.65.06"), ""),
        ("1-cuda13.9", Known("999.1"), ""),
        ("1-cuda13.3", Known("610.43.02"), ""),
        ("1-cuda13.3", Known("595.58.03"), "needs CUDA 13.3, but driver 595.58.03 supports only 13.2"),
        ("1-cuda11.3", Known("390.157"), "needs CUDA 11.3, but driver 390.157 is too old"),
        ("1-cuda12.8", Unknown("hangs"), "needs CUDA 12.8; the driver's CUDA version is unknown: hangs"),
        ("1-cuda12.8", Absent(), ""),
        ("1-py312", Known("450.1"), ""),
    ],
)
def test_cuda_of_the_tag_against_the_drivers(tag: str, driver: Fact[str], message: str) -> None:
    steps = made({}, findings_of(f"a/b:{tag}", "offered"), driver=driver)
    assert steps["images.pull"].images[0].remark.startswith(message)
    assert bool(steps["images.pull"].images[0].remark) == bool(message)


def test_room_is_checked_where_the_layers_will_lie() -> None:
    image = findings_of("a/b:1", "offered", size=20 << 30)
    assert "/var/lib/docker, which contains" in made({}, image)["images.room"].reason
    elsewhere = {"data_root": "/data", "rooms": (Room("/", 100 << 30), Room("/var/lib/containerd", 1 << 30))}
    assert "images.pull" in made({}, image, **elsewhere)
    both = made({}, image, uses_containerd=True, **elsewhere)
    assert "/var/lib/containerd" in both["images.room"].reason
    assert "images.pull" in made({}, image, rooms=()), "where nobody can tell, nothing is refused"


def test_directories_as_the_docker_page_will_have_set_them() -> None:
    machine = demo_machine("bare", delay=0)
    text = b'{"data-root": "/data/docker", "features": {"containerd-snapshotter": true}}'
    machine.set_state(Key("file", "/etc/docker/daemon.json"), Entry("file", 0, 0, 0o644, text))
    after = predict(FACTS, machine)
    assert (after.data_root, after.uses_containerd) == ("/data/docker", True)


@pytest.mark.parametrize(
    "config, package, facts, root, containerd",
    [
        ('{"debug": true}', "5:28.5.1-1~x", {"data_root": "/flag"}, "/flag", False),
        ("{}", "5:29.1.2-1~x", {}, "/var/lib/docker", True),
        ('{"features": {"containerd-snapshotter": false}}', "5:29.1.2-1~x", {}, "/var/lib/docker", False),
        ("{}", "5:29.1.2-1~x", {"engine_answers": True}, "/var/lib/docker", False),
        ("{}", "5:28.5.1-1~x", {"engine_answers": True, "uses_containerd": True}, "/var/lib/docker", True),
        ("{}", "", {}, "/var/lib/docker", False),
    ],
)
def test_where_layers_will_lie(config: str, package: str, facts: dict[str, Any], root: str, containerd: bool) -> None:
    machine = demo_machine("bare", delay=0)
    machine.set_state(Key("file", "/etc/docker/daemon.json"), Entry("file", 0, 0, 0o644, config.encode()))
    machine.set_state(Key("package", "docker-ce"), Package(package) if package else None)
    after = predict(replace(FACTS, **facts), machine)
    assert (after.data_root, after.uses_containerd) == (root, containerd)


def test_containerds_own_directory_is_asked_of_its_configuration() -> None:
    machine = demo_machine("bare", delay=0)
    assert PAGE.probe(machine, settings(starter="none"), CONTEXT).content_root == "/var/lib/containerd"
    for text, root in (
        ('root = "/data/containerd/"\n[grpc]\n', "/data/containerd"),
        ("root = [", "/var/lib/containerd"),
    ):
        entry = Entry("file", 0, 0, 0o644, text.encode())
        machine.set_state(Key("file", "/etc/containerd/config.toml"), entry)
        assert PAGE.probe(machine, settings(starter="none"), CONTEXT).content_root == root


def test_authorities_of_the_own_registry_are_used_for_looking_up() -> None:
    machine = demo_machine("bare", delay=0)
    for number, path in enumerate(
        ("harbor.corp/ca.crt", "harbor.corp/old.crt", "harbor.corp/client.cert", "x:5000/a.crt")
    ):
        entry = Entry("file", 0, 0, 0o644, f"PEM {number}".encode())
        machine.set_state(Key("file", f"/etc/docker/certs.d/{path}"), entry)
    own = settings(registry="harbor.corp/bai", pull=["x:5000/y:1"])
    assert access_of(machine, own, CONTEXT).authorities == ("PEM 0", "PEM 1", "PEM 3")


ARCHIVE = Archive("/srv/a.tar", "0" * 64, 1000, ("a/b:1",), ("sha256:1",), ("amd64",))


@pytest.mark.parametrize(
    "archive, message",
    [
        (Unknown("/srv/a.tar is no archive"), "no archive"),
        (Absent(), "does not exist"),
        (Known(replace(ARCHIVE, architectures=("arm64",))), "contains images for arm64"),
        (Known(replace(ARCHIVE, size=40 << 30)), "needs about"),
    ],
)
def test_archives_that_do_not_do(archive: Fact[Archive], message: str) -> None:
    assert message in made({}, archives=(("/srv/a.tar", archive),))["images.archives.1"].reason


def test_an_archive_needs_room_in_containerds_directory_as_well() -> None:
    small = {"uses_containerd": True, "rooms": (*FACTS.rooms, Room("/var/lib/containerd", 1 << 30))}
    archive = Known(replace(ARCHIVE, size=2 << 30))
    assert "/var/lib/containerd" in made({}, archives=(("/srv/a.tar", archive),), **small)["images.archives.1"].reason


def test_an_archive_with_another_content_under_the_name() -> None:
    machine = demo_machine("bare", delay=0)
    step = made({}, archives=(("/srv/a.tar", Known(ARCHIVE)),))["images.archives.1"]
    assert "pending" in type(step.inspect(machine)).kind
    machine.set_state(Key("image", "a/b:1"), Image("sha256:1"))
    assert type(step.inspect(machine)).kind == "unchanged"
    machine.set_state(Key("image", "a/b:1"), Image("sha256:2"))
    assert "different content" in step.inspect(machine).reason


def test_passwords_go_by_name() -> None:
    table = {"registries": [{"host": "h.corp", "username": "u", "password": {"env": "X"}}, {"host": "i.corp"}]}
    login = made(table, findings_of("h.corp/a:1", "offered"))["images.pull"].logins[0]
    assert (login.registry, login.username, login.secret) == ("h.corp", "u", "images.registries[0].password")
    assert list(lends(settings(**table))) == [login.secret]


def test_pulled_then_nothing_then_undone(tmp_path: Path) -> None:
    machine = demo_machine("finished", delay=0)
    for key in [key for key in machine.snapshot() if key.kind == "image"]:
        machine.set_state(key, None)
    machine.set_state(Key("image", "mine:1"), Image("sha256:9"))
    before = machine.snapshot()
    table = {"registry": "harbor.corp/bai", "retag": True, "pull": ["x.corp/y:1"]}
    done, result = run(machine, plan_of(PAGE, table, machine, CONTEXT), tmp_path)
    assert result.code() == 0, result
    assert plan_of(PAGE, table, machine, CONTEXT).is_empty()
    assert machine.image("cr.backend.ai/stable/python:3.13-ubuntu24.04-amd64") is not None
    assert undo(machine, done, tmp_path).code() == 0
    assert machine.snapshot() == before


def test_a_registry_that_does_not_answer_is_not_asked_for_every_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hundred images of a name that does not resolve took half a minute and 160 MiB."""
    asked: list[str] = []

    def offer(registry: Registry, reference: str, _platform: str) -> Offer:
        asked.append(reference)
        if reference.startswith("silent.example"):
            raise Unreachable("silent.example: the name cannot be resolved")
        if reference.endswith(":5"):
            raise StateUnknown("the answer of well.example is not a manifest")
        return Offer("sha256:0", ("linux/amd64",), 7)

    monkeypatch.setattr(Registry, "offer", offer)
    images = [f"{host}.example/a:{number}" for number in range(100) for host in ("silent", "well")]
    facts = PAGE.probe(SimulatedMachine({}, Environment()), settings(starter="none", pull=images), Context())
    standings = {each.wanted.reference: each.standing for each in facts.images}
    assert list(standings) == images
    assert {standings[name] for name in images if name.startswith("silent")} == {"unknown"}
    assert [standings[name] for name in images if name.startswith("well")].count("offered") == 99
    assert len([name for name in asked if name.startswith("silent")]) <= LOOKUPS_AT_ONCE
    assert all(each.reason for each in facts.images if each.standing == "unknown")
