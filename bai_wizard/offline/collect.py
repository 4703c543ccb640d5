"""Create a bundle: packages, images, Python builds, wheels and the wizard itself."""

from __future__ import annotations

import os
import platform
import shutil
import stat
import sys
from collections.abc import Iterator, Set
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from msgspec.structs import replace

from bai_wizard import __version__
from bai_wizard.core.errors import PreflightError, StepFailed
from bai_wizard.core.page import Absent, Fact, Known
from bai_wizard.core.paths import parents
from bai_wizard.node.run_as import invoker
from bai_wizard.node.safe_path import Trust, absolute
from bai_wizard.node.user_files import make_requested_directory
from bai_wizard.offline.manifest import (
    MANIFEST,
    MAX_FAULTS,
    PARTS,
    SUMS_NAME,
    Held,
    Manifest,
    MissingItem,
    content_faults,
    held_in,
    open_bundle,
    path_fault,
    read_manifest,
    sha256_of,
)
from bai_wizard.offline.needs import (
    RequiredPackages,
    WantedDriver,
    archive_name,
    not_served,
    required_packages,
    saved_name,
    wanted_drivers,
)
from bai_wizard.offline.packages import (
    Likeness,
    Say,
    collect_images,
    collect_packages,
    complete_file,
    control_of,
    likeness,
)
from bai_wizard.pages.accelerators.nvidia.probe import key
from bai_wizard.pages.accelerators.settings import AcceleratorsSettings
from bai_wizard.pages.images.probe import wanted as wanted_images
from bai_wizard.pages.images.settings import ImagesSettings
from bai_wizard.pages.node_state import ARCHITECTURES
from bai_wizard.pages.python.plan import BASICS, services
from bai_wizard.pages.python.probe import PythonFacts
from bai_wizard.pages.python.settings import PythonSettings
from bai_wizard.pages.python.versions import environment, package_sources, proxy_for, select_python
from bai_wizard.resources.local import LocalMachine
from bai_wizard.trusted_path import TrustedPaths, Untrusted

if TYPE_CHECKING:
    from bai_wizard.compose import DesiredState


NODE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
# The files that are used from the system that `--like` names.
LIKE = ("etc/os-release", "etc/apt", "var/lib/dpkg/status")


@contextmanager
def open_output_directory(output: str) -> Iterator[Path]:
    """The directory, created if it is missing; under sudo, all of it ends up owned by the invoking user.

    A user who can change a bundle while it is being created controls what the nodes install: the digest is computed
    last. So root rejects a directory that other users can change, and links, devices and pipes in it are always
    rejected (PreflightError). apt-get, pip and docker write there by name.
    """
    os.umask(0o022)
    directory = os.path.dirname(absolute(os.path.join(output, "manifest.json")))
    try:
        if os.geteuid() == 0:
            Trust().judge_directory(_existing(directory), sticky=True)
        make_requested_directory(directory, 0o755)
        if os.geteuid() == 0:
            Trust().judge_directory(directory)
    except OSError as error:
        raise PreflightError(f"{output} cannot be used: {(error.strerror or str(error)).lower()}") from error
    if not os.access(directory, os.W_OK | os.X_OK):
        raise PreflightError(f"{output} cannot be written: permission denied")
    caller = invoker()
    if caller is None:
        _refuse_links(directory)
        yield Path(directory)
        return
    with _taken(directory, caller) as path:
        try:
            _refuse_links(path)
            yield Path(path)
        except (PreflightError, StepFailed) as error:
            raise type(error)(str(error).replace(path, directory)) from error


@contextmanager
def _taken(directory: str, caller: tuple[int, int]) -> Iterator[str]:
    """A path of the directory that no rename can redirect. Everything in it is owned by root until the end.

    So programs that run as the invoking user cannot replace what root writes. What root owned before stays owned by
    root.
    """
    top = Trust().open_directory(directory)
    try:
        path = f"/proc/{os.getpid()}/fd/{top}"
        kept = _chown(top, caller[0], (0, 0))
        try:
            yield path
        finally:
            _chown(top, 0, caller, kept)
    finally:
        os.close(top)


