"""Write answers: TOML in which every field has its help text, and only non-default values are uncommented."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from bai_wizard import pages
from bai_wizard.answers.model import VERSION, dotted
from bai_wizard.answers.validate import validate
from bai_wizard.core.errors import WizardError
from bai_wizard.core.machine import NodeView
from bai_wizard.core.page import Context
from bai_wizard.core.parse import json_object, whole
from bai_wizard.core.paths import volume_type
from bai_wizard.core.state import Account
from bai_wizard.pages.account.steps import is_passwordless
from bai_wizard.pages.aliases.steps import MARKERS
from bai_wizard.pages.fields import FieldInfo, SettingsPart, SettingsTable, dump, hints_of, parts_of
from bai_wizard.pages.storage.kinds import KINDS
from bai_wizard.pages.storage.options import type_of
from bai_wizard.steps.files import find_blocks
from bai_wizard.steps.hosts_lines import VIRTUAL, parse_line

WIDTH = 100

_HEAD = """\
Answers for bai-wizard: the desired state of a node for Backend.AI. Tables that are present are
applied unless they contain apply = false; what absent tables describe is not changed. Lines with `#`
and a key show the default. `bai-wizard check FILE` validates the file, and `bai-wizard --headless
FILE --plan` shows the planned changes."""

_OVERRIDES = """\
Several nodes can share this file. The tables of an override are merged over the others on nodes
whose short or full names match. Lists are replaced as a whole."""


def answers_text() -> str:
    """The commented answers file that `bai-wizard answers` prints: everything shown, nothing applied."""
    return render(None)


def answers_from(view: NodeView) -> str:
    """The answers file that describes this node as far as it can be read: `bai-wizard answers --from-node`."""
    read = from_node(view)
    return render(read.tables, ("Read back from this node.", *read.remarks))


def render(tables: Mapping[str, SettingsTable | Mapping[str, Any]] | None, remarks: Sequence[str] = ()) -> str:
    """The file. Loading it gives the same settings; without `tables`, every table is commented out.

    A table that is not valid yet is written as plain values; loading the file reports its problems.
    A password hash is written in clear, as intended: give the file the mode 0600. `remarks` are written at the top.
    """
    lines = [*_comment(_HEAD), *(line for remark in remarks for line in ("#", *_comment(remark)))]
    lines += ["", f"version = {VERSION}"]
    for table in pages.TABLES:
        settings = (tables or {}).get(table)
        values = None if settings is None else _given(dump(settings))
        lines += ["", *_table(table, pages.settings_of(table), values)]
    lines += ["", *_comment(_OVERRIDES), "#[[override]]", '#hosts = ["bai-a*"]', "#[override.node]"]
    return "\n".join([*lines, '#roles = ["compute"]']) + "\n"


def _given(value: Any) -> Any:
    """Plain values for TOML, which has no null: None means "not given" and is left out."""
    if isinstance(value, Mapping):
        return {key: _given(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_given(item) for item in value if item is not None]
    return value


def _table(name: str, model: type[SettingsPart], values: Mapping[str, Any] | None) -> Iterator[str]:
    """A table with its header. `values` are the non-default ones; None: the table is commented out."""
    off = "" if values is not None else "#"
    yield from _comment((model.__doc__ or "").splitlines()[0])
    yield f"{off}[{name}]"
    inner = []
    hints = hints_of(model)
    for info in model.infos.values():
        parts = parts_of(hints[info.name])
        if "" in parts and hints[info.name] == parts[""] | None:
            inner.append((info, parts[""]))
            continue
        yield from _help(info, parts)
        if values is not None and info.name in values:
            yield f"{info.name} = {_toml(values[info.name])}"
        else:
            yield f"#{info.name} = {_inline(_shown_default(info))}"
    for info, part in inner:
        yield ""
        yield from _comment(info.help)
        yield from _table(f"{name}.{info.name}", part, (values or {}).get(info.name))


def _shown_default(info: FieldInfo) -> Any:
    """The default, or else an example."""
    if info.default is None:
        return info.example if info.example is not None else []
    return _given(dump(info.default, defaults=True))


def _help(info: FieldInfo, parts: Mapping[str, type[SettingsPart]]) -> Iterator[str]:
    text = info.help + (f" Unit: {info.unit}." if info.unit else "")
    yield from _comment(text)
    for word, meaning in info.choices.items():
        yield from _comment(f"{word}: {meaning}", "    ")
    if info.default in ((), {}, "") and info.example is not None:
        yield from _comment(f"Example: {_inline(info.example)}", "    ")
    shared = [set(part.infos) for part in parts.values()]
    common = set.intersection(*shared) - {"type"} if len(shared) > 1 else set()
    lines: set[str] = set()
    for index, (word, part) in enumerate(parts.items()):
        inner = part.infos
        if index == 0:
            yield from _parts((inner[key] for key in inner if key in common), lines)
        if "type" in inner:
            yield from _comment(f'type = "{word}": {inner["type"].help}', "    ")
        yield from _parts((inner[key] for key in inner if key not in common and key != "type"), lines)


def _parts(inner: Iterator[FieldInfo], lines: set[str]) -> Iterator[str]:
    """The keys of a table within a field; help texts that have already been printed are not repeated."""
    for info in inner:
        if info.name + info.help in lines:
            continue
        lines.add(info.name + info.help)
        default = "" if info.default is None or info.choices else f" Default: {_inline(_shown_default(info))}."
        choices = "".join(f" {word or _inline(word)}: {meaning}." for word, meaning in info.choices.items())
        yield from _comment(f"{info.name}: {info.help}{choices}{default}", "      ")


def _comment(text: str, indent: str = "") -> list[str]:
    wrapped = textwrap.wrap(
        text,
        WIDTH,
        initial_indent=f"# {indent}",
        subsequent_indent=f"# {indent}{'  ' if indent else ''}",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return wrapped or ["#"]


def _toml(value: Any) -> str:
    """A value on the right-hand side of `=`; tables are inline, lists of tables have one line per table."""
    import tomlkit

    if isinstance(value, dict):
        pairs = (f"{tomlkit.key(key).as_string()} = {_toml(item)}" for key, item in _ordered(value).items())
        inner = ", ".join(pairs)
        return "{ " + inner + " }" if inner else "{}"
    if isinstance(value, list | tuple):
        if value and all(isinstance(item, dict) for item in value):
            return "[\n" + "".join(f"  {_toml(item)},\n" for item in value) + "]"
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return str(tomlkit.item(value).as_string())


def _inline(value: Any) -> str:
    """A value on one line."""
    return " ".join(line.strip() for line in _toml(value).splitlines()).replace(", ]", " ]")


def _ordered(value: dict[str, Any]) -> dict[str, Any]:
    """Put the keys that identify a table first."""
    first: dict[str, Any] = {key: value[key] for key in ("name", "type") if key in value}
    return {**first, **value}


# Read answers back from a node: what `answers --from-node` fills in, using typed reads only.
#
# What a node cannot reveal (roles, the source of a password, settings that have left no trace) keeps its default. A
# failed read only loses its own value, and is reported at the top of the file.

VFROOT = "/vfroot"
SYSCTL_FILES = ("/etc/sysctl.d/99-backendai.conf", "/etc/sysctl.d/99-backend-ai.conf")


class FromNode(Struct, frozen=True):
    """The tables that could be determined from the node, and messages on what could not be read or does not fit."""

    tables: Mapping[str, SettingsTable]
    remarks: tuple[str, ...] = ()


def from_node(view: NodeView) -> FromNode:
    """Read the node. Never raises for what cannot be read: that becomes a remark."""
    remarks: list[str] = []
    account = _operation_account(view)
    readers: dict[str, Callable[[], dict[str, Any] | None]] = {
        "account": lambda: _account(view, account),
        "docker": lambda: _docker(view, account, remarks),
        "tuning": lambda: _tuning(view),
        "python": lambda: _python(view, account),
        "aliases": lambda: _aliases(view),
        "storage": lambda: _storage(view),
    }
    tables: dict[str, SettingsTable] = {}
    for table, read in readers.items():
        try:
            plain = read()
        except WizardError as error:
            remarks.append(f"[{table}] could not be read: {error}")
            continue
        if plain is not None:
            tables |= _fitting(table, plain, remarks)
    return FromNode(tables, tuple(remarks))


def _fitting(table: str, plain: dict[str, Any], remarks: list[str]) -> dict[str, SettingsTable]:
    """The table without the values that answers cannot hold."""
    settings, problems = validate(table, plain)
    for problem in problems:
        remarks.append(f"{dotted(problem.path)} of this node was left out: it {problem.reason}")
    if settings is None:
        wrong = {str(problem.path[1]) for problem in problems if len(problem.path) > 1}
        settings, _ = validate(table, {key: value for key, value in plain.items() if key not in wrong})
    return {table: settings} if settings is not None else {}


def _operation_account(view: NodeView) -> Account | None:
    """The account with the manual's UID, otherwise the one with its name."""
    usual = Context()
    accounts = view.accounts()
    by_uid = [account for account in accounts if account.uid == usual.uid]
    return next(iter(by_uid), None) or view.account(usual.account)


