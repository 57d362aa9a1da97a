"""Counts, durations and costs, read from the sums that the writer keeps (`taskmark.store.summing`)."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from itertools import accumulate
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict
from sqlalchemy import ColumnElement, Connection, Select, case, func, select

from taskmark.store.summing import NO_BUCKET, duration_in
from taskmark.store.tables import Metrics, table

_SUMS = ("count", "retries", "duration_ms", "tokens_used", "cost_billionths", "questions_asked")
_DAY = timedelta(days=1)
Row: TypeAlias = Mapping[Any, Any]


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
    whole = _query("status", "bucket").where(*wanted, *_between(window.since, window.until))
    daily = _query("day", "status").where(*wanted, *_between(window.earlier or date.min, window.until))
    wholes, days = _by_name(connection, whole), _by_name(connection, daily)
    since = window.since or date.min
    starts = window.starts(day for rows in days.values() for row in rows if (day := _day(row)) >= since)

    def measured(one: str) -> Measured:
        rows, own = wholes[one], days.get(one, [])
        before = Sums(**_sums(row for row in own if _day(row) < since)) if window.since else None
        periods = _periods((row for row in own if _day(row) >= since), starts, window)
        return Measured(name=one, **_sums(rows), **_quantiles(rows), before=before, periods=periods)

    return tuple(sorted(map(measured, wholes), key=lambda one: (-one.total, one.name)))


def _today() -> date:
    return datetime.now(UTC).date()


def _day(row: Row) -> date:
    return date.fromisoformat(row["day"])


def _query(*by: str) -> Select[Any]:
    """Returns the statement that adds up rows for each name and `by`."""
    metrics = table(Metrics)
    groups = [metrics.c[name] for name in ("name", *by)]
    ended = func.sum(case((metrics.c.bucket != NO_BUCKET, metrics.c["count"]), else_=0))
    sums = (func.sum(metrics.c[name]).label(name) for name in _SUMS)
    return select(*groups, ended.label("ended"), *sums).group_by(*groups)


def _between(since: date | None, until: date | None) -> Iterator[ColumnElement[bool]]:
    day = table(Metrics).c.day
    if since is not None:
        yield day >= since.isoformat()
    if until is not None:
        yield day < until.isoformat()


def _by_name(connection: Connection, query: Select[Any]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in connection.execute(query).mappings():
        found[row["name"]].append(row)
    return found


def _sums(rows: Iterable[Row]) -> dict[str, Any]:
    """Returns the fields of `Sums`."""
    of: Counter[str] = Counter()
    for row in rows:
        of[row["status"]] += int(row["count"])
        of.update({name: int(row[name]) for name in (*_SUMS, "ended")})
    completed, failed = of["completed"] + of["completed_with_errors"], of["failed"] + of["timed_out"]
    return {
        "total": of["count"],
        "completed": completed,
        "failed": failed,
        **{name: of[name] for name in ("completed_with_errors", "timed_out", "cancelled", "skipped")},
        "in_progress": of["count"] - completed - failed - of["cancelled"] - of["skipped"],
        "success_rate": completed / (completed + failed) if completed + failed else None,
        "average_ms": of["duration_ms"] / of["ended"] if of["ended"] else None,
        "cost": of["cost_billionths"] / 10**9,
        **{name: of[name] for name in ("retries", "tokens_used", "questions_asked")},
    }


def _quantiles(rows: Iterable[Row]) -> dict[str, float]:
    """Returns the quantiles of `Measured`: the durations below which so many of a hundred lie."""
    counts: Counter[int] = Counter()
    for row in rows:
        if row["bucket"] != NO_BUCKET:
            counts[row["bucket"]] += int(row["count"])
    below = list(accumulate(counts[bucket] for bucket in sorted(counts)))
    return {
        f"p{part}_ms": duration_in(sorted(counts)[bisect_left(below, part * below[-1] / 100)])
        for part in (50, 90, 95, 99)
        if below
    }


def _periods(rows: Iterable[Row], starts: list[date], window: Window) -> tuple[Period, ...]:
    of: dict[date, list[Row]] = defaultdict(list)
    for row in rows:
        of[window.start(_day(row))].append(row)
    return tuple(Period(start=start, **_sums(of[start])) for start in starts)
