"""Finding rows by keys of several columns, many at once, by their index on either database."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, func, literal_column, select, tuple_

AT_ONCE = 500
"""A statement takes a limited number of values."""

Item = TypeVar("Item")


def having(
    connection: Connection, target: Table, key: Sequence[str], keys: Iterable[tuple[Any, ...]]
) -> Iterator[ColumnElement[bool]]:
    """Yields conditions that together hold for the rows with these keys; `key` are names of fields."""
    for some in batches(keys, AT_ONCE):
        if connection.dialect.name == "sqlite":
            yield _listed(connection, target, key, some)
        else:
            yield tuple_(*(target.c[field] for field in key)).in_(some)


def _listed(
    connection: Connection, target: Table, key: Sequence[str], keys: Sequence[tuple[Any, ...]]
) -> ColumnElement[bool]:
    """For a list of tuples SQLite would read the whole table; for a join with one it asks the index."""
    written = [target.c[field].type.bind_processor(connection.dialect) for field in key]
    values = [
        [write(value) if write else value for write, value in zip(written, one, strict=True)] for one in keys
    ]
    listed = func.json_each(json.dumps(values)).table_valued("value", name="listed")
    found = target.alias("found")
    same = (
        found.c[field] == func.json_extract(listed.c.value, f"$[{place}]") for place, field in enumerate(key)
    )
    rows: Select[Any] = select(literal_column("found.rowid")).select_from(listed.join(found, and_(*same)))
    return literal_column(f"{target.name}.rowid").in_(rows)


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yields the items in lists of at most so many."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
