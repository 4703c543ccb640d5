"""The building blocks of all settings: base classes, the field helper and sources of secrets."""

from __future__ import annotations

import typing
from collections.abc import Callable, Hashable, Iterator, Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, dataclass_transform

import msgspec

from bai_wizard.core.secret import Secret
from bai_wizard.pages.values import (
    AbsolutePath,
    Argument,
    Check,
    CredentialName,
    EnvironmentName,
    check_password_hash,
)

T = TypeVar("T")

# A list in the file, a tuple in the settings, which are immutable.
Many = tuple[T, ...]


class Conflict(NamedTuple):
    """Values that contradict each other. `path` is the key to report, relative to the settings containing it.

    `depends_on` names the other keys involved: if one of them is invalid by itself, the conflict is not reported.
    """

    path: tuple[str | int, ...]
    message: str
    depends_on: tuple[str, ...] = ()


class FieldInfo(NamedTuple):
    """The metadata of a field. `limits` are its `ge`, `le`, `min_length` and `max_length`."""

    name: str
    label: str
    help: str
    unit: str
    choices: Mapping[str, str]
    example: object
    limits: Mapping[str, int]
    factory: Callable[[], Any] | None

    @property
    def required(self) -> bool:
        """Whether the field has no default."""
        return self.factory is None

    @property
    def default(self) -> Any:
        """The default; None if the field is required."""
        return self.factory() if self.factory else None


def field(
    default: Any = msgspec.NODEFAULT,
    *,
    help: str,
    label: str = "",
    unit: str = "",
    choices: Mapping[str, str] | None = None,
    example: object = None,
    factory: Callable[[], Any] | None = None,
    **limits: int,
) -> Any:
    """Define a field of the settings; without `default` and `factory` it is required.

    `help` is one or two sentences, used in the help panel, the schema, the commented answers file and the README.
    `example` is a complete value of the field. `choices` maps each word to its meaning. `unit` is shown after the
    value. `limits` are `ge`, `le`, `min_length` and `max_length`.
    """
    if default is not msgspec.NODEFAULT:
        factory = default.copy if isinstance(default, dict) else lambda: default
    return FieldInfo("", label, help, unit, choices or {}, example, limits, factory)


@dataclass_transform(kw_only_default=True, frozen_default=True)
class _SettingsMeta(msgspec.StructMeta):
    """Collects the metadata of the fields, and leaves their defaults to msgspec."""

    infos: Mapping[str, FieldInfo]

    def __new__(mcls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> _SettingsMeta:
        infos: dict[str, FieldInfo] = {}
        for base in reversed(bases):
            infos |= getattr(base, "infos", {})
        for key, value in list(namespace.items()):
            if isinstance(value, FieldInfo):
                infos[key] = value._replace(name=key, label=value.label or key.replace("_", " ").capitalize())
                namespace[key] = msgspec.field(default_factory=value.factory) if value.factory else msgspec.field()
        cls = super().__new__(mcls, name, bases, namespace, kw_only=True, frozen=True, forbid_unknown_fields=True)
        cls.infos = infos
        return cls


class SettingsPart(msgspec.Struct, metaclass=_SettingsMeta):
    """A table within a table. The constructor does not validate; `answers.validate` does."""

    def conflicts(self) -> Iterator[Conflict]:
        """Yield conflicts between values that are valid individually."""
        return iter(())


class SettingsTable(SettingsPart):
    """A table of the answers. If it is present without `apply = false`, it is applied to the node."""

    apply: bool = field(
        True, label="Apply", help="false: do not change the node, but let other pages use these values."
    )


@lru_cache(128)
def hints_of(model: type[SettingsPart]) -> Mapping[str, Any]:
    """The type hints of the fields, with the checks in their annotations."""
    return typing.get_type_hints(model, include_extras=True)


def dump(value: Any, *, defaults: bool = False) -> Any:
    """The plain values of settings as in the answers file, with hashes in clear; without `defaults`, only others."""
    if isinstance(value, SettingsPart):
        items = ((info, getattr(value, name)) for name, info in type(value).infos.items())
        return {
            info.name: dump(item, defaults=defaults)
            for info, item in items
            if defaults or info.required or item != info.default
        }
    if isinstance(value, Mapping):
        return {key: dump(item, defaults=defaults) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [dump(item, defaults=defaults) for item in value]
    return value.reveal() if isinstance(value, Secret) else value


def parts_of(hint: Any) -> dict[str, type[SettingsPart]]:
    """The settings classes in a hint by the `type` that selects them; a single class is under an empty name.

    Includes those in lists and tables, but not the sources of secrets.
    """
    if isinstance(hint, type) and issubclass(hint, SettingsPart):
        if issubclass(hint, SecretReference):
            return {}
        return {typing.get_args(hints_of(hint)["type"])[0] if "type" in hint.infos else "": hint}
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is Annotated:
        arguments = arguments[:1]
    return {word: part for argument in arguments for word, part in parts_of(argument).items()}


def duplicates(values: tuple[Hashable, ...]) -> Iterator[int]:
    """Yield the indexes of repeated values."""
    seen: set[Hashable] = set()
    for index, value in enumerate(values):
        if value in seen:
            yield index
        seen.add(value)


class SecretReference(SettingsPart):
    """Where a secret comes from. Each kind has one key, which identifies it."""


class PromptSecret(SecretReference):
    """Asked for on the screen, shown as asterisks."""

    prompt: Literal[True] = field(help="Prompt for it, hidden. A headless run refuses this: it cannot prompt.")


class EnvSecret(SecretReference):
    """In an environment variable of the wizard."""

    env: EnvironmentName = field(help="The name of the environment variable that holds it.", example="BAI_PASSWORD")


class FileSecret(SecretReference):
    """On the first line of a file."""

    file: AbsolutePath = field(
        help="A file whose first line is the secret: a regular file of at most 4 KiB, owned by you or root.",
        example="/root/bai.password",
    )


class CommandSecret(SecretReference):
    """On the first line that a program prints."""

    command: Many[Argument] = field(
        help="A program with its arguments, run without a shell. It must exit with 0 within 15 seconds. Only"
        " you or root may be able to change it. The arguments are not secret.",
        example=["/usr/local/sbin/read-secret", "bai"],
        min_length=1,
    )

    def conflicts(self) -> Iterator[Conflict]:
        if self.command and not self.command[0].startswith("/"):
            yield Conflict(("command", 0), "must be the absolute path of a program")


class CredentialSecret(SecretReference):
    """On the first line of a systemd credential."""

    credential: CredentialName = field(
        help="The name of a credential of the systemd unit that runs the wizard (LoadCredential=, SetCredential=).",
        example="bai-password",
    )


SecretSource = PromptSecret | EnvSecret | FileSecret | CommandSecret | CredentialSecret

# A crypt(5) hash. It must not be shown, and is therefore a Secret as soon as it is read.
PasswordHash = Annotated[
    Secret, Check(check_password_hash, {"type": "string", "pattern": r"^\$(y|gy|7|2[aby]|6|5)\$[^\s:!*]+$"})
]
