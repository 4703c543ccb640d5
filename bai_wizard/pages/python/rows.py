"""The table of the Python page: what each field is on the node, and the steps that change it."""

from __future__ import annotations

from bai_wizard.core.page import Context, Fact, Known, Role, Row, Unknown
from bai_wizard.locale import N_, tr
from bai_wizard.pages.python.probe import PythonFacts
from bai_wizard.pages.python.settings import PythonSettings

SERVICES: dict[Role, tuple[str, ...]] = {
    "management": ("manager", "webserver", "app-proxy"),
    "storage": ("storage-proxy",),
    "compute": ("agent",),
}


def _own_venvs(_settings: PythonSettings, context: Context) -> str:
    return ", ".join(service for role in context.roles for service in SERVICES[role])


ROWS = (
    Row(
        "python.version",
        now=(N_("Standalone builds"), "pyenv"),
        steps=(
            "python.version", "python.sources", "python.download", "python.interpreter", "python.pyenv",
            "python.pyenv-virtualenv", "python.packages", "python.package-lists", "python.shell",
        ),
    ),
    Row("python.venvs", now=(N_("Environments"),), steps=("python.venvs", "python.venv-"), default=_own_venvs),
    Row("python.method"),
    Row("python.index_url", default="PyPI"),
    Row("python.base_dir", default=lambda _settings, context: f"{context.home}/.static-python", is_advanced=True),
    Row("python.mirror", default="GitHub (python-build-standalone)", is_advanced=True),
    Row("python.pyenv_url", default="https://github.com/pyenv/pyenv", is_advanced=True),
)  # fmt: skip


def now(facts: PythonFacts) -> tuple[tuple[str, str], ...]:
    """Summarize the current interpreters and environments."""
    system = facts.system.value if isinstance(facts.system, Known) else _why(facts.system)
    rows = [
        (N_("Standalone builds"), _versions(facts.standalone)),
        ("pyenv", _versions(facts.pyenv)),
        ("uv", _versions(facts.uv)),
        (N_("System Python"), system),
        *(((N_("Processor"), f"x86-64-{facts.level}"),) if facts.level else ()),
    ]
    found = []
    for service, venv in facts.venvs:
        if isinstance(venv, Known):
            found.append(f"{service} {venv.value.version or tr('broken: its Python is missing')}")
        elif isinstance(venv, Unknown):
            found.append(f"{service}: {_why(venv)}")
    rows.append((N_("Environments"), ", ".join(found) or tr("none")))
    return tuple(rows)


def _versions(fact: Fact[tuple[str, ...]]) -> str:
    return ", ".join(fact.value) or tr("none") if isinstance(fact, Known) else _why(fact)


def _why(fact: Fact[object]) -> str:
    return tr("unknown: {reason}", reason=fact.reason) if isinstance(fact, Unknown) else tr("none")
