"""Simulated nodes from `data/demo/NAME.toml`: what `--demo` shows, and what tests of pages and screens start from.

The format is described at the head of `bare.toml`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from dataclasses import fields
from importlib import resources
from typing import Any

from bai_wizard.core.errors import WizardError
from bai_wizard.core.machine import Completed
from bai_wizard.core.secret import Secret
from bai_wizard.core.state import (
    Account,
    Download,
    Entry,
    Group,
    Image,
    Interpreter,
    Key,
    Library,
    Membership,
    Mount,
    Package,
    Password,
    State,
    Sysctl,
    Tree,
    Unit,
    Venv,
)
from bai_wizard.machine.nvml import Gpu, Nvml, to_said
from bai_wizard.machine.simulated import SimulatedMachine, Surroundings
from bai_wizard.machine.simulated_acts import Offer

# Seconds that each change takes on the screen of the demo.
DEMO_DELAY = 0.4
Table = dict[str, Any]


def demo_names() -> tuple[str, ...]:
    """The demo nodes that there are."""
    directory = resources.files("bai_wizard.data") / "demo"
    return tuple(
        sorted(file.name.removesuffix(".toml") for file in directory.iterdir() if file.name.endswith(".toml"))
    )


def demo_machine(name: str, *, delay: float = DEMO_DELAY) -> SimulatedMachine:
    """The node of that name. Raises WizardError for a name that there is none of."""
    return machine_from(_table(name), delay=delay)


def demo_answers(name: str) -> Table:
    """What the form begins with on that node, table by table; nothing on a bare one."""
    answers: Table = _table(name).get("answers", {})
    return answers


def machine_from(table: Table, *, delay: float = 0.0) -> SimulatedMachine:
    """A node from the values of a fixture."""
    return SimulatedMachine(dict(_states(table)), _surroundings(table), delay=delay)


def _table(name: str) -> Table:
    """A fixture laid over the one that it extends."""
    if name not in demo_names():
        raise WizardError(f"there is no demo called {name!r}; there are {', '.join(demo_names())}")
    text = (resources.files("bai_wizard.data") / "demo" / f"{name}.toml").read_text("utf-8")
    own = tomllib.loads(text)
    return _merged(_table(own["extends"]), own) if "extends" in own else own


def _merged(base: Table, over: Table) -> Table:
    """Tables key by key; a key that is `false` in `over` takes the one of `base` away."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        if isinstance(value, dict) and isinstance(below, dict):
            result[key] = _merged(below, value)
        elif value is False and isinstance(below, dict):
            del result[key]
        else:
            result[key] = value
    return result


def _states(table: Table) -> Iterator[tuple[Key, State]]:
    for sort, make in READERS.items():
        for name, value in table.get(sort, {}).items():
            yield from make(name, value)


def _file(path: str, value: Table) -> Iterator[tuple[Key, State]]:
    content = value.get("content", "").encode()
    yield Key("file", path), Entry("file", *_owner(value), int(value.get("mode", "0644"), 8), content)


def _directory(path: str, value: Table) -> Iterator[tuple[Key, State]]:
    yield Key("file", path), Entry("directory", *_owner(value), int(value.get("mode", "0755"), 8))


def _link(path: str, target: str) -> Iterator[tuple[Key, State]]:
    yield Key("file", path), Entry("link", 0, 0, 0o777, target=target)


def _owner(value: Table) -> tuple[int, int]:
    uid = int(value.get("uid", 0))
    return uid, int(value.get("gid", uid))


def _user(name: str, value: Table) -> Iterator[tuple[Key, State]]:
    home, shell = value.get("home", f"/home/{name}"), value.get("shell", "/usr/sbin/nologin")
    uid, comment = int(value["uid"]), value.get("comment", "")
    gid = int(value.get("gid", uid))
    yield Key("user", name), Account(name, uid, gid, comment, home, shell, value.get("local", True))
    yield Key("password", name), Password(Secret(value.get("password", "*")), value.get("changed", 20000))


def _group(name: str, value: Table) -> Iterator[tuple[Key, State]]:
    yield Key("group", name), Group(name, value["gid"], value.get("local", True))
    for member in value.get("members", ()):
        yield Key("member", f"{name}:{member}"), Membership()


def _package(name: str, value: str | Table) -> Iterator[tuple[Key, State]]:
    written: Table = {"version": value} if isinstance(value, str) else value
    yield Key("package", name), Package(written["version"], written.get("held", False))


def _unit(name: str, value: Table) -> Iterator[tuple[Key, State]]:
    yield Key("unit", name), Unit(value.get("enabled", "enabled"), value.get("active", "active"), 1000.0)


