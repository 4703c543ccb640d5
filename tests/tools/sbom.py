"""The bill of materials of an archive, as CycloneDX JSON: interpreter, its libraries, Python packages."""

from __future__ import annotations

import hashlib
import json
import platform
import re
import subprocess
import uuid
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any

from tests.tools.build_dist import build_time

# Libraries that are linked into the interpreter's modules: name → expression that gives its version.
LIBRARIES = {
    "openssl": "__import__('ssl').OPENSSL_VERSION.split()[1]",
    "sqlite": "__import__('sqlite3').sqlite_version",
    "zlib": "__import__('zlib').ZLIB_RUNTIME_VERSION",
    "expat": "__import__('pyexpat').EXPAT_VERSION.removeprefix('expat_')",
}
Component = dict[str, Any]


def write_sbom(archive: Path, tree: Path, python: Path) -> Path:
    """Write ARCHIVE.cdx.json next to the archive. `python`: the archive that the interpreter came from."""
    target = archive.with_name(f"{archive.name.removesuffix('.tar.gz')}.cdx.json")
    target.write_text(json.dumps(sbom(archive, tree, python), indent=1) + "\n", encoding="utf-8")
    return target


def sbom(archive: Path, tree: Path, python: Path) -> dict[str, Any]:
    """The document. The same files always give the same document."""
    site = _site(tree)
    packages = {component["name"]: component for component in map(_package, _metadata(site))}
    itself = {**packages.pop("bai-wizard"), "type": "application", "hashes": [_hash(archive)]}
    interpreter, *libraries = _interpreter(tree, python)
    needs = {_name(package["Name"]): _requirements(package) for package in _metadata(site)}
    refs = {name: component["bom-ref"] for name, component in packages.items()}
    graph = [
        {"ref": itself["bom-ref"], "dependsOn": [interpreter["bom-ref"], *refs.values()]},
        {"ref": interpreter["bom-ref"], "dependsOn": [library["bom-ref"] for library in libraries]},
        *(
            {"ref": ref, "dependsOn": sorted(refs[each] for each in needs[name] & set(refs))}
            for name, ref in refs.items()
        ),
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
    name = _name(metadata["Name"])
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


def _requirements(metadata: Message) -> set[str]:
    """The packages that a package requires, whatever its extras are."""
    return {
        _name(re.split(r"[^\w.-]", line.strip(), maxsplit=1)[0]) for line in metadata.get_all("Requires-Dist", [])
    }


def _name(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


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
