"""What the doctor looks at in the engine itself: does it run, is it the right one, may the account use it."""

from __future__ import annotations

from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.finding import Evidence, Finding
from bai_wizard.core.machine import Machine
from bai_wizard.pages.docker import catalogue
from bai_wizard.pages.docker.look import NotApplicable, check, journal, require_engine, require_info
from bai_wizard.pages.docker.probe import major
from bai_wizard.pages.subject import Subject
from bai_wizard.steps.docker_users import GROUP, DockerUsers

PAGE = "docker"
COMPOSE_TWICE = Subject("docker-compose-conflict", PAGE, "The plugins of Docker are installed once")
RELEASE = Subject("docker.engine-release", PAGE, "The engine suits the release of Backend.AI")
COMPOSE = Subject("docker.compose", PAGE, "docker compose answers")
SHADOWED = Subject("docker-compose-shadowed", PAGE, "The compose plugin is the package's")
MEMBER = Subject("docker.users", PAGE, "The account may use Docker")
STALE = Subject("docker-group-stale", PAGE, "The account's sessions know that it may use Docker")
SWARM = Subject("docker-live-restore-swarm", PAGE, "live-restore and swarm mode are not combined")
APPARMOR = Subject("docker-stop-apparmor", PAGE, "Containers can be stopped")
PLUGIN = "docker-compose"
# Both packages of a pair ship the same file (docker-ce-packaging #1339).
PAIRS = (("docker-compose-v2", "docker-compose-plugin"), ("docker-buildx", "docker-buildx-plugin"))


def compose_twice(machine: Machine, context: Context) -> Finding:
    """Two packages with the same plugin."""
    both = [pair for pair in PAIRS if all(machine.package(name) is not None for name in pair)]
    if not both:
        return COMPOSE_TWICE.ok()
    return COMPOSE_TWICE.problem(
        "A plugin of Docker is installed from two packages",
        tuple(Evidence(f"package {theirs}", "dpkg", "installed", f"only {ours}") for theirs, ours in both),
        cause="Both ship the same file, and whichever is upgraded next fails to overwrite it.",
        guidance=f"apt-get remove {' '.join(theirs for theirs, _ in both)}",
    )


def release(machine: Machine, context: Context) -> Finding:
    """Known faults between an engine and a release of Backend.AI."""
    limit = catalogue.incompatible(context.backend_ai)
    if limit is None:
        raise NotApplicable(
            "no fault is known for this release" if context.backend_ai else "node.backend_ai is not set"
        )
    version = machine.engine("/version")
    if not isinstance(version, dict):
        raise NotApplicable("no container engine runs")
    found = str(version.get("Version", ""))
    evidence = Evidence("engine", "docker version", found, f"below {limit.engine}")
    if major(found) < limit.engine:
        return RELEASE.ok(evidence)
    return RELEASE.warning(
        f"Docker {found} and Backend.AI {context.backend_ai} do not get along",
        (evidence,),
        cause=f"With Docker {limit.engine} and releases before {limit.fixed_in} {limit.what} ({limit.source}).",
        guidance=f"Go to Backend.AI {limit.fixed_in}, or install Docker {limit.engine - 1} on an emptied node"
        f' (docker.version = "{limit.engine - 1}"); an older engine does not read a newer one\'s data reliably.',
        risk="Changing the engine stops all containers.",
    )


def compose(machine: Machine, context: Context) -> Finding:
    """`docker compose version`."""
    require_engine(machine)
    argv = ("docker", "compose", "version")
    found = machine.look(argv, deadline=3.0)
    if found.code == 0:
        return COMPOSE.ok(Evidence("docker compose version", "command", found.out.strip(), "an answer"))
    return COMPOSE.problem(
        "docker compose does not answer",
        (Evidence("docker compose version", "command", found.err.strip()[:200], "a version"),),
        cause="The compose plugin is missing. Debian 12 has none in its own packages.",
        guidance="Apply the docker page, which installs the plugin of the chosen source.",
    )


