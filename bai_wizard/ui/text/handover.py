"""What remains to be done on a node after the wizard: services, configuration, ports, sudo access and logins."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bai_wizard.compose import DesiredState
from bai_wizard.core.errors import StateUnknown, WizardError
from bai_wizard.core.machine import Machine
from bai_wizard.core.page import Context
from bai_wizard.data import read_toml
from bai_wizard.locale import N_
from bai_wizard.node.hardware import scan_pci
from bai_wizard.pages.accelerators.facts import vendor_of
from bai_wizard.pages.accelerators.probe import cards
from bai_wizard.pages.account.sshd import deciding_line, rejects_passwords
from bai_wizard.pages.node_state import named_ports, read_sshd_rules
from bai_wizard.pages.python.versions import number_of
from bai_wizard.pages.storage.options import backend_of
from bai_wizard.ui.progress import specifier

ENOUGH = "[account] has it already"
NEEDED = 'set sudo = "nopasswd" in [account]'


def handover(machine: Machine, desired: DesiredState) -> list[dict[str, str]]:
    """Return titles and lines for the roles of the node, in the order in which they are needed."""
    context = desired.context
    vendors = _vendors(machine)
    rows = [*_services(machine, desired), *_plugins(machine, desired, vendors), *_ports(context)]
    rows += [*_notes(context, vendors), *_configuration(desired), *_login(machine, desired)]
    return [{"title": title, "text": text} for title, text in rows]


def _of_role(table: str, context: Context) -> Iterator[dict[str, Any]]:
    data = read_toml("handover.toml")
    yield from (entry for entry in data[table] if set(entry["roles"]) & set(context.roles))


def _vendors(machine: Machine) -> tuple[str, ...]:
    """The vendors of the cards that sessions can use; empty if the bus cannot be read."""
    try:
        found = cards(machine, scan_pci(machine)).value
    except StateUnknown:
        return ()
    return tuple(dict.fromkeys(card.vendor for card in found if not card.is_passed_through))


def _services(machine: Machine, desired: DesiredState) -> Iterator[tuple[str, str]]:
    context = desired.context
    for entry in _of_role("service", context):
        if not _exists(entry, context.backend_ai):
            continue
        venv = _venv(machine, desired, entry["venv"])
        if "package" in entry and not context.bundle:
            yield N_("Services"), f"{entry['name']}: {_install(entry['package'], context, venv)}"
        if "config" in entry:
            yield N_("Services"), f"{entry['name']}: {entry['config']} in ~/.config/backend.ai or /etc/backend.ai"
        if "start" in entry and venv:
            command = f"cd {context.home}/{entry['venv']} && {venv}/bin/backend.ai {entry['start']}"
            yield N_("Services"), f"{entry['name']}: start it with `{command}`"


def _plugins(machine: Machine, desired: DesiredState, vendors: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    context = desired.context
    if "compute" not in context.roles or context.bundle:
        return
    for vendor in map(vendor_of, vendors):
        how = _install(vendor.wheels[0], context, _venv(machine, desired, "agent"))
        yield N_("Services"), f"plug-in of the agent for {vendor.name}: {how}"


def _install(package: str, context: Context, venv: str) -> str:
    package += specifier(context.backend_ai) if context.backend_ai else ""
    if not venv:
        return f"{package}, once an environment for it exists (venvs in [python])"
    return f'as {context.account}: {venv}/bin/python -m pip install "{package}"'


def _venv(machine: Machine, desired: DesiredState, service: str) -> str:
    """The environment of a service: .venv in its directory, or the one of pyenv selected there; empty if neither."""
    directory = f"{desired.context.home}/{service}"
    python = desired.settings.get("python")
    root = getattr(python, "base_dir", "") or f"{desired.context.home}/.pyenv"
    try:
        if machine.venv(f"{directory}/.venv") is not None:
            return f"{directory}/.venv"
        name = (machine.text(f"{directory}/.python-version") or "").strip()
        link = machine.entry(f"{root}/versions/{name}") if name and "/" not in name else None
        target = link.target if link is not None else None
        return target if target and machine.venv(target) is not None else ""
    except StateUnknown:
        return ""


def _exists(entry: dict[str, Any], release: str) -> bool:
    """Whether the release has the service; if it is unknown, whether current releases have it."""
    if not release:
        return "until" not in entry
    number = number_of(release)
    return number >= number_of(entry.get("since", "0.0")) and number < number_of(entry.get("until", "9999.0"))


def _ports(context: Context) -> Iterator[tuple[str, str]]:
    for (first, last), what in named_ports(context.roles):
        yield N_("Ports to open"), f"{first if first == last else f'{first}-{last}'}/tcp: {what}"
    yield from ((N_("Ports to open"), entry["text"]) for entry in _of_role("port", context))


def _notes(context: Context, vendors: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    sudo = ENOUGH if context.sudo == "nopasswd" else NEEDED
    for entry in _of_role("note", context):
        if entry.get("vendor", "") in ("", *vendors):
            yield entry["title"], entry["text"].replace("{sudo}", sudo)


def _configuration(desired: DesiredState) -> Iterator[tuple[str, str]]:
    context = desired.context
    if "compute" in context.roles:
        yield N_("Agent"), f"agent.toml, [container]: kernel-uid = {context.uid}, kernel-gid = {context.gid}"
    if "storage" in context.roles:
        storage = desired.settings.get("storage")
        for volume in getattr(storage, "volumes", ()):
            backend, programs = backend_of(volume)
            section = f"storage-proxy.toml, [volume.{volume.name}]"
            yield N_("Storage proxy"), f'{section}: backend = "{backend}", path = "{volume.target}"'
            if programs:
                yield (
                    N_("Storage proxy"),
                    f"{volume.name}: the back end {backend} requires {programs}; install it on this node",
                )


def _login(machine: Machine, desired: DesiredState) -> Iterator[tuple[str, str]]:
    account = desired.settings.get("account")
    if account is None or not account.has_password:
        return
    try:
        rules = read_sshd_rules(machine, account.username)
    except WizardError as error:
        yield N_("Login"), f"cannot determine whether sshd accepts passwords: {error}"
        return
    if rejects_passwords(rules):
        line = deciding_line(machine, "PasswordAuthentication", "no")
        place = f" ({line.path}:{line.line})" if line is not None else ""
        yield (
            N_("Login"),
            (
                f"sshd rejects the password of {account.username}: PasswordAuthentication no{place}. In"
                " /etc/ssh/sshd_config.d the first value read wins, such as that of"
                " 50-cloud-init.conf or 60-cloudimg-settings.conf"
            ),
        )
