"""Random input on a real pseudo-terminal never crashes or freezes the wizard."""

from __future__ import annotations

import pytest

from tests.sampling import is_soak, seed
from tests.tui.random_input import mash


def seconds(config: pytest.Config) -> float:
    """Thirty minutes in a soak run, one in a full one."""
    return 1800.0 if is_soak() else 60.0 if config.getoption("--all") else 10.0


@pytest.mark.timeout(2400)
def test_no_input_ends_the_wizard(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        sittings, events, deaths = mash(seed(), seconds(request.config))
    assert sittings
    assert events > 100
    message = "\n\n".join(map(str, deaths))
    assert not deaths, f"repeat one with: python -m tests.tui.random_input SEED:SITTING\n{message}"
