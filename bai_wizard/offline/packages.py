"""Collect packages for the nodes' system with apt, in a separate state directory, and images with Docker."""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from bai_wizard.core.errors import PreflightError, StepFailed
from bai_wizard.core.machine import Completed
from bai_wizard.core.page import Known, Unknown
from bai_wizard.core.parse import apt_key_path
from bai_wizard.core.programs import find_program
from bai_wizard.offline.manifest import MissingItem, control_fault, sha256_of
from bai_wizard.offline.needs import RequiredPackages, WantedDriver, archive_name, saved_name
from bai_wizard.pages.images.probe import DesiredImage
from bai_wizard.pages.images.settings import ImagesSettings
from bai_wizard.pages.node_state import ARCHITECTURES, System, kernel_order, system_of
from bai_wizard.resources.local import LocalMachine
from bai_wizard.resources.packages import parse_paragraph, parse_policy
from bai_wizard.steps.apt_sources import pinned_key

Say = Callable[[str], None]
STATUS = "var/lib/dpkg/status"
# The package of one kernel, whose name ends in its release; meta packages have no number there.
KERNEL = re.compile(r"^Package: linux-image-(?:unsigned-)?(\d\S*)$(?<!-dbg)", re.MULTILINE)


class Likeness(Struct, frozen=True):
    """A system to build a bundle for.

    `root` contains etc/os-release and etc/apt; `status` is dpkg's database of a node.
    The database is from before the wizard has run. Without it nothing is assumed, so every dependency is fetched:
    more than is needed, never less.
    """

    root: Path
    system: System
    status: bytes = b""

    def _paragraphs(self) -> list[str]:
        return self.status.decode(errors="replace").split("\n\n")

    def lacks(self, package: str) -> bool:
        """Whether a package is not installed on a node, as far as its database is known."""
        begin = f"Package: {package}\n"
        return not any(text.lstrip().startswith(begin) and parse_paragraph(text) for text in self._paragraphs())

    def kernels(self) -> tuple[str, ...]:
        """The releases of a node's kernels, with the one that boots next at the end; empty if unknown."""
        texts = self._paragraphs()
        result = {match[1] for text in texts if (match := KERNEL.search(text)) and parse_paragraph(text)}
        return tuple(sorted(result, key=kernel_order))


def likeness(directory: str = "") -> Likeness:
    """The system of this machine, or of a node's files below a directory. Raises PreflightError."""
    root = Path(directory or "/")
    result = system_of(LocalMachine(str(root)))
    if not isinstance(result, Known):
        reason = result.reason if isinstance(result, Unknown) else "it does not identify a system"
        raise PreflightError(f"{root}/etc/os-release: {reason}; pass a node's files with --like DIR")
    machine = platform.machine()
    system = replace(result.value, architecture=ARCHITECTURES.get(machine, machine))
    status = root / STATUS
    return Likeness(root, system, status.read_bytes() if directory and status.is_file() else b"")


# Seconds for the lists, and for all packages over a slow line.
LISTS = 600.0
FETCHING = 3600.0
# A line of `apt-get --simulate`: Inst NAME [OLD] (VERSION SOURCE [ARCHITECTURE]) …
INSTALLS = re.compile(r"^Inst (\S+) (?:\[\S+\] )?\((\S+) .*\[(\S+)\]\)", re.MULTILINE)
KEY_OF = re.compile(r"(signed-by\s*[=:]\s*)(/[^\s\]]+)", re.IGNORECASE)


