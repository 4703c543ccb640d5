"""NVIDIA: driver, fabric manager, CUDA, container toolkit. Here: its data, from data/accelerators.toml."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any, Literal

from msgspec import Struct, convert

from bai_wizard.core.parse import whole
from bai_wizard.pages.accelerators.facts import accelerator_data

OpenModules = Literal["no", "yes", "only"]
Flavour = Literal["server-open", "server"]


class Generation(Struct, frozen=True):
    """GPUs that need the same kind of driver: ranges of PCI ids. `first` and `last` are branches, 0 for unbounded."""

    name: str
    ids: tuple[tuple[str, str], ...]
    open: OpenModules
    first: int = 0
    last: int = 0


class Source(Struct, frozen=True):
    """The packages of one source; the placeholders are explained in the data file.

    `branch` is its only branch, `components` the archive components that contain the packages, for display. `since`
    contains the fields that differ from a branch on.
    """

    user: tuple[str, ...]
    version_of: str
    dkms: dict[Flavour, tuple[str, ...]]
    fabric: tuple[str, ...]
    runtime: tuple[str, ...]
    full: tuple[str, ...]
    imex: tuple[str, ...] = ()
    sdm: tuple[str, ...] = ()
    prebuilt: str = ""
    pinning: str = ""
    branch: str = ""
    components: str = ""
    since: dict[str, dict[str, Any]] = {}


class Data(Struct, frozen=True):
    """The table `nvidia`. `branch` is the branch for driver = "auto"; the others are explained in the data file."""

    branch: str
    cuda_newest: str
    cuda: dict[str, str]
    nvlink5: tuple[str, ...]
    nvlink5_mark: str
    nvlink5_packages: tuple[str, ...]
    nvlink5_modules: tuple[str, ...]
    imex: tuple[str, ...]
    toolkit: tuple[str, ...]
    legacy: tuple[str, ...]
    proof_images: tuple[str, ...]
    proof_never: tuple[str, ...]
    generation: tuple[Generation, ...]
    source: dict[str, Source]
    repository: dict[str, dict[str, Any]]


@cache
def data() -> Data:
    """Return the data about NVIDIA."""
    return convert(accelerator_data()["nvidia"], Data)


class PackageNames(Struct, frozen=True):
    """The packages of one source, with branch and variant filled in.

    `prebuilt` still contains {kernel}; it is empty if the source has no prebuilt modules. `pinning` is the package to
    install first and `version` the pattern of the others' versions if their names contain no branch, or empty.
    """

    user: tuple[str, ...]
    version_of: str
    prebuilt: str
    dkms: tuple[str, ...]
    fabric: tuple[str, ...]
    imex: tuple[str, ...]
    sdm: tuple[str, ...]
    pinning: str = ""
    version: str = ""


class Repository(Struct, frozen=True):
    """An apt repository of NVIDIA. `key` is the armored key if it is shipped with the wizard."""

    url: str
    fingerprint: str
    key: str = ""
    key_url: str = ""


def generations(devices: Iterable[int]) -> tuple[Generation, ...]:
    """Return the generations of GPUs by their PCI device ids, without duplicates and unknown ones."""
    names = [f"{device:04x}" for device in devices]
    found = (
        next((each for each in data().generation if any(low <= name <= high for low, high in each.ids)), None)
        for name in names
    )
    return tuple({each.name: each for each in found if each is not None}.values())


def has_nvlink5(devices: Iterable[int]) -> bool:
    """Whether one of these is a GPU with NVLink 5, whose NVSwitches are not visible on the bus."""
    return any(f"{device:04x}" in data().nvlink5 for device in devices)


def needs_imex(devices: Iterable[int]) -> bool:
    """Whether one of these is a GPU with NVLink to other nodes."""
    return any(f"{device:04x}" in data().imex for device in devices)


def source_key(os: str, codename: str, source: str) -> str:
    """Return the key of the package table for a system; empty if it has none."""
    key = f"nvidia-{os}" if source == "nvidia" else "ubuntu" if os == "ubuntu" else codename
    return key if key in data().source else ""


def names(key: str, branch: str, flavour: Flavour) -> PackageNames:
    """Return the driver's packages. Raises KeyError for an unknown source."""
    table = accelerator_data()["nvidia"]["source"][key]
    for first, fields in table.get("since", {}).items():
        table = {**table, **fields} if whole(branch) >= whole(first) else table
    source = convert(table, Source)

    def filled(texts: Iterable[str]) -> tuple[str, ...]:
        suffix = "-open" if flavour == "server-open" else ""
        return tuple(_fill(text, branch=branch, flavour=flavour, open=suffix) for text in texts)

    version_of, prebuilt, pinning = filled((source.version_of, source.prebuilt, source.pinning))
    return PackageNames(
        user=filled(source.user),
        version_of=version_of,
        prebuilt=prebuilt,
        dkms=filled(source.dkms[flavour]),
        fabric=filled(source.fabric),
        imex=filled(source.imex),
        sdm=filled(source.sdm),
        pinning=pinning,
        version=f"{branch}.*" if pinning else "",
    )


def cuda_packages(key: str, extent: Literal["runtime", "full"], branch: str, oldest: str = "") -> tuple[str, ...]:
    """Return the packages of the CUDA runtime or of the full toolkit that this driver branch supports.

    `oldest` is the oldest CUDA version of the source: within a major version, drivers run newer ones too.
    """
    source, version = data().source[key], max(cuda_of(branch), oldest, key=_numbers).replace(".", "-")
    return tuple(_fill(text, cuda=version) for text in (source.full if extent == "full" else source.runtime))


def cuda_of(branch: str) -> str:
    """Return the newest CUDA version that both a branch and an agent support, as `12.8`."""
    newest = data().cuda_newest
    known = [number for number in data().cuda if int(number) <= int(branch or 0)]
    result = data().cuda[max(known, key=int)] if known else newest
    return min(result, newest, key=_numbers)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(whole(part) for part in version.split(".") if part)


def oldest(os: str, version: str) -> tuple[str, str]:
    """Return the oldest driver branch and CUDA version of NVIDIA's repository for a system; empty if it has all."""
    table = data().repository["cuda"]["keys"].get(os + version.replace(".", ""), {})
    return table.get("driver", ""), table.get("cuda", "")


def toolkit_repository(url: str = "") -> Repository:
    """Return the repository of the container toolkit; `url` is a mirror."""
    table = data().repository["toolkit"]
    from importlib.resources import files

    text = files("bai_wizard.data").joinpath("keys/nvidia-container-toolkit.asc").read_text(encoding="ascii")
    return Repository(url or str(table["url"]), str(table["fingerprint"]), text)


def cuda_repository(os: str, version: str, architecture: str, url: str = "") -> Repository | None:
    """Return the repository of driver and CUDA for source = "nvidia"; None if NVIDIA has none for the system."""
    table = data().repository["cuda"]
    system = os + version.replace(".", "")
    key = table["keys"].get(system)
    machine = table["machine"].get(architecture)
    if key is None or machine is None:
        return None
    address = url or str(table["url"]).format(system=system, machine=machine)
    return Repository(address, str(key["fingerprint"]), key_url=f"{address}/{key['file']}")


def suits_proof(reference: str) -> bool:
    """Whether the driver's own nvidia-smi can be expected to run in an image."""
    from fnmatch import fnmatch

    name = reference.lower()
    return any(fnmatch(name, pattern) for pattern in data().proof_images) and not any(
        fnmatch(name, pattern) for pattern in data().proof_never
    )


def _fill(text: str, **values: str) -> str:
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    return text