def _sysctl(name: str, value: str | Table) -> Iterator[tuple[Key, State]]:
    written: Table = {"value": value} if isinstance(value, str) else value
    yield Key("sysctl", name), Sysctl(written["value"], written.get("writable", True))


def _mount(target: str, value: Table) -> Iterator[tuple[Key, State]]:
    yield Key("mount", target), Mount(value["source"], value["fstype"], value.get("options", "rw,relatime"))


def _image(reference: str, value: Table) -> Iterator[tuple[Key, State]]:
    yield Key("image", reference), Image(value["id"], value.get("size", 0))


def _tree(path: str, digest: str) -> Iterator[tuple[Key, State]]:
    yield Key("tree", path), Tree(digest)


def _interpreter(path: str, version: str) -> Iterator[tuple[Key, State]]:
    yield Key("interpreter", path), Interpreter(version)


def _venv(path: str, value: Table) -> Iterator[tuple[Key, State]]:
    yield Key("venv", path), Venv(value["version"], value["home"])


def _distribution(name: str, version: str) -> Iterator[tuple[Key, State]]:
    yield Key("distribution", name), Package(version)


def _download(path: str, sha256: str) -> Iterator[tuple[Key, State]]:
    yield Key("download", path), Download(sha256)


def _library(name: str, value: Table) -> Iterator[tuple[Key, State]]:
    """With `gpus`, NVIDIA's management library, which tells of them; all of them are alike."""
    said = value.get("said", "")
    if "gpus" in value:
        gpus = tuple(
            Gpu(address, f"GPU-{number:08x}-0000-4000-8000-000000000000", value["model"], value["memory_gib"] << 30)
            for number, address in enumerate(value["gpus"], 1)
        )
        said = to_said(Nvml(driver=value["version"], cuda=tuple(value["cuda"]), gpus=gpus))
    yield Key("library", name), Library(value["version"], said)


READERS: dict[str, Callable[[str, Any], Iterator[tuple[Key, State]]]] = {
    "directories": _directory,
    "files": _file,
    "links": _link,
    "users": _user,
    "groups": _group,
    "packages": _package,
    "units": _unit,
    "sysctl": _sysctl,
    "mounts": _mount,
    "images": _image,
    "trees": _tree,
    "interpreters": _interpreter,
    "venvs": _venv,
    "distributions": _distribution,
    "downloads": _download,
    "libraries": _library,
}


def _surroundings(table: Table) -> Surroundings:
    node = dict(table.get("node", {}))
    looks = {
        tuple(value["argv"]): Completed(value.get("code", 0), value.get("out", ""), value.get("err", ""))
        for value in table.get("look", {}).values()
    }
    kernel = {**_cpuinfo(table.get("cpu", {})), **_pci(table.get("pci", {})), **table.get("kernel", {})}
    plain = {field.name: node[field.name] for field in fields(Surroundings) if field.name in node}
    return Surroundings(
        **plain,
        free={path: gib << 30 for path, gib in table.get("free_gib", {"/": 200}).items()},
        offers={name: _offer(value) for name, value in table.get("offers", {}).items()},
        looks=looks,
        kernel=kernel,
        affected={name: tuple(hit) for name, hit in table.get("affected", {}).items()},
        unknown=table.get("unknown", {}),
        engine=table.get("engine", {}),
        effects={
            tuple(value["argv"]): tuple(_states(value.get("brings", {})))
            for value in table.get("effects", {}).values()
        },
        narrative={kind: tuple(lines) for kind, lines in table.get("narrative", {}).items()},
    )


def _offer(value: str | Table) -> Offer:
    if isinstance(value, str):
        return Offer(value)
    return Offer(value["version"], value.get("source", ""), tuple(_states(value.get("brings", {}))))


def _cpuinfo(cpu: Table) -> dict[str, str]:
    """/proc/cpuinfo of `sockets` processors with `cores` cores each."""
    if not cpu:
        return {}
    blocks = [
        f"processor\t: {socket * cpu['cores'] + core}\nvendor_id\t: {cpu['vendor']}\nmodel name\t: {cpu['model']}\n"
        f"physical id\t: {socket}\ncore id\t\t: {core}\nflags\t\t: {cpu['flags']}"
        for socket in range(cpu["sockets"])
        for core in range(cpu["cores"])
    ]
    return {"/proc/cpuinfo": "\n\n".join(blocks)}


def _pci(devices: Table) -> dict[str, str]:
    """The files of each device below /sys/bus/pci/devices."""
    return {
        f"/sys/bus/pci/devices/{address}/{name}": value
        for address, device in devices.items()
        for name, value in device.items()
    }
