"""After a migration: what follows from rows, and what sums them up, is made anew by the code of today."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, select

from taskmark.store import searching, summing
from taskmark.store.merging import KEYS
from taskmark.store.summing import Change
from taskmark.store.tables import (
    Attempts,
    Checkpoints,
    Durations,
    Estimates,
    Events,
    Executions,
    Metrics,
    Phases,
    Texts,
    table,
)
from taskmark.store.writing import TABLES, add_use, merged_rows, write_rows

_AT_ONCE = 50
"""Executions whose rows are read and written together."""


def refill(connection: Connection) -> None:
    """Brings every row up to date. Takes about as long as writing all of them did."""
    for summary in (Metrics, Durations, Texts):
        connection.execute(table(summary).delete())
    for executions in every_execution(connection):
        _rewritten(connection, "phase", executions)
        attempts = _rewritten(connection, "attempt", executions)
        whole = _rewritten(connection, "execution", executions)
        searching.add(connection, whole, attempts)
        summing.add(connection, whole, attempts)


def every_execution(connection: Connection) -> Iterator[list[str]]:
    """Yields the ids of all executions, some at a time, also of those that only other rows tell of."""
    last = ""
    while True:
        found: set[str] = set()
        for model in (Executions, Phases, Attempts, Checkpoints, Estimates, Events):
            name = table(model).c.execution_id
            query = select(name).distinct().where(name > last).order_by(name).limit(_AT_ONCE)
            found.update(connection.execute(query).scalars())
        some = sorted(found, key=str.encode)[:_AT_ONCE]
        if not some:
            return
        yield some
        last = some[-1]


def _rewritten(connection: Connection, kind: str, executions: Sequence[str]) -> list[Change]:
    """Writes the rows of a type again, and returns them as new ones."""
    target = table(TABLES[kind])
    query = select(target).where(target.c.execution_id.in_(executions))
    rows = merged_rows(target, KEYS[kind], connection.execute(query))
    if kind == "execution":
        add_use(connection, rows, [str(key[0]) for key in rows])
    return write_rows(connection, kind, rows, {})
