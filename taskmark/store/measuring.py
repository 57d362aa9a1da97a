"""Counts, durations and costs, read from the sums that the writer keeps (`taskmark.store.summing`)."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import MAXYEAR, UTC, date, datetime, timedelta
from enum import StrEnum
from itertools import accumulate, islice
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, computed_field
from sqlalchemy import BigInteger, ColumnElement, Connection, Select, Table, case, cast, func, select

from taskmark.store.summing import duration_in
from taskmark.store.tables import Durations, Metrics, table

Row = tuple[Any, ...]
"""The name, what it is divided by, and numbers."""

_STATUSES: Mapping[str, tuple[str, ...]] = {
    "completed": ("completed", "completed_with_errors"),
    "completed_with_errors": ("completed_with_errors",),
    "failed": ("failed", "timed_out"),
    "timed_out": ("timed_out",),
    "cancelled": ("cancelled",),
    "skipped": ("skipped",),
}
"""Which of them each field of `Sums` counts."""
_SUMS = ("ended", "duration_ms", "retries", "tokens_used", "questions_asked", "cost_billionths")
"""The fields that are sums of the columns of their names."""
_FIELDS = (*_STATUSES, "total", *_SUMS)
_DAY = timedelta(days=1)


class Dimension(StrEnum):
    """What sums are kept by: all executions, and those of each …; all attempts, and those of each …"""

    EXECUTION = "execution"
    BUILD = "build"
    TASK = "task"
    PROJECT = "project"
    ASSIGNED_AGENT = "assigned_agent"
    ATTEMPT = "attempt"
    AGENT = "agent"
    TOOL = "tool"


class Sums(BaseModel):
    """What executions, or attempts, come to. Durations are in milliseconds.

    What follows from the sums is worked out when it is asked for: a year of fifty tasks has 18,000 of them.
    """

    model_config = ConfigDict(frozen=True)

    completed: int = 0
    """Also those with errors."""
    completed_with_errors: int = 0
    failed: int = 0
    """Also those that timed out."""
    timed_out: int = 0
    cancelled: int = 0
    skipped: int = 0
    total: int = 0
    ended: int = 0
    """How many have a duration."""
    duration_ms: int = 0
    """Of all of those, together."""
    retries: int = 0
    tokens_used: int = 0
    questions_asked: int = 0
    cost_billionths: int = Field(default=0, exclude=True)

    @computed_field  # type: ignore[prop-decorator] # mypy knows no decorators on properties
    @property
    def in_progress(self) -> int:
        """How many have not ended."""
        return self.total - self.completed - self.failed - self.cancelled - self.skipped

    @computed_field  # type: ignore[prop-decorator] # mypy knows no decorators on properties
    @property
    def success_rate(self) -> float | None:
        """Completed of those that completed or failed, from 0 to 1."""
        over = self.completed + self.failed
        return self.completed / over if over else None

    @computed_field  # type: ignore[prop-decorator] # mypy knows no decorators on properties
    @property
    def average_ms(self) -> float | None:
        """How long one took on average."""
        return self.duration_ms / self.ended if self.ended else None

    @computed_field  # type: ignore[prop-decorator] # mypy knows no decorators on properties
    @property
    def cost(self) -> float:
        """What it cost, in the currency of whoever told it."""
        return self.cost_billionths / 10**9


class Period(Sums):
    """A day, or a week from Monday on."""

    start: date


class Measured(Sums):
    """What the executions, or attempts, of one value come to, and how that changed."""

    name: str
    """The build, task, …; empty for all of them."""
    p50_ms: float | None = None
    p90_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    """Quantiles, right to 2.5 %."""
    before: Sums | None = None
    """The same of as many days before."""
    periods: tuple[Period, ...] = ()
    """One after the other, without gaps, over all days of whatever was asked."""


@dataclass(frozen=True)
class Window:
    """Days in UTC, on which what is measured began, and how they are put together."""

    since: date | None = None
    """The first; without it everything counts, also what has not begun."""
    until: date | None = None
    """The first that no longer belongs to it."""
    per: Literal["day", "week"] = "day"

    @property
    def earlier(self) -> date | None:
        """The first of as many days before."""
        if self.since is None:
            return None
        end = self.until or _today() + _DAY
        days = max((end - self.since).days, 0)
        return date.fromordinal(max(self.since.toordinal() - days, 1))

    def covered(self, begun: Collection[str]) -> list[str]:
        """Returns the years, months and days that together are the window, as far as anything began in it."""
        if not begun:
            return []
        first, last = date.fromisoformat(min(begun)), date.fromisoformat(max(begun))
        since = self.since or first.replace(month=1, day=1)
        end = self.until or _next_month(last.replace(month=1), 12)
        return list(_covering(max(since, first.replace(month=1, day=1)), end))

    def start(self, day: date) -> date:
        """Returns the first day of the period that a day belongs to."""
        return day if self.per == "day" else day - day.weekday() * _DAY

    def starts(self, days: Iterable[date]) -> list[date]:
        """Returns the first days of all periods from that of the first of some days on."""
        known = sorted(days)
        if not known:
            return []
        last = self.until - _DAY if self.until else max(known[-1], _today())
        first, step = self.start(known[0]), _DAY if self.per == "day" else 7 * _DAY
        return [first + number * step for number in range((last - first) // step + 1)]


ALWAYS = Window()


def _covering(first: date, end: date) -> Iterator[str]:
    """Yields as few years, months and days as have all days from the first to the one before the end."""
    while first < end:
        year, month = _next_month(first, 12), _next_month(first, 1)
        if (first.month, first.day) == (1, 1) and year <= end:
            yield f"{first:%Y}"
            first = year
        elif first.day == 1 and month <= end:
            yield f"{first:%Y-%m}"
            first = month
        else:
            yield f"{first:%Y-%m-%d}"
            first += _DAY


def _next_month(day: date, months: int) -> date:
    """Returns the first day of the month so many months later; the end of time is the last there is."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, 1) if year <= MAXYEAR else date.max


