"""What is told of a try of work that Temporal does not run: words are checked, records made. Pure."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypedDict, Unpack

from taskmark.contracts import (
    ADAPTER_LIMIT,
    LONG,
    MOST_COST,
    MOST_TOKENS,
    SHORT,
    ExecutionStatus,
    StepStatus,
    idempotency_key,
)
from taskmark.errors import Failure, InvalidInputs
from taskmark.failures import failure_from, sendable
from taskmark.own_ids import check_own_id
from taskmark.projection import by_agent, ended_event
from taskmark.records import AttemptRecord, EventRecord, ExecutionRecord, Record
from taskmark.task.model import Json
from taskmark.task.slugs import is_agent_id, slug

ELSEWHERE: Literal["elsewhere"] = "elsewhere"
"""The kind of such an attempt, and the provenance of its rows."""
NO_PHASE = ""
"""Such an execution has no phases; the step of its attempts is the task."""

_TRACE = re.compile(r"[0-9a-f]{32}")
_MOST = {"tokens": MOST_TOKENS, "questions": 10**6, "cost": MOST_COST}


class Use(TypedDict, total=False):
    """What a try used, as far as it is known."""

    tokens: int | None
    cost: float | None
    """In the currency of whoever reports it."""
    files: Sequence[str]
    """What it wrote."""
    questions: int | None
    """How many questions it asked people."""


class About(TypedDict, total=False):
    """What is known of an execution when it starts."""

    agent: str | None
    """Who does it."""
    project: str | None
    build_id: str | None
    task_list_path: str | None
    """The file that says what is to be done."""
    trace_id: str | None
    """32 hex digits; else that of `retry_of`, else a new one."""
    retry_of: str | None
    """The execution that it repeats."""
    cause: str | None
    """What started it; else `retry` or `user`."""


@dataclass(frozen=True)
class End:
    """How a try ended, and with what."""

    status: ExecutionStatus
    outputs: dict[str, Json] | None = None
    error: Failure | None = None
    used: dict[str, Any] = field(default_factory=dict)

    @property
    def goes_on(self) -> bool:
        """Whether another try will follow."""
        return self.error is not None and self.error.will_retry

    @property
    def needs_no_try(self) -> bool:
        """Whether work can end so while no try runs."""
        return self.status is ExecutionStatus.CANCELLED and not self.used


# --- words of the caller --------------------------------------------------------------------------


def task_named(task: str) -> tuple[str, str | None]:
    """Returns the id of a task given by id or by name, and the name if it is one. Raises `InvalidInputs`."""
    word("task", task, SHORT)
    task_id = task if is_agent_id(task) else slug(task)
    if not task_id:
        raise InvalidInputs([f"{task!r} cannot name a task"], hint="give it an id such as `nightly-import`")
    return task_id, None if task_id == task else task


def execution(
    name: str | None, task: str, inputs: Mapping[str, Json] | None, **about: Unpack[About]
) -> ExecutionRecord:
    """Returns an execution that starts, checked; without a name it has none yet. Raises `InvalidInputs`."""
    check_own_id(name)
    task_id, task_name = task_named(task)
    known = {what: word(what, str(value)) for what, value in about.items() if value is not None}
    return ExecutionRecord(
        execution_id=name or "",
        task_id=task_id,
        task_name=task_name,
        source_path=known.get("task_list_path"),
        project=known.get("project"),
        build_id=known.get("build_id"),
        assigned_agent=known.get("agent"),
        status=ExecutionStatus.RUNNING,
        inputs=document("inputs", inputs),
        trace_id=trace(known["trace_id"]) if "trace_id" in known else None,
        retry_of=known.get("retry_of"),
        cause=known.get("cause"),
        provenance=ELSEWHERE,
    )


def word(what: str, text: str, most: int = LONG) -> str:
    """Returns a text that can be typed, of so many characters at most. Raises `InvalidInputs`."""
    if not text.isprintable() or not 0 < len(text) <= most:
        raise InvalidInputs([f"the {what} must have 1 to {most} printable characters"])
    return text


def prose(what: str, text: str) -> str:
    """Returns a text that may have lines, or be empty. Raises `InvalidInputs`."""
    if len(text) > LONG:
        raise InvalidInputs([f"the {what} has {len(text)} characters; {LONG} are kept"])
    return sendable(text)


def document(what: str, value: Mapping[str, Json] | None) -> dict[str, Json] | None:
    """Returns an object as JSON has it. Raises `InvalidInputs` if it is none, or too large."""
    if value is None:
        return None
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInputs([f"the {what} cannot be written as JSON: {error}"]) from error
    if size > ADAPTER_LIMIT:
        hint = "write it to a file, and tell of the file"
        raise InvalidInputs([f"the {what} have {size} bytes of JSON; {ADAPTER_LIMIT} are kept"], hint=hint)
    found = json.loads(text)
    if not isinstance(found, dict):
        raise InvalidInputs([f"the {what} must be an object: names and values"])
    return found


def trace(text: str) -> str:
    """Returns a trace's id. Raises `InvalidInputs` for anything but 32 lower-case hex digits."""
    if not _TRACE.fullmatch(text):
        raise InvalidInputs([f"{text[:80]!r} is no trace: it has 32 digits, 0-9 and a-f"])
    return text


