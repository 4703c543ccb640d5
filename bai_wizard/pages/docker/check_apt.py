"""What the doctor looks at in the sources of packages: keys and repositories named twice."""

from __future__ import annotations

from bai_wizard.core.context import Context
from bai_wizard.core.finding import Evidence, Finding
from bai_wizard.core.machine import Machine
from bai_wizard.pages.docker import catalogue
from bai_wizard.pages.docker.sources import KEYRING
from bai_wizard.pages.subject import Subject
from bai_wizard.steps.apt_source import AptKey, key_fault
from bai_wizard.steps.apt_sources import Source, normal, sources

PAGE = "docker"
MISSING = Subject("apt-no-pubkey", PAGE, "Every repository's key is in place")
UNREADABLE = Subject("apt-key-unreadable", PAGE, "apt can read every repository's key")
TWICE = Subject("apt-signed-by-conflict", PAGE, "No repository is named with two keys")
SUITE = Subject("apt-no-release-file", PAGE, "Docker's repository has packages for this release")
OTHERS_READ = 0o004
OTHERS_ENTER = 0o001


def _keyed(machine: Machine) -> list[Source]:
    """Sources that name a key file; a key written into the source itself is none."""
    return [source for source in sources(machine) if source.signed_by.startswith("/")]


def _remedy(machine: Machine, path: str) -> tuple[AptKey, ...]:
    if path != KEYRING:
        return ()
    return (AptKey(id="docker.key", path=KEYRING, text=catalogue.key(), fingerprint=catalogue.fingerprint()),)


def missing(machine: Machine, context: Context) -> Finding:
    """A key file that is not there, is empty, or (Docker's) holds another key."""
    for source in _keyed(machine):
        entry = machine.entry(source.signed_by)
        fault = "not there" if entry is None else ""
        if entry is not None and entry.type == "file":
            fault = "empty" if not entry.content else ""
            if source.signed_by == KEYRING and normal(source.uri).startswith("https://download.docker.com"):
                fault = fault or key_fault(entry.content or b"", catalogue.fingerprint())
        if fault:
            return MISSING.problem(
                f"The key of {source.uri} is not in place",
                (Evidence("key", source.signed_by, fault, "the repository's key"),),
                cause="The key was removed, or something else was saved in its place (an error page, for instance).",
                guidance=f"Put the right key into {source.signed_by}, mode 0644, and read the lists anew.",
                remedy=_remedy(machine, source.signed_by),
            )
    return MISSING.ok()


def unreadable(machine: Machine, context: Context) -> Finding:
    """apt verifies as its own user _apt and then says «NO_PUBKEY», whatever the reason."""
    for source in _keyed(machine):
        entry = machine.entry(source.signed_by)
        directory = machine.entry(source.signed_by.rpartition("/")[0])
        if entry is None or entry.type != "file":
            continue
        if entry.mode & OTHERS_READ and (directory is None or directory.mode & OTHERS_ENTER):
            continue
        where = entry if not entry.mode & OTHERS_READ else directory
        assert where is not None
        return UNREADABLE.problem(
            f"apt cannot read the key of {source.uri}",
            (Evidence("mode", source.signed_by, f"{where.mode:04o}", "0644 in a directory of 0755"),),
            cause="It was written under a strict umask; apt reads keys as its own user.",
            guidance=f"chmod 755 {source.signed_by.rpartition('/')[0]}; chmod 644 {source.signed_by}",
            remedy=_remedy(machine, source.signed_by),
        )
    return UNREADABLE.ok()


def twice(machine: Machine, context: Context) -> Finding:
    """apt reads no list at all then."""
    seen: dict[tuple[str, str], Source] = {}
    for source in sources(machine):
        first = seen.setdefault((source.uri, source.suite), source)
        if first.signed_by != source.signed_by:
            return TWICE.problem(
                f"{source.uri} is named with two keys",
                tuple(
                    Evidence("source", one.path, one.signed_by or "no key", "the same key") for one in (first, source)
                ),
                cause="Two guides, or an older set-up of the same repository.",
                guidance=f"Keep one: move {first.path if first.path.endswith('.list') else source.path} away.",
            )
    return TWICE.ok()


def suite(machine: Machine, context: Context) -> Finding:
    """A derivative's codename, or a release past its life, in Docker's own repository."""
    docker = [source for source in sources(machine) if "download.docker.com/linux/" in source.uri]
    if not docker:
        return SUITE.not_applicable("Docker's repository is not among the sources")
    for source in docker:
        os = normal(source.uri).rpartition("/")[2]
        known = catalogue.suites(os)
        if known and source.suite not in known:
            return SUITE.warning(
                f"Docker's repository may have nothing for {source.suite}",
                (Evidence("suite", source.path, source.suite, ", ".join(known)),),
                cause="The codename is a derivative's, or of a release that the wizard does not know.",
                guidance="Take the codename of the release that this system derives from (UBUNTU_CODENAME).",
            )
    return SUITE.ok()


CHECKS = (
    MISSING.check(missing),
    UNREADABLE.check(unreadable),
    TWICE.check(twice),
    SUITE.check(suite),
)
