"""Questions to the history, answered as records: what is read is what was written, merged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, TypeVar

from sqlalchemy import Engine, Select, Table, and_, or_, select
from sqlalchemy.exc import DataError

from taskmark.contracts import ExecutionStatus
from taskmark.errors import UnknownExecution
from taskmark.records import (
    AttemptRecord,
    DefinitionRecord,
    EventRecord,
    ExecutionRecord,
    PhaseRecord,
    Row,
)
from taskmark.store.engine import reading
from taskmark.store.tables import Attempts, Definitions, Events, Executions, Phases, fields, table
from taskmark.task.model import Json

CANDIDATES = 5
"""How many executions an ambiguous prefix is explained with."""

_LAST_TEXT = "\U0010ffff"
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
        raise _unknown(id, [one.execution_id for one in found])

    def executions(
        self,
        status: ExecutionStatus | None = None,
        task: str | None = None,
        project: str | None = None,
        limit: int = 50,
        before: str | None = None,
    ) -> tuple[StoredExecution, ...]:
        """Returns executions, the latest start first (before them those without one).

        `before` is the id of the last execution of the page before. Raises `UnknownExecution` if it
        does not exist.
        """
        executions = table(Executions)
        query = select(executions)
        for column, wanted in (("status", status), ("task_id", task), ("project", project)):
            if wanted is not None:
                query = query.where(executions.c[column] == str(wanted))
        if before is not None:
            query = query.where(self._older_than(executions, before))
        latest = executions.c.started_at.desc().nulls_first(), executions.c.execution_id.desc()
        return self._read(executions, query.order_by(*latest).limit(limit), StoredExecution)

    def _older_than(self, executions: Table, id: str) -> Any:
        found = self._exact(id)
        started, name = executions.c.started_at, executions.c.execution_id
        if found.started_at is None:
            return or_(started.is_not(None), name < id)
        return or_(started < found.started_at, and_(started == found.started_at, name < id))

    def _exact(self, id: str) -> StoredExecution:
        executions = table(Executions)
        query = select(executions).where(executions.c.execution_id == id)
        found = self._read(executions, query, StoredExecution)
        if not found:
            raise _unknown(id, [])
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

    def events(self, id: str, after: int = 0, limit: int = 1000) -> tuple[StoredEvent, ...]:
        """Returns the events of an execution whose number is above `after`, in order."""
        events = table(Events)
        query = select(events).where(events.c.execution_id == id, events.c.seq > after)
        return self._read(events, query.order_by(events.c.seq).limit(limit), StoredEvent)

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
                after, ended = event.seq, ended or event.kind in _ENDS
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
        try:
            with reading(self._engine) as connection:
                found = connection.execute(query)
                return tuple(model.model_validate(fields(target, row)) for row in found)
        except (DataError, UnicodeEncodeError):
            # What the database can't hold (NUL, half a character) was never recorded.
            return ()


def _unknown(id: str, candidates: list[str]) -> UnknownExecution:
    if not candidates:
        return UnknownExecution(f"No execution has the id {id!r}", hint="`taskmark list` shows what there is")
    shown = ", ".join(candidates[:CANDIDATES]) + (", …" if len(candidates) > CANDIDATES else "")
    return UnknownExecution(f"Several executions have an id that begins with {id!r}", hint=f"One of {shown}")