def _chown(
    top: int, owner: int, new: tuple[int, int], kept: frozenset[tuple[int, int]] = frozenset()
) -> frozenset[tuple[int, int]]:
    """Give directories and files of `owner` to `new`; returns the (device, inode) of those owned by others.

    A file with a second hard link may be root's elsewhere and is left alone, as is what `kept` names. A file system
    without owners is left unchanged.
    """
    others: set[tuple[int, int]] = set()
    for _, _, files, here in os.fwalk(".", dir_fd=top):
        for descriptor in (os.dup(here), *(os.open(name, NODE, dir_fd=here) for name in files)):
            try:
                state = os.fstat(descriptor)
                identity = (state.st_dev, state.st_ino)
                is_single = stat.S_ISDIR(state.st_mode) or (stat.S_ISREG(state.st_mode) and state.st_nlink == 1)
                if state.st_uid != owner or not is_single or identity in kept:
                    others.add(identity)
                    continue
                with suppress(PermissionError):
                    os.chown(f"/proc/self/fd/{descriptor}", *new)
            finally:
                os.close(descriptor)
    return frozenset(others)


def refuse_untrusted_inputs(like: str, wizard: str) -> None:
    """As root, raise PreflightError if others can change the wizard's archive, or the sources and keys of `--like`.

    The bundle vouches for these files, because the answers decide what is in it.
    """
    if os.geteuid() != 0:
        return
    trust = Trust()
    try:
        if wizard:
            os.close(trust.open(wizard))
        judge = TrustedPaths(trust.users)
        for part in LIKE if like else ():
            judge.judge_tree(os.path.join(os.path.abspath(like), part))
    except Untrusted as error:
        raise trust.refusal(error.path, error.who) from error
    except OSError as error:
        raise PreflightError(f"{wizard} cannot be read: {(error.strerror or str(error)).lower()}") from error


def _existing(directory: str) -> str:
    return next(filter(os.path.lexists, (directory, *parents(directory))), "/")


def _refuse_links(directory: str) -> None:
    """Raise PreflightError for a link, a device, a pipe, or anything that others can change."""
    trust = Trust()
    for above, directories, files in os.walk(f"{directory}/."):
        for name in (*directories, *files):
            path = os.path.join(above, name)
            state = os.lstat(path)
            if not stat.S_ISDIR(state.st_mode) and not (stat.S_ISREG(state.st_mode) and state.st_nlink == 1):
                raise PreflightError(f"{path} is a link or a special file; choose another directory")
            who = trust.writers(path)
            if who:
                raise trust.refusal(path, who)


def collect_itself(archive: str, directory: Path, say: Say) -> tuple[str, str]:
    """Copy the given archive, or else repack the installed tree.

    Returns the name of the archive in the bundle, or an empty text and why that is not possible.
    """
    location = directory / "wizard"
    if archive:
        source = Path(archive)
        if not source.name.endswith(".tar.gz"):
            raise StepFailed(f"{archive} is not an archive of the wizard (bai-wizard-VERSION-ARCH.tar.gz)")
        target = location / source.name
        if not (target.exists() and sha256_of(target) == sha256_of(source)):
            say(f"copying {archive}")
            location.mkdir(exist_ok=True)
            with complete_file(target) as partial:
                shutil.copyfile(source, partial)
        return target.name, ""
    tree = Path(sys.prefix).parent
    if not (tree / "VERSION").is_file() or not (tree / "install.sh").is_file():
        return "", (
            "the wizard itself: it was not installed from its archive. Pass the archive with"
            " --wizard bai-wizard-VERSION-ARCH.tar.gz, or install it on the nodes by other means"
        )
    arch, version = ((tree / name).read_text().strip() for name in ("ARCHITECTURE", "VERSION"))
    target = location / f"bai-wizard-{version}-{arch}.tar.gz"
    # Packed again each time: another build can have the same version. The same tree always gives the same file.
    say("packing the wizard")
    location.mkdir(exist_ok=True)
    pack_wizard(tree, tree / "install.sh", target)
    return target.name, ""


