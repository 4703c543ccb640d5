"""The Docker page: steps for packages, configuration, service and users."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from bai_wizard.core.page import (
    Absent,
    Context,
    Known,
    Page,
    Unknown,
    Unsupported,
    refusals,
    value_or,
)
from bai_wizard.core.parse import environment_file_value, unit_word
from bai_wizard.core.secret import Secret, has_credentials
from bai_wizard.core.step import Step
from bai_wizard.pages import TITLES, checks_of
from bai_wizard.pages.docker.packages import (
    ENGINES,
    LEAVE_SNAP,
    DockerUsers,
    incompatibility,
    package_steps,
)
from bai_wizard.pages.docker.probe import DockerFacts, daemon_settings, overlaps, probe
from bai_wizard.pages.docker.rows import ROWS, items, now
from bai_wizard.pages.docker.settings import DockerSettings
from bai_wizard.steps.docker import (
    DAEMON_JSON,
    Default,
    DockerConfig,
    DockerService,
    DockerSocket,
    RegistryAuthority,
    why_missing,
)
from bai_wizard.steps.files import Directory, DropIn, PrivateFile
from bai_wizard.steps.services import Service

if TYPE_CHECKING:
    from bai_wizard.pages.docker.settings import DockerSettings


DROP_INS = "/etc/systemd/system/docker.service.d"
PROXY = f"{DROP_INS}/bai-wizard-proxy.conf"
PROXY_LOGINS = f"{DROP_INS}/bai-wizard-proxy.env"
MOUNT = f"{DROP_INS}/bai-wizard-mount.conf"
# Attempts per layer; the engine waits five seconds longer before each.
DOWNLOAD_ATTEMPTS = 20
# Never accessed through a proxy: this node itself, and Docker's internal addresses for containers.
LOCAL = ("localhost", "127.0.0.0/8", "::1")


def config_step(settings: DockerSettings, facts: DockerFacts) -> Step:
    """Return the step for daemon.json; it is blocked if data or networks would be lost."""
    reason = (
        _abandons(settings, facts)
        or _hides(settings, facts)
        or _meets(settings, facts)
        or _not_mounted(settings, facts)
    )
    if reason:
        return Unsupported(id="docker.config", title="configure daemon.json", reason=reason)
    wanted = _wanted(settings, facts)
    return DockerConfig(
        id="docker.config",
        wanted=json.dumps(wanted, sort_keys=True),
        defaults=_defaults(settings, facts),
        replace=("default-address-pools",),
    )


def _wanted(settings: DockerSettings, facts: DockerFacts) -> dict[str, Any]:
    wanted: dict[str, Any] = {}
    if settings.data_root:
        wanted["data-root"] = settings.data_root
    if settings.registry_mirrors:
        wanted["registry-mirrors"] = list(settings.registry_mirrors)
    if settings.insecure_registries:
        wanted["insecure-registries"] = list(settings.insecure_registries)
    if settings.address_pools:
        wanted["default-address-pools"] = [{"base": pool.base, "size": pool.size} for pool in settings.address_pools]
    if settings.log != type(settings.log)():
        wanted |= _log(settings)
    snapshotter = _containerd_store(settings, facts)
    if snapshotter is not None:
        wanted["features"] = {"containerd-snapshotter": snapshotter}
    return wanted


def _defaults(settings: DockerSettings, facts: DockerFacts) -> tuple[Default, ...]:
    """Settings that apply only where daemon.json does not set them: log rotation not given in the answers, for one.

    After this many failed attempts an engine discards the whole pull with all layers unpacked so far; its default of
    five is too low for images of many gigabytes. It is not set on a running engine: it does not justify a restart.
    """
    result = []
    if settings.log == type(settings.log)():
        result.append(Default(("log-driver", "log-opts"), json.dumps(_log(settings), sort_keys=True)))
    if facts.is_fresh:
        result.append(Default(("max-download-attempts",), json.dumps({"max-download-attempts": DOWNLOAD_ATTEMPTS})))
    return tuple(result)


def _log(settings: DockerSettings) -> dict[str, Any]:
    log = settings.log
    if log.driver == "journald":
        return {"log-driver": "journald", "log-opts": {}}
    return {"log-driver": log.driver, "log-opts": {"max-size": log.max_size, "max-file": str(log.max_file)}}


def _containerd_store(settings: DockerSettings, facts: DockerFacts) -> bool | None:
    """Whether images are kept in containerd's store; None to leave that unchanged.

    An engine with images keeps its current store.
    """
    if settings.image_store != "auto":
        return settings.image_store == "containerd"
    if not facts.is_fresh or facts.is_filled == Known(True) or isinstance(facts.is_filled, Unknown):
        return None
    # Engine 29 begins with containerd's store, where an image's ID is the manifest's digest. Agents (26.4.16, 26.8.3,
    # 26.9.6: agent/docker/agent.py, read in November 2026) compare the ID with the digest of the configuration.
    return False


def _abandons(settings: DockerSettings, facts: DockerFacts) -> str:
    """Why the data directory is not changed: the data in the current one would no longer be visible."""
    wanted, present = settings.data_root.rstrip("/"), facts.data_root.rstrip("/")
    if not wanted or wanted == present or isinstance(facts.is_filled, Absent) or facts.is_filled == Known(False):
        return ""
    are = "are" if isinstance(facts.is_filled, Known) else "may be"
    return (
        f"there {are} images or containers in {present}, which would no longer be visible with data-root {wanted}."
        f" Stop Docker and containerd, copy {present} to {wanted} (rsync -aHAX), set data-root manually and start"
        " Docker; or empty Docker first"
    )


def _hides(settings: DockerSettings, facts: DockerFacts) -> str:
    """Why the image store is not changed: the images in the current one would no longer be visible."""
    if settings.image_store == "auto" or isinstance(facts.is_filled, Absent) or facts.is_filled == Known(False):
        return ""
    present = _present_store(facts)
    if present == settings.image_store:
        return ""
    held = f"the store {present} has images or containers" if present else "the store in use is unknown"
    return (
        f'{held}, and its content would no longer be visible with docker.image_store = "{settings.image_store}".'
        ' Set it to "auto", which keeps the store; or empty Docker first (docker system df) and pull again'
    )


def _present_store(facts: DockerFacts) -> str:
    """The current store, as named in the answers; empty if neither the engine nor its configuration shows it."""
    if isinstance(facts.engine, Known):
        return "containerd" if facts.engine.value.uses_containerd else "overlay2"
    match daemon_settings(value_or(facts.daemon_json, "")):
        case {"features": {"containerd-snapshotter": snapshotter}}:
            return "containerd" if snapshotter else "overlay2"
    return ""


def _meets(settings: DockerSettings, facts: DockerFacts) -> str:
    if not isinstance(facts.networks, Known):
        return ""
    met = overlaps((pool.base for pool in settings.address_pools), facts.networks.value)
    if not met:
        return ""
    return (
        f"the address pool {met[0][0]} overlaps the network {met[0][1]}, which this node has a route to:"
        " Docker's networks would shadow that route. Choose another range in docker.address_pools"
    )


def _not_mounted(settings: DockerSettings, facts: DockerFacts) -> str:
    """Why the data root is not mounted, checked before writing; the unit's condition guards later starts."""
    if not settings.data_root_must_be_mount or isinstance(facts.data_root_mount, Known):
        return ""
    if isinstance(facts.data_root_mount, Unknown):
        return f"cannot determine whether {settings.data_root} is on a mount: {facts.data_root_mount.reason}"
    return (
        f"{settings.data_root} is on the root file system, so Docker would fill the system disk."
        " Mount it first, or set docker.data_root_must_be_mount = false"
    )


