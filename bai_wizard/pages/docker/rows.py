"""The table of the Docker page: what each field is on the node, and the steps that change it."""

from __future__ import annotations

from bai_wizard.core.display import gauge
from bai_wizard.core.machine import Space
from bai_wizard.core.page import Context, Fact, Item, Known, Row, Unknown, cannot_tell, value_or
from bai_wizard.locale import N_, tr
from bai_wizard.pages.docker.probe import DockerFacts, daemon_settings
from bai_wizard.pages.docker.settings import DockerSettings

ENGINE = (
    "docker.system", "docker.keep", "docker.snap", "docker.podman", "docker.rootless", "docker.masked",
    "docker.key", "docker.source", "docker.lists", "docker.packages", "docker.socket", "docker.service",
    "docker.socket-open", "docker.drop-ins",
)  # fmt: skip
CONFIG = ("docker.config",)
ROWS = (
    Row("docker.source", now=("Docker", N_("Packages")), steps=ENGINE),
    Row("docker.version", steps=("docker.pin",), default=N_("newest compatible")),
    Row("docker.users", steps=("docker.users",), default=lambda _settings, context: context.account),
    Row(
        "docker.data_root",
        now=(N_("Data directory"),),
        if_set=("docker.config", "docker.mount"),
        default="/var/lib/docker",
    ),
    Row("docker.log.max_size", steps=CONFIG),
    Row("docker.log.max_file"),
    Row("docker.registry_mirrors", now=(N_("Mirrors"),), if_set=CONFIG),
    Row("docker.remove_conflicts", steps=("docker.conflicts",)),
    Row("docker.hold", is_advanced=True),
    Row("docker.apt_url", default="https://download.docker.com", is_advanced=True),
    Row("docker.key_file", default=N_("built in"), is_advanced=True),
    Row("docker.registry_ca", steps=("docker.registry-ca.",), is_advanced=True),
    Row("docker.insecure_registries", if_set=CONFIG, is_advanced=True),
    Row("docker.image_store", now=(N_("Image store"),), if_set=CONFIG, is_advanced=True),
    Row("docker.address_pools", if_set=CONFIG, is_advanced=True),
)


def items(settings: DockerSettings, facts: DockerFacts, context: Context) -> tuple[Item, ...]:
    """The plug-ins, which have no field."""
    now = dict(_system(facts)).get("Compose and Buildx", "")
    if settings.source == "keep" or not now:
        return ()
    return (Item(tr("Compose and Buildx"), now, tr("yes"), ("docker.plugins",)),)


def now(facts: DockerFacts) -> tuple[tuple[str, str], ...]:
    """Summarize the engine, and engines that are not the system's."""
    users = ", ".join(facts.rootless)
    beside = (
        ((N_("Rootless Docker"), tr("of user {users}; Backend.AI uses the system-wide engine", users=users)),)
        if users
        else ()
    )
    mirrors = daemon_settings(value_or(facts.daemon_json, "")).get("registry-mirrors") or ()
    return (
        *_system(facts),
        *(((N_("Mirrors"), ", ".join(map(str, mirrors))),) if isinstance(mirrors, list) and mirrors else ()),
        *beside,
    )


def _system(facts: DockerFacts) -> tuple[tuple[str, str], ...]:
    if isinstance(facts.engine, Unknown):
        message = ", ".join(f"{name} {version}" for name, version in facts.packages) or tr("not installed")
        return (("Docker", cannot_tell(facts.engine)), (N_("Packages"), message))
    if not isinstance(facts.engine, Known):
        state = tr("not installed") if facts.is_fresh else tr("installed, not running")
        return (("Docker", state), (N_("Compose and Buildx"), _plugins(facts)))
    engine = facts.engine.value
    return (
        ("Docker", f"{engine.version} (API {engine.api})"),
        (N_("Compose and Buildx"), _plugins(facts)),
        (N_("Images"), str(engine.images)),
        (N_("Data directory"), engine.data_root),
        (N_("Image store"), engine.driver),
        *((tr("Free below {path}", path=path), _room(free)) for path, free in facts.free),
        (N_("Containers"), tr("{count}, {running} running", count=engine.containers, running=engine.running)),
        (N_("Runtimes"), ", ".join(engine.runtimes)),
        ("cgroup", tr("version {number}", number=engine.cgroup)),
    )


def _plugins(facts: DockerFacts) -> str:
    found = [name for name, _ in facts.packages if "compose" in name or "buildx" in name]
    return ", ".join(name.removeprefix("docker-").removesuffix("-plugin") for name in found) or tr("not installed")


def _room(space: Fact[Space]) -> str:
    if not isinstance(space, Known):
        return cannot_tell(space) if isinstance(space, Unknown) else tr("unknown")
    free, total = space.value.free, space.value.total
    if not total:
        return f"{free / 1e9:.1f} GB"
    text = tr("{free} of {total} GB free", free=f"{free / 1e9:.0f}", total=f"{total / 1e9:.0f}")
    return f"{gauge(1 - free / total)} {text}"