def failure(error: str | Failure | BaseException) -> Failure:
    """Returns what went wrong as a failure; a text is its message."""
    if isinstance(error, BaseException):
        return failure_from(error)
    if isinstance(error, str):
        return Failure(type="step_failed", message=prose("error", error))
    return error


def use(**used: Unpack[Use]) -> dict[str, Any]:
    """Returns what was used, checked. Raises `InvalidInputs`."""
    found = {name: value for name, value in used.items() if name in _MOST and value is not None}
    for name, value in found.items():
        kinds = (int, float) if name == "cost" else (int,)
        fits = isinstance(value, kinds) and math.isfinite(value) and 0 <= value <= _MOST[name]
        if not fits or isinstance(value, bool):
            raise InvalidInputs([f"{value!r} cannot be a number of {name}"])
    files = tuple(word("name of a file", file) for file in used.get("files", ()))
    return found | ({"files": files} if files else {})


def key_of(task_id: str, key: str) -> str:
    """Returns the idempotency key of work that a caller names so among the task's: SHA-256."""
    return hashlib.sha256("\x1f".join((task_id, word("key", key))).encode()).hexdigest()


# --- records --------------------------------------------------------------------------------------


def begun(row: ExecutionRecord, key: str | None, worker: str, at: datetime) -> Iterator[Record]:
    """Yields the records of a try that begins; `row` is the execution as it is now known."""
    name, step = row.execution_id, str(row.task_id)
    started = {"started_at": at} if row.attempts == 1 else {}
    yield row.model_copy(update={"status": ExecutionStatus.RUNNING, "as_of": at, **started})
    yield AttemptRecord(
        execution_id=name,
        phase=NO_PHASE,
        step=step,
        attempt=row.attempts,
        kind=ELSEWHERE,
        name=step,
        agent=row.assigned_agent,
        description=row.task_name,
        status=StepStatus.RUNNING,
        input=row.inputs,
        started_at=at,
        idempotency_key=key or idempotency_key(name, NO_PHASE, step, None),
        trace_id=row.trace_id,
        worker=worker,
        cause=row.cause,
        provenance=ELSEWHERE,
        as_of=at,
    )
    payload = {"task": row.task_name or step, "cause": row.cause, **by_agent(row.assigned_agent)}
    yield _event(row, "execution_started", at, payload)


def ended(row: ExecutionRecord, end: End, at: datetime) -> tuple[ExecutionRecord, AttemptRecord, EventRecord]:
    """Returns the records of the try of the execution's number that has ended."""
    name = {"execution_id": row.execution_id, "provenance": ELSEWHERE, "as_of": at}
    if end.goes_on:
        whole = ExecutionRecord(**name, status=ExecutionStatus.PENDING, attempts=row.attempts + 1)
    else:
        told = {"outputs": end.outputs, "error": end.error, "finished_at": at}
        whole = ExecutionRecord(**name, status=end.status, attempts=row.attempts, **told)
    attempt = AttemptRecord(
        **name,
        phase=NO_PHASE,
        step=str(row.task_id),
        attempt=row.attempts,
        status=StepStatus(end.status.value),
        output=end.outputs,
        error=end.error if end.status is ExecutionStatus.FAILED else None,
        finished_at=at,
        **end.used,
    )
    event = ended_event(
        row.execution_id, end.status, end.error, at, outputs=end.outputs, agent=row.assigned_agent
    )
    again = {"will_retry": True} if end.goes_on else {}
    told_event = {"attempt": row.attempts, "payload": {**event.payload, **again}}
    return whole, attempt, event.model_copy(update=told_event)


def progressed(row: ExecutionRecord, number: int, stage: str, message: str, at: datetime) -> EventRecord:
    """Returns the event that tells how far the try is, the so many-th of it."""
    return _event(row, "progress", at, {"stage": stage, "message": message}, number)


def _event(
    row: ExecutionRecord, kind: Any, at: datetime, payload: dict[str, Json], occurrence: int = 0
) -> EventRecord:
    return EventRecord(
        execution_id=row.execution_id,
        kind=kind,
        attempt=row.attempts,
        occurrence=occurrence,
        at=at,
        payload=payload,
    )


def same(told: Record, stored: Record) -> bool:
    """Whether two records of ends say the same, whenever they were told."""
    fields = ("status", "attempts", "outputs", "output", "tokens", "cost", "files", "questions")
    alike = all(getattr(told, name, None) == getattr(stored, name, None) for name in fields)
    return alike and _gist(told) == _gist(stored)


def _gist(record: Record) -> tuple[Any, ...] | None:
    """Returns what tells an error from others; two stacks of one are never quite the same."""
    error: Failure | None = getattr(record, "error", None)
    return (error.type, error.message, error.category, error.will_retry) if error else None
