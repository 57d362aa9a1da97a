"""The store without a store, for tests: what is recorded stays in this process, under the same rules."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, TypeVar

from taskmark.errors import UnknownExecution
from taskmark.records import (
    AttemptRecord,
    DefinitionRecord,
    EventRecord,
    ExecutionRecord,
    PhaseRecord,
    Record,
)
from taskmark.records import Row as RecordModel
from taskmark.store.artifacts import checked, digest
from taskmark.store.merging import MergedRow, key_of, merge
from taskmark.store.moments import Dating

_Merged = TypeVar("_Merged", bound=RecordModel)


class MemoryRecorder:
    """A `taskmark.ports.Recorder` that merges at once, and answers the simplest questions itself."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._dating = Dating()
        self._rows: dict[tuple[str, tuple[Any, ...]], MergedRow] = {}
        self._events: dict[tuple[Any, ...], EventRecord] = {}

    def record(self, *records: Record) -> None:
        """Takes the records. Never raises for records that can be stored."""
        with self._lock:
            for record in records:
                self._take(self._dating.dated(record))

    def _take(self, record: Record) -> None:
        key = key_of(record)
        if isinstance(record, EventRecord):
            self._events.setdefault(key, record)
        else:
            self._rows[record.type, key] = merge(self._rows.get((record.type, key)), record)

    def execution(self, id: str) -> ExecutionRecord:
        """Returns the execution of this id. Raises `UnknownExecution`."""
        for found in self._merged("execution", ExecutionRecord):
            if found.execution_id == id:
                return found
        raise UnknownExecution(f"No execution has the id {id!r}")

    def definition(self, sha256: str) -> DefinitionRecord:
        """Returns a version of a task. Raises `KeyError`."""
        return {found.sha256: found for found in self._merged("definition", DefinitionRecord)}[sha256]

    def phases(self, id: str) -> tuple[PhaseRecord, ...]:
        """Returns the phases of an execution in the order they became known."""
        return tuple(row for row in self._merged("phase", PhaseRecord) if row.execution_id == id)

    def attempts(self, id: str) -> tuple[AttemptRecord, ...]:
        """Returns the attempts of an execution in the order they became known."""
        return tuple(row for row in self._merged("attempt", AttemptRecord) if row.execution_id == id)

    def events(self, id: str) -> tuple[EventRecord, ...]:
        """Returns the events of an execution in the order they became known."""
        with self._lock:
            return tuple(event for event in self._events.values() if event.execution_id == id)

    def _merged(self, kind: str, model: type[_Merged]) -> tuple[_Merged, ...]:
        with self._lock:
            rows: Mapping[tuple[str, tuple[Any, ...]], MergedRow] = dict(self._rows)
        return tuple(model.model_validate(row.values) for (type_, _key), row in rows.items() if type_ == kind)


class MemoryArtifacts:
    """`taskmark.ports.Artifacts` in memory."""

    def __init__(self) -> None:
        self._contents: dict[str, bytes] = {}

    def save(self, content: bytes) -> str:
        """Keeps the content and returns its SHA-256."""
        name = digest(content)
        self._contents[name] = content
        return name

    def load(self, sha256: str) -> bytes:
        """Returns the content. Raises `KeyError` if it is not there."""
        return checked(sha256, self._contents.get(sha256))
