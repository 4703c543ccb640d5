"""What is known of NVIDIA's generations, packages and repositories, over data/accelerators.toml."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from bai_wizard.pages.accelerators.catalogue import data

OpenModules = Literal["no", "yes", "only"]
Flavour = Literal["server-open", "server"]


@dataclass(frozen=True)
class Generation:
    """GPUs that need the same kind of driver. `first` and `last` are branches, 0 for no bound."""

    name: str
    ids: tuple[tuple[int, int], ...]
    open: OpenModules
    first: int = 0
    last: int = 0


@dataclass(frozen=True)
class PackageNames:
    """The packages of one source, their places for branch and flavour filled in.

    `prebuilt` still has {kernel} in it; it is empty where the source has no prebuilt modules.
    """

    user: tuple[str, ...]
    version_of: str
    prebuilt: str
    dkms: tuple[str, ...]
    fabric: tuple[str, ...]


@dataclass(frozen=True)
class Repository:
    """An apt repository of NVIDIA's. `key` is the armoured key where it comes with the wizard."""

    url: str
    fingerprint: str
    key: str = ""
    key_url: str = ""


def generation(device: int) -> Generation | None:
    """The generation of a GPU by its PCI device id; None for one that the table does not know."""
    return next((one for one in _generations() if any(low <= device <= high for low, high in one.ids)), None)


def long_term_branch() -> str:
    """The branch for driver = "auto"."""
    return str(_table()["branch"])


def has_fabric(device: int) -> bool:
    """True for a GPU whose NVSwitches are not to be seen on the bus."""
    return f"{device:04x}" in _table()["fabric"]


def toolkit() -> tuple[str, ...]:
    """The packages of the container toolkit, which have one version."""
    return tuple(_table()["toolkit"])


def legacy() -> tuple[str, ...]:
    """Packages that the container toolkit has replaced."""
    return tuple(_table()["legacy"])


def source_key(os: str, codename: str, source: str) -> str:
    """Which table of packages serves a system."""
    if source == "nvidia":
        return f"nvidia-{os}"
    return "ubuntu" if os == "ubuntu" else codename


def has_source(key: str) -> bool:
    """True when packages of this source are known."""
    return key in _table()["source"]


def only_branch(key: str) -> str:
    """The one branch that a source has; empty where it has several."""
    return str(_table()["source"][key].get("branch", ""))


def components(key: str) -> str:
    """The parts of the archive that the packages of a source are in, for people."""
    return str(_table()["source"][key].get("components", ""))


def names(key: str, branch: str, flavour: Flavour) -> PackageNames:
    """The driver's packages. Raises KeyError for a source that is not known."""
    table = _table()["source"][key]

    def filled(texts: Iterable[str]) -> tuple[str, ...]:
        return tuple(_fill(text, branch=branch, flavour=flavour) for text in texts)

    return PackageNames(
        user=filled(table["user"]),
        version_of=filled([table["version_of"]])[0],
        prebuilt=filled([table.get("prebuilt", "")])[0],
        dkms=filled(table["dkms"][flavour]),
        fabric=filled(table["fabric"]),
    )


def cuda_packages(key: str, extent: Literal["runtime", "full"], branch: str) -> tuple[str, ...]:
    """The packages of the CUDA runtime or of the whole toolkit, for what this driver branch runs."""
    version = cuda_of(branch).replace(".", "-")
    return tuple(_fill(text, cuda=version) for text in _table()["source"][key][extent])


def cuda_of(branch: str) -> str:
    """The newest CUDA that a branch runs and an agent knows, as `12.8`."""
    newest = str(_table()["cuda_newest"])
    table = {int(number): str(text) for number, text in _table()["cuda"].items()}
    known = [number for number in table if number <= int(branch or 0)]
    found = table[max(known)] if known else newest
    return min(found, newest, key=lambda text: tuple(int(part) for part in text.split(".")))


def toolkit_repository(url: str = "") -> Repository:
    """Where the container toolkit comes from; `url` is a mirror's address."""
    table = _table()["repository"]["toolkit"]
    from importlib.resources import files

    text = files("bai_wizard.data").joinpath("keys/nvidia-container-toolkit.asc").read_text(encoding="ascii")
    return Repository(url or str(table["url"]), str(table["fingerprint"]), text)


def cuda_repository(os: str, version: str, architecture: str, url: str = "") -> Repository | None:
    """Where driver and CUDA come from with source = "nvidia"; None for a system that NVIDIA has none for."""
    table = _table()["repository"]["cuda"]
    system = os + version.replace(".", "")
    key = table["keys"].get(system)
    machine = table["machine"].get(architecture)
    if key is None or machine is None:
        return None
    address = url or str(table["url"]).format(system=system, machine=machine)
    return Repository(address, str(key["fingerprint"]), key_url=f"{address}/{key['file']}")


def suits_proof(reference: str) -> bool:
    """True for an image that the driver's own nvidia-smi should run in."""
    from fnmatch import fnmatch

    table = _table()
    name = reference.lower()
    return any(fnmatch(name, one) for one in table["proof_images"]) and not any(
        fnmatch(name, one) for one in table["proof_never"]
    )


@cache
def _generations() -> tuple[Generation, ...]:
    return tuple(
        Generation(
            entry["name"],
            tuple((int(low, 16), int(high, 16)) for low, high in entry["ids"]),
            entry["open"],
            entry.get("first", 0),
            entry.get("last", 0),
        )
        for entry in _table()["generation"]
    )


def _fill(text: str, **values: str) -> str:
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def _table() -> dict[str, Any]:
    table: dict[str, Any] = data()["nvidia"]
    return table
