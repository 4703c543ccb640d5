"""What the Python page reads from a node: interpreters, environments, pip's configuration, the CPU."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from bai_wizard.core.errors import ProgramMissing, StateUnknown, WizardError
from bai_wizard.core.machine import Completed, Machine
from bai_wizard.core.page import Absent, Context, Fact, Known, Unknown, read_fact, value_or
from bai_wizard.core.paths import holder, resolved
from bai_wizard.core.state import Venv
from bai_wizard.node.interpreter_check import argv_of, problem_of
from bai_wizard.pages.node_state import acting_as, os_release_of, uname_architecture
from bai_wizard.pages.python.versions import number_of, place_of, proxy_for, select_python

if TYPE_CHECKING:
    from bai_wizard.pages.python.settings import PythonSettings


class PipSettings(Struct, frozen=True):
    """The package sources in pip's configuration on this node, used if the answers contain none.

    `unknown` is why the configuration cannot be read.
    """

    index_url: str = ""
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    unknown: str = ""


class PythonFacts(Struct, frozen=True):
    """`standalone`, `pyenv` and `uv` are the exact versions in the account's directories, `system` that of /usr/bin.

    `fault` is the problem found by running the selected interpreter, or empty. `size` is the size in bytes of the
    archive of the build to be downloaded. `arch` is uname's name, `level` the x86-64 level (v2, v3, v4; empty:
    baseline or another architecture). `noexec` is the mount point that keeps them from running, or
    empty.
    """

    arch: str = "x86_64"
    level: str = ""
    codename: str = ""
    home: str = "/home/bai"
    base_dir: str = "/home/bai/.static-python"
    system: Fact[str] = field(default_factory=Absent)
    standalone: Fact[tuple[str, ...]] = field(default_factory=Absent)
    pyenv: Fact[tuple[str, ...]] = field(default_factory=Absent)
    uv: Fact[tuple[str, ...]] = field(default_factory=Absent)
    fault: Fact[str] = field(default_factory=Absent)
    size: Fact[int] = field(default_factory=Absent)
    venvs: tuple[tuple[str, Fact[Venv]], ...] = ()
    pip: PipSettings = PipSettings()
    noexec: str = ""

    @property
    def versions(self) -> str:
        """The directory of the standalone interpreters, as in the manual."""
        return f"{self.base_dir}/versions"


# The levels as defined by the x86-64 psABI, in the terms of /proc/cpuinfo (pni is SSE3, abm includes LZCNT).
LEVELS: tuple[tuple[str, frozenset[str]], ...] = (
    ("v2", frozenset({"cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"})),
    ("v3", frozenset({"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"})),
    ("v4", frozenset({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"})),
)


def x86_level(flags: Collection[str]) -> str:
    """Return `v4`, `v3`, `v2`, or empty for the baseline. A level requires all lower levels."""
    reached = ""
    for level, needed in LEVELS:
        if not needed <= set(flags):
            break
        reached = level
    return reached


def flags_of(cpuinfo: str) -> tuple[str, ...]:
    """Return the flags of the first processor in the text of /proc/cpuinfo; none on other architectures."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "flags":
            return tuple(value.split())
    return ()


# Timeout in seconds for starting one interpreter and importing modules.
START = 10.0


def as_operator(machine: Machine, context: Context, argv: Sequence[str], deadline: float = START) -> Completed:
    """Run a program from the account's home with the account's privileges. Raises StateUnknown if it cannot."""
    if not machine.is_root:
        raise StateUnknown(f"needs root to act as {context.account}")
    account = machine.account(context.account)
    if account is None:
        raise StateUnknown(f"account {context.account} does not exist")
    own = ("env", "-i", f"HOME={account.home}", "LC_ALL=C.UTF-8", "PATH=/usr/local/bin:/usr/bin:/bin")
    return machine.query((*acting_as(account), "--inh-caps=-all", *own, *argv), deadline=deadline)


# Nothing is queried in the demo; roughly the size of real archives.
DEMO_SIZE = 34_000_000


def fault_of_chosen(machine: Machine, settings: PythonSettings, facts: PythonFacts, context: Context) -> Fact[str]:
    """Return the problem with the existing interpreter; Known("") if it works, Absent if none would be used."""
    try:
        chosen = select_python(settings, facts, context)
    except WizardError:
        return Absent()
    path = place_of(settings, facts, chosen.version)
    try:
        existing = machine.interpreter(path)
        if not chosen.is_here or existing is None or existing.version != chosen.version:
            return Absent()
        done = as_operator(machine, context, argv_of(f"{path}/bin/python3"))
        fault = problem_of(done, chosen.version)
        if "Permission denied" in fault and _may_be_run(machine, path, chosen.version):
            return Unknown(f"{context.account} cannot reach {path}")
    except StateUnknown as error:
        return Unknown(str(error))
    return Known(fault)


def _may_be_run(machine: Machine, path: str, version: str) -> bool:
    """Whether the program itself is executable: then a parent directory denies access; restoring cannot help."""
    program = machine.entry(f"{path}/bin/python{version.rpartition('.')[0]}")
    return program is not None and bool(program.mode & 0o100)


def size_of_chosen(machine: Machine, settings: PythonSettings, facts: PythonFacts, context: Context) -> Fact[int]:
    """Return the size of the archive to be downloaded, from its server; Absent if there is nothing to download."""
    try:
        chosen = select_python(settings, facts, context)
    except WizardError:
        return Absent()
    if chosen.is_here or chosen.build is None or settings.method != "standalone":
        return Absent()
    if context.demo:
        return Known(DEMO_SIZE)
    url = chosen.build.address(settings.mirror)
    return read_fact(lambda: machine.remote_size(url, proxy_for(url, context)))


