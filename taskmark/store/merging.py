"""The merge rule: what a row holds after any number of records about it, whatever their order.

Each column is a register of its own. It remembers how late the record was that set it (its stamp), and
takes another value only from a later one, or, between equals, the greater value: so late, doubled and
reordered records end in the same row. A later state is, from the most telling on:

1. a higher attempt (of a phase, or of work as a whole; an ending of a lower attempt is then forgotten);
2. a final status over one that is not;
3. between final ones what was seen live (or told of work done elsewhere) over what was backfilled, then
   the *earlier*: a final status stays, and what comes after it only fills in what is missing;
4. between others the later moment, then live over backfilled, then the order of the states.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

from taskmark.records import AttemptRecord, DefinitionRecord, ExecutionRecord, PhaseRecord, Record
from taskmark.store.moments import utc

Stamp: TypeAlias = tuple[int, ...]
RowRecord: TypeAlias = DefinitionRecord | ExecutionRecord | PhaseRecord | AttemptRecord
"""Records that are merged into rows; events are only added."""

KEYS: Mapping[str, tuple[str, ...]] = {
    "definition": ("sha256",),
    "execution": ("execution_id",),
    "phase": ("execution_id", "phase"),
    "attempt": ("execution_id", "phase", "step", "item", "attempt"),
    "event": ("execution_id", "kind", "phase", "step", "item", "attempt", "occurrence"),
}
"""The fields that name a row, per type of record."""

_TIMELESS: Stamp = (0, 0, 0, 0, 0)
_UNKNOWN: Mapping[str, Stamp] = {}
_ENDING = ("outputs", "error", "finished_at")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NEVER = 2**62


@dataclass(frozen=True)
class MergedRow:
    """A row: its columns that are known, and the stamp of each that is not part of its key."""

    values: Mapping[str, Any]
    stamps: Mapping[str, Stamp]


@dataclass(frozen=True)
class Stamped:
    """A whole row as a record, with how late each column was set: what `export` writes and `import` reads."""

    record: RowRecord
    stamps: Mapping[str, Stamp]


Told: TypeAlias = Record | Stamped


def bare(told: Told) -> Record:
    """Returns the record."""
    return told.record if isinstance(told, Stamped) else told


def key_of(told: Told) -> tuple[Any, ...]:
    """Returns what names the row of a record among those of its type."""
    record = bare(told)
    parts = [getattr(record, field) for field in KEYS[record.type]]
    return tuple(_without_nul(part) if type(part) is str else part for part in parts)


def columns_of(record: Record) -> dict[str, Any]:
    """Returns the fields that are present: moments as UTC datetimes, everything else as JSON values."""
    found = {}
    for field, value in record.model_dump(mode="json", exclude={"type"}).items():
        if type(value) is str:  # `isinstance` goes through Python code in a process that has a sandbox
            told = getattr(record, field)
            found[field] = utc(told) if type(told) is datetime else _without_nul(told)
        elif value is not None:
            found[field] = value
    return found


def _without_nul(text: str) -> str:
    """PostgreSQL keeps no NUL in text; both databases shall tell the same."""
    return text.replace("\x00", "\ufffd")


def merge(row: MergedRow | None, told: RowRecord | Stamped) -> MergedRow:
    """Returns the row as it is once the record is known too."""
    record, known = (told.record, told.stamps) if isinstance(told, Stamped) else (told, _UNKNOWN)
    own = _stamp(record)
    key = KEYS[record.type]
    values, stamps = (dict(row.values), dict(row.stamps)) if row else ({}, {})
    for column, value in columns_of(record).items():
        if column in key:
            values[column] = value
            continue
        stamp = known.get(column, own)
        if column not in stamps or _is_later(stamp, value, stamps[column], values[column]):
            values[column], stamps[column] = value, stamp
    _forget_endings(values, stamps)
    return MergedRow(values, stamps)


def _forget_endings(values: dict[str, Any], stamps: dict[str, Stamp]) -> None:
    for column in _ENDING:
        if column in stamps and stamps[column][0] < stamps["status"][0]:
            del values[column], stamps[column]


def _is_later(stamp: Stamp, value: Any, old_stamp: Stamp, old_value: Any) -> bool:
    if stamp != old_stamp:
        return stamp > old_stamp
    return _canonical(value) > _canonical(old_value)


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=datetime.isoformat)


def _stamp(record: RowRecord) -> Stamp:
    """How late a record is, as numbers that compare; all records have as many."""
    if isinstance(record, DefinitionRecord):
        return _TIMELESS
    attempt = _attempt(record)
    live = int(record.provenance != "backfilled")
    place = list(type(record.status)).index(record.status)
    if record.status.is_final:
        ended = record.finished_at or record.as_of
        return (attempt, 1, live, -_microseconds(ended) if ended else -_NEVER, place)
    seen = record.as_of or record.started_at
    return (attempt, 0, _microseconds(seen) if seen else -_NEVER, live, place)


def _attempt(record: RowRecord) -> int:
    match record:
        case PhaseRecord():
            return record.attempt
        case ExecutionRecord():
            return record.attempts - 1  # the first is 0: so are the stamps from when nobody counted
        case _:
            return 0  # it is part of an attempt's key


def _microseconds(moment: datetime) -> int:
    age = utc(moment) - _EPOCH
    return (age.days * 86_400 + age.seconds) * 1_000_000 + age.microseconds


def pack_stamps(stamps: Mapping[str, Stamp]) -> list[list[Any]]:
    """Returns stamps as JSON, each once with its columns: a row seldom has more than two or three."""
    grouped: dict[Stamp, list[str]] = {}
    for column in sorted(stamps):
        grouped.setdefault(stamps[column], []).append(column)
    return [[list(stamp), columns] for stamp, columns in sorted(grouped.items())]


def unpack_stamps(packed: list[list[Any]]) -> dict[str, Stamp]:
    """The inverse of `pack_stamps`."""
    return {column: tuple(stamp) for stamp, columns in packed for column in columns}
