"""What a command line imports, starts and reads. Counts are the same on every machine, times are not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
GOOD = ROOT / "tests/fixtures/good/minimal.toml"
NETWORK = ("urllib3", "ssl", "email", "http")
NODE = ("docker", "requests", "psutil", "cpuinfo", "pynvml")
ENGINE = (
    "bai_wizard.engine.executor", "bai_wizard.engine.undo", "bai_wizard.engine.launch", "bai_wizard.engine.choose",
)  # fmt: skip
REPORTS = ("bai_wizard.ui.text.report", "bai_wizard.ui.text.console", "rich", "textual", "packaging", "tomlkit")
PLAN = ("--headless", str(GOOD), "--demo", "finished", "--plan")
# Command line → most modules of the wizard, and what it must not import.
LIMITS: dict[tuple[str, ...], tuple[int, tuple[str, ...]]] = {
    ("--version",): (2, ("msgspec", "argparse", "bai_wizard.core")),
    ("schema",): (35, (*NETWORK, *NODE, *ENGINE, *REPORTS, "bai_wizard.engine")),
    ("answers",): (80, (*NETWORK, *NODE, *ENGINE, *REPORTS[:-1], "bai_wizard.engine")),
    ("check", str(GOOD)): (48, (*NETWORK, *NODE, *REPORTS, "bai_wizard.engine", "bai_wizard.resources")),
    PLAN: (136, (*NETWORK, *NODE, *ENGINE, *REPORTS, "bai_wizard.pages.accelerators", "bai_wizard.pages.images")),
    ("detect", "--demo", "finished"): (171, (*NETWORK, *NODE, *ENGINE[:2], *REPORTS[:4])),
}  # fmt: skip


@cache
def counts(words: tuple[str, ...]) -> dict[str, Any]:
    """What a command line costs in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
         "import runpy; runpy.run_module('tests.counts', run_name='__main__')", *words],
        env={**os.environ, "BAI_PASSWORD": "correct horse"}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    result: dict[str, Any] = json.loads(done.stderr.strip().splitlines()[-1])
    return result


@pytest.mark.parametrize("words", LIMITS, ids=lambda words: " ".join(Path(word).name for word in words))
def test_a_command_imports_only_what_it_uses(words: tuple[str, ...]) -> None:
    most, without = LIMITS[words]
    result = counts(words)
    assert result["code"] in (0, 3), "a plan of a simulated node may be refused"
    loaded = result["modules"]
    unwanted = [name for name in loaded if any(name == one or name.startswith(f"{one}.") for one in without)]
    assert unwanted == []
    own = [name for name in loaded if name.partition(".")[0] == "bai_wizard"]
    assert len(own) <= most, own


@pytest.mark.parametrize("words", LIMITS, ids=lambda words: " ".join(Path(word).name for word in words))
def test_a_command_on_a_simulated_node_starts_nothing_and_reads_once(words: tuple[str, ...]) -> None:
    result = counts(words)
    assert (result["forks"], result["programs"]) == (0, 0), result["started"]
    if "finished" in words:
        assert result["reads"] > 100
    assert result["repeated reads"] == 0
