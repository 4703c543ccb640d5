"""What a primitive does to a simulated node: its own promise, and what a real node does by itself besides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from posixpath import dirname

from bai_wizard.core.errors import StepFailed
from bai_wizard.core.keys import package_key, tree_key
from bai_wizard.core.primitives import (
    AddUser,
    BuildPython,
    HoldPackages,
    InstallPackages,
    LoadImages,
    MakeDirectory,
    MakeLink,
    Primitive,
    PullImages,
    RemoveGroup,
    RemovePath,
    RemoveTree,
    RemoveUser,
    RestartUnit,
    RunCommand,
    SetSysctl,
    SetUnit,
    TagImage,
    WriteFile,
)
from bai_wizard.core.primitives.packages import suits
from bai_wizard.core.primitives.trees import TreePrimitive
from bai_wizard.core.secret import Secret
from bai_wizard.core.state import (
    Account,
    Entry,
    Group,
    Image,
    Key,
    Package,
    Password,
    State,
    States,
    Sysctl,
    Tree,
    Unit,
    Unpredictable,
)

# The version of a Python package that no requirement pins.
SOME_VERSION = "1.0"
Known = Mapping[Key, State]
# What commands change of their own accord, by the beginning of their words.
Effects = Mapping[tuple[str, ...], tuple[tuple[Key, State], ...]]


@dataclass(frozen=True)
class Offer:
    """A package that apt could install: its version, what comes with it, and the file that makes it available."""

    version: str
    source: str = ""
    brings: tuple[tuple[Key, State], ...] = ()


def act(
    primitive: Primitive, known: Known, offers: Mapping[str, Offer], now: float, effects: Effects | None = None
) -> States:
    """The states that change. Raises StepFailed where a real node would refuse."""
    before: States = {key: known.get(key) for key in primitive.keys()}
    _refuse(primitive, known)
    result: States = {}
    for key, state in primitive.after(before).items():
        if key.sort in ("restart", "command", "package-lists"):
            continue
        # What nobody can predict stays as it is, unless `_besides` knows better.
        result[key] = before[key] if isinstance(state, Unpredictable) else state
        if key.sort == "distribution" and state == Package(""):
            result[key] = Package(SOME_VERSION)
    result.update(_besides(primitive, known, offers, now))
    if isinstance(primitive, RunCommand):
        result.update(_effect(primitive.argv, effects or {}))
    return result


def _refuse(primitive: Primitive, known: Known) -> None:
    if isinstance(primitive, WriteFile | MakeDirectory | MakeLink):
        above = known.get(Key("file", dirname(primitive.path)))
        if dirname(primitive.path) != "/" and not (isinstance(above, Entry) and above.type == "directory"):
            raise StepFailed(f"{primitive.path}: the directory above it does not exist")
        there = known.get(Key("file", primitive.path))
        if isinstance(there, Entry) and (there.type == "directory") != isinstance(primitive, MakeDirectory):
            raise StepFailed(f"{primitive.path}: something else stands in its place")
    elif isinstance(primitive, RemovePath):
        if any(key.sort in ("file", "tree") and dirname(key.name) == primitive.path for key in known):
            raise StepFailed(f"{primitive.path}: the directory holds files that are not ours: left alone")
    elif isinstance(primitive, SetSysctl):
        live = known.get(Key("sysctl", primitive.key))
        if not isinstance(live, Sysctl) or not live.writable:
            raise StepFailed(f"{primitive.key} = {primitive.value}: this kernel does not let this node set it")
    elif isinstance(primitive, SetUnit | RestartUnit):
        if not isinstance(known.get(Key("unit", primitive.unit)), Unit):
            raise StepFailed(f"systemctl: there is no unit {primitive.unit}")
    elif isinstance(primitive, HoldPackages):
        missing = [name for name in primitive.names if package_key(name) not in known]
        if missing:
            raise StepFailed(f"not installed: {' '.join(missing)}")
    elif isinstance(primitive, RemoveGroup):
        _refuse_primary_group(primitive.name, known)


def _refuse_primary_group(name: str, known: Known) -> None:
    group = known.get(Key("group", name))
    users = [state.name for state in known.values() if isinstance(state, Account)
             and isinstance(group, Group) and state.gid == group.gid]  # fmt: skip
    if users:
        raise StepFailed(f"group {name} is the primary group of {users[0]}")


def _besides(primitive: Primitive, known: Known, offers: Mapping[str, Offer], now: float) -> States:
    """What a real node does of its own accord."""
    if isinstance(primitive, AddUser):
        return {Key("password", primitive.name): Password(Secret("*"), int(now // 86400))}
    if isinstance(primitive, RemoveUser):
        lists = [key for key in known if key.sort == "member" and key.name.endswith(f":{primitive.name}")]
        return dict.fromkeys([Key("password", primitive.name), *lists])
    if isinstance(primitive, RemoveGroup):
        return dict.fromkeys(
            key for key in known if key.sort == "member" and key.name.startswith(f"{primitive.name}:")
        )
    if isinstance(primitive, InstallPackages):
        return _install(primitive, known, offers, now)
    if isinstance(primitive, SetUnit | RestartUnit):
        return _unit(primitive, known, now)
    if isinstance(primitive, RemoveTree):
        inside = (f"{primitive.path}/", f"{primitive.path}:")
        return dict.fromkeys(key for key in known if key.name == primitive.path or key.name.startswith(inside))
    if isinstance(primitive, TreePrimitive | BuildPython):
        return {tree_key(primitive.path): Tree(sha256(primitive.path.encode()).hexdigest())}
    if isinstance(primitive, PullImages | LoadImages):
        return {key: known.get(key) or _some_image(key) for key in primitive.keys()}
    if isinstance(primitive, TagImage) and Key("image", primitive.source) not in known:
        raise StepFailed(f"there is no image {primitive.source}")
    return {}


def _effect(argv: tuple[str, ...], effects: Effects) -> States:
    """What a fixture says that the command with the longest such beginning does."""
    known = [beginning for beginning in effects if argv[: len(beginning)] == beginning]
    return dict(effects[max(known, key=len)]) if known else {}


def _some_image(key: Key) -> Image:
    return Image("sha256:" + sha256(key.name.encode()).hexdigest(), 1 << 30)


def _install(primitive: InstallPackages, known: Known, offers: Mapping[str, Offer], now: float) -> States:
    result: States = {}
    for name, version in primitive.wanted().items():
        old, offer = known.get(package_key(name)), offers.get(name)
        if isinstance(old, Package) and suits(old.version, version):
            continue
        if offer is None or (offer.source and Key("file", offer.source) not in known):
            raise StepFailed(f"no source offers the package {name}")
        if not suits(offer.version, version):
            raise StepFailed(f"no source offers {name} in version {version}; there is {offer.version}")
        result[package_key(name)] = Package(offer.version)
        for key, state in offer.brings:
            if key not in known:
                result[key] = replace(state, since=now) if isinstance(state, Unit) else state
    return result


def _unit(primitive: SetUnit | RestartUnit, known: Known, now: float) -> States:
    key = Key("unit", primitive.unit)
    old = known[key]
    assert isinstance(old, Unit)
    if isinstance(primitive, RestartUnit):
        return {key: replace(old, active="active", since=now)}
    new = primitive.after({key: old})[key]
    assert isinstance(new, Unit)
    started = new.active == "active" and old.active != "active"
    return {key: replace(new, since=now) if started else new}