def drop_ins(settings: DockerSettings, context: Context) -> tuple[DropIn | PrivateFile, ...]:
    """Return the files that systemd reads for docker.service, in the directory DROP_INS."""
    result: list[DropIn | PrivateFile] = []
    proxy = _proxy_variables(context)
    if proxy:
        # Every user can read a unit's Environment= over D-Bus, and unit files are not meant to be private.
        logins = {name: value for name, value in proxy.items() if has_credentials(value)}
        lines = [f"Environment={unit_word(f'{name}={value}')}" for name, value in proxy.items() if name not in logins]
        # With a dash, so that Docker starts even if undo removed the file and systemd has not been reloaded since.
        lines += [f"EnvironmentFile=-{PROXY_LOGINS}"] if logins else []
        text = "# Written by bai-wizard from network.proxy.\n[Service]\n" + "\n".join(lines) + "\n"
        private = "".join(f"{name}={environment_file_value(value)}\n" for name, value in logins.items())
        result.append(
            PrivateFile(
                id="docker.proxy-login",
                path=PROXY_LOGINS,
                text=Secret(private),
                why="proxy credentials, readable by root only",
            )
        )
        result.append(DropIn(id="docker.proxy", path=PROXY, text=text, why="pull images through the proxy"))
    if settings.data_root_must_be_mount:
        text = (
            f"# Written by bai-wizard: without its file system Docker would fill the system disk.\n"
            f"[Unit]\nRequiresMountsFor={unit_word(settings.data_root)}\n"
        )
        why = f"start Docker only if {settings.data_root} is mounted"
        result.append(DropIn(id="docker.mount", path=MOUNT, text=text, why=why))
    return tuple(result)


