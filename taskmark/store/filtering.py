"""Which executions are wanted, and the statements that read them: each in the order of one index.

Executions without a start come first and have statements of their own, because no index of SQLite is in
that order; so does each status, because several in one statement would have to be sorted.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import ColumnElement, Select, literal, select, tuple_

from taskmark.contracts import ExecutionStatus
from taskmark.store.cursors import Cursor
from taskmark.store.tables import BYTEWISE, Executions, UtcDateTime, table

_COLUMNS = {
    "task": "task_id",
    "build": "build_id",
    "file": "source_path",
    "agent": "assigned_agent",
    "project": "project",
    "trace": "trace_id",
}


class ExecutionFilter(BaseModel):
    """What executions must be, all of it; what is absent does not matter."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str | None = None
    """The task's id."""
    build: str | None = None
    file: str | None = None
    """The task's file, relative to the root."""
    agent: str | None = None
    """Who does the whole of it."""
    project: str | None = None
    trace: str | None = None
    status: tuple[ExecutionStatus, ...] = ()
    """Any of these; all if there are none."""
    since: datetime | None = None
    """Began then or later. Without a zone it counts as UTC."""
    until: datetime | None = None
    """Began before."""
    search: str | None = None
    """Words which inputs, outputs and errors of one of its attempts hold; `taskmark.store.searching`."""


EVERY = ExecutionFilter()


def statements(
    wanted: ExecutionFilter, after: Cursor | None, *further: ColumnElement[bool]
) -> Iterator[list[Select[Any]]]:
    """Yields the statements that read what is wanted, those whose rows come first first; the rows of one
    list belong in one order. `further` are conditions of any kind."""
    executions = table(Executions)
    started, latest = (
        executions.c.started_at,
        (executions.c.started_at.desc(), executions.c.execution_id.desc()),
    )
    alike = [executions.c[name] == value for name, value in _values(wanted)]
    query = select(executions).where(*alike, *further).order_by(*latest)
    of_each = [query.where(executions.c.status == str(status)) for status in dict.fromkeys(wanted.status)]
    begun = [one.where(started.is_not(None), *_times(wanted)) for one in of_each or [query]]
    if after is not None and after.started_at is not None:
        yield [one.where(_older(after)) for one in begun]
        return
    if wanted.since is None and wanted.until is None:
        waiting = [started.is_(None), *([executions.c.execution_id < after.execution_id] if after else [])]
        yield [one.where(*waiting) for one in of_each or [query]]
    yield begun


def _values(wanted: ExecutionFilter) -> Iterator[tuple[str, str]]:
    for field, column in _COLUMNS.items():
        value = getattr(wanted, field)
        if value is not None:
            yield column, value


def _times(wanted: ExecutionFilter) -> Iterator[ColumnElement[bool]]:
    started = table(Executions).c.started_at
    if wanted.since is not None:
        yield started >= wanted.since
    if wanted.until is not None:
        yield started < wanted.until


def _older(after: Cursor) -> ColumnElement[bool]:
    executions = table(Executions)
    place = literal(after.started_at, UtcDateTime()), literal(after.execution_id, BYTEWISE)
    return tuple_(executions.c.started_at, executions.c.execution_id) < tuple_(*place)
