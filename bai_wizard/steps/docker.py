"""Docker's daemon: daemon.json, service, socket and certificates of registries."""

from __future__ import annotations

import re
from collections.abc import Iterator
from posixpath import dirname
from typing import Any, ClassVar

from msgspec import Struct

from bai_wizard.core.errors import KnownAfterApply, StateUnknown, StepBlocked, StepFailed
from bai_wizard.core.machine import NodeView
from bai_wizard.core.operation import Missing, Operation, Scope, above
from bai_wizard.core.page import Absent, Fact, Unknown
from bai_wizard.core.parse import Malformed, json_value, toml_table, whole
from bai_wizard.core.paths import DOCKER_SOCKET as SOCKET
from bai_wizard.core.paths import refuse_system
from bai_wizard.core.state import Entry, command_key, file_key
from bai_wizard.core.step import Interrupt, Node, Step, Unchanged
from bai_wizard.resources.commands import RunCommand
from bai_wizard.resources.files import MakeDirectory, RemovePath, Validator, WriteFile
from bai_wizard.resources.units import RestartUnit
from bai_wizard.steps.docker_flags import Flag, config_file, flags, set_twice
from bai_wizard.steps.json_merge import edit, parse
from bai_wizard.steps.services import Service, assignments

DAEMON_JSON = "/etc/docker/daemon.json"
ENGINES = ("docker-ce", "docker.io")
OPTIONS = "log-opts"
# The first engine with `dockerd --validate` (release notes of 23.0).
VALIDATES_SINCE = 23


class Default(Struct, frozen=True):
    """Keys (as JSON text) that are set only if none of `unless` is set, in the file or by a flag of the unit."""

    unless: tuple[str, ...]
    keys: str


class DockerConfig(Step, frozen=True, kw_only=True):
    """Merge `wanted`, an object as JSON text, and the `defaults` into daemon.json.

    Objects are merged key by key and lists extended by missing items; the keys in `replace` are replaced as a whole.
    """

    kind: ClassVar[str] = "docker-config"
    wanted: str
    defaults: tuple[Default, ...] = ()
    replace: tuple[str, ...] = ()
    path: str = DAEMON_JSON

    def describe(self) -> str:
        keys = [*json_value(self.wanted), *(key for default in self.defaults for key in json_value(default.keys))]
        return f"{self.path}: {', '.join(keys) or 'check the syntax'}"

    def scope(self) -> tuple[Scope, ...]:
        return (file_key(self.path), Missing(file_key(dirname(self.path))))

    def operations(self, view: NodeView) -> Iterator[Operation]:
        existing = view.entry(self.path)
        if existing is not None and existing.type != "file":
            raise StepBlocked(f"{self.path} is a {existing.type}; replace it by a regular file, then try again")
        old = view.text(self.path) or ""
        result = parse(old, self.path)
        self._refuse_other_file(config_file(view))
        given = flags(view)
        wanted = self._wanted(result, {flag.key for flag in given})
        wanted = _with_other_runtimes(view, result, wanted)
        root = wanted.get("data-root")
        if isinstance(root, str) and root != result.get("data-root"):
            # dockerd changes the mode of its data directory.
            refuse_system(view, root, "docker.data_root", store=True)
        new = edit(old, wanted, self.path, replace=(*self.replace, *_of_another_driver(result, wanted)))
        self._refuse_flags(set_twice(given, parse(new, self.path)))
        if new == old:
            return
        if view.entry(dirname(self.path)) is None:
            yield MakeDirectory(dirname(self.path))
        owner = existing or Entry("file", 0, 0, 0o644)
        yield WriteFile(
            self.path, new.encode(errors="backslashreplace"), owner.uid, owner.gid, owner.mode, _validator(view)
        )

    def _wanted(self, result: dict[str, Any], given: set[str]) -> dict[str, Any]:
        wanted: dict[str, Any] = json_value(self.wanted)
        for default in self.defaults:
            if not any(key in result or key in wanted or key in given for key in default.unless):
                wanted |= json_value(default.keys)
        if OPTIONS not in result and not wanted.get(OPTIONS):
            wanted.pop(OPTIONS, None)
        return wanted

    def _refuse_other_file(self, flag: Flag | None) -> None:
        if flag is not None and flag.value != self.path:
            raise StepBlocked(
                f"{flag.path} starts dockerd with {flag.flag}={flag.value}, so Docker does not read {self.path}."
                f" Remove the flag from {flag.path}"
            )

    def _refuse_flags(self, twice: tuple[Flag, ...]) -> None:
        for flag in twice:
            raise StepBlocked(
                f"{flag.path} starts dockerd with {flag.flag}, and Docker does not start if {self.path} sets"
                f" {flag.key!r} as well. Remove the flag from {flag.path}, or the setting from {self.path} and from"
                " the answers"
            )


