"""Which units systemd would stop together with another, according to their properties."""

from __future__ import annotations

import pytest

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.machine import Completed
from bai_wizard.node import process
from bai_wizard.resources import mounts, units

# A unit: its state, and by property the units that are stopped with it.
UNITS: dict[str, tuple[str, dict[str, str]]] = {
    "vfroot-x.mount": ("active", {"RequiredBy": "remote-fs.target agent.service idle.service", "BoundBy": ""}),
    "remote-fs.target": ("active", {"RequiredBy": "database.service"}),
    "agent.service": ("active", {"ConsistsOf": "worker.service", "RequiredBy": "vfroot-x.mount"}),
    "worker.service": ("activating", {"BoundBy": "agent.service"}),
    "database.service": ("reloading", {}),
    "idle.service": ("inactive", {"RequiredBy": "unaffected.service"}),
    "unaffected.service": ("active", {}),
    "vfroot-y.mount": ("active", {"RequiredBy": "remote-fs.target vfroot-y-sub.mount"}),
    "vfroot-y-sub.mount": ("active", {"PropagatesStopTo": ""}),
    "vfroot-z.mount": ("active", {}),
}


@pytest.fixture(autouse=True)
def systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(argv: list[str], *, timeout: float) -> Completed:
        assert timeout
        if argv[0] == "systemd-escape":
            return Completed(0, argv[-1][1:].replace("/", "-") + ".mount\n", "")
        properties = argv[2].removeprefix("--property=").split(",")
        blocks = []
        for name in argv[argv.index("--") + 1 :]:
            state, stops = UNITS.get(name, ("inactive", {}))
            values = {"Id": name, "ActiveState": state, **stops}
            blocks.append("".join(f"{each}={values.get(each, '')}\n" for each in properties))
        return Completed(0, "\n".join(blocks), "")

    monkeypatch.setattr(process, "run", run)


def test_running_units_are_found_through_targets_and_each_other() -> None:
    assert units.stopped_with("vfroot-x.mount") == ("agent.service", "database.service", "worker.service")
    assert units.stopped_with("vfroot-z.mount") == ()
    assert units.stopped_with("nothing.mount") == ()


def test_a_volume_that_services_require_is_not_unmounted() -> None:
    message = mounts.refusal_of_units("/vfroot/x")
    assert "/vfroot/x is required by agent.service, database.service, worker.service" in message
    assert "still mounted" in message
    assert mounts.refusal_of_units("/vfroot/z") == ""


def test_other_mounts_count_only_right_before_the_volume_is_unmounted() -> None:
    """A mount below it that the run made itself is unmounted first."""
    assert "vfroot-y-sub.mount" not in mounts.refusal_of_units("/vfroot/y")
    assert "vfroot-y-sub.mount" in mounts.refusal_of_units("/vfroot/y", with_mounts=True)


def test_without_an_answer_nothing_is_assumed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "run", lambda *_, **__: Completed(1, "", "Failed to connect to bus"))
    with pytest.raises(StateUnknown, match="connect to bus"):
        units.stopped_with("vfroot-x.mount")
