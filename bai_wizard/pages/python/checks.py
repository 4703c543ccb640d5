"""The checks of the Python page."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable

from msgspec import Struct

from bai_wizard.core.machine import Completed, Machine
from bai_wizard.core.page import Context, Evidence, Known, Unknown
from bai_wizard.core.parse import json_value
from bai_wizard.node.interpreter_check import argv_of, missing_modules
from bai_wizard.pages.check import (
    NotApplicable,
    Outcome,
    check,
    checks_in,
    not_applicable,
    ok,
    problem,
    unknown,
    warning,
)
from bai_wizard.pages.node_state import uname_architecture
from bai_wizard.pages.python.plan import build_packages
from bai_wizard.pages.python.probe import as_operator, environments, home_of, noexec_mount
from bai_wizard.pages.python.versions import number_of

# Prefixes of interpreters that belong to the distribution or to the node's administrator.
SYSTEM = ("", "/usr", "/usr/local")


class AccountInterpreter(Struct, frozen=True):
    """An interpreter of the account, with its installation method: standalone or pyenv."""

    version: str
    path: str
    method: str

    @property
    def program(self) -> str:
        """The program to run."""
        return f"{self.path}/bin/python3"


def found_interpreters(machine: Machine, context: Context) -> tuple[AccountInterpreter, ...]:
    """Return the interpreters in the usual directories, and those used by the account's environments (base_dir).

    Incomplete ones are included with an empty version. Raises StateUnknown.
    """
    home = home_of(machine, context)
    result = []
    for method, directory in (
        ("standalone", f"{home}/.static-python/versions"),
        ("pyenv", f"{home}/.pyenv/versions"),
    ):
        for name in machine.names(directory):
            interpreter = None if name.startswith(".") else machine.interpreter(f"{directory}/{name}")
            if interpreter is not None:
                result.append(AccountInterpreter(interpreter.version, f"{directory}/{name}", method))
    usual = {item.path for item in result}
    for path in _below_environments(machine, home):
        interpreter = None if path in usual else machine.interpreter(path)
        if interpreter is not None:
            method = "pyenv" if "/.pyenv/" in path else "standalone"
            result.append(AccountInterpreter(interpreter.version, path, method))
    return tuple(sorted(result, key=lambda each: (each.method, number_of(each.version) if each.version else ())))


def _below_environments(machine: Machine, home: str) -> tuple[str, ...]:
    """Prefixes of interpreters according to the environments; the system's own are not checked."""
    homes = [fact.value.home for _, fact in environments(machine, home) if isinstance(fact, Known)]
    paths = [path.removesuffix("/bin") for path in homes if path.startswith("/") and path.endswith("/bin")]
    return tuple(dict.fromkeys(path for path in paths if path not in SYSTEM))


# The first two words of an ELF file on a little-endian machine, and its e_machine (elf.h).
ELF_MAGIC = ["17791", "17996"]
ELF_MACHINES = {"62": "x86_64", "183": "aarch64"}
TRUST_STORE = "/etc/ssl/certs/ca-certificates.crt"
TRUST_QUERY = """
import json, os, ssl
paths = ssl.get_default_verify_paths()
count = len(ssl.create_default_context().get_ca_certs())
print(json.dumps([count, paths.cafile or paths.openssl_cafile, os.path.isdir(paths.capath or "")]))
"""


def _complete(machine: Machine, context: Context) -> list[AccountInterpreter]:
    return [result for result in found_interpreters(machine, context) if result.version]


def _require_complete(machine: Machine, context: Context) -> list[AccountInterpreter]:
    """Raise NotApplicable if there are none."""
    result = _complete(machine, context)
    if not result:
        raise NotApplicable("no interpreters in the account's home")
    return result


@check("python.noexec", root_cause=True)
def programs_run(machine: Machine, context: Context) -> Outcome:
    """The file system of the account's home, with its interpreters and environments, allows programs to run."""
    point = noexec_mount(machine, home_of(machine, context))
    return problem(*([Evidence(point, "mountinfo", "noexec", "without noexec")] if point else ()), mount=point)


@check("python.pbs-url-404")
def archives(machine: Machine, context: Context) -> Outcome:
    home = home_of(machine, context)
    evidence = []
    for name in machine.names(home):
        entry = machine.entry(f"{home}/{name}") if name.startswith("cpython-") and ".tar" in name else None
        if entry is None or entry.content is None or entry.content.startswith((b"\x1f\x8b", b"\x28\xb5")):
            continue
        start = entry.content[:60].decode(errors="replace")
        evidence.append(Evidence("first bytes", f"{home}/{name}", start, "a gzip or zstd archive"))
    return problem(*evidence)


@check("python.pbs-wrong-arch", needs_root=True)
def architectures(machine: Machine, context: Context) -> Outcome:
    own = uname_architecture(machine)
    evidence = []
    for result in found_interpreters(machine, context):
        # Read from the program's header: if run, it would end up in a shell that interprets it as a script.
        words = as_operator(machine, context, ("od", "-An", "-tu2", "-N20", result.program)).out.split()
        is_elf = words[:2] == ELF_MAGIC and len(words) == 10
        built_for = ELF_MACHINES.get(words[9], f"machine {words[9]}") if is_elf else ""
        if built_for and own in ELF_MACHINES.values() and built_for != own:
            evidence.append(Evidence("built for", result.program, built_for, own))
    return problem(*evidence)


def _starts(machine: Machine, context: Context, is_failure: Callable[[Completed], bool]) -> Outcome:
    """Run each interpreter; `is_failure` recognizes one kind of failure."""
    evidence = []
    for result in _require_complete(machine, context):
        done = as_operator(machine, context, (result.program, "-I", "-B", "-c", "0"))
        if is_failure(done):
            current = done.err.strip()[-200:] or f"exit code {done.code}"
            evidence.append(Evidence("start", result.program, current, "it starts"))
    return problem(*evidence)


