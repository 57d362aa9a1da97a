"""Records into rows: one transaction, the merge rule on both databases, events numbered without gaps."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import (
    JSON,
    Column,
    ColumnElement,
    Connection,
    Engine,
    Integer,
    Select,
    Table,
    Text,
    bindparam,
    cast,
    func,
    select,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite

from taskmark.records import EventRecord, Record
from taskmark.store.engine import is_about_data, reason, writing
from taskmark.store.merging import (
    KEYS,
    MergedRow,
    RowRecord,
    columns_of,
    key_of,
    merge,
    pack_stamps,
    unpack_stamps,
)
from taskmark.store.tables import (
    NO_ITEM,
    Attempts,
    Definitions,
    Events,
    Executions,
    ItemNumber,
    Phases,
    Stored,
    table,
)

TABLES: Mapping[str, type[Stored]] = {
    "definition": Definitions,
    "execution": Executions,
    "phase": Phases,
    "attempt": Attempts,
    "event": Events,
}
"""The table of each type of record."""

_LOCKS = 64
"""Locks that writers on PostgreSQL share among all executions."""
_LOCK_CLASS = 0x74736B
_KEYS_AT_ONCE = 500
"""A statement takes a limited number of values."""

_logger = logging.getLogger(__name__)
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Rejected:
    """A record that can't be written, and why."""

    record: Record
    reason: str


def apply(engine: Engine, records: Sequence[Record]) -> None:
    """Writes the records in one transaction: all of them or none.

    The order does not matter, and records written before change nothing. Raises `Unreachable` if the
    store does not answer, and what the database says (or `ValueError`, `OverflowError`, `TypeError`)
    if a value can't be written.
    """
    if not records:
        return
    rows: dict[str, list[RowRecord]] = {}
    events: list[EventRecord] = []
    for record in records:
        if isinstance(record, EventRecord):
            events.append(record)
        else:
            rows.setdefault(record.type, []).append(record)
    with writing(engine) as connection:
        _exclude_other_writers(connection, records)
        for kind, told in rows.items():
            _merge_rows(connection, kind, told)
        _add_events(connection, events)


def apply_each(engine: Engine, records: Sequence[Record]) -> list[Rejected]:
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


def _exclude_other_writers(connection: Connection, records: Sequence[Record]) -> None:
    """Two writers must not merge into one row, or number one execution's events, at the same time.

    A writing transaction on SQLite is alone anyway. On PostgreSQL locks are taken in rising order, so
    that no two writers wait for each other.
    """
    if connection.dialect.name != "postgresql":
        return
    take = text("SELECT pg_advisory_xact_lock(:lock_class, :lock)")
    for lock in sorted({_lock_of(str(key_of(record)[0])) for record in records}):
        connection.execute(take, {"lock_class": _LOCK_CLASS, "lock": lock})


def _lock_of(name: str) -> int:
    return hashlib.sha256(name.encode()).digest()[0] % _LOCKS


def _merge_rows(connection: Connection, kind: str, records: Sequence[RowRecord]) -> None:
    target = table(TABLES[kind])
    told = [(key_of(record), record) for record in records]
    stored = _stored_rows(connection, target, KEYS[kind], {key for key, _ in told})
    rows = dict(stored)
    for key, record in told:
        rows[key] = merge(rows.get(key), record)
    changed = [row for key, row in rows.items() if row != stored.get(key)]
    if changed:
        absent = dict.fromkeys(target.columns.keys())
        values = [{**absent, **row.values, "stamps": pack_stamps(row.stamps)} for row in changed]
        connection.execute(upsert(connection, target, KEYS[kind]), values)


def _stored_rows(
    connection: Connection, target: Table, key: Sequence[str], keys: Iterable[tuple[Any, ...]]
) -> dict[tuple[Any, ...], MergedRow]:
    found = {}
    for row in _with_keys(connection, target, key, keys):
        values = {column: value for column, value in row.items() if value is not None}
        stamps = unpack_stamps(values.pop("stamps"))
        found[tuple(row[column] for column in key)] = MergedRow(values, stamps)
    return found


def _with_keys(
    connection: Connection, target: Table, key: Sequence[str], keys: Iterable[tuple[Any, ...]]
) -> Iterator[Mapping[str, Any]]:
    query = rows_by_keys(connection.dialect.name, target, tuple(key))
    for some in _batches(keys, _KEYS_AT_ONCE):
        wanted = [[NO_ITEM if part is None else part for part in one] for one in some]
        found = connection.execute(query, {"wanted": json.dumps(wanted)})
        yield from (dict(row) for row in found.mappings())


@cache
def rows_by_keys(dialect_name: str, target: Table, key: tuple[str, ...]) -> Select[Any]:
    """Returns the statement that reads the rows whose keys are in the parameter `wanted`, lists in JSON.

    Each row is looked up by its key: SQLite would read the whole table for `(a, b) IN (…)`. And the
    statement is made once, whatever the number of keys: making one takes longer than running it.
    """
    columns, wanted = [target.c[column] for column in key], bindparam("wanted", type_=Text())
    parts: list[ColumnElement[Any]]
    if dialect_name == "postgresql":
        rows = func.json_array_elements(cast(wanted, JSON)).table_valued("value", name="wanted")
        parts = [_as_in(column, rows.c.value.op("->>")(place)) for place, column in enumerate(columns)]
    else:
        rows = func.json_each(wanted).table_valued("value", name="wanted")
        parts = [func.json_extract(rows.c.value, f"$[{place}]") for place in range(len(key))]
    return select(target).where(*(column == part for column, part in zip(columns, parts, strict=True)))


def _as_in(column: Column[Any], part: ColumnElement[Any]) -> ColumnElement[Any]:
    """Returns a text as the column has it."""
    return cast(part, Integer) if isinstance(column.type, Integer | ItemNumber) else part


def upsert(connection: Connection, target: Table, key: Sequence[str]) -> Any:
    """Returns the statement that adds rows, or replaces those with the same key, on either database."""
    return _upsert(connection.dialect.name, target, tuple(key))


@cache
def _upsert(dialect_name: str, target: Table, key: tuple[str, ...]) -> Any:
    dialect = postgresql if dialect_name == "postgresql" else sqlite
    insert = dialect.insert(target)
    others = {
        column.name: insert.excluded[column.name] for column in target.columns if column.name not in key
    }
    return insert.on_conflict_do_update(index_elements=list(key), set_=others)


def _add_events(connection: Connection, events: Sequence[EventRecord]) -> None:
    """Adds those that are new, numbered in the order in which each execution told them."""
    target = table(Events)
    key = KEYS["event"]
    told = {key_of(event): event for event in reversed(events)}
    known = {tuple(row[column] for column in key) for row in _with_keys(connection, target, key, told)}
    new = [event for event in dict.fromkeys(map(key_of, events)) if event not in known]
    last = _last_numbers(connection, target, dict.fromkeys(str(name[0]) for name in new))
    rows = []
    for name in new:
        last[name[0]] += 1
        rows.append({"item": None, **columns_of(told[name]), "seq": last[name[0]]})
    if rows:
        connection.execute(target.insert(), rows)


def _last_numbers(connection: Connection, target: Table, executions: Iterable[str]) -> Counter[Any]:
    """Returns the number of each execution's newest event."""
    found: Counter[Any] = Counter()
    execution = target.c.execution_id
    for some in _batches(executions, _KEYS_AT_ONCE):
        newest = select(execution, func.max(target.c.seq)).where(execution.in_(some)).group_by(execution)
        found.update({row[0]: row[1] for row in connection.execute(newest)})
    return found


def _batches(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
