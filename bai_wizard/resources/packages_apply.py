"""Packages through apt-get: never killed, never interactive; lock holders are logged, errors explained."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from bai_wizard.core.display import visible
from bai_wizard.core.errors import StepFailed
from bai_wizard.core.event import Log
from bai_wizard.core.machine import Completed
from bai_wizard.core.parse import Malformed, real
from bai_wizard.node.error_hints import find_hint
from bai_wizard.node.package_tool import PROGRESS_FD, only_source, run_package_tool
from bai_wizard.node.process import no_shutdown, succeed
from bai_wizard.resources import performs
from bai_wizard.resources.packages import (
    CompletePackages,
    HoldPackages,
    InstallPackages,
    PackageDatabase,
    RefreshPackages,
    RemovePackages,
)

if TYPE_CHECKING:
    from bai_wizard.resources.local import LocalMachine


# The first half of the bar is downloading, the second unpacking and configuring. apt counts each from 0 to 100.
HALF = 50


class AptStatus(Struct, frozen=True):
    """One status line: `sort` is dlstatus, pmstatus, pmerror or pmconffile, `percent` apt's own value."""

    sort: str
    percent: float
    text: str

    def done(self) -> int:
        """Return the overall progress out of 100."""
        return round(self.percent / 2) + (0 if self.sort == "dlstatus" else HALF)


def read_status(line: str) -> AptStatus | None:
    """Parse a line such as `pmstatus:docker.io:45.5:Unpacking docker.io (amd64)`; None for anything else."""
    parts = line.split(":")
    if len(parts) < 4 or parts[0] not in ("dlstatus", "pmstatus", "pmerror", "pmconffile"):
        return None
    # A package name may include its architecture (`libc6:amd64`), so the percentage is the first number after the
    # name.
    for index in (2, 3):
        try:
            percent = real(parts[index])
        except (Malformed, IndexError):
            continue
        text = ":".join(parts[index + 1 :]).strip()
        return AptStatus(parts[0], min(max(percent, 0.0), 100.0), text)
    return None


LOCKS = ("var/lib/dpkg/lock-frontend", "var/lib/dpkg/lock", "var/lib/apt/lists/lock", "var/cache/apt/archives/lock")
# dpkg's own locks; apt-get acquires them before it starts dpkg.
OF_DPKG = LOCKS[:2]
# struct flock on 64-bit Linux: type, whence, start, length, pid, and trailing padding.
FLOCK = "hhqqi4x"
POLL_SECONDS = 0.5
TELL_SECONDS = 15.0


def dpkg_is_at_work(root: str) -> bool:
    """Whether a process holds dpkg's locks. Without read permission, False."""
    try:
        return any(_locked_by(Path(root, name)) for name in OF_DPKG)
    except PermissionError:
        return False


def wait_for_dpkg(root: str, log: Log) -> None:
    """Wait, however long it takes, for a dpkg whose apt-get was killed: nothing else waits for it."""
    is_reported = False
    while dpkg_is_at_work(root):
        if not is_reported:
            log(f"waiting for {holder(Path(root)) or 'dpkg'}, which is still changing packages")
            is_reported = True
        time.sleep(POLL_SECONDS)


def holder(root: Path) -> str:
    """Return `unattended-upgr (process 1234)` for the first lock that is held; empty if all are free."""
    for name in LOCKS:
        pid = _locked_by(root / name)
        if pid:
            return f"{_program(pid)} (process {pid})"
    return ""


def wait_for_locks(root: Path, patience: float, log: Log, *, should_stop: Callable[[], bool] = lambda: False) -> None:
    """Wait until the locks are free, reporting their holder.

    Raises StepFailed after `patience` seconds, and as soon as the run is asked to stop.
    """
    begun = time.monotonic()
    result = -TELL_SECONDS
    while who := holder(root):
        waited = time.monotonic() - begun
        if should_stop():
            raise StepFailed(f"stopped as requested while {who} was using the package manager; nothing was changed")
        if waited >= patience:
            raise StepFailed(
                f"{who} has been using the package manager for {waited:.0f} s. Wait until it finishes, then retry;"
                " never kill it and never delete its lock files"
            )
        if waited - result >= TELL_SECONDS:
            result = waited
            log(f"waiting for {who}, which is using the package manager ({patience - waited:.0f} s left)")
        time.sleep(POLL_SECONDS)


