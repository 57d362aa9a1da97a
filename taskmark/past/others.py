"""Results as other programs write them: one object with its task, how it ended, when, and what it used.

Each becomes an execution of one phase with one step, both called `work`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from taskmark.contracts import ExecutionStatus, StepStatus
from taskmark.errors import Failure
from taskmark.past.problems import Misfit
from taskmark.past.told import NAMES, Told, amount, moments, spelled
from taskmark.projection import ended_event
from taskmark.records import AttemptRecord, EventRecord, ExecutionRecord, PhaseRecord, Record
from taskmark.task.model import Json
from taskmark.task.slugs import slug

WORK = "work"
"""The one phase of such a result, and its one step."""

STATES: Final[Mapping[ExecutionStatus, tuple[str, ...]]] = MappingProxyType(
    {
        ExecutionStatus.COMPLETED: (
            *("completed", "complete", "success", "succeeded", "successful", "ok", "passed", "done"),
            "finished",
        ),
        ExecutionStatus.COMPLETED_WITH_ERRORS: ("completed_with_errors", "partial", "partially_completed"),
        ExecutionStatus.FAILED: ("failed", "failure", "fail", "error", "errored", "crashed"),
        ExecutionStatus.TIMED_OUT: ("timed_out", "timeout", "timedout"),
        ExecutionStatus.CANCELLED: ("cancelled", "canceled", "aborted", "killed", "terminated", "stopped"),
    }
)
"""Words for how it ended, in every spelling."""

_STATE_OF: Final = {word: status for status, words in STATES.items() for word in words}
_STEP_OF: Final = {
    ExecutionStatus.COMPLETED: StepStatus.COMPLETED,
    ExecutionStatus.COMPLETED_WITH_ERRORS: StepStatus.COMPLETED,
    ExecutionStatus.FAILED: StepStatus.FAILED,
    ExecutionStatus.TIMED_OUT: StepStatus.FAILED,
    ExecutionStatus.CANCELLED: StepStatus.CANCELLED,
}


def records_in(document: Mapping[str, Json], changed: datetime) -> tuple[str, list[Record]]:
    """Returns the execution's id and its records; `changed` is the moment of one that tells none.

    Raises `Misfit`.
    """
    told = Told(document)
    status = _status(told)
    started, completed = moments(told)
    name = told.text("name") or told.text("task")
    if not name:
        raise Misfit("it names no task: `task_id`, `task` or `name`")
    task = told.text("task") or slug(name) or "task"
    execution = told.text("execution") or _id(document, task, started or completed)
    ended = completed or started or changed
    of_all: dict[str, Any] = {
        "execution_id": execution,
        "error": _error(told, status),
        "started_at": started,
        "finished_at": ended,
        "trace_id": told.text("trace"),
        "provenance": "backfilled",
        "as_of": ended,
    }
    whole = _execution(told, status, {**of_all, "task_id": task, "task_name": name})
    begun = [EventRecord(execution_id=execution, kind="execution_started", at=started)] if started else []
    end = ended_event(
        execution, status, whole.error, ended, outputs=whole.outputs, agent=whole.assigned_agent
    )
    return execution, [whole, *_work(told, whole, of_all), *begun, end]


def _execution(told: Told, status: ExecutionStatus, known: Mapping[str, Any]) -> ExecutionRecord:
    return ExecutionRecord(
        **known,
        task_version=told.text("version"),
        project=told.text("project"),
        build_id=told.text("build"),
        status=status,
        inputs=_as_object(told.value("inputs"), "input"),
        outputs=_as_object(told.value("output"), "output"),
        parent_id=told.text("parent"),
        assigned_agent=told.text("agent"),
        retry_of=told.text("retry of"),
        attempts=max(told.number("attempts") or 1, 1),
    )


def _work(told: Told, whole: ExecutionRecord, of_all: Mapping[str, Any]) -> Iterator[Record]:
    """Yields the one phase and its one step: what was used is told by attempts."""
    status, agent = _STEP_OF[whole.status], whole.assigned_agent
    yield PhaseRecord(**of_all, phase=WORK, name=whole.task_name, status=status)
    yield AttemptRecord(
        **of_all,
        phase=WORK,
        step=WORK,
        kind="agent" if agent else "task",
        name=agent or whole.task_id,
        agent=agent,
        description=whole.task_name,
        status=status,
        input=told.value("inputs"),
        output=told.value("output"),
        worker=told.text("worker"),
        tokens=_tokens(told),
        cost=told.amount("cost"),
        files=_files(told),
        questions=_count(told, "questions"),
    )


def _id(document: Mapping[str, Json], task: str, moment: datetime | None) -> str:
    """Returns an id that is the same for the same content, however it is written down."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    parts = (f"{moment.timestamp() * 1000:.0f}" if moment else "0", task)
    return f"exec-{'-'.join(parts)}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


