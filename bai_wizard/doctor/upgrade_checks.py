"""Checks of `doctor --before-upgrade` and `--after-upgrade`: what an upgrade of the distribution breaks or leaves.

Each of them sees by the node's release whether the upgrade is ahead or done.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.machine import Machine
from bai_wizard.core.page import Context, Evidence
from bai_wizard.core.parse import whole
from bai_wizard.data import read_toml
from bai_wizard.doctor.upgrade import Upgrade, upgrade_of
from bai_wizard.pages.account.steps import DROP_INS
from bai_wizard.pages.check import Outcome, check, checks_in, not_applicable, ok, problem, warning
from bai_wizard.pages.node_state import installed_kernels
from bai_wizard.steps.apt_grammar import Reader, Source
from bai_wizard.steps.apt_sources import DIRECTORY, MAIN_LIST, NAME, apt_sources, native_architecture
from bai_wizard.steps.packages import pins

OURS = "# Written by bai-wizard"
DISABLED = "disabled on upgrade to"
# What shows that a source is the distribution's own: its key, its host, or the path of an archive or a mirror.
_OWN_KEY = re.compile(r"/(debian|ubuntu)-archive-keyring")
OWN_HOSTS = (".debian.org", ".ubuntu.com", ".canonical.com")
_MIRROR = re.compile(r"(/pub|/mirrors?)*/(debian|debian-security|ubuntu|ubuntu-ports)/?")
_DISABLED_LINE = re.compile(rf"^#[# \t]*(deb(?:-src)?[ \t].*?)[ \t]*#.*{DISABLED}", re.MULTILINE)
_ENABLED = re.compile(r"(?mi)^(Enabled:)[ \t]*\S+")
_VERSION_LINE = re.compile(r"^ (?:\*\*\*|   ) (\S+) -?\d+$")
STATUS = "/var/lib/dpkg/status"
SEARCHED = ("/home", "/root", "/opt", "/srv", "/usr/local")
DKMS = "/var/lib/dkms"
UNINSTALLER = "/usr/bin/nvidia-uninstall"
HOME = "/opt/bai-wizard"
GRUB = "/etc/default/grub"


@check("upgrade.sources")
def sources(machine: Machine, context: Context) -> Outcome:
    """Before: no third-party source is bound to the old release. After: none is disabled or of the old release."""
    upgrade, is_done = upgrade_of(machine)
    enabled = apt_sources(machine)
    if not is_done:
        bound = [
            each for each in enabled if _is_foreign(machine, each) and (upgrade.disables or _names_old(upgrade, each))
        ]
        return warning(*_listed(bound, "enabled", f"checked for {upgrade.new}"), release=upgrade.new)
    left = [each for each in enabled if _names_old(upgrade, each)]
    disabled = [each for each in _disabled(machine, upgrade) if each not in enabled]
    evidence = (*_listed(left, "of the old release", upgrade.new_codename), *_listed(disabled, "disabled", "enabled"))
    return warning(*evidence, variant="after", codename=upgrade.new_codename)


def _listed(sources: Sequence[Source], found: str, expected: str) -> tuple[Evidence, ...]:
    texts = dict.fromkeys((each.path, f"{each.uri} {each.suite}") for each in sources)
    return tuple(Evidence(text, path, found, expected) for path, text in texts)


def _names_old(upgrade: Upgrade, source: Source) -> bool:
    return upgrade.is_old(source.suite) or upgrade.is_old(source.uri)


def _is_foreign(machine: Machine, source: Source) -> bool:
    """Whether a source is neither the distribution's nor the wizard's, which the next run adapts."""
    address = urlsplit(source.uri)
    if _OWN_KEY.search(source.signed_by) or (address.hostname or "").endswith(OWN_HOSTS):
        return False
    if (machine.text_behind_links(source.path) or "").startswith(OURS):
        return False
    return bool(source.signed_by) or not _MIRROR.fullmatch(address.path)


def _disabled(machine: Machine, upgrade: Upgrade) -> Iterator[Source]:
    """Sources that the upgrade tool disabled: by a comment, or by the field Enabled in a deb822 file."""
    names = (name for name in machine.names(DIRECTORY) if NAME.fullmatch(name))
    for path in (MAIN_LIST, *(f"{DIRECTORY}/{name}" for name in names)):
        text = machine.text_behind_links(path) or ""
        is_marked = DISABLED in text or text.startswith(OURS)
        reader = Reader(native_architecture(machine))
        if path.endswith(".sources"):
            reader.read(path, _ENABLED.sub(r"\1 yes", text).encode())
        else:
            reader.read(path, "\n".join(_DISABLED_LINE.findall(text)).encode())
        for source in reader.sources:
            is_adapted = upgrade.disables and upgrade.new_codename in source.suite and _is_foreign(machine, source)
            if is_marked or is_adapted or upgrade.is_old(source.suite):
                yield Source(source.path, source.uri.rstrip("/"), source.suite, source.signed_by, source.line)


@check("upgrade.pins")
def pinned(machine: Machine, context: Context) -> Outcome:
    """Every pin prefers a version that a source of the release offers."""
    upgrade, is_done = upgrade_of(machine)
    chosen = [(path, fields) for path, fields in pins(machine) if _priority(fields.get("pin-priority", "")) > 0]
    by_version = [
        (path, name, fields["pin"].partition(" ")[2].strip())
        for path, fields in chosen
        if fields.get("pin", "").startswith("version ")
        for name in fields.get("package", "").split()
        if not re.search(r"[*?\[/]|^src:", name)
    ]
    versions = _offered(machine, [name for _, name, _ in by_version])
    evidence = [
        Evidence("Pin", path, fields["pin"], "of the new release")
        for path, fields in chosen
        if fields.get("pin", "").startswith("release") and upgrade.is_old(fields["pin"])
    ]
    for path, name, pattern in by_version:
        is_gone = pattern != "*" and not any(fnmatchcase(version, pattern) for version in versions.get(name, ()))
        if is_gone or (not is_done and _ends(upgrade, name, pattern)):
            evidence.append(Evidence(name, path, f"version {pattern}", "a version that a source offers"))
    return warning(*evidence, paths=" ".join(dict.fromkeys(each.where for each in evidence)))


def _priority(text: str) -> int:
    """The priority of a pin; 0 if it cannot be read."""
    return whole(text) if text.isdecimal() else 0


def _ends(upgrade: Upgrade, name: str, pattern: str) -> bool:
    """Whether no version that matches is built for the new release."""
    major = re.match(r"(?:\d+:)?(\d+)", pattern)
    return upgrade.is_old(pattern) or (major is not None and whole(major[1]) < upgrade.oldest.get(name, 0))


def _offered(machine: Machine, names: Sequence[str]) -> dict[str, list[str]]:
    """The versions of packages that a source offers. What is only installed does not count. Raises StateUnknown."""
    if not names:
        return {}
    answer = machine.query(("apt-cache", "policy", *dict.fromkeys(names)))
    if answer.code != 0:
        raise StateUnknown(f"apt-cache: {answer.err.strip()}")
    result: dict[str, list[str]] = {}
    name = version = ""
    for line in answer.out.splitlines():
        match = _VERSION_LINE.match(line)
        if line and not line.startswith(" "):
            name = line.removesuffix(":")
        elif match is not None:
            version = match[1]
        elif version and re.match(r" +-?\d+ ", line) and STATUS not in line:
            result.setdefault(name, []).append(version)
    return result


@check("upgrade.holds")
def held(machine: Machine, context: Context) -> Outcome:
    """Before: no package is held back from the upgrade. After: a source offers the version of each held package."""
    _, is_done = upgrade_of(machine)
    shown = machine.query(("dpkg-query", "--show", "--showformat=${db:Status-Want} ${Package} ${Version}\\n"))
    if shown.code != 0:
        raise StateUnknown(f"dpkg-query: {shown.err.strip()}")
    lines = (line.split() for line in shown.out.splitlines())
    names = {words[1]: words[2] for words in lines if len(words) == 3 and words[0] == "hold"}
    versions = _offered(machine, list(names)) if is_done else {}
    stuck = {name: version for name, version in names.items() if version not in versions.get(name, ())}
    evidence = (
        Evidence(name, "apt-mark showhold", f"held at {version}", "not held") for name, version in stuck.items()
    )
    return warning(*evidence, names=" ".join(stuck))


@check("upgrade.venvs", deadline=30.0, cost="expensive", needs_root=True)
def venvs(machine: Machine, context: Context) -> Outcome:
    """No virtual environment depends on the Python of the old release."""
    upgrade, is_done = upgrade_of(machine)
    places = [path for path in SEARCHED if machine.entry(path) is not None]
    if not places:
        return ok()
    command = ("find", *places, "-xdev", "-maxdepth", "6", "-name", "pyvenv.cfg", "-type", "f")
    lines = machine.query(command, deadline=25.0).out.splitlines()
    paths = [line.removesuffix("/pyvenv.cfg") for line in lines if line.startswith("/")]
    evidence = []
    for path in sorted(paths):
        venv = machine.venv(path)
        if venv is None or venv.home not in ("/usr/bin", "/bin"):
            continue
        if not is_done or not f"{venv.version}.".startswith(f"{upgrade.python}."):
            evidence.append(Evidence("Python", path, f"{venv.version} of {venv.home}", upgrade.python))
    if not is_done:
        return warning(*evidence, release=upgrade.new, python=upgrade.python)
    return problem(*evidence, variant="after")


@check("upgrade.cgroup-v1")
def control_groups(machine: Machine, context: Context) -> Outcome:
    """No kernel parameter requests control groups of version 1."""
    upgrade_of(machine)
    if machine.in_container():
        return not_applicable("a container uses the cgroups of its host")
    drop_ins = (f"{GRUB}.d/{name}" for name in machine.names(f"{GRUB}.d") if name.endswith(".cfg"))
    texts = {path: machine.text_behind_links(path) or "" for path in (GRUB, *drop_ins)}
    texts["/proc/cmdline"] = machine.kernel_text("/proc/cmdline") or ""
    evidence = []
    for path, text in texts.items():
        words = re.findall(r'[^\s"\']+', re.sub(r"(?m)^[ \t]*#.*", "", text))
        found = [name for name in read_toml("upgrades.toml")["cgroup-v1"]["parameters"] if name in _values(words)]
        evidence += [Evidence("kernel parameter", path, name, "not set") for name in found]
    return problem(*evidence)


def _values(words: Sequence[str]) -> set[str]:
    """The parameters, also the first one behind `GRUB_CMDLINE_LINUX=`."""
    return {word.removeprefix("GRUB_CMDLINE_LINUX_DEFAULT=").removeprefix("GRUB_CMDLINE_LINUX=") for word in words}


@check("upgrade.sudo-rs", needs_root=True)
def sudoers(machine: Machine, context: Context) -> Outcome:
    """sudo-rs knows every setting in sudoers. The wizard's own rules mean the same to it."""
    upgrade, _ = upgrade_of(machine)
    if not upgrade.sudo_rs:
        return not_applicable(f"{upgrade.name} {upgrade.new} does not use sudo-rs")
    names = (name for name in machine.names(DROP_INS) if not re.search(r"\.|~$", name))
    unknown = read_toml("upgrades.toml")["sudo-rs"]["unknown"]
    evidence = []
    for path in ("/etc/sudoers", *(f"{DROP_INS}/{name}" for name in names)):
        for line in (machine.text(path) or "").replace("\\\n", " ").splitlines():
            settings = re.match(r"[ \t]*Defaults\S*[ \t]+(.*)", line)
            named = re.findall(r"(?:^|,)[ \t]*!?(\w+)", settings[1]) if settings else []
            command = line.partition("=")[2] if settings is None and not line.lstrip().startswith("#") else ""
            if set(named) & set(unknown) or re.search(r"/\S+[ \t]+[^,#]*[*?\[]", command):
                evidence.append(Evidence("line", path, line.strip(), "known to sudo-rs"))
    return warning(*evidence)


