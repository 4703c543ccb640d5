"""All eight pages, killed at chosen moments: `resume` or a new run converges, and undo restores the node."""

from __future__ import annotations

import pytest

from tests.node import pbs_mirror
from tests.node.conftest import NodeFactory
from tests.node.docker_answers import done
from tests.node.eight_pages import HEADLESS, assert_restored, converged, prepared, runs_of, state_of, undo_all
from tests.node.kills import Case, attempt, cases, of_undo
from tests.sampling import is_soak

pytestmark = [
    pytest.mark.skipif(pbs_mirror.obstacle() is not None, reason=str(pbs_mirror.obstacle())),
    # Minutes of work; many more where the machine has other work.
    pytest.mark.timeout(1800),
]


def test_the_kills_are_as_many_as_promised() -> None:
    kills = [kill for case in cases() for kill in (*case.applying, *case.undoing)]
    assert len(kills) == (60 if is_soak() else 12)
    assert {kill.target for kill in kills} == {"unit", "apt-get", "dpkg", "node"}
    assert any(case.undoing for case in cases())


@pytest.mark.parametrize("case", cases(), ids=str)
def test_killed_runs_converge_and_are_undone(node_factory: NodeFactory, case: Case) -> None:
    node = node_factory("trixie-downloaded")
    with prepared(node):
        before = state_of(node)
        words: tuple[str, ...] = HEADLESS
        for kill in case.applying:
            attempt(node, words, kill)
            words = ("resume",) if case.then == "resume" else HEADLESS
        done(node.wizard(*words, timeout=600))
        converged(node)
        applied = runs_of(node)[-1]["run"]
        for kill in case.undoing:
            attempt(node, ("undo", applied), of_undo(node, applied, kill))
        undo_all(node)
        assert node.run(["dpkg", "--audit"]).out == ""
        assert_restored(before, node)
