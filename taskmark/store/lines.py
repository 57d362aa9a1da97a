"""The history as JSON Lines: records, one a line, below a line that says what they are.

A line is a record as in `taskmark.records`, whole as its row has it, with `stamps`: how late each of its
columns was set. So it merges into another store as what it was made of would. Both ways go line by line,
however many there are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from importlib.metadata import version
from typing import Any, TypeAlias

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection, Engine, Select, Table, select

from taskmark.errors import Conflict
from taskmark.records import (
    AttemptRecord,
    CheckpointRecord,
    DefinitionRecord,
    EstimateRecord,
    EventRecord,
    ExecutionRecord,
    PhaseRecord,
    Record,
    Row,
)
from taskmark.store.engine import snapshot
from taskmark.store.keys import batches
from taskmark.store.merging import Stamped, Told, bare, unpack_stamps
from taskmark.store.refilling import every_execution
from taskmark.store.tables import Definitions, Executions, fields, table
from taskmark.store.writing import TABLES, apply_each

FORMAT = 1
HEADING = "taskmark-history"
"""What the first line has under `format`, with the number under `version`."""

EXECUTIONS = 50
"""Read together."""
LINES, CHARACTERS = 500, 4 * 2**20
"""Written in one transaction, at most."""
WIDTH = 5
"""Numbers in a stamp."""

_MODELS: Mapping[str, type[Row]] = {
    "definition": DefinitionRecord,
    "execution": ExecutionRecord,
    "phase": PhaseRecord,
    "attempt": AttemptRecord,
    "checkpoint": CheckpointRecord,
    "estimate": EstimateRecord,
    "event": EventRecord,
}
Complain: TypeAlias = Callable[[int, str], None]
"""Takes a line's number and what is wrong with it."""


@dataclass(frozen=True)
class Chosen:
    """Which executions: all, unless something is said."""

    since: datetime | None = None
    """Began then or later."""
    task: str | None = None
    executions: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.since or self.task or self.executions)


# --- out ------------------------------------------------------------------------------------------


def exported(engine: Engine, chosen: Chosen) -> Iterator[str]:
    """Yields the lines, of one moment of the store: what they are, definitions, executions with all they
    have. Raises `Unreachable`."""
    yield _line({"format": HEADING, "version": FORMAT, "taskmark": version("taskmark")})
    with snapshot(engine) as connection:
        yield from _rows(connection, "definition", _definitions(chosen))
        for some in _names(connection, chosen):
            for kind in ("execution", "phase", "attempt", "checkpoint", "estimate", "event"):
                target = table(TABLES[kind])
                query = select(target).where(target.c.execution_id.in_(some))
                yield from _rows(connection, kind, query.order_by(*target.primary_key.columns))


def _definitions(chosen: Chosen) -> Select[Any]:
    definitions = table(Definitions)
    query = select(definitions).order_by(definitions.c.sha256)
    if not chosen:
        return query
    used = _executions(chosen).with_only_columns(table(Executions).c.definition_sha256)
    return query.where(definitions.c.sha256.in_(used))


def _names(connection: Connection, chosen: Chosen) -> Iterator[list[str]]:
    if not chosen:
        return every_execution(connection)
    query = _executions(chosen).order_by(table(Executions).c.execution_id)
    return batches(connection.execute(query).scalars(), EXECUTIONS)


def _executions(chosen: Chosen) -> Select[Any]:
    executions = table(Executions)
    query = select(executions.c.execution_id)
    if chosen.since:
        query = query.where(executions.c.started_at >= chosen.since)
    if chosen.task:
        query = query.where(executions.c.task_id == chosen.task)
    if chosen.executions:
        query = query.where(executions.c.execution_id.in_(chosen.executions))
    return query


def _rows(connection: Connection, kind: str, query: Select[Any]) -> Iterator[str]:
    target: Table = table(TABLES[kind])
    names = {*_MODELS[kind].model_fields, "stamps"}
    for row in connection.execute(query):
        known = {name: value for name, value in fields(target, row).items() if name in names}
        yield _line({"type": kind} | known)


def _line(value: Mapping[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"), default=datetime.isoformat) + "\n"


# --- in -------------------------------------------------------------------------------------------


@dataclass
class Imported:
    """What was done."""

    records: int = 0
    broken: int = 0


def imported(
    engine: Engine, lines: Iterable[str], scrub: Callable[[Record], Record], complain: Complain
) -> Imported:
    """Merges the records of the lines into the store; a line that cannot be read is complained of.

    Doing it again changes nothing. Raises `Conflict` if the first line is not ours, and `Unreachable`: then
    some may be written, and all can be written again.
    """
    rest, done = iter(lines), Imported()
    _check_heading(next(rest, ""))
    batch = _Batch()
    for number, line in enumerate(rest, 2):
        if not line.strip():
            continue
        try:
            batch.add(number, _read(line, scrub), len(line))
        except ValueError as error:
            done.broken += 1
            complain(number, _in_words(error))
        if batch.is_full:
            batch.write(engine, done, complain)
            batch = _Batch()
    batch.write(engine, done, complain)
    return done


def _check_heading(line: str) -> None:
    hint = "it has to be a file that `taskmark db export` wrote"
    try:
        heading = json.loads(line)
    except ValueError as error:
        raise Conflict(f"This is no history: its first line is no JSON ({error})", hint=hint) from error
    if not isinstance(heading, dict) or heading.get("format") != HEADING:
        raise Conflict("This is no history: its first line does not say so", hint=hint)
    number = heading.get("version")
    if not isinstance(number, int) or number > FORMAT:
        message = f"This history has the format {number!r}, and this version knows {FORMAT}"
        raise Conflict(message, hint="upgrade Taskmark")


def _read(line: str, scrub: Callable[[Record], Record]) -> Told:
    """Returns what a line tells. Raises `ValueError`."""
    value = json.loads(line, parse_constant=_refuse)
    record = scrub(_reader().validate_python(value))
    stamps = value.get("stamps")
    if stamps is None or isinstance(record, EventRecord):
        return record
    return Stamped(record, _stamps(stamps))


def _stamps(packed: Any) -> dict[str, tuple[int, ...]]:
    try:
        found = {str(name): stamp for name, stamp in unpack_stamps(packed).items()}
        sound = all(len(one) == WIDTH and all(type(part) is int for part in one) for one in found.values())
    except (TypeError, ValueError, AttributeError):
        sound = False
    if not sound:
        raise ValueError("its `stamps` are none")
    return found


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


def _in_words(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    told = error.errors(include_input=False, include_url=False)
    return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}".lstrip(": ") for one in told[:3])


@dataclass
class _Batch:
    """Lines that are written together."""

    numbers: dict[int, int] = field(default_factory=dict)
    """Of the lines, by the identity of what they tell."""
    told: list[Told] = field(default_factory=list)
    characters: int = 0

    @property
    def is_full(self) -> bool:
        return len(self.told) >= LINES or self.characters >= CHARACTERS

    def add(self, number: int, told: Told, characters: int) -> None:
        self.numbers[id(told)] = number
        self.told.append(told)
        self.characters += characters

    def write(self, engine: Engine, done: Imported, complain: Complain) -> None:
        rejected = apply_each(engine, self.told)
        done.records += len(self.told) - len(rejected)
        done.broken += len(rejected)
        for one in rejected:
            complain(self.numbers[id(one.record)], f"{bare(one.record).type}: {one.reason}")


@cache
def _reader() -> TypeAdapter[Record]:
    return TypeAdapter(Record)