# --- how it ended ---------------------------------------------------------------------------------


def _status(told: Told) -> ExecutionStatus:
    """Returns how it ended: by its word, else by a yes or no, else by its exit code, else by its error."""
    key, word = told.found("status")
    if key and not isinstance(word, bool):
        status = _STATE_OF.get(spelled(str(word)))
        if status is None:
            raise Misfit(f"`{key}` is {word!r}, which is no word for how a task ended", key)
        return status
    if key:
        return ExecutionStatus.COMPLETED if word else ExecutionStatus.FAILED
    return _status_by_signs(told)


def _status_by_signs(told: Told) -> ExecutionStatus:
    key, success = told.found("success")
    if key:
        if not isinstance(success, bool):
            raise Misfit(f"`{key}` is neither true nor false", key)
        return ExecutionStatus.COMPLETED if success else ExecutionStatus.FAILED
    key, code = told.found("exit code")
    if key:
        return ExecutionStatus.FAILED if code else ExecutionStatus.COMPLETED
    if told.value("error"):
        return ExecutionStatus.FAILED
    raise Misfit("it does not say how it ended: `status`, `success`, `exit_code` or `error`")


def _error(told: Told, status: ExecutionStatus) -> Failure | None:
    error, stack = told.value("error"), told.value("stack")
    if isinstance(error, list):
        error = error[0] if len(error) == 1 else "; ".join(_message(one) for one in error)
    if not error and (status.is_success or status is ExecutionStatus.CANCELLED):
        return None
    fields = {spelled(key): value for key, value in error.items()} if isinstance(error, dict) else {}
    kind = fields.get("type") or fields.get("code") or fields.get("name")
    stack = next((fields[name] for name in NAMES["stack"] if fields.get(name)), stack)
    return Failure(
        type=str(kind) if kind else status.value,
        message=_message(error) or f"it {status.value.replace('_', ' ')}, and nobody said why",
        stack=stack if isinstance(stack, str) else None,
    )


def _message(error: Json) -> str:
    if isinstance(error, dict):
        error = error.get("message") or error.get("msg") or error
    if isinstance(error, str):
        return error
    return json.dumps(error, ensure_ascii=False) if error and error is not True else ""


# --- what it used ---------------------------------------------------------------------------------


def _tokens(told: Told) -> int | None:
    key, value = told.found("tokens")
    if not isinstance(value, dict):
        return told.number("tokens")
    fields = {spelled(name): number for name, number in value.items() if number is not None}
    for parts in (("total_tokens",), ("total",), *_IN_AND_OUT):
        if all(part in fields for part in parts):
            return sum(round(amount(key, fields[part])) for part in parts)
    return None


_IN_AND_OUT: Final = (
    ("input_tokens", "output_tokens"),
    ("prompt_tokens", "completion_tokens"),
    ("input", "output"),
    ("prompt", "completion"),
)


def _count(told: Told, meaning: str) -> int | None:
    value = told.value(meaning)
    return len(value) if isinstance(value, list) else told.number(meaning)


def _files(told: Told) -> tuple[str, ...] | None:
    key, value = told.found("files")
    if value is None:
        return None
    some = [value] if isinstance(value, str) else value
    if not isinstance(some, list | dict):
        raise Misfit(f"`{key}` is not a list of files", key)
    return tuple(_file(key, one) for one in some)


def _file(key: str, value: Json) -> str:
    if isinstance(value, dict):
        value = next((value[name] for name in ("path", "file", "name", "filename") if name in value), None)
    if not isinstance(value, str):
        raise Misfit(f"`{key}` holds something that is no file's name", key)
    return value


def _as_object(value: Json, name: str) -> dict[str, Json] | None:
    return value if isinstance(value, dict) or value is None else {name: value}
