"""The plan of the images page: what is taken, what is left out, what is refused, and what is said beside it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bai_wizard.core.context import Context, Role
from bai_wizard.core.facts import Absent, Fact, Known, Unknown
from bai_wizard.core.state import Entry, Image, Key, Package
from bai_wizard.machine.demo import demo_machine
from bai_wizard.pages.images import catalogue
from bai_wizard.pages.images.facts import Archive, Found, ImagesFacts, Room, Standing, Wanted
from bai_wizard.pages.images.page import PAGE
from bai_wizard.pages.images.plan import lends, predict, steps
from bai_wizard.pages.images.probe import access_of, wanted
from bai_wizard.pages.images.settings import ImagesSettings
from tests.pages.storage.cycle import plan_of, run, undo

CONTEXT = Context(host="gpu01", backend_ai="26.4", demo=True)
FACTS = ImagesFacts("amd64", rooms=(Room("/", 100 << 30), Room("/var/lib/docker", 50 << 30)))


def settings(**table: Any) -> ImagesSettings:
    return ImagesSettings.model_validate(table)


def found(reference: str, standing: Standing, starter: bool = False, **more: Any) -> Found:
    return Found(Wanted(reference, starter), standing, **more)


def made(table: dict[str, Any], *images: Found, **facts: Any) -> dict[str, Any]:
    """The steps by id."""
    return {step.id: step for step in steps(settings(**table), replace(FACTS, images=images, **facts), CONTEXT)}


def test_the_manuals_four_whatever_the_node() -> None:
    assert len(catalogue.starters("manual", ("management",), "arm64")) == 4


@pytest.mark.parametrize(
    "roles, architecture, names",
    [
        (("compute",), "amd64", ["python:3.13-ubuntu24.04-amd64", "sftp-server:24.04-ubuntu24.04"]),
        (("compute",), "arm64", ["python:3.13-ubuntu24.04-arm64"]),
        (("storage",), "amd64", ["sftp-server:24.04-ubuntu24.04"]),
        (("management",), "amd64", []),
        (("compute",), "", []),
    ],
)
def test_the_current_set_by_role(roles: tuple[Role, ...], architecture: str, names: list[str]) -> None:
    chosen = wanted(settings(), replace(CONTEXT, roles=roles), architecture)
    assert [image.reference.rpartition("/")[2] for image in chosen] == names


def test_rewritten_to_an_own_registry_each_once() -> None:
    own = settings(registry="harbor.corp/bai", pull=["harbor.corp/bai/stable/python:3.13-ubuntu24.04-amd64", "x/y:1"])
    chosen = wanted(own, CONTEXT, "amd64")
    assert [image.reference for image in chosen] == [
        "harbor.corp/bai/stable/python:3.13-ubuntu24.04-amd64",
        "harbor.corp/bai/stable/sftp-server:24.04-ubuntu24.04",
        "x/y:1",
    ]
    assert chosen[0].canonical == "cr.backend.ai/stable/python:3.13-ubuntu24.04-amd64"
    assert chosen[2].canonical == ""


@pytest.mark.parametrize("standing", ["not-found", "denied", "other-platform"])
def test_a_starter_is_left_out_and_an_own_image_stops_the_plan(standing: Standing) -> None:
    steps = made({}, found("a/s:1", standing, starter=True, reason="why"), found("a/b:1", "offered", size=5))
    assert steps["images.pull.a/s:1"].optional
    assert [pull.reference for pull in steps["images.pull"].images] == ["a/b:1"]
    steps = made({}, found("a/s:1", standing, reason="why"))
    assert not steps["images.pull.a/s:1"].optional
    assert "a/s:1: why" in steps["images.pull.a/s:1"].reason
    assert "images.pull" not in steps


def test_unknown_is_said_as_unknown() -> None:
    steps = made({}, found("a/b:1", "unknown", reason="no route"))
    assert steps["images.pull"].images[0].remark == "size unknown: no route"


@pytest.mark.parametrize(
    "tag, driver, told",
    [
        ("1-cuda12.8", Known("550.54.15"), "CUDA 12.8 is newer than the 12.4 that driver 550.54.15 runs"),
        ("1-cuda12.4", Known("550.54.15"), ""),
        ("1-cuda11.3", Known("580.65.06"), ""),
        ("1-cuda13.9", Known("999.1"), ""),
        ("1-cuda11.3", Known("390.157"), "CUDA 11.3 is newer than the 0.0"),
        ("1-cuda12.8", Unknown("hangs"), "CUDA 12.8; the driver's is unknown: hangs"),
        ("1-cuda12.8", Absent(), ""),
        ("1-py312", Known("450.1"), ""),
    ],
)
def test_cuda_of_the_tag_against_the_drivers(tag: str, driver: Fact[str], told: str) -> None:
    steps = made({}, found(f"a/b:{tag}", "offered"), driver=driver)
    assert steps["images.pull"].images[0].remark.startswith(told)
    assert bool(steps["images.pull"].images[0].remark) == bool(told)


def test_room_is_checked_where_the_layers_will_lie() -> None:
    image = found("a/b:1", "offered", size=20 << 30)
    assert "/var/lib/docker, which holds" in made({}, image)["images.room"].reason
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
    "archive, told",
    [
        (Unknown("/srv/a.tar is no archive"), "no archive"),
        (Absent(), "is not there"),
        (Known(replace(ARCHIVE, architectures=("arm64",))), "holds images for arm64"),
        (Known(replace(ARCHIVE, size=40 << 30)), "needs about"),
    ],
)
def test_archives_that_do_not_do(archive: Fact[Archive], told: str) -> None:
    assert told in made({}, archives=(("/srv/a.tar", archive),))["images.archives.1"].reason


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
    assert "another content" in step.inspect(machine).reason


def test_passwords_go_by_name() -> None:
    table = {"registries": [{"host": "h.corp", "username": "u", "password": {"env": "X"}}, {"host": "i.corp"}]}
    login = made(table, found("h.corp/a:1", "offered"))["images.pull"].logins[0]
    assert (login.registry, login.username, login.secret) == ("h.corp", "u", "images.registries[0].password")
    assert list(lends(settings(**table))) == [login.secret]


def test_pulled_then_nothing_then_undone(tmp_path: Path) -> None:
    machine = demo_machine("finished", delay=0)
    for key in [key for key in machine.snapshot() if key.sort == "image"]:
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