def _account(view: NodeView, account: Account | None) -> dict[str, Any] | None:
    if account is None:
        return None
    plain: dict[str, Any] = {"username": account.name, "uid": account.uid, "gid": account.gid, "shell": account.shell}
    if not account.local:
        plain["source"] = "directory"
    if account.home != f"/home/{account.name}":
        plain["home"] = account.home
    member_of = [group.name for group in view.groups() if view.is_member(account.name, group.name)]
    plain["groups"] = [name for name in member_of if name not in ("sudo", "docker", account.name)]
    plain["sudo"] = _sudo(view, account, "sudo" in member_of)
    if plain["sudo"] == "password" and account.local:
        plain["password"] = {"prompt": True}
    return plain


def _sudo(view: NodeView, account: Account, in_group: bool) -> str:
    for name in view.names("/etc/sudoers.d"):
        if is_passwordless(view.text(f"/etc/sudoers.d/{name}") or "", account.name, account.uid):
            return "nopasswd"
    return "password" if in_group else "no"


def _docker(view: NodeView, account: Account | None, remarks: list[str]) -> dict[str, Any] | None:
    if view.package("docker-ce") is not None:
        plain: dict[str, Any] = {"source": "docker-ce"}
    elif view.package("docker.io") is not None:
        plain = {"source": "distro"}
    else:
        return None
    group = view.group("docker")
    users = [user.name for user in view.accounts() if group and view.is_member(user.name, "docker")]
    if users != [account.name if account else ""]:
        plain["users"] = users
    text = view.text("/etc/docker/daemon.json")
    if text:
        try:
            plain |= _daemon(json_object(text))
        except (ValueError, AttributeError, TypeError):
            remarks.append("/etc/docker/daemon.json is not valid JSON and was not used")
    return plain


