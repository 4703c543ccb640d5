"""Settings of [python]: the interpreter for Backend.AI and a virtual environment for each service."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from bai_wizard.core.paths import is_system
from bai_wizard.pages.fields import Conflict, Many, SettingsPart, SettingsTable, duplicates, field
from bai_wizard.pages.values import (
    GitUrl,
    GivenUrl,
    MirrorUrl,
    PathOrEmpty,
    PythonVersion,
    Requirement,
    ServiceName,
    WebUrl,
    WheelSource,
)


class VenvSettings(SettingsPart):
    """The virtual environment of one service."""

    service: ServiceName = field(
        label="Service",
        help="The service. Its environment is .venv in a directory of this name in the account's home.",
        example="manager",
    )
    packages: Many[Requirement] = field(
        (), label="Packages", help="Packages to install, in pip's syntax.", example=["backend.ai-agent==26.4.16"]
    )


class PythonSettings(SettingsTable):
    """The Python that runs Backend.AI."""

    method: Literal["standalone", "pyenv"] = field(
        "standalone",
        label="Method",
        help="The source of the interpreter.",
        choices={
            "standalone": "prebuilt (python-build-standalone, SHA-256 verified)",
            "pyenv": "compiled with pyenv (needs a compiler, takes minutes)",
        },
    )
    version: PythonVersion = field(
        "auto",
        label="Version",
        help='The Python version. "auto": the one that the version table lists for the chosen release.',
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
        label="Build variant",
        help="Which variant of the build to install.",
        choices={"install_only": "as in the manual", "install_only_stripped": "without debug symbols, smaller"},
    )
    level: Literal["baseline", "v2", "v3", "v4"] = field(
        "baseline",
        label="x86-64 level",
        help="The processors that the build targets. A level that this node's processor does not support is refused.",
        choices={
            "baseline": "any x86-64 processor, as in the manual",
            "v2": "since about 2009 (SSE4.2)",
            "v3": "since about 2013 (AVX2)",
            "v4": "servers with AVX-512",
        },
    )
    base_dir: PathOrEmpty = field(
        "", label="Directory", help="Where interpreters are installed. Empty: .static-python in the account's home."
    )
    index_url: WebUrl = field(
        "", label="Package index", help="The index for pip and uv. Empty: PyPI.", example="https://pypi.corp/simple"
    )
    extra_index_urls: Many[GivenUrl] = field(
        (), label="Extra indexes", help="Indexes to search in addition to the package index."
    )
    find_links: Many[WheelSource] = field(
        (),
        label="Wheel directories",
        help="Directories or URLs with wheels, for nodes without a package index.",
        example=["/srv/wheels"],
    )
    pyenv_url: GitUrl = field(
        "", label="pyenv repository", help="The git repository of pyenv or a mirror of it. Empty: the project's own."
    )
    venvs: Many[VenvSettings] | None = field(
        None,
        label="Virtual environments",
        help="One for each service that runs here. Absent: those of the node's roles. Empty list: none.",
        example=[{"service": "agent", "packages": ["backend.ai-agent==26.4.16"]}],
    )

    def conflicts(self) -> Iterator[Conflict]:
        if self.base_dir and is_system(self.base_dir, store=True):
            yield Conflict(("base_dir",), "must not be an operating system directory")
        if self.pyenv_url and self.method != "pyenv":
            yield Conflict(("pyenv_url",), 'applies only to method = "pyenv"', ("method",))
        if self.mirror and self.method != "standalone":
            yield Conflict(("mirror",), 'applies only to method = "standalone"', ("method",))
        if self.level != "baseline" and self.method != "standalone":
            yield Conflict(("level",), 'applies only to method = "standalone"', ("method",))
        for index in duplicates(tuple(venv.service for venv in self.venvs or ())):
            yield Conflict(("venvs", index, "service"), "is listed twice")
