"""dpkg outlives the executor, and what interrupted it is completed by the next run or by resume."""

from __future__ import annotations

import json

import pytest

from tests.node.api import Completed, Node
from tests.node.conftest import NodeFactory
from tests.node.container import ContainerNode
from tests.node.slow_package import BEGAN, FAIL, GO_ON, offer_slow_package
from tests.sampling import sampled

HEADLESS = ("--headless", "/root/answers.toml")
COMPLETES = "complete interrupted package operations"
SURVIVALS = [(script, command) for script in ("preinst", "postinst") for command in (("resume",), HEADLESS)]
DEATHS = [(script, victim) for script in ("preinst", "postinst") for victim in ("dpkg", "unit", "node")]
DPKG = "pgrep --full '[d]pkg .*--unpack|[d]pkg .*--configure'"


@pytest.fixture
def node(node_factory: NodeFactory) -> ContainerNode:
    return node_factory(network="none")


def done(completed: Completed, code: int = 0) -> str:
    output = completed.out + completed.err
    assert completed.rc == code, output[-4000:]
    assert "Traceback" not in output, output[-4000:]
    return output


def begin(node: Node, script: str) -> None:
    """Starts a run whose package waits in its script."""
    offer_slow_package(node, script)
    in_background(node, *HEADLESS)
    node.wait_for(lambda: node.exists(BEGAN) or node.exists("/root/code"), 60, f"dpkg in {script}")
    assert node.exists(BEGAN), node.read("/root/said").decode()


def in_background(node: Node, *words: str) -> None:
    """Starts a command of the wizard; its output goes to /root/said, its exit code to /root/code."""
    wizard = f"bai-wizard {' '.join(words)}"
    node.run(["sh", "-c", f"rm -f /root/code; {wizard} >/root/said 2>&1; echo $? >/root/code"], detach=True)


def ended(node: Node, code: int) -> str:
    node.wait_for(lambda: node.read_or_empty("/root/code").strip(), 120, "the end of the command")
    output = node.read("/root/said").decode()
    assert int(node.read("/root/code")) == code, output[-4000:]
    assert "Traceback" not in output, output[-4000:]
    return output


def let_go(node: Node) -> None:
    node.run(["touch", GO_ON], check=True)


def kill_executor(node: Node) -> None:
    """All processes of the executor's unit."""
    node.run(["systemctl", "kill", "--signal", "KILL", "bai-wizard-2*.service"], check=True)
    node.wait_for(lambda: node.read_or_empty("/root/code").strip(), what="the front end's end")


def assert_whole(node: Node) -> None:
    """The plan is empty and dpkg has nothing to complete."""
    done(node.wizard(*HEADLESS, "--plan", "--detailed-exitcode"))
    audit = node.run(["dpkg", "--audit"], check=True)
    assert audit.out == ""
    assert node.run(["dpkg-query", "--show", "--showformat", "${Status}", "sudo"]).out == "install ok installed"


def clean_up(node: Node) -> None:
    done(node.wizard("undo"))
    node.run(["sh", "-c", f"rm -f {BEGAN} {GO_ON} {FAIL}"], check=True)


@pytest.mark.parametrize(("script", "command"), sampled("dpkg outlives", SURVIVALS, 1))
def test_dpkg_survives_the_executor_and_the_next_attempt_attaches(
    node: ContainerNode, script: str, command: tuple[str, ...]
) -> None:
    begin(node, script)
    kill_executor(node)
    assert node.run(["sh", "-c", DPKG]).out, "dpkg died with the executor"
    in_background(node, *command)
    node.wait_for(
        lambda: b"waiting for apt-get" in node.read_or_empty("/root/said"), what="the next attempt attaches"
    )
    assert "installing sudo" in node.read("/root/said").decode()
    let_go(node)
    assert COMPLETES not in ended(node, 0)
    assert_whole(node)
    clean_up(node)


