"""The Python page: the interpreter, virtual environments and the version table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bai_wizard.core.errors import WizardError
from bai_wizard.core.page import Context, Fact, Known, Page, ReferenceTable, Unknown, Unsupported
from bai_wizard.core.step import Step
from bai_wizard.data import read_toml
from bai_wizard.locale import N_, tr
from bai_wizard.node.interpreter_check import PARTS, is_damage
from bai_wizard.pages import TITLES, checks_of
from bai_wizard.pages.python.probe import PythonFacts, probe
from bai_wizard.pages.python.rows import ROWS, SERVICES, now
from bai_wizard.pages.python.settings import PythonSettings
from bai_wizard.pages.python.steps import (
    Download,
    PyenvPython,
    PyenvRepository,
    PyenvShell,
    PyenvVenv,
    PythonBuild,
    Venv,
    Venvs,
)
from bai_wizard.pages.python.versions import (
    MIRROR,
    Build,
    NoBuild,
    Row,
    SelectedPython,
    dotted,
    environment,
    level_of,
    manual_rows,
    names_sources,
    number_of,
    package_sources,
    place_of,
    proxy_for,
    pyenv_root,
    rows,
    select_python,
    suitable_build,
    which_python,
    with_credentials,
)
from bai_wizard.steps.packages import PackageLists, Packages

if TYPE_CHECKING:
    from bai_wizard.pages.python.settings import PythonSettings


# Translators: headings of a table of Python versions; the last one: what is installed on this node
HEADINGS = ("Backend.AI", "Python", N_("Manual"), N_("Build"), "Pants", N_("This node"))


def version_table(settings: PythonSettings, facts: PythonFacts, context: Context) -> ReferenceTable:
    """Return the detailed table, newest release first, with the row of `node.backend_ai` marked."""
    table = rows()[::-1]
    decisive = _decisive_row(context.backend_ai)
    return ReferenceTable(
        N_("Python version by Backend.AI release"),
        HEADINGS,
        tuple(_cells(row, settings, facts) for row in table),
        table.index(decisive) if decisive is not None else -1,
        _details(settings, facts, context),
        "node.backend_ai",
        tuple(dotted(row.last) for row in table),
        tuple(_note(row) for row in table),
    )


def _details(settings: PythonSettings, facts: PythonFacts, context: Context) -> tuple[tuple[str, str], ...]:
    try:
        chosen = select_python(settings, facts, context)
    except WizardError as error:
        return ((N_("Build"), str(error)),)
    if chosen.is_here:
        here = (N_("Version"), tr("{version}, already installed", version=chosen.version))
        if not isinstance(facts.fault, Known):
            return (here,)
        return (
            here,
            (
                N_("Examined"),
                facts.fault.value or tr("it starts; {parts} and pip are available", parts=", ".join(PARTS)),
            ),
        )
    lines = build_lines(chosen.build, facts.size) if chosen.build is not None else ()
    return (*lines, (N_("Note"), chosen.wanted.note)) if chosen.wanted.note else lines


def build_lines(build: Build, size: Fact[int]) -> tuple[tuple[str, str], ...]:
    """Return what is shown about a build before it is selected."""
    if isinstance(size, Known):
        bytes_told = f"{size.value / 1e6:.0f} MB"
    else:
        bytes_told = tr("reported by the server when the download starts")
        if isinstance(size, Unknown):
            bytes_told = tr("unknown ({reason}); ", reason=size.reason) + bytes_told
    return (
        (N_("Version"), build.version),
        (N_("Built on"), build.released),
        (N_("Architecture"), f"{build.arch}{f' ({build.level})' if build.level else ''}"),
        (N_("Build variant"), build.flavour),
        (N_("Size"), bytes_told),
        ("sha256", build.sha256),
        (N_("File"), build.file),
    )


def _decisive_row(release: str) -> Row | None:
    try:
        return which_python(release).rows[-1] if release else None
    except WizardError:
        return None


def _cells(row: Row, settings: PythonSettings, facts: PythonFacts) -> tuple[str, ...]:
    """The texts of the columns: what is needed, what the manual prints, the build to use, and what is installed."""
    printed = _printed(row)
    try:
        available = suitable_build(row.python, settings, facts, row.least).version
    except NoBuild:
        available = tr("none")
    first, last = (_padded(number) for number in (row.first, row.last))
    releases = first if first == last else f"{first} – {last}"
    manual = printed if printed in ("", f"{row.python}.x") else f"{printed} !"
    return (releases, row.python, manual or "–", available, row.pants or "–", _installed_text(row, facts))


def _padded(number: tuple[int, ...]) -> str:
    """A release as it is called: 24.03, but 25.6."""
    year, month, *rest = number
    return ".".join((str(year), f"{month:02}" if year < 25 else str(month), *map(str, rest)))


def _printed(row: Row) -> str:
    return next((manual.python for manual in manual_rows() if row in manual.rows), "")


def _note(row: Row) -> str:
    """Remarks about a row."""
    printed = _printed(row)
    parts = [tr("Python {minor}, at least {version}", minor=row.python, version=dotted(row.least))]
    if row.built:
        parts.append(tr("built with {version}", version=row.built))
    if not row.certain:
        parts.append(tr("assumed"))
    if not printed:
        parts.append(tr("not in the manual"))
    elif printed != f"{row.python}.x":
        parts.append(tr("the manual says {version}, which these releases do not accept", version=printed))
    return "; ".join(parts) + "."


def _installed_text(row: Row, facts: PythonFacts) -> str:
    """`3.13.7 (standalone), 3.13.2 (system, too old)`, or a dash."""
    system: Fact[tuple[str, ...]] = Known((facts.system.value,)) if isinstance(facts.system, Known) else Known(())
    result = []
    for who, versions in (
        ("standalone", facts.standalone),
        ("pyenv", facts.pyenv),
        ("uv", facts.uv),
        ("system", system),
    ):
        if isinstance(versions, Unknown):
            result.append(f"{who}: {versions.reason}")
        for version in versions.value if isinstance(versions, Known) else ():
            number = number_of(version)
            if dotted(number[:2]) == row.python:
                age = "" if number >= row.least else ", " + tr("too old")
                result.append(f"{version} ({who}{age})")
    return ", ".join(result) or "–"


# Installed in every environment, as in the manual.
BASICS = ("pip", "setuptools", "wheel")


def steps(settings: PythonSettings, facts: PythonFacts, context: Context) -> tuple[Step, ...]:
    """Return the steps in order. Whatever is unavailable appears in the plan with the reason."""
    if facts.pip.unknown and not names_sources(settings):
        reason = f"{facts.pip.unknown}. Fix it, or set the package index in [python] (index_url)"
        return (Unsupported(id="python.sources", title="package indexes", reason=reason, undetermined=True),)
    login = with_credentials(package_sources(settings, facts, context))
    if login:
        reason = (
            f"{login} in pip's configuration contains credentials that plans and process lists would expose: put them"
            f" into ~/.netrc of {context.account}, and the URL without them into [python]"
        )
        return (Unsupported(id="python.sources", title="package indexes without credentials", reason=reason),)
    if facts.noexec:
        reason = (
            f"{facts.noexec} is mounted with noexec, so no interpreter and no virtual environment there can run:"
            " remove noexec from its options in /etc/fstab and remount it, or choose a home on another file system"
        )
        return (Unsupported(id="python.noexec", title="programs can run from the account's home", reason=reason),)
    try:
        chosen = select_python(settings, facts, context)
    except WizardError as error:
        return (Unsupported(id="python.version", title="Python for this release of Backend.AI", reason=str(error)),)
    fault = facts.fault.value if chosen.is_here and isinstance(facts.fault, Known) else ""
    if fault and (settings.method == "pyenv" or chosen.build is None or not is_damage(fault)):
        location = place_of(settings, facts, chosen.version)
        reason = f"{location} is Python {chosen.version}, but {fault}: move it away, then plan again"
        return (Unsupported(id="python.interpreter", title=f"working Python {chosen.version}", reason=reason),)
    if not chosen.is_here and level_of(settings, facts.arch) > facts.level:
        has = f"x86-64-{facts.level}" if facts.level else "baseline x86-64"
        reason = (
            f"a build for x86-64-{settings.level} fails with an illegal instruction on this CPU, which supports {has}"
        )
        return (Unsupported(id="python.interpreter", title=f"working Python {chosen.version}", reason=reason),)
    if settings.method == "pyenv":
        return _pyenv(settings, facts, context, chosen)
    return (*_standalone(settings, facts, context, chosen, fault), *_venvs(settings, facts, context, chosen))


def services(settings: PythonSettings, context: Context) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return the services that get an environment, with their packages: as listed, else those of the node's roles."""
    if settings.venvs is not None:
        return tuple((venv.service, tuple(venv.packages)) for venv in settings.venvs)
    return tuple((service, ()) for role in context.roles for service in SERVICES[role])


