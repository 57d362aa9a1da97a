"""A recorder that knows which ends of attempts it has taken, so that they need not be told twice."""

from __future__ import annotations

from collections import OrderedDict

from taskmark.ports import Recorder
from taskmark.records import AttemptRecord, Record
from taskmark.store.merging import key_of

REMEMBERED = 50_000
"""Ends of attempts; of an older one nobody knows any more, and it is told again, which changes nothing."""


class RememberingRecorder:
    """A `taskmark.ports.Recorder` that hands records on. What it has taken of attempts' ends it can tell."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._ends: OrderedDict[int, None] = OrderedDict()

    def record(self, *records: Record) -> None:
        """Hands the records on, remembers the ends among them, and never raises."""
        self._recorder.record(*records)
        for record in records:
            if isinstance(record, AttemptRecord) and record.status.is_final and record.provenance == "live":
                self._ends[_end(record)] = None
        while len(self._ends) > REMEMBERED:
            self._ends.popitem(last=False)

    def has(self, record: Record) -> bool:
        """Whether it has taken the end that the record tells of."""
        return isinstance(record, AttemptRecord) and _end(record) in self._ends


def _end(record: AttemptRecord) -> int:
    return hash((*key_of(record), record.status))