def _daemon(daemon: dict[str, Any]) -> dict[str, Any]:
    """The settings for the keys of daemon.json that the wizard knows."""
    names = {
        "registry-mirrors": "registry_mirrors",
        "insecure-registries": "insecure_registries",
        "data-root": "data_root",
        "default-address-pools": "address_pools",
    }
    plain = {name: daemon[key] for key, name in names.items() if key in daemon}
    options = daemon.get("log-opts", {})
    log: dict[str, Any] = {"driver": daemon["log-driver"]} if "log-driver" in daemon else {}
    if "max-size" in options:
        log["max_size"] = str(options["max-size"])
    if str(options.get("max-file", "")).isdecimal():
        log["max_file"] = whole(options["max-file"])
    return plain | ({"log": log} if log else {})


def _tuning(view: NodeView) -> dict[str, Any] | None:
    """The parameters in our file, regardless of the profile that they came from."""
    texts = [text for path in SYSCTL_FILES if (text := view.text(path)) is not None]
    if not texts:
        return None
    values: dict[str, int | str] = {}
    for line in "\n".join(texts).splitlines():
        key, sign, value = (part.strip() for part in line.partition("="))
        if sign and not key.startswith(("#", ";")):
            plain = value.strip("\"'")
            values[key.lstrip("-")] = whole(plain) if re.fullmatch(r"-?[0-9]{1,18}", plain) else plain
    return {"sysctl": values}


def _python(view: NodeView, account: Account | None) -> dict[str, Any] | None:
    if account is None:
        return None
    result = view.names(f"{account.home}/.static-python/versions")
    versions = [name for name in result if re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", name)]
    if not versions:
        return None
    services = [name for name in view.names(account.home) if ".venv" in view.names(f"{account.home}/{name}")]
    newest = max(versions, key=lambda name: [whole(part) for part in name.split(".")])
    return {"version": newest, "venvs": [{"service": name} for name in services]}


def _aliases(view: NodeView) -> dict[str, Any] | None:
    blocks = find_blocks(view.text("/etc/hosts") or "", MARKERS)
    if not blocks:
        return None
    hosts: dict[str, dict[str, Any]] = {}
    for line in (line for block in blocks for line in block.lines):
        parsed = parse_line(0, line)
        if parsed is None:
            continue
        remark = line.partition("#")[2].strip()
        host = hosts.setdefault(str(parsed.address), {"ip": str(parsed.address), "names": []})
        host["names"] += [name for name in parsed.names if name not in host["names"]]
        if remark.endswith(VIRTUAL):
            host["virtual"] = True
        if remark.removesuffix(VIRTUAL).strip():
            host["comment"] = remark.removesuffix(VIRTUAL).strip()
    return {"hosts": list(hosts.values())}


def _storage(view: NodeView) -> dict[str, Any] | None:
    volumes = list(_volumes(view))
    return {"volumes": volumes} if volumes else None


def _volumes(view: NodeView) -> Iterator[dict[str, Any]]:
    for name in view.names(VFROOT):
        path = f"{VFROOT}/{name}"
        entry = view.entry(path)
        if entry is None or entry.type != "directory":
            continue
        mount = view.mount(path)
        if mount is None:
            yield {"name": name, "type": "local", "mode": f"{entry.mode:04o}"}
        elif (kind := volume_type(mount.fstype)) and (known := type_of(kind)).shows_options:
            read = KINDS[kind].answers if kind in KINDS else None
            result = read(mount) if read else {} if known.mounts_itself else {"source": mount.source}
            yield {"name": name, "type": "existing"} if result is None else {"name": name, "type": kind, **result}
        else:
            yield {"name": name, "type": "existing"}
