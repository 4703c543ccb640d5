"""What is known of the node: facts page by page, and the plan that follows from them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from bai_wizard.compose import Wish, packages_of, table_of, wish_from_json
from bai_wizard.core.errors import WizardError
from bai_wizard.core.facts import Asked, Unknown
from bai_wizard.core.machine import Machine
from bai_wizard.core.page import Page, Settings
from bai_wizard.core.plan import Plan
from bai_wizard.engine.plan.planner import PageWork, make_plan
from bai_wizard.engine.run.directory import RunDirectory
from bai_wizard.pages import load
from bai_wizard.wizard.sources import sourced, sourced_to_look

Loader = Callable[[str], Page]


class Survey:
    """Facts are kept until somebody forgets them or asks with other settings. Safe to use from several threads."""

    def __init__(self, machine: Machine, loader: Loader = load) -> None:
        self.machine = machine
        self.page = loader
        self._lock = threading.Lock()
        self._facts: dict[str, tuple[tuple[Settings, Any], Any]] = {}
        self._so_far: dict[str, Any] = {}

    def look(self, name: str, wish: Wish, tell: Callable[[], None] = lambda: None) -> Any:
        """Probes one page, however long that takes, and keeps what it found. Raises WizardError.

        `tell` is called each time when `so_far` says more, for a page that tells its facts one by one.
        """
        asked = sourced_to_look(wish)
        page, settings = self.page(name), asked.settings[table_of(name)]

        def take(facts: Any) -> None:
            self._so_far[name] = facts
            tell()

        if page.probe_telling is not None:
            found = page.probe_telling(self.machine, settings, asked.context, take)
        else:
            found = page.probe(self.machine, settings, asked.context)
        with self._lock:
            self._facts[name] = ((wish.settings[table_of(name)], wish.context), found)
            self._so_far.pop(name, None)
        return found

    def so_far(self, name: str) -> Any | None:
        """What a page knows by now: all of its last look, else what the first one has found until now."""
        found = self.facts(name)
        return self._so_far.get(name) if found is None else found

    def facts(self, name: str) -> Any | None:
        """What the last look at a page found, whatever it was asked with; None before the first."""
        with self._lock:
            kept = self._facts.get(name)
        return kept[1] if kept else None

    def is_fresh(self, name: str, wish: Wish) -> bool:
        """True when a page was looked at with these very settings."""
        with self._lock:
            kept = self._facts.get(name)
        return kept is not None and kept[0] == (wish.settings[table_of(name)], wish.context)

    def forget(self, name: str = "") -> None:
        """Makes the next plan look again: at one page, or at all of them."""
        with self._lock:
            if name:
                self._facts.pop(name, None)
            else:
                self._facts.clear()

    def now(self, name: str) -> tuple[tuple[str, str], ...]:
        """What a page's facts say, as pairs for people; empty before the first look."""
        facts = self.so_far(name)
        return () if facts is None else self.page(name).now(facts)

    def plan(self, wish: Wish) -> Plan:
        """The plan of those pages of the wish that have been looked at. Raises WizardError."""
        wish = sourced(wish)
        self.machine.packages_from = packages_of(wish.context.bundle)
        works = [
            PageWork(self.page(name), wish.settings[table_of(name)], facts)
            for name in wish.pages
            if (facts := self.facts(name)) is not None
        ]
        self.machine.packages_from = packages_of(wish.context.bundle)
        return make_plan(works, self.machine, wish.context)

    def fresh_plan(self, wish: Wish) -> Plan:
        """The plan of all pages of the wish, each looked at anew, side by side. Raises WizardError."""
        failed: list[Exception] = []

        def look(name: str) -> None:
            try:
                self.look(name, wish)
            except Exception as error:  # noqa: BLE001 - raised again below, in the caller's thread
                failed.append(error)

        threads = [threading.Thread(target=look, args=(name,), daemon=True) for name in wish.pages]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failed:
            raise failed[0]
        return self.plan(wish)

    def plan_again(self, run: RunDirectory) -> Plan:
        """The plan of a further attempt: what the run's answers, or its fix, want of the node as it is now."""
        if run.kind == "undo":
            return run.plan()
        wish = wish_from_json(run.settings())
        if not wish.fix:
            return self.fresh_plan(wish)
        from bai_wizard.doctor.fix import plan_again

        return plan_again(wish.fix, run.plan(), self.machine, wish.context)


def reason_of(error: BaseException) -> str:
    """Why a look or a plan gave nothing, in words for people."""
    return str(error) if isinstance(error, WizardError) else f"{type(error).__name__}: {error}"


def unknowns(facts: object) -> tuple[tuple[str, str], ...]:
    """The facts of a page that nobody could tell, by their names, with the reasons."""
    names = getattr(facts, "__dataclass_fields__", {})
    return tuple(
        (name.replace("_", " "), value.reason)
        for name in names
        if isinstance(value := getattr(facts, name), Unknown) and not isinstance(value, Asked)
    )


def asked(facts: object) -> dict[str, float]:
    """What a page says of the facts that have not come yet, with their deadlines in seconds."""
    names = getattr(facts, "__dataclass_fields__", {})
    values = [getattr(facts, name) for name in names]
    return {value.reason: value.deadline for value in values if isinstance(value, Asked)}