def shadowed(machine: Machine, context: Context) -> Finding:
    """A plugin copied by hand goes before the package's."""
    places = (f"{context.home}/.docker/cli-plugins", "/root/.docker/cli-plugins", "/usr/local/lib/docker/cli-plugins")
    found = []
    for place in places:
        try:
            found += [f"{place}/{name}" for name in machine.names(place) if name == PLUGIN]
        except CannotTell:
            continue
    if not found:
        return SHADOWED.ok()
    return SHADOWED.warning(
        "A compose plugin copied by hand hides the package's",
        tuple(Evidence("plugin", path, "there", "only the package's") for path in found),
        cause="Files in a user's own directory go first, and no upgrade reaches them.",
        guidance=f"Move it away: mv {found[0]} {found[0]}.old; then docker compose version.",
    )


def member(machine: Machine, context: Context) -> Finding:
    """What the docker page brings about: the account is listed in the group docker."""
    require_engine(machine)
    if machine.account(context.account) is None:
        raise NotApplicable(f"there is no account {context.account} yet")
    if machine.is_member(context.account, GROUP):
        return MEMBER.ok()
    return MEMBER.problem(
        f"{context.account} may not use Docker",
        (Evidence("group docker", "/etc/group", f"without {context.account}", f"with {context.account}"),),
        cause="The account is not listed in the group docker.",
        guidance="Being in that group is as good as being root, and takes effect at the next login.",
        remedy=(DockerUsers(id="docker.users", accounts=(context.account,)),),
    )


def stale(machine: Machine, context: Context) -> Finding:
    """Configured against effective: the groups of the account's processes."""
    group, account = machine.group(GROUP), machine.account(context.account)
    if group is None or account is None or not machine.is_member(context.account, GROUP):
        raise NotApplicable("the account is not in the group docker")
    argv = ("ps", "-o", "pid=,supgid=,comm=", "-u", str(account.uid))
    old = []
    for line in machine.look(argv).out.splitlines():
        fields = line.split(None, 2)
        if len(fields) == 3 and fields[1] != "-" and str(group.gid) not in fields[1].split(","):
            old.append((fields[0], fields[2]))
    if not old:
        return STALE.ok()
    return STALE.warning(
        f"Sessions of {context.account} began before it was in the group docker",
        tuple(Evidence(f"process {pid}", name, "without the group docker", "with it") for pid, name in old[:5]),
        cause="Groups are read at login only; tmux, editors' servers and lingering user managers keep the old list.",
        guidance="Log out and in again, or newgrp docker; where it lingers, loginctl terminate-user"
        f" {context.account}. Never chmod the socket.",
        risk="Ending a user's processes ends what runs in them.",
    )


def swarm(machine: Machine, context: Context) -> Finding:
    """A daemon with both does not start again."""
    info = require_info(machine)
    state = (info.get("Swarm") or {}).get("LocalNodeState", "inactive")
    if not info.get("LiveRestoreEnabled") or state in ("", "inactive"):
        return SWARM.ok()
    return SWARM.problem(
        "live-restore and swarm mode are combined",
        (Evidence("docker info", "engine", f"live-restore on, swarm {state}", "one of them"),),
        cause="Docker refuses to start with both.",
        guidance='Take "live-restore" out of daemon.json on a node of a swarm.',
        risk="Without live-restore a restart of Docker stops its containers.",
    )


def apparmor(machine: Machine, context: Context) -> Finding:
    """Stops that AppArmor forbade in this boot."""
    require_info(machine)
    denied = journal(machine, "cannot stop container.*permission denied|cannot kill container.*permission denied")
    if not denied:
        return APPARMOR.ok()
    return APPARMOR.problem(
        "Containers cannot be stopped",
        (Evidence("journal of docker", "journalctl -u docker", denied[-1][:200], "no refusal"),),
        cause="An older containerd or the snap lacks a rule that Ubuntu 24.04's AppArmor profiles for runc ask for.",
        guidance="Upgrade to the current packages of Docker (docker.source). Leave AppArmor on.",
    )


CHECKS = (
    check(COMPOSE_TWICE, compose_twice),
    check(RELEASE, release, needs=("docker-not-running",)),
    check(COMPOSE, compose, cost="dear"),
    check(SHADOWED, shadowed),
    check(MEMBER, member),
    check(STALE, stale),
    check(SWARM, swarm, needs=("docker-not-running",)),
    check(APPARMOR, apparmor, needs=("docker-not-running",)),
)
