"""What the history knows of how long a task's steps take: few executions, few rows, whatever it holds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Row, select

from taskmark.contracts import ExecutionStatus, StepStatus
from taskmark.plan.eta.stretch import scores
from taskmark.plan.experience import Experience, Timed
from taskmark.records import WHOLE, EstimateRecord
from taskmark.store import lessons
from taskmark.store.engine import reading
from taskmark.store.lessons import Rows, seconds
from taskmark.store.tables import Attempts, Estimates, Events, Executions, fields, table

EXECUTIONS = 20
"""So many of the latest ones are looked at."""
ROWS = 20_000
"""Attempts read at most; of a task with very many steps that is fewer executions."""
PASSED = 1_000
"""Executions among which those are looked for that completed."""
EVENTS = 2_000
"""Of pauses and waits, read at most."""
NAMES = 50
"""Tools and agents whose past is looked at, at most."""
TRIES, AMONG = 50, 150
"""Completed tries of one of them, and how many of its latest tries they are looked for among."""

_KEY = ("execution_id", "phase", "step", "item", "attempt")
_COLUMNS = (*_KEY, "kind", "agent", "status", "started_at", "finished_at", "tokens", "cost", "reused_from")
_STANDING = ("waiting", "execution_paused")
"""Events after which an execution may stand still."""


def experience(engine: Engine, task: str, others: Collection[tuple[str, str]] = ()) -> Experience:
    """Returns what the latest completed executions of a task took, by step. Raises `Unreachable`.

    `others` are the tools and agents whose past in whatever task is wanted too, as `("tool", name)` and
    `("agent", id)`.
    """
    with reading(engine) as connection:
        latest = _latest(connection, task)
        runs, whole = _attempts(connection, [row.execution_id for row in latest])
        events = _events(connection, [row.execution_id for row in latest[: len(runs)]])
        told = _told(connection, [row.execution_id for row in latest])
        elsewhere = {one: _other(connection, *one) for one in sorted(set(others))[:NAMES]}
    done, wholes = lessons.completed(runs), _wholes(told)
    by_agent: dict[tuple[str, str], list[float]] = defaultdict(list)
    for step, tries in done.items():
        for _, row in tries:
            if row.agent is not None:
                by_agent[step, row.agent].append(seconds(row) or 0.0)
    return Experience(
        executions=len(runs),
        seconds={step: [seconds(row) or 0.0 for _, row in tries] for step, tries in done.items()},
        tokens=tuple(int(used) for used in _used(runs[:whole], "tokens")),
        cost=tuple(_used(runs[:whole], "cost")),
        by_agent=dict(by_agent),
        steps=lessons.steps(runs, done),
        others={one: found for one, found in elsewhere.items() if found.asked},
        people=lessons.people(runs, events),
        items=lessons.items(runs[:whole]),
        off={
            number: list(scores(told[row.execution_id]))
            for number, row in enumerate(latest)
            if row.execution_id in wholes
        },
        worked=_worked(latest[:whole], runs, events, wholes),
    )


def _latest(connection: Connection, task: str) -> Sequence[Row[Any]]:
    """Returns the latest executions that completed, in the order of the index of tasks."""
    executions = table(Executions)
    names = ("execution_id", "status", "provenance", "started_at", "finished_at")
    order = executions.c.started_at.desc(), executions.c.execution_id.desc()
    passed = (
        select(*(executions.c[name].label(name) for name in names))
        .where(executions.c.task_id == task, executions.c.started_at.is_not(None))
        .order_by(*order)
        .limit(PASSED)
        .subquery()
    )
    query = select(passed).where(
        passed.c.status.in_([status.value for status in ExecutionStatus if status.is_success]),
        passed.c.provenance != "elsewhere",  # which has none of the task's steps
    )
    query = query.order_by(passed.c.started_at.desc(), passed.c.execution_id.desc()).limit(EXECUTIONS)
    return connection.execute(query).all()


def _attempts(connection: Connection, executions: Sequence[str]) -> tuple[list[Rows], int]:
    """Returns the attempts of each execution, up to so many in all, and of how many all are there."""
    attempts, runs, left = table(Attempts), list[Rows](), ROWS
    columns = [attempts.c[name].label(name) for name in _COLUMNS]
    for name in executions:
        query = select(*columns).where(attempts.c.execution_id == name).limit(left)
        runs.append(connection.execute(query).all())
        left -= len(runs[-1])
        if left <= 0:
            return runs, len(runs) - 1  # the last may be incomplete
    return runs, len(runs)


def _events(connection: Connection, executions: Sequence[str]) -> list[Rows]:
    """Returns what tells of waits and pauses, for each execution; of very many only some."""
    events = table(Events)
    names = ("execution_id", "kind", "phase", "step", "at", "payload")
    query = select(*(events.c[name] for name in names)).where(
        events.c.execution_id.in_(executions), events.c.kind.in_((*_STANDING, "decided"))
    )
    found: dict[str, list[Row[Any]]] = {name: [] for name in executions}
    for row in connection.execute(query.limit(EVENTS)) if executions else ():
        found[row.execution_id].append(row)
    return list(found.values())


def _used(runs: Sequence[Rows], column: str) -> list[float]:
    """Returns what executions used in all, of those that know it."""
    known = ([used for row in rows if (used := row._mapping[column]) is not None] for rows in runs)
    return [sum(values) for values in known if values]


def _told(connection: Connection, executions: Sequence[str]) -> dict[str, list[EstimateRecord]]:
    """Returns what executions told when they completed: what was expected, and how long they worked."""
    estimates, found = table(Estimates), defaultdict[str, list[EstimateRecord]](list)
    for row in connection.execute(select(estimates).where(estimates.c.execution_id.in_(executions))):
        found[row.execution_id].append(EstimateRecord.model_validate(fields(estimates, row)))
    return found


def _wholes(told: Mapping[str, Sequence[EstimateRecord]]) -> dict[str, float]:
    """Returns how long executions worked, of those that told it."""
    return {name: one.worked for name, some in told.items() for one in some if one.percent == WHOLE}


def _worked(
    executions: Sequence[Row[Any]], runs: Sequence[Rows], events: Sequence[Rows], told: Mapping[str, float]
) -> dict[int, float]:
    """Returns how long executions worked that did everything themselves: as they told, else as long as they
    took if they never stood still. Of a sub-task nobody says here whether it waited."""
    are_all = sum(map(len, events)) < EVENTS
    found = {}
    for number, (execution, rows, some) in enumerate(zip(executions, runs, events, strict=False)):
        stood = any(event.kind in _STANDING for event in some) or any(row.kind == "task" for row in rows)
        took = seconds(execution) if are_all and not stood else None
        worked = told.get(execution.execution_id, took)
        if worked is not None and not any(row.reused_from for row in rows):
            found[number] = worked
    return found


def _other(connection: Connection, kind: str, name: str) -> Timed:
    """Returns what a tool or an agent took, in whatever task."""
    attempts = table(Attempts)
    columns = [attempts.c[column].label(column) for column in (*_COLUMNS, "provenance")]
    query = select(*columns).where(attempts.c[kind] == name, attempts.c.started_at.is_not(None))
    found = connection.execute(query.order_by(attempts.c.started_at.desc()).limit(AMONG)).all()
    called = [row for row in found if row.attempt and row.provenance != "elsewhere"]
    numbers = {
        execution: number for number, execution in enumerate(dict.fromkeys(r.execution_id for r in called))
    }
    done = [(numbers[row.execution_id], row) for row in called if row.status == StepStatus.COMPLETED]
    asked = {(row.execution_id, row.step, row.item) for row in called}
    return lessons.timed(done[:TRIES], lessons.repeated(called), len(asked))