# Files in which pip looks for its settings, the later ones taking precedence; %s is the account's home.
PIP_FILES = ("/etc/xdg/pip/pip.conf", "/etc/pip.conf", "%s/.config/pip/pip.conf", "%s/.pip/pip.conf")
UV_DIRECTORY = "%s/.local/share/uv/python"


def probe(machine: Machine, settings: PythonSettings, context: Context) -> PythonFacts:
    """Return the facts of the page."""
    home = home_of(machine, context)
    base = (settings.base_dir if settings.method == "standalone" else "") or f"{home}/.static-python"
    pyenv = (settings.base_dir if settings.method == "pyenv" else "") or f"{home}/.pyenv"
    cpuinfo = value_or(read_fact(lambda: machine.kernel_text("/proc/cpuinfo")), None) or ""
    facts = PythonFacts(
        arch=uname_architecture(machine),
        level=x86_level(flags_of(cpuinfo)),
        codename=value_or(os_release_of(machine), {}).get("VERSION_CODENAME", ""),
        home=home,
        base_dir=base,
        system=system_python(machine),
        standalone=read_fact(lambda: interpreters(machine, f"{base}/versions")),
        pyenv=read_fact(lambda: interpreters(machine, f"{pyenv}/versions")),
        uv=read_fact(lambda: interpreters(machine, UV_DIRECTORY % home)),
        venvs=environments(machine, home),
        pip=pip_settings(machine, home),
        noexec=noexec_mount(machine, home) or noexec_mount(machine, pyenv if settings.method == "pyenv" else base),
    )
    return replace(
        facts,
        fault=fault_of_chosen(machine, settings, facts, context),
        size=size_of_chosen(machine, settings, facts, context),
    )


def noexec_mount(machine: Machine, path: str) -> str:
    """Return the mount point above a path whose options forbid to run programs; empty if none does, or if unknown."""
    around = value_or(read_fact(lambda: holder(machine, resolved(machine, path))), None)
    return around[0] if around is not None and "noexec" in around[1].options.split(",") else ""


def home_of(machine: Machine, context: Context) -> str:
    """Return the service account's home: the current one, else the one in the answers."""
    account = value_or(read_fact(lambda: machine.account(context.account)), None)
    return account.home if account is not None else context.home


def interpreters(machine: Machine, directory: str) -> tuple[str, ...]:
    """Return the exact versions of the interpreters in the subdirectories of a directory, oldest first."""
    result = set()
    for name in machine.names(directory):
        if name.startswith("."):
            continue
        try:
            interpreter = machine.interpreter(f"{directory}/{name}")
        except StateUnknown:
            # Only root can enter the directory at this point. Its name is the version, and its step restores access.
            if not re.fullmatch(r"\d+\.\d+\.\d+", name):
                raise
            result.add(name)
            continue
        if interpreter is not None and interpreter.version:
            result.add(interpreter.version)
    return tuple(sorted(result, key=number_of))


def environments(machine: Machine, home: str) -> tuple[tuple[str, Fact[Venv]], ...]:
    """Return the virtual environments of services: each `.venv` in a subdirectory of the home."""
    result: list[tuple[str, Fact[Venv]]] = []
    nothing: tuple[str, ...] = ()
    for name in value_or(read_fact(lambda: machine.names(home)), nothing):
        path = f"{home}/{name}/.venv"
        try:
            venv = None if name.startswith(".") else machine.venv(path)
        except StateUnknown as error:
            result.append((name, Unknown(str(error))))
            continue
        if venv is not None:
            result.append((name, Known(venv)))
    return tuple(result)


def system_python(machine: Machine) -> Fact[str]:
    """Return the version of the system's own Python."""
    try:
        completed = machine.query(("/usr/bin/python3", "--version"))
    except StateUnknown as error:
        return Absent() if isinstance(error, ProgramMissing) else Unknown(str(error))
    version = re.fullmatch(r"Python (\d+\.\d+\.\d+)\S*", (completed.out + completed.err).strip())
    return Known(version[1]) if version else Unknown(f"python3 --version printed {completed.out!r}")


def pip_settings(machine: Machine, home: str) -> PipSettings:
    """Return package sources from pip's own configuration; the last file that sets a value takes precedence."""
    values: dict[str, str] = {}
    for pattern in PIP_FILES:
        path = pattern % home if "%s" in pattern else pattern
        try:
            values.update(_pip_values(machine.text(path) or "", path))
        except StateUnknown as error:
            return PipSettings(unknown=str(error))
    return PipSettings(
        values.get("index-url", ""),
        tuple(values.get("extra-index-url", "").split()),
        tuple(values.get("find-links", "").split()),
    )


def _pip_values(text: str, path: str) -> dict[str, str]:
    """The non-empty values of [global] and [install].

    Raises StateUnknown for text that pip cannot parse either.
    """
    from configparser import ConfigParser, Error

    parser = ConfigParser(interpolation=None)
    try:
        parser.read_string(text)
    except Error as error:
        raise StateUnknown(f"{path} cannot be read by pip: {str(error)[:200]}") from error
    sections = [section for section in ("global", "install") if parser.has_section(section)]
    pairs = [(key.replace("_", "-"), value) for section in sections for key, value in parser.items(section)]
    return {key: value.strip() for key, value in pairs if value.strip()}
