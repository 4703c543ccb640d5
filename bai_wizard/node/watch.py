"""Wait until something in a directory changes: inotify(7) through ctypes."""

from __future__ import annotations

import ctypes
import os
import selectors
from contextlib import suppress

from bai_wizard.node.deadline import ready

# linux/inotify.h
IN_MODIFY, IN_MOVED_TO, IN_CREATE = 0x02, 0x80, 0x100
LONGEST_READ = 1 << 16


class DirectoryWatch:
    """Changes since it was created or since the last `wait`. Raises OSError if the kernel has no watch left."""

    def __init__(self, directory: str) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._descriptor, selectors.EVENT_READ)
        if libc.inotify_add_watch(self._descriptor, os.fsencode(directory), IN_MODIFY | IN_MOVED_TO | IN_CREATE) < 0:
            code = ctypes.get_errno()
            self.close()
            raise OSError(code, os.strerror(code), directory)

    def wait(self, seconds: float) -> None:
        """Return when something has changed, or after `seconds`."""
        if ready(self._selector, seconds):
            with suppress(BlockingIOError):
                while os.read(self._descriptor, LONGEST_READ):
                    pass

    def close(self) -> None:
        """Release the watch."""
        self._selector.close()
        os.close(self._descriptor)
