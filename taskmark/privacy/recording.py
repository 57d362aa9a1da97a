"""Scrubs records before anything keeps them: the spool's files, the quarantine and the store see no more."""

from __future__ import annotations

from functools import cache
from typing import Any, Final, TypeVar

from pydantic import BaseModel

from taskmark.ports import Recorder
from taskmark.privacy.scrubbing import Scrubber
from taskmark.records import CheckpointRecord, Record
from taskmark.secrets.masks import Masks

Model = TypeVar("Model", bound=BaseModel)

_STRUCTURAL_TEXT: Final = """
    type kind status category provenance attempt item occurrence seq execution_id parent_id trace_id
    idempotency_key sha256 definition_sha256 build_id task_id project worker cause phase step agent name
    task_name version task_version source_path affects started_at finished_at as_of at will_retry
    retry_in_seconds tokens cost assigned_agent retry_of attempts questions parents resources stack_hash
    reused_from percent worked remaining low high confidence basis samples delivery given_up
    undone
"""
STRUCTURAL: Final = frozenset(_STRUCTURAL_TEXT.split())
"""Fields of records, and of failures in them, that name, order or measure: people and programs look things up
by them, so they are kept as they are. Every other field, also a future one, is scrubbed."""

_IDS: Final = ("execution_id", "parent_id", "trace_id", "idempotency_key")


class ScrubbingRecorder:
    """A `taskmark.ports.Recorder` that hands on records without secrets and personal data."""

    def __init__(self, recorder: Recorder, scrubber: Scrubber, masks: Masks | None = None) -> None:
        self._recorder = recorder
        self._scrubber = scrubber
        self._masks = masks or Masks()

    def record(self, *records: Record) -> None:
        """Masks and scrubs the records, and hands them on. Never raises."""
        self._recorder.record(*(scrubbed(record, self._scrubber, self._masks) for record in records))


def scrubbed(record: Record, scrubber: Scrubber, masks: Masks | None = None) -> Record:
    """Returns the record without secrets and personal data. The same gives the same, live or read again.

    What names, orders or measures is not masked either. A secret in it has been typed there.
    """
    if masks is not None:
        record = masks.model(record, keep=STRUCTURAL)
    ids = {str(found) for name in _id_fields(type(record)) if (found := getattr(record, name))}
    # An id of a sub-task or of a phase begins with that of the execution that started it.
    ids |= {found.partition("/")[0] for found in ids}
    if isinstance(record, CheckpointRecord):
        return _without_what_is_personal(record, scrubber, ids)
    return _scrubbed(record, scrubber, ids)


def _without_what_is_personal(
    record: CheckpointRecord, scrubber: Scrubber, ids: set[str]
) -> CheckpointRecord:
    """Returns a checkpoint without the inputs and outputs in which something personal is: scrubbed ones could
    not serve, because what runs again needs them to the letter. Temporal's history has them."""

    def is_personal(value: Any) -> bool:
        return value is not None and scrubber.value(value, ids) != value

    changed: dict[str, Any] = {
        name: None for name in ("inputs", "outputs") if is_personal(getattr(record, name))
    }
    count, steps = len(changed), dict(record.steps)
    for name, step in record.steps.items():
        if is_personal(step.get("output")):
            steps[name] = {**{key: step[key] for key in step if key not in _OF_OUTPUT}, "withheld": True}
            count += 1
    return record.model_copy(update={**changed, "steps": steps, "withheld": count}) if count else record


_OF_OUTPUT: Final = frozenset({"output", "items", "who"})


def _scrubbed(model: Model, scrubber: Scrubber, ids: set[str]) -> Model:
    changed: dict[str, Any] = {}
    for name in _free_fields(type(model)):
        value = getattr(model, name)
        if value is None:
            continue
        fresh = (
            _scrubbed(value, scrubber, ids) if isinstance(value, BaseModel) else scrubber.value(value, ids)
        )
        if fresh != value:
            changed[name] = tuple(fresh) if isinstance(value, tuple) else fresh
    return model.model_copy(update=changed) if changed else model


@cache
def _id_fields(model: type[BaseModel]) -> tuple[str, ...]:
    return tuple(name for name in _IDS if name in model.model_fields)


@cache
def _free_fields(model: type[BaseModel]) -> tuple[str, ...]:
    return tuple(name for name in model.model_fields if name not in STRUCTURAL)
