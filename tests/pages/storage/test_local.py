"""Local volumes on a simulated node."""

from __future__ import annotations

from pathlib import Path

import pytest

from bai_wizard.core.state import Account, Entry, Flag, Key, Mount, State
from bai_wizard.core.step import Blocked, Unchanged
from bai_wizard.node.simulated import Environment, SimulatedMachine
from bai_wizard.pages.storage.plan import PAGE
from bai_wizard.pages.storage.probe import StorageFacts
from bai_wizard.pages.storage.rows import now, size
from bai_wizard.resources.files import MakeDirectory, WriteFile
from tests.pages.storage.lifecycle import assert_cycle, plan_of, run, shown
from tests.settings import settings_from

LOCAL = {"volumes": [{"name": "local", "type": "local"}]}
BAI: dict[Key, State] = {Key("user", "bai"): Account("bai", 1100, 1100, "", "/home/bai", "/bin/bash")}


def node(*paths: str, states: dict[Key, State] | None = None, **about: object) -> SimulatedMachine:
    files: dict[Key, State] = {Key("file", path): Entry("file", 0, 0, 0o644, b"x") for path in paths}
    return SimulatedMachine({**BAI, **files, **(states or {})}, Environment(**about))  # type: ignore[arg-type]


def test_a_bare_node(tmp_path: Path) -> None:
    plan = assert_cycle(PAGE, LOCAL, node(), tmp_path)
    assert shown(plan) == (
        "storage.local.owner: Pending\n"
        "+ /vfroot/  0:0 0755\n"
        "+ /vfroot/local/  1100:1100 0755\n"
        "storage.local.version: Pending\n"
        "--- /dev/null\n"
        "+++ /vfroot/local/version.txt\n"
        "@@ -0,0 +1 @@\n"
        "+3\n"
        "# /vfroot/local/version.txt: 1100:1100 0644\n"
        "storage.local.layout: Unchanged"
    )


def test_only_the_top_directory_is_touched_where_data_is(tmp_path: Path) -> None:
    data = Entry("directory", 1100, 1100, 0o755)
    machine = node("/vfroot/local/data/file", states={Key("file", "/vfroot/local/data"): data})
    plan = plan_of(PAGE, LOCAL, machine)
    run(machine, plan, tmp_path)
    assert machine.performed == [MakeDirectory("/vfroot/local", 1100, 1100, 0o755)]
    verdict = plan.steps[1].verdict
    assert isinstance(verdict, Unchanged)
    assert "contains data but no version.txt" in verdict.note


def test_a_directory_with_the_systems_files_is_not_given_away() -> None:
    machine = node(
        "/vfroot/local/data/file", states={Key("file", "/vfroot/local/data"): Entry("directory", 0, 0, 0o755)}
    )
    verdict = plan_of(PAGE, LOCAL, machine).steps[0].verdict
    assert isinstance(verdict, Blocked)
    assert "contains data, which belongs to UID 0" in verdict.reason


@pytest.mark.parametrize("name", ["lost+found", ".snapshot"])
def test_entries_created_by_the_file_system_are_not_data(name: str, tmp_path: Path) -> None:
    machine = node(f"/vfroot/local/{name}/x")
    assert_cycle(PAGE, LOCAL, machine, tmp_path)
    run(machine, plan_of(PAGE, LOCAL, machine), tmp_path / "again")
    assert isinstance(machine.performed[-1], WriteFile)


def test_another_layout_is_kept_and_reported() -> None:
    machine = node(states={Key("file", "/vfroot/local/version.txt"): Entry("file", 1100, 1100, 0o644, b"2\n")})
    verdict = plan_of(PAGE, LOCAL, machine).steps[1].verdict
    assert isinstance(verdict, Unchanged)
    assert "contains '2'" in verdict.note


def test_a_link_in_the_place_of_the_volume_blocks() -> None:
    machine = node(states={Key("file", "/vfroot/local"): Entry("link", 0, 0, 0o777, target="/etc")})
    verdict = plan_of(PAGE, LOCAL, machine).steps[0].verdict
    assert isinstance(verdict, Blocked)


def test_a_missing_account_blocks_and_says_what_to_add() -> None:
    plan = plan_of(PAGE, LOCAL, SimulatedMachine({}))
    verdict = plan.steps[0].verdict
    assert isinstance(verdict, Blocked)
    assert "[account]" in verdict.reason


def test_owner_check_looks_and_changes_nothing() -> None:
    table = {"volumes": [{"name": "local", "type": "local", "owner": "check", "version_file": "no"}]}
    there = plan_of(PAGE, table, node("/vfroot/local/x"))
    assert there.is_empty()
    assert "is owned by 0:0, not by bai (1100:1100)" in shown(there)
    assert plan_of(PAGE, table, node()).blocked()


def test_a_missing_version_file_is_reported_if_it_is_only_checked() -> None:
    table = {"volumes": [{"name": "local", "type": "local", "owner": "check", "version_file": "check"}]}
    machine = node(states={Key("file", "/vfroot/local"): Entry("directory", 1100, 1100, 0o755)})
    plan = plan_of(PAGE, table, machine)
    assert plan.is_empty()
    assert "is empty and has no version.txt" in shown(plan)


def test_paths_outside_vfroot_only_if_requested() -> None:
    volume = {"name": "data", "type": "local", "path": "/srv/data"}
    with pytest.raises(ValueError, match="outside"):
        settings_from(PAGE.settings, {"volumes": [volume]})
    plan = plan_of(PAGE, {"volumes": [{**volume, "outside_vfroot": True}]}, node())
    assert "/srv/data/" in shown(plan)


def test_room_is_reported_and_a_silent_path_is_unknown() -> None:
    machine = node("/vfroot/local/x", free={"/": 5 << 30, "/vfroot": 3 << 40})
    settings = settings_from(PAGE.settings, LOCAL)
    assert now(PAGE.probe(machine, settings, None)) == (  # type: ignore[arg-type]
        ("/vfroot/local", "owner 0:0, mode 0755, 3.0 TiB free"),
    )
    silent = node(unknown={"file:/vfroot/local": "no answer within 3 s"})
    facts: StorageFacts = PAGE.probe(silent, settings, None)  # type: ignore[arg-type]
    assert now(facts) == (("/vfroot/local", "unknown: no answer within 3 s"),)


def test_sizes() -> None:
    assert [size(count) for count in (0, 1023, 1024, 412 << 30, 1 << 62)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "412 GiB",
        "4096.0 PiB",
    ]


@pytest.mark.parametrize(
    ("states", "message"),
    [
        ({Key("mount", "/vfroot/local"): Mount("/dev/vda1[/vfroot/local]", "ext4", "ro,relatime")}, "remount,rw"),
        ({Key("mount", "/"): Mount("/dev/vda1", "ext4", "ro,errors=remount-ro")}, "remount,rw /"),
        ({Key("immutable", "/vfroot/local"): Flag()}, "chattr -i /vfroot/local"),
    ],
)
def test_a_directory_that_no_one_can_write_to_any_more(states: dict[Key, State], message: str) -> None:
    there: dict[Key, State] = {Key("file", "/vfroot/local"): Entry("directory", 1100, 1100, 0o755)}
    verdict = plan_of(PAGE, LOCAL, node(states={**there, **states})).steps[0].verdict
    assert isinstance(verdict, Blocked)
    assert message in verdict.reason