@check("python.pbs-microarch", deadline=20.0, needs_root=True)
def processor(machine: Machine, context: Context) -> Outcome:
    return _starts(machine, context, lambda done: done.code in (-signal.SIGILL, 128 + signal.SIGILL))


@check("python.pbs-musl-variant", deadline=20.0, needs_root=True)
def c_library(machine: Machine, context: Context) -> Outcome:
    """The interpreters are built for glibc; the loader of a musl build would be missing."""
    return _starts(machine, context, lambda done: done.code in (126, 127) and "No such file or directory" in done.err)


@check("python.pbs-old-glibc", deadline=20.0, needs_root=True)
def glibc_version(machine: Machine, context: Context) -> Outcome:
    return _starts(machine, context, lambda done: "GLIBC_" in done.err and "not found" in done.err)


@check("python.pbs-sysconfig-paths")
def build_paths(machine: Machine, context: Context) -> Outcome:
    """Standalone interpreters do not refer to the compiler and directories of the machine that built them."""
    standalone = [result for result in _complete(machine, context) if result.method == "standalone"]
    if not standalone:
        return not_applicable("no standalone builds in the account's home")
    evidence = []
    for result in standalone:
        library = f"{result.path}/lib/python{result.version.rpartition('.')[0]}"
        for name in machine.names(library):
            if not (name.startswith("_sysconfigdata") and name.endswith(".py")):
                continue
            text = machine.text(f"{library}/{name}") or ""
            stale = [word for word in ("/install", "/tools/") if f"'{word}" in text or f'"{word}' in text]
            if stale:
                evidence.append(Evidence("paths of the build", f"{library}/{name}", ", ".join(stale), result.path))
    return warning(*evidence)


@check("python.pyenv-missing-libs", deadline=20.0, needs_root=True)
def modules(machine: Machine, context: Context) -> Outcome:
    missing = {
        result: names
        for result in _require_complete(machine, context)
        if (names := [name for name, _ in missing_modules(as_operator(machine, context, argv_of(result.program)))])
    }
    evidence = [
        Evidence("modules", result.program, f"missing: {', '.join(names)}", "all")
        for result, names in missing.items()
    ]
    if all(result.method == "standalone" for result in missing):
        return problem(*evidence, variant="standalone")
    return problem(*evidence, packages=" ".join(build_packages("")))


@check("python.pyenv-build-failed")
def builds_finished(machine: Machine, context: Context) -> Outcome:
    unfinished = [result for result in found_interpreters(machine, context) if not result.version]
    evidence = (Evidence("build", result.path, "not finished", "finished") for result in unfinished)
    return problem(*evidence)


@check("python.venv-broken", deadline=30.0, needs_root=True)
def venvs(machine: Machine, context: Context) -> Outcome:
    """The virtual environments have an interpreter, and pip can be imported."""
    home = home_of(machine, context)
    present = environments(machine, home)
    if not present:
        return not_applicable(f"no virtual environments below {home}")
    evidence = []
    for service, fact in present:
        path = f"{home}/{service}/.venv"
        if isinstance(fact, Unknown):
            return unknown(fact.reason)
        assert isinstance(fact, Known)
        if not fact.value.version:
            evidence.append(
                Evidence("interpreter", f"{path}/bin/python", f"{fact.value.home} is missing", "a program")
            )
            continue
        done = as_operator(machine, context, (f"{path}/bin/python", "-I", "-B", "-c", "import pip"))
        if done.code != 0:
            message = (done.err or done.out).strip()[-200:]
            evidence.append(Evidence("import pip", f"{path}/bin/python", message, "no error"))
    return problem(*evidence)


@check("python.venv-ensurepip")
def ensurepip(machine: Machine, context: Context) -> Outcome:
    libraries = [name for name in machine.names("/usr/lib") if name.startswith("python3.")]
    without = [name for name in libraries if "ensurepip" not in machine.names(f"/usr/lib/{name}")]
    if not without or _complete(machine, context):
        return ok()
    return warning(*(Evidence("ensurepip", f"/usr/lib/{name}", "missing", "present") for name in without))


@check("python.pip-externally-managed")
def system_packages(machine: Machine, context: Context) -> Outcome:
    home = home_of(machine, context)
    evidence = []
    for path in ("/etc/pip.conf", f"{home}/.config/pip/pip.conf", f"{home}/.pip/pip.conf"):
        for line in (machine.text(path) or "").splitlines():
            if line.replace("_", "-").strip().startswith("break-system-packages") and "true" in line.lower():
                evidence.append(Evidence(line.strip(), path, "on", "not set"))
    for service, _ in environments(machine, home):
        library = f"{home}/{service}/.venv/lib"
        for name in machine.names(library):
            if "EXTERNALLY-MANAGED" in machine.names(f"{library}/{name}"):
                expected = "none in a virtual environment"
                evidence.append(Evidence("marker", f"{library}/{name}", "EXTERNALLY-MANAGED", expected))
    return warning(*evidence)


@check("python.tls-ca", deadline=20.0, needs_root=True)
def certificates(machine: Machine, context: Context) -> Outcome:
    evidence = []
    for result in _require_complete(machine, context):
        done = as_operator(machine, context, (result.program, "-I", "-B", "-c", TRUST_QUERY))
        if done.code != 0:
            continue  # other checks report an interpreter that does not start
        count, file, has_directory = json_value(done.out)
        if not count and not has_directory:
            evidence.append(Evidence("certificates", result.program, f"none, expects them in {file}", TRUST_STORE))
    return problem(*evidence, trust_store=TRUST_STORE)


CHECKS = checks_in(sys.modules[__name__])
