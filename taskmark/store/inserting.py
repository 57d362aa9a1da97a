"""Rows into a table, many at once, on either database.

PostgreSQL gets them as one document: a statement per row costs the client more than everything else it does
to write it. SQLite's driver gets them as it takes them, for SQLAlchemy's way from rows to there costs as much
as the driver's own work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Dialect,
    Table,
    Text,
    TypeDecorator,
    bindparam,
    cast,
    func,
    select,
)
from sqlalchemy import column as named

from taskmark.portions import portions
from taskmark.store.dialects import insertion_of
from taskmark.store.moments import utc
from taskmark.store.tables import UtcDateTime
from taskmark.store.texts import document

BYTES = 8 * 2**20
"""Of a document, unless a single row is larger: PostgreSQL takes no value of a gigabyte."""

Row: TypeAlias = Mapping[str, Any]
"""Values by the names of fields; of one table all have the same."""
Conflict: TypeAlias = Callable[[Any], Any]
"""Makes of an insertion one that says what to do with rows that are there already."""
Writer: TypeAlias = Callable[[Any], Any]
"""Makes of a column's value what stands for it in what is sent."""


def insert_all(connection: Connection, target: Table, rows: Sequence[Row], conflict: Conflict) -> None:
    """Inserts rows. `conflict` must be the same function each time: what it makes is made once."""
    if not rows:
        return
    dialect, names = connection.dialect, tuple(rows[0])
    if dialect.name == "postgresql":
        statement = _of_document(target, names, conflict)
        for some in _documents(rows, names, _in_document(dialect, target, names)):
            connection.execute(statement, {"rows": some})
    else:
        plain = _of_values(dialect, target, names, conflict)
        connection.exec_driver_sql(plain.statement, list(_values(rows, plain.names, plain.writers)))


def as_they_are(insertion: Any) -> Any:
    """A `Conflict`: there are no such rows."""
    return insertion


def inserting(dialect_name: str, target: Table) -> Any:
    """Returns an insertion into the table that may say what to do with rows that are there already."""
    return insertion_of(dialect_name)(target)


def _values(
    rows: Sequence[Row], names: Sequence[str], writers: Sequence[Writer | None]
) -> Iterator[tuple[Any, ...]]:
    """Yields the values of each row in the order of their names, written column by column."""
    columns = zip(writers, zip(*map(itemgetter(*names), rows), strict=True), strict=True)
    return zip(*(map(write, column) if write else column for write, column in columns), strict=True)


# --- values as the driver takes them --------------------------------------------------------------


class _Plain(NamedTuple):
    """An insertion in the driver's words."""

    statement: str
    names: tuple[str, ...]
    """Which field each of its values is."""
    writers: tuple[Writer | None, ...]


@lru_cache
def _of_values(dialect: Dialect, target: Table, names: tuple[str, ...], conflict: Conflict) -> _Plain:
    insertion = conflict(inserting(dialect.name, target))
    compiled = insertion.compile(dialect=dialect, column_keys=list(names))
    ordered = tuple(compiled.positiontup)
    kinds = (target.c[name].type.dialect_impl(dialect) for name in ordered)
    return _Plain(str(compiled), ordered, tuple(kind.bind_processor(dialect) for kind in kinds))


# --- documents ------------------------------------------------------------------------------------


@cache
def _of_document(target: Table, names: tuple[str, ...], conflict: Conflict) -> Any:
    insertion = inserting("postgresql", target)
    columns = [target.c[name] for name in names]
    given_rows = cast(bindparam("rows", type_=Text()), JSON)
    types = (named(one.key, Text() if _is_text(one) else one.type) for one in columns)
    given = (
        func.json_to_recordset(given_rows).table_valued(*types, name="given").render_derived(with_types=True)
    )
    values = (cast(given.c[c.key], JSON) if isinstance(c.type, JSON) else given.c[c.key] for c in columns)
    return conflict(insertion.from_select(columns, select(*values)))


def _is_text(column: Column[Any]) -> bool:
    """JSON is a text within the document: so it stays as it is, with its escaped NUL characters."""
    return isinstance(column.type, JSON | Text)


def _documents(rows: Sequence[Row], names: Sequence[str], writers: Sequence[Writer | None]) -> Iterator[str]:
    """Yields rows as lists in JSON, without what is absent."""
    objects = (_object(names, values) for values in _values(rows, names, writers))
    for some in portions(((one, len(one)) for one in objects), BYTES):
        yield f"[{','.join(some)}]"


def _object(names: Sequence[str], values: Sequence[Any]) -> str:
    return document({name: value for name, value in zip(names, values, strict=True) if value is not None})


@lru_cache
def _in_document(dialect: Dialect, target: Table, names: tuple[str, ...]) -> tuple[Writer | None, ...]:
    return tuple(_writer(target.c[name], dialect) for name in names)


def _writer(column: Column[Any], dialect: Dialect) -> Writer | None:
    """Returns what turns a value of the column into what stands in the document; None: it stands there."""
    kind = column.type
    if isinstance(kind, JSON):
        return lambda value: None if value is None else document(value)
    if isinstance(kind, UtcDateTime):
        return lambda value: None if value is None else utc(value).isoformat()
    if isinstance(kind, TypeDecorator):
        return lambda value: kind.process_bind_param(value, dialect)
    return None
