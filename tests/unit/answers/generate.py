"""Generates thousands of answers files from a seed: mutated fixtures, values under random keys, excessive sizes."""

from __future__ import annotations

import random
import typing
from typing import Any

from bai_wizard.pages import TABLES, settings_of
from bai_wizard.pages.fields import SettingsPart, hints_of
from tests.unit.answers.hostile import CASES
from tests.unit.answers.paths import BAD, GOOD

FIXTURES = [path.read_bytes() for path in sorted([*GOOD.glob("*.toml"), *BAD.glob("*.toml")])]
SIGNS = b"""[ ] [[ ]] { } = == . , " ' # \\ \\u nan -inf 0x 1e999 1979-05-27 24:00:00 true a.a.a.a password ../..
/ $(id) [override] %s%n"""
TOKENS = [
    *SIGNS.split(),
    *(b'"""', b"'''", b"[[override]]\nhosts = ['*']\n", b"apply = false\n"),
    *(b"\n", b"\r", b"\r\n", b"\0", b"\xff", b"\xed\xa0\x80", b"\xe2\x80\xae", b"\x1b[2J", b"\xc2\x9b"),
    *(b"9" * 400, b"9" * 5000, b" " * 300, "한국".encode(), "\U0001f4a9".encode()),
]
WORDS = """a / * ? [ - -- {} %s auto none no nfs local fstab unlimited compute keep set check official bai root /etc
/vfroot/x ../x 10.0.0.1 ::1 fe80::1%eth0 10.0.0.0/8 http://u:p@h:1/ https://[::1]:99999 100m 0755 $y$j9T$a$b 26.4 3.13
harbor.corp:443/x net.core.somaxconn 30000-31000 65536-1 한 \x1b[31m"""
TEXTS = [
    *WORDS.split(),
    *("", " ", "\t", "a b c d e f", "srv:/v /vfroot/v nfs4 hard 0 0", "a\u2028b", "\u202eb"),
    *("ssh-ed25519 " + "A" * 68, "docker.io/library/a:b@sha256:" + "0" * 64, "0" * 64, "a" * 5000),
]
ODD_VALUES = '1 -1 0 true 1.5 nan {} [] [[]] 2026-01-01 12:00:00 0x7fffffffffffffff ""'


def file(seed: str) -> bytes:
    """One file; the same for the same seed."""
    rng = random.Random(seed)
    kind = rng.random()
    if kind < 0.45:
        return mutated(rng, rng.choice(FIXTURES))
    if kind < 0.9:
        text = document(rng).encode("utf-8", "surrogatepass")
        return mutated(rng, text) if rng.random() < 0.2 else text
    if kind < 0.97:
        return mutated(rng, part(rng) * rng.choice([1, 2, 10, 1000, 20_000]))
    case = CASES[rng.choice(sorted(CASES))]()
    return mutated(rng, case if isinstance(case, bytes) else case.encode())


def part(rng: random.Random) -> bytes:
    """A few lines of a fixture."""
    lines = rng.choice(FIXTURES).splitlines(keepends=True) or [b"\n"]
    start = rng.randrange(len(lines))
    return b"".join(lines[start : start + rng.randint(1, 4)])


def mutated(rng: random.Random, data: bytes) -> bytes:
    """With one to six slips: something is put in, cut out, doubled, moved or flipped."""
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(data) + 1)
        length = rng.choice([0, 1, 1, 2, 10, 100])
        slip = rng.random()
        if slip < 0.4:
            data = data[:at] + rng.choice(TOKENS) + data[at + length :]
        elif slip < 0.5:
            data = data[:at] + data[at + length :]
        elif slip < 0.6:
            data = data[:at] + data[at : at + length] * rng.choice([2, 3, 50]) + data[at + length :]
        elif slip < 0.75:
            data = data[:at] + part(rng) + data[at:]
        elif slip < 0.85:
            other = rng.choice(FIXTURES)
            data = data[:at] + other[rng.randrange(len(other) + 1) :]
        elif data:
            at = min(at, len(data) - 1)
            data = data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
    return data


def document(rng: random.Random) -> str:
    """Known keys with values of any sort, some of them as their field wants them."""
    lines = ["version = 1" if rng.random() < 0.95 else f"version = {value(rng, int)}"]
    for _ in range(rng.randint(1, 4)):
        table = rng.choice(TABLES)
        prefix = table
        if rng.random() < 0.15:
            lines += ["[[override]]", f"hosts = [{text(rng.choice(['*', 'bai-a*', 'bai-a01', 'x', '[a-', '?']))}]"]
            prefix = f"override.{table}"
        lines.append(f"[{prefix}]")
        hints = hints_of(settings_of(table))
        for name in rng.sample(sorted(hints), rng.randint(0, min(5, len(hints)))):
            lines.append(f"{name} = {value(rng, hints[name])}")
        if rng.random() < 0.1:
            lines.append(f"{rng.choice(['apply', 'x', 'usrname', 'a.b', text(rng.choice(TEXTS))])} = 1")
    return "\n".join(lines) + "\n"


def text(word: str) -> str:
    """A TOML text."""
    escaped = "".join(c if c >= " " and c not in '"\\' and c != "\x7f" else f"\\u{ord(c):04x}" for c in word)
    return f'"{escaped}"'


def value(rng: random.Random, hint: Any, depth: int = 0) -> str:
    """A value for a field of that type, and now and then one of another."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if rng.random() < 0.12 or depth > 5:
        return rng.choice(
            [
                "1",
                "-1",
                "0",
                "true",
                "1.5",
                "nan",
                "{}",
                "[]",
                "[[]]",
                "2026-01-01",
                "12:00:00",
                "0x7fffffffffffffff",
                '""',
            ]
        )
    if origin is typing.Annotated:
        return value(rng, inner[0], depth)
    if origin is typing.Literal:
        chosen = rng.choice(inner)
        return "true" if chosen is True else text(str(chosen))
    if origin in (tuple, list):
        return "[" + ", ".join(value(rng, inner[0], depth + 1) for _ in range(rng.choice([0, 1, 1, 2, 5]))) + "]"
    if origin is dict:
        pairs = {text(rng.choice(TEXTS)): value(rng, inner[1], depth + 1) for _ in range(rng.randint(0, 3))}
        return "{" + ", ".join(f"{key} = {item}" for key, item in pairs.items()) + "}"
    if inner:
        return value(rng, rng.choice([each for each in inner if each is not type(None)]), depth)
    if isinstance(hint, type) and issubclass(hint, SettingsPart):
        chosen = [name for name, info in hint.infos.items() if info.required or rng.random() < 0.3]
        hints = hints_of(hint)
        return "{" + ", ".join(f"{name} = {value(rng, hints[name], depth + 1)}" for name in chosen) + "}"
    if hint is bool:
        return rng.choice(["true", "false"])
    if hint is int:
        return str(rng.choice([0, 1, -1, 3, 1100, 65535, 65536, 2**31, 2**63 - 1, 2**63, 10**40]))
    return text(rng.choice(TEXTS))
