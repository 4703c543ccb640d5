"""Local volumes over a simulated node."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from bai_wizard.core.primitives import MakeDirectory, WriteFile
from bai_wizard.core.state import Account, Entry, Key, State
from bai_wizard.core.step import Blocked, Unchanged
from bai_wizard.machine.simulated import SimulatedMachine, Surroundings
from bai_wizard.pages.storage.facts import StorageFacts
from bai_wizard.pages.storage.page import PAGE, now, size
from tests.pages.storage.cycle import assert_cycle, plan_of, run, shown

LOCAL = {"volumes": [{"name": "local", "type": "local"}]}
BAI: dict[Key, State] = {Key("user", "bai"): Account("bai", 1100, 1100, "", "/home/bai", "/bin/bash")}


def node(*paths: str, states: dict[Key, State] | None = None, **about: object) -> SimulatedMachine:
    files: dict[Key, State] = {Key("file", path): Entry("file", 0, 0, 0o644, b"x") for path in paths}
    return SimulatedMachine({**BAI, **files, **(states or {})}, Surroundings(**about))  # type: ignore[arg-type]


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
        "# /vfroot/local/version.txt: 1100:1100 0644"
    )


def test_only_the_top_directory_is_touched_where_data_is(tmp_path: Path) -> None:
    machine = node("/vfroot/local/data/file")
    plan = plan_of(PAGE, LOCAL, machine)
    run(machine, plan, tmp_path)
    assert machine.performed == [MakeDirectory("/vfroot/local", 1100, 1100, 0o755)]
    verdict = plan.steps[1].verdict
    assert isinstance(verdict, Unchanged)
    assert "holds data and no version.txt" in verdict.note


@pytest.mark.parametrize("name", ["lost+found", ".snapshot"])
def test_what_a_file_system_brings_is_no_data(name: str, tmp_path: Path) -> None:
    machine = node(f"/vfroot/local/{name}/x")
    assert_cycle(PAGE, LOCAL, machine, tmp_path)
    run(machine, plan_of(PAGE, LOCAL, machine), tmp_path / "again")
    assert isinstance(machine.performed[-1], WriteFile)


def test_another_layout_is_left_alone_and_told() -> None:
    machine = node(states={Key("file", "/vfroot/local/version.txt"): Entry("file", 1100, 1100, 0o644, b"2\n")})
    verdict = plan_of(PAGE, LOCAL, machine).steps[1].verdict
    assert isinstance(verdict, Unchanged)
    assert "says '2'" in verdict.note


def test_a_link_in_the_place_of_the_volume_blocks() -> None:
    machine = node(states={Key("file", "/vfroot/local"): Entry("link", 0, 0, 0o777, target="/etc")})
    verdict = plan_of(PAGE, LOCAL, machine).steps[0].verdict
    assert isinstance(verdict, Blocked)


def test_no_account_blocks_and_says_what_to_add() -> None:
    plan = plan_of(PAGE, LOCAL, SimulatedMachine({}))
    verdict = plan.steps[0].verdict
    assert isinstance(verdict, Blocked)
    assert "[account]" in verdict.reason


def test_owner_check_looks_and_changes_nothing() -> None:
    table = {"volumes": [{"name": "local", "type": "local", "owner": "check", "version_file": "no"}]}
    there = plan_of(PAGE, table, node("/vfroot/local/x"))
    assert there.is_empty()
    assert "belongs to 0:0, not to bai (1100:1100)" in shown(there)
    assert plan_of(PAGE, table, node()).blocked()


def test_an_empty_volume_without_version_file_is_told_where_it_is_only_looked_at() -> None:
    table = {"volumes": [{"name": "local", "type": "local", "owner": "check", "version_file": "check"}]}
    machine = node(states={Key("file", "/vfroot/local"): Entry("directory", 1100, 1100, 0o755)})
    plan = plan_of(PAGE, table, machine)
    assert plan.is_empty()
    assert "is empty and has no version.txt" in shown(plan)


def test_paths_outside_vfroot_only_if_told() -> None:
    volume = {"name": "data", "type": "local", "path": "/srv/data"}
    with pytest.raises(ValidationError, match="outside"):
        PAGE.settings.model_validate({"volumes": [volume]})  # type: ignore[attr-defined]
    told = plan_of(PAGE, {"volumes": [{**volume, "outside_vfroot": True}]}, node())
    assert "/srv/data/" in shown(told)


def test_room_is_told_and_a_silent_path_is_unknown() -> None:
    machine = node("/vfroot/local/x", free={"/": 5 << 30, "/vfroot": 3 << 40})
    settings = PAGE.settings.model_validate(LOCAL)  # type: ignore[attr-defined]
    assert now(PAGE.probe(machine, settings, None)) == (  # type: ignore[arg-type]
        ("/vfroot/local", "owner 0:0, mode 0755, 3.0 TiB free"),
    )
    silent = node(unknown={"file:/vfroot/local": "no answer within 3 s"})
    facts: StorageFacts = PAGE.probe(silent, settings, None)  # type: ignore[arg-type]
    assert now(facts) == (("/vfroot/local", "cannot tell: no answer within 3 s"),)


def test_sizes() -> None:
    assert [size(count) for count in (0, 1023, 1024, 412 << 30, 1 << 62)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "412 GiB",
        "4096.0 PiB",
    ]
