"""The header of a run: its progress, elapsed and estimated remaining time, and the running step."""

from __future__ import annotations

import time
from collections.abc import Iterator

from textual.content import Content

from bai_wizard.core.display import visible
from bai_wizard.locale import tr
from bai_wizard.pages import TITLES
from bai_wizard.ui.durations import about, duration, size_text
from bai_wizard.ui.progress import LogLine, RunProgress, StepProgress
from bai_wizard.ui.tui.base import Static, while_mounted, wizard
from bai_wizard.ui.tui.widgets.list_box import cut
from bai_wizard.ui.tui.widgets.steps import STYLES, progress_bar, steps_of

# Seconds between two updates of the elapsed time, on a slow line and elsewhere.
SLOW_TICK, TICK = 5.0, 1.0


class RunHead(Static):
    """Three lines: the whole run, its pages, and the running step with bytes and throughput."""

    DEFAULT_CSS = """
    RunHead { height: auto; padding: 0 1; }
    """

    def __init__(self) -> None:
        super().__init__(id="run-head")
        self._height = 0

    def on_mount(self) -> None:
        wizard(self).watcher.moved.subscribe(self, self._moved)
        self.set_interval(SLOW_TICK if wizard(self).console_kind.serial else TICK, self._tick)
        self._tick()

    def on_unmount(self) -> None:
        wizard(self).watcher.moved.unsubscribe(self)

    def on_resize(self) -> None:
        self._tick()

    @while_mounted
    def _moved(self, _lines: list[LogLine]) -> None:
        self._tick()

    @while_mounted
    def _tick(self) -> None:
        watcher = wizard(self).watcher
        if watcher.progress is not None:
            width = max(40, self.size.width or self.app.size.width - 2)
            lines = head_lines(watcher.progress, time.time(), width, is_running=watcher.is_running)
            # The elapsed time changes each second, the height hardly ever.
            self.update(Content("\n").join(lines), layout=len(lines) != self._height)
            self._height = len(lines)


def head_lines(progress: RunProgress, now: float, width: int, *, is_running: bool) -> list[Content]:
    """The lines of the head; `now` in seconds since 1970."""
    title = tr("Undo") if progress.kind == "undo" else tr("Run")
    counts = steps_of(progress.finished, len(progress.steps))
    failed = progress.count("failed")
    counts += tr(", {count} failed", count=failed) if failed else ""
    first = Content.assemble((f"{title} {progress.run}", "bold $text-primary"), f"  {counts}")
    fraction = progress.fraction(now)
    times = tr("{time} elapsed", time=duration(progress.elapsed(now)))
    if is_running and progress.began:
        times += ", " + tr("{time} left", time=about(progress.left(now)))
    elif progress.ended:
        times = tr("took {time}", time=duration(progress.elapsed(now)))
    bar = progress_bar(round(fraction * 1000), 1000, max(10, min(40, width - 44)))
    pages = [Content("  ").join(_pages(progress))] if len(progress.by_page()) > 1 else []
    return [
        first,
        Content(f"{bar} {fraction * 100:>3.0f}%  {times}"),
        *pages,
        *_current(progress.current, now, width),
    ]


def _pages(progress: RunProgress) -> Iterator[Content]:
    for page, steps in progress.by_page().items():
        ended = sum(1 for step in steps if step.ended)
        stages = {step.stage for step in steps}
        if "failed" in stages:
            mark, style = "!", STYLES["failed"]
        elif ended == len(steps):
            mark, style = "+", STYLES["changed"]
        elif ended or "running" in stages:
            mark, style = ">", STYLES["running"]
        else:
            mark, style = "·", STYLES["waits"]
        title = tr(TITLES[page]) if page in TITLES else tr("Undo")
        yield Content.styled(f"{mark} {title} {ended}/{len(steps)}", style)


def _current(step: StepProgress | None, now: float, width: int) -> Iterator[Content]:
    if step is None:
        return
    detail = ""
    if step.counts_bytes:
        detail = tr("{done} of {total}", done=size_text(step.done), total=size_text(step.total))
        if rate := step.rate():
            detail += f"  {size_text(rate)}/s"
    elif step.total:
        detail = f"{min(100, step.done * 100 // step.total)}%"
    left = step.left(now)
    detail += f"  {about(left)}" if left and step.total else ""
    yield Content.styled(cut(f"> {tr(step.describe)}", width).rstrip(), "bold")
    text = visible(step.text.partition("\n")[0], lines=False)
    parts = [part for part in (detail.strip(), text) if part]
    bar = f"{progress_bar(step.done, step.total, 20)}  " if step.total else ""
    if bar or parts:
        yield Content(cut(f"  {bar}{'  '.join(parts)}", width).rstrip())
