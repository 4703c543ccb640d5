"""The consequences of a plan: its size, disruptions, and what undo cannot revert; shared by all front ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from msgspec import Struct

from bai_wizard.core.consent import Affected, Disruptions, Interrupt
from bai_wizard.core.step import Pending, Plan, PlannedStep, Sizes
from bai_wizard.locale import N_, ntr, tr
from bai_wizard.ui.durations import about, download_seconds, size_text, usual_seconds

DISRUPTS: dict[Interrupt, str] = {
    "docker.restart": N_("restarts Docker"),
    "gpu.reload": N_("reloads the GPU driver"),
    "umount": N_("unmounts a file system"),
}


Kind = Literal["steps", "time", "download", "disk", "disruption", "later", "undo"]


class Part(NamedTuple):
    """One part of the consequences: a short text, a heading, and details, one per line."""

    kind: Kind
    text: str
    heading: str
    details: tuple[str, ...] = ()


class Item(NamedTuple):
    """A pending step with what it needs: bytes and seconds."""

    planned: PlannedStep
    sizes: Sizes
    seconds: float

    @property
    def title(self) -> str:
        return tr(self.planned.step.describe())


class Consequences(Struct, frozen=True):
    """Without `disruptions`, it is not known yet what would be interrupted."""

    items: tuple[Item, ...] = ()
    disruptions: Disruptions | None = None

    @property
    def seconds(self) -> float:
        """The estimated duration of all steps."""
        return sum(item.seconds for item in self.items)

    @property
    def sizes(self) -> Sizes:
        """The sum of all steps."""
        every = [item.sizes for item in self.items]
        complete = all(sizes.is_complete for sizes in every)
        return Sizes(sum(sizes.download for sizes in every), sum(sizes.disk for sizes in every), complete)

    @property
    def lasting(self) -> tuple[Item, ...]:
        """The steps that undo does not revert, or not completely."""
        return tuple(item for item in self.items if _lasting(item))

    @property
    def is_partial(self) -> bool:
        """Whether the full effect of some steps becomes known only during the run."""
        return any(
            isinstance(item.planned.verdict, Pending) and item.planned.verdict.is_partial for item in self.items
        )

    def parts(self) -> tuple[Part, ...]:
        """The known parts, the most general first."""
        if not self.items:
            return ()
        return (self._steps(), self._time(), *self._bytes(), *self._interruptions(), *self._later(), self._undo())

    def notes(self) -> list[str]:
        """What to know before applying, in a few lines: slow steps, downloads, delayed effects, undo."""
        slow = sorted((item for item in self.items if item.seconds >= SLOW), key=lambda item: -item.seconds)
        known = [
            f"{brief(item.title)} ({size_text(item.sizes.download)})" for item in self.items if item.sizes.download
        ]
        unknown = sum(1 for item in self.items if not item.sizes.is_complete)
        if known and unknown:
            known.append(ntr("{count} step of unknown size", "{count} steps of unknown size", unknown))
        lists = {
            tr("Slow steps"): [f"{brief(item.title)} ({about(item.seconds)})" for item in slow],
            tr("Downloads"): known,
            **{part.heading: [brief(text) for text in part.details] for part in self._later()},
            tr("Kept by undo"): list(self._undo().details),
        }
        return [f"{heading}: {'; '.join(texts)}" for heading, texts in lists.items() if texts]

    def line(self) -> str:
        """All parts in one line."""
        return SEPARATOR.join(part.text for part in self.parts())

    def to_json(self) -> dict[str, Any]:
        """JSON values for programs."""
        sizes, at = self.sizes, {effect: self._ids(effect) for effect in ("next-login", "reboot")}
        return {
            "steps": len(self.items),
            "seconds": round(self.seconds),
            "download_bytes": sizes.download,
            "disk_bytes": sizes.disk,
            "sizes_are_complete": sizes.is_complete,
            "next_login": at["next-login"],
            "reboot": at["reboot"],
            "lasting": [item.planned.step.id for item in self.lasting],
        }

    def _ids(self, effect: str) -> list[str]:
        return [item.planned.step.id for item in self.items if effect_of(item) == effect]

    def _steps(self) -> Part:
        count = len(self.items)
        text = ntr("{count} step", "{count} steps", count)
        return Part("steps", text, tr("Steps"), tuple(item.title for item in self.items))

    def _time(self) -> Part:
        slow = sorted((item for item in self.items if item.planned.step.is_slow), key=lambda item: -item.seconds)
        lines = tuple(f"{about(item.seconds)}  {item.title}" for item in slow)
        return Part("time", about(self.seconds), tr("Slow steps"), lines)

    def _bytes(self) -> Iterator[Part]:
        sizes = self.sizes
        more = "" if sizes.is_complete else "+"
        if sizes.download:
            lines = [f"{size_text(item.sizes.download)}  {item.title}" for item in self.items if item.sizes.download]
            lines += [tr("unknown: {what}", what=item.title) for item in self.items if not item.sizes.is_complete]
            text = tr("{size} download", size=size_text(sizes.download) + more)
            yield Part("download", text, tr("Downloads"), tuple(lines))
        if sizes.disk:
            lines = [f"{size_text(item.sizes.disk)}  {item.title}" for item in self.items if item.sizes.disk]
            text = tr("{size} disk", size=size_text(sizes.disk) + more)
            yield Part("disk", text, tr("Disk space while it is unpacked"), tuple(lines))

    def _interruptions(self) -> Iterator[Part]:
        declared: dict[Interrupt, None] = dict.fromkeys(
            what for item in self.items for what in item.planned.step.interrupts
        )
        for what in declared:
            affected = () if self.disruptions is None else self.disruptions.get(what, ())
            steps = tuple(
                tr("by: {step}", step=item.title) for item in self.items if what in item.planned.step.interrupts
            )
            if self.disruptions is None:
                yield Part("disruption", tr(DISRUPTS[what]), tr(DISRUPTS[what]), steps)
            elif affected:
                from bai_wizard.ui.workloads import workload_lines

                names = workload_lines(affected) or tuple(item.name for item in affected)
                text = f"{tr(DISRUPTS[what])}: {number_of(what, affected)}"
                yield Part("disruption", text, tr(DISRUPTS[what]), names + steps)

    def _later(self) -> Iterator[Part]:
        for effect, text, heading in (
            ("next-login", tr("new login later"), tr("Takes effect at next login")),
            ("reboot", tr("reboot later"), tr("Takes effect after a reboot")),
        ):
            lines = tuple(item.title for item in self.items if effect_of(item) == effect)
            if lines:
                yield Part("later", text, heading, lines)

    def _undo(self) -> Part:
        lasting = self.lasting
        more = "+" if self.is_partial else ""
        lines = list(dict.fromkeys(tr(text) for item in lasting for text in _lasting(item)))
        if self.is_partial:
            lines.append(tr("What some steps change, and whether undo reverts it, is known only during the run."))
        text = tr("undo: all but {count}", count=f"{len(lasting)}{more}") if lasting or more else tr("undo: all")
        return Part("undo", text, tr("Kept by undo"), tuple(lines))


SEPARATOR = " · "
# The review names steps that are expected to take at least this many seconds.
SLOW = 30.0


def brief(title: str) -> str:
    """A step's title without the list at its end: the names of packages, images or settings."""
    return title.partition(": ")[0]


