"""What the python page knows of a node."""

from __future__ import annotations

from dataclasses import dataclass, field

from bai_wizard.core.facts import Absent, Fact
from bai_wizard.core.state import Venv

# Where the wizard keeps archives: root's, and left out when an undo is compared.
MIRROR = "/var/cache/bai-wizard/python"


@dataclass(frozen=True)
class PipSettings:
    """The package sources that pip is configured with on this node, for who names none in the answers."""

    index_url: str = ""
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()


@dataclass(frozen=True)
class PythonFacts:
    """`standalone`, `pyenv` and `uv` are the exact versions in the account's directories, `system` that of /usr/bin.

    `fault` is what is wrong with the one of them that would be taken, found out by starting it; empty: nothing.
    `size` is how many bytes the archive of the build that would be fetched has.
    `arch` is uname's name, `level` the x86-64 level (v2, v3, v4; empty: baseline or another architecture).
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

    @property
    def versions(self) -> str:
        """The directory of the standalone interpreters, as the manual has it."""
        return f"{self.base_dir}/versions"
