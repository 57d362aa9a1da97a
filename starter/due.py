"""When a schedule is due, in the words of who made it: the server makes numbers of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from taskmark.task.durations import duration_text
from taskmark.task.options import is_cron

if TYPE_CHECKING:
    from temporalio.client import ScheduleCalendarSpec, ScheduleIntervalSpec, ScheduleRange, ScheduleSpec

_DAYS, _MONTHS, _WEEKDAYS = (1, 31), (1, 12), (0, 6)
_HOURS, _SIXTY = (0, 23), (0, 59)


def cron_of(spec: ScheduleSpec) -> str:
    """Returns the cron expressions of a schedule, as they were given or as its calendars say them."""
    return "; ".join([*map(_cron, spec.calendars), *spec.cron_expressions])


def other_times(spec: ScheduleSpec) -> Iterator[str]:
    """Yields what no cron expression says: intervals, exceptions, and how long all of it counts."""
    yield from map(_interval, spec.intervals)
    yield from (f"except {_cron(calendar)}" for calendar in spec.skip)
    if spec.start_at is not None:
        yield f"from {spec.start_at.isoformat()}"
    if spec.end_at is not None:
        yield f"until {spec.end_at.isoformat()}"


def _cron(calendar: ScheduleCalendarSpec) -> str:
    """Returns the comment, where the server keeps what it was made of, or else the calendar's numbers."""
    if calendar.comment and is_cron(calendar.comment):
        return calendar.comment
    fields = [
        _field(calendar.minute, _SIXTY),
        _field(calendar.hour, _HOURS),
        _field(calendar.day_of_month, _DAYS),
        _field(calendar.month, _MONTHS),
        _field(calendar.day_of_week, _WEEKDAYS),
    ]
    seconds, years = _field(calendar.second, _SIXTY), _field(calendar.year, (0, 0))
    if seconds != "0":
        return " ".join([seconds, *fields, years])
    return " ".join([*fields, *([years] if calendar.year else [])])


def _field(ranges: Sequence[ScheduleRange], whole: tuple[int, int]) -> str:
    return ",".join(_range(one, whole) for one in ranges) or "*"


def _range(one: ScheduleRange, whole: tuple[int, int]) -> str:
    step = f"/{one.step}" if one.step > 1 else ""
    if (one.start, one.end) == whole:
        return f"*{step}"
    return str(one.start) if one.start == one.end else f"{one.start}-{one.end}{step}"


def _interval(one: ScheduleIntervalSpec) -> str:
    offset = f", offset {duration_text(one.offset.total_seconds())}" if one.offset else ""
    return f"every {duration_text(one.every.total_seconds())}{offset}"
