"""Consent to interrupt running work: it names the affected set it was given for, and it expires.

A word such as `docker.restart` only names the kind of interruption. The consent covers the containers and processes
that were affected when the plan was shown: one started later is not covered, and one that has ended since does not
matter. A container is the same container after a restart; a process is not.

A run has to begin within `TO_BEGIN` seconds of that moment. During the run, the consent covers the interruption for
`TO_DISRUPT` seconds, because a plan may first build an interpreter or a driver, and only while the set has not grown.
Another attempt of the run (`resume`) needs its own consent. Changing the wall clock has no effect on this, time spent
suspended counts, and a reboot invalidates every consent because processes and their IDs are new.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args

from msgspec import Struct
from msgspec.structs import asdict

if TYPE_CHECKING:
    from bai_wizard.core.machine import Machine

# What a step may interrupt on a node in use.
Interrupt = Literal["docker.restart", "gpu.reload", "umount"]
INTERRUPTS: tuple[Interrupt, ...] = get_args(Interrupt)
# What stopping or restarting a unit interrupts.
OF_UNITS: Mapping[str, Interrupt] = {
    "docker.service": "docker.restart",
    "docker.socket": "docker.restart",
    "containerd.service": "docker.restart",
}

TO_BEGIN = 60 * 60.0
TO_DISRUPT = 12 * 60 * 60.0
CONSENT_VERSION = 3


class Moment(Struct, frozen=True):
    """A point in time within one boot: CLOCK_BOOTTIME in seconds and the kernel's boot ID (empty if unknown)."""

    boot: str
    seconds: float

    def age(self, now: Moment) -> float | None:
        """Return the seconds from this moment until `now`; None if they are not known to belong to the same boot."""
        return now.seconds - self.seconds if self.boot and self.boot == now.boot else None


# Before anything was shown: a consent from this moment is never valid.
NEVER = Moment("", 0.0)


class UserSession(Struct, frozen=True):
    """A Backend.AI session. `owner` is an e-mail address, or the ID of a user if that is not known."""

    id: str
    name: str = ""
    owner: str = ""
    project: str = ""


class Affected(Struct, frozen=True):
    """Something that an interruption would affect. `id` identifies it on this node, everything else is for display.

    `since`: when its container was started, in seconds since 1970; 0 if unknown.
    """

    id: str
    name: str
    session: UserSession | None = None
    gpus: tuple[str, ...] = ()
    since: float = 0.0
    image: str = ""


Disruptions = Mapping[Interrupt, tuple[Affected, ...]]


class Consent(Struct, frozen=True):
    """Agreement to one kind of interruption of the listed objects; `given` is when they were read.

    `given`: None if another version of the wizard recorded it in a form that this version does not accept.
    """

    interrupt: Interrupt
    given: Moment | None
    affected: tuple[Affected, ...] = ()
    # How long it covers the interruption, in seconds: longer if the run waits for a window.
    lasts: float = TO_DISRUPT

    def is_valid(self, begun: Moment, now: Moment) -> bool:
        """Whether a run that began at `begun` may still rely on this consent at `now`."""
        if self.given is None:
            return False
        waited, passed = self.given.age(begun), self.given.age(now)
        return waited is not None and passed is not None and 0 <= waited <= TO_BEGIN and 0 <= passed <= self.lasts


def agree(
    disruptions: Disruptions, words: Collection[str], now: Moment, lasts: float = TO_DISRUPT
) -> tuple[Consent, ...]:
    """Return a consent for each interruption in `words`, covering what `disruptions` lists for it.

    The covered set may be empty.
    """
    return tuple(Consent(word, now, disruptions.get(word, ()), lasts) for word in INTERRUPTS if word in words)


def affected_by(machine: Machine, interrupts: Iterable[Interrupt]) -> dict[Interrupt, tuple[Affected, ...]]:
    """Return what each interruption would affect right now; omits those without effect. Raises StateUnknown."""
    result: dict[Interrupt, tuple[Affected, ...]] = {}
    for interrupt in dict.fromkeys(interrupts):
        if affected := machine.disruption(interrupt):
            result[interrupt] = affected
    return result


