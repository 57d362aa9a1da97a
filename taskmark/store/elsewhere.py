"""Work that Temporal does not run, told by whoever does it: one execution, and an attempt per try of it.

Each call is one transaction: what the store says is read, what is told is checked against it, and the
records are written, merged by the same rules as any others. So two programs that tell of one execution at
the same time cannot contradict each other, and what is refused leaves nothing.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, Unpack

from sqlalchemy import Connection, Engine, Table, func, select, text

from taskmark.contracts import ExecutionStatus, execution_id
from taskmark.errors import Failure, Refused, UnknownExecution
from taskmark.identity import worker_identity
from taskmark.records import AttemptRecord, ExecutionRecord, Record, Row
from taskmark.store import tries
from taskmark.store.engine import writing
from taskmark.store.tables import ELSEWHERE, NO_ITEM, Attempts, Events, Executions, fields, table
from taskmark.store.tries import NO_PHASE, About, End, Use
from taskmark.store.writing import exclude_writers_of, write
from taskmark.task.model import Json

_STARTS = 0x74736C
"""Locks for starts on PostgreSQL, by task. They are taken before those of executions, never after."""
_TICK = timedelta(microseconds=1)
_Record = TypeVar("_Record", bound=Row)


class Elsewhere:
    """Tells the store of work that is done elsewhere.

    Every method takes some milliseconds, waits for a locked store, and raises `Unreachable` if it does not
    answer; to tell it again then doubles nothing but `progress`. Wrong words raise `InvalidInputs`.
    """

    def __init__(self, engine: Engine, clean: Callable[[Record], Record]) -> None:
        """`clean` takes out of a record what must not be kept."""
        self._engine = engine
        self._clean = clean

    def start(
        self,
        task: str,
        inputs: Mapping[str, Json] | None = None,
        *,
        id: str | None = None,
        idempotency_key: str | None = None,
        **about: Unpack[About],
    ) -> str:
        """Begins a try and returns the execution's id.

        `task` is an id, or a name whose slug is then the id. It is the first try of a new execution, unless
        there is one with the `id`, or one of the task with the `idempotency_key`. That begins its next try
        if the last one failed and will be retried; if it runs, or has ended and the key is its own, nothing
        is started. Raises `Refused` if it has ended, is another task's or Temporal's; `UnknownExecution`
        if there is no `retry_of`.
        """
        told = tries.execution(id, task, inputs, **about)
        task_id = str(told.task_id)
        key = tries.key_of(task_id, idempotency_key) if idempotency_key is not None else None
        with writing(self._engine) as connection:
            exclude_writers_of(connection, [task_id], lock_class=_STARTS)
            return self._start(connection, told, key)

    def _start(self, connection: Connection, told: ExecutionRecord, key: str | None) -> str:
        keyed = _with_key(connection, key) if key else None
        name = keyed or told.execution_id or _free_id(connection, str(told.task_id))
        if told.execution_id not in ("", name):
            raise Refused(f"The key given for {told.execution_id} is that of {name}", hint="use another key")
        exclude_writers_of(connection, [name])
        before = _execution(connection, name)
        told = told.model_copy(update={"execution_id": name})
        if before is None:
            self._begin(connection, _first(connection, told), key, datetime.now(UTC))
        elif _starts_again(before, told, known_by_key=keyed is not None, has_key=key is not None):
            last = _attempt(connection, before, before.attempts - 1)
            key = last.idempotency_key if last else key
            self._begin(connection, _next(before, told), key, _after(before))
        return name

    def _begin(self, connection: Connection, row: ExecutionRecord, key: str | None, at: datetime) -> None:
        self._write(connection, tries.begun(row, key, worker_identity(), at))

    def progress(self, id: str, stage: str, message: str = "") -> None:
        """Tells how far the try that runs is. Raises `Refused` if none does, `UnknownExecution`."""
        tries.word("stage", stage)
        message = tries.prose("message", message)
        with self._alone_with(id) as (connection, row):
            if row.status is not ExecutionStatus.RUNNING:
                raise _does_not_run(row)
            number = _progress_told(connection, row) + 1
            event = tries.progressed(row, number, stage, message, datetime.now(UTC))
            self._write(connection, [event])

    def complete(self, id: str, outputs: Mapping[str, Json] | None = None, **used: Unpack[Use]) -> None:
        """Tells that the try that runs has completed, and the execution with it; `used` is by this try.

        Raises `Refused` if no try runs, unless the last one ended just so already; `UnknownExecution`.
        """
        given = tries.document("outputs", outputs)
        self._end(id, End(ExecutionStatus.COMPLETED, given, None, tries.use(**used)))

    def fail(
        self,
        id: str,
        error: str | Failure | BaseException,
        *,
        will_retry: bool = False,
        **used: Unpack[Use],
    ) -> None:
        """Tells that the try that runs has failed, and with what.

        With `will_retry` the execution is pending until the next `start` of it. Raises as `complete` does.
        """
        failure = tries.failure(error).model_copy(update={"will_retry": will_retry})
        self._end(id, End(ExecutionStatus.FAILED, None, failure, tries.use(**used)))

    def cancel(self, id: str, reason: str = "", **used: Unpack[Use]) -> None:
        """Tells that it was given up, in a try or between two, when nothing can have been used.

        Raises as `complete` does.
        """
        failure = Failure(type="cancelled", message=tries.prose("reason", reason) or "cancelled")
        self._end(id, End(ExecutionStatus.CANCELLED, None, failure, tries.use(**used)))

    def _end(self, id: str, end: End) -> None:
        with self._alone_with(id) as (connection, row):
            whole, attempt, event = tries.ended(row, end, _after(row))
            if row.status is ExecutionStatus.RUNNING:
                self._write(connection, [whole, attempt, event])
            elif row.status is ExecutionStatus.PENDING and end.needs_no_try:
                self._write(connection, [whole, event])
            elif not self._is_repeated(connection, row, end):
                raise _does_not_run(row)

    def _is_repeated(self, connection: Connection, row: ExecutionRecord, end: End) -> bool:
        """Whether the last try ended just so."""
        number = row.attempts - (row.status is ExecutionStatus.PENDING)
        told = tries.ended(row.model_copy(update={"attempts": number}), end, _after(row))
        whole, attempt = (self._clean(record) for record in told[:2])
        last = _attempt(connection, row, number)
        return tries.same(whole, row) and (last is None or tries.same(attempt, last))

    @contextmanager
    def _alone_with(self, id: str) -> Iterator[tuple[Connection, ExecutionRecord]]:
        """Yields a transaction in which nobody else tells of the execution, and what is known of it."""
        with writing(self._engine) as connection:
            exclude_writers_of(connection, [id])
            row = _execution(connection, id)
            if row is None:
                raise UnknownExecution(f"No execution has the id {id!r}", hint="start it first")
            _leave_to_temporal(row)
            yield connection, row

    def _write(self, connection: Connection, records: Iterable[Record]) -> None:
        write(connection, [self._clean(record) for record in records])


# --- what the store says --------------------------------------------------------------------------


def _execution(connection: Connection, id: str) -> ExecutionRecord | None:
    executions = table(Executions)
    return _one(connection, executions, ExecutionRecord, executions.c.execution_id == id)


def _attempt(connection: Connection, row: ExecutionRecord, number: int) -> AttemptRecord | None:
    attempts = table(Attempts)
    key = {"execution_id": row.execution_id, "phase": NO_PHASE, "step": row.task_id, "item": NO_ITEM}
    same = (attempts.c[name] == value for name, value in {**key, "attempt": number}.items())
    return _one(connection, attempts, AttemptRecord, *same)


def _one(connection: Connection, target: Table, model: type[_Record], *where: Any) -> _Record | None:
    found = connection.execute(select(target).where(*where)).first()
    return None if found is None else model.model_validate(fields(target, found))


def _with_key(connection: Connection, key: str) -> str | None:
    """Returns the execution of this idempotency key, by the index that only has work done elsewhere."""
    attempts = table(Attempts)
    query = select(attempts.c.execution_id).where(attempts.c.idempotency_key == key, text(ELSEWHERE))
    found: str | None = connection.execute(query.limit(1)).scalar()
    return found


def _progress_told(connection: Connection, row: ExecutionRecord) -> int:
    events = table(Events)
    place = {"phase": "", "step": "", "item": NO_ITEM, "attempt": row.attempts}
    key = {"execution_id": row.execution_id, "kind": "progress", **place}
    same = (events.c[name] == value for name, value in key.items())
    return connection.execute(select(func.max(events.c.occurrence)).where(*same)).scalar() or 0


def _free_id(connection: Connection, task_id: str) -> str:
    """Returns an id that nobody has: of two starts in one millisecond the second is a millisecond late."""
    moment = time.time_ns() // 1_000_000
    while _execution(connection, execution_id(moment, task_id)) is not None:
        moment += 1
    return execution_id(moment, task_id)


# --- what makes sense -----------------------------------------------------------------------------


def _first(connection: Connection, told: ExecutionRecord) -> ExecutionRecord:
    """Returns a new execution with its trace and cause. Raises `UnknownExecution`."""
    repeated = _execution(connection, told.retry_of) if told.retry_of else None
    if told.retry_of and repeated is None:
        raise UnknownExecution(f"No execution has the id {told.retry_of!r}, so it cannot be repeated")
    trace = told.trace_id or (repeated and repeated.trace_id) or secrets.token_hex(16)
    cause = told.cause or ("retry" if repeated else "user")
    return told.model_copy(update={"trace_id": trace, "cause": cause})


def _next(before: ExecutionRecord, told: ExecutionRecord) -> ExecutionRecord:
    """Returns what starts again: what it is stays, how it is done is as before unless it is told anew."""
    kept = ("attempts", "trace_id", "cause", "retry_of")
    usual = ("task_name", "inputs", "assigned_agent", "project", "build_id", "source_path")
    old = {name: getattr(before, name) for name in usual if getattr(told, name) is None}
    return told.model_copy(update={name: getattr(before, name) for name in kept} | old)


def _starts_again(
    before: ExecutionRecord, told: ExecutionRecord, *, known_by_key: bool, has_key: bool
) -> bool:
    """Whether a start of what is there begins a try; else it was told before. Raises `Refused`."""
    _leave_to_temporal(before)
    name = before.execution_id
    if before.task_id != told.task_id:
        raise Refused(f"{name} is an execution of {before.task_id}, not of {told.task_id}")
    if has_key and not known_by_key:
        raise Refused(f"{name} was started with another idempotency key, or with none")
    if before.status.is_final and not known_by_key:
        hint = f"start another one as its repetition (retry_of {name})"
        raise Refused(f"{name} has ended already: it is {before.status.value}", hint=hint)
    return before.status is ExecutionStatus.PENDING


def _leave_to_temporal(row: ExecutionRecord) -> None:
    if not row.is_elsewhere:
        raise Refused(
            f"{row.execution_id} is run by Temporal, and tells of itself",
            hint="`taskmark watch` shows it, `taskmark abort` ends it",
        )


def _does_not_run(row: ExecutionRecord) -> Refused:
    name = row.execution_id
    if row.status.is_final:
        return Refused(f"{name} has ended already: it is {row.status.value}")
    return Refused(f"{name} does not run: it waits for try {row.attempts}", hint=f"start {name} again first")


def _after(row: ExecutionRecord) -> datetime:
    """Returns now, or a moment after what is known, should another machine's clock be ahead of ours."""
    now = datetime.now(UTC)
    return max(now, row.as_of + _TICK) if row.as_of else now
