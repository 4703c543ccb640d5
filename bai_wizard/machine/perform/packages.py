"""Packages through apt-get: never killed, never asking, with what it does and whom it waits for in the log."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bai_wizard.core.errors import StepFailed
from bai_wizard.core.event import Log
from bai_wizard.core.machine import Completed
from bai_wizard.core.primitives import HoldPackages, InstallPackages, RefreshPackages, RemovePackages
from bai_wizard.machine.bundled import only_source
from bai_wizard.machine.inhibitor import no_shutdown
from bai_wizard.machine.perform.apt_causes import complaints, is_failure, plain_failure
from bai_wizard.machine.perform.apt_lock import wait_for_locks
from bai_wizard.machine.perform.apt_status import read_status
from bai_wizard.machine.perform.call import log_lines, succeed
from bai_wizard.machine.runner import run

if TYPE_CHECKING:
    from bai_wizard.machine.local import LocalMachine
    from bai_wizard.machine.perform import Performers

ENVIRONMENT = {
    "DEBIAN_FRONTEND": "noninteractive",
    "DEBCONF_NONINTERACTIVE_SEEN": "true",
    "NEEDRESTART_SUSPEND": "1",
    "UCF_FORCE_CONFFOLD": "1",
    "APT_LISTCHANGES_FRONTEND": "none",
}
# How long to wait for another program that uses the package manager: a first boot's upgrades take their time.
PATIENCE = 600.0
OPTIONS = (
    "-y",
    "-q",
    "-o", "Dpkg::Use-Pty=0",
    "-o", "Dpkg::Options::=--force-confdef",
    "-o", "Dpkg::Options::=--force-confold",
    "-o", f"DPkg::Lock::Timeout={PATIENCE:.0f}",
    "-o", "Acquire::Retries=3",
)  # fmt: skip
LISTS = "var/lib/apt/lists"


def install_packages(machine: LocalMachine, primitive: InstallPackages, log: Log) -> None:
    """Installs, with dependencies and without recommendations; what would remove another package is refused."""
    wanted = [f"{name}={version}" if version else name for name, version in primitive.wanted().items()]
    argv = ["install", "--no-install-recommends", "--no-remove", "--", *wanted]
    doing = f"installing {' '.join(primitive.names)}"
    if not machine.packages_from:
        _apt(machine, argv, doing, log)
        return
    with only_source(machine.packages_from, lambda words: _apt_raw(machine, words, log)) as options:
        _apt(machine, [*options, *argv], doing, log)


def remove_packages(machine: LocalMachine, primitive: RemovePackages, log: Log) -> None:
    """Removes; configuration files stay."""
    _apt(machine, ["remove", "--", *primitive.names], f"removing {' '.join(primitive.names)}", log)


def refresh_packages(machine: LocalMachine, primitive: RefreshPackages, log: Log) -> None:
    """Reads the lists anew. A repository that nobody asked for may fail: that is a warning.

    With a bundle nothing is asked: its index is read whenever something is installed.
    """
    if machine.packages_from:
        log(f"packages come from {machine.packages_from} alone: no repository is asked")
        return
    completed = _apt_raw(machine, ["update"], log)
    said = f"{completed.err}\n{completed.out}"
    errors = complaints(said)
    ours = [line for line in errors if is_failure(line) and any(one in line for one in primitive.addresses)]
    strangers_only = errors and primitive.addresses and not ours and all("://" in line for line in errors)
    if ours or (completed.code != 0 and not strangers_only):
        raise StepFailed(plain_failure("reading the package lists", "\n".join(ours) or said, completed.code))
    for line in errors:
        log(f"apt says of a repository: {line}", level="warning")
    # What did not change is not written again, so that its time would not tell that the lists were read.
    os.utime(Path(machine.root, LISTS))


def hold_packages(machine: LocalMachine, primitive: HoldPackages, log: Log) -> None:
    """Holds, or lets go."""
    succeed(["apt-mark", "hold" if primitive.held else "unhold", "--", *primitive.names], log, timeout=30.0)


def _apt(machine: LocalMachine, argv: Sequence[str], doing: str, log: Log) -> None:
    with no_shutdown(doing, log):
        completed = _apt_raw(machine, argv, log)
    if completed.code != 0:
        raise StepFailed(plain_failure(doing, f"{completed.err}\n{completed.out}", completed.code))


def _apt_raw(machine: LocalMachine, argv: Sequence[str], log: Log) -> Completed:
    if machine.prefix:
        raise StepFailed("packages can be changed on the running node only, not below another root")
    wait_for_locks(Path(machine.root), PATIENCE, log, should_stop=machine.should_stop)
    with _progress(log) as descriptor:
        return run(
            ["apt-get", *OPTIONS, "-o", f"APT::Status-Fd={descriptor}", *argv],
            # dpkg is never interrupted: a half installed package is worse than waiting. The runner reports silence.
            timeout=PATIENCE,
            cancel="finish",
            on_line=log_lines(log),
            env=ENVIRONMENT,
            pass_fds=(descriptor,),
        )


@contextmanager
def _progress(log: Log) -> Iterator[int]:
    """A descriptor for apt's status lines, read by a thread and told as progress of 100."""
    reader, writer = os.pipe()
    # A maintainer script may leave a daemon behind that keeps the writing end: the reader must not wait for it.
    os.set_inheritable(writer, False)
    thread = threading.Thread(target=_read_progress, args=(reader, log), daemon=True, name="apt progress")
    thread.start()
    try:
        yield writer
    finally:
        os.write(writer, b"\nend\n")
        os.close(writer)
        thread.join()


def _read_progress(reader: int, log: Log) -> None:
    told = (-1, "")
    with os.fdopen(reader, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line == "end\n":
                return
            status = read_status(line.rstrip("\n"))
            if status is None:
                continue
            if status.sort in ("pmerror", "pmconffile"):
                log(status.text, level="warning")
            elif (status.done(), status.text) != told:
                told = (status.done(), status.text)
                log(status.text, done=status.done(), total=100)


PERFORMERS: Performers = {
    "install-packages": install_packages,
    "remove-packages": remove_packages,
    "refresh-packages": refresh_packages,
    "hold-packages": hold_packages,
}
