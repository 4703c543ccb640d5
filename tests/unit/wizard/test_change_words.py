"""What a change is called on a page: a verb, and the object that it is done to."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from msgspec.structs import replace

from bai_wizard.core.operation import Change, Operation
from bai_wizard.core.secret import Secret
from bai_wizard.core.state import Key
from bai_wizard.core.step import Pending
from bai_wizard.node.demo import demo_machine, demo_names
from bai_wizard.resources.files import SetImmutable
from bai_wizard.resources.packages import HoldPackages
from bai_wizard.resources.units import SetUnit
from bai_wizard.resources.users import AddGroup, SetPassword
from bai_wizard.ui.change_words import change_words, one_change
from bai_wizard.ui.draft import Draft
from bai_wizard.ui.plans import FactCache

FULL = Path(__file__).parents[2] / "fixtures/good/full.toml"
# The first words of what a plan does; anything else says what is concerned, but not what happens to it.
VERBS = {
    "add", "block", "change", "create", "download", "install", "lock", "mount", "pull", "refresh", "reload", "remove",
    "restart", "set", "start",
}  # fmt: skip


@pytest.mark.parametrize("demo", demo_names())
def test_every_change_of_a_plan_says_what_is_done(demo: str) -> None:
    machine = demo_machine(demo, delay=0)
    cache = FactCache(lambda: machine)
    plan = cache.fresh_plan(Draft("gpu01", tomllib.loads(FULL.read_text()), demo=True).desired())
    changes = [change for item in plan.steps if isinstance(item.verdict, Pending) for change in item.verdict.changes]
    assert changes
    words = [one_change(change) for change in changes]
    unclear = [text for text in words if text.split()[0] not in VERBS and " → " not in text]
    assert not unclear


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            Change("/h/.static-python/versions/3.13.18/", "create", attributes="Python 3.13.18 (cpython-3.13.18)",
                   key=Key("tree", "/h/.static-python/versions/3.13.18")),
            "install Python 3.13.18",
        ),
        (
            Change("/h/agent/.venv/", "create", attributes="Python 3.13.18 with pip",
                   key=Key("tree", "/h/agent/.venv")),
            "create environment agent",
        ),
        (Change("/vfroot/", "create", key=Key("file", "/vfroot")), "create /vfroot/"),
        (Change("/etc/fstab", "modify", "a\nb", "a\nc", key=Key("file", "/etc/fstab")), "change fstab"),
        (Change("gid", "modify", "1100", "1101", key=Key("group", "bai")), "1100 → 1101"),
        (AddGroup("bai", 1100), "create group bai"),
        (SetPassword("bai", Secret("*")), "lock the password of bai"),
        (SetPassword("bai", Secret("$6$x$y")), "set the password of bai"),
        (SetUnit("docker.service", enabled=True, active=True), "enable and start docker.service"),
        (SetUnit("docker.service", active=False), "stop docker.service"),
        (HoldPackages(("docker-ce",), True), "hold docker-ce"),
        (SetImmutable("/vfroot/vol1", True), "block writes to /vfroot/vol1"),
    ],
)  # fmt: skip
def test_the_object_and_what_happens_to_it(change: Change | Operation, words: str) -> None:
    if isinstance(change, Operation):
        key = change.keys()[0]
        change = replace(change.change(key, None, None), key=key)
    assert change_words([change]) == words
