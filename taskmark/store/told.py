"""A recorder that knows what it has taken, so that nothing large or frequent is told twice."""

from __future__ import annotations

from collections import OrderedDict

from taskmark.ports import Recorder
from taskmark.records import AttemptRecord, DefinitionRecord, Record
from taskmark.store.merging import key_of

REMEMBERED = 50_000
"""Ends of attempts, and definitions. What is older is told again, which changes nothing."""


class RememberingRecorder:
    """A `taskmark.ports.Recorder` that hands records on, a definition only the first time. Of which attempts
    it has taken the end it can tell."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._taken: OrderedDict[int, None] = OrderedDict()

    def record(self, *records: Record) -> None:
        """Hands on what is new, remembers what it is, and never raises."""
        self._recorder.record(*(one for one in records if not self._is_known_definition(one)))
        for record in records:
            if _is_remembered(record):
                self._taken[_name(record)] = None
        while len(self._taken) > REMEMBERED:
            self._taken.popitem(last=False)

    def has(self, record: Record) -> bool:
        """Whether it has taken the end that the record tells of."""
        return isinstance(record, AttemptRecord) and _name(record) in self._taken

    def _is_known_definition(self, record: Record) -> bool:
        return isinstance(record, DefinitionRecord) and _name(record) in self._taken


def _is_remembered(record: Record) -> bool:
    if isinstance(record, AttemptRecord):
        return record.status.is_final and record.provenance == "live"
    return isinstance(record, DefinitionRecord)


def _name(record: Record) -> int:
    return hash((*key_of(record), getattr(record, "status", None)))
