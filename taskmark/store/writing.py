"""Records into rows: one transaction, the merge rule on both databases, events numbered without gaps."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, Engine, Row, Table, func, select, text

from taskmark.store import searching, summing
from taskmark.store.deriving import derived
from taskmark.store.engine import is_about_data, reason, writing
from taskmark.store.inserting import Conflict, as_they_are, insert_all
from taskmark.store.keys import AT_ONCE, batches, rows_with
from taskmark.store.merging import (
    KEYS,
    Columns,
    MergedRow,
    Told,
    in_columns,
    merge,
    pack_stamps,
    unpack_stamps,
)
from taskmark.store.summing import Change
from taskmark.store.tables import (
    Attempts,
    Checkpoints,
    Definitions,
    Estimates,
    Events,
    Executions,
    Phases,
    Stored,
    fields,
    table,
)

TABLES: Mapping[str, type[Stored]] = {
    "definition": Definitions,
    "execution": Executions,
    "phase": Phases,
    "attempt": Attempts,
    "checkpoint": Checkpoints,
    "estimate": Estimates,
    "event": Events,
}
"""The table of each type of record."""

One = TypeVar("One", bound=Told | Columns)

_LOCKS = 64
"""Locks that writers on PostgreSQL share among all executions."""
_LOCK_CLASS = 0x74736B

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rejected(Generic[One]):
    """A record that can't be written, and why."""

    record: One
    reason: str


def apply(engine: Engine, records: Sequence[Told | Columns]) -> None:
    """Writes the records in one transaction: all of them or none.

    The order does not matter, and records written before change nothing. Raises `Unreachable` if the
    store does not answer, and what the database says (or `ValueError`, `OverflowError`, `TypeError`)
    if a value can't be written.
    """
    if records:
        with writing(engine) as connection:
            write(connection, records)


def write(connection: Connection, records: Sequence[Told | Columns]) -> None:
    """Writes the records as `apply` does, within a transaction that is open already."""
    told: dict[str, list[Columns]] = {kind: [] for kind in TABLES}
    for one in map(in_columns, records):
        told[one.type].append(one)
    exclude_writers_of(connection, {str(one.key[0]) for some in told.values() for one in some})
    _merge_all(connection, told)
    _add_events(connection, told["event"])


def apply_each(engine: Engine, records: Sequence[One]) -> list[Rejected[One]]:
    """Writes the records, in one transaction if it can be; returns those that can't be written.

    Halves are tried apart until what is wrong is alone, so one bad record holds up no other. Raises
    `Unreachable` if the store does not answer: then records may have been written or not, and all of
    them can be written again.
    """
    try:
        apply(engine, records)
    except Exception as error:
        if not is_about_data(error):
            raise
        if len(records) == 1:
            return [Rejected(records[0], f"{type(error).__name__}: {reason(error)}")]
        middle = len(records) // 2
        return apply_each(engine, records[:middle]) + apply_each(engine, records[middle:])
    return []


def exclude_all_writers(connection: Connection) -> None:
    """Until the transaction ends nobody else writes; who wants to waits."""
    _lock(connection, range(_LOCKS), _LOCK_CLASS)


def exclude_writers_of(
    connection: Connection, names: Iterable[str], *, lock_class: int = _LOCK_CLASS
) -> None:
    """Two writers must not merge into one row, or number one execution's events, at the same time: until
    the transaction ends nobody else writes what has these names, such as ids of executions."""
    _lock(connection, {_lock_of(name) for name in names}, lock_class)


def _lock(connection: Connection, locks: Iterable[int], lock_class: int) -> None:
    """A writing transaction on SQLite is alone anyway. On PostgreSQL locks are taken in rising order, so
    that no two writers wait for each other."""
    if connection.dialect.name != "postgresql":
        return
    take = text("SELECT pg_advisory_xact_lock(:lock_class, lock) FROM unnest(CAST(:locks AS int[])) AS lock")
    connection.execute(take, {"lock_class": lock_class, "locks": sorted(locks)})


def _lock_of(name: str) -> int:
    return hashlib.sha256(name.encode()).digest()[0] % _LOCKS


