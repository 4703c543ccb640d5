"""Virtual environments: made aside with everything in them, as the account, then renamed into place."""

from __future__ import annotations

from posixpath import basename, dirname
from typing import TYPE_CHECKING

from bai_wizard.core.errors import StepFailed
from bai_wizard.core.event import Log
from bai_wizard.core.primitives import InstallDistributions, MakeVenv
from bai_wizard.core.primitives.pythons import PackageSources
from bai_wizard.machine.perform.acting import Acting
from bai_wizard.machine.perform.trees import begin_staging, end_staging, place
from bai_wizard.machine.perform.uv import source_options, uv

if TYPE_CHECKING:
    from bai_wizard.machine.local import LocalMachine
    from bai_wizard.machine.perform import Performers

MAKE = 60.0
# Seconds for packages with all they depend on, over a slow line, some of them compiled here.
INSTALL = 1800.0
START = 60.0


def make_venv(machine: LocalMachine, primitive: MakeVenv, log: Log) -> None:
    """Makes it relocatable, so that one rename is all that is left to do once everything is in it."""
    acting = Acting.of(machine, primitive.account, log, dict(primitive.sources.environment))
    prepared = begin_staging(acting, primitive.path)
    title = f"the virtual environment {primitive.path}"
    try:
        prompt = basename(dirname(primitive.path)) or "venv"
        argv = ["venv", "--quiet", "--relocatable", "--no-project", "--allow-existing", "--prompt", prompt]
        uv(acting, [*argv, "--python", f"{primitive.python}/bin/python3", prepared], timeout=MAKE, title=title)
        install(acting, prepared, primitive.requirements, primitive.sources, title)
        # The package alone: starting all of pip, uncompiled as it is, would cost a second and tell no more.
        acting.run([f"{prepared}/bin/python", "-I", "-B", "-c", "import pip"], timeout=START, title=title)
        place(acting, prepared, primitive.path)
    except StepFailed:
        end_staging(acting, primitive.path)
        raise


def install_distributions(machine: LocalMachine, primitive: InstallDistributions, log: Log) -> None:
    """Installs into an environment that is in place; pip's rules for what is there already are uv's."""
    acting = Acting.of(machine, primitive.account, log, dict(primitive.sources.environment))
    install(acting, primitive.venv, primitive.requirements, primitive.sources, f"packages for {primitive.venv}")


def install(acting: Acting, venv: str, requirements: tuple[str, ...], sources: PackageSources, title: str) -> None:
    """Has uv install `requirements` with what they depend on. Raises StepFailed."""
    # Copied, not linked from the cache: a file that is edited in one environment stays as it was in the others.
    options = ["--python", f"{venv}/bin/python", "--link-mode", "copy", *source_options(sources)]
    uv(acting, ["pip", "install", *options, "--", *requirements], timeout=INSTALL, title=title)


PERFORMERS: Performers = {MakeVenv.kind: make_venv, InstallDistributions.kind: install_distributions}
