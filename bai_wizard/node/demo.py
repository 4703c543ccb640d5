"""Simulated nodes from `data/demo/NAME.toml`, for `--demo` and for tests of pages and screens.

The format is described at the top of `bare.toml`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from importlib import resources
from typing import Any

from msgspec import convert

from bai_wizard.core.errors import AnswersError, Problem
from bai_wizard.core.machine import Completed, Hardware
from bai_wizard.core.operation import Offer
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
from bai_wizard.node.hardware import Gpu, Nvml, nvml_to_json
from bai_wizard.node.simulated import Environment, SimulatedMachine

# Duration of each change on the demo's screens, in seconds.
DEMO_DELAY = 0.4
Table = dict[str, Any]


def demo_names() -> tuple[str, ...]:
    """Return the names of the available demo nodes."""
    directory = resources.files("bai_wizard.data") / "demo"
    return tuple(
        sorted(file.name.removesuffix(".toml") for file in directory.iterdir() if file.name.endswith(".toml"))
    )


def refuse_unknown(name: str) -> None:
    """Raise AnswersError for an unknown demo."""
    if name not in demo_names():
        known = ", ".join(demo_names())
        raise AnswersError([Problem("command line", 0, 0, "--demo", f"unknown demo {name!r}; available: {known}")])


def demo_machine(name: str, *, delay: float = DEMO_DELAY) -> SimulatedMachine:
    """Return the node with that name. Raises AnswersError for an unknown name."""
    return machine_from(_table(name), delay=delay)


def demo_answers(name: str) -> Table:
    """Return the initial form values for that node, table by table; empty for a bare node."""
    answers: Table = _table(name).get("answers", {})
    return answers


def machine_from(table: Table, *, delay: float = 0.0) -> SimulatedMachine:
    """Create a node from the values of a fixture."""
    return SimulatedMachine(dict(_states(table)), _environment(table), delay=delay)


def _table(name: str) -> Table:
    """Return a fixture merged into the one that it extends."""
    refuse_unknown(name)
    text = (resources.files("bai_wizard.data") / "demo" / f"{name}.toml").read_text("utf-8")
    own = tomllib.loads(text)
    return _merged(_table(own["extends"]), own) if "extends" in own else own


def _merged(base: Table, over: Table) -> Table:
    """Merge tables key by key; a key that is `false` in `over` removes the one in `base`."""
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
    for title, make in READERS.items():
        for name, value in table.get(title, {}).items():
            yield from make(name, value)
    for title, (kind, state, field, defaults) in PLAIN.items():
        for name, value in table.get(title, {}).items():
            yield Key(kind, name), state(**{**defaults, **(value if isinstance(value, dict) else {field: value})})


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


def _library(name: str, value: Table) -> Iterator[tuple[Key, State]]:
    """With `gpus`: NVIDIA's management library, which reports that many identical GPUs."""
    output = value.get("said", "")
    if "gpus" in value:
        gpus = tuple(
            Gpu(address, f"GPU-{number:08x}-0000-4000-8000-000000000000", value["model"], value["memory_gib"] << 30)
            for number, address in enumerate(value["gpus"], 1)
        )
        output = nvml_to_json(Nvml(driver=value["version"], cuda=tuple(value["cuda"]), gpus=gpus))
    yield Key("library", name), Library(value["version"], output)


READERS: dict[str, Callable[[str, Any], Iterator[tuple[Key, State]]]] = {
    "directories": _directory,
    "files": _file,
    "links": _link,
    "users": _user,
    "groups": _group,
    "libraries": _library,
}
# Tables whose entries have the fields of a state: the kind of its key, its type, the field that an entry without a
# table sets, and defaults of the demo.
PLAIN: dict[str, tuple[str, type[State], str, Table]] = {
    "packages": ("package", Package, "version", {}),
    "units": ("unit", Unit, "", {"enabled": "enabled", "active": "active", "since": 1000.0}),
    "sysctl": ("sysctl", Sysctl, "value", {}),
    "mounts": ("mount", Mount, "", {"options": "rw,relatime"}),
    "images": ("image", Image, "", {}),
    "trees": ("tree", Tree, "digest", {}),
    "interpreters": ("interpreter", Interpreter, "version", {}),
    "venvs": ("venv", Venv, "", {}),
    "distributions": ("distribution", Package, "version", {}),
    "downloads": ("download", Download, "sha256", {}),
}


def _environment(table: Table) -> Environment:
    node = dict(table.get("node", {}))
    looks = {
        tuple(value["argv"]): Completed(value.get("code", 0), value.get("out", ""), value.get("err", ""))
        for value in table.get("look", {}).values()
    }
    kernel = {**_cpuinfo(table.get("cpu", {})), **_pci(table.get("pci", {})), **table.get("kernel", {})}
    plain = {name: node[name] for name in Environment.__struct_fields__ if name in node}
    return Environment(
        **plain,
        free={path: gib << 30 for path, gib in table.get("free_gib", {"/": 200}).items()},
        offers={name: _offer(value) for name, value in table.get("offers", {}).items()},
        looks=looks,
        kernel=kernel,
        affected={name: tuple(affected) for name, affected in table.get("affected", {}).items()},
        unknown=table.get("unknown", {}),
        engine=table.get("engine", {}),
        hardware=convert({"processor": _processor(table.get("cpu")), **table.get("hardware", {})}, Hardware),
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


def _processor(cpu: Table | None) -> Table | None:
    if not cpu:
        return None
    cores = cpu["sockets"] * cpu["cores"]
    return {"model": cpu["model"], "flags": cpu["flags"].split(), "cores": cores, "threads": cores}


def _cpuinfo(cpu: Table) -> dict[str, str]:
    """Return /proc/cpuinfo for `sockets` processors with `cores` cores each."""
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
    """Return the files of each device below /sys/bus/pci/devices."""
    return {
        f"/sys/bus/pci/devices/{address}/{name}": value
        for address, device in devices.items()
        for name, value in device.items()
    }
