"""Results as `taskmark run -o json` and `TaskResult` print them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

from pydantic import ValidationError

from taskmark.contracts import FinalRecord, TaskResult
from taskmark.past.problems import Misfit
from taskmark.projection import records_of
from taskmark.records import AttemptRecord, EventRecord, ExecutionRecord, PhaseRecord, Record
from taskmark.task.model import Json

_NAMED = re.compile(r"exec-(?:\d+|key-[0-9a-f]{16})-(?P<task>.+)")
_UNTOLD = "task_name definition_sha256 task_version source_path project build_id inputs cause"
_UNKNOWN = dict.fromkeys(_UNTOLD.split())
"""What a result does not tell of its execution: it must not replace what the store knows."""


def is_own(document: Mapping[str, Json]) -> bool:
    """Whether a document has our form: phases and steps by their names."""
    return isinstance(document.get("phases"), dict) and isinstance(document.get("steps"), dict)


def records_in(document: Mapping[str, Json], changed: datetime) -> tuple[str, list[Record]]:
    """Returns the execution's id and its records; `changed` is the moment of one that tells none.

    Raises `Misfit`.
    """
    try:
        result = TaskResult.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise Misfit(f"{'.'.join(map(str, first['loc']))}: {first['msg']}", *first["loc"]) from error
    if not result.status.is_final:
        raise Misfit(f"it has not ended: it is {result.status.value}", "status")
    ended = result.finished_at or result.started_at or changed
    named = _NAMED.fullmatch(result.execution_id.partition("/")[0])
    final = FinalRecord(
        result=result.model_copy(update={"finished_at": ended}),
        task_id=named["task"] if named and "/" not in result.execution_id else "",
        task_name="",
    )
    return result.execution_id, [_as_told(record, ended) for record in records_of(final, "backfilled")]


def _as_told(record: Record, ended: datetime) -> Record:
    """Returns the record without what nobody told, and as one of the end."""
    if isinstance(record, ExecutionRecord):
        task = {"task_id": record.task_id or None, "trace_id": record.trace_id or None}
        return record.model_copy(update={**_UNKNOWN, **task, "as_of": ended})
    if isinstance(record, AttemptRecord):
        told = {"cause": None, "trace_id": record.trace_id or None, "as_of": record.finished_at or ended}
        return record.model_copy(update=told)
    if isinstance(record, PhaseRecord):
        return record.model_copy(update={"as_of": record.finished_at or ended})
    if isinstance(record, EventRecord) and record.kind == "execution_started":
        return record.model_copy(update={"payload": {}})
    return record
