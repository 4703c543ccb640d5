"""Knowledge about file systems is in one table; no other module lists them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import bai_wizard
from bai_wizard.core import paths
from bai_wizard.core.paths import FILE_SYSTEMS

PACKAGE = Path(bai_wizard.__file__).parent
NAMES = {name for each in FILE_SYSTEMS for name in (each.name, *each.aliases)}
# Lists that are not about file systems, and tables of the types of volume, some of which have the same names.
OTHER_LISTS = {
    "core/paths.py": "the table itself",
    "pages/storage/kinds.py": "types of volume",
    "pages/storage/options.py": "FUSE programs that mount may start as root",
}


def lists_of_names(tree: ast.AST) -> Iterator[str]:
    """Literals with the names of at least two file systems: collections, keys of dictionaries, alternatives."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Tuple | ast.List | ast.Set):
            words = {word.value for word in node.elts if isinstance(word, ast.Constant)}
        elif isinstance(node, ast.Dict):
            words = {word.value for word in node.keys if isinstance(word, ast.Constant)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "|" in node.value:
            words = set(re.split(r"[|()]", node.value))
        else:
            continue
        if len(words & NAMES) >= 2:
            yield ast.unparse(node)


def test_no_other_module_lists_file_systems() -> None:
    result = {
        str(path.relative_to(PACKAGE)): listed
        for path in PACKAGE.rglob("*.py")
        if (listed := [*lists_of_names(ast.parse(path.read_text(encoding="utf-8")))])
    }
    assert {name: listed for name, listed in result.items() if name not in OTHER_LISTS} == {}
    assert set(OTHER_LISTS) == set(result), "a list is gone: remove it here as well"


def test_the_search_finds_known_examples() -> None:
    source = """
LOCAL = ("ext4", "xfs"); NETWORK = {"nfs4": 1, "ceph": 2}; PATTERN = r"(nfs|cifs)"; fine = ["xfs", "name"]
"""
    assert len([*lists_of_names(ast.parse(source))]) == 3


def test_every_name_is_of_one_file_system() -> None:
    names = [name for each in FILE_SYSTEMS for name in (each.name, *each.aliases)]
    assert len(names) == len(set(names))
    for each in FILE_SYSTEMS:
        assert not each.enforces_owners or (each.has_owners and not each.is_network), each.name


def test_trust_ignores_owners_that_come_from_mount_options() -> None:
    without = {each.name for each in FILE_SYSTEMS if not paths.has_owners(each.name)}
    assert without == {
        "vfat", "msdos", "exfat", "ntfs", "ntfs3", "fuseblk", "cifs", "smb3", "iso9660", "udf", "hfs"
    }  # fmt: skip
    assert paths.has_owners("unheard-of")


@pytest.mark.parametrize(
    ("name", "family", "is_network", "may_hang", "enforces_owners", "can_hold_images", "has_attributes"),
    [
        ("nfs", "nfs", True, True, False, False, False),
        ("nfs4", "nfs", True, True, False, False, False),
        ("ceph-fuse", "ceph", True, True, False, False, False),
        ("glusterfs", "glusterfs", True, True, False, False, True),
        ("fuse.glusterfs", "glusterfs", True, True, False, False, False),
        ("fuse.sshfs", "fuse.sshfs", True, True, False, False, False),
        # A program of this node: the boot need not wait for the network, but it may be gone.
        ("fuse.mergerfs", "fuse.mergerfs", False, True, False, False, False),
        ("fuseblk", "fuseblk", False, True, False, False, False),
        ("autofs", "autofs", False, True, False, True, True),
        ("ext4", "ext4", False, False, True, True, True),
        ("zfs", "zfs", False, False, True, True, False),
        ("vfat", "vfat", False, False, False, False, False),
        ("unheard-of", "unheard-of", False, False, False, True, True),
        ("nfs5", "nfs5", False, False, False, True, True),
        ("xnfs", "xnfs", False, False, False, True, True),
        ("", "", False, False, False, True, True),
    ],
)
def test_facts_about_a_name(
    name: str,
    family: str,
    is_network: bool,
    may_hang: bool,
    enforces_owners: bool,
    can_hold_images: bool,
    has_attributes: bool,
) -> None:
    assert paths.family(name) == family
    assert paths.is_network(name) == is_network
    assert paths.may_hang(name) == may_hang
    assert paths.enforces_owners(name) == enforces_owners
    assert paths.can_hold_images(name) == can_hold_images
    assert paths.has_attributes(name) == has_attributes


def test_file_systems_whose_server_may_be_silent() -> None:
    """What mount(8) orders after the network, and the clients of the storage systems that the page mounts."""
    servers = {
        "nfs", "nfs4", "ceph", "cifs", "smb3", "9p", "glusterfs", "fuse.glusterfs", "fuse.sshfs", "lustre", "wekafs",
        "gpfs", "beegfs",
    }  # fmt: skip
    assert {name for name in servers if not paths.is_network(name)} == set()
    local = {"ext4", "xfs", "btrfs", "tmpfs", "overlay", "vfat", "zfs", "squashfs"}
    assert {name for name in local if paths.is_network(name)} == set()