def _merge_all(connection: Connection, told: Mapping[str, Sequence[Columns]]) -> None:
    """Merges rows, and keeps in line what sums them up: executions last, with what their attempts used."""
    for kind in ("definition", "phase", "checkpoint", "estimate"):
        _merge_rows(connection, kind, told[kind])
    attempts = _merge_rows(connection, "attempt", told["attempt"])
    using = {change.after["execution_id"] for change in attempts if summing.changes_use(change)}
    executions = _merge_rows(connection, "execution", told["execution"], using)
    searching.add(connection, executions, attempts)
    summing.add(connection, executions, attempts)


def _merge_rows(
    connection: Connection, kind: str, told: Sequence[Columns], using: Collection[str] = ()
) -> list[Change]:
    """Merges records into their rows and returns what changed; `using` are executions whose attempts used
    something, which nobody may have told of."""
    target = table(TABLES[kind])
    keys = {one.key for one in told} | {(execution,) for execution in using}
    stored = merged_rows(target, KEYS[kind], rows_with(connection, target, KEYS[kind], keys))
    rows = dict(stored)
    for one in told:
        rows[one.key] = merge(rows.get(one.key), one)
    if kind == "execution":
        summed = [str(key[0]) for key in rows if key not in stored or key[0] in using]
        add_use(connection, rows, summed)
    changed = {key: row for key, row in rows.items() if row != stored.get(key)}
    return write_rows(connection, kind, changed, stored)


def add_use(
    connection: Connection, rows: dict[tuple[Any, ...], MergedRow], executions: Sequence[str]
) -> None:
    """Gives those of the rows that are named what their attempts used."""
    for execution, used in summing.used(connection, executions).items():
        row = rows[execution,]
        rows[execution,] = MergedRow({**row.values, **used}, row.stamps)


def write_rows(
    connection: Connection,
    kind: str,
    rows: Mapping[tuple[Any, ...], MergedRow],
    stored: Mapping[tuple[Any, ...], MergedRow],
) -> list[Change]:
    """Writes rows with what follows from them, and returns how they changed."""
    target = table(TABLES[kind])
    absent = dict.fromkeys(target.columns.keys())
    values = [
        {**absent, **row.values, **derived(kind, row.values), "stamps": pack_stamps(row.stamps)}
        for row in rows.values()
    ]
    insert_all(connection, target, values, replacing(target, KEYS[kind]))
    befores = (stored[key].values if key in stored else None for key in rows)
    return [Change(before, after) for before, after in zip(befores, values, strict=True)]


def merged_rows(
    target: Table, key: Sequence[str], rows: Iterable[Row[Any]]
) -> dict[tuple[Any, ...], MergedRow]:
    """Returns rows of a table as what was merged into them, by their keys."""
    found = {}
    for row in rows:
        values = fields(target, row)
        stamps = unpack_stamps(values.pop("stamps"))
        found[tuple(values.get(field) for field in key)] = MergedRow(values, stamps)
    return found


@cache
def replacing(target: Table, key: tuple[str, ...]) -> Conflict:
    """Returns what replaces rows with the same key."""

    def conflict(insertion: Any) -> Any:
        others = {field: insertion.excluded[field] for field in target.columns.keys() if field not in key}  # noqa: SIM118 - a collection of columns iterates over these, not their names
        return insertion.on_conflict_do_update(index_elements=list(key), set_=others)

    return conflict


def _add_events(connection: Connection, events: Sequence[Columns]) -> None:
    """Adds those that are new, numbered in the order in which each execution told them."""
    target = table(Events)
    key = KEYS["event"]
    told = {event.key: event.values for event in reversed(events)}
    known = {tuple(row) for row in rows_with(connection, target, key, told, whole=False)}
    new = [event for event in dict.fromkeys(event.key for event in events) if event not in known]
    last = _last_numbers(connection, target, dict.fromkeys(str(name[0]) for name in new))
    rows = []
    for name in new:
        last[name[0]] += 1
        rows.append({"item": None, **told[name], "seq": last[name[0]]})
    insert_all(connection, target, rows, as_they_are)


def _last_numbers(connection: Connection, target: Table, executions: Iterable[str]) -> Counter[Any]:
    """Returns the number of each execution's newest event."""
    found: Counter[Any] = Counter()
    execution = target.c.execution_id
    for some in batches(executions, AT_ONCE):
        newest = select(execution, func.max(target.c.seq)).where(execution.in_(some)).group_by(execution)
        found.update({row[0]: row[1] for row in connection.execute(newest)})
    return found
