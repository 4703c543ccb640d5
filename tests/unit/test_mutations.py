"""The mutation sampler edits what it says, and in a soak run, the tests notice the edits."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cache import CHECKOUT
from tests.sampling import seed
from tests.tools.mutate import draw, source_files
from tests.tools.mutations import is_python, mutations_of

# Statement → the edits of it.
EDITS = {
    "x = a == b": ["x = a != b"],
    "x = a < b": ["x = a <= b"],
    "x = a is None": ["x = a is not None"],
    "x = a and b": ["x = a or b"],
    "x = not a": ["x = a"],
    "x = True": ["x = False"],
    "mode = 0o600": ["mode = 0o644"],
    "count = 3": ["count = 4"],
    "os.fsync(fd)": ["pass"],
    "x = y if a else z": ["x = y if not (a) else z"],
    "x = run(a, user=b)": ["x = run(a)"],
    'x = ["install", "--no-remove"]': ['x = ["install"]'],
    # What no test can notice.
    '"""A docstring."""': [],
    "debug(1)": [],
    "from a import b": [],
    'x = f"{a == b}"': [],
    # What only ends a hang or bounds memory.
    "DEADLINE = 3 * 60": [],
    "LARGEST: int = 1 << 20": [],
    "x = run(a, timeout=60)": [],
    "x = run(a, deadline=b)": [],
    "x = text[:200]": [],
    "x = text[:2]": ["x = text[:3]"],
    "GID = 3": ["GID = 4"],
    "def f(a: 'int' = b) -> 'bool': ...": [],
}


@pytest.mark.parametrize("text", EDITS)
def test_edits_of_a_statement(text: str) -> None:
    assert [each.apply(text) for each in mutations_of("x.py", text)] == EDITS[text]


def test_an_edit_knows_its_function() -> None:
    text = "class A:\n    def b(self):\n        def c():\n            return 'ü' == d\n        return 1\n"
    assert [(each.function, each.line) for each in mutations_of("x.py", text)] == [("A.b.<locals>.c", 4), ("A.b", 5)]


def test_a_sample_is_python_and_repeatable() -> None:
    first, again = (draw(source_files(), 10, 7) for _ in range(2))
    assert first == again
    assert len({(each.file, each.start) for each in first}) == 10
    for each in first:
        text = (CHECKOUT / each.file).read_text(encoding="utf-8")
        assert is_python(each.apply(text))
        assert each.apply(text) != text


@pytest.mark.soak
@pytest.mark.needs_root
@pytest.mark.timeout(7200)
def test_the_tests_notice_a_sample_of_edits() -> None:
    """The goal is 90 percent; the rate of so small a sample varies by 5 percent (one standard deviation)."""
    argv = [sys.executable, "-m", "tests.tools.mutate", "--count", "40", "--seed", str(seed()), "--goal", "80"]
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
