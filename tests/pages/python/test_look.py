"""Which interpreters the checks look at."""

from __future__ import annotations

from bai_wizard.core.context import Context
from bai_wizard.core.state import Account, Entry, Interpreter, Key, State, Venv
from bai_wizard.machine.simulated import SimulatedMachine
from bai_wizard.pages.python.look import found_interpreters

USUAL = "/home/bai/.static-python/versions/3.12.11"
ELSEWHERE = "/data/python/versions/3.13.7"


def test_interpreters_elsewhere_are_known_by_the_environments_that_rest_on_them() -> None:
    states: dict[Key, State] = {
        Key("user", "bai"): Account("bai", 1100, 1100, "", "/home/bai", "/bin/bash"),
        Key("interpreter", USUAL): Interpreter("3.12.11"),
        Key("interpreter", ELSEWHERE): Interpreter("3.13.7"),
        Key("interpreter", "/usr"): Interpreter("3.12.3"),
    }
    homes = {"manager": USUAL, "agent": ELSEWHERE, "webserver": ELSEWHERE, "own": "/usr"}
    for service, prefix in homes.items():
        states[Key("file", f"/home/bai/{service}")] = Entry("directory", 1100, 1100, 0o755)
        states[Key("venv", f"/home/bai/{service}/.venv")] = Venv("3.13.7", f"{prefix}/bin")
    for path in ("/home/bai/.static-python", "/home/bai/.static-python/versions", USUAL):
        states[Key("file", path)] = Entry("directory", 1100, 1100, 0o755)
    found = found_interpreters(SimulatedMachine(states), Context())
    assert [(one.version, one.path) for one in found] == [("3.12.11", USUAL), ("3.13.7", ELSEWHERE)]
