"""Checks of the interpreters: that they run on this processor and this C library, and are whole."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass

from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.examination import argv_of, lacking
from bai_wizard.core.finding import Check, Evidence, Finding
from bai_wizard.core.machine import Completed, Machine
from bai_wizard.pages.python.look import Found, finding, found_interpreters
from bai_wizard.pages.python.operator import as_operator
from bai_wizard.pages.python.plan import build_packages
from bai_wizard.pages.python.probe import architecture, home_of

# The first two words of an ELF file on a little-endian machine, and its e_machine (elf.h).
ELF_MAGIC = ["17791", "17996"]
ELF_MACHINES = {"62": "x86_64", "183": "aarch64"}
REMOVE_AND_PLAN = "Move the directory away and run the python page again: it takes the plain build for this node."


@dataclass(frozen=True)
class Trouble:
    """A way in which an interpreter fails to start, told by its own words or its exit code."""

    id: str
    ok: str
    bad: str
    is_it: Callable[[Completed], bool]
    cause: str


TROUBLES = (
    Trouble(
        "pbs-microarch",
        "The Python builds run on this processor",
        "A Python build needs a newer processor",
        lambda done: done.code in (-signal.SIGILL, 128 + signal.SIGILL),
        "A build for x86-64-v3 or v4 on an older processor, or in a virtual machine with a minimal processor model.",
    ),
    Trouble(
        "pbs-musl-variant",
        "The Python builds are for this C library",
        "A Python build is made for musl",
        lambda done: done.code in (126, 127) and "No such file or directory" in done.err,
        "The program is there, but its loader is not: a musl build, which also could not load common wheels.",
    ),
    Trouble(
        "pbs-old-glibc",
        "The C library is new enough for the Python builds",
        "The system's C library is too old for a Python build",
        lambda done: "GLIBC_" in done.err and "not found" in done.err,
        "The build was made for a newer system.",
    ),
)


def _startup(trouble: Trouble) -> Check:
    def look(machine: Machine, context: Context) -> Finding:
        there = [found for found in found_interpreters(machine, context) if found.version]
        if not there:
            return finding(trouble.id, "not-applicable", trouble.ok, cause="no interpreters in the account's home")
        hit = [(found, done) for found in there if trouble.is_it(done := _start(machine, context, found))]
        if not hit:
            return finding(trouble.id, "ok", trouble.ok)
        evidence = tuple(
            Evidence("start", found.program, done.err.strip()[-200:] or f"exit code {done.code}", "it runs")
            for found, done in hit
        )
        return finding(
            trouble.id, "problem", trouble.bad, evidence=evidence, cause=trouble.cause, guidance=REMOVE_AND_PLAN
        )

    return Check(trouble.id, "python", trouble.ok, look, deadline=20.0, needs_root=True)


def _wrong_arch(machine: Machine, context: Context) -> Finding:
    id, title = "pbs-wrong-arch", "The Python builds are for this processor"
    own = architecture(machine)
    evidence = []
    for found in found_interpreters(machine, context):
        # Asked of the program's head: to start it would end in a shell that tries to read it as a script.
        said = as_operator(machine, context, ("od", "-An", "-tu2", "-N20", found.program)).out.split()
        made_for = (
            ELF_MACHINES.get(said[9], f"machine {said[9]}") if said[:2] == ELF_MAGIC and len(said) == 10 else ""
        )
        if made_for and own in ELF_MACHINES.values() and made_for != own:
            evidence.append(Evidence("made for", found.program, made_for, own))
    if not evidence:
        return finding(id, "ok", title)
    return finding(
        id,
        "problem",
        "A Python build is for another processor",
        evidence=tuple(evidence),
        cause="The archive of another architecture was unpacked (x86_64 on aarch64, or the reverse).",
        guidance=REMOVE_AND_PLAN,
    )


def _start(machine: Machine, context: Context, found: Found) -> Completed:
    return as_operator(machine, context, (found.program, "-I", "-B", "-c", "0"))


def _lacking(machine: Machine, context: Context) -> Finding:
    id, title = "pyenv-missing-libs", "The interpreters have all their parts"
    there = [found for found in found_interpreters(machine, context) if found.version]
    if not there:
        return finding(id, "not-applicable", title, cause="no interpreters in the account's home")
    hit = {
        found: names
        for found in there
        if (names := [name for name, _ in lacking(as_operator(machine, context, argv_of(found.program)))])
    }
    if not hit:
        return finding(id, "ok", title)
    evidence = tuple(
        Evidence("modules", found.program, f"lacks {', '.join(names)}", "all of them") for found, names in hit.items()
    )
    risk = "The environments made from it have to be made again."
    if all(found.road == "standalone" for found in hit):
        return finding(
            id,
            "problem",
            "A standalone Python lacks some of its parts",
            evidence=evidence,
            cause="Files of it were removed or replaced after it was unpacked, or it was not unpacked whole.",
            guidance=REMOVE_AND_PLAN,
            risk=risk,
        )
    packages = " ".join(build_packages(""))
    return finding(
        id,
        "problem",
        "pyenv built a Python without some parts",
        evidence=evidence,
        cause="Header packages were missing during the build; but for ssl, pyenv only warns and ends well.",
        guidance=f"Install what a build needs ({packages}), build again with «pyenv install -f VERSION», and make "
        "the environments of that version anew. Or take the standalone build.",
        risk=risk,
    )


def _half_built(machine: Machine, context: Context) -> Finding:
    id, title = "pyenv-build-failed", "No build of Python stopped half way"
    half = [found for found in found_interpreters(machine, context) if not found.version]
    if not half:
        return finding(id, "ok", title)
    return finding(
        id,
        "problem",
        "A build of Python stopped half way",
        evidence=tuple(Evidence("build", found.path, "begun and not finished", "finished") for found in half),
        cause="The run was cut or the build failed: no compiler, a missing header package, a temporary directory "
        "without execution rights, or not enough memory.",
        guidance="«bai-wizard resume» builds it again and names the cause if it stops again; "
        '[python] method = "standalone" takes a ready build instead.',
    )


def _sysconfig(machine: Machine, context: Context) -> Finding:
    id, title = "pbs-sysconfig-paths", "C extensions can be built with the standalone Python"
    evidence = []
    there = [found for found in found_interpreters(machine, context) if found.version and found.road == "standalone"]
    if not there:
        return finding(id, "not-applicable", title, cause="no standalone builds in the account's home")
    for found in there:
        library = f"{found.path}/lib/python{found.version.rpartition('.')[0]}"
        for name in machine.names(library):
            if name.startswith("_sysconfigdata") and name.endswith(".py"):
                text = machine.text(f"{library}/{name}") or ""
                stale = [word for word in ("/install", "/tools/") if f"'{word}" in text or f'"{word}' in text]
                if stale:
                    evidence.append(
                        Evidence("places of the build", f"{library}/{name}", ", ".join(stale), found.path)
                    )
    if not evidence:
        return finding(id, "ok", title)
    return finding(
        id,
        "warning",
        "Building a C extension with this Python will fail",
        evidence=tuple(evidence),
        cause="The archive was unpacked by hand: the compiler and the directories of its own build are still in it.",
        guidance="Move the directory away and run the python page again, which mends this; or set CC=gcc for pip.",
    )


def _page_for_archive(machine: Machine, context: Context) -> Finding:
    id, title = "pbs-url-404", "Archives of Python that were fetched by hand are archives"
    home = home_of(machine, context)
    evidence = []
    for name in machine.names(home):
        if name.startswith("cpython-") and ".tar" in name:
            entry = machine.entry(f"{home}/{name}")
            if (
                entry is not None
                and entry.content is not None
                and not entry.content.startswith((b"\x1f\x8b", b"\x28\xb5"))
            ):
                start = entry.content[:60].decode(errors="replace")
                evidence.append(Evidence("first bytes", f"{home}/{name}", start, "a gzip or zstd archive"))
    if not evidence:
        return finding(id, "ok", title)
    return finding(
        id,
        "problem",
        "A Python download is a web page and no archive",
        evidence=tuple(evidence),
        cause="The address does not exist (the manual's own example mixes two release dates), or a proxy sent its "
        "page; curl without -f saves that and reports success.",
        guidance="Delete the file and run the python page: it takes the right file and checks its sha256.",
    )


def guarded(check: Check) -> Check:
    """A check whose missing answers are said, not guessed."""

    def look(machine: Machine, context: Context) -> Finding | tuple[Finding, ...]:
        try:
            return check.look(machine, context)
        except CannotTell as error:
            return finding(check.id, "cannot-tell", check.title, cause=str(error))

    return Check(check.id, check.page, check.title, look, check.needs, check.deadline, needs_root=check.needs_root)


CHECKS: tuple[Check, ...] = (
    Check("pbs-url-404", "python", "Archives of Python that were fetched by hand are archives", _page_for_archive),
    Check("pbs-wrong-arch", "python", "The Python builds are for this processor", _wrong_arch, needs_root=True),
    *(_startup(trouble) for trouble in TROUBLES),
    Check("pbs-sysconfig-paths", "python", "C extensions can be built with the standalone Python", _sysconfig),
    Check("pyenv-missing-libs", "python", "The interpreters have all their parts", _lacking, deadline=20.0,
          needs_root=True),
    Check("pyenv-build-failed", "python", "No build of Python stopped half way", _half_built),
)  # fmt: skip
