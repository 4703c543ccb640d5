"""Convert structs of plain values to JSON and back, using their type hints.

A struct with a `kind` class attribute is written with it and decoded through the union that contains it. Bytes and
secrets go through hooks, because a journal keeps them as backups and a screen shows them masked. Why this is not
`msgspec.to_builtins` and `msgspec.convert`: docs/adr/0008-own-codec.md.
"""

from __future__ import annotations

import types
import typing
from base64 import b64decode, b64encode
from collections.abc import Callable
from enum import Enum
from functools import cache
from typing import Any

from msgspec import NODEFAULT, Struct

from bai_wizard.core.secret import MASK, Secret
from bai_wizard.core.state import Key, Registered


def bytes_to_json(data: bytes) -> str:
    """Return readable text for UTF-8 data (`text:…`), otherwise `base64:…`."""
    try:
        return "text:" + data.decode()
    except UnicodeDecodeError:
        return "base64:" + b64encode(data).decode()


def bytes_from_json(text: str) -> bytes:
    """The inverse of `bytes_to_json`. Raises ValueError for any other form."""
    form, _, body = text.partition(":")
    if form == "text":
        return body.encode()
    if form == "base64":
        return b64decode(body, validate=True)
    raise ValueError(f"not bytes: {form!r}")


class Codec(Struct, frozen=True):
    """How bytes and secrets are written and read; everything else is the same for all codecs."""

    encode_bytes: Callable[[bytes], str] = bytes_to_json
    decode_bytes: Callable[[str], bytes] = bytes_from_json
    write_secret: Callable[[Secret], str] = lambda _secret: MASK
    read_secret: Callable[[str], Secret] = Secret

    def encode(self, value: Any) -> Any:
        """Return `value` as JSON values. Raises TypeError if it is not plain data."""
        if value is None or isinstance(value, str | int | float | bool):
            return value.value if isinstance(value, Enum) else value
        if isinstance(value, Secret):
            return self.write_secret(value)
        if isinstance(value, bytes):
            return self.encode_bytes(value)
        if isinstance(value, Struct):
            omitted = _omitted(type(value))
            body = {
                name: self.encode(item)
                for name in value.__struct_fields__
                if (item := getattr(value, name)) != omitted.get(name, NODEFAULT)
            }
            kind = getattr(type(value), "kind", None)
            return {"kind": kind, **body} if kind else body
        if isinstance(value, Enum):
            return value.value
        if isinstance(value, Key):
            return str(value)
        if isinstance(value, dict):
            return {str(key): self.encode(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.encode(item) for item in value]
        raise TypeError(f"not plain data: {type(value).__name__}")

    def decode(self, hint: Any, data: Any) -> Any:
        """Return `data` as an instance of the type `hint`. Raises ValueError or TypeError if they do not match."""
        origin = typing.get_origin(hint)
        if origin in (types.UnionType, typing.Union):
            return self._decode_union(typing.get_args(hint), data)
        if origin is typing.Literal:
            if data not in typing.get_args(hint):
                raise ValueError(f"{data!r} is not one of {typing.get_args(hint)}")
            return data
        if origin is tuple:
            return self._decode_tuple(typing.get_args(hint), data)
        if origin in (list, frozenset):
            (item,) = typing.get_args(hint)
            return origin(self.decode(item, element) for element in data)
        if origin is dict:
            key, item = typing.get_args(hint)
            return {self.decode(key, name): self.decode(item, element) for name, element in data.items()}
        return self._decode_plain(hint, data)

    def _decode_plain(self, hint: Any, data: Any) -> Any:
        if hint is Any:
            return data
        if hint is Secret:
            return self.read_secret(data)
        if hint is bytes:
            return self.decode_bytes(data)
        if hint is Key:
            return _key_from_json(data)
        if isinstance(hint, type) and issubclass(hint, Struct):
            return self._decode_struct(hint, data)
        if isinstance(hint, type) and issubclass(hint, Enum):
            return hint(data)
        if hint is float and isinstance(data, int) and not isinstance(data, bool):
            return float(data)
        if isinstance(hint, type) and type(data) is hint:
            return data
        if hint is type(None) and data is None:
            return None
        raise TypeError(f"expected {hint}, found {type(data).__name__}")

    def _decode_tuple(self, hints: tuple[Any, ...], data: Any) -> tuple[Any, ...]:
        if len(hints) == 2 and hints[1] is Ellipsis:
            return tuple(self.decode(hints[0], element) for element in data)
        return tuple(self.decode(hint, element) for hint, element in zip(hints, data, strict=True))

    def _decode_union(self, hints: tuple[Any, ...], data: Any) -> Any:
        if data is None and type(None) in hints:
            return None
        if isinstance(data, dict) and "kind" in data:
            for hint in hints:
                if getattr(hint, "kind", None) == data["kind"]:
                    return self.decode(hint, data)
        for hint in hints:
            try:
                return self.decode(hint, data)
            except (TypeError, ValueError, KeyError):
                continue
        raise ValueError(f"{data!r} matches none of {hints}")

    def _decode_struct(self, cls: type[Struct], data: Any) -> Any:
        if not isinstance(data, dict):
            raise TypeError(f"expected {cls.__name__}, found {type(data).__name__}")
        kind = getattr(cls, "kind", None)
        if kind is None and issubclass(cls, Registered):
            if data.get("kind") not in cls.kinds:
                raise ValueError(f"unknown kind of {cls.__name__.lower()}: {data.get('kind')!r}")
            return self._decode_struct(cls.kinds[data["kind"]], data)
        if kind is not None and data.get("kind") != kind:
            raise ValueError(f"expected kind {kind!r}, found {data.get('kind')!r}")
        hints = _hints(cls)
        return cls(**{name: self.decode(hints[name], item) for name, item in data.items() if name in hints})


def _key_from_json(data: Any) -> Key:
    if not isinstance(data, str) or ":" not in data:
        raise ValueError(f"not a key: {data!r}")
    kind, _, name = data.partition(":")
    return Key(kind, name)


@cache
def _hints(cls: type[Struct]) -> dict[str, Any]:
    resolved = typing.get_type_hints(cls)
    return {name: resolved[name] for name in cls.__struct_fields__}


@cache
def _omitted(cls: type[Struct]) -> dict[str, Any]:
    """Return the defaults of the fields that are written only if they differ from them."""
    defaults = dict(zip(reversed(cls.__struct_fields__), reversed(cls.__struct_defaults__), strict=False))
    return {name: defaults[name] for name in getattr(cls, "omitted_if_default", ())}


# For output and logs: secrets are masked. Decoding gives masked secrets, so never apply the result.
SHOWN = Codec()
# For the run directory (mode 0600, owned by root): the plan with its password hashes.
KEPT = Codec(write_secret=lambda secret: secret.reveal())
