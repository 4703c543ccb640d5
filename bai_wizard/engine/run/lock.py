"""One run at a time: an flock that dies with its holder, never a stale file."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bai_wizard.core.errors import LockHeld
from bai_wizard.engine.run.durable import write_json
from bai_wizard.engine.run.places import Places


@contextmanager
def hold_lock(places: Places, notice: dict[str, Any]) -> Iterator[None]:
    """Holds the lock and tells everybody who does. Raises LockHeld with the holder's run."""
    places.make()
    descriptor = os.open(places.lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise held(places) from None
        write_json(places.current, {**notice, "pid": os.getpid()}, mode=0o644)
        yield
        places.current.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def held(places: Places) -> LockHeld:
    """The error that names the holder."""
    holder = current(places) or {}
    run = str(holder.get("run", ""))
    text = f"another run is in progress: {run or 'unknown'} (pid {holder.get('pid', '?')}, since "
    text += f"{holder.get('since', '?')}); watch it with: bai-wizard attach {run}".rstrip()
    return LockHeld(run, text)


def is_held(places: Places) -> bool:
    """True while an executor is alive. Needs root; others can only read the notice."""
    try:
        descriptor = os.open(places.lock, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except PermissionError:
        return current(places) is not None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def current(places: Places) -> dict[str, Any] | None:
    """The notice of the current run, whether or not its writer still lives."""
    try:
        value = json.loads(places.current.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return value if isinstance(value, dict) else None
