"""The bill of materials of an archive, as CycloneDX JSON: interpreter, its libraries, Python packages.

The packages are those of requirements.txt, each with the hash of the file that was installed, and pip, which is part
of the interpreter's archive. A tree with other packages or versions is an error.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import subprocess
import uuid
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.tools.build_dist import build_time
from tests.tools.pin_requirements import build_tools, pins

# Libraries that are linked into the interpreter's modules: name → expression that gives its version.
LIBRARIES = {
    "openssl": "__import__('ssl').OPENSSL_VERSION.split()[1]",
    "sqlite": "__import__('sqlite3').sqlite_version",
    "zlib": "__import__('zlib').ZLIB_RUNTIME_VERSION",
    "expat": "__import__('pyexpat').EXPAT_VERSION.removeprefix('expat_')",
}
Component = dict[str, Any]


class Mismatch(Exception):
    """The packages in a tree are not those that were pinned."""


def write_sbom(archive: Path, tree: Path, python: Path, hashes: Mapping[str, str]) -> Path:
    """Write ARCHIVE.cdx.json next to the archive. `python`: the archive that the interpreter came from."""
    target = archive.with_name(f"{archive.name.removesuffix('.tar.gz')}.cdx.json")
    target.write_text(json.dumps(sbom(archive, tree, python, hashes), indent=1) + "\n", encoding="utf-8")
    return target


def sbom(archive: Path, tree: Path, python: Path, hashes: Mapping[str, str]) -> dict[str, Any]:
    """The document. The same files always give the same document.

    `hashes`: package → SHA-256 of the file that it was installed from. Raises Mismatch.
    """
    metadata = _metadata(_site(tree))
    packages = {component["name"]: component for component in map(_package, metadata)}
    itself = {**packages.pop("bai-wizard"), "type": "application", "hashes": [_hash(archive)]}
    interpreter, *libraries = _interpreter(tree, python)
    _add_hashes(packages, hashes, _environment(tree, interpreter["version"]))
    needs = _requirements(metadata, _environment(tree, interpreter["version"]))
    refs = {name: component["bom-ref"] for name, component in packages.items()}
    graph = [
        {"ref": itself["bom-ref"], "dependsOn": [interpreter["bom-ref"], *refs.values()]},
        {"ref": interpreter["bom-ref"], "dependsOn": [library["bom-ref"] for library in libraries]},
        *({"ref": ref, "dependsOn": sorted(refs[each] for each in needs[name])} for name, ref in refs.items()),
    ]
    digest = itself["hashes"][0]["content"]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'sha256:{digest}')}",
        "version": 1,
        "metadata": {
            "timestamp": f"{datetime.fromtimestamp(build_time(), UTC):%Y-%m-%dT%H:%M:%SZ}",
            "component": itself,
        },
        "components": [interpreter, *libraries, *packages.values()],
        "dependencies": graph,
    }


def components(tree: Path) -> list[Component]:
    """The Python packages in a tree, except the wizard itself."""
    return [component for component in map(_package, _metadata(_site(tree))) if component["name"] != "bai-wizard"]


def _site(tree: Path) -> Path:
    return next((tree / "python/lib").glob("python3.*/site-packages"))


def _metadata(site: Path) -> list[Message]:
    return [message_from_bytes(path.read_bytes()) for path in sorted(site.glob("*.dist-info/METADATA"))]


def _package(metadata: Message) -> Component:
    name = canonicalize_name(metadata["Name"])
    purl = f"pkg:pypi/{name}@{metadata['Version']}"
    component: Component = {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": metadata["Version"],
        "purl": purl,
    }
    if expression := metadata["License-Expression"]:
        component["licenses"] = [{"expression": expression}]
    elif license_name := _license_name(metadata):
        component["licenses"] = [{"license": {"name": license_name}}]
    return component


def _license_name(metadata: Message) -> str:
    """The license as older metadata states it; a whole license text is named by its first line."""
    classified = [
        line.rpartition(" :: ")[2] for line in metadata.get_all("Classifier", []) if line.startswith("License ::")
    ]
    stated = (metadata["License"] or "").strip().splitlines()
    return " and ".join(classified) or (stated[0].strip() if stated else "")


def _environment(tree: Path, python: str) -> dict[str, str]:
    """The values of markers on the nodes that the tree is for."""
    return {
        "python_version": ".".join(python.split(".")[:2]),
        "python_full_version": python,
        "platform_machine": (tree / "ARCHITECTURE").read_text().strip(),
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
    }


def _add_hashes(packages: dict[str, Component], hashes: Mapping[str, str], environment: dict[str, str]) -> None:
    """Add the hash to each package. Raise Mismatch unless these are exactly the pinned ones and pip."""
    pinned = {
        pin.name: pin
        for pin in pins("")
        if pin.name not in build_tools() and (pin.marker is None or pin.marker.evaluate(environment))
    }
    for name in sorted(pinned.keys() ^ (packages.keys() - {"pip"})):
        raise Mismatch(f"{name} is {'missing' if name in pinned else 'not in requirements.txt'}")
    for name, pin in pinned.items():
        if packages[name]["version"] != pin.version:
            raise Mismatch(f"{name} is {packages[name]['version']}, not {pin.version}")
        if hashes.get(name) not in pin.hashes:
            raise Mismatch(f"the hash of {name} is {hashes.get(name)}, which is not in requirements.txt")
        packages[name]["hashes"] = [{"alg": "SHA-256", "content": hashes[name]}]


def _requirements(metadata: list[Message], environment: dict[str, str]) -> dict[str, set[str]]:
    """The packages that each package requires, with the extras that others ask for."""
    stated = {
        canonicalize_name(package["Name"]): [Requirement(line) for line in package.get_all("Requires-Dist", [])]
        for package in metadata
    }
    extras: dict[str, set[str]] = defaultdict(lambda: {""})
    for each in (requirement for requirements in stated.values() for requirement in requirements):
        extras[canonicalize_name(each.name)] |= each.extras
    return {
        name: {
            canonicalize_name(each.name)
            for each in requirements
            if each.marker is None
            or any(each.marker.evaluate({**environment, "extra": extra}) for extra in extras[name])
        }
        for name, requirements in stated.items()
    }


def _interpreter(tree: Path, python: Path) -> list[Component]:
    """CPython, and the libraries in it if it runs on this machine."""
    program = next((tree / "python/bin").glob("python3.*"))
    version = re.search(r"cpython-([\d.]+)", python.name)
    number = version[1] if version else program.name.removeprefix("python")
    components = [
        {**_generic("cpython", number), "hashes": [_hash(python)], "licenses": [{"license": {"id": "PSF-2.0"}}]}
    ]
    code = f"import json; print(json.dumps({{{', '.join(f'{name!r}: {code}' for name, code in LIBRARIES.items())}}}))"
    if (tree / "ARCHITECTURE").read_text().strip() == platform.machine():
        done = subprocess.run([program, "-I", "-c", code], capture_output=True, text=True, check=True)
        components += [_generic(name, number) for name, number in json.loads(done.stdout).items()]
    return components


def _generic(name: str, version: str) -> Component:
    return _component(name, version, f"pkg:generic/{name}@{version}")


def _component(name: str, version: str, purl: str) -> Component:
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def _hash(file: Path) -> dict[str, str]:
    with file.open("rb") as stream:
        return {"alg": "SHA-256", "content": hashlib.file_digest(stream, "sha256").hexdigest()}
