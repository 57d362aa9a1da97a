"""Sums over rows, kept up to date as these change: what an execution used, and the table of metrics.

An execution's own sums are always those of the attempts in the store, counted again when they change.
The table of metrics holds, for each value of each dimension, how many rows there are of a status, a day (of
the start, in UTC) and a duration, with their sums: a changed row is taken out where it was and put in where
it is now. So both say the same, whatever the order in which rows came.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

from sqlalchemy import Connection, Table, bindparam, select

from taskmark.store.engine import inserting
from taskmark.store.keys import AT_ONCE, batches
from taskmark.store.tables import Attempts, Executions, Metrics, table

GROWTH = 1.05
"""Each bucket's durations are at most so many times the bucket's before: a quantile is right to 2.5 %."""
NO_BUCKET = -1
"""Of rows without a duration."""

_BILLION = 10**9
Row: TypeAlias = Mapping[str, Any]
"""A row of executions or attempts, by the names of its fields."""

_Key: TypeAlias = tuple[str, str, str, str, int]
_KEY = ("dimension", "name", "day", "status", "bucket")
_SUMS = ("count", "retries", "duration_ms", "tokens_used", "cost_billionths", "questions_asked")
_EXECUTIONS = {
    "execution": None,
    "build": "build_id",
    "task": "task_id",
    "project": "project",
    "assigned_agent": "assigned_agent",
}
_ATTEMPTS = {"attempt": None, "agent": "agent", "tool": "tool"}
"""Dimensions, and the fields that give their values; None: one value for all."""


@dataclass(frozen=True)
class Change:
    """A row before (None: there was none) and after."""

    before: Mapping[str, Any] | None
    after: Mapping[str, Any]


# --- what an execution used -----------------------------------------------------------------------


def changes_use(change: Change) -> bool:
    """Whether the sums of the attempt's execution may be others now."""
    before = change.before or {}
    return any(before.get(name) != change.after[name] for name in _USED)


_USED = ("tokens", "cost", "questions", "files")


