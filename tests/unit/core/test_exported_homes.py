"""A share that contains homes of other accounts is refused before it is mounted."""

from __future__ import annotations

import pytest

from bai_wizard.core.errors import StepBlocked
from bai_wizard.core.state import Account, Entry, Key, Mount, State
from bai_wizard.core.step import Blocked
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.pages.storage.mount_steps import MountVolume

STATES: dict[Key, State] = {
    **{Key("file", path): Entry("directory", 0, 0, 0o755) for path in ("/etc", "/home", "/vfroot", "/vfroot/x")},
    Key("file", "/home/alice"): Entry("directory", 1000, 1000, 0o750),
    Key("file", "/etc/fstab"): Entry("file", 0, 0, 0o644, b""),
    Key("mount", "/"): Mount("/dev/sda1", "ext4"),
    Key("mount", "/home"): Mount("nas:/export/home", "nfs"),
    Key("user", "alice"): Account("alice", 1000, 1000, "", "/home/alice", "/bin/bash"),
    Key("user", "bai"): Account("bai", 1100, 1100, "", "/srv/bai", "/bin/bash"),
}


def volume(source: str, *, given: bool = True) -> MountVolume:
    return MountVolume(
        id="storage.x", source=source, target="/vfroot/x", fstype="nfs", options="vers=4.2", written_as=("bai",),
        given_later=given,
    )  # fmt: skip


@pytest.mark.parametrize(
    "source", ["nas:/export/home/alice", "nas:/export/home", "nas:/export", "nas:/", "nas:/export/home/alice/x"]
)
def test_an_export_that_overlaps_a_home_is_refused_in_preflight(source: str) -> None:
    status = volume(source).inspect(SimulatedMachine(STATES))
    assert isinstance(status, Blocked)
    message = "the home of 'alice', overlap: choose another source"
    assert (message if source != "nas:/export/home" else "mounted at /home: a second mount") in status.explain()


@pytest.mark.parametrize("source", ["nas:/export/data", "nas:/export/homes", "other:/export/home/alice"])
def test_other_exports_are_not(source: str) -> None:
    assert not isinstance(volume(source).inspect(SimulatedMachine(STATES)), Blocked)


def test_an_export_that_is_not_given_away_is_not() -> None:
    step = volume("nas:/export/home/alice", given=False)
    try:
        step._refuse_system(SimulatedMachine(STATES))
    except StepBlocked as error:
        pytest.fail(str(error))