def _locked_by(path: Path) -> int:
    """Return the PID of the process that holds a lock on the file; 0 if none, or if the file is missing."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return 0
    try:
        question = struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        answer = struct.unpack(FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, question))
    finally:
        os.close(descriptor)
    return 0 if answer[0] == fcntl.F_UNLCK else max(answer[4], 1)


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() or "another program"
    except OSError:
        return "another program"


ENVIRONMENT = {
    "DEBIAN_FRONTEND": "noninteractive",
    "DEBCONF_NONINTERACTIVE_SEEN": "true",
    "NEEDRESTART_SUSPEND": "1",
    "UCF_FORCE_CONFFOLD": "1",
    "APT_LISTCHANGES_FRONTEND": "none",
}
# How long to wait for another program that uses the package manager: upgrades at first boot take time.
PATIENCE = 600.0
# Files edited by people stay unchanged, without a prompt.
KEEP_CONFIGURATION = ("--force-confdef", "--force-confold")
OPTIONS = (
    "-y",
    "-q",
    "-o", "Dpkg::Use-Pty=0",
    *(word for option in KEEP_CONFIGURATION for word in ("-o", f"Dpkg::Options::={option}")),
    "-o", f"DPkg::Lock::Timeout={PATIENCE:.0f}",
    "-o", "Acquire::Retries=3",
)  # fmt: skip
LISTS = "var/lib/apt/lists"


@performs(InstallPackages)
def install_packages(machine: LocalMachine, operation: InstallPackages, log: Log) -> None:
    """Install with dependencies and without recommendations; refuse to remove other packages."""
    wanted = [f"{name}={version}" if version else name for name, version in operation.wanted().items()]
    argv = ["install", "--no-install-recommends", "--no-remove", "--", *wanted]
    doing = f"installing {' '.join(operation.names)}"
    if not machine.packages_from:
        _apt(machine, argv, doing, log)
        return
    with _bundle(machine, log) as options:
        _apt(machine, [*options, *argv], doing, log)


@performs(RemovePackages)
def remove_packages(machine: LocalMachine, operation: RemovePackages, log: Log) -> None:
    """Remove packages; configuration files stay."""
    _apt(machine, ["remove", "--", *operation.names], f"removing {' '.join(operation.names)}", log)


@performs(RefreshPackages)
def refresh_packages(machine: LocalMachine, operation: RefreshPackages, log: Log) -> None:
    """Refresh the package lists. Failure of a repository that was not requested is only a warning.

    With a bundle, nothing is refreshed: its index is read at each installation.
    """
    if machine.packages_from:
        log(f"packages are installed only from {machine.packages_from}: no repository is queried")
        return
    completed = _apt_raw(machine, ["update"], "reading the package lists", log)
    output = completed.out
    errors = complaints(output)
    ours = [line for line in errors if is_failure(line) and any(one in line for one in operation.addresses)]
    strangers_only = errors and not ours and all("://" in line for line in errors)
    if strangers_only and not operation.addresses:
        strangers_only = bool(operation.packages) and all(map(machine.candidate, operation.packages))
    if ours or (completed.code != 0 and not strangers_only):
        raise StepFailed(plain_failure("reading the package lists", "\n".join(ours) or output, completed.code))
    for line in errors:
        log(f"apt reports: {line}", level="warning")
    # Unchanged lists are not rewritten, so their time would not show that they were refreshed.
    os.utime(Path(machine.root, LISTS))


@performs(HoldPackages)
def hold_packages(machine: LocalMachine, operation: HoldPackages, log: Log) -> None:
    succeed(["apt-mark", "hold" if operation.held else "unhold", "--", *operation.names], log, timeout=30.0)


@performs(CompletePackages)
def complete_packages(machine: LocalMachine, operation: CompletePackages, log: Log) -> None:
    """Remove first, then configure, then unpack damaged packages again.

    apt-get alone would leave a damaged package unchanged: it reinstalls only the packages named.
    """
    doing = "completing the interrupted package configuration"
    database = PackageDatabase(machine.root)
    with no_shutdown(doing, log):
        before = database.unfinished()
        if before is not None and before.removing:
            words = ["--force-remove-reinstreq", "--remove", "--", *before.removing]
            _run(machine, ["dpkg", *KEEP_CONFIGURATION, *words], doing, log)
        completed = _run(machine, ["dpkg", *KEEP_CONFIGURATION, "--configure", "--pending"], doing, log)
        left = database.unfinished()
        if left is None:
            return
        # A script that has just failed would only fail again.
        if left.damaged or script_failure(completed.out) is None:
            completed = _unpack_again(machine, left.damaged, doing, log)
            left = database.unfinished()
    if left is not None:
        still = f"not completed: {' '.join(left.packages)}"
        raise StepFailed(f"{plain_failure(doing, completed.out, completed.code)}; {still}")


def _unpack_again(machine: LocalMachine, damaged: Sequence[str], doing: str, log: Log) -> Completed:
    words = ["--no-remove", "--fix-broken", "--reinstall", "install", "--", *damaged]
    with _bundle(machine, log) if machine.packages_from else nullcontext(()) as options:
        return _apt_raw(machine, [*options, *words], doing, log)


def _bundle(machine: LocalMachine, log: Log) -> AbstractContextManager[tuple[str, ...]]:
    doing = "reading the packages of the bundle"
    return only_source(machine.packages_from, lambda words: _apt_raw(machine, words, doing, log))


def _apt(machine: LocalMachine, argv: Sequence[str], doing: str, log: Log) -> None:
    with no_shutdown(doing, log):
        completed = _apt_raw(machine, argv, doing, log)
    if completed.code != 0:
        raise StepFailed(plain_failure(doing, completed.out, completed.code))


def _apt_raw(machine: LocalMachine, argv: Sequence[str], doing: str, log: Log) -> Completed:
    return _run(machine, ["apt-get", *OPTIONS, "-o", f"APT::Status-Fd={PROGRESS_FD}", *argv], doing, log)


def _run(machine: LocalMachine, argv: Sequence[str], doing: str, log: Log) -> Completed:
    """Never interrupt dpkg: a half-installed package is worse than waiting. Silence is reported."""
    if machine.prefix:
        raise StepFailed("packages can be changed only on the running node, not below another root")
    machine.wait_for_package_tool(log, taken=True)
    wait_for_locks(Path(machine.root), PATIENCE, log, should_stop=machine.should_stop)
    completed = run_package_tool(machine.root, argv, doing, log, env=ENVIRONMENT, on_progress=_progress(log))
    if completed.code < 0:
        wait_for_dpkg(machine.root, log)
    return completed


def _progress(log: Log) -> Callable[[str], None]:
    """Convert apt's status lines to progress out of 100."""
    lines = (-1, "")

    def tell(line: str) -> None:
        nonlocal lines
        status = read_status(line)
        if status is None:
            return
        if status.sort in ("pmerror", "pmconffile"):
            log(status.text, level="warning")
        elif (status.done(), status.text) != lines:
            lines = (status.done(), status.text)
            log(status.text, done=status.done(), total=100)

    return tell


