"""Which interpreters the checks examine, and the probe of the one that would be used."""

from __future__ import annotations

import json

import pytest

from bai_wizard.core.machine import Completed
from bai_wizard.core.page import Absent, Context, Fact, Known, Unknown
from bai_wizard.core.state import Account, Entry, Interpreter, Key, State, Venv
from bai_wizard.node.simulated import Environment, SimulatedMachine
from bai_wizard.pages.python.checks import found_interpreters
from bai_wizard.pages.python.probe import probe
from bai_wizard.pages.python.settings import PythonSettings

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
    result = found_interpreters(SimulatedMachine(states), Context())
    assert [(one.version, one.path) for one in result] == [("3.12.11", USUAL), ("3.13.7", ELSEWHERE)]


NEWER = "it needs a newer CPU than this one (illegal instruction)"
WHOLE = Completed(0, json.dumps({"version": "3.13.9", "lacking": []}), "")


@pytest.mark.parametrize(
    ("release", "completed", "is_root", "fault"),
    [
        ("26.4", WHOLE, True, Known("")),
        ("26.4", Completed(127, "", "env: gone"), True, Known("it does not run: env: gone")),
        ("26.4", Completed(-4, "", ""), True, Known(NEWER)),
        ("26.4", WHOLE, False, Unknown("needs root to act as bai")),
        # Another version is needed, so this one is not checked.
        ("24.09", WHOLE, True, Absent()),
    ],
)  # fmt: skip
def test_the_one_that_would_be_taken_is_started(
    release: str, completed: Completed, is_root: bool, fault: Fact[str]
) -> None:
    location = "/home/bai/.static-python/versions/3.13.9"
    states: dict[Key, State] = {
        Key("user", "bai"): Account("bai", 1100, 1100, "", "/home/bai", "/bin/bash"),
        Key("interpreter", location): Interpreter("3.13.9"),
        Key("file", location): Entry("directory", 1100, 1100, 0o755),
    }
    node = SimulatedMachine(states, Environment(is_root=is_root, looks={("setpriv",): completed}))
    facts = probe(node, PythonSettings(), Context(backend_ai=release))
    assert facts.standalone == Known(("3.13.9",))
    assert facts.fault == fault


def test_the_download_size_is_requested_from_the_mirror() -> None:
    asked: list[tuple[str, str]] = []

    class Asked(SimulatedMachine):
        def remote_size(self, url: str, proxy: str = "", *, deadline: float = 3.0) -> int:
            asked.append((url, proxy))
            return 5

    states: dict[Key, State] = {Key("user", "bai"): Account("bai", 1100, 1100, "", "/home/bai", "/bin/bash")}
    context = Context(backend_ai="24.09", proxy_http="http://p:1")
    around = Environment(kernel={"/proc/sys/kernel/arch": "x86_64"})
    settings = PythonSettings(mirror="http://mirror.corp/pbs")
    assert probe(Asked(states, around), settings, context).size == Known(5)
    ((url, proxy),) = asked
    assert url.startswith("http://mirror.corp/pbs/2")
    assert proxy == "http://p:1"
    assert probe(SimulatedMachine(states, around), settings, context).size == Unknown(
        "this node cannot contact other hosts"
    )
    assert probe(Asked(states, around), PythonSettings(method="pyenv"), context).size == Absent()