# An ordinary run has the kills of test_kills.py: dpkg, apt-get and the node, while packages are installed.
@pytest.mark.soak
@pytest.mark.parametrize(("script", "victim"), sampled("dpkg dies", DEATHS, 1))
def test_packages_left_by_a_killed_dpkg_are_completed(node: ContainerNode, script: str, victim: str) -> None:
    """kill -9 of dpkg, of its whole unit, and of the node."""
    begin(node, script)
    if victim == "dpkg":
        kill = "pkill --signal KILL --exact dpkg; pkill --signal KILL --full '[s]udo.p|[t]mp.ci'; true"
        node.run(["sh", "-c", kill], check=True)
        assert "killed" in ended(node, 4)
    elif victim == "unit":
        node.run(["systemctl", "kill", "--signal", "KILL", "bai-wizard-packages-*"], check=True)
        assert "killed" in ended(node, 4)
    else:
        node.power_cut()
    assert node.run(["dpkg", "--audit"]).out
    plan = done(node.wizard(*HEADLESS, "--plan", "--diff", "--detailed-exitcode"), 7)
    assert COMPLETES in plan
    assert "dpkg --configure -a" in plan
    let_go(node)
    output = done(node.wizard(*(HEADLESS if victim == "unit" else ("resume",))))
    assert COMPLETES in output
    assert_whole(node)
    clean_up(node)


@pytest.mark.soak
def test_a_killed_apt_get_and_an_interrupted_removal(node: ContainerNode) -> None:
    """An apt-get that is killed alone is not the end of its dpkg; a removal is completed as well."""
    begin(node, "postinst")
    node.run(["sh", "-c", "pkill --signal KILL --exact apt-get; sleep 1; true"], check=True)
    assert not node.exists("/root/code"), "dpkg is still at work"
    let_go(node)
    ended(node, 4)
    done(node.wizard("resume"))
    assert_whole(node)
    clean_up(node)
    offer_slow_package(node, "postrm")
    node.run(["apt-get", "install", "-y", "sudo"], check=True)
    node.run(["sh", "-c", "dpkg --remove sudo >/dev/null 2>&1"], detach=True)
    node.wait_for(lambda: node.exists(BEGAN), what="the removal")
    node.run(
        ["sh", "-c", "pkill --signal KILL --exact dpkg; pkill --signal KILL --full '[s]udo.p'; true"], check=True
    )
    assert "sudo" in node.run(["dpkg", "--audit"], check=True).out
    let_go(node)
    assert COMPLETES in done(node.wizard(*HEADLESS))
    assert_whole(node)


def test_a_failing_script_is_quoted_and_the_doctor_completes_it(node: ContainerNode) -> None:
    offer_slow_package(node, "postinst")
    node.run(["touch", GO_ON, FAIL], check=True)
    output = done(node.wizard(*HEADLESS), 4)
    assert "the postinst script of the package sudo" in output
    assert "looking for the device; cannot find /dev/imaginary" in output
    assert "exit status 3" in output
    again = done(node.wizard("resume"), 4)
    assert "cannot find /dev/imaginary" in again
    result = json.loads(node.wizard("doctor", "--json", "--only", "node.dpkg-interrupted").out.splitlines()[0])[
        "data"
    ]
    assert result["result"] == "problem"
    assert COMPLETES in json.dumps(result["remedy"])
    failed = done(node.wizard("doctor", "--fix", "node.dpkg-interrupted", "--yes"), 4)
    assert "cannot find /dev/imaginary" in failed
    node.run(["rm", FAIL], check=True)
    done(node.wizard("doctor", "--fix", "node.dpkg-interrupted", "--yes"))
    assert node.run(["dpkg", "--audit"], check=True).out == ""
    fix = sorted(node.run(["ls", "/var/lib/bai-wizard/runs"], check=True).out.split())[-1]
    assert "stay completed: sudo" in done(node.wizard("undo", fix, "--plan"))
    done(node.wizard(*HEADLESS))
    assert_whole(node)
