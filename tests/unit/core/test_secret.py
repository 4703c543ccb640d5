"""Secrets are redacted in every form in which programs print them, and redaction keeps the surrounding format."""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bai_wizard.core.event import Event
from bai_wizard.core.secret import MASK, Secret, redact, redacted
from bai_wizard.engine.events import EventLog
from bai_wizard.engine.result import Result, StepResult

FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON with Unicode": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "JSON in JSON": lambda text: json.dumps(json.dumps(text))[1:-1],
    "percent": lambda text: quote(text, safe="", errors="surrogatepass"),
    "percent in small letters": lambda text: re.sub(
        "%..", lambda match: match.group().lower(), quote(text, safe="", errors="surrogatepass")
    ),
    "percent as in a path": lambda text: quote(text, errors="surrogatepass"),
    "percent of a form": lambda text: quote_plus(text, errors="surrogatepass"),
    "HTML": html.escape,
    "shell": shlex.quote,
    "backslashes": lambda text: "".join(f"\\{each}" if each in " \"'\\$`&|;()<>*?[]{}!#~" else each for each in text),
    "Python": lambda text: repr(text)[1:-1],
    "Base64": lambda text: base64.b64encode(text.encode("utf-8", "surrogatepass")).decode(),
    "Base64 of a login": lambda text: base64.b64encode(f"bai:{text}".encode("utf-8", "surrogatepass")).decode(),
    "hexadecimal": lambda text: text.encode("utf-8", "surrogatepass").hex(),
}
AWKWARD = (
    'pa"ss\\w0rd',
    "4096",
    "info",
    "true",
    "null",
    "changed",
    "kind",
    "it's <b> & $x",
    "비밀번호",
    "\\\\\\\\",
    "a b+c%",
)
SECRETS = st.one_of(
    st.sampled_from(AWKWARD), st.text(st.characters(exclude_characters="\r\n"), min_size=4, max_size=24)
)


@contextmanager
def known(*secrets: str) -> Iterator[None]:
    """Only these are registered meanwhile."""
    with mock.patch("bai_wizard.core.secret._registered", set()):
        for secret in secrets:
            Secret(secret)
        yield


@given(SECRETS, st.sampled_from(sorted(FORMS)))
@example('pa"ss\\w0rd', "JSON in JSON")
@example("000\x0c", "JSON in JSON")
def test_every_form_is_found(secret: str, form: str) -> None:
    # Where not one byte of Base64 is the secret's alone, it cannot be found.
    with known(secret):
        output = redact(f"«{FORMS[form](secret)}»")
        assert MASK in output or set(secret) <= set(MASK)
        assert secret not in output


@given(SECRETS, st.sampled_from(sorted(FORMS)))
@example("4096", "as it is")
@example("info", "as it is")
@example("true", "as it is")
@example('pa"ss\\w0rd', "as it is")
def test_a_line_of_events_stays_json(secret: str, form: str) -> None:
    text = f"said {FORMS[form](secret)} twice {FORMS[form](secret)}"
    data = {"kind": "x", "code": 4096, "flag": True, "none": None, "steps": [{"text": text, "outcome": "changed"}]}
    event = Event(
        t="2026-01-01T00:00:00Z", run="r", id=4096, kind="log", level="info", text=text, total=4096, data=data
    )
    with known(secret):
        line = event.to_line()
        assert line.isascii()
        assert line.splitlines() == [line[:-1]]
        read = json.loads(line)
        assert secret not in read["text"]
        assert secret not in read["data"]["steps"][0]["text"]
    assert (read["kind"], read["level"], read["id"], read["total"]) == ("log", "info", 4096, 4096)
    assert (read["data"]["code"], read["data"]["flag"]) == (4096, True)
    assert read["data"]["steps"][0]["outcome"] == "changed"
    assert Event.from_json(read).run == "r"


@pytest.mark.parametrize("secret", [*AWKWARD, "failed", "next-login", "reboot", "account.user", "steps", "outcome"])
def test_the_end_of_a_run_can_be_read_back(secret: str, tmp_path: Path) -> None:
    step = StepResult("account.user", f"says {secret}", "failed", "next-login", text=f"{secret} was refused")
    changed = StepResult("node.file", "x", "changed", "reboot")
    result = Result((step, changed), stopped="reboot")
    with known(secret):
        event_log = EventLog(tmp_path / "events.jsonl", "run")
        event_log.emit("summary", data=result.to_json())
        event_log.close()
        (record,) = map(json.loads, (tmp_path / "events.jsonl").read_text().splitlines())
    read = Result.from_json(Event.from_json(record).data or {})
    assert [each.outcome for each in read.steps] == ["failed", "changed"]
    assert read.code() == result.code()
    assert read.waits_for("reboot")[0].step == "node.file"
    assert secret not in read.steps[0].text


def test_a_log_line_with_invalid_utf8_can_be_reported(tmp_path: Path) -> None:
    event_log = EventLog(tmp_path / "events.jsonl", "run")
    event_log.emit("log", "caf\udce9 \u2028 \x1b[2J")
    event_log.close()
    (record,) = map(json.loads, (tmp_path / "events.jsonl").read_text().splitlines())
    assert record["text"] == "caf\udce9 \u2028 \x1b[2J"


def test_each_line_of_a_key_is_a_secret() -> None:
    with known("-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEF\n-----END KEY-----\n"):
        assert redact("tool: MIIEvQIBADANBgkq") == f"tool: {MASK}"


def test_the_rest_of_a_masked_secret_never_forms_another() -> None:
    with known("*aaa", "longer secret", "secret"):
        assert "*aaa" not in redact("*aaaaaaaaa")
        assert redact("a longer secret and a secret") == f"a {MASK} and a {MASK}"


def test_keys_that_are_plain_words_are_kept() -> None:
    with known("steps", "tmp/x"):
        assert redacted({"steps": ["steps"], "/tmp/x": 1}) == {"steps": [MASK], f"/{MASK}": 1}


def test_hostile_lines_are_searched_in_time() -> None:
    with known('\\"\\"\\"\\"', "' ' ' ' '", "&&&&;;;;", "a" * 64, "%%%%5c"):
        begun = time.process_time()
        for piece in ("\\", "'", '"', "&#", "%5c", "a", "\\x5c", " "):
            redact(piece * (200_000 // len(piece)))
        assert time.process_time() - begun < 8


def test_of_secrets_that_begin_alike_the_longest_is_masked() -> None:
    with known("correct", "correct-horse", "correct-horse-battery"):
        assert redact("as correct-horse-battery!") == f"as {MASK}!"
        assert redact("as correct-horse, correct") == f"as {MASK}, {MASK}"
