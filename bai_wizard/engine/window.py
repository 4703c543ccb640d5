"""A daily maintenance window, such as 02:00-04:00+Asia/Seoul."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from msgspec import Struct

_FORM = re.compile(r"([0-9]{2}):([0-9]{2})-([0-9]{2}):([0-9]{2})(.*)", re.ASCII)
_OFFSET = re.compile(r"([+-])([0-9]{2}):([0-9]{2})", re.ASCII)


class Window(Struct, frozen=True):
    """`text` is valid: only `parse_window` creates windows."""

    text: str

    def next(self, now: datetime) -> tuple[datetime, datetime]:
        """Begin and end of the window that is open at `now`, otherwise of the next one, in UTC."""
        begin, end, zone = _parts(self.text)
        today = now.astimezone(zone).date()
        for days in (-1, 0, 1, 2):
            day = today + timedelta(days=days)
            opens, closes = _at(day, begin, zone), _at(day + timedelta(days=end <= begin), end, zone)
            if opens < closes and now < closes:
                return opens, closes
        raise AssertionError("there is a window every day")

    def opens_in(self, now: datetime) -> float:
        """Seconds until the window opens; 0 while it is open."""
        return max(0.0, (self.next(now)[0] - now).total_seconds())

    def ends_in(self, now: datetime) -> float:
        """Seconds until the end of the window that is open or next."""
        return (self.next(now)[1] - now).total_seconds()


def parse_window(text: str) -> Window:
    """Raises ValueError with the reason."""
    begin, end, _ = _parts(text)
    if begin == end:
        raise ValueError("begin and end must differ")
    return Window(text)


def _parts(text: str) -> tuple[time, time, tzinfo | None]:
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError("must be a time range such as 02:00-04:00, or with a time zone 02:00-04:00+Asia/Seoul")
    hours = [int(number) for number in match.groups()[:4]]
    return time(hours[0], hours[1]), time(hours[2], hours[3]), _zone(match[5])


def _zone(text: str) -> tzinfo | None:
    """The zone after the times: `+09:00`, `-05:00`, `+Asia/Seoul`; None for that of the node."""
    if not text:
        return None
    if match := _OFFSET.fullmatch(text):
        offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
        return timezone(-offset if match[1] == "-" else offset)
    try:
        return ZoneInfo(text.removeprefix("+"))
    except (ValueError, OSError, KeyError) as error:
        raise ValueError(f"unknown time zone {text.removeprefix('+')!r}") from error


def _at(day: date, moment: time, zone: tzinfo | None) -> datetime:
    """A local time in UTC; a time that a change to summer time skips is taken as if there were none.

    Not `astimezone`, which takes such a time of the node's own zone for one in summer time.
    """
    return datetime.fromtimestamp(datetime.combine(day, moment, zone).timestamp(), UTC)
