"""Is what the store says true of itself? Each rule looks at all rows, in one moment of the store, and says
which of them are wrong. What follows from other rows can be made anew (`repair`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Engine, func, literal, not_, or_, select, union
from sqlalchemy.exc import DatabaseError, OperationalError

from taskmark.contracts import StepStatus
from taskmark.store import searching, summing
from taskmark.store.artifacts import KeptArtifacts
from taskmark.store.engine import reason, snapshot, writing
from taskmark.store.inserting import as_they_are, insert_all
from taskmark.store.keys import AT_ONCE, batches
from taskmark.store.references import references
from taskmark.store.refilling import refill
from taskmark.store.schema import current, head
from taskmark.store.sqlite_file import damage, path_of
from taskmark.store.tables import (
    Attempts,
    Checkpoints,
    Definitions,
    Estimates,
    Events,
    Executions,
    Phases,
    Texts,
    fields,
    table,
)
from taskmark.store.writing import exclude_all_writers

SHOWN = 20
"""Places that a check names; the rest is counted."""

UPGRADE = "taskmark db upgrade"
REPAIR = "taskmark db check --fix"
BACKFILL = "taskmark backfill EXECUTION"
RESTORE = "taskmark db restore FILE"


@dataclass(frozen=True)
class Checked:
    """What one rule found."""

    name: str
    promise: str
    """What is so if nothing is wrong."""
    wrong: tuple[str, ...] = ()
    """Places, the first `SHOWN` of `count`."""
    count: int = 0
    fix: str = ""
    """What to do about it."""


@dataclass(frozen=True)
class Rule:
    """What has to be true, how to see whether it is, and what to do if not."""

    name: str
    promise: str
    look: Callable[[Connection], Iterable[str]]
    fix: str

    def check(self, connection: Connection) -> Checked:
        """Returns what is wrong."""
        found = iter(self.look(connection))
        first = tuple(islice(found, SHOWN))
        return Checked(self.name, self.promise, first, len(first) + sum(1 for _ in found), self.fix)


def check(engine: Engine, artifacts: KeptArtifacts) -> Iterator[Checked]:
    """Yields what each rule finds, up to what makes the rest impossible: another version, a damaged file.

    Raises `Unreachable`.
    """
    revision = current(engine)
    old = revision != head()
    says = f"revision {revision or 'none'}, this version uses {head()}"
    yield Checked("revision", says, (says,) if old else (), int(old), UPGRADE)
    if old:
        return
    if engine.dialect.name == "sqlite":
        yield (file := _file(engine))
        if file.count:
            return
        yield _index(engine)
    with snapshot(engine) as connection:
        for rule in RULES:
            yield rule.check(connection)
        yield _artifacts(artifacts).check(connection)


def repair(engine: Engine) -> None:
    """Makes anew what follows from rows: numbers of events, sums, metrics, texts. Takes about as long as
    writing all rows did, and everybody else waits. Raises `Unreachable`."""
    with writing(engine) as connection:
        exclude_all_writers(connection)
        if connection.dialect.name == "sqlite":
            searching.rebuild(connection)
        _number_anew(connection)
        refill(connection)


# --- the file -------------------------------------------------------------------------------------


def _file(engine: Engine) -> Checked:
    wrong = damage(path_of(engine.url))
    return Checked("file", "SQLite finds its file sound", wrong[:SHOWN], len(wrong), RESTORE)


def _index(engine: Engine) -> Checked:
    with writing(engine) as connection:  # it is a statement that writes, though it changes nothing
        wrong = _differences(connection)
    return Checked("index", "the index has the words of the texts", wrong, len(wrong), REPAIR)


def _differences(connection: Connection) -> tuple[str, ...]:
    try:
        searching.verify(connection)
    except DatabaseError as error:
        if isinstance(error, OperationalError):
            raise  # locked, not damaged
        return (reason(error),)
    return ()


# --- rows -----------------------------------------------------------------------------------------


def _numbers(connection: Connection) -> Iterator[str]:
    events = table(Events)
    count, first, last = func.count(), func.min(events.c.seq), func.max(events.c.seq)
    query = select(events.c.execution_id, count, first, last).group_by(events.c.execution_id)
    for name, rows, low, high in connection.execute(query.having(or_(count != last, first != 1))):
        yield f"{name}: {rows} events with numbers from {low} to {high}"


_OF_EXECUTIONS = (
    *((Phases, "phases"), (Attempts, "attempts"), (Events, "events")),
    *((Checkpoints, "checkpoints"), (Estimates, "estimates")),
)


def _alone(connection: Connection) -> Iterator[str]:
    executions = table(Executions)
    names = (
        select(table(model).c.execution_id, literal(kind).label("kind")).distinct()
        for model, kind in _OF_EXECUTIONS
    )
    told = union(*names).subquery()
    known = select(executions.c.execution_id).where(executions.c.execution_id == told.c.execution_id).exists()
    query = select(told).where(not_(known)).order_by(told.c.execution_id, told.c.kind)
    for name, kind in connection.execute(query):
        yield f"{name}: {kind} without an execution"


def _undefined(connection: Connection) -> Iterator[str]:
    executions, definitions = table(Executions), table(Definitions)
    sha256 = executions.c.definition_sha256
    known = select(definitions.c.sha256).where(definitions.c.sha256 == sha256).exists()
    query = select(executions.c.execution_id, sha256).where(sha256.is_not(None), not_(known))
    for name, missing in connection.execute(query):
        yield f"{name}: its definition {missing[:12]} is not there"


# --- sums -----------------------------------------------------------------------------------------


def _used(connection: Connection) -> Iterator[str]:
    executions = table(Executions)
    query = select(executions.c.execution_id, *(executions.c[name].label(name) for name in _SUMMED))
    for rows in batches(connection.execute(query), AT_ONCE):
        used = summing.used(connection, [row[0] for row in rows])
        for row in rows:
            for name, is_so in used[row[0]].items():
                if (told := row._mapping[name]) != is_so:
                    yield f"{row[0]}: {name} says {told}, its attempts {is_so}"


_SUMMED = ("tokens_used", "cost", "questions_asked", "files_modified")


def _metrics(connection: Connection) -> Iterator[str]:
    for model, so in summing.expected(connection).items():
        target = table(model)
        key = len(target.primary_key)
        told = {tuple(row[:key]): tuple(row[key:]) for row in connection.execute(select(target))}
        for place in sorted(told.keys() | so.keys()):
            if told.get(place) != so.get(place):
                where = " ".join(str(part) for part in place)
                yield f"{where}: {_counted(told, place)} and not {_counted(so, place)}"


def _counted(sums: dict[tuple[Any, ...], tuple[int, ...]], place: tuple[Any, ...]) -> str:
    return "/".join(str(value) for value in sums[place]) if place in sums else "no row"


def _texts(connection: Connection) -> Iterator[str]:
    texts, attempts, executions = table(Texts), table(Attempts), table(Executions)
    of_attempt = select(attempts.c.span_id).where(attempts.c.span_id == texts.c.span_id).exists()
    key = searching.key_of_execution(executions.c.execution_id)
    of_execution = select(executions.c.execution_id).where(texts.c.span_id == key).exists()
    of_nothing = select(texts.c.span_id).where(not_(of_attempt), not_(of_execution))
    for (span,) in connection.execute(of_nothing):
        yield f"{span}: a text without an attempt"
    indexed = select(texts.c.span_id).where(texts.c.span_id == attempts.c.span_id).exists()
    ended = [status.value for status in StepStatus if status.is_final]
    says = or_(*(attempts.c[name].is_not(None) for name in ("input", "output", "error")))
    query = select(attempts).where(attempts.c.status.in_(ended), says, not_(indexed))
    for row in connection.execute(query):
        if searching.words(fields(attempts, row)):
            yield f"{row.execution_id}: {row.phase}/{row.step} attempt {row.attempt} cannot be searched for"
    known = select(texts.c.span_id).where(texts.c.span_id == key).exists()
    for row in connection.execute(select(executions).where(not_(known))):
        if searching.words_of_execution(fields(executions, row)):
            yield f"{row.execution_id} cannot be searched for"


def _artifacts(artifacts: KeptArtifacts) -> Rule:
    def missing(connection: Connection) -> Iterator[str]:
        there = {name for name, _ in artifacts.kept()}
        wanted = {found for found in references(connection) if found[0] not in there}
        for sha256, execution in sorted(wanted, key=lambda one: (one[1], one[0])):
            yield f"{execution}: its artifact {sha256[:12]} is not there"

    return Rule("artifacts", "every artifact that a row refers to is there", missing, RESTORE)


RULES = (
    Rule(
        "events", "each execution's events are numbered without gaps", _numbers, f"{REPAIR}; then {BACKFILL}"
    ),
    Rule(
        "executions",
        "every phase, attempt, event, checkpoint and estimate belongs to an execution",
        _alone,
        f"look again in a moment, it may be on its way; then {BACKFILL}",
    ),
    Rule("definitions", "every execution's definition is there", _undefined, BACKFILL),
    Rule("sums", "executions used what their attempts used", _used, REPAIR),
    Rule("metrics", "metrics are the sums of the rows", _metrics, REPAIR),
    Rule("texts", "what can be searched for are the attempts and executions that ended", _texts, REPAIR),
)


def _number_anew(connection: Connection) -> None:
    """Closes gaps; the order stays."""
    events = table(Events)
    count, last = func.count(), func.max(events.c.seq)
    gaps = select(events.c.execution_id).group_by(events.c.execution_id).having(count != last)
    for (name,) in connection.execute(gaps).all():
        mine = events.c.execution_id == name
        rows = connection.execute(select(events).where(mine).order_by(events.c.seq)).all()
        connection.execute(events.delete().where(mine))
        numbered = [
            {**fields(events, row), "item": row.item, "seq": number} for number, row in enumerate(rows, 1)
        ]
        insert_all(connection, events, numbered, as_they_are)