def pack_wizard(tree: Path, script: Path, target: Path) -> None:
    """The release archive: one directory of the same name with install.sh, tree and SHA256SUMS covering both.

    Everything in it is owned by root, writable by root only, and has the time of the file VERSION, so that an
    installed tree gives the archive that it came from. Raises StepFailed for a tree that contains anything but files
    and directories: install.sh would reject that.
    """
    import gzip
    import tarfile
    from hashlib import sha256
    from io import BytesIO

    name = target.name.removesuffix(".tar.gz")
    sums: list[str] = []
    changed = int((tree / "VERSION").stat().st_mtime)

    def member(path: str, *, mode: int, data: bytes | None = None) -> None:
        info = tarfile.TarInfo(f"{name}/{path}".rstrip("/"))
        info.mode, info.mtime, info.uname, info.gname = mode, changed, "root", "root"
        info.type = tarfile.DIRTYPE if data is None else tarfile.REGTYPE
        info.size = len(data or b"")
        archive.addfile(info, BytesIO(data or b""))
        if data is not None:
            sums.append(f"{sha256(data).hexdigest()}  {path}\n")

    with (
        complete_file(target) as partial,
        open(partial, "wb") as raw,
        gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w|") as archive,
    ):
        member("", mode=0o755)
        member("install.sh", mode=0o755, data=script.read_bytes())
        for path in [tree, *sorted(tree.rglob("*"))]:
            status, inside = path.lstat(), f"tree/{path.relative_to(tree)}".removesuffix("/.")
            if path == tree / "install.sh":
                continue
            if S_ISDIR(status.st_mode):
                member(inside, mode=0o755)
            elif S_ISREG(status.st_mode) and path.suffix != ".pth":
                mode = 0o755 if status.st_mode & 0o111 else 0o644
                member(inside, mode=mode, data=path.read_bytes())
            else:
                raise StepFailed(f"{path} cannot be packed: it is a .pth file, or neither a file nor a directory")
        member("SHA256SUMS", mode=0o644, data="".join(sums).encode())


# The manifest of the last complete collection, while another one is incomplete.
LAST = ".manifest.json.last"
# Seconds for all wheels with their dependencies, over a slow line.
WHEELS = 1800.0
# Wheels that run on every supported distribution: for the glibc of Debian 12 and older.
GLIBC = ("2_36", "2_34", "2_31", "2_28", "2_17")


def collect(
    desired_states: tuple[DesiredState, ...], directory: Path, say: Say, *, like: str = "", wizard: str = ""
) -> Manifest:
    """Fetch everything that these desired states need into the directory and write its manifest. Raises WizardError.

    `like` is a directory with the files of a system like the nodes' (see `likeness`), `wizard` the wizard's archive.
    """
    directory.mkdir(parents=True, exist_ok=True)
    listed = _begin(directory)
    architecture = ARCHITECTURES.get(platform.machine(), platform.machine())
    lacks: list[MissingItem] = []
    needed: set[str] = set()
    for desired in desired_states:
        lacks += not_served(desired)
        python, images = desired.settings.get("python"), desired.settings.get("images")
        if "python" in desired.pages and isinstance(python, PythonSettings) and python.method == "standalone":
            needed |= _python(python, desired, directory, say)
        if "images" in desired.pages and isinstance(images, ImagesSettings):
            wanted = wanted_images(images, desired.context, architecture)
            result = collect_images(images, wanted, directory, f"linux/{architecture}", say)
            lacks += [("images", what) for what in result]
            needed |= {f"images/{archive_name(each.file, each.sha256)}" for each in images.archives}
            needed |= {f"images/{saved_name(image.reference)}" for image in wanted}
    system, unoffered, packages = _packages(desired_states, directory, say, like, listed)
    lacks += unoffered
    archive, without = collect_itself(wizard, directory, say)
    lacks += [("wizard", without)] if without else []
    # Without an archive, the one of the last collection is kept.
    needed |= packages | (
        {f"wizard/{archive}"} if archive else {path for path in listed if path.startswith("wizard/")}
    )
    _refuse_others(directory, listed | needed)
    _remove(directory, listed - needed)
    say("hashing existing files")
    manifest = Manifest(platform.machine(), __version__, _held(directory), tuple(dict.fromkeys(lacks)), system)
    manifest.write(directory)
    (directory / LAST).unlink(missing_ok=True)
    _refuse_extra_files(directory, manifest)
    return manifest


