"""A run decodes its plan after `load_all` alone: every kind of step and operation must be known then."""

from __future__ import annotations

import ast
import subprocess
import sys

PROBE = """
import pkgutil, sys
import bai_wizard
from bai_wizard import resources, steps
from bai_wizard.core.operation import Operation
from bai_wizard.core.step import Step

def kinds(base):
    found = {kind for kind in base.__subclasses__()}
    return found | {inner for kind in found for inner in kinds(kind)}

steps.load_all()
resources.load_all()
loaded = kinds(Step) | kinds(Operation)
for info in pkgutil.walk_packages(bai_wizard.__path__, "bai_wizard."):
    if not info.name.endswith("__main__"):
        __import__(info.name)
every = kinds(Step) | kinds(Operation)
print(len(loaded), sorted(f"{kind.__module__}.{kind.__name__}" for kind in every - loaded))
"""


def test_load_all_imports_every_kind_of_step_and_operation() -> None:
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True, timeout=120)
    count, _, missing = done.stdout.partition(" ")
    assert int(count) > 100
    assert ast.literal_eval(missing) == []
