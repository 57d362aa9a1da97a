"""Questions to the history, answered as records: what is read is what was written, merged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from heapq import merge
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Select, Table, and_, select
from sqlalchemy.exc import DataError

from taskmark.contracts import ExecutionStatus
from taskmark.errors import UnknownExecution
from taskmark.records import (
    AttemptRecord,
    DefinitionRecord,
    EstimateRecord,
    EventRecord,
    ExecutionRecord,
    PhaseRecord,
    Row,
)
from taskmark.store import measuring, searching
from taskmark.store.cursors import Cursor
from taskmark.store.engine import reading
from taskmark.store.filtering import EVERY, ExecutionFilter, statements
from taskmark.store.measuring import ALWAYS, Dimension, Measured, Window
from taskmark.store.tables import (
    Attempts,
    Definitions,
    Estimates,
    Events,
    Executions,
    Phases,
    fields,
    table,
)
from taskmark.task.model import Json

CANDIDATES = 5
"""How many executions an ambiguous prefix is explained with."""

_LAST_TEXT = "\U0010ffff"
_UNKNOWABLE = (DataError, UnicodeEncodeError)
"""About what the database can't hold (NUL, half a character): so it was never recorded."""
_ENDS = frozenset(
    {"execution_completed", "execution_failed", "execution_cancelled", "execution_timed_out"},
)
_Record = TypeVar("_Record", bound=Row)


class StoredExecution(ExecutionRecord):
    """An execution with what the store adds up of its attempts. Durations are in milliseconds."""

    task_slug: str | None = None
    duration_ms: int | None = None
    tokens_used: int | None = None
    cost: float | None = None
    questions_asked: int | None = None
    files_modified: tuple[str, ...] | None = None

    @property
    def cursor(self) -> str:
        """Its place in the order of `History.executions`: what follows it is `after` it."""
        return str(Cursor(self.started_at, self.execution_id))


class _Told(Row):
    """What follows of a try; see `taskmark.store.deriving`."""

    span_id: str | None = None
    retry_of: str | None = None
    duration_ms: int | None = None
    error_category: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    stack: str | None = None
    stack_hash: str | None = None


class StoredPhase(PhaseRecord, _Told):
    """A phase with what follows from the rest of it."""

    causes: tuple[str, ...] | None = None


class StoredAttempt(AttemptRecord, _Told):
    """An attempt with what follows from the rest of it."""

    tool: str | None = None
    causes: tuple[str, ...] | None = None
    retrieval: dict[str, Json] | None = None


class StoredEvent(EventRecord):
    """An event with its number: from 1, without gaps within an execution."""

    seq: int


