"""Docker's own files: daemon.json, drop-ins of its service, certificates of registries."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bai_wizard.core.context import Context
from bai_wizard.core.facts import Absent, Known, Unknown, value_or
from bai_wizard.core.step import Step
from bai_wizard.pages.docker import catalogue
from bai_wizard.pages.docker.facts import DockerFacts
from bai_wizard.pages.docker.networks import overlaps
from bai_wizard.steps.docker_config import Default, DockerConfig
from bai_wizard.steps.refusal import Refusal
from bai_wizard.steps.registry_ca import RegistryAuthority, why_missing
from bai_wizard.steps.write_file import DropIn

if TYPE_CHECKING:
    from bai_wizard.pages.docker.settings import DockerSettings

DROP_INS = "/etc/systemd/system/docker.service.d"
PROXY = f"{DROP_INS}/bai-wizard-proxy.conf"
MOUNT = f"{DROP_INS}/bai-wizard-mount.conf"
# Of each layer; the engine waits five seconds longer before each.
DOWNLOAD_ATTEMPTS = 20
# Never through a proxy: this node itself, and what Docker gives to containers.
LOCAL = ("localhost", "127.0.0.0/8", "::1")


def config_step(settings: DockerSettings, facts: DockerFacts, context: Context) -> Step:
    """daemon.json; a refusal where data or networks would be lost by it."""
    reason = (
        _abandons(settings, facts)
        or _hides(settings, facts)
        or _meets(settings, facts)
        or _not_mounted(settings, facts)
    )
    if reason:
        return Refusal(id="docker.config", title="daemon.json as the answers want it", reason=reason)
    wanted = _wanted(settings, facts, context)
    return DockerConfig(
        id="docker.config",
        wanted=json.dumps(wanted, sort_keys=True),
        defaults=_defaults(settings, facts),
        replace=("default-address-pools",),
    )


def _wanted(settings: DockerSettings, facts: DockerFacts, context: Context) -> dict[str, Any]:
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
    snapshotter = _containerd_store(settings, facts, context)
    if snapshotter is not None:
        wanted["features"] = {"containerd-snapshotter": snapshotter}
    return wanted


def _defaults(settings: DockerSettings, facts: DockerFacts) -> tuple[Default, ...]:
    """Rotation as it is without a word in the answers gives way to anything that is written in the file.

    After so many failed tries an engine drops the whole pull with all layers that it has unpacked; its own five are
    few for images of many gigabytes. Not worth a restart where an engine runs already.
    """
    found = []
    if settings.log == type(settings.log)():
        found.append(Default(("log-driver", "log-opts"), json.dumps(_log(settings), sort_keys=True)))
    if facts.is_fresh:
        found.append(Default(("max-download-attempts",), json.dumps({"max-download-attempts": DOWNLOAD_ATTEMPTS})))
    return tuple(found)


def _log(settings: DockerSettings) -> dict[str, Any]:
    log = settings.log
    if log.driver == "journald":
        return {"log-driver": "journald", "log-opts": {}}
    return {"log-driver": log.driver, "log-opts": {"max-size": log.max_size, "max-file": str(log.max_file)}}


def _containerd_store(settings: DockerSettings, facts: DockerFacts, context: Context) -> bool | None:
    """Whether images go into containerd's store; None to leave it.

    An engine with images keeps the store they are in.
    """
    if settings.image_store != "auto":
        return settings.image_store == "containerd"
    if not facts.is_fresh or facts.is_filled == Known(True) or isinstance(facts.is_filled, Unknown):
        return None
    # Engine 29 begins with containerd's store; releases with the known fault expect Docker's own.
    return False if catalogue.incompatible(context.backend_ai) is not None else None


def _abandons(settings: DockerSettings, facts: DockerFacts) -> str:
    """Why the data directory is not moved: what lies in the present one would vanish from sight."""
    wanted, present = settings.data_root.rstrip("/"), facts.data_root.rstrip("/")
    if not wanted or wanted == present or isinstance(facts.is_filled, Absent) or facts.is_filled == Known(False):
        return ""
    held = "images or containers lie" if isinstance(facts.is_filled, Known) else "nobody can tell what lies"
    return (
        f"{held} in {present}, and they would vanish from sight with data-root {wanted}. Stop Docker and"
        f" containerd, copy {present} to {wanted} (rsync -aHAX), set data-root by hand and start Docker; or empty"
        " Docker first"
    )


def _hides(settings: DockerSettings, facts: DockerFacts) -> str:
    """Why images do not go into the other store: those in the present one would vanish from sight."""
    if settings.image_store == "auto" or isinstance(facts.is_filled, Absent) or facts.is_filled == Known(False):
        return ""
    present = _present_store(facts)
    if present == settings.image_store:
        return ""
    held = f"images or containers lie in the store {present}" if present else "nobody can tell which store is in use"
    return (
        f'{held}, and what lies there would vanish from sight with docker.image_store = "{settings.image_store}".'
        ' Take "auto", which keeps the store; or empty Docker first (docker system df), and pull again afterwards'
    )


def _present_store(facts: DockerFacts) -> str:
    """As the answers call it; empty where neither the engine nor its configuration tells."""
    if isinstance(facts.engine, Known):
        return "containerd" if facts.engine.value.uses_containerd else "overlay2"
    try:
        snapshotter = json.loads(value_or(facts.daemon_json, "{}"))["features"]["containerd-snapshotter"]
    except (ValueError, KeyError, TypeError):
        return ""  # a file that cannot be read stops the step itself, with the place
    return "containerd" if snapshotter else "overlay2"


def _meets(settings: DockerSettings, facts: DockerFacts) -> str:
    if not isinstance(facts.networks, Known):
        return ""
    met = overlaps((pool.base for pool in settings.address_pools), facts.networks.value)
    if not met:
        return ""
    return (
        f"the address pool {met[0][0]} meets the network {met[0][1]}, which this node has a route to:"
        " containers would hide it. Choose another range in docker.address_pools"
    )


def _not_mounted(settings: DockerSettings, facts: DockerFacts) -> str:
    """Checked where it is written; the service's own condition guards every later start."""
    if not settings.data_root_must_be_mount or isinstance(facts.data_root_mount, Known):
        return ""
    if isinstance(facts.data_root_mount, Unknown):
        return f"nobody can tell whether {settings.data_root} is on a mount: {facts.data_root_mount.reason}"
    return (
        f"no file system is mounted at or above {settings.data_root} but the root one, so Docker would fill"
        " the system disk. Mount it first, or set docker.data_root_must_be_mount = false"
    )


