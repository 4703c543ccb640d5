"""Stand-ins for programs of the system."""

from pathlib import Path

import pytest

from bai_wizard.core import programs


def find_programs_in(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the wizard find programs in ``directory`` first, then where it always does."""
    monkeypatch.setattr(programs, "PROGRAM_DIRECTORIES", (str(directory), *programs.PROGRAM_DIRECTORIES))
