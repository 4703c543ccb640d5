"""How performers call programs: every line into the log, a failure as StepFailed with the program's last words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bai_wizard.core.errors import StepFailed
from bai_wizard.core.event import Log
from bai_wizard.core.machine import Completed
from bai_wizard.core.primitives.command import Cancel
from bai_wizard.core.secret import Secret
from bai_wizard.machine.runner import OnLine, run

# Lines of a program's output that a failure quotes.
QUOTED_LINES = 6


def log_lines(log: Log) -> OnLine:
    """Passes a child's lines into a log; the runner's own remarks are warnings."""

    def tell(text: str, stream: str) -> None:
        if stream:
            log(text, stream=stream)
        else:
            log(text, level="warning")

    return tell


def succeed(
    argv: Sequence[str],
    log: Log,
    *,
    timeout: float = 60.0,
    title: str = "",
    cancel: Cancel = "kill",
    env: Mapping[str, str] | None = None,
    feed: bytes | Secret | None = None,
) -> Completed:
    """Runs a program that has to end well. Raises StepFailed with its last words, CannotTell when it never ends."""
    completed = run(argv, timeout=timeout, cancel=cancel, on_line=log_lines(log), env=env, feed=feed)
    if completed.code != 0:
        raise StepFailed(f"{title or ' '.join(argv)}: {last_words(completed)}")
    return completed


def last_words(completed: Completed) -> str:
    """The end of what a program said, errors first; its exit code where it said nothing."""
    said = completed.err.strip() or completed.out.strip()
    if completed.code < 0:
        return f"killed by signal {-completed.code}" + (f": {said[-500:]}" if said else "")
    lines = [line.strip() for line in said.split("\n") if line.strip()][-QUOTED_LINES:]
    return "; ".join(lines) or f"exit code {completed.code}"