def used(connection: Connection, executions: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Returns the sums over the attempts of each execution, by the names of its fields; what no attempt
    tells of is None."""
    attempts = table(Attempts)
    columns = (attempts.c[name] for name in ("execution_id", *_USED))
    found: dict[str, list[Any]] = {execution: [] for execution in executions}
    query = select(*columns)
    for some in batches(executions, AT_ONCE):
        for row in connection.execute(query.where(attempts.c.execution_id.in_(some))):
            found[row[0]].append(row[1:])
    return {execution: _sums(rows) for execution, rows in found.items()}


def _sums(rows: Iterable[Sequence[Any]]) -> dict[str, Any]:
    told = list(zip(*rows, strict=True)) or [()] * len(_USED)
    tokens, cost, questions, files = ([value for value in column if value is not None] for column in told)
    names = sorted({name for some in files for name in some})
    return {
        "tokens_used": sum(tokens) if tokens else None,
        # exact, so that it does not depend on the order
        "cost": math.fsum(cost) if cost else None,
        "questions_asked": sum(questions) if questions else None,
        "files_modified": names or None,
    }


# --- the table of metrics -------------------------------------------------------------------------


def add(connection: Connection, executions: Iterable[Change], attempts: Iterable[Change]) -> None:
    """Takes changed rows out of the metrics as they were, and puts them in as they are."""
    sums = _nothing()
    for dimensions, changes in ((_EXECUTIONS, executions), (_ATTEMPTS, attempts)):
        for change in changes:
            if change.before is not None:
                _count(sums, dimensions, change.before, -1)
            _count(sums, dimensions, change.after, 1)
    _write(connection, sums)


def take_out(connection: Connection, executions: Iterable[Row], attempts: Iterable[Row]) -> None:
    """Takes rows out of the metrics that are there no longer."""
    sums = _nothing()
    for dimensions, rows in ((_EXECUTIONS, executions), (_ATTEMPTS, attempts)):
        for row in rows:
            _count(sums, dimensions, row, -1)
    _write(connection, sums)


def expected(connection: Connection) -> dict[tuple[Any, ...], tuple[int, ...]]:
    """Returns what the metrics should say, by their keys, counted anew over all rows."""
    sums = _nothing()
    for dimensions, model in ((_EXECUTIONS, Executions), (_ATTEMPTS, Attempts)):
        for row in connection.execute(select(*counted(table(model)))):
            _count(sums, dimensions, row._asdict(), 1)
    return {key: tuple(values) for key, values in sums.items()}


def counted(target: Table) -> list[Any]:
    """Returns the columns of executions or attempts that metrics are made of, by the names of fields."""
    return [target.c[name].label(name) for name in _COUNTED if name in target.c]


_COUNTED = (
    *("status", "started_at", "duration_ms", "cost", "attempts", "attempt"),
    *("tokens_used", "tokens", "questions_asked", "questions"),
    *("build_id", "task_id", "project", "assigned_agent", "agent", "tool"),
)


def _nothing() -> dict[_Key, list[int]]:
    return defaultdict(lambda: [0] * len(_SUMS))


def _write(connection: Connection, sums: Mapping[_Key, list[int]]) -> None:
    # in one order everywhere: writers that wait for each other's rows would wait for ever
    rows = [(key, sums[key]) for key in sorted(sums) if any(sums[key])]
    if rows:
        named = [dict(zip((*_KEY, *_SUMS), (*key, *values), strict=True)) for key, values in rows]
        connection.execute(_adding(connection.dialect.name), named)
        _drop_empty(connection, [key for key, values in rows if values[0] < 0])


def _count(
    sums: dict[_Key, list[int]], dimensions: Mapping[str, str | None], row: Mapping[str, Any], sign: int
) -> None:
    started, duration = row.get("started_at"), row.get("duration_ms")
    day = f"{started:%Y-%m-%d}" if started else ""
    values = list(_values(row))
    for dimension, field in dimensions.items():
        name = "" if field is None else row.get(field)
        if name is not None:
            total = sums[dimension, str(name), day, str(row["status"]), bucket(duration)]
            total[:] = [old + sign * value for old, value in zip(total, values, strict=True)]


def _values(row: Mapping[str, Any]) -> Iterator[int]:
    whole = "attempts" in row  # an execution
    yield 1
    yield row["attempts"] - 1 if whole else int(row["attempt"] > 1)
    yield row.get("duration_ms") or 0
    yield row.get("tokens_used" if whole else "tokens") or 0
    yield round((row.get("cost") or 0) * _BILLION)
    yield row.get("questions_asked" if whole else "questions") or 0


def bucket(duration_ms: int | None) -> int:
    """Returns the number of the bucket for a duration: 0 up to a millisecond, then each `GROWTH` wider."""
    if duration_ms is None:
        return NO_BUCKET
    return math.ceil(math.log(max(duration_ms, 1)) / math.log(GROWTH))


def duration_in(bucket: int) -> float:
    """Returns the milliseconds that stand for a bucket's durations: between its bounds, with equal error."""
    return 2 * GROWTH**bucket / (GROWTH + 1)


@cache
def _adding(dialect_name: str) -> Any:
    metrics = table(Metrics)
    insert = inserting(dialect_name, metrics)
    sums = {name: metrics.c[name] + insert.excluded[name] for name in _SUMS}
    return insert.on_conflict_do_update(index_elements=list(_KEY), set_=sums)


def _drop_empty(connection: Connection, keys: Sequence[_Key]) -> None:
    named = [{f"wanted_{name}": part for name, part in zip(_KEY, key, strict=True)} for key in keys]
    if named:
        connection.execute(_dropping(), named)


@cache
def _dropping() -> Any:
    metrics = table(Metrics)
    same = (metrics.c[name] == bindparam(f"wanted_{name}") for name in _KEY)
    return metrics.delete().where(*same, metrics.c["count"] == 0)