class Apt:
    """The state in `state` is kept, so that an interrupted download can resume; packages are fetched into `files`."""

    def __init__(self, state: Path, files: Path, like: Likeness) -> None:
        self._state, self._files, self._like = state, files, like
        for part in ("lists/partial", "sources", "keys"):
            (state / part).mkdir(parents=True, exist_ok=True)
        (files / "partial").mkdir(parents=True, exist_ok=True)
        (state / "status").write_bytes(like.status)

    def read_lists(self, wanted: Sequence[RequiredPackages | WantedDriver]) -> str:
        """Read the lists of the system's own repositories and of the required ones.

        Returns error messages for later use.
        Raises StepFailed, Unrepresentable for a directory whose name an apt source cannot hold.
        """
        for old in (self._state / "sources").iterdir():
            old.unlink()
        sources = {source.uri: source for each in wanted for source in each.sources}
        self._copy_sources(tuple(sources))
        for each in wanted:
            for key in each.keys:
                try:
                    if key.missing:
                        raise ValueError(key.missing)
                    self._key(key.path).write_bytes(pinned_key(key.text.encode(), key.fingerprint))
                except ValueError as error:
                    raise StepFailed(f"the key of the repository of [{each.page}] cannot be used: {error}") from error
        for number, source in enumerate(sources.values()):
            located = replace(source, signed_by=str(self._key(source.signed_by)))
            self._write(f"wanted-{number}.sources", located.text())
        done = self._apt("update", timeout=LISTS)
        return "" if done.code == 0 and not done.err.strip() else (done.err or done.out).strip()[-2000:]

    def candidate(self, name: str) -> str | None:
        """The version that would be fetched; None if no source offers the package. Raises StepFailed."""
        completed = self._apt("policy", "--", name, timeout=LISTS, program="apt-cache")
        if completed.code != 0:
            raise StepFailed(f"apt-cache policy {name}: {_last(completed)}")
        return parse_policy(completed.out)

    def fetch(self, wanted: RequiredPackages) -> tuple[str, ...]:
        """Fetch the packages with their dependencies; returns the names of the files. Raises StepFailed.

        Requested packages are fetched even if the nodes have them; dependencies that the nodes have are not.
        """
        words = [
            f"{name}={version}" if version else name
            for name, version in zip(wanted.names, wanted.versions, strict=True)
        ]
        install = ["install", "--reinstall", "--no-install-recommends", "--", *words]
        simulated = self._apt("--simulate", *install, timeout=LISTS)
        if simulated.code != 0:
            raise StepFailed(f"[{wanted.page}] {_last(simulated)}")
        done = self._apt("--yes", "--download-only", *install, timeout=FETCHING)
        if done.code != 0:
            raise StepFailed(f"[{wanted.page}] {_last(done)}")
        return tuple(
            f"{name.partition(':')[0]}_{version.replace(':', '%3a')}_{architecture}.deb"
            for name, version, architecture in INSTALLS.findall(simulated.out)
        )

    def _copy_sources(self, without: tuple[str, ...]) -> None:
        """Copy the system's own sources, except files that name one of the required repositories."""
        etc = self._like.root / "etc/apt"
        files = [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]
        for file in files:
            if file.suffix not in (".list", ".sources") or not file.is_file():
                continue
            text = file.read_text(errors="replace")
            if not any(uri.rstrip("/") in text for uri in without):
                self._write(file.name, KEY_OF.sub(self._below, text))

    def _below(self, match: re.Match[str]) -> str:
        """The path of a key file of the other system, if it exists here."""
        existing = self._like.root / match[2].lstrip("/")
        return f"{match[1]}{apt_key_path(str(existing)) if existing.exists() else match[2]}"

    def _key(self, path: str) -> Path:
        return self._state / "keys" / os.path.basename(path)

    def _write(self, name: str, text: str) -> None:
        (self._state / "sources" / name).write_text(text)

    def _apt(self, *words: str, timeout: float, program: str = "apt-get") -> Completed:
        from bai_wizard.node.process import run

        trusted = self._like.root / "etc/apt"
        settings = {
            "APT::Architecture": self._like.system.architecture,
            "APT::Architectures": self._like.system.architecture,
            "APT::Sandbox::User": "root",
            "Dir::State": self._state,
            "Dir::State::status": self._state / "status",
            "Dir::State::Lists": self._state / "lists",
            "Dir::Cache": self._state,
            "Dir::Cache::Archives": self._files,
            "Dir::Etc::SourceList": "/dev/null",
            "Dir::Etc::SourceParts": self._state / "sources",
            "Dir::Etc::Preferences": "/dev/null",
            "Dir::Etc::PreferencesParts": "/dev/null",
            "Dir::Etc::Trusted": trusted / "trusted.gpg",
            "Dir::Etc::TrustedParts": trusted / "trusted.gpg.d",
            "Acquire::Retries": 3,
            "Acquire::Languages": "none",
        }
        options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
        return run(
            [program, "--quiet", *options, *words], timeout=timeout, env={"DEBIAN_FRONTEND": "noninteractive"},
            keep=1 << 22,
        )  # fmt: skip


def _last(done: Completed) -> str:
    """apt's own output: the error message, preceded by the output before it."""
    return "\n".join((done.out.strip()[-1500:], done.err.strip()[-1500:])).strip()


# apt's own state and downloads, kept while a collection is incomplete: not part of the bundle.
STATE = ".bai-wizard-apt"


def collect_packages(
    wanted: Sequence[RequiredPackages | WantedDriver], directory: Path, like: Likeness, say: Say, listed: Set[str]
) -> tuple[tuple[MissingItem, ...], set[str]]:
    """Fetch all of them; those in `listed`, the paths of the last complete collection, are not downloaded again.

    Returns what no source offers for NVIDIA's driver, and the paths of the packages. Raises StepFailed.
    """
    location, archives = directory / "packages", directory / STATE / "archives"
    if not wanted:
        shutil.rmtree(directory / STATE, ignore_errors=True)
        return (), set()
    if find_program("apt-get") is None or find_program("dpkg-deb") is None:
        raise StepFailed("packages are collected with apt-get: create the bundle on Debian or Ubuntu")
    say(f"reading the package lists of {like.system.name}")
    apt = Apt(directory / STATE, archives, like)
    location.mkdir(exist_ok=True)
    for path in listed:
        if path.startswith("packages/") and (directory / path).exists():
            (directory / path).replace(archives / os.path.basename(path))
    complaint = apt.read_lists(wanted)
    named, lacks = _named(wanted, apt)
    files: set[str] = set()
    for each in named:
        say(f"downloading packages for {like.system.name}: {' '.join(each.names)}")
        try:
            files.update(apt.fetch(each))
        except StepFailed as error:
            raise StepFailed(f"{error}\n{complaint}" if complaint else str(error)) from error
    for name in files:
        (archives / name).replace(location / name)
    shutil.rmtree(directory / STATE)
    return lacks, {f"packages/{name}" for name in files}