@check("upgrade.drivers")
def drivers(machine: Machine, context: Context) -> Outcome:
    """Before: packages own the sources of all kernel modules. After: each is built for the kernel that boots next."""
    upgrade, is_done = upgrade_of(machine)
    modules = [
        (name, version)
        for name in machine.names(DKMS)
        for version in machine.names(f"{DKMS}/{name}")
        if not version.startswith("kernel-")
    ]
    if is_done:
        return _built(machine, modules)
    oldest = _oldest_driver(machine, upgrade)
    loaded = machine.kernel_text("/sys/module/nvidia/version") or ""
    if oldest and loaded and whole(loaded.partition(".")[0]) < oldest:
        return warning(
            Evidence("driver", "/sys/module/nvidia/version", loaded, f"{oldest} or newer"), variant="branch"
        )
    foreign = [
        Evidence(f"{name}/{version}", DKMS, "not from a package", "from a package")
        for name, version in modules
        if machine.query(("dpkg-query", "--search", f"/usr/src/{name}-{version}/dkms.conf")).code != 0
    ]
    if machine.entry(UNINSTALLER) is not None:
        foreign.append(Evidence("NVIDIA driver", UNINSTALLER, "from an installer", "from packages"))
    return warning(*foreign)


def _built(machine: Machine, modules: Sequence[tuple[str, str]]) -> Outcome:
    """Whether some version of each module is built for the kernel that boots next."""
    kernels = installed_kernels(machine) if modules else []
    if not kernels:
        return ok()
    built = {name for name, version in modules if kernels[-1] in machine.names(f"{DKMS}/{name}/{version}")}
    missing = dict.fromkeys(name for name, _ in modules if name not in built)
    evidence = (Evidence(name, DKMS, "not built", f"built for {kernels[-1]}") for name in missing)
    return problem(*evidence, variant="after", kernel=kernels[-1])


