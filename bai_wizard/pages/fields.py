"""What the settings of every page are made of: the base models, the field helper, and where a secret comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, NamedTuple, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    PlainValidator,
    SerializationInfo,
    Strict,
    Tag,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError, PydanticUndefined

from bai_wizard.core.secret import MASK, Secret
from bai_wizard.pages.values import AbsolutePath, EnvironmentName, check_password_hash

T = TypeVar("T")

# A list in the file, a tuple in the settings, which are frozen.
Many = Annotated[tuple[T, ...], Strict(False)]

# Tags of unions stand in the place of an error; this mark tells them from keys of the file.
TAG = "="


class Conflict(NamedTuple):
    """Values that do not go together. `at` is the path of the key to point at, relative to the settings it is in.

    `because` names the other keys that the judgement rests on: where one of them is wrong in itself, this is
    not reported.
    """

    at: tuple[str | int, ...]
    reason: str
    because: tuple[str, ...] = ()


class SettingsPart(BaseModel):
    """A table within a table: types are exact, unknown keys are refused, values never stand in an error's text."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        defer_build=True,
        use_attribute_docstrings=False,
    )

    def conflicts(self) -> Iterator[Conflict]:
        """What is wrong with values that are right one by one."""
        return iter(())

    @model_validator(mode="after")
    def _refuse_conflicts(self) -> Self:
        found = tuple(self.conflicts())
        if found:
            reason = "; ".join(conflict.reason for conflict in found)
            raise PydanticCustomError("conflicts", "{reason}", {"reason": reason, "conflicts": found})
        return self


class SettingsTable(SettingsPart):
    """A table of the answers. Present and not `apply = false` means: bring this about on the node."""

    apply: bool = Field(
        True,
        title="Apply",
        description="False: the node is left alone, the table's values still serve the other pages.",
    )


def field(
    default: Any = PydanticUndefined,
    *,
    help: str,
    label: str = "",
    unit: str = "",
    choices: Mapping[str, str] | None = None,
    example: object = None,
    factory: Callable[[], Any] | None = None,
    **limits: Any,
) -> Any:
    """A field of the settings; without `default` and `factory` it must be given.

    `help` is one or two sentences that serve the help panel, the schema, the commented answers file and the
    README. `example` is a whole value of the field. `choices` says for each word what it means. `unit` is shown
    behind the value. `limits` are pydantic's own (`ge`, `le`, `min_length`, `max_length`).
    """
    extra: dict[str, Any] = {}
    if unit:
        extra["x-unit"] = unit
    if choices:
        extra["x-choices"] = dict(choices)
    if example is not None:
        extra["examples"] = [example]
    known: dict[str, Any] = {"default_factory": factory} if factory else {"default": default}
    return Field(title=label or None, description=help, json_schema_extra=extra or None, **known, **limits)


def duplicates(values: tuple[object, ...]) -> Iterator[int]:
    """The places of values that have stood before."""
    return (place for place, value in enumerate(values) if value in values[:place])


class Note(NamedTuple):
    """What is told about a field. `default` is meaningless where `required`."""

    name: str
    label: str
    help: str
    unit: str
    choices: Mapping[str, str]
    example: object
    required: bool
    default: Any


def notes(settings: type[BaseModel]) -> tuple[Note, ...]:
    """The notes of all fields in the order in which they are shown; `apply` comes first."""
    told = []
    for name, info in settings.model_fields.items():
        extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
        choices = extra.get("x-choices")
        examples = extra.get("examples")
        told.append(
            Note(
                name=name,
                label=info.title or name.replace("_", " ").capitalize(),
                help=info.description or "",
                unit=str(extra.get("x-unit", "")),
                choices={key: str(text) for key, text in choices.items()} if isinstance(choices, dict) else {},
                example=examples[0] if isinstance(examples, list) else None,
                required=info.is_required(),
                default=None if info.is_required() else info.get_default(call_default_factory=True),
            )
        )
    return tuple(told)


class PromptSecret(SettingsPart):
    """Asked for at the screen, shown as stars."""

    prompt: Literal[True] = field(help="Ask for it at the screen. A headless run refuses this, for nobody is there.")


class EnvSecret(SettingsPart):
    """In an environment variable of the wizard."""

    env: EnvironmentName = field(help="The name of the environment variable that holds it.", example="BAI_PASSWORD")


class FileSecret(SettingsPart):
    """On the first line of a file."""

    file: AbsolutePath = field(
        help="A file whose first line is the secret: a regular file of yours or of root's, at most 4 KiB.",
        example="/root/bai.password",
    )


def _source(value: object) -> str | None:
    """The tag of a secret source; None (an error) unless exactly one of the three ways is named."""
    if isinstance(value, PromptSecret | EnvSecret | FileSecret):
        value = value.model_dump()
    named = [key for key in ("prompt", "env", "file") if isinstance(value, dict) and key in value]
    return TAG + named[0] if len(named) == 1 else None


SecretSource = Annotated[
    Annotated[PromptSecret, Tag("=prompt")] | Annotated[EnvSecret, Tag("=env")] | Annotated[FileSecret, Tag("=file")],
    Discriminator(
        _source,
        custom_error_type="secret_source",
        custom_error_message="a secret is never written here; say where it comes from, as exactly one of"
        ' { prompt = true }, { env = "NAME" } or { file = "/path" }',
    ),
]


def _keep(value: Secret, info: SerializationInfo) -> str:
    """The clear text only with the context `{"reveal": True}`: the run directory, a saved answers file."""
    return value.reveal() if (info.context or {}).get("reveal") else MASK


# A crypt(5) hash. It must not be shown, so it is a Secret from the moment it is read.
PasswordHash = Annotated[
    Secret,
    PlainValidator(check_password_hash),
    PlainSerializer(_keep, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^\$(y|gy|7|2[aby]|6|5)\$[^\s:!*]+$"}),
]