def _begin(directory: Path) -> frozenset[str]:
    """The files that the last complete collection listed: a collection removes no others.

    The directory has no manifest until the end of the collection. Raises PreflightError if the manifest or SHA256SUMS
    in it is not that of a bundle.
    """
    name = MANIFEST if (directory / MANIFEST).exists() else LAST
    if not (directory / name).exists():
        if (directory / SUMS_NAME).exists():
            raise PreflightError(f"{directory / SUMS_NAME} is not that of a bundle; choose another directory")
        return frozenset()
    try:
        result = frozenset(held.path for held in read_manifest(directory, name).files)
    except PreflightError as error:
        raise PreflightError(f"{error}. Choose another directory") from error
    (directory / name).replace(directory / LAST)
    return result


def _refuse_others(directory: Path, known: Set[str]) -> None:
    """Raise StepFailed for files in the parts of the bundle that no collection is known to have created."""
    for path in known:
        (directory / f"{path}.part").unlink(missing_ok=True)
        (directory / f"{path}.part.mark").unlink(missing_ok=True)
    found = (path for part in PARTS for path in sorted((directory / part).rglob("*")) if not path.is_dir())
    others = [path for each in found if (path := str(each.relative_to(directory))) not in known]
    if others:
        names = os.fsencode(", ".join(others[:MAX_FAULTS])).decode(errors="backslashreplace")
        raise StepFailed(
            f"{directory} contains files that do not belong to the last complete bundle in it, and that these answers"
            f" do not need: {names}. Move or remove them and retry, or choose another directory"
        )


def _remove(directory: Path, paths: Set[str]) -> None:
    """Remove files of the last collection, and the directories in which nothing else is."""
    for path in paths:
        (directory / path).unlink(missing_ok=True)
        for above in parents(path):
            with suppress(OSError):  # not empty, or already removed
                (directory / above).rmdir()


def _held(directory: Path) -> tuple[Held, ...]:
    """Every file that was collected."""
    result = []
    for held in held_in(directory):
        fault = path_fault(held.path)
        if fault:
            raise StepFailed(f"{directory / held.path} {fault}: rename its source file, remove the copy and retry")
        control = control_of(directory / held.path) if held.part == "packages" else ""
        result.append(replace(held, control=control))
    return tuple(result)


def _refuse_extra_files(directory: Path, manifest: Manifest) -> None:
    """Raise StepFailed if the directory contains more than the bundle: every node would reject it."""
    with open_bundle(directory) as bundle:
        result = content_faults(bundle, manifest)
    if result:
        (directory / MANIFEST).replace(directory / LAST)
        raise StepFailed(f"{directory} contains more than the bundle: {'; '.join(result)}. Remove it and retry")


def _packages(
    desired_states: tuple[DesiredState, ...], directory: Path, say: Say, like: str, listed: Set[str]
) -> tuple[str, tuple[MissingItem, ...], set[str]]:
    """The code name of the system of the collected packages, what is missing, and the paths of the packages.

    The name is empty if the answers need no packages.
    """
    others = any(
        page in desired.pages for desired in desired_states for page in ("docker", "storage", "accelerators")
    )
    # Nearly every node has sudo: apt is not run for it alone, unless a node's database shows that it is missing.
    if not others and not (like and any("account" in desired.pages for desired in desired_states)):
        return "", (), set()
    resembled = likeness(like)
    lacks_sudo = resembled.lacks("sudo") if others or resembled.status else False
    result: list[RequiredPackages | WantedDriver] = []
    for desired in (replace(desired, context=replace(desired.context, bundle="")) for desired in desired_states):
        result += required_packages(desired, resembled.system, lacks_sudo=lacks_sudo)
        result += wanted_drivers(desired, resembled.system, resembled.kernels(), _nvidias_key(desired, resembled))
    wanted = tuple(dict.fromkeys(result))
    lacks, files = collect_packages(wanted, directory, resembled, say, listed)
    return resembled.system.codename if wanted else "", lacks, files