def uncovered(
    disruptions: Disruptions, consents: Collection[Consent], begun: Moment, now: Moment
) -> dict[Interrupt, tuple[Affected, ...]]:
    """Return the part of `disruptions` that no consent covers. Plans, steps, undo and fixes all use this function."""
    result: dict[Interrupt, tuple[Affected, ...]] = {}
    for interrupt, affected in disruptions.items():
        valid = [each for each in consents if each.interrupt == interrupt and each.is_valid(begun, now)]
        covered = {item.id for each in valid for item in each.affected}
        left = tuple(item for item in affected if item.id not in covered)
        if left:
            result[interrupt] = left
    return result


def refusal(left: Disruptions, consents: Iterable[Consent], begun: Moment, now: Moment) -> str:
    """Explain why the interruptions in `left` are refused; empty if none."""
    given = {consent.interrupt: consent for consent in consents}
    return "; ".join(
        _reason(interrupt, affected, given.get(interrupt), begun, now) for interrupt, affected in left.items()
    )


def _reason(
    interrupt: Interrupt, affected: tuple[Affected, ...], consent: Consent | None, begun: Moment, now: Moment
) -> str:
    if consent is None:
        return f"{interrupt} would interrupt {names_of(affected)}"
    message = f"{interrupt} would interrupt {names_of(affected)}"
    if consent.given is None:
        return (
            f"{message}, and the consent to it was recorded by another version of bai-wizard, so it is not valid here"
        )
    age = consent.given.age(now)
    if age is None:
        return f"{message}, and the consent to it was given before the last reboot, so it has expired"
    if not consent.is_valid(begun, now):
        return f"{message}, and the consent to it, given {ago(age)}, has expired"
    return f"{message}, which the consent given {ago(age)} does not cover"


def ago(seconds: float) -> str:
    """Return a human-readable age."""
    minutes = int(max(0.0, seconds)) // 60
    hours = f"{minutes // 60} h " if minutes >= 60 else ""
    return f"{hours}{minutes % 60} min ago" if minutes else "less than a minute ago"


def names_of(affected: tuple[Affected, ...], limit: int = 8) -> str:
    """Return the names of the affected objects, truncated after `limit`."""
    more = f" and {len(affected) - limit} more" if len(affected) > limit else ""
    return ", ".join(item.name for item in affected[:limit]) + more


def disruptions_to_json(disruptions: Disruptions) -> dict[str, list[dict[str, Any]]]:
    """Return JSON values for output: `{"docker.restart": [{"id": …, "name": …}]}`, with further fields if known."""
    return {what: [_affected_to_json(item) for item in affected] for what, affected in disruptions.items()}


def _affected_to_json(item: Affected) -> dict[str, Any]:
    details: dict[str, Any] = {
        "session": asdict(item.session) if item.session else None,
        "image": item.image,
        "gpus": list(item.gpus),
        "since": item.since,
    }
    return {"id": item.id, "name": item.name, **{name: value for name, value in details.items() if value}}


def consents_to_json(consents: Iterable[Consent]) -> dict[str, Any]:
    """Return JSON values for the run directory."""
    given = [
        {
            "interrupt": each.interrupt,
            "boot": each.given.boot,
            "seconds": each.given.seconds,
            "lasts": each.lasts,
            "affected": [{"id": item.id, "name": item.name} for item in each.affected],
        }
        for each in consents
        if each.given is not None
    ]
    return {"version": CONSENT_VERSION, "given": given}


def consents_from_json(data: object) -> tuple[Consent, ...]:
    """Read the output of `consents_to_json`. For another version, only the fact that there was a consent is known.

    Damaged data counts as no consent, and so does data of version 0.1.0, which recorded words without a set.
    """
    if not isinstance(data, dict):
        return ()
    is_known = data.get("version") == CONSENT_VERSION
    try:
        return tuple(_consent(each) if is_known else Consent(_interrupt(each), None) for each in data["given"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return ()


def _consent(data: Any) -> Consent:
    affected = tuple(Affected(str(item["id"]), str(item["name"])) for item in data["affected"])
    given = Moment(str(data["boot"]), float(data["seconds"]))
    return Consent(_interrupt(data), given, affected, float(data.get("lasts", TO_DISRUPT)))


def _interrupt(data: Any) -> Interrupt:
    return INTERRUPTS[INTERRUPTS.index(data["interrupt"])]
