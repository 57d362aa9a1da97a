"""Moments: in UTC throughout, and one after the other for what one process records."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from taskmark.records import AttemptRecord, ExecutionRecord, PhaseRecord, Record

_TICK = timedelta(microseconds=1)


def utc(moment: datetime) -> datetime:
    """Returns the same moment in UTC; without a zone it counts as UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


class Dating:
    """Says of each record when it was so, if the record does not say it itself.

    No two moments are equal, so that what one process records later also counts as later. Not
    thread-safe: recorders call it under their lock.
    """

    def __init__(self) -> None:
        self._last = datetime.min.replace(tzinfo=UTC)

    def dated(self, record: Record) -> Record:
        """Returns the record with its moment."""
        if isinstance(record, (ExecutionRecord, PhaseRecord, AttemptRecord)) and record.as_of is None:
            self._last = max(datetime.now(UTC), self._last + _TICK)
            return record.model_copy(update={"as_of": self._last})
        return record