class History:
    """Reads the store. Every method raises `Unreachable` if the store does not answer."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def execution(self, id: str) -> StoredExecution:
        """Returns the execution of this id, or the only one whose id begins so.

        Raises `UnknownExecution` if there is none or several; then the hint lists some.
        """
        executions = table(Executions)
        within = and_(executions.c.execution_id >= id, executions.c.execution_id < id + _LAST_TEXT)
        query = select(executions).where(within).order_by(executions.c.execution_id).limit(CANDIDATES + 1)
        found = self._read(executions, query, StoredExecution) if id else ()
        # The shortest id sorts first, so an exact match is the first.
        if found and (len(found) == 1 or found[0].execution_id == id):
            return found[0]
        raise unknown_execution(id, [one.execution_id for one in found])

    def executions(
        self, wanted: ExecutionFilter = EVERY, limit: int = 50, after: str | None = None
    ) -> tuple[StoredExecution, ...]:
        """Returns executions, the latest start first (before them those without one).

        `after` is the `cursor` of the last one of the page before: whatever began since then, the next
        page goes on where that one ended. Raises `InvalidQuery` if it is none, or nothing can be searched.
        """
        cursor = None if after is None else Cursor.parse(after)
        executions = table(Executions)
        found: dict[str, StoredExecution] = {}
        with reading(self._engine) as connection:
            further = [] if wanted.search is None else [searching.condition(connection, wanted.search)]
            for queries in statements(wanted, cursor, *further):
                left = limit - len(found)
                pages = (
                    _records(connection, executions, query.limit(left), StoredExecution) for query in queries
                )
                latest = merge(*pages, key=_place, reverse=True)
                found.update((one.execution_id, one) for one in islice(latest, left))
        return tuple(found.values())

    def in_temporal(self, status: ExecutionStatus, limit: int) -> tuple[str, ...]:
        """Returns the ids of executions in this state that Temporal runs, the latest start first."""
        executions = table(Executions)
        name, started = executions.c.execution_id, executions.c.started_at
        query = select(name).where(executions.c.status == str(status), executions.c.provenance != "elsewhere")
        latest = started.desc().nulls_first(), name.desc()
        with reading(self._engine) as connection:
            return tuple(connection.execute(query.order_by(*latest).limit(limit)).scalars())

    def metrics(
        self, by: Dimension = Dimension.EXECUTION, window: Window = ALWAYS, name: str | None = None
    ) -> tuple[Measured, ...]:
        """Returns counts, durations and what was used, for each value of a dimension or only for `name`:
        the most frequent first. They are read from sums, however many rows these are of."""
        try:
            with reading(self._engine) as connection:
                return measuring.measure(connection, by, window, name)
        except _UNKNOWABLE:
            return ()

    def _exact(self, id: str) -> StoredExecution:
        executions = table(Executions)
        query = select(executions).where(executions.c.execution_id == id)
        found = self._read(executions, query, StoredExecution)
        if not found:
            raise unknown_execution(id)
        return found[0]

    def phases(self, id: str) -> tuple[StoredPhase, ...]:
        """Returns the phases of the execution of exactly this id in the order of their starts."""
        phases = table(Phases)
        query = select(phases).where(phases.c.execution_id == id)
        query = query.order_by(phases.c.started_at.nulls_last(), phases.c.phase)
        return self._read(phases, query, StoredPhase)

    def attempts(self, id: str, step: str | None = None) -> tuple[StoredAttempt, ...]:
        """Returns the attempts of an execution, or of one of its steps, in the order of their starts."""
        attempts = table(Attempts)
        query = select(attempts).where(attempts.c.execution_id == id)
        if step is not None:
            query = query.where(attempts.c.step == step)
        key = (attempts.c[column] for column in ("phase", "step", "item", "attempt"))
        query = query.order_by(attempts.c.started_at.nulls_last(), *key)
        return self._read(attempts, query, StoredAttempt)

    def estimates(self, id: str) -> tuple[EstimateRecord, ...]:
        """Returns what was expected to remain of an execution, by how far it was."""
        estimates = table(Estimates)
        query = select(estimates).where(estimates.c.execution_id == id).order_by(estimates.c.percent)
        return self._read(estimates, query, EstimateRecord)

    def events(self, id: str, after: int = 0, limit: int = 1000) -> tuple[StoredEvent, ...]:
        """Returns the events of an execution whose number is above `after`, in order."""
        events = table(Events)
        query = select(events).where(events.c.execution_id == id, events.c.seq > after)
        return self._read(events, query.order_by(events.c.seq).limit(limit), StoredEvent)

    def all_events(self, id: str, after: int = 0) -> Iterator[StoredEvent]:
        """Yields all events of an execution whose number is above `after`, in order."""
        while found := self.events(id, after):
            yield from found
            after = found[-1].seq

    async def follow(self, id: str, after: int = 0, interval: float = 0.5) -> AsyncIterator[StoredEvent]:
        """Yields events as they become known, looking every `interval` seconds, until the execution is
        final and all of them were given.

        The end of an execution may be known a moment before its last events: after it, the iterator
        ends with the event that says so, or once another look finds nothing new. Raises
        `UnknownExecution`.
        """
        ended = quiet = False
        while True:
            final = (await asyncio.to_thread(self._exact, id)).status.is_final
            found = await asyncio.to_thread(self.events, id, after)
            for event in found:
                yield event
                after, ended = event.seq, event.kind in _ENDS
            if final and not found and (ended or quiet):
                return
            quiet = final and not found
            if not found:
                await asyncio.sleep(interval)

    def definition(self, sha256: str) -> DefinitionRecord:
        """Returns a version of a task. Raises `KeyError` if it was never recorded."""
        definitions = table(Definitions)
        query = select(definitions).where(definitions.c.sha256 == sha256)
        found = self._read(definitions, query, DefinitionRecord)
        if not found:
            raise KeyError(sha256)
        return found[0]

    def _read(self, target: Table, query: Select[Any], model: type[_Record]) -> tuple[_Record, ...]:
        with reading(self._engine) as connection:
            return _records(connection, target, query, model)


def _records(
    connection: Connection, target: Table, query: Select[Any], model: type[_Record]
) -> tuple[_Record, ...]:
    try:
        found = connection.execute(query)
        return tuple(model.model_validate(fields(target, row)) for row in found)
    except _UNKNOWABLE:
        return ()


def _place(one: StoredExecution) -> tuple[datetime, str]:
    return one.started_at or datetime.min.replace(tzinfo=UTC), one.execution_id


def unknown_execution(id: str, candidates: Sequence[str] = ()) -> UnknownExecution:
    """Returns the error for an id that no execution has, or for a beginning that several have."""
    if not candidates:
        return UnknownExecution(f"No execution has the id {id!r}", hint="`taskmark list` shows what there is")
    shown = ", ".join(candidates[:CANDIDATES]) + (", …" if len(candidates) > CANDIDATES else "")
    return UnknownExecution(f"Several executions have an id that begins with {id!r}", hint=f"One of {shown}")
