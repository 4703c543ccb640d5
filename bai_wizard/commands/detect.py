"""`bai-wizard detect`: what this node is."""

from __future__ import annotations

import argparse
import json

from bai_wizard import compose
from bai_wizard.core.context import Context
from bai_wizard.detect import detect
from bai_wizard.exits import ExitCode


def run(arguments: argparse.Namespace) -> ExitCode:
    """Needs no root; what root alone can read is told as such."""
    machine = compose.local_machine(arguments.root)
    found = detect(machine, {}, Context(host=machine.host))
    if getattr(arguments, "json", False):
        print(json.dumps({"v": 1, "host": machine.host, "pages": {name: dict(rows) for name, rows in found.items()}}))
        return ExitCode.OK
    for name, rows in found.items():
        print(f"[{name}]")
        for label, value in rows:
            print(f"  {label + ':':<22} {value}")
    return ExitCode.OK
