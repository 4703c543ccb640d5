"""Frozen dataclasses of plain values to JSON and back, by their type hints.

A dataclass with a class attribute `kind` is written with it, and read back through the union it stands in.
Bytes and secrets go through hooks, because a journal keeps them as backups and a screen shows them masked.
"""

from __future__ import annotations

import types
import typing
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any

from bai_wizard.core.secret import MASK, Secret


def bytes_to_json(data: bytes) -> str:
    """Readable where it is text: `text:…`, else `base64:…`."""
    try:
        return "text:" + data.decode()
    except UnicodeDecodeError:
        return "base64:" + b64encode(data).decode()


def bytes_from_json(text: str) -> bytes:
    """The inverse of `bytes_to_json`. Raises ValueError on another form."""
    form, _, body = text.partition(":")
    if form == "text":
        return body.encode()
    if form == "base64":
        return b64decode(body, validate=True)
    raise ValueError(f"not bytes: {form!r}")


class Codec:
    """How bytes and secrets are written and read; everything else is the same for every codec."""

    def __init__(
        self,
        *,
        write_bytes: Callable[[bytes], str] = bytes_to_json,
        read_bytes: Callable[[str], bytes] = bytes_from_json,
        write_secret: Callable[[Secret], str] = lambda _secret: MASK,
        read_secret: Callable[[str], Secret] = Secret,
    ) -> None:
        self._write_bytes = write_bytes
        self._read_bytes = read_bytes
        self._write_secret = write_secret
        self._read_secret = read_secret

    def encode(self, value: Any) -> Any:
        """JSON values of `value`. Raises TypeError on what is not plain data."""
        if value is None or isinstance(value, str | int | float | bool):
            return value.value if isinstance(value, Enum) else value
        if isinstance(value, Secret):
            return self._write_secret(value)
        if isinstance(value, bytes):
            return self._write_bytes(value)
        if is_dataclass(value) and not isinstance(value, type):
            body = {field.name: self.encode(getattr(value, field.name)) for field in fields(value)}
            kind = getattr(type(value), "kind", None)
            return {"kind": kind, **body} if kind else body
        if isinstance(value, Enum):
            return value.value
        if isinstance(value, dict):
            return {str(key): self.encode(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.encode(item) for item in value]
        raise TypeError(f"not plain data: {type(value).__name__}")

    def decode(self, hint: Any, data: Any) -> Any:
        """`data` as the type `hint` says. Raises ValueError or TypeError where they do not fit."""
        origin = typing.get_origin(hint)
        if origin in (types.UnionType, typing.Union):
            return self._decode_union(typing.get_args(hint), data)
        if origin is typing.Literal:
            if data not in typing.get_args(hint):
                raise ValueError(f"{data!r} is none of {typing.get_args(hint)}")
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
            return self._read_secret(data)
        if hint is bytes:
            return self._read_bytes(data)
        if isinstance(hint, type) and is_dataclass(hint):
            return self._decode_dataclass(hint, data)
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
        raise ValueError(f"{data!r} fits none of {hints}")

    def _decode_dataclass(self, cls: type, data: Any) -> Any:
        if not isinstance(data, dict):
            raise TypeError(f"expected {cls.__name__}, found {type(data).__name__}")
        kind = getattr(cls, "kind", None)
        if kind is not None and data.get("kind") != kind:
            raise ValueError(f"expected kind {kind!r}, found {data.get('kind')!r}")
        hints = _hints(cls)
        return cls(**{name: self.decode(hints[name], item) for name, item in data.items() if name in hints})


@cache
def _hints(cls: type) -> dict[str, Any]:
    resolved = typing.get_type_hints(cls)
    return {field.name: resolved[field.name] for field in fields(cls)}


# What may be shown or logged: secrets are masked. Reading it back gives masked secrets, so never apply from it.
SHOWN = Codec()
# What stays in the run directory (0600, root's): the plan with its password hashes.
KEPT = Codec(write_secret=lambda secret: secret.reveal())
