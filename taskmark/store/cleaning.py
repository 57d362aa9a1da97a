"""Takes old executions out of the store, with all that belongs to them, a few at a time.

What sums them up follows: metrics are the sums of the rows there are. An artifact goes once no row refers to
it and no execution that has not ended can: such a one may have it in Temporal's history alone, but then it
saved it since it began, if only again, and the artifact says when that was.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Select, Table, func, not_, or_, select

from taskmark.contracts import ExecutionStatus
from taskmark.retention import ENDED, Ages
from taskmark.store import summing
from taskmark.store.artifacts import KeptArtifacts
from taskmark.store.engine import snapshot, writing
from taskmark.store.keys import AT_ONCE, batches
from taskmark.store.references import references
from taskmark.store.searching import key_of_execution
from taskmark.store.sharing import forget_old
from taskmark.store.tables import (
    Attempts,
    Checkpoints,
    Definitions,
    Estimates,
    Events,
    Executions,
    Phases,
    Texts,
    table,
)
from taskmark.store.writing import exclude_writers_of

EXECUTIONS = 20
"""Deleted in one transaction."""
PAUSE_SECONDS = 0.05
"""Between two of them, so that who writes gets a turn."""
GRACE = timedelta(days=1)
"""So long nobody's artifact stays, whatever rows say: some are still on their way."""
CLOCKS = timedelta(hours=1)
"""How far two machines' clocks may be apart."""


@dataclass
class Cleaned:
    """What was deleted, or would be."""

    executions: Counter[str] = field(default_factory=Counter)
    """By status."""
    artifacts: int = 0
    held_by: str | None = None
    """The oldest execution that has not ended, if artifacts stay because of it."""


def clean(
    engine: Engine,
    artifacts: KeptArtifacts,
    ages: Ages,
    *,
    dry_run: bool = False,
    now: datetime | None = None,
    stop: threading.Event | None = None,
) -> Cleaned:
    """Deletes executions that ended longer ago than their status allows, shared values whose time is over,
    then artifacts nobody needs.

    Several may do so at the same time. It ends early once `stop` is set. Raises `Unreachable`.
    """
    now, stop, done = now or datetime.now(UTC), stop or threading.Event(), Cleaned()
    doomed: set[str] = set()
    for status, age in ages.items():
        if dry_run:
            found = _all_old(engine, status, now - age)
            done.executions[status.value] += len(found)
            doomed |= found
        else:
            done.executions[status.value] += _delete_old(engine, status, now - age, stop)
    if not dry_run:
        with writing(engine) as connection:
            forget_old(connection)
    if not stop.is_set():
        _collect(engine, artifacts, doomed, now, done, dry_run=dry_run)
    return done


# --- executions -----------------------------------------------------------------------------------


def _old(status: ExecutionStatus, before: datetime) -> Select[Any]:
    """Returns the query for executions that ended so before the moment, and so began before it."""
    executions = table(Executions)
    ended = func.coalesce(executions.c.finished_at, executions.c.as_of)
    began = or_(executions.c.started_at < before, executions.c.started_at.is_(None))
    return select(executions.c.execution_id).where(executions.c.status == status.value, began, ended < before)


def _all_old(engine: Engine, status: ExecutionStatus, before: datetime) -> set[str]:
    with snapshot(engine) as connection:
        return set(connection.execute(_old(status, before)).scalars())


def _delete_old(engine: Engine, status: ExecutionStatus, before: datetime, stop: threading.Event) -> int:
    count, query = 0, _old(status, before).limit(EXECUTIONS)
    while not stop.is_set():
        with snapshot(engine) as connection:
            names = list(connection.execute(query).scalars())
        if not names:
            break
        with writing(engine) as connection:
            count += _delete(connection, names, _old(status, before))
        stop.wait(PAUSE_SECONDS)
    return count


def _delete(connection: Connection, names: Sequence[str], still_old: Select[Any]) -> int:
    """Deletes those of the executions that nobody changed meanwhile, and returns how many."""
    executions, attempts = table(Executions), table(Attempts)
    of_those = executions.c.execution_id.in_(names)
    used = select(executions.c.definition_sha256).where(of_those, executions.c.definition_sha256.is_not(None))
    definitions = list(connection.execute(used.distinct()).scalars())
    exclude_writers_of(connection, [*names, *definitions])
    names = list(connection.execute(still_old.where(of_those)).scalars())
    summing.take_out(connection, _rows(connection, executions, names), _rows(connection, attempts, names))
    _delete_texts(connection, names)
    for model in (Events, Attempts, Phases, Checkpoints, Estimates, Executions):
        target = table(model)
        connection.execute(target.delete().where(target.c.execution_id.in_(names)))
    _delete_definitions(connection, definitions)
    return len(names)


def _rows(connection: Connection, target: Table, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    query = select(*summing.counted(target)).where(target.c.execution_id.in_(names))
    return (row._asdict() for row in connection.execute(query))


def _delete_texts(connection: Connection, names: Sequence[str]) -> None:
    attempts, texts = table(Attempts), table(Texts)
    spans = connection.execute(select(attempts.c.span_id).where(attempts.c.execution_id.in_(names))).scalars()
    keys = [*spans.all(), *(key_of_execution(name) for name in names)]
    for some in batches(keys, AT_ONCE):
        connection.execute(texts.delete().where(texts.c.span_id.in_(some)))


def _delete_definitions(connection: Connection, names: Sequence[str]) -> None:
    """Deletes those that no execution refers to any more."""
    definitions, executions = table(Definitions), table(Executions)
    used = select(executions.c.execution_id).where(executions.c.definition_sha256 == definitions.c.sha256)
    unused = definitions.c.sha256.in_(names), not_(used.exists())
    connection.execute(definitions.delete().where(*unused))


# --- artifacts ------------------------------------------------------------------------------------


def _collect(
    engine: Engine,
    artifacts: KeptArtifacts,
    doomed: set[str],
    now: datetime,
    done: Cleaned,
    *,
    dry_run: bool,
) -> None:
    """Removes the artifacts that nobody needs; those of the `doomed` count as if these were gone."""
    with snapshot(engine) as connection:
        before, oldest = _nobody_runs_since(connection, now - GRACE)
        saved = {name: moment for name, moment in artifacts.kept() if moment < now - GRACE}
        if not saved:
            return
        needed = {sha256 for sha256, execution in references(connection) if execution not in doomed}
    unneeded = [name for name in saved if name not in needed]
    free = [name for name in unneeded if saved[name] < before]
    done.held_by = oldest if len(free) < len(unneeded) else None
    done.artifacts = len(free) if dry_run else artifacts.remove(free, before)


def _nobody_runs_since(connection: Connection, latest: datetime) -> tuple[datetime, str | None]:
    """Returns the moment before which nothing began that has not ended, and what began then."""
    executions = table(Executions)
    ended = [status.value for status in ENDED]
    query = select(executions.c.started_at, executions.c.execution_id).where(
        executions.c.status.not_in(ended), executions.c.started_at.is_not(None)
    )
    oldest = connection.execute(query.order_by(executions.c.started_at).limit(1)).first()
    if oldest is None or oldest[0] - CLOCKS > latest:
        return latest, None
    return oldest[0] - CLOCKS, oldest[1]