# Where dockerd finds a program without a directory: systemd's PATH of services, merged with /usr.
PROGRAMS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


def _with_other_runtimes(view: NodeView, present: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """Return `wanted` with the runtimes that mean the same as `present` has them, which needs no restart."""
    old, new = present.get("runtimes"), wanted.get("runtimes")
    if not isinstance(old, dict) or not isinstance(new, dict):
        return wanted
    left = {name: entry for name, entry in new.items() if not _same_runtime(view, old.get(name), entry)}
    for name in left:
        if isinstance(old.get(name), dict) and old[name].get("runtimeType"):
            raise StepBlocked(
                f"{DAEMON_JSON} has a runtime {name!r} with a runtimeType, which Docker does not accept together with"
                " a path. Remove that entry, then try again"
            )
    kept = {name: old[name] for name in new if name not in left}
    return {**wanted, "runtimes": {**left, **kept}}


def _same_runtime(view: NodeView, old: Any, new: dict[str, Any]) -> bool:
    """Whether both entries start the same program; arguments are the site's. `options` are those of containerd."""
    if not isinstance(old, dict):
        return False
    # Go compares the names of fields without regard to case, and does not know `args`.
    fields = {str(key).lower(): value for key, value in old.items() if value}
    for arguments in ("args", "runtimeargs"):
        fields.pop(arguments, None)
    options = fields.get("options")
    if fields.get("runtimetype") == "io.containerd.runc.v2" and isinstance(options, dict):
        fields = {"path": options.get("BinaryName")} if list(options) == ["BinaryName"] else {}
    path, wanted = fields.pop("path", None), str(new.get("path", ""))
    if fields or not isinstance(path, str) or new.get("args"):
        return False
    directory, _, name = path.rpartition("/")
    if path == wanted:
        return True
    found = "/" not in wanted and name == wanted and directory in PROGRAMS
    return found and (directory in ("/usr/bin", "/bin") or view.entry(path) is not None)


def _of_another_driver(result: dict[str, Any], wanted: dict[str, Any]) -> tuple[str, ...]:
    """Return the keys to replace if the log driver changes.

    Docker does not start with log options that the driver does not know.
    """
    before = result.get("log-driver", "json-file")
    return (OPTIONS,) if wanted.get("log-driver", before) != before else ()


def _validator(view: NodeView) -> Validator:
    for name in ENGINES:
        package = view.package(name)
        if package is not None:
            return "dockerd" if engine_major(package.version) >= VALIDATES_SINCE else ""
    return ""


def engine_major(version: str) -> int:
    """Return 28 for `5:28.5.1-1~debian.13~trixie`; 0 if the text is not a version."""
    match = re.match(r"(?:\d+:)?(\d+)", version)
    return whole(match[1]) if match else 0


class DockerService(Service, frozen=True, kw_only=True):
    """Like any service, but restores the old daemon.json if the daemon fails to start with a changed one.

    That way the containers run again. `before` is the text before the plan, empty if the file did not exist; None if
    it cannot be restored. `warned` is a warning about the engine; it is shown with the plan and changes nothing.
    """

    kind: ClassVar[str] = "docker-service"
    unit: str = "docker.service"
    interrupts: tuple[Interrupt, ...] = ("docker.restart",)
    before: str | None = None
    config: str = DAEMON_JSON
    warned: str = ""

    def warnings(self) -> tuple[str, ...]:
        return (self.warned,) if self.warned else ()

    def scope(self) -> tuple[Scope, ...]:
        return (*super().scope(), file_key(self.config))

    def note(self, view: NodeView) -> Unchanged:
        return Unchanged(f"please check: {self.warned}" if self.warned else "")

    def apply(self, node: Node) -> None:
        """Raise StepFailed with the daemon's reason, after restoring the old daemon.json if possible."""
        try:
            super().apply(node)
        except StepFailed as failure:
            error = StepFailed(start_failure(self.unit, str(failure)))
            now = node.view.entry(self.config)
            if self.before is None or now is None or now.content == self.before.encode():
                raise error from failure
            old = WriteFile(self.config, self.before.encode(), now.uid, now.gid, now.mode)
            node.do(old if self.before else RemovePath(self.config))
            try:
                node.do(RestartUnit(self.unit, f"{self.config} was restored"))
            except StepFailed as second:
                raise StepFailed(
                    f"{error}. {self.config} was restored, but Docker does not start with it either:"
                    f" {start_failure(self.unit, str(second))}"
                ) from second
            raise StepFailed(
                f"{error}. {self.config} was restored and Docker runs with it. Correct the answers, then try again"
            ) from failure


# dockerd's last message before it gives up (moby, daemon/command); otherwise its last line of level error or fatal.
_REASONS = (
    re.compile(r"dockerd\[\d+\]: ((?:failed to start daemon|unable to configure the Docker daemon).*)"),
    re.compile(r'level=(?:fatal|error) msg="((?:[^"\\]|\\.)*)"'),
)


def start_failure(unit: str, output: str) -> str:
    """Explain why the daemon does not start, using its journal; the run's log has the full output."""
    for pattern in _REASONS:
        result = pattern.findall(output)
        if result:
            return f"{unit} does not start: {result[-1]}"
    return output


SOCKET_UNIT = "/etc/systemd/system/docker.socket"
CLOSE = ("chmod", "0660", SOCKET)
GIVE = ("chown", "root:docker", SOCKET)
STAYS = f"{SOCKET} remains closed to other users"


class DockerSocket(Step, frozen=True, kw_only=True):
    """Close the socket of a running engine to other users: anyone who can write to it is effectively root."""

    kind: ClassVar[str] = "docker-socket"

    def describe(self) -> str:
        return f"restrict {SOCKET} to root and the docker group"

    def scope(self) -> tuple[Scope, ...]:
        return (file_key(SOCKET), command_key(CLOSE), command_key(GIVE))

    def operations(self, view: NodeView) -> Iterator[Operation]:
        existing = view.entry(SOCKET)
        group = view.group("docker")
        if existing is None or existing.type != "other" or group is None:
            return
        for path, mode in socket_modes(view):
            if mode & 0o007 or not mode & 0o060:
                raise StepBlocked(
                    f"{path} sets SocketMode={mode:04o}: after the next start, every user, or root only, could use"
                    " Docker. Remove that line, then try again"
                )
        if (existing.uid, existing.gid) != (0, group.gid):
            yield RunCommand(GIVE, f"give {SOCKET} to the group docker", touches=(SOCKET,), stays=STAYS)
        if existing.mode & 0o777 != 0o660:
            yield RunCommand(CLOSE, f"close {SOCKET} to other users", touches=(SOCKET,), stays=STAYS)


def socket_modes(view: NodeView) -> list[tuple[str, int]]:
    """Return the modes that the unit's local files set, by file; systemd's default is 0666."""
    drop_ins = [f"{SOCKET_UNIT}.d/{name}" for name in view.names(f"{SOCKET_UNIT}.d") if name.endswith(".conf")]
    result = []
    for path in (SOCKET_UNIT, *drop_ins):
        entry = view.entry(path)
        content = entry.content if entry is not None else None
        result += [(path, _mode(value)) for value in assignments(content or b"", "Socket", "SocketMode")]
    return result


def _mode(text: str) -> int:
    """Parse a mode in octal digits; systemd ignores anything else and uses its default."""
    try:
        return whole(text, 8)
    except Malformed:
        return 0o666


CERTS = "/etc/docker/certs.d"
PEM = "-----BEGIN CERTIFICATE-----"


class RegistryAuthority(Step, frozen=True, kw_only=True):
    """Write `text` (PEM) to certs.d for `host`. Empty if it could not be obtained; `missing` explains why."""

    kind: ClassVar[str] = "registry-authority"
    host: str
    text: str
    missing: str = ""

    @property
    def path(self) -> str:
        """The path that Docker reads; this needs no restart."""
        return f"{CERTS}/{self.host}/ca.crt"

    def describe(self) -> str:
        return f"{self.path}: CA certificate of {self.host}"

    def scope(self) -> tuple[Scope, ...]:
        return (file_key(self.path), *above(self.path))

    def operations(self, view: NodeView) -> Iterator[Operation]:
        if PEM not in self.text:
            raise StepBlocked(
                f"CA certificate of {self.host}: {self.missing or 'its file contains no PEM certificate'}"
            )
        for directory in (dirname(CERTS), CERTS, dirname(self.path)):
            if view.entry(directory) is None:
                yield MakeDirectory(directory)
        yield WriteFile(self.path, self.text.encode())


def why_missing(text: Fact[str]) -> str:
    """Explain why the file was not read; empty if it was."""
    if isinstance(text, Unknown):
        return text.reason
    return "its file does not exist" if isinstance(text, Absent) else ""


CONFIG = "/etc/containerd/config.toml"
ROOT = "/var/lib/containerd"
SNAPSHOTS = "io.containerd.snapshotter.v1.overlayfs/snapshots"


def content_root(view: NodeView) -> str:
    """Return `root` from containerd's configuration, or its default. Raises StateUnknown if it cannot be read."""
    text = view.text(CONFIG) or ""
    root = toml_table(text, CONFIG).get("root") if "root" in text else None
    return root.rstrip("/") if isinstance(root, str) and root.startswith("/") else ROOT


def likely_content_root(view: NodeView) -> str:
    """Return the directory to measure free space in: containerd's default if the configuration cannot be read."""
    try:
        return content_root(view)
    except (StateUnknown, KnownAfterApply):
        return ROOT
