"""Counts, durations and costs, read from the sums that the writer keeps (`taskmark.store.summing`)."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from itertools import accumulate
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from sqlalchemy import BigInteger, ColumnElement, Connection, Select, case, cast, func, select

from taskmark.store.summing import NO_BUCKET, duration_in
from taskmark.store.tables import Metrics, table

_SUMS = ("count", "retries", "duration_ms", "tokens_used", "cost_billionths", "questions_asked")
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
    """What executions, or attempts, come to. Durations are in milliseconds."""

    model_config = ConfigDict(frozen=True)

    total: int = 0
    completed: int = 0
    """Also those with errors."""
    completed_with_errors: int = 0
    failed: int = 0
    """Also those that timed out."""
    timed_out: int = 0
    cancelled: int = 0
    skipped: int = 0
    in_progress: int = 0
    retries: int = 0
    success_rate: float | None = None
    """Completed of those that completed or failed, from 0 to 1."""
    average_ms: float | None = None
    tokens_used: int = 0
    cost: float = 0.0
    questions_asked: int = 0


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


def measure(connection: Connection, by: Dimension, window: Window, name: str | None) -> tuple[Measured, ...]:
    """Answers `History.metrics`."""
    metrics = table(Metrics)
    wanted = [metrics.c.dimension == str(by), *([] if name is None else [metrics.c.name == name])]
    days = _by_name(connection, _daily().where(*wanted, *_between(window.earlier, window.until)))
    durations = _by_name(connection, _durations().where(*wanted, *_between(window.since, window.until)))
    since = "" if window.since is None else window.since.isoformat()
    begun = {row.day for rows in days.values() for row in rows if row.day and row.day >= since}
    starts = window.starts(map(date.fromisoformat, begun))

    def measured(one: str, rows: Sequence[Any]) -> Measured:
        own = [row for row in rows if row.day >= since]
        before = Sums(**_sums([row for row in rows if row.day < since])) if since else None
        told = {**_sums(own), **_quantiles(durations.get(one, ()))}
        return Measured(name=one, **told, before=before, periods=_periods(own, starts, window))

    found = [measured(one, rows) for one, rows in days.items() if any(row.day >= since for row in rows)]
    return tuple(sorted(found, key=lambda one: (-one.total, one.name)))


def _today() -> date:
    return datetime.now(UTC).date()


def _daily() -> Select[Any]:
    """Returns the statement that adds up what began on a day, for each name and status."""
    metrics = table(Metrics)
    groups = [metrics.c[name] for name in ("name", "day", "status")]
    ended = func.sum(case((metrics.c.bucket != NO_BUCKET, metrics.c["count"]), else_=0))
    sums = [ended, *(func.sum(metrics.c[name]) for name in _SUMS)]
    # PostgreSQL's sums are decimals, with which Python is slow
    return select(*groups, *(cast(one, BigInteger) for one in sums)).group_by(*groups)


def _durations() -> Select[Any]:
    """Returns the statement that counts durations, for each name."""
    metrics = table(Metrics)
    groups = [metrics.c.name, metrics.c.bucket]
    counted = cast(func.sum(metrics.c["count"]), BigInteger)
    return select(*groups, counted).where(metrics.c.bucket != NO_BUCKET).group_by(*groups)


def _between(since: date | None, until: date | None) -> Iterator[ColumnElement[bool]]:
    day = table(Metrics).c.day
    if since is not None:
        yield day >= since.isoformat()
    if until is not None:
        yield day < until.isoformat()


def _by_name(connection: Connection, query: Select[Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = defaultdict(list)
    for row in connection.execute(query).all():
        found[row[0]].append(row)
    return found


def _sums(rows: Sequence[Any]) -> dict[str, Any]:
    """Returns the fields of `Sums` for rows of `_daily`."""
    of: Counter[str] = Counter()
    for row in rows:
        of[row[2]] += row[4]
    columns = zip(*(row[3:] for row in rows), strict=True) if rows else [()] * (1 + len(_SUMS))
    used = dict(zip(("ended", *_SUMS), map(sum, columns), strict=True))
    completed, failed = of["completed"] + of["completed_with_errors"], of["failed"] + of["timed_out"]
    return {
        "total": used["count"],
        "completed": completed,
        "failed": failed,
        **{name: of[name] for name in ("completed_with_errors", "timed_out", "cancelled", "skipped")},
        "in_progress": used["count"] - completed - failed - of["cancelled"] - of["skipped"],
        "success_rate": completed / (completed + failed) if completed + failed else None,
        "average_ms": used["duration_ms"] / used["ended"] if used["ended"] else None,
        "cost": used["cost_billionths"] / 10**9,
        **{name: used[name] for name in ("retries", "tokens_used", "questions_asked")},
    }


def _quantiles(counted: Sequence[Any]) -> dict[str, float]:
    """Returns the quantiles of `Measured`: the durations below which so many of a hundred lie."""
    counts = {row[1]: row[2] for row in counted}
    buckets = sorted(counts)
    below = list(accumulate(counts[bucket] for bucket in buckets))
    return {
        f"p{part}_ms": duration_in(buckets[bisect_left(below, part * below[-1] / 100)])
        for part in (50, 90, 95, 99)
        if below
    }


def _periods(rows: Sequence[Any], starts: list[date], window: Window) -> tuple[Period, ...]:
    of: dict[date, list[Any]] = defaultdict(list)
    for row in rows:
        if row.day:
            of[window.start(date.fromisoformat(row.day))].append(row)
    return tuple(Period(start=one, **_sums(of[one])) if one in of else Period(start=one) for one in starts)
