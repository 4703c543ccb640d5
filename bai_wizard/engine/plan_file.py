"""A plan file: a plan without secrets that can be approved elsewhere and applied later, exactly as it is, or refused.

Its digest is the SHA-256 of the file. It contains the settings from which the node is planned again. Values that are
secrets themselves, such as password hashes, are withheld: the answers file provides them when the plan is applied,
and a verifier detects that they have changed. The contents of files with secrets are not part of a plan.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct, convert
from msgspec.structs import replace

from bai_wizard import __version__
from bai_wizard.core.codec import SHOWN
from bai_wizard.core.errors import PreflightError
from bai_wizard.core.machine import Machine
from bai_wizard.core.operation import admits
from bai_wizard.core.secret import redacted
from bai_wizard.core.step import Pending, Plan, PlannedStep
from bai_wizard.engine.durable import MALFORMED, json_bytes
from bai_wizard.engine.recovery import records_of
from bai_wizard.engine.signature import read_trusted
from bai_wizard.node.actor import Actor, current_actor

FORMAT = "bai-wizard-plan"
VERSION = 1
_VERIFIER = re.compile(r"scrypt:[A-Za-z0-9+/]{22}==:[A-Za-z0-9+/]{43}=", re.ASCII)
# The plan of a bare node is about 300 kB.
LARGEST = 64 << 20


class PlanFile(Struct, frozen=True):
    """`settings` are as in `DesiredState.to_json`, `withheld` maps the paths of their secrets to verifiers.

    `machine`: machine-id and release of the node, as in a run. `answers` is the file that the settings are from.
    """

    plan: dict[str, Any]
    settings: dict[str, Any]
    withheld: dict[str, str]
    machine: dict[str, str]
    answers: str
    planned: str
    planned_by: dict[str, Any]
    wizard: str
    digest: str = ""
    signed_by: str = ""

    def shown_plan(self) -> Plan:
        """The plan with its secrets masked: to be shown and compared, never to be applied."""
        try:
            return Plan.from_json(self.plan, SHOWN)
        except (*MALFORMED, ValueError) as error:
            raise PreflightError(f"the plan cannot be read by this version; plan again: {error}") from error

    def approval(self, approved_by: str, ticket: str) -> dict[str, Any]:
        """What a run of this plan records about its origin."""
        return {
            "plan_file": self.digest,
            "planned": self.planned,
            "planned_by": self.planned_by,
            "approved_by": approved_by,
            "ticket": ticket,
            "signed_by": self.signed_by,
        }


def make_plan_file(plan: Plan, settings: Mapping[str, Any], machine: Machine, answers: str) -> tuple[bytes, str]:
    """The content of a plan file, and its digest. `answers` is the absolute path of the answers, or empty."""
    shown, withheld = _without_secrets(dict(settings))
    document = {
        "format": FORMAT,
        "version": VERSION,
        "wizard": __version__,
        "planned": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "planned_by": current_actor(machine).to_json(),
        "machine": records_of(machine),
        "answers": answers,
        "settings": shown,
        "withheld": withheld,
        "plan": shown_json(plan),
    }
    data = json_bytes(document)
    return data, hashlib.sha256(data).hexdigest()


def shown_json(plan: Plan) -> dict[str, Any]:
    """A plan as JSON values without secrets.

    Fingerprints of secrets are removed: a short secret could be found by trying, and each hash of a password differs.
    """
    result: dict[str, Any] = redacted(plan.to_json())
    for planned in result["steps"]:
        for change in planned["verdict"].get("changes", ()):
            change["token"] = ""
    return result


def without_secrets(plan: Plan) -> Plan:
    """The plan as it is in a plan file: to be shown and compared, never to be applied."""
    return Plan.from_json(shown_json(plan), SHOWN)


def with_less(approved: Plan, now: Plan) -> Plan:
    """The approved plan, except that steps which would do only a part of it now are those of the new plan.

    Both are without secrets. A step whose changes were not all known may do more within its scope, as when it is
    applied.
    """
    planned = {item.step.id: item for item in now.steps}
    steps = ((item, planned.get(item.step.id, item)) for item in approved.steps)
    return replace(approved, steps=tuple(will if _does_less(was, will) else was for was, will in steps))


def _does_less(was: PlannedStep, will: PlannedStep) -> bool:
    """Whether a step makes no change that was not approved; its definition may depend on what is done already."""
    if not isinstance(will.verdict, Pending):
        return True
    if not isinstance(was.verdict, Pending):
        return False
    scope = was.step.scope() if was.verdict.is_partial else ()
    return all(
        change in was.verdict.changes
        or (change.key is not None and admits(scope, change.key, creates=change.verb == "create"))
        for change in will.verdict.changes
    ) and (not will.verdict.is_partial or all(part in scope for part in will.step.scope()))


def unsigned(data: bytes) -> str:
    """No signature is required."""
    return ""


def read_plan_file(path: str, digest: str = "", signer: Callable[[bytes], str] = unsigned) -> PlanFile:
    """Read a plan file. Raises PreflightError if it is not one, is not the one with `digest`, or is not trusted.

    Root reads no file that other users can change. `signer` returns who signed the content (empty if no
    signature is required), or raises PreflightError.
    """
    data = read_trusted(path, LARGEST, "a plan file")
    signed_by = signer(data)
    actual = hashlib.sha256(data).hexdigest()
    if digest and digest.lower() != actual:
        raise PreflightError(f"{path} is not the plan with this digest: its SHA-256 is {actual}; nothing was changed")
    try:
        return _decode(json.loads(data), actual, signed_by)
    except (*MALFORMED, ValueError, RecursionError) as error:
        raise PreflightError(f"{path} is not a plan file of `--plan -o`: {error}") from error


def _decode(document: Any, digest: str, signed_by: str) -> PlanFile:
    if document["format"] != FORMAT or document["version"] != VERSION:
        raise ValueError(f"{document['format']!r} version {document['version']!r}, expected {FORMAT!r} {VERSION}")
    file = convert({**document, "digest": digest, "signed_by": signed_by}, PlanFile)
    convert(file.planned_by, Actor)
    if not file.withheld.keys() <= dict(_leaves(file.settings)).keys():
        raise ValueError("a withheld value has no place in the settings")
    if not all(_VERIFIER.fullmatch(verifier) for verifier in file.withheld.values()):
        raise ValueError("a verifier of a withheld value is malformed")
    return file


def _without_secrets(settings: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The settings with their secrets masked, and a verifier for each of them by its path."""
    shown: dict[str, Any] = redacted(settings)
    clear, masked = dict(_leaves(settings)), dict(_leaves(shown))
    if clear.keys() != masked.keys():
        raise PreflightError("a plan file contains no secrets, and a key of these answers contains one: rename it")
    withheld = {path: _verifier(value, os.urandom(16)) for path, value in clear.items() if value != masked[path]}
    return shown, withheld


