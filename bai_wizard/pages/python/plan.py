"""From the wished-for Python to steps: archive, interpreter, one environment per service; or the same by pyenv."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from bai_wizard.core.context import Context, Role
from bai_wizard.core.errors import WizardError
from bai_wizard.core.facts import Known
from bai_wizard.core.step import Step
from bai_wizard.data import read_toml
from bai_wizard.pages.python.facts import MIRROR, PythonFacts
from bai_wizard.pages.python.releases import dotted
from bai_wizard.pages.python.sources import environment, package_sources, proxy_for, with_login
from bai_wizard.pages.python.wanted import Chosen, choose_python, level_of, place_of, pyenv_root
from bai_wizard.steps.apt import PackageLists, Packages
from bai_wizard.steps.download import Download
from bai_wizard.steps.pyenv import PyenvPython, PyenvRepository, PyenvShell, PyenvVenv
from bai_wizard.steps.python_build import PythonBuild
from bai_wizard.steps.refusal import Refusal
from bai_wizard.steps.venv import Venv, Venvs

if TYPE_CHECKING:
    from bai_wizard.pages.python.settings import PythonSettings

# In every environment, as the manual has it.
BASICS = ("pip", "setuptools", "wheel")
SERVICES: dict[Role, tuple[str, ...]] = {
    "management": ("manager", "webserver", "app-proxy"),
    "storage": ("storage-proxy",),
    "compute": ("agent",),
}


def steps(settings: PythonSettings, facts: PythonFacts, context: Context) -> tuple[Step, ...]:
    """The steps in order. What cannot be had stands in the plan with the reason."""
    login = with_login(settings, package_sources(settings, facts, context))
    if login:
        reason = (
            f"{login} carries a password, which would be seen in plans and process lists: put it into ~/.netrc of "
            f"{context.account}, and the address without it into [python]"
        )
        return (Refusal(id="python.sources", title="addresses without passwords", reason=reason),)
    try:
        chosen = choose_python(settings, facts, context)
    except WizardError as error:
        return (Refusal(id="python.version", title="a Python for this release of Backend.AI", reason=str(error)),)
    if chosen.is_here and isinstance(facts.fault, Known) and facts.fault.value:
        place = place_of(settings, facts, chosen.version)
        reason = f"{place} is Python {chosen.version}, but {facts.fault.value}: move it away, then plan again"
        return (Refusal(id="python.interpreter", title=f"Python {chosen.version} that works", reason=reason),)
    if not chosen.is_here and level_of(settings, facts.arch) > facts.level:
        has = f"x86-64-{facts.level}" if facts.level else "baseline x86-64"
        reason = (
            f"a build for x86-64-{settings.level} ends with an illegal instruction on this processor, which is {has}"
        )
        return (Refusal(id="python.interpreter", title=f"Python {chosen.version} that works", reason=reason),)
    if settings.method == "pyenv":
        return _pyenv(settings, facts, context, chosen)
    return (*_standalone(settings, facts, context, chosen), *_venvs(settings, facts, context, chosen))


def services(settings: PythonSettings, context: Context) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The services that get an environment, with their packages: as listed, else those of the node's roles."""
    if settings.venvs is not None:
        return tuple((venv.service, tuple(venv.packages)) for venv in settings.venvs)
    return tuple((service, ()) for role in context.roles for service in SERVICES[role])


def _standalone(settings: PythonSettings, facts: PythonFacts, context: Context, chosen: Chosen) -> tuple[Step, ...]:
    build = chosen.build
    if build is None:
        # Here already, and older than the catalogue: there is nothing to fetch or to compare it with.
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
        ),
    )


def _venvs(settings: PythonSettings, facts: PythonFacts, context: Context, chosen: Chosen) -> tuple[Step, ...]:
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


def _pyenv(settings: PythonSettings, facts: PythonFacts, context: Context, chosen: Chosen) -> tuple[Step, ...]:
    root = pyenv_root(settings, facts)
    account, proxies = context.account, environment(context)
    packages = build_packages(facts.codename)
    url = settings.pyenv_url or str(_data()["url"])
    plugin = _beside(url) if settings.pyenv_url else str(_data()["virtualenv_url"])
    sources = package_sources(settings, facts, context)
    release = context.backend_ai or chosen.version
    return (
        PackageLists(id="python.package-lists", packages=packages),
        Packages(id="python.packages", names=packages, why="what pyenv builds Python with"),
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
        PyenvShell(id="python.shell", root=root, account=account),
    )


def build_packages(codename: str) -> tuple[str, ...]:
    """What building Python needs on a release of the system."""
    table = _data()["packages"]
    return tuple(table.get(codename, table["default"]))


def _beside(url: str) -> str:
    """pyenv-virtualenv in the same place as a mirror of pyenv: `…/pyenv.git` → `…/pyenv-virtualenv.git`."""
    bare = url.rstrip("/").removesuffix(".git")
    return bare + "-virtualenv" + (".git" if url.rstrip("/").endswith(".git") else "")


@cache
def _data() -> dict[str, Any]:
    return read_toml("pyenv.toml")