def drop_ins(settings: DockerSettings, context: Context) -> tuple[DropIn, ...]:
    """Files that systemd reads for docker.service, in the directory DROP_INS."""
    found = []
    proxy = _proxy_text(context)
    if proxy:
        private = "@" in context.proxy_http + context.proxy_https
        why = "Docker pulls images through the proxy"
        found.append(DropIn(id="docker.proxy", path=PROXY, text=proxy, why=why, mode=0o600 if private else 0o644))
    if settings.data_root_must_be_mount:
        text = (
            f"# Written by bai-wizard: without its file system Docker would fill the system disk.\n"
            f"[Unit]\nRequiresMountsFor={_quoted(settings.data_root)}\n"
        )
        why = f"Docker starts only with {settings.data_root} mounted"
        found.append(DropIn(id="docker.mount", path=MOUNT, text=text, why=why))
    return tuple(found)


def _proxy_text(context: Context) -> str:
    if not (context.proxy_http or context.proxy_https):
        return ""
    excluded = [part.strip() for part in context.no_proxy.split(",") if part.strip()]
    variables = {
        "HTTP_PROXY": context.proxy_http,
        "HTTPS_PROXY": context.proxy_https,
        "NO_PROXY": ",".join(dict.fromkeys([*excluded, *LOCAL, context.host])),
    }
    lines = [f"Environment={_quoted(f'{name}={value}')}" for name, value in variables.items() if value]
    return "# Written by bai-wizard from network.proxy.\n[Service]\n" + "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """As systemd.syntax(7) wants it: quoted, with its own escapes, `%` doubled against specifiers."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def registry_authorities(facts: DockerFacts) -> tuple[Step, ...]:
    """certs.d is read at every pull, so nothing is restarted for it.

    Docker looks there by the name that stands in the image's, so the port of TLS goes without saying as well.
    """
    given = dict(facts.registry_ca)
    unsaid = {host.removesuffix(":443"): text for host, text in given.items() if host.endswith(":443")}
    return tuple(
        RegistryAuthority(
            id=f"docker.registry-ca.{host}",
            host=host,
            text=value_or(text, ""),
            missing=why_missing(text),
        )
        for host, text in {**unsaid, **given}.items()
    )
