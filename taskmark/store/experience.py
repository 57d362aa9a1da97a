"""What the history knows of how long a task's steps take: few executions, few rows, whatever it holds."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Row, select

from taskmark.contracts import ExecutionStatus, StepStatus
from taskmark.plan.experience import Experience
from taskmark.store.engine import reading
from taskmark.store.tables import Attempts, Executions, table

EXECUTIONS = 20
"""So many of the latest ones are looked at."""
ROWS = 20_000
"""Attempts read at most; of a task with very many steps that is fewer executions."""

_LANE = re.compile(r"\[\d+\]$")
_PEOPLE = frozenset({"approval", "question", "wait"})
"""Kinds whose time is not work."""


def experience(engine: Engine, task: str) -> Experience:
    """Returns what the latest completed executions of a task took, by step. Raises `Unreachable`."""
    seconds: dict[str, list[float]] = defaultdict(list)
    by_agent: dict[tuple[str, str], list[float]] = defaultdict(list)
    used: dict[str, list[float]] = {"tokens": [], "cost": []}
    left, read = ROWS, 0
    with reading(engine) as connection:
        for execution in _latest(connection, task):
            read += 1
            rows = _attempts(connection, execution, left)
            left -= len(rows)
            for step, agent, took in _durations(rows):
                seconds[step].append(took)
                if agent is not None:
                    by_agent[step, agent].append(took)
            if left <= 0:
                break  # the last may be incomplete, so what it used in all is not known
            for column, sums in used.items():
                known = [value for row in rows if (value := row._mapping[column]) is not None]
                sums.extend([sum(known)] if known else [])
    tokens = tuple(int(count) for count in used["tokens"])
    return Experience(read, dict(seconds), tokens, tuple(used["cost"]), dict(by_agent))


def _latest(connection: Connection, task: str) -> list[str]:
    executions = table(Executions)
    done = [status.value for status in ExecutionStatus if status.is_success]
    query = select(executions.c.execution_id).where(
        executions.c.task_id == task,
        executions.c.status.in_(done),
        executions.c.provenance != "elsewhere",  # which has none of the task's steps
    )
    latest = executions.c.started_at.desc().nulls_last()
    return [str(row[0]) for row in connection.execute(query.order_by(latest).limit(EXECUTIONS))]


def _attempts(connection: Connection, execution: str, limit: int) -> Sequence[Row[Any]]:
    attempts = table(Attempts)
    names = ("step", "item", "kind", "agent", "status", "started_at", "finished_at", "tokens", "cost")
    query = select(*(attempts.c[name].label(name) for name in names)).where(
        attempts.c.execution_id == execution
    )
    return connection.execute(query.limit(limit)).all()


def _durations(rows: Iterable[Row[Any]]) -> list[tuple[str, str | None, float]]:
    """Returns steps, who was asked if that was an agent, and seconds of what completed in one execution; of
    items rather than of all of them."""
    found: dict[str, dict[bool, list[tuple[str | None, float]]]] = defaultdict(lambda: {True: [], False: []})
    for row in rows:
        timed = row.started_at is not None and row.finished_at is not None
        one_agent = row.kind == "plain" and row.item is not None
        if row.status == StepStatus.COMPLETED and timed and row.kind not in _PEOPLE and not one_agent:
            took = (row.finished_at - row.started_at).total_seconds()
            found[_LANE.sub("", row.step)][row.item is not None].append((row.agent, max(took, 0.0)))
    return [(step, *one) for step, both in found.items() for one in both[True] or both[False]]