def _oldest_driver(machine: Machine, upgrade: Upgrade) -> int:
    """The oldest branch in NVIDIA's repository for the new release; 0 without that repository or limit."""
    if not any("developer.download.nvidia.com" in source.uri for source in apt_sources(machine)):
        return 0
    keys = read_toml("accelerators.toml")["nvidia"]["repository"]["cuda"]["keys"]
    return whole(keys.get(f"{upgrade.id}{upgrade.new.replace('.', '')}", {}).get("driver", "0"))


@check("upgrade.archive")
def archive(machine: Machine, context: Context) -> Outcome:
    """The wizard is complete, and an upgrade that removes obsolete packages does not remove it."""
    _, is_done = upgrade_of(machine)
    if machine.package("bai-wizard") is not None:
        evidence = Evidence("bai-wizard", "dpkg", "in no package source", "kept")
        return ok() if is_done else warning(evidence, variant="package")
    if "current" not in machine.names(HOME):
        return not_applicable(f"the wizard is not installed in {HOME}")
    tree, _ = machine.behind_links(f"{HOME}/current")
    program = f"{tree}/python/bin/python3"
    if machine.behind_links(program)[1] is None:
        return problem(Evidence("interpreter", program, "missing", "present"))
    return ok(Evidence("interpreter", program, "its own", "independent of the release"))


UPGRADE_CHECKS = checks_in(sys.modules[__name__])