def _lasting(item: Item) -> tuple[str, ...]:
    verdict = item.planned.verdict
    return verdict.lasting if isinstance(verdict, Pending) else ()


def effect_of(item: Item) -> str:
    """When a step takes effect; a step that is completed by a reboot counts as needing one."""
    verdict = item.planned.verdict
    return "reboot" if isinstance(verdict, Pending) and verdict.after_reboot else item.planned.step.effect


def consequences_of(
    plan: Plan, disruptions: Disruptions | None = None, history: Mapping[str, float] | None = None
) -> Consequences:
    """The consequences of a plan. `history`: how many seconds steps last took on this node, by their ids."""
    items = (Item(planned, sizes_of(planned), expected_seconds(planned, history or {})) for planned in plan.pending())
    return Consequences(tuple(items), disruptions)


def sizes_of(planned: PlannedStep) -> Sizes:
    """The download size and disk space of a planned step."""
    verdict = planned.verdict
    return planned.step.sizes([change.key for change in verdict.changes]) if isinstance(verdict, Pending) else Sizes()


def expected_seconds(planned: PlannedStep, history: Mapping[str, float]) -> float:
    """The estimated duration of a planned step: by its download, its last run on this node, or its kind."""
    if size := sizes_of(planned).download:
        return download_seconds(size)
    return history.get(planned.step.id) or usual_seconds(planned.step)


def number_of(what: Interrupt, affected: tuple[Affected, ...]) -> str:
    """How many sessions, containers or processes are affected."""
    sessions = {item.session.id for item in affected if item.session}
    if sessions:
        others = sum(1 for item in affected if not item.session)
        text = ntr("{count} session", "{count} sessions", len(sessions))
        return f"{text}, {ntr('{count} other', '{count} others', others)}" if others else text
    if what == "docker.restart" or all(item.id.startswith("container:") for item in affected):
        return ntr("{count} container", "{count} containers", len(affected))
    return ntr("{count} process", "{count} processes", len(affected))