def _proxy_variables(context: Context) -> dict[str, str]:
    if not (context.proxy_http or context.proxy_https):
        return {}
    excluded = [part.strip() for part in context.no_proxy.split(",") if part.strip()]
    variables = {
        "HTTP_PROXY": context.proxy_http,
        "HTTPS_PROXY": context.proxy_https,
        "NO_PROXY": ",".join(dict.fromkeys([*excluded, *LOCAL, context.host])),
    }
    return {name: value for name, value in variables.items() if value}


def registry_authorities(facts: DockerFacts) -> tuple[Step, ...]:
    """Return the certificates of registries; certs.d is read at every pull, so nothing needs a restart.

    Docker looks up the directory by the registry's name as given in the image reference: the default TLS port may be
    omitted.
    """
    given = dict(facts.registry_ca)
    unsaid = {host.removesuffix(":443"): text for host, text in given.items() if host.endswith(":443")}
    return tuple(
        RegistryAuthority(
            id=f"docker.registry-ca.{host}", host=host, text=value_or(text, ""), missing=why_missing(text)
        )
        for host, text in {**unsaid, **given}.items()
    )


PODMAN = "podman-docker"


def steps(settings: DockerSettings, facts: DockerFacts, context: Context) -> tuple[Step, ...]:
    """Return steps for packages, configuration, service and users. On a fresh node the configuration comes first.

    The first start of the daemon then creates its data directory, image store and networks in the right place, and no
    restart is needed.
    """
    refused = _refusals(settings, facts)
    if refused:
        return refused
    if _is_podman(facts):
        facts = replace(facts, engine=Absent())
    drops = drop_ins(settings, context)
    directory = (Directory(id="docker.drop-ins", path=DROP_INS),) if drops else ()
    configuration = (*registry_authorities(facts), *directory, *drops, config_step(settings, facts))
    packages = package_steps(settings, facts, context)
    ordered = (*configuration, *packages) if facts.is_fresh else (*packages, *configuration)
    reads = (DAEMON_JSON, *(drop.path for drop in drops))
    warned = incompatibility(settings, facts, context)
    keeps = settings.source == "keep"
    services = _services(facts, reads, warned, keeps)
    closed = DockerSocket(id="docker.socket-open")
    return (*ordered, *services, closed, _users(settings, context), *_left(facts))


def _left(facts: DockerFacts) -> tuple[Step, ...]:
    """Problems that no step fixes. They do not matter on a fresh node, where the plan installs packages and units."""
    return () if facts.is_fresh else refusals(facts.unfixed)