def _standalone(
    settings: PythonSettings, facts: PythonFacts, context: Context, chosen: SelectedPython, fault: str
) -> tuple[Step, ...]:
    build = chosen.build
    if build is None:
        # Already installed, and older than the catalogue: there is nothing to download or compare.
        return ()
    path = place_of(settings, facts, chosen.version)
    url = build.address(settings.mirror)
    return (
        Download(
            id="python.download",
            url=url,
            path=f"{MIRROR}/{build.place}",
            sha256=build.sha256,
            interpreter=path,
            version=chosen.version,
            proxy=proxy_for(url, context),
            again=bool(fault),
        ),
        PythonBuild(
            id="python.interpreter",
            path=path,
            version=chosen.version,
            name=build.key,
            build=build.entry(),
            mirror=MIRROR,
            account=context.account,
            what=chosen.what,
            fault=fault,
            home=facts.home,
        ),
    )


def _venvs(
    settings: PythonSettings, facts: PythonFacts, context: Context, chosen: SelectedPython
) -> tuple[Step, ...]:
    sources = package_sources(settings, facts, context)
    venvs = tuple(
        Venv(
            path=f"{facts.home}/{service}/.venv",
            python=place_of(settings, facts, chosen.version),
            version=chosen.version,
            least=dotted(chosen.wanted.least),
            requirements=(*BASICS, *packages),
            account=context.account,
            sources=sources,
        )
        for service, packages in services(settings, context)
    )
    return (Venvs(id="python.venvs", venvs=venvs),) if venvs else ()


