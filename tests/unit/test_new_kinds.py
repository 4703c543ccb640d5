"""The tables in which a new type of volume and a new vendor of accelerators must appear; CONTRIBUTING.md lists them.

Each of these tables is checked in both directions, so that an entry is neither missing nor left behind.
"""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path
from typing import get_args

import pytest

import bai_wizard
from bai_wizard.core.paths import FILE_SYSTEMS
from bai_wizard.pages.accelerators import facts
from bai_wizard.pages.fields import hints_of, parts_of
from bai_wizard.pages.storage import kinds, options, settings
from tests.cache import CHECKOUT
from tests.pages.accelerators.test_detection import CARDS

PACKAGE = Path(bai_wizard.__file__).parent
VENDORS = tuple(vendor.key for vendor in facts.all_vendors())
# The class of each type of volume, by the union that the answers are validated with.
CLASSES = parts_of(settings.Volume)


# Types without a file system of their own.
GENERAL = {"local", "existing", "fstab"}


def mounted() -> set[str]:
    """The types that the wizard mounts by a line that it writes itself."""
    return {kind for kind, each in CLASSES.items() if issubclass(each, settings.MountedVolume)} - GENERAL


def test_functions_belong_to_a_type_that_the_wizard_mounts() -> None:
    assert set(kinds.KINDS) <= {*mounted(), "fstab"}


def test_a_type_that_is_mounted_has_options_and_a_preflight_check() -> None:
    assert set(options.type_names()) == set(CLASSES) - GENERAL
    assert {kind for kind in options.type_names() if not options.type_of(kind).mounts_itself} == mounted()
    for kind in mounted() - set(kinds.KINDS):
        assert options.type_of(kind).missing, kind


def test_a_type_with_its_own_file_system_is_recognized_by_name() -> None:
    named = {kind: options.type_of(kind).fstype for kind in options.type_names()}
    own = {kind: fstype for kind, fstype in named.items() if fstype != "none"}
    assert own == {each.volume: each.name for each in FILE_SYSTEMS if each.volume}


@pytest.mark.parametrize("kind", CLASSES)
def test_a_type_of_volume_has_an_example_and_tests_of_its_steps(kind: str) -> None:
    example = tomllib.loads((CHECKOUT / "tests/fixtures/good/full.toml").read_text())
    assert kind in [volume["type"] for volume in example["storage"]["volumes"]]
    tests = "".join(path.read_text() for path in (CHECKOUT / "tests/pages/storage").glob("test_*.py"))
    assert f'"type": "{kind}"' in tests


def test_a_vendor_of_storage_has_options_and_a_choice() -> None:
    choices = get_args(hints_of(settings.NfsVolume)["vendor"])
    assert choices == ("", *options.vendors())


def test_a_vendor_of_accelerators_has_a_fixture() -> None:
    assert {vendor for cards in CARDS.values() for vendor, _ in cards} == set(VENDORS)


def test_checks_of_one_vendor_name_a_vendor_that_exists() -> None:
    tree = ast.parse((PACKAGE / "pages/accelerators/checks.py").read_text(encoding="utf-8"))
    calls = [
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "vendor_check"
    ]
    assert calls
    for call in calls:
        assert isinstance(call.args[1], ast.Constant)
        assert call.args[1].value in VENDORS


def test_no_other_module_lists_vendors() -> None:
    result = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            parts = node.keys if isinstance(node, ast.Dict) else getattr(node, "elts", [])
            words = {part.value for part in parts if isinstance(part, ast.Constant)}
            if len(words.intersection(VENDORS)) >= 2:
                result.add(str(path.relative_to(PACKAGE)))
    assert result == set()