def _named(
    wanted: Sequence[RequiredPackages | WantedDriver], apt: Apt
) -> tuple[tuple[RequiredPackages, ...], tuple[MissingItem, ...]]:
    """The packages by name, each once, after the lists are read; and what no source offers."""
    result: list[RequiredPackages] = []
    lacks: list[MissingItem] = []
    for each in wanted:
        if isinstance(each, RequiredPackages):
            result.append(each)
            continue
        packages, missing = each.named(apt.candidate)
        result += packages
        lacks += [(each.page, what) for what in missing]
    return tuple(dict.fromkeys(result)), tuple(dict.fromkeys(lacks))


def control_of(file: Path) -> str:
    """The fields of a package, as the node passes them to apt. Raises StepFailed."""
    from bai_wizard.node.process import run

    completed = run(["dpkg-deb", "--field", str(file)], timeout=60.0, keep=1 << 20)
    control = completed.out.strip()
    fault = completed.err.strip()[-300:] if completed.code != 0 else control_fault(control)
    if fault:
        raise StepFailed(f"{file} is not a package that can be bundled: {fault}; remove it and retry")
    return control


# Seconds to pull or save one image; those with CUDA take many gigabytes.
IMAGE = 7200.0


@contextmanager
def complete_file(target: Path) -> Iterator[Path]:
    """Where to write a file; it gets the name of the target at the end, so only complete files have such a name."""
    partial = target.with_name(target.name + ".part")
    yield partial
    partial.rename(target)


def collect_images(
    settings: ImagesSettings, images: tuple[DesiredImage, ...], directory: Path, platform: str, say: Say
) -> list[str]:
    """Copy archives, pull and save the other images. Returns messages on missing ones. Raises StepFailed."""
    location = directory / "images"
    location.mkdir(exist_ok=True)
    for archive in settings.archives:
        _bring(archive.file, archive.sha256, location / archive_name(archive.file, archive.sha256), say)
    missing = [image for image in images if not (location / saved_name(image.reference)).exists()]
    if not missing:
        return []
    if find_program("docker") is None:
        names = ", ".join(image.reference for image in missing)
        return [
            f"{names}: Docker, which pulls and saves them, is not installed here; retry where it is, or save"
            " them elsewhere (docker save NAME:TAG -o FILE) and list the files in [images] archives"
        ]
    lines = (_save(image, location / saved_name(image.reference), platform, settings.retag, say) for image in missing)
    return [lack for lack in lines if lack]


def _bring(file: str, sha256: str, target: Path, say: Say) -> None:
    if not target.exists():
        say(f"copying {file}")
        try:
            with complete_file(target) as partial:
                shutil.copyfile(file, partial)
        except OSError as error:
            raise StepFailed(f"{file} cannot be copied into the bundle: {error.strerror}") from error
    if sha256_of(target) != sha256:
        target.unlink()
        raise StepFailed(f"{file} does not have the SHA-256 in the answers")


def _save(image: DesiredImage, target: Path, platform: str, retag: bool, say: Say) -> str:
    """Pull one image, add its second name if requested, and save it. Returns why that failed, or an empty text."""
    say(f"pulling {image.reference}")
    fault = _docker("pull", "--quiet", "--platform", platform, image.reference)
    if fault:
        return f"{image.reference}: {fault}; log in with `docker login`, or correct the name"
    names = [image.reference]
    if retag and image.canonical:
        fault = _docker("tag", image.reference, image.canonical)
        names.append(image.canonical)
    say(f"saving {image.reference}")
    partial = target.with_name(target.name + ".part")
    fault = fault or _docker("save", "--output", str(partial), *names)
    if fault:
        partial.unlink(missing_ok=True)
        return f"{image.reference}: {fault}"
    partial.rename(target)
    return ""


def _docker(*words: str) -> str:
    """Run docker; returns its error message, or an empty text. The caller's environment selects engine and logins."""
    from bai_wizard.node.process import run

    names = ("HOME", "DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")
    environment = {name: os.environ[name] for name in names if name in os.environ}
    done = run(["docker", *words], timeout=IMAGE, env=environment)
    return "" if done.code == 0 else " ".join((done.err or done.out).split())[-500:]
