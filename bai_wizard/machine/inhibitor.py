"""Holds a shutdown back while packages change: half installed is worse than waiting."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bai_wizard.core.errors import CannotTell
from bai_wizard.core.event import Log
from bai_wizard.machine.runner import alongside

# logind answers within milliseconds, or not at all; seconds.
PATIENCE = 5.0


@contextmanager
def no_shutdown(why: str, log: Log) -> Iterator[None]:
    """While it lasts, logind refuses a shutdown and says `why`; root can still force one.

    Where there is no logind (or none that answers), the log says so and work goes on.
    """
    with ExitStack() as stack:
        if Path("/run/systemd/system").is_dir():
            try:
                stack.enter_context(alongside(inhibit_argv(why), timeout=PATIENCE))
            except CannotTell as error:
                log(f"a shutdown is not held back meanwhile: {error}")
        yield


def inhibit_argv(why: str) -> list[str]:
    """The program that holds the lock for as long as its `cat` lives."""
    return ["systemd-inhibit", "--what=shutdown", "--mode=block", "--who=bai-wizard", f"--why={why}", "cat"]
