"""The debug log: commands with durations, planner decisions and events. Off until `start` is called.

Secrets are masked in every entry, including tracebacks. `logging` is imported only when the log is started.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging
    from logging import Logger

# Any value other than empty or 0 starts the log. sudo drops the variable but keeps the option.
OPTION, VARIABLE = "--debug", "BAI_WIZARD_DEBUG"

_logger: Logger | None = None
_files: list[str] = []


def is_wanted(words: Iterable[str]) -> bool:
    """Whether the command line or the environment requests the log."""
    # --de would be ambiguous, so argparse accepts these abbreviations.
    by_option = any(OPTION.startswith(word) and len(word) >= len("--deb") for word in words)
    return by_option or os.environ.get(VARIABLE, "") not in ("", "0")


def is_on() -> bool:
    """Whether entries are written."""
    return _logger is not None


def debug(message: str, *values: object) -> None:
    """Write one entry, formatted as in `logging`; does nothing while the log is off."""
    if _logger is not None:
        _logger.debug(message, *values)


def debug_exception() -> None:
    """Write the traceback of the exception being handled, without local variables."""
    if _logger is not None:
        _logger.debug("traceback", exc_info=True)


def start(path: str = "", *, shown: bool = True) -> None:
    """Start the log in `path` (appending), or in a new file in the temporary directory.

    `shown`: mention the file at the end. The front end that started the executor mentions the executor's log. The
    file is readable by this user only. Starting a running log does nothing. Raises OSError.
    """
    global _logger
    if _logger is not None:
        return
    import logging

    if path:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    else:
        from tempfile import mkstemp

        descriptor, path = mkstemp(prefix="bai-wizard-debug-", suffix=".log")
    handler = _handler(descriptor)
    logger = logging.Logger("bai_wizard")
    logger.addHandler(handler)
    _logger = logger
    if shown:
        mention(path)


def stop() -> tuple[str, ...]:
    """Stop the log. Returns the mentioned files, the log's own first; empty if the log was off."""
    global _logger
    if _logger is not None:
        for handler in _logger.handlers:
            handler.close()
        _logger = None
    files = tuple(dict.fromkeys(_files))
    _files.clear()
    return files


def show_files() -> None:
    """Stop the log and print its path to standard error."""
    for file in stop():
        print(f"bai-wizard: debug log: {file}", file=sys.stderr)


def mention(path: str) -> None:
    """Add a file to those that `stop` returns: the debug log of another process, such as the executor."""
    _files.append(path)


def leave_to_parent() -> None:
    """Stop the log in a forked child that has closed its descriptors; their numbers are reused for other files."""
    global _logger
    _logger = None


def _handler(descriptor: int) -> logging.Handler:
    import logging
    from time import gmtime

    from bai_wizard.core.display import visible
    from bai_wizard.core.secret import redact

    class Masked(logging.Formatter):
        """Format one entry: the first line has the time in UTC, process and thread; further lines are indented."""

        converter = staticmethod(gmtime)

        def format(self, record: logging.LogRecord) -> str:
            return visible(redact(super().format(record))).replace("\n", "\n    ")

    class Descriptor(logging.Handler):
        """Write each entry immediately. A failed write is dropped: the log never terminates a command."""

        def emit(self, record: logging.LogRecord) -> None:
            try:
                os.write(descriptor, (self.format(record) + "\n").encode("utf-8", "backslashreplace"))
            except OSError:
                return

        def close(self) -> None:
            os.close(descriptor)
            super().close()

    handler = Descriptor()
    layout = "%(asctime)s.%(msecs)03dZ %(process)d %(threadName)s %(message)s"
    handler.setFormatter(Masked(layout, "%Y-%m-%dT%H:%M:%S"))
    return handler