def _pyenv(
    settings: PythonSettings, facts: PythonFacts, context: Context, chosen: SelectedPython
) -> tuple[Step, ...]:
    root = pyenv_root(settings, facts)
    account, proxies = context.account, environment(context)
    packages = build_packages(facts.codename)
    data = read_toml("pyenv.toml")
    url = settings.pyenv_url or str(data["url"])
    plugin = _beside(url) if settings.pyenv_url else str(data["virtualenv_url"])
    sources = package_sources(settings, facts, context)
    release = context.backend_ai or chosen.version
    return (
        PackageLists(id="python.package-lists", packages=packages),
        Packages(id="python.packages", names=packages, why="install the build dependencies of pyenv"),
        PyenvRepository(id="python.pyenv", path=root, url=url, account=account, environment=proxies),
        PyenvRepository(
            id="python.pyenv-virtualenv",
            path=f"{root}/plugins/pyenv-virtualenv",
            url=plugin,
            account=account,
            environment=proxies,
        ),
        PyenvPython(id="python.interpreter", root=root, version=chosen.version, account=account, environment=proxies),
        *(
            PyenvVenv(
                id=f"python.venv-{service}",
                root=root,
                version=chosen.version,
                least=dotted(chosen.wanted.least),
                name=f"bai-{release}-{service}",
                directory=f"{facts.home}/{service}",
                requirements=(*BASICS, *wanted),
                account=account,
                sources=sources,
            )
            for service, wanted in services(settings, context)
        ),
        PyenvShell(id="python.shell", root=root, account=account, home=facts.home),
    )


def build_packages(codename: str) -> tuple[str, ...]:
    """Return the packages required to build Python on a release of the distribution."""
    table = read_toml("pyenv.toml")["packages"]
    return tuple(table.get(codename, table["default"]))


def _beside(url: str) -> str:
    """The URL of pyenv-virtualenv next to a mirror of pyenv: `…/pyenv.git` → `…/pyenv-virtualenv.git`."""
    bare = url.rstrip("/").removesuffix(".git")
    return bare + "-virtualenv" + (".git" if url.rstrip("/").endswith(".git") else "")


PAGE = Page(
    name="python",
    title=TITLES["python"],
    summary="The Python interpreter that the chosen release requires, and a virtual environment for each service.",
    settings=PythonSettings,
    probe=probe,
    steps=steps,
    checks=checks_of("python"),
    now=now,
    rows=ROWS,
    reference_table=version_table,
)
