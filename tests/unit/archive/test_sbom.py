"""The SBOM: valid, and exactly what was pinned and installed."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.sampling import sampled
from tests.tools.pin_requirements import Pin, build_tools, pins
from tests.tools.sbom import Mismatch, sbom, write_sbom

MINOR = f"3.{sys.version_info.minor}"
# What is installed on Linux nodes.
PINNED = [pin for pin in pins("") if pin.name not in {*build_tools(), "pywin32"}]
HASHES = {pin.name: max(pin.hashes) for pin in PINNED}
REQUIREMENTS = {
    "textual": ["markdown-it-py[linkify]"],
    "markdown-it-py": ["linkify-it-py; extra == 'linkify'", "psutil; extra == 'plot'"],
    "docker": ["pywin32; sys_platform == 'win32'", "urllib3>=1"],
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The metadata of everything that is pinned, around the interpreter of the tests."""
    result = tmp_path / "tree"
    site(result).mkdir(parents=True)
    (result / "python/bin").mkdir()
    interpreter = result / f"python/bin/python{MINOR}"
    interpreter.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    interpreter.chmod(0o755)
    (result / "ARCHITECTURE").write_text("x86_64\n")
    for name, version in [("bai-wizard", "1.0"), ("pip", "26.0"), *((pin.name, pin.version) for pin in PINNED)]:
        install(result, name, version)
    return result


def site(tree: Path) -> Path:
    return tree / f"python/lib/python{MINOR}/site-packages"


def install(tree: Path, name: str, version: str) -> None:
    directory = site(tree) / f"{name.replace('-', '_')}-{version}.dist-info"
    directory.mkdir()
    required = "".join(f"Requires-Dist: {line}\n" for line in REQUIREMENTS.get(name, []))
    (directory / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n{required}")


def uninstall(tree: Path, name: str) -> None:
    shutil.rmtree(next(site(tree).glob(f"{name.replace('-', '_')}-*.dist-info")))


def document(tree: Path, hashes: dict[str, str] = HASHES) -> dict[str, Any]:
    archive, python = tree.parent / "bai-wizard-1.0-x86_64.tar.gz", tree.parent / f"cpython-{MINOR}.1.tar.gz"
    for file in (archive, python):
        file.write_text(file.name)
    text = write_sbom(archive, tree, python, hashes).read_text()
    assert json.loads(text) == sbom(archive, tree, python, hashes)
    result: dict[str, Any] = json.loads(text)
    return result


def errors(value: dict[str, Any]) -> object:
    """What CycloneDX's own schema rejects."""
    return JsonStrictValidator(SchemaVersion.from_version(value["specVersion"])).validate_str(json.dumps(value))


def test_it_is_valid(tree: Path) -> None:
    value = document(tree)
    assert errors(value) is None
    references = [part["bom-ref"] for part in [value["metadata"]["component"], *value["components"]]]
    assert len(set(references)) == len(references)
    assert {each["ref"] for each in value["dependencies"]} <= set(references)
    assert {each for entry in value["dependencies"] for each in entry["dependsOn"]} <= set(references)
    value["components"][0]["licenses"] = [{"license": {"id": "No such license"}}]
    assert errors(value) is not None


def test_it_lists_exactly_the_pinned_packages_with_versions_and_hashes(tree: Path) -> None:
    listed = {
        part["name"]: (part["version"], *(entry["content"] for entry in part.get("hashes", [])))
        for part in document(tree)["components"]
        if part["purl"].startswith("pkg:pypi/")
    }
    assert listed == {"pip": ("26.0",), **{pin.name: (pin.version, HASHES[pin.name]) for pin in PINNED}}
    assert len(listed) > 15


def test_dependencies_are_those_of_the_platform_and_the_extras_in_use(tree: Path) -> None:
    graph = {entry["ref"].partition("@")[0]: entry["dependsOn"] for entry in document(tree)["dependencies"]}
    names = {ref.removeprefix("pkg:pypi/"): [each.split("/")[1].split("@")[0] for each in refs]
             for ref, refs in graph.items()}  # fmt: skip
    assert names["markdown-it-py"] == ["linkify-it-py"]
    assert names["docker"] == ["urllib3"]
    assert names["textual"] == ["markdown-it-py"]


@pytest.mark.parametrize("pin", sampled("packages", PINNED, 3), ids=lambda pin: pin.name)
def test_a_package_that_is_missing_another_version_or_another_file_is_an_error(tree: Path, pin: Pin) -> None:
    with pytest.raises(Mismatch, match=f"the hash of {pin.name} is 0"):
        document(tree, {**HASHES, pin.name: "0" * 64})
    with pytest.raises(Mismatch, match=f"the hash of {pin.name} is None"):
        document(tree, {name: value for name, value in HASHES.items() if name != pin.name})
    uninstall(tree, pin.name)
    with pytest.raises(Mismatch, match=f"{pin.name} is missing"):
        document(tree)
    install(tree, pin.name, f"{pin.version}.1")
    with pytest.raises(Mismatch, match=f"{pin.name} is .*, not {pin.version}"):
        document(tree)


@pytest.mark.parametrize("name", ["example", "uv-build", "pywin32"])
def test_a_package_that_no_node_needs_is_an_error(tree: Path, name: str) -> None:
    install(tree, name, "1.0")
    with pytest.raises(Mismatch, match=f"{name} is not in requirements.txt"):
        document(tree)