def _nvidias_key(desired: DesiredState, like: Likeness) -> Fact[str]:
    """The key of NVIDIA's repository, as the page reads it from the file or the server."""
    accelerators, system = desired.settings.get("accelerators"), like.system
    if "accelerators" not in desired.pages or not isinstance(accelerators, AcceleratorsSettings):
        return Absent()
    return key(LocalMachine(), accelerators.nvidia, desired.context, Known(system))


def _python(settings: PythonSettings, desired: DesiredState, directory: Path, say: Say) -> set[str]:
    """Collect interpreter and wheels; returns the paths that are needed."""
    from bai_wizard.node.download import Source, fetch

    facts = PythonFacts(arch=platform.machine())
    build = select_python(settings, facts, desired.context).build
    assert build is not None, "on a node without any interpreter a build is chosen, or NoBuild raised"
    target = directory / "python" / build.place
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and sha256_of(target) == build.sha256:
        say(f"already downloaded: {build.file}")
    else:
        url = build.address(settings.mirror)
        say(f"downloading {url}")
        fetch(Source(url, build.sha256, proxy_for(url, desired.context)), str(target))
    wheels = _wheels(settings, desired, facts, build.version, directory / "wheels", say)
    return {f"python/{build.place}", *(f"wheels/{name}" for name in wheels)}


def _wheels(
    settings: PythonSettings, desired: DesiredState, facts: PythonFacts, version: str, directory: Path, say: Say
) -> set[str]:
    """Fetch wheels with pip, for the Python version of the nodes. Returns their names.

    Raises StepFailed with pip's own message.

    pip writes by name, so it must not write where another user could replace a directory.
    """
    from bai_wizard.node.process import run

    packages = [name for _, wanted in services(settings, desired.context) for name in wanted]
    sources = package_sources(settings, facts, desired.context)
    options = ["--index-url", sources.index_url] if sources.index_url else []
    options += ["--no-index"] if sources.no_index else []
    options += [word for url in sources.extra_index_urls for word in ("--extra-index-url", url)]
    options += [word for url in sources.find_links for word in ("--find-links", url)]
    minor = ".".join(version.split(".")[:2])
    tags = [word for glibc in GLIBC for word in ("--platform", f"manylinux_{glibc}_{facts.arch}")]
    target = ["--only-binary", ":all:", "--implementation", "cp", "--python-version", minor, *tags]
    say(f"downloading wheels for Python {minor}: {' '.join((*BASICS, *packages))}")
    directory.mkdir(exist_ok=True)
    with TemporaryDirectory(dir="/var/tmp", prefix="bai-wizard-wheels-") as private:
        earlier, new = Path(private, "earlier"), Path(private, "new")
        for location in (earlier, new):
            location.mkdir()
        for wheel in directory.glob("*.whl"):
            shutil.copyfile(wheel, earlier / wheel.name)
        done = run(
            [sys.executable, "-I", "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
             "--dest", str(new), *target, *options, "--find-links", str(earlier), *BASICS, *packages],
            timeout=WHEELS, env=dict(environment(desired.context)),
        )  # fmt: skip
        if done.code != 0:
            raise StepFailed(f"the wheels could not be collected: {(done.err or done.out).strip()[-2000:]}")
        names = {wheel.name for wheel in new.iterdir()}
        for name in names:
            if not (directory / name).exists():
                with complete_file(directory / name) as partial:
                    shutil.copyfile(new / name, partial)
    return names