def with_secrets(shown: dict[str, Any], withheld: Mapping[str, str], source: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a plan file with the values that it withholds, taken from the settings of the answers.

    Raises PreflightError for each value that the answers do not have any more.
    """
    result: dict[str, Any] = json.loads(json.dumps(shown))
    values = dict(_leaves(source))
    changed = [path for path, verifier in withheld.items() if not _is_verified(values.get(path), verifier)]
    if changed:
        names = ", ".join(".".join(map(str, json.loads(path)[1:])) for path in changed)
        raise PreflightError(f"nothing was changed: the answers no longer have the values of the plan: {names}")
    for path in withheld:
        *above, last = json.loads(path)
        inner: Any = result
        for key in above:
            inner = inner[key]
        inner[last] = values[path]
    return result


def _leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every value that is not a table or list, by its path as JSON."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(inner, (*path, key))
    else:
        yield json.dumps(path), value


def _verifier(value: Any, salt: bytes) -> str:
    """A salted hash that is as slow to try as one in /etc/shadow: the value may be a short password."""
    hashed = hashlib.scrypt(str(value).encode(errors="surrogatepass"), salt=salt, n=1 << 14, r=8, p=1, dklen=32)
    return f"scrypt:{b64encode(salt).decode()}:{b64encode(hashed).decode()}"


def _is_verified(value: Any, verifier: str) -> bool:
    return value is not None and _verifier(value, b64decode(verifier.split(":")[1])) == verifier
