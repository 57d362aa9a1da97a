"""Finding rows by keys of several columns, many at once, by their index on either database."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import (
    JSON,
    Column,
    ColumnElement,
    Connection,
    Integer,
    Row,
    Select,
    Table,
    Text,
    bindparam,
    cast,
    func,
    select,
)

from taskmark.store.tables import NO_ITEM, ItemNumber

AT_ONCE = 500
"""A statement takes a limited number of values."""

Item = TypeVar("Item")


def rows_with(
    connection: Connection,
    target: Table,
    key: Sequence[str],
    keys: Iterable[tuple[Any, ...]],
    whole: bool = True,
) -> Iterator[Row[Any]]:
    """Yields the rows that have one of these keys, or only their keys; `key` are names of fields."""
    query = rows_by_keys(connection.dialect.name, target, tuple(key), whole)
    for some in batches(keys, AT_ONCE):
        wanted = [[NO_ITEM if part is None else part for part in one] for one in some]
        yield from connection.execute(query, {"wanted": json.dumps(wanted)})


@cache
def rows_by_keys(dialect_name: str, target: Table, key: tuple[str, ...], whole: bool = True) -> Select[Any]:
    """Returns the statement that reads the rows whose keys are in the parameter `wanted`, lists in JSON.

    Each row is looked up by its key: SQLite would read the whole table for `(a, b) IN (…)`. And the
    statement is made once, whatever the number of keys: making one takes longer than running it.
    """
    columns, wanted = [target.c[field] for field in key], bindparam("wanted", type_=Text())
    parts: list[ColumnElement[Any]]
    if dialect_name == "postgresql":
        rows = func.json_array_elements(cast(wanted, JSON)).table_valued("value", name="wanted")
        parts = [_as_in(column, rows.c.value.op("->>")(place)) for place, column in enumerate(columns)]
    else:
        rows = func.json_each(wanted).table_valued("value", name="wanted")
        parts = [func.json_extract(rows.c.value, f"$[{place}]") for place in range(len(key))]
    found = select(target) if whole else select(*columns)
    return found.where(*(column == part for column, part in zip(columns, parts, strict=True)))


def _as_in(column: Column[Any], part: ColumnElement[Any]) -> ColumnElement[Any]:
    """Returns a text as the column has it."""
    return cast(part, Integer) if isinstance(column.type, Integer | ItemNumber) else part


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yields the items in lists of at most so many."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