def _is_podman(facts: DockerFacts) -> bool:
    return isinstance(facts.engine, Known) and facts.engine.value.product == "podman"


def _refusals(settings: DockerSettings, facts: DockerFacts) -> tuple[Step, ...]:
    """Return blocked steps for unsupported situations, instead of steps that would cause damage."""
    if isinstance(facts.system, Unknown):
        return (Unsupported(id="docker.system", title="supported operating system", reason=facts.system.reason),)
    if settings.source == "keep" and facts.snap and not any(facts.version_of(name) for name in ENGINES):
        reason = (
            "Docker is installed as a snap, which reads a different daemon.json and sees neither /vfroot nor NVIDIA's"
            f" libraries: it cannot serve Backend.AI. {LEAVE_SNAP}"
        )
        return (Unsupported(id="docker.snap", title="keep the installed engine", reason=reason),)
    if facts.is_fresh and facts.masked:
        units = " ".join(facts.masked)
        reason = (
            f"masked on this node: {units}. Docker could be installed, but not started. If masking was not"
            f" intentional, run `systemctl unmask {units}`, then try again"
        )
        return (Unsupported(id="docker.masked", title="Docker can be started", reason=reason),)
    goes = bool(facts.version_of(PODMAN)) and settings.source != "keep"
    if _is_podman(facts) and not (goes and settings.remove_conflicts):
        by_package = f"docker.remove_conflicts = true removes {PODMAN} (but not Podman, its images and containers)"
        by_hand = f'remove {PODMAN}, or the link /run/docker.sock, and choose a docker.source other than "keep"'
        reason = (
            "Podman listens on the Docker socket. Agents since 26.4.16, 26.8.3 and 26.9 support Podman in part, but"
            " this wizard sets up Docker only:"
            f" {by_package if goes else by_hand}; or omit [docker] from the answers"
        )
        return (Unsupported(id="docker.podman", title="Docker answers on the Docker socket", reason=reason),)
    if isinstance(facts.engine, Known) and facts.engine.value.rootless:
        reason = (
            "the running Docker is rootless, but Backend.AI's agent needs the system-wide one. Stop it for its user"
            " (`systemctl --user disable --now docker`) and unset DOCKER_HOST, then try again"
        )
        return (Unsupported(id="docker.rootless", title="system-wide Docker engine", reason=reason),)
    return ()


def _services(facts: DockerFacts, reads: tuple[str, ...], warned: str, keeps: bool) -> tuple[Step, ...]:
    """Enable and start first, which disrupts nothing; then restart if a file is newer than the daemon.

    The service activates its socket; an existing engine may have none and listen by itself.
    """
    # A fresh engine must not start with other directories and stores than requested.
    before = None if facts.is_fresh or isinstance(facts.daemon_json, Unknown) else value_or(facts.daemon_json, "")
    return (
        Service(id="docker.socket", unit="docker.socket", active=None, if_running=keeps),
        DockerService(id="docker.service", before=before, interrupts=(), warned=warned),
        DockerService(
            id="docker.restart",
            before=before,
            reads=reads,
            enabled=None,
            active=None,
            interrupts=() if _outlive(facts) else ("docker.restart",),
        ),
    )


def _outlive(facts: DockerFacts) -> bool:
    """Whether containers survive a restart of the daemon: live-restore must be set both before and after."""
    is_set = isinstance(facts.engine, Known) and facts.engine.value.live_restore
    return is_set and daemon_settings(value_or(facts.daemon_json, "")).get("live-restore") is True


def _users(settings: DockerSettings, context: Context) -> Step:
    return DockerUsers(id="docker.users", accounts=settings.users or (context.account,))


PAGE = Page(
    name="docker",
    title=TITLES["docker"],
    summary="The container engine that runs the sessions, and its configuration.",
    settings=DockerSettings,
    probe=probe,
    steps=steps,
    checks=checks_of("docker"),
    now=now,
    rows=ROWS,
    items=items,
)
