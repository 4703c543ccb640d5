"""The output of a child as lines: decoded, redacted, in bounded memory."""

from __future__ import annotations

import codecs
from collections.abc import Callable

from bai_wizard.core.secret import redact

# Characters of one line at most; what comes longer is passed on in pieces that overlap, so that no secret is cut.
LONGEST_LINE = 1 << 16
OVERLAP = 1 << 12


class Lines:
    """Collects one stream. Lines end at line feeds and at carriage returns (progress bars)."""

    def __init__(self, tell: Callable[[str], None] | None, keep: int) -> None:
        self._tell = tell
        self._keep = keep
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._open = ""
        self._kept: list[str] = []
        self._size = 0

    def feed(self, data: bytes, *, final: bool = False) -> None:
        """Takes the next bytes; `final` closes the last line."""
        text = self._decoder.decode(data, final)
        self._remember(text)
        if self._tell is None:
            return
        *whole, self._open = (self._open + text).replace("\r", "\n").split("\n")
        for line in whole:
            self._pass_on(line)
        if len(self._open) > LONGEST_LINE:
            line = redact(self._open)
            self._tell(line[:-OVERLAP])
            self._open = line[-OVERLAP:]
        if final:
            self._pass_on(self._open)
            self._open = ""

    def text(self) -> str:
        """The end of the stream, as much as is kept, redacted; cut at a line's beginning."""
        text = "".join(self._kept)
        if len(text) > self._keep:
            text = text[-self._keep :].partition("\n")[2]
        return redact(text)

    def _pass_on(self, line: str) -> None:
        if line.strip() and self._tell is not None:
            self._tell(redact(line.rstrip()))

    def _remember(self, text: str) -> None:
        self._kept.append(text)
        self._size += len(text)
        if self._size > 4 * self._keep:
            joined = "".join(self._kept)[-2 * self._keep :]
            self._kept, self._size = [joined], len(joined)