# Lines and characters of a script's own output that are quoted.
QUOTED_LINES = 6
QUOTED_CHARACTERS = 600
# dpkg's term → file in the package: "post-installation script" is DEBIAN/postinst.
SCRIPTS = {
    "pre-installation": "preinst",
    "post-installation": "postinst",
    "pre-removal": "prerm",
    "post-removal": "postrm",
}
# `dpkg: error processing package x (--configure):`, followed by the reason on the next line.
_ERROR = re.compile(r"^dpkg: error processing (?:package|archive) (?P<name>\S+) \(--(?P<action>[a-z-]+)\):$")
# dpkg 1.19 to 1.22, then older and newer wordings: `installed x package post-installation script subprocess returned
# error exit status 1`, `subprocess installed post-installation script ...`, `... failed with exit status 1`.
_SCRIPT = re.compile(
    r"^ ?(?:(?:old|new|installed) (?P<name>\S+) package (?P<script>[a-z-]+) script subprocess"
    r"|subprocess (?:old|new|installed) (?P<older>[a-z-]+) script) (?P<how>.+)$"
)
# What apt-get and dpkg print between the outputs of scripts.
_OWN = re.compile(
    r"^(?:Setting up|Unpacking|Preparing to unpack|Selecting previously|Removing|Purging configuration files for"
    r"|Processing triggers for|\(Reading database|dpkg: |dpkg-\w+: |Errors were encountered|Fetched |Get:\d|Hit:\d"
    r"|Reading package lists|Building dependency tree|Reading state information|E: |W: |N: )"
)
_DEPENDENCY = re.compile(r"^ dependency problems")


