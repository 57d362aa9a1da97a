"""The merge rule: what a row holds after any number of records about it, whatever their order.

Each column is a register of its own. It remembers how late the record was that set it (its stamp), and
takes another value only from a later one, or, between equals, the greater value: so late, doubled and
reordered records end in the same row. A later state is, from the most telling on:

1. a higher attempt (of a phase, or of work as a whole; an ending of a lower attempt is then forgotten);
2. a final status over one that is not;
3. between final ones that of a later delivery: a worker that dies before Temporal hears of its end has told
   one that nobody else knows of, and the call is delivered again (what was used and returned by the earlier
   one is then forgotten);
4. between final ones of one delivery what was seen live (or told of work done elsewhere) over what was
   backfilled, then the *earlier*: a final status stays, and what comes after it only fills in what is
   missing;
5. between others the later moment, then live over backfilled, then the order of the states.

An estimate has no states: the one that was told first stays.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from operator import attrgetter
from typing import Any, TypeAlias

from taskmark.contracts import ExecutionStatus, StepStatus
from taskmark.records import (
    AttemptRecord,
    CheckpointRecord,
    DefinitionRecord,
    EstimateRecord,
    EventRecord,
    ExecutionRecord,
    PhaseRecord,
    Record,
)
from taskmark.store.moments import utc
from taskmark.store.texts import without_nul

Stamp: TypeAlias = tuple[int, ...]
RowRecord: TypeAlias = (
    DefinitionRecord | ExecutionRecord | PhaseRecord | AttemptRecord | CheckpointRecord | EstimateRecord
)
"""Records that are merged into rows; events are only added."""


def _alone(part: Callable[[Record], Any], record: Record) -> tuple[Any, ...]:
    return (part(record),)


KEYS: Mapping[str, tuple[str, ...]] = {
    "definition": ("sha256",),
    "execution": ("execution_id",),
    "phase": ("execution_id", "phase"),
    "attempt": ("execution_id", "phase", "step", "item", "attempt"),
    "checkpoint": ("execution_id", "phase", "part"),
    "estimate": ("execution_id", "percent"),
    "event": ("execution_id", "kind", "phase", "step", "item", "attempt", "occurrence"),
}
"""The fields that name a row, per type of record."""

_PARTS: Mapping[str, Callable[[Record], tuple[Any, ...]]] = {
    kind: attrgetter(*fields) if len(fields) > 1 else partial(_alone, attrgetter(*fields))
    for kind, fields in KEYS.items()
}
_TIMELESS: Stamp = (0, 0, 0, 0, 0)
_UNKNOWN: Mapping[str, Stamp] = {}
_ENDING = ("outputs", "error", "finished_at")
_OF_A_DELIVERY = ("output", "error", "finished_at", "tokens", "cost", "files", "questions", "resources")
_NO_COLUMNS = {"type", "delivery", "given_up"}
_PLACES: Mapping[type, Mapping[str, int]] = {
    states: {state: place for place, state in enumerate(states)} for states in (ExecutionStatus, StepStatus)
}
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


@dataclass(frozen=True)
class Columns:
    """What was told, as its row takes it. It costs more to make than to send to another process."""

    type: str
    key: tuple[Any, ...]
    """What names its row."""
    values: Mapping[str, Any]
    stamp: Stamp
    stamps: Mapping[str, Stamp]
    """Of single columns, where they are known."""


def in_columns(told: Told | Columns) -> Columns:
    """Returns it in columns, if it is not yet. Raises `ValueError` for what cannot be in any."""
    if isinstance(told, Columns):
        return told
    record, stamps = (told.record, told.stamps) if isinstance(told, Stamped) else (told, _UNKNOWN)
    return Columns(record.type, key_of(record), columns_of(record), _stamp(record), stamps)


def bare(told: Told) -> Record:
    """Returns the record."""
    return told.record if isinstance(told, Stamped) else told


def key_of(told: Told) -> tuple[Any, ...]:
    """Returns what names the row of a record among those of its type."""
    record = bare(told)
    parts = _PARTS[record.type](record)
    return tuple([without_nul(part) if type(part) is str else part for part in parts])


def columns_of(record: Record) -> dict[str, Any]:
    """Returns the fields that are present: moments as UTC datetimes, everything else as JSON values."""
    found = {}
    for field, value in record.model_dump(mode="json", exclude=_NO_COLUMNS).items():
        if type(value) is str:  # `isinstance` goes through Python code in a process that has a sandbox
            told = getattr(record, field)
            found[field] = utc(told) if type(told) is datetime else without_nul(told)
        elif value is not None:
            found[field] = value
    return found


def merge(row: MergedRow | None, told: RowRecord | Stamped | Columns) -> MergedRow:
    """Returns the row as it is once the record is known too."""
    fresh = in_columns(told)
    key = KEYS[fresh.type]
    if row is None and not fresh.stamps:
        return MergedRow(fresh.values, {name: fresh.stamp for name in fresh.values if name not in key})
    values, stamps = (dict(row.values), dict(row.stamps)) if row else ({}, {})
    for column, value in fresh.values.items():
        if column in key:
            values[column] = value
            continue
        stamp = fresh.stamps.get(column, fresh.stamp)
        if column not in stamps or _is_later(stamp, value, stamps[column], values[column]):
            values[column], stamps[column] = value, stamp
    _forget_endings(values, stamps)
    return MergedRow(values, stamps)


def _forget_endings(values: dict[str, Any], stamps: dict[str, Stamp]) -> None:
    for column in _ENDING:
        if column in stamps and stamps[column][0] < stamps["status"][0]:
            del values[column], stamps[column]
    late = _delivery(stamps.get("status", _TIMELESS))
    for column in _OF_A_DELIVERY if late else ():
        if column in stamps and stamps[column][1] and _delivery(stamps[column]) < late:
            del values[column], stamps[column]


def _delivery(stamp: Stamp) -> int:
    """How late the delivery is of which a stamp tells the end; 0 is the first, or what knows of none."""
    return stamp[2] // 2 if stamp[1] else 0


def _is_later(stamp: Stamp, value: Any, old_stamp: Stamp, old_value: Any) -> bool:
    if stamp != old_stamp:
        return stamp > old_stamp
    return _canonical(value) > _canonical(old_value)


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=datetime.isoformat)


def _stamp(record: Record) -> Stamp:
    """How late a record is, as numbers that compare; all records have as many."""
    if isinstance(record, DefinitionRecord | EventRecord):
        return _TIMELESS
    if isinstance(record, CheckpointRecord):
        return (0, 0, _microseconds(record.at), 0, 0)  # of a phase that was lost and ran again the later
    if isinstance(record, EstimateRecord):
        return _of_estimate(record)
    attempt = _attempt(record)
    live = int(record.provenance != "backfilled")
    place = _PLACES[type(record.status)][record.status]
    if record.status.is_final:
        ended = record.finished_at or record.as_of
        return (attempt, 1, 2 * _lateness(record) + live, -_microseconds(ended) if ended else -_NEVER, place)
    seen = record.as_of or record.started_at
    return (attempt, 0, _microseconds(seen) if seen else -_NEVER, live, place)


def _lateness(record: RowRecord) -> int:
    """Orders the deliveries of a call; that Temporal gave one up is later than what its worker told."""
    return 2 * (record.delivery - 1) + record.given_up if isinstance(record, AttemptRecord) else 0


def _of_estimate(record: EstimateRecord) -> Stamp:
    """What was expected first stays, and of one moment what rests on more. Its numbers are in the stamp as
    well, so that a row never has some of one record and some of another."""
    numbers = (round(number * 1000) for number in (record.remaining, record.low, record.high))
    return (-_microseconds(record.at), record.samples, *numbers)


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
    newest = next(iter(stamps.values()), ())
    if all(stamp is newest for stamp in stamps.values()):  # as of any row that one record made
        return [[list(newest), sorted(stamps)]] if stamps else []
    grouped: dict[Stamp, list[str]] = {}
    for column in sorted(stamps):
        grouped.setdefault(stamps[column], []).append(column)
    return [[list(stamp), columns] for stamp, columns in sorted(grouped.items())]


def unpack_stamps(packed: list[list[Any]]) -> dict[str, Stamp]:
    """The inverse of `pack_stamps`."""
    return {column: tuple(stamp) for stamp, columns in packed for column in columns}