def measure(connection: Connection, by: Dimension, window: Window, name: str | None) -> tuple[Measured, ...]:
    """Answers `History.metrics`."""
    days = _by_name(connection, _daily(by, name, window))
    since = "" if window.since is None else window.since.isoformat()
    begun = {row[1] for rows in days.values() for row in rows if row[1] and row[1] >= since}
    empty = {start: Period(start=start) for start in window.starts(map(date.fromisoformat, begun))}
    durations = _by_name(connection, _durations(by, name, window.covered(begun)))

    def measured(one: str, rows: Sequence[Row]) -> Measured:
        own = [row for row in rows if row[1] >= since] if since else rows
        before = Sums(**_told([row for row in rows if row[1] < since])) if since else None
        told = {**_told(own), **_quantiles(durations.get(one, ()))}
        return Measured(name=one, **told, before=before, periods=_periods(own, empty, window))

    found = [measured(one, rows) for one, rows in days.items() if any(row[1] >= since for row in rows)]
    return tuple(sorted(found, key=lambda one: (-one.total, one.name)))


def _today() -> date:
    return datetime.now(UTC).date()


def _daily(by: Dimension, name: str | None, window: Window) -> Select[Any]:
    """Returns the statement for the sums of each name and day, also of the days before."""
    metrics = table(Metrics)
    bounds = [] if window.earlier is None else [metrics.c.day >= window.earlier.isoformat()]
    bounds += [] if window.until is None else [metrics.c.day < window.until.isoformat()]
    count = metrics.c["count"]
    of = (case((metrics.c.status.in_(some), count), else_=0) for some in _STATUSES.values())
    columns = (*of, count, *(metrics.c[one] for one in _SUMS))
    groups = (metrics.c.name, metrics.c.day)
    return select(*groups, *map(_sum, columns)).where(*_wanted(metrics, by, name), *bounds).group_by(*groups)


def _durations(by: Dimension, name: str | None, periods: Sequence[str]) -> Select[Any]:
    """Returns the statement that counts durations, for each name."""
    durations = table(Durations)
    groups = [durations.c.name, durations.c.bucket]
    wanted = (*_wanted(durations, by, name), durations.c.period.in_(periods))
    return select(*groups, _sum(durations.c["count"])).where(*wanted).group_by(*groups)


def _sum(column: ColumnElement[Any]) -> ColumnElement[int]:
    """PostgreSQL's sums are decimals, with which Python is slow."""
    return cast(func.sum(column), BigInteger)


def _wanted(sums: Table, by: Dimension, name: str | None) -> Iterator[ColumnElement[bool]]:
    yield sums.c.dimension == str(by)
    if name is not None:
        yield sums.c.name == name


def _by_name(connection: Connection, query: Select[Any]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in connection.execute(query).all():
        found[row[0]].append(tuple(row))
    return found


def _told(rows: Sequence[Row]) -> dict[str, int]:
    """Returns the fields of `Sums` for rows of `_daily`, together. Of a day there is only one, and there are
    thousands of days."""
    if len(rows) == 1:
        return dict(zip(_FIELDS, rows[0][2:], strict=True))
    columns = islice(zip(*rows, strict=True), 2, None)
    return dict(zip(_FIELDS, map(sum, columns), strict=False))


def _quantiles(counted: Sequence[Row]) -> dict[str, float]:
    """Returns the quantiles of `Measured`: the durations below which so many of a hundred lie."""
    counts = {row[1]: row[2] for row in counted}
    buckets = sorted(counts)
    below = list(accumulate(counts[bucket] for bucket in buckets))
    return {
        f"p{part}_ms": duration_in(buckets[bisect_left(below, part * below[-1] / 100)])
        for part in (50, 90, 95, 99)
        if below
    }


def _periods(rows: Sequence[Row], empty: Mapping[date, Period], window: Window) -> tuple[Period, ...]:
    """Returns all periods; those in which nothing began are the same for every name."""
    of: dict[date, list[Row]] = defaultdict(list)
    for row in rows:
        if row[1]:
            of[window.start(date.fromisoformat(row[1]))].append(row)
    found = {start: Period(start=start, **_told(some)) for start, some in of.items()}
    return tuple(found.get(start, nothing) for start, nothing in empty.items())
