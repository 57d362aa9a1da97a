"""Sums over rows, kept up to date as these change: what an execution used, and the table of metrics.

An execution's own sums are always those of the attempts in the store, counted again when they change.
The table of metrics holds, for each value of each dimension, how many rows there are of a status and a day
(of the start, in UTC), with their sums; that of durations how many took about so long, for each day, month
and year, so that a long time is read in few rows. A changed row is taken out where it was and put in where it
is now. So all say the same, whatever the order in which rows came.
"""

from __future__ import annotations

import math
import operator
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, TypeAlias

from sqlalchemy import Connection, Table, bindparam, select

from taskmark.store.inserting import Conflict, insert_all
from taskmark.store.keys import AT_ONCE, batches
from taskmark.store.tables import Attempts, Durations, Executions, Metrics, Stored, table

GROWTH = 1.05
"""Each bucket's durations are at most so many times the bucket's before: a quantile is right to 2.5 %."""
_BILLION = 10**9
Row: TypeAlias = Mapping[str, Any]
"""A row of executions or attempts, by the names of its fields."""

_Key: TypeAlias = tuple[str, str, str, str | int]
_Sums: TypeAlias = dict[_Key, list[int]]
_KEYS: Mapping[type[Stored], tuple[str, ...]] = {
    Metrics: ("dimension", "name", "day", "status"),
    Durations: ("dimension", "period", "name", "bucket"),
}
_SUMS: Mapping[type[Stored], tuple[str, ...]] = {
    Metrics: (
        *("count", "ended", "retries", "duration_ms", "tokens_used", "cost_billionths", "questions_asked"),
    ),
    Durations: ("count",),
}
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


def expected(connection: Connection) -> dict[type[Stored], dict[tuple[Any, ...], tuple[int, ...]]]:
    """Returns what the tables of sums should say, by their keys, counted anew over all rows."""
    sums = _nothing()
    for dimensions, model in ((_EXECUTIONS, Executions), (_ATTEMPTS, Attempts)):
        for row in connection.execute(select(*counted(table(model)))):
            _count(sums, dimensions, row._asdict(), 1)
    return {model: {key: tuple(values) for key, values in found.items()} for model, found in sums.items()}


def counted(target: Table) -> list[Any]:
    """Returns the columns of executions or attempts that metrics are made of, by the names of fields."""
    return [target.c[name].label(name) for name in _COUNTED if name in target.c]


_COUNTED = (
    *("status", "started_at", "duration_ms", "cost", "attempts", "attempt"),
    *("tokens_used", "tokens", "questions_asked", "questions"),
    *("build_id", "task_id", "project", "assigned_agent", "agent", "tool"),
)


def _nothing() -> dict[type[Stored], _Sums]:
    return {model: defaultdict(partial(_zeros, len(names))) for model, names in _SUMS.items()}


def _zeros(count: int) -> list[int]:
    return [0] * count


def _write(connection: Connection, sums: Mapping[type[Stored], _Sums]) -> None:
    for model, found in sums.items():
        # in one order everywhere: writers that wait for each other's rows would wait for ever
        rows = [(key, found[key]) for key in sorted(found) if any(found[key])]
        if rows:
            names = (*_KEYS[model], *_SUMS[model])
            named = [dict(zip(names, (*key, *values), strict=True)) for key, values in rows]
            insert_all(connection, table(model), named, _adding(model))
            _drop_empty(connection, model, [key for key, values in rows if values[0] < 0])


def _count(
    sums: Mapping[type[Stored], _Sums],
    dimensions: Mapping[str, str | None],
    row: Mapping[str, Any],
    sign: int,
) -> None:
    started, duration = row.get("started_at"), row.get("duration_ms")
    day = started.date().isoformat() if started else ""
    values = [sign * value for value in _values(row)]
    within, about = ((), 0) if duration is None else (periods(day), bucket(duration))
    for dimension, field in dimensions.items():
        name = "" if field is None else row.get(field)
        if name is None:
            continue
        total = sums[Metrics][dimension, str(name), day, str(row["status"])]
        total[:] = map(operator.add, total, values)
        for period in within:
            sums[Durations][dimension, period, str(name), about][0] += sign


def periods(day: str) -> tuple[str, ...]:
    """Returns the day, its month and its year, by which durations are counted; none without a start."""
    return (day, day[:7], day[:4]) if day else ()


def _values(row: Mapping[str, Any]) -> Iterator[int]:
    whole = "attempts" in row  # an execution
    yield 1
    yield int(row.get("duration_ms") is not None)
    yield row["attempts"] - 1 if whole else int(row["attempt"] > 1)
    yield row.get("duration_ms") or 0
    yield row.get("tokens_used" if whole else "tokens") or 0
    yield round((row.get("cost") or 0) * _BILLION)
    yield row.get("questions_asked" if whole else "questions") or 0


def bucket(duration_ms: int) -> int:
    """Returns the number of the bucket for a duration: 0 up to a millisecond, then each `GROWTH` wider."""
    return math.ceil(math.log(max(duration_ms, 1)) / math.log(GROWTH))


def duration_in(bucket: int) -> float:
    """Returns the milliseconds that stand for a bucket's durations: between its bounds, with equal error."""
    return 2 * GROWTH**bucket / (GROWTH + 1)


@cache
def _adding(model: type[Stored]) -> Conflict:
    def conflict(insertion: Any) -> Any:
        target = table(model)
        sums = {name: target.c[name] + insertion.excluded[name] for name in _SUMS[model]}
        return insertion.on_conflict_do_update(index_elements=list(_KEYS[model]), set_=sums)

    return conflict


def _drop_empty(connection: Connection, model: type[Stored], keys: Sequence[_Key]) -> None:
    names = [f"wanted_{name}" for name in _KEYS[model]]
    if keys:
        connection.execute(_dropping(model), [dict(zip(names, key, strict=True)) for key in keys])


@cache
def _dropping(model: type[Stored]) -> Any:
    target = table(model)
    same = (target.c[name] == bindparam(f"wanted_{name}") for name in _KEYS[model])
    return target.delete().where(*same, target.c["count"] == 0)
