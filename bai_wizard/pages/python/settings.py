"""Settings of [python]: the interpreter for Backend.AI and a virtual environment for each service."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from bai_wizard.pages.fields import Conflict, Many, SettingsPart, SettingsTable, duplicates, field
from bai_wizard.pages.values import (
    GitUrl,
    GivenUrl,
    MirrorUrl,
    PathOrEmpty,
    PythonVersion,
    Requirement,
    ServiceName,
    Shape,
    WebUrl,
)

WheelSource = Annotated[
    str,
    Shape(
        r"https?://[^\s/]+(?:/\S*)?|file:///\S*|/[^\x00-\x1f]*",
        "must be a directory such as /srv/wheels or an address that begins with http://, https:// or file:///",
    ),
]


class VenvSettings(SettingsPart):
    """The virtual environment of one service."""

    service: ServiceName = field(
        label="Service",
        help="The service: its environment is .venv in a directory of this name in the account's home.",
        example="manager",
    )
    packages: Many[Requirement] = field(
        (), label="Packages", help="Packages to install, as pip takes them.", example=["backend.ai-agent==26.4.10"]
    )


class PythonSettings(SettingsTable):
    """The Python that runs Backend.AI."""

    method: Literal["standalone", "pyenv"] = field(
        "standalone",
        label="Method",
        help="Where the interpreter comes from.",
        choices={
            "standalone": "a ready build of python-build-standalone, verified by its sha256",
            "pyenv": "built on this node by pyenv, which takes minutes and a compiler",
        },
    )
    version: PythonVersion = field(
        "auto",
        label="Version",
        help='The Python version; "auto" takes what the version table says for node.backend_ai.',
        example="3.13.7",
    )
    mirror: MirrorUrl = field(
        "",
        label="Mirror",
        help="A mirror of the builds (http://, https:// or file:///). Empty: the project's own releases.",
        example="file:///srv/python-builds",
    )
    flavour: Literal["install_only", "install_only_stripped"] = field(
        "install_only",
        label="Flavour",
        help="Which form of the build is taken.",
        choices={"install_only": "as the manual has it", "install_only_stripped": "without debug symbols, smaller"},
    )
    level: Literal["baseline", "v2", "v3", "v4"] = field(
        "baseline",
        label="x86-64 level",
        help="Which processors the build is made for; one that is too new for this node's processor is refused.",
        choices={
            "baseline": "every x86-64 processor, as the manual has it",
            "v2": "since about 2009 (SSE4.2)",
            "v3": "since about 2013 (AVX2)",
            "v4": "servers with AVX-512",
        },
    )
    base_dir: PathOrEmpty = field(
        "", label="Directory", help="Where interpreters are kept. Empty: .static-python in the account's home."
    )
    index_url: WebUrl = field(
        "", label="Package index", help="The index for pip and uv. Empty: PyPI.", example="https://pypi.corp/simple"
    )
    extra_index_urls: Many[GivenUrl] = field(
        (), label="Further indexes", help="Indexes that are looked at besides the package index."
    )
    find_links: Many[WheelSource] = field(
        (),
        label="Wheel directories",
        help="Directories or addresses with wheels, for nodes without a package index.",
        example=["/srv/wheels"],
    )
    pyenv_url: GitUrl = field(
        "", label="pyenv repository", help="The git repository of pyenv or of its mirror. Empty: the project's own."
    )
    venvs: Many[VenvSettings] | None = field(
        None,
        label="Virtual environments",
        help="One for each service that runs here. Absent: those of the node's roles; an empty list: none.",
        example=[{"service": "agent", "packages": ["backend.ai-agent==26.4.10"]}],
    )

    def conflicts(self) -> Iterator[Conflict]:
        if self.pyenv_url and self.method != "pyenv":
            yield Conflict(("pyenv_url",), 'is used with method = "pyenv" only', ("method",))
        if self.mirror and self.method != "standalone":
            yield Conflict(("mirror",), 'is used with method = "standalone" only', ("method",))
        if self.level != "baseline" and self.method != "standalone":
            yield Conflict(("level",), 'is used with method = "standalone" only', ("method",))
        for place in duplicates(tuple(venv.service for venv in self.venvs or ())):
            yield Conflict(("venvs", place, "service"), "is listed twice")