class ScriptFailure(Struct, frozen=True):
    """A failed maintainer script: its package, its file name in the package, how it ended, its last lines."""

    package: str
    script: str
    how: str
    words: str

    def sentence(self) -> str:
        """Return a sentence for display."""
        words = f". Its last output: {self.words}" if self.words else ", and printed nothing"
        return f"the {self.script} script of the package {self.package} {self.how}{words}"


def script_failure(output: str) -> ScriptFailure | None:
    """Return the first maintainer script that failed; None if none did."""
    lines = output.splitlines()
    for number, line in enumerate(lines[:-1]):
        error = _ERROR.match(line)
        reason = _SCRIPT.match(lines[number + 1]) if error else None
        if error is None or reason is None:
            continue
        package = reason["name"] or _package_of(error["name"])
        script = reason["script"] or reason["older"]
        return ScriptFailure(package, SCRIPTS.get(script, script), reason["how"].strip(), _words(lines[:number]))
    return None


def other_error(output: str) -> str:
    """Return dpkg's first error that is not merely a consequence of another, with its reason; empty without one."""
    lines = output.splitlines()
    for number, line in enumerate(lines[:-1]):
        if _ERROR.match(line) and not _DEPENDENCY.match(lines[number + 1]):
            return f"{line.removeprefix('dpkg: ')} {lines[number + 1].strip()}"
    return ""


def _words(before: list[str]) -> str:
    """Return the end of a script's output: everything since dpkg's own last line."""
    result: list[str] = []
    for line in reversed(before):
        if _OWN.match(line) or len(result) == QUOTED_LINES:
            break
        if line.strip():
            result.append(visible(line.strip(), lines=False))
    text = "; ".join(reversed(result))
    return text if len(text) <= QUOTED_CHARACTERS else f"...{text[-QUOTED_CHARACTERS:]}"


def _package_of(name: str) -> str:
    """Return the package of an archive (`/var/cache/apt/archives/x_1.0_amd64.deb`), or the name itself."""
    return name.rpartition("/")[2].partition("_")[0]


# Turn error messages of apt and dpkg into a cause and the next action.
#
# The texts are apt's and dpkg's own in the C locale; tests/pages/docker records where they were seen.

# Warnings of a successful `apt-get update` that a list is missing or old (apt-pkg/acquire-item.cc).
NOT_READ = (
    r"Failed to fetch|GPG error|OpenPGP signature verification failed|repository is not updated"
    r"|is (?:not|no longer) signed|index files failed"
)


def plain_failure(doing: str, output: str, code: int) -> str:
    """Return a sentence for a failed call: what was attempted, why it failed, what to do next."""
    failed = script_failure(output)
    if failed is not None:
        hint = find_hint("apt", "maintainer script failed", failure=failed.sentence())
    else:
        hint = find_hint("apt", output, tail=_tail(output))
        if hint is None and code < 0:
            hint = find_hint("apt", f"killed by signal {-code}")
    if hint is not None:
        return f"{doing}: {hint.text}"
    return f"{doing}: exit code {code}: {_tail(output) or 'no error message'}"


def complaints(output: str) -> tuple[str, ...]:
    """Return apt's own error and warning lines."""
    return tuple(line for line in output.splitlines() if line.startswith(("E: ", "W: ", "Err:")))


def is_failure(line: str) -> bool:
    """Whether a message means that a list was not read, as opposed to a warning about a key or suite."""
    return not line.startswith("W: ") or bool(re.search(NOT_READ, line))


def _tail(output: str) -> str:
    """Return the errors of apt and dpkg, without package lists, which are indented."""
    error = other_error(output)
    lines = [line for line in output.splitlines() if line.startswith(("E: ", "dpkg: error:"))]
    return " ".join(" ".join([error, *lines[-4:]]).split())[:300]
