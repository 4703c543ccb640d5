"""A pytest plug-in (`-p tests.tools.called_functions`) that records which functions each passing test calls.

Only calls are traced, not lines, so that tests take little longer. Calls in other processes are not seen.
`--calls DIRECTORY`: each process of pytest-xdist writes a file there, JSON:
{"calls": {"FILE:FUNCTION": [TEST, …]}, "seconds": {TEST: seconds of processor time}}.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType

import pytest

from tests.cache import CHECKOUT

PACKAGE = f"{CHECKOUT}/bai_wizard/"
CALLS: defaultdict[str, set[str]] = defaultdict(set)
SECONDS: dict[str, float] = {}
FAILED: set[str] = set()
seen: set[CodeType] = set()


def _trace(frame: FrameType, _event: str, _argument: object) -> None:
    seen.add(frame.f_code)


def _processor_time() -> float:
    """Of this process and of its children that have ended: it does not depend on the machine's other work."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    seen.clear()
    begun = _processor_time()
    threading.settrace(_trace)
    sys.settrace(_trace)
    try:
        return (yield)
    finally:
        sys.settrace(None)
        threading.settrace(None)
        SECONDS[item.nodeid] = _processor_time() - begun
        for code in tuple(seen):
            if code.co_filename.startswith(PACKAGE):
                name = code.co_filename.removeprefix(f"{CHECKOUT}/")
                CALLS[f"{name}:{code.co_qualname}"].add(item.nodeid)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if not report.passed:
        FAILED.add(report.nodeid)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--calls", type=Path, required=True, help="directory to write the calls to")


def pytest_sessionfinish(session: pytest.Session) -> None:
    calls = {place: sorted(tests - FAILED) for place, tests in sorted(CALLS.items())}
    record = json.dumps({"calls": calls, "seconds": SECONDS})
    (session.config.getoption("--calls") / f"{os.environ.get('PYTEST_XDIST_WORKER', 'main')}.json").write_text(record)
