"""A child process that runs `check` on many files and measures each, and the parent's side of it.

It reads paths, one a line, and writes a line of JSON for each.
"""

from __future__ import annotations

import contextlib
import io
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.cache import CHECKOUT

# What one file may cost: seconds of processor time, and the most memory of the process in MB.
SECONDS = 2.0
MEGABYTES = 300
# A child that is still at a file after so many seconds of processor time is ended by the kernel.
HOPELESS = 20
# A child looks at so many files, so that its peak says something about them.
PORTION = 100


@dataclass(frozen=True)
class Check:
    """What `check` did with a file. `seconds` of processor time; `megabytes` is the child's peak so far."""

    path: str
    code: int
    seconds: float
    megabytes: int
    message: str

    def fault(self) -> str:
        """Empty where the file was judged within bounds."""
        if self.code not in (0, 2) or "Traceback" in self.message:
            return f"ended with {self.code}: {self.message[-2000:]}"
        if not self.message.strip():
            return "nothing was said"
        if self.seconds > SECONDS or self.megabytes > MEGABYTES:
            return f"took {self.seconds} s and {self.megabytes} MB"
        return ""


def check_all(paths: Iterable[Path], python: str = sys.executable) -> Iterator[Check]:
    """What `check` does with each file. A child that ends before it has answered counts as exit code -1."""
    waiting = [str(path) for path in paths]
    while waiting:
        portion, waiting = waiting[:PORTION], waiting[PORTION:]
        argv = [python, "-m", "tests.unit.answers.checker"]
        done = subprocess.run(
            argv, input="\n".join(portion), capture_output=True, text=True, cwd=CHECKOUT, timeout=900, check=False
        )
        answers = [
            Check(path, *json.loads(line)) for path, line in zip(portion, done.stdout.splitlines(), strict=False)
        ]
        yield from answers
        if len(answers) < len(portion):
            yield Check(portion[len(answers)], -1, HOPELESS, 0, done.stderr or f"ended by signal {-done.returncode}")
            waiting = portion[len(answers) + 1 :] + waiting


def main() -> None:
    """The child."""
    from bai_wizard.cli import main as run
    from tests.memory import peak_megabytes

    for line in sys.stdin:
        limit = int(time.process_time()) + HOPELESS
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
        out, err = io.StringIO(), io.StringIO()
        begun = time.process_time()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run(["check", line.rstrip("\n"), "--host", "bai-a01"])
        seconds = round(time.process_time() - begun, 3)
        megabytes = peak_megabytes()
        message = (out.getvalue() + err.getvalue())[-3000:]
        sys.stdout.write(json.dumps([int(code), seconds, megabytes, message]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
