"""Whether those who will write to a mounted volume can: tried by children that become them."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from bai_wizard.core.errors import CannotTell
from bai_wizard.core.machine import Machine
from bai_wizard.core.view import NodeView
from bai_wizard.steps import volume_touch
from bai_wizard.steps.owner import ids_of
from bai_wizard.steps.volume_words import cannot_write

# Seconds a share may take for a few small calls before it counts as not answering.
TOUCH_DEADLINE = 8.0


def touch(machine: Machine, *arguments: str, deadline: float = TOUCH_DEADLINE) -> dict[str, object]:
    """What `volume_touch` tells. Raises CannotTell when the volume does not answer in time."""
    program = [sys.executable, "-I", "-S", volume_touch.__file__, *arguments]
    completed = machine.look(program, deadline=deadline)
    if completed.code != 0:
        raise CannotTell(f"{arguments[1]}: {completed.err.strip()[-200:] or 'the probe ended without an answer'}")
    answer: dict[str, object] = json.loads(completed.out)
    return answer


def refusal_of_writers(machine: Machine, path: str, writers: Sequence[str], looked: dict[str, object]) -> str:
    """Why one of `writers` (accounts, or `uid:gid`) cannot write to a volume; empty where all can.

    `looked` is what `touch` told of the directory.
    """
    for who in dict.fromkeys(writers):
        uid, gid = writer_ids(machine, who)
        answer = touch(machine, "write", path, str(uid), str(gid))
        if "errno" in answer:
            return cannot_write(path, who, uid, gid, looked, str(answer["text"]))
        if answer["uid"] != uid:
            return (
                f"what {who} ({uid}) writes to {path} belongs to uid {answer['uid']} there: the server maps users "
                "(all_squash, or NFSv4 names). Have the export keep numeric ids"
            )
    return ""


def writer_ids(view: NodeView, who: str) -> tuple[int, int]:
    """The ids of an account, or of `uid:gid`."""
    uid, colon, gid = who.partition(":")
    return (int(uid), int(gid)) if colon else ids_of(view, who)
